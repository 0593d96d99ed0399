//! Log records: most are written inside a span of a planned trace and carry its ids; the others come from background
//! work. A batch holds its records grouped by pod, as a gateway collector sends them.

use crate::attributes::{AttributeWriter, user_of};
use crate::plan::Plans;
use crate::random::Random;
use crate::topology::{Kind, Topology, Work};
use crate::wire::{Value, Wire};
use crate::words::Words;

const RECORD_ATTRIBUTES: u32 = 6;
/// A traced log belongs to one of this many newest traces, the newest most often.
const TRACES_BACK: usize = 16;
/// One record in this many has a body that is a list of keys and values.
const STRUCTURED_ONE_IN: usize = 100;
const OBSERVED_AFTER_NANOS_MAX: usize = 40_000_000;
const SAMPLED: u32 = 1;

const OPENINGS: &[(Work, &[&str])] = &[
    (
        Work::Http,
        &["handled call", "routing call to handler", "responding to caller"],
    ),
    (
        Work::HttpCall,
        &[
            "calling upstream service",
            "upstream answered",
            "retrying upstream call",
        ],
    ),
    (
        Work::Database,
        &[
            "executed statement",
            "fetched rows from table",
            "transaction committed",
        ],
    ),
    (Work::Cache, &["cache hit", "cache miss, loading from database"]),
    (
        Work::Publish,
        &["published message", "message acknowledged by broker"],
    ),
    (
        Work::Consume,
        &["processing message", "message processed, committing offset"],
    ),
    (
        Work::Compute,
        &["evaluated rules", "computed result", "validated payload"],
    ),
];
const BACKGROUND: &[&str] = &[
    "heartbeat sent",
    "refreshed configuration",
    "collected garbage",
    "rotated credentials",
];
const FAILURES: &[&str] = &[
    "failed to complete operation",
    "operation timed out",
    "unexpected error while handling",
];

struct Planned {
    pod: u32,
    time: u64,
    /// Trace number and step, none for background work.
    step: Option<(u64, u16)>,
}

/// The stream of logs of one tenant.
pub(crate) struct LogStream {
    random: Random,
    emitted: u64,
    start: u64,
    nanos_per_log: f64,
    traced_ratio: f64,
    users: usize,
    planned: Vec<Planned>,
    attributes: AttributeWriter,
    body: String,
}

impl LogStream {
    pub(crate) fn new(seed: u64, start: u64, logs_per_second: f64, traced_ratio: f64, users: usize) -> Self {
        LogStream {
            random: Random::new(seed),
            emitted: 0,
            start,
            nanos_per_log: 1e9 / logs_per_second,
            traced_ratio,
            users,
            planned: Vec::new(),
            attributes: AttributeWriter::default(),
            body: String::new(),
        }
    }

    /// Time of the next record that is in no span.
    pub(crate) fn now(&self) -> u64 {
        // Conversions of doubles saturate too.
        self.start
            .saturating_add((self.emitted as f64 * self.nanos_per_log) as u64)
    }

    pub(crate) fn batch(
        &mut self,
        topology: &Topology,
        plans: &Plans,
        words: &Words,
        count: usize,
        wire: &mut Wire,
    ) {
        self.plan(topology, plans, count);
        let planned = std::mem::take(&mut self.planned);
        for group in planned.chunk_by(|left, right| left.pod == right.pod) {
            let pod = group[0].pod as usize;
            let service = &topology.services[topology.pod_service[pod] as usize];
            let resource_logs = wire.open(1);
            wire.bytes(1, &topology.pods[pod].resource);
            let scope_logs = wire.open(2);
            wire.bytes(1, &service.scope);
            for record in group {
                let open = wire.open(2);
                self.record(topology, plans, words, record, wire);
                wire.close(open);
            }
            wire.close(scope_logs);
            wire.string(3, topology.schema_url);
            wire.close(resource_logs);
        }
        self.planned = planned;
    }

