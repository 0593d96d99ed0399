//! Trace plans: what trace number k of a tenant looks like. A plan is a pure function of the seed, so that spans, logs
//! and exemplars of one trace agree without any of them being generated first.

use crate::config::GeneratorConfig;
use crate::random::{Random, mix, scale};
use crate::topology::{Kind, Topology, Work};

/// Different shapes of traces in one fleet.
const TEMPLATES: usize = 192;
/// Slots through which trace numbers choose templates; a template with more slots is more frequent.
const SLOTS: usize = 4_096;
const SPANS_PER_TRACE_MAX: usize = 48;
const DEPTH_MAX: usize = 5;
/// One trace in this many is about twenty times slower than its template.
const SLOW_ONE_IN: usize = 200;

/// One span of a template. Times are fractions of the duration of the root.
pub(crate) struct Step {
    pub(crate) parent: Option<u16>,
    pub(crate) service: u32,
    /// The operation, and the service that it belongs to: a client span is described by what it calls.
    pub(crate) described_by: u32,
    pub(crate) operation: u32,
    pub(crate) kind: Kind,
    pub(crate) work: Work,
    /// Fraction of the root's duration at which the span starts and ends.
    start: f32,
    end: f32,
    /// The span fails when its trace has an error.
    fails: bool,
}

pub(crate) struct Template {
    pub(crate) steps: Vec<Step>,
    root_nanos: f64,
}

/// Times and outcome of one trace.
#[derive(Clone, Copy)]
pub(crate) struct Trace<'a> {
    pub(crate) number: u64,
    pub(crate) template: &'a Template,
    pub(crate) start: u64,
    pub(crate) failed: bool,
    root_nanos: f64,
    seed: u64,
}

/// All plans of one tenant.
pub(crate) struct Plans {
    templates: Vec<Template>,
    slots: Vec<u16>,
    durations: [f32; 256],
    seed: u64,
    start: u64,
    nanos_per_trace: f64,
    error_ratio: f64,
}

impl Plans {
    /// `share` is the part of the fleet's rate that belongs to this tenant.
    pub(crate) fn new(config: &GeneratorConfig, topology: &Topology, tenant: u64, share: f64) -> Self {
        let mut random = Random::new(mix(config.seed, 0x20));
        let templates: Vec<Template> = (0..TEMPLATES).map(|_| template(topology, &mut random)).collect();
        let slots: Vec<u16> = (0..SLOTS).map(|_| random.skewed(TEMPLATES) as u16).collect();
        let spans: usize = slots
            .iter()
            .map(|slot| templates[*slot as usize].steps.len())
            .sum();
        let spans_per_trace = spans as f64 / SLOTS as f64;
        Plans {
            templates,
            slots,
            durations: durations(&mut random),
            seed: mix(config.seed, 0x21_0000 + tenant),
            start: config.start_unix_nano,
            nanos_per_trace: 1e9 * spans_per_trace / (config.spans_per_second * share),
            error_ratio: config.error_ratio,
        }
    }

    /// The number of the newest trace that has started at `time`.
    pub(crate) fn newest_at(&self, time: u64) -> u64 {
        (time.saturating_sub(self.start) as f64 / self.nanos_per_trace) as u64
    }

    pub(crate) fn trace(&self, number: u64) -> Trace<'_> {
        let word = mix(self.seed, number);
        let template = &self.templates[self.slots[scale(word, SLOTS)] as usize];
        let mut root_nanos = template.root_nanos * f64::from(self.durations[(word & 0xff) as usize]);
        if scale(mix(word, 1), SLOW_ONE_IN) == 0 {
            root_nanos *= 20.0;
        }
        Trace {
            number,
            template,
            start: self
                .start
                .saturating_add((number as f64 * self.nanos_per_trace) as u64),
            failed: crate::random::unit(mix(word, 2)) < self.error_ratio,
            root_nanos,
            seed: word,
        }
    }
}

impl Trace<'_> {
    pub(crate) fn id(&self) -> [u8; 16] {
        // A trace id of zeros is invalid, so one bit is always set.
        let high = mix(self.seed, 3) | 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&high.to_be_bytes());
        id[8..].copy_from_slice(&mix(self.seed, 4).to_be_bytes());
        id
    }

    pub(crate) fn span_id(&self, step: usize) -> [u8; 8] {
        (mix(self.seed, 0x100 + step as u64) | 1).to_be_bytes()
    }

    pub(crate) fn span_start(&self, step: usize) -> u64 {
        self.after(self.template.steps[step].start)
    }

    pub(crate) fn span_end(&self, step: usize) -> u64 {
        self.after(self.template.steps[step].end)
    }

    /// A moment of the trace, as a fraction of its root's duration.
    fn after(&self, fraction: f32) -> u64 {
        self.start
            .saturating_add((self.root_nanos * f64::from(fraction)) as u64)
    }

    pub(crate) fn span_fails(&self, step: usize) -> bool {
        self.failed && self.template.steps[step].fails
    }

    /// A number that is the same for everything in this trace; `purpose` tells different ones apart.
    pub(crate) fn number_for(&self, purpose: u64) -> u64 {
        mix(self.seed, 0x1_0000 + purpose)
    }
}

