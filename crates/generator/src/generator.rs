//! The generator: hands out batches of logs, spans and points, tenant by tenant.

use bytes::Bytes;
use cupola_telemetry::{Batch, Signal, TenantId};

use crate::config::GeneratorConfig;
use crate::logs::LogStream;
use crate::plan::Plans;
use crate::points::PointStream;
use crate::random::{Random, mix};
use crate::topology::Topology;
use crate::traces::TraceStream;
use crate::wire::Wire;
use crate::words::Words;

/// A seeded source of realistic telemetry.
///
/// Streams of the three signals do not influence each other: the hundredth batch of logs is the same whether or not
/// spans were asked for in between. Logs and exemplars name traces that the stream of spans reaches when its clock
/// comes to their time.
pub struct Generator {
    config: GeneratorConfig,
    topology: Topology,
    words: Words,
    tenants: Vec<Tenant>,
    /// One per signal, so that signals do not influence each other.
    choices: [Random; 3],
}

struct Tenant {
    id: TenantId,
    plans: Plans,
    logs: LogStream,
    traces: TraceStream,
    /// Made at first use: its series take memory that logs and traces do not need.
    points: Option<PointStream>,
    seed: u64,
}

impl Generator {
    pub fn new(config: GeneratorConfig) -> Self {
        let config = config.clamped();
        let topology = Topology::new(&config);
        let weights: f64 = (0..config.tenants.len()).map(weight).sum();
        let tenants = config
            .tenants
            .iter()
            .enumerate()
            .map(|(number, id)| tenant(&config, &topology, id, number, weight(number) / weights))
            .collect();
        let choices = [0x40, 0x41, 0x42].map(|purpose| Random::new(mix(config.seed, purpose)));
        Generator {
            words: Words::new(mix(config.seed, 0x50)),
            config,
            topology,
            tenants,
            choices,
        }
    }

    /// A batch of exactly `count` log records of one tenant.
    pub fn logs(&mut self, count: usize) -> Batch {
        let tenant = self.choose(Signal::Logs);
        let mut wire = Wire::with_capacity(count * 640);
        let Generator {
            topology,
            words,
            tenants,
            ..
        } = self;
        let tenant = &mut tenants[tenant];
        tenant
            .logs
            .batch(topology, &tenant.plans, words, count, &mut wire);
        finish(Signal::Logs, tenant, wire, count)
    }

    /// A batch of exactly `count` spans of one tenant.
    pub fn traces(&mut self, count: usize) -> Batch {
        let tenant = self.choose(Signal::Traces);
        let mut wire = Wire::with_capacity(count * 640);
        let tenant = &mut self.tenants[tenant];
        tenant
            .traces
            .batch(&self.topology, &tenant.plans, count, &mut wire);
        finish(Signal::Traces, tenant, wire, count)
    }

    /// A batch of exactly `count` data points of one tenant.
    pub fn points(&mut self, count: usize) -> Batch {
        let tenant = self.choose(Signal::Metrics);
        let mut wire = Wire::with_capacity(count * 240);
        let Generator {
            topology,
            tenants,
            config,
            ..
        } = self;
        let tenant = &mut tenants[tenant];
        point_stream(&mut tenant.points, tenant.seed, topology, config).batch(
            topology,
            &tenant.plans,
            count,
            &mut wire,
        );
        finish(Signal::Metrics, tenant, wire, count)
    }

    /// A batch of `count` items of `signal`.
    pub fn batch(&mut self, signal: Signal, count: usize) -> Batch {
        match signal {
            Signal::Logs => self.logs(count),
            Signal::Traces => self.traces(count),
            Signal::Metrics => self.points(count),
        }
    }

    /// The clock of `signal`, in nanoseconds since the epoch: that of the tenant which is furthest behind. Items of the
    /// next batch are around it: a log may be anywhere in a span of one of the newest traces.
    pub fn now(&self, signal: Signal) -> u64 {
        let clocks = self.tenants.iter().map(|tenant| match signal {
            Signal::Logs => tenant.logs.now(),
            Signal::Traces => tenant.traces.now(&tenant.plans),
            Signal::Metrics => tenant
                .points
                .as_ref()
                .map_or(self.config.start_unix_nano, PointStream::now),
        });
        clocks.min().unwrap_or(self.config.start_unix_nano)
    }

    /// Names of the services, the busiest first.
    pub fn services(&self) -> Vec<&str> {
        self.topology
            .services
            .iter()
            .map(|service| service.name.as_str())
            .collect()
    }

    /// Distinct time series of one tenant.
    pub fn series(&mut self) -> usize {
        let Generator {
            topology,
            tenants,
            config,
            ..
        } = self;
        tenants.first_mut().map_or(0, |tenant| {
            point_stream(&mut tenant.points, tenant.seed, topology, config).series()
        })
    }

    fn choose(&mut self, signal: Signal) -> usize {
        let random = &mut self.choices[signal as usize];
        let total: f64 = (0..self.tenants.len()).map(weight).sum();
        let mut left = random.unit() * total;
        for number in 0..self.tenants.len() {
            left -= weight(number);
            if left < 0.0 {
                return number;
            }
        }
        0
    }
}

/// Tenant number i sends in proportion to 1/(i+1).
fn weight(number: usize) -> f64 {
    1.0 / (number + 1) as f64
}

fn tenant(config: &GeneratorConfig, topology: &Topology, id: &TenantId, number: usize, share: f64) -> Tenant {
    let seed = mix(config.seed, 0x60_0000 + number as u64);
    Tenant {
        id: id.clone(),
        plans: Plans::new(config, topology, number as u64, share),
        logs: LogStream::new(
            mix(seed, 1),
            config.start_unix_nano,
            config.logs_per_second * share,
            config.traced_log_ratio,
            config.users,
        ),
        traces: TraceStream::new(mix(seed, 2), config.users),
        points: None,
        seed,
    }
}

fn point_stream<'a>(
    points: &'a mut Option<PointStream>,
    seed: u64,
    topology: &Topology,
    config: &GeneratorConfig,
) -> &'a mut PointStream {
    let interval = u64::try_from(config.metric_interval.as_nanos()).unwrap_or(u64::MAX / 4);
    points.get_or_insert_with(|| PointStream::new(mix(seed, 3), topology, config.start_unix_nano, interval))
}

fn finish(signal: Signal, tenant: &Tenant, wire: Wire, items: usize) -> Batch {
    Batch::from_canonical(signal, tenant.id.clone(), Bytes::from(wire.into_bytes()), items)
}