    /// Decides pod, trace and time of each record, then brings the records of one pod together.
    fn plan(&mut self, topology: &Topology, plans: &Plans, count: usize) {
        self.planned.clear();
        for _ in 0..count {
            let time = self.now();
            self.emitted += 1;
            let planned = if self.random.chance(self.traced_ratio) {
                let back = self.random.skewed(TRACES_BACK) as u64;
                let trace = plans.trace(plans.newest_at(time).saturating_sub(back));
                let step = self.random.below(trace.template.steps.len());
                let service = trace.template.steps[step].service as usize;
                let (start, end) = (trace.span_start(step), trace.span_end(step));
                Planned {
                    pod: topology.pod_of(service, trace.number) as u32,
                    time: start + ((end - start) as f64 * self.random.unit()) as u64,
                    step: Some((trace.number, step as u16)),
                }
            } else {
                Planned {
                    pod: self.random.skewed(topology.pods.len()) as u32,
                    time,
                    step: None,
                }
            };
            self.planned.push(planned);
        }
        self.planned.sort_by_key(|planned| (planned.pod, planned.time));
    }

    fn record(
        &mut self,
        topology: &Topology,
        plans: &Plans,
        words: &Words,
        planned: &Planned,
        wire: &mut Wire,
    ) {
        let service = &topology.services[topology.pod_service[planned.pod as usize] as usize];
        let trace = planned
            .step
            .map(|(number, step)| (plans.trace(number), step as usize));
        let (operation, failed, user) = match &trace {
            Some((trace, step)) => {
                let operation = topology.operation(&trace.template.steps[*step]);
                (operation, trace.span_fails(*step), user_of(trace, self.users))
            }
            // The last operation is a computation: background work.
            None => {
                let operation = &service.operations[service.operations.len() - 1];
                (operation, false, self.random.skewed(self.users) as u64)
            }
        };
        let work = trace
            .as_ref()
            .map_or(Work::Compute, |(trace, step)| trace.template.steps[*step].work);
        let severity = self.severity(failed, trace.is_some());
        let request = trace
            .as_ref()
            .map_or_else(|| self.random.word(), |(trace, _)| trace.number_for(4));

        wire.fixed64(1, planned.time);
        wire.fixed64(
            11,
            planned.time + self.random.below(OBSERVED_AFTER_NANOS_MAX) as u64,
        );
        wire.uint(2, severity.0);
        wire.string(3, severity.1);
        let opening = self.opening(work, failed, trace.is_some());
        words.compose(&mut self.random, opening, request % 10_000_000, &mut self.body);
        self.body_field(wire, user);
        wire.raw(&operation.log_attributes);
        self.attributes
            .log(wire, RECORD_ATTRIBUTES, &mut self.random, request, user);
        if let Some((trace, step)) = &trace {
            if failed {
                wire.attribute(
                    RECORD_ATTRIBUTES,
                    "error.type",
                    Value::Text(crate::attributes::error_type(trace)),
                );
            }
            wire.fixed32(8, SAMPLED);
            wire.bytes(9, &trace.id());
            wire.bytes(10, &trace.span_id(*step));
            if operation.kind == Kind::Consumer {
                wire.string(12, "app.message.processed");
            }
        }
    }

    fn body_field(&mut self, wire: &mut Wire, user: u64) {
        let body = wire.open(5);
        if self.random.below(STRUCTURED_ONE_IN) == 0 {
            let list = wire.open(6);
            wire.attribute(1, "message", Value::Text(&self.body));
            wire.attribute(1, "user", Value::Int(user as i64));
            wire.attribute(1, "ratio", Value::Double(0.5));
            wire.close(list);
        } else {
            wire.string(1, &self.body);
        }
        wire.close(body);
    }

    fn opening(&mut self, work: Work, failed: bool, traced: bool) -> &'static str {
        let openings = match (failed, traced) {
            (true, _) => FAILURES,
            (false, false) => BACKGROUND,
            (false, true) => OPENINGS
                .iter()
                .find(|(of, _)| *of == work)
                .map_or(BACKGROUND, |(_, openings)| openings),
        };
        openings[self.random.below(openings.len())]
    }

    fn severity(&mut self, failed: bool, traced: bool) -> (u64, &'static str) {
        if failed {
            return (17, "ERROR");
        }
        match self.random.below(100) {
            0..=1 => (1, "TRACE"),
            2..=19 => (5, "DEBUG"),
            20..=25 => (13, "WARN"),
            26 if !traced => (17, "ERROR"),
            _ => (9, "INFO"),
        }
    }
}