/// Multipliers of a log-normal distribution with a sigma of about 0.6.
fn durations(random: &mut Random) -> [f32; 256] {
    std::array::from_fn(|_| {
        let normal: f64 = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
        (0.6 * normal).exp() as f32
    })
}

fn template(topology: &Topology, random: &mut Random) -> Template {
    let mut steps = Vec::new();
    // Users enter at the first few services.
    let service = random.skewed(topology.services.len().min(4));
    visit(topology, random, &mut steps, None, service, 0.0, 1.0, 0);
    // A failure starts in one of the last spans and reaches up to the root.
    let mut failing = Some(steps.len() - 1 - random.skewed(steps.len()));
    while let Some(step) = failing {
        steps[step].fails = true;
        failing = steps[step].parent.map(usize::from);
    }
    // 2 ms to about 1 s, most of them short; more spans take longer.
    let root_nanos = 2e6 * (300.0_f64).powf(random.unit() * random.unit()) * (1.0 + steps.len() as f64 / 8.0);
    Template { steps, root_nanos }
}

/// Adds a request to `service` and everything it calls.
#[expect(
    clippy::too_many_arguments,
    reason = "one recursive step; a struct would only rename the arguments"
)]
fn visit(
    topology: &Topology,
    random: &mut Random,
    steps: &mut Vec<Step>,
    parent: Option<u16>,
    service: usize,
    start: f32,
    end: f32,
    depth: usize,
) {
    let routes = topology.services[service].routes;
    let server = add(
        topology,
        steps,
        parent,
        service,
        random.skewed(routes),
        start,
        end,
    );
    let calls = 1 + random.below(4);
    let slice = (end - start) / (calls as f32 + 0.5);
    for call in 0..calls {
        if steps.len() >= SPANS_PER_TRACE_MAX {
            return;
        }
        let call_start = start + slice * (call as f32 + 0.2 * random.unit() as f32);
        let call_end = call_start + slice * (0.3 + 0.6 * random.unit() as f32);
        let target = random.skewed(topology.services.len());
        let wants_service = depth < DEPTH_MAX && random.below(5) < 2 && target != service;
        if !wants_service {
            // Operations behind the routes: 4 of the database, cache, publish, consume, 4 computations.
            let local = [0, 0, 1, 2, 3, 4, 4, 5, 7, 8, 9, 10][random.below(12)];
            let step = add(
                topology,
                steps,
                Some(server),
                service,
                routes + local,
                call_start,
                call_end,
            );
            if local == 5 {
                // Whoever listens takes the message up a little later, in the same trace.
                let late = call_end + 0.3 * random.unit() as f32;
                add(
                    topology,
                    steps,
                    Some(step),
                    target,
                    topology.services[target].routes + 6,
                    call_end,
                    late,
                );
            }
            continue;
        }
        let client = add_call(
            topology, steps, server, service, target, random, call_start, call_end,
        );
        let margin = 0.05 * (call_end - call_start);
        visit(
            topology,
            random,
            steps,
            Some(client),
            target,
            call_start + margin,
            call_end - margin,
            depth + 1,
        );
    }
}

#[expect(clippy::too_many_arguments, reason = "times and places of one call")]
fn add_call(
    topology: &Topology,
    steps: &mut Vec<Step>,
    parent: u16,
    service: usize,
    target: usize,
    random: &mut Random,
    start: f32,
    end: f32,
) -> u16 {
    let route = random.skewed(topology.services[target].routes);
    let step = add(topology, steps, Some(parent), target, route, start, end);
    let entry = &mut steps[usize::from(step)];
    entry.service = service as u32;
    entry.kind = Kind::Client;
    entry.work = Work::HttpCall;
    step
}

fn add(
    topology: &Topology,
    steps: &mut Vec<Step>,
    parent: Option<u16>,
    service: usize,
    operation: usize,
    start: f32,
    end: f32,
) -> u16 {
    let described = &topology.services[service].operations[operation];
    steps.push(Step {
        parent,
        service: service as u32,
        described_by: service as u32,
        operation: operation as u32,
        kind: described.kind,
        work: described.work,
        start,
        end,
        fails: false,
    });
    (steps.len() - 1) as u16
}
