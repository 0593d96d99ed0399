//! Metric points: every pod has the same instruments; each is read once per interval, pod after pod, as an SDK with a
//! periodic reader does. Counters accumulate, gauges wander, and durations carry exemplars that name planned traces.

use crate::instruments::{INSTRUMENTS, Instrument, Shape, series_of};
use crate::plan::Plans;
use crate::random::{Random, mix, scale};
use crate::topology::Topology;
use crate::wire::Wire;

/// Upper bounds in seconds, as the semantic conventions advise for durations.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// Scale 3: eight buckets for each doubling.
const EXPONENTIAL_SCALE: i32 = 3;
const EXPONENTIAL_OFFSET: i32 = -60;
const EXPONENTIAL_BUCKETS: usize = 64;
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// One histogram point in this many carries an exemplar.
const EXEMPLAR_ONE_IN: usize = 4;
/// An exemplar names one of this many newest traces.
const TRACES_BACK: usize = 32;
const READ_JITTER_NANOS: usize = 2_000_000;
const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// One time series of one pod.
struct Series {
    instrument: usize,
    /// Encoded attributes, with the field number of its kind of point.
    attributes: Vec<u8>,
    /// Expected number of measurements in one interval.
    busy: f64,
    total: f64,
    count: u64,
    buckets: Vec<u64>,
}

/// The stream of points of one tenant.
pub(crate) struct PointStream {
    random: Random,
    start: u64,
    interval: u64,
    /// Series of all pods, by pod, then by instrument.
    series: Vec<Series>,
    /// First series of each pod, and the end.
    pods: Vec<usize>,
    sweep: u64,
    pod: usize,
    next: usize,
}

impl PointStream {
    pub(crate) fn new(seed: u64, topology: &Topology, start: u64, interval: u64) -> Self {
        let mut random = Random::new(seed);
        let mut series = Vec::new();
        let mut pods = vec![0];
        for service in &topology.services {
            for _ in 0..service.pods {
                for (number, instrument) in INSTRUMENTS.iter().enumerate() {
                    for attributes in series_of(instrument, service) {
                        let buckets = instrument.shape.buckets(BOUNDS.len() + 1, EXPONENTIAL_BUCKETS);
                        series.push(Series {
                            instrument: number,
                            attributes,
                            busy: 400.0 * random.unit().powi(3) + 1.0,
                            total: instrument.level * (0.5 + random.unit()),
                            count: 0,
                            buckets: vec![0; buckets],
                        });
                    }
                }
                pods.push(series.len());
            }
        }
        PointStream {
            random,
            start,
            interval: interval.max(1),
            series,
            pods,
            sweep: 0,
            pod: 0,
            next: 0,
        }
    }

    /// Time of the next point.
    pub(crate) fn now(&self) -> u64 {
        // Pods were started at different times, so their readers fire at different moments of the interval.
        let phase = scale(mix(0x30, self.pod as u64), self.interval as usize) as u64;
        let elapsed = self.sweep.saturating_mul(self.interval);
        self.start.saturating_add(elapsed).saturating_add(phase)
    }

