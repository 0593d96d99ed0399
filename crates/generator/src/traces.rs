//! Spans: the planned traces of a tenant in the order in which they start, grouped by pod within a batch. A batch that
//! ends within a trace goes on with it in the next one.

use crate::attributes::{AttributeWriter, error_type, user_of};
use crate::plan::{Plans, Trace};
use crate::random::{Random, scale};
use crate::topology::{Kind, Topology};
use crate::wire::{Value, Wire};

const STATUS_ERROR: u64 = 2;
/// W3C trace flags: sampled, and the bit that says whether the parent is remote is known; then "is remote".
const FLAGS_LOCAL: u32 = 0x101;
const FLAGS_REMOTE: u32 = 0x301;
/// One span in this many has an event that is not an exception.
const EVENT_ONE_IN: usize = 12;
const STACK_TRACE: &str = "at com.shop.core.Handler.invoke(Handler.java:214)\n\tat com.shop.core.Pipeline.run\
(Pipeline.java:88)\n\tat com.shop.http.Dispatcher.dispatch(Dispatcher.java:131)\n\tat java.base/java.lang.Thread.run";

/// The stream of spans of one tenant.
pub(crate) struct TraceStream {
    random: Random,
    trace: u64,
    step: usize,
    users: usize,
    planned: Vec<(u32, u64, u16)>,
    attributes: AttributeWriter,
}

impl TraceStream {
    pub(crate) fn new(seed: u64, users: usize) -> Self {
        TraceStream {
            random: Random::new(seed),
            trace: 0,
            step: 0,
            users,
            planned: Vec::new(),
            attributes: AttributeWriter::default(),
        }
    }

    /// Start of the next trace.
    pub(crate) fn now(&self, plans: &Plans) -> u64 {
        plans.trace(self.trace).start
    }

    pub(crate) fn batch(&mut self, topology: &Topology, plans: &Plans, count: usize, wire: &mut Wire) {
        self.plan(topology, plans, count);
        let planned = std::mem::take(&mut self.planned);
        for group in planned.chunk_by(|left, right| left.0 == right.0) {
            let pod = group[0].0 as usize;
            let service = &topology.services[topology.pod_service[pod] as usize];
            let resource_spans = wire.open(1);
            wire.bytes(1, &topology.pods[pod].resource);
            let scope_spans = wire.open(2);
            wire.bytes(1, &service.scope);
            for (_, trace, step) in group {
                let open = wire.open(2);
                self.span(topology, plans, &plans.trace(*trace), usize::from(*step), wire);
                wire.close(open);
            }
            wire.close(scope_spans);
            wire.string(3, topology.schema_url);
            wire.close(resource_spans);
        }
        self.planned = planned;
    }

    fn plan(&mut self, topology: &Topology, plans: &Plans, count: usize) {
        self.planned.clear();
        while self.planned.len() < count {
            let trace = plans.trace(self.trace);
            let steps = &trace.template.steps;
            while self.step < steps.len() && self.planned.len() < count {
                let pod = topology.pod_of(steps[self.step].service as usize, self.trace);
                self.planned.push((pod as u32, self.trace, self.step as u16));
                self.step += 1;
            }
            if self.step == steps.len() {
                self.trace += 1;
                self.step = 0;
            }
        }
        self.planned.sort_unstable();
    }

    fn span(&mut self, topology: &Topology, plans: &Plans, trace: &Trace<'_>, step: usize, wire: &mut Wire) {
        let planned = &trace.template.steps[step];
        let operation = topology.operation(planned);
        let (start, end) = (trace.span_start(step), trace.span_end(step));
        wire.bytes(1, &trace.id());
        wire.bytes(2, &trace.span_id(step));
        if scale(trace.number_for(5), 20) == 0 {
            wire.string(3, "vendor=t61rcWkgMzE,tier=gold");
        }
        if let Some(parent) = planned.parent {
            wire.bytes(4, &trace.span_id(usize::from(parent)));
        }
        wire.string(5, &operation.name);
        wire.uint(6, planned.kind as u64);
        wire.fixed64(7, start);
        wire.fixed64(8, end);
        wire.raw(&operation.span_attributes);
        let user = user_of(trace, self.users);
        self.attributes
            .span(wire, &mut self.random, operation, trace, step, user);
        let failed = trace.span_fails(step);
        if failed {
            exception(wire, trace, end);
        } else if self.random.below(EVENT_ONE_IN) == 0 {
            let event = wire.open(11);
            wire.fixed64(1, start + (end - start) / 2);
            wire.string(2, "cache.refreshed");
            wire.attribute(3, "cache.entries", Value::Int(self.random.skewed(5_000) as i64));
            wire.close(event);
        }
        // A consumer works a batch: it links to the trace that produced an earlier message.
        if planned.kind == Kind::Consumer && trace.number > 0 {
            self.link(plans, trace, wire);
        }
        if failed {
            let status = wire.open(15);
            wire.string(2, error_type(trace));
            wire.uint(3, STATUS_ERROR);
            wire.close(status);
        }
        let remote = matches!(planned.kind, Kind::Server | Kind::Consumer) && planned.parent.is_some();
        wire.fixed32(16, if remote { FLAGS_REMOTE } else { FLAGS_LOCAL });
    }

    fn link(&mut self, plans: &Plans, trace: &Trace<'_>, wire: &mut Wire) {
        let back = 1 + self.random.skewed(20) as u64;
        let producer = plans.trace(trace.number.saturating_sub(back));
        let link = wire.open(13);
        wire.bytes(1, &producer.id());
        wire.bytes(2, &producer.span_id(0));
        wire.attribute(
            4,
            "messaging.batch.message_count",
            Value::Int(1 + self.random.skewed(50) as i64),
        );
        wire.fixed32(6, FLAGS_LOCAL);
        wire.close(link);
    }
}

fn exception(wire: &mut Wire, trace: &Trace<'_>, end: u64) {
    let event = wire.open(11);
    wire.fixed64(1, end);
    wire.string(2, "exception");
    wire.attribute(3, "exception.type", Value::Text(error_type(trace)));
    wire.attribute(
        3,
        "exception.message",
        Value::Text("deadline exceeded after 2 attempts"),
    );
    wire.attribute(3, "exception.stacktrace", Value::Text(STACK_TRACE));
    wire.close(event);
}
