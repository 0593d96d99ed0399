//! Jobs that are queued.

use std::error::Error;
use std::future::Future;

use apalis_core::backend::{BackendConfig, TaskSink, TaskSinkError};
use apalis_core::task::Task;
use apalis_core::task::metadata::TracingContext;
use apalis_core::task::task_id::GenerateId;
use cupola_sdk_core::Sdk;
use cupola_sdk_core::metrics::Description;
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::value::Value;

use super::carried::Pairs;
use super::operation::{Instruments, Operation};
use crate::context::{Context, InContext as _};

/// Traces and counts jobs that are queued.
#[derive(Clone, Debug)]
pub struct Producer {
    instruments: Instruments,
    queue: String,
}

impl Producer {
    /// Of jobs for a queue of this name.
    pub fn new(sdk: &Sdk, queue: impl Into<String>) -> Producer {
        let instruments = Instruments::new(
            sdk,
            Description {
                description: "Duration of queueing a job.",
                ..Description::new("messaging.client.operation.duration")
            },
            Description {
                description: "Number of jobs that were queued.",
                ..Description::new("messaging.client.sent.messages")
            },
        );
        Producer {
            instruments,
            queue: queue.into(),
        }
    }

    /// Starts the span of queueing, and has its context go along with the job.
    fn begin<Args>(&self, task: &mut Task<Args>) -> Operation {
        let around = Context::current();
        let id = task.task_id().map(ToString::to_string);
        let attributes: Vec<_> = id
            .iter()
            .map(|id| ("messaging.message.id", Value::String(id)))
            .collect();
        let start = Start {
            kind: SpanKind::Producer,
            parent: around.span(),
            attributes: &attributes,
            ..Start::new("")
        };
        let operation = self.instruments.begin("send", self.queue.clone(), &around, start);
        let carried = operation.context().to_carried();
        let mut pairs = Vec::new();
        self.instruments
            .tracer
            .sdk()
            .propagators()
            .inject(&carried, &mut pairs);
        // Also in the form of apalis itself, for workers without this layer.
        if carried.span.is_valid() {
            let own = TracingContext::new()
                .with_trace_id(carried.span.trace_id.to_string())
                .with_span_id(carried.span.span_id.to_string())
                .with_trace_flags(carried.span.flags.0);
            let _ = task.inject_metadata(&own);
        }
        let _ = task.inject_metadata(&Pairs(pairs));
        operation
    }
}

/// Queueing a job as a span, with its context in the metadata of the job.
pub trait PushTraced<Args, Kind>: TaskSink<Args, Kind> {
    /// Queues a job, or a task that a `TaskBuilder` has made. One that has no id gets one here, so that the span has it too.
    fn push_traced(
        &mut self,
        producer: &Producer,
        job: impl Into<Task<Args>> + Send,
    ) -> impl Future<Output = Result<(), TaskSinkError<Self::Error>>> + Send;
}

impl<S, Args, Kind> PushTraced<Args, Kind> for S
where
    S: TaskSink<Args, Kind> + BackendConfig<Id: GenerateId> + Send,
    S::Error: Error + Send + 'static,
    Args: Send + Sync,
{
    async fn push_traced(
        &mut self,
        producer: &Producer,
        job: impl Into<Task<Args>> + Send,
    ) -> Result<(), TaskSinkError<S::Error>> {
        let mut task = job.into();
        if task.task_id().is_none() {
            task = task.into_builder().task_id(S::Id::generate()).build();
        }
        let operation = producer.begin(&mut task);
        let queued = self.push_task(task).in_context(operation.context()).await;
        match &queued {
            Ok(()) => operation.done(),
            Err(error) => operation.failed(error),
        }
        queued
    }
}