    /// Distinct time series.
    pub(crate) fn series(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn batch(&mut self, topology: &Topology, plans: &Plans, count: usize, wire: &mut Wire) {
        let mut left = count;
        while left > 0 {
            let resource_metrics = wire.open(1);
            wire.bytes(1, &topology.pods[self.pod].resource);
            let service = &topology.services[topology.pod_service[self.pod] as usize];
            let scope_metrics = wire.open(2);
            wire.bytes(1, &service.scope);
            let pod_end = self.pods[self.pod + 1];
            let time = self
                .now()
                .saturating_add(self.random.below(READ_JITTER_NANOS) as u64);
            while left > 0 && self.next < pod_end {
                left -= self.metric(plans, time, left.min(pod_end - self.next), wire);
            }
            wire.close(scope_metrics);
            wire.string(3, topology.schema_url);
            wire.close(resource_metrics);
            if self.next == pod_end {
                self.next_pod(topology);
            }
        }
    }

    fn next_pod(&mut self, topology: &Topology) {
        self.pod += 1;
        if self.pod == topology.pods.len() {
            self.pod = 0;
            self.next = 0;
            self.sweep += 1;
        }
    }

    /// Writes one metric with at most `bound` points; returns how many it wrote.
    fn metric(&mut self, plans: &Plans, time: u64, bound: usize, wire: &mut Wire) -> usize {
        let number = self.series[self.next].instrument;
        let instrument = &INSTRUMENTS[number];
        let end = self.series[self.next..self.next + bound]
            .iter()
            .position(|series| series.instrument != number)
            .map_or(self.next + bound, |position| self.next + position);
        let metric = wire.open(2);
        wire.string(1, instrument.name);
        wire.string(2, instrument.description);
        wire.string(3, instrument.unit);
        let data = wire.open(instrument.shape.data_field());
        for position in self.next..end {
            let point = wire.open(1);
            self.point(plans, instrument, position, time, wire);
            wire.close(point);
        }
        match instrument.shape {
            Shape::Sum { delta, monotonic } => {
                wire.uint(2, if delta { DELTA } else { CUMULATIVE });
                wire.uint(3, u64::from(monotonic));
            }
            Shape::Histogram | Shape::Exponential => wire.uint(2, CUMULATIVE),
            Shape::Gauge | Shape::Summary => {}
        }
        wire.close(data);
        wire.close(metric);
        let written = end - self.next;
        self.next = end;
        written
    }

    fn point(&mut self, plans: &Plans, instrument: &Instrument, position: usize, time: u64, wire: &mut Wire) {
        let PointStream {
            random,
            series,
            start,
            interval,
            ..
        } = self;
        let series = &mut series[position];
        match instrument.shape {
            Shape::Gauge => {
                wire.fixed64(3, time);
                series.total =
                    (series.total * (0.95 + 0.1 * random.unit())).clamp(0.0, instrument.level * 4.0);
                number(wire, instrument.integer, series.total);
            }
            Shape::Sum { delta, monotonic } => {
                wire.fixed64(
                    2,
                    if delta {
                        time - (*interval).min(time)
                    } else {
                        *start
                    },
                );
                wire.fixed64(3, time);
                let step = (series.busy * random.unit() * instrument.level.max(0.01)).floor();
                series.total = match (delta, monotonic) {
                    (true, _) => step,
                    (false, true) => series.total + step,
                    (false, false) => (series.total + series.busy * (random.unit() - 0.5)).max(0.0),
                };
                number(wire, instrument.integer, series.total);
            }
            Shape::Histogram => {
                series.measure(random, |seconds| BOUNDS.partition_point(|bound| *bound < seconds));
                histogram(series, random, plans, *start, time, wire);
            }
            Shape::Exponential => {
                series.measure(random, |seconds| {
                    let index = (seconds.log2() * f64::from(1 << EXPONENTIAL_SCALE)).ceil() as i32 - 1;
                    (index - EXPONENTIAL_OFFSET).clamp(0, EXPONENTIAL_BUCKETS as i32 - 1) as usize
                });
                exponential(series, random, plans, *start, time, wire);
            }
            Shape::Summary => {
                let measured = (series.busy * random.unit()) as u64;
                series.count += measured;
                series.total += measured as f64 * 0.02;
                summary(series, random, *start, time, wire);
            }
        }
        wire.raw(&series.attributes);
    }
}

impl Series {
    /// Adds the measurements of one interval, at most a few draws of which share the whole number.
    fn measure(&mut self, random: &mut Random, bucket_of: impl Fn(f64) -> usize) {
        const DRAWS: u64 = 4;
        let measured = (self.busy * random.unit()) as u64;
        for draw in 0..DRAWS {
            let here = measured / DRAWS + u64::from(draw < measured % DRAWS);
            let seconds = 0.004 * (1.0 - random.unit()).recip().min(4_000.0);
            self.buckets[bucket_of(seconds)] += here;
            self.count += here;
            self.total += here as f64 * seconds;
        }
    }
}

fn number(wire: &mut Wire, integer: bool, value: f64) {
    if integer {
        wire.fixed64(6, value as i64 as u64);
    } else {
        wire.double(4, value);
    }
}

fn histogram(series: &Series, random: &mut Random, plans: &Plans, start: u64, time: u64, wire: &mut Wire) {
    wire.fixed64(2, start);
    wire.fixed64(3, time);
    wire.fixed64(4, series.count);
    wire.double(5, series.total);
    wire.packed_fixed64(6, &series.buckets);
    wire.packed_double(7, &BOUNDS);
    if series.count > 0 {
        wire.double(11, 0.000_4);
        wire.double(12, 16.0);
    }
    if random.below(EXEMPLAR_ONE_IN) == 0 {
        exemplar(8, random, plans, time, wire);
    }
}

fn exponential(series: &Series, random: &mut Random, plans: &Plans, start: u64, time: u64, wire: &mut Wire) {
    wire.fixed64(2, start);
    wire.fixed64(3, time);
    wire.fixed64(4, series.count);
    wire.double(5, series.total);
    wire.sint(6, EXPONENTIAL_SCALE);
    wire.fixed64(7, 0);
    let positive = wire.open(8);
    wire.sint(1, EXPONENTIAL_OFFSET);
    wire.packed_varint(2, &series.buckets);
    wire.close(positive);
    if random.below(EXEMPLAR_ONE_IN) == 0 {
        exemplar(11, random, plans, time, wire);
    }
}

fn summary(series: &Series, random: &mut Random, start: u64, time: u64, wire: &mut Wire) {
    wire.fixed64(2, start);
    wire.fixed64(3, time);
    wire.fixed64(4, series.count);
    wire.double(5, series.total);
    let median = 0.01 + 0.01 * random.unit();
    for (position, quantile) in QUANTILES.iter().enumerate() {
        let open = wire.open(6);
        wire.double(1, *quantile);
        wire.double(2, median * (1.0 + 3.0 * position as f64));
        wire.close(open);
    }
}

fn exemplar(field: u32, random: &mut Random, plans: &Plans, time: u64, wire: &mut Wire) {
    let back = random.skewed(TRACES_BACK) as u64;
    let trace = plans.trace(plans.newest_at(time).saturating_sub(back));
    let open = wire.open(field);
    wire.fixed64(2, trace.span_end(0).min(time));
    wire.double(3, (trace.span_end(0) - trace.span_start(0)) as f64 / 1e9);
    wire.bytes(4, &trace.span_id(0));
    wire.bytes(5, &trace.id());
    wire.close(open);
}
