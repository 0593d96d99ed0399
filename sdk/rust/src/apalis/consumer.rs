//! Jobs that are done.

use std::any::{Any, type_name};
use std::collections::VecDeque;
use std::error::Error;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use cupola_sdk_core::Sdk;
use cupola_sdk_core::context::SpanContext;
use cupola_sdk_core::metrics::Description;
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tracer::Start;
use cupola_sdk_core::value::Value;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::carried::carried;
use super::operation::{Instruments, Operation};
use crate::context::{Context, InContext as _, WithContext};

/// Failed attempts that are remembered, to be linked by the next: of those beyond, the oldest are forgotten.
const ATTEMPTS_MAX: usize = 1_024;

/// Traces and measures jobs that are done. What is put before it on a `WorkerBuilder` is around it: attempts are told apart behind
/// `retry`, and panics are seen behind `catch_panic`.
#[derive(Clone, Debug)]
pub struct ConsumerLayer(Arc<Consumer>);

#[derive(Debug)]
struct Consumer {
    instruments: Instruments,
    is_linked: bool,
    failed: Mutex<VecDeque<Attempt>>,
}

/// An attempt that failed.
#[derive(Clone, Debug)]
struct Attempt {
    task: String,
    number: usize,
    span: SpanContext,
}

impl ConsumerLayer {
    pub fn new(sdk: &Sdk) -> ConsumerLayer {
        let instruments = Instruments::new(
            sdk,
            Description {
                description: "Duration of an attempt at a job.",
                ..Description::new("messaging.process.duration")
            },
            Description {
                description: "Number of attempts at jobs.",
                ..Description::new("messaging.client.consumed.messages")
            },
        );
        ConsumerLayer(Arc::new(Consumer {
            instruments,
            is_linked: false,
            failed: Mutex::default(),
        }))
    }

    /// Each attempt begins a trace of its own, which is linked to that of whoever queued the job: for jobs that are done so much
    /// later that one trace of both would say little.
    #[must_use]
    pub fn linked(self) -> ConsumerLayer {
        ConsumerLayer(Arc::new(Consumer {
            instruments: self.0.instruments.clone(),
            is_linked: true,
            failed: Mutex::default(),
        }))
    }
}

impl Consumer {
    /// Starts the span of an attempt.
    fn begin<Args>(self: &Arc<Self>, task: &Task<Args>) -> Job {
        let name = short_name(type_name::<Args>());
        let id = task.task_id().map(ToString::to_string).unwrap_or_default();
        // It counts when it is first polled.
        let number = task.attempt() + 1;
        let sdk = self.instruments.tracer.sdk();
        let carried = carried(sdk, task.metadata());
        let sender = carried.span.clone();
        let mut around = Context::of_carried(carried).with_attribute("apalis.task.name", name);
        let attempt = i64::try_from(number).unwrap_or(i64::MAX);
        let mut attributes = vec![
            ("apalis.task.name", Value::String(name)),
            ("apalis.task.attempt", Value::Int(attempt)),
        ];
        if !id.is_empty() {
            attributes.push(("messaging.message.id", Value::String(&id)));
            around = around.with_attribute("apalis.task.id", id.as_str());
        }
        let most = task.max_attempts().and_then(|most| i64::try_from(most).ok());
        attributes.extend(most.map(|most| ("apalis.task.max_attempts", Value::Int(most))));
        let worker = task.data().get::<WorkerContext>();
        attributes.extend(worker.map(|worker| ("apalis.worker.name", Value::String(worker.name()))));
        let earlier = self.earlier(&id, number);
        let numbers: Vec<_> = earlier.iter().map(|attempt| numbered(attempt.number)).collect();
        let mut links: Vec<(SpanContext, &[(&str, Value<'_>)])> = Vec::new();
        if self.is_linked && sender.is_valid() {
            links.push((sender.clone(), &[]));
        }
        links.extend(
            earlier
                .iter()
                .zip(&numbers)
                .map(|(attempt, number)| (attempt.span.clone(), &number[..])),
        );
        let none = SpanContext::none();
        let start = Start {
            kind: SpanKind::Consumer,
            parent: match self.is_linked {
                true => &none,
                false => &sender,
            },
            attributes: &attributes,
            links: &links,
            ..Start::new("")
        };
        let queue = task
            .queue()
            .map_or_else(|| type_name::<Args>().to_owned(), ToString::to_string);
        let operation = self.instruments.begin("process", queue, &around, start);
        Job {
            consumer: self.clone(),
            operation,
            id,
            number,
        }
    }

    /// Earlier attempts that failed.
    fn earlier(&self, id: &str, number: usize) -> Vec<Attempt> {
        if number == 1 || id.is_empty() {
            return Vec::new();
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed
            .iter()
            .filter(|attempt| attempt.task == id)
            .cloned()
            .collect()
    }

    fn remember(&self, attempt: Attempt) {
        if attempt.task.is_empty() {
            return;
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= ATTEMPTS_MAX {
            failed.pop_front();
        }
        failed.push_back(attempt);
    }

    fn forget(&self, id: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|attempt| attempt.task != id);
    }
}

fn numbered(number: usize) -> [(&'static str, Value<'static>); 1] {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    [("apalis.task.attempt", Value::Int(number))]
}

/// The name of a type without its path and its parameters.
fn short_name(name: &str) -> &str {
    let plain = name.split('<').next().unwrap_or(name);
    plain.rsplit("::").next().unwrap_or(plain)
}

/// An attempt that runs.
#[derive(Debug)]
struct Job {
    consumer: Arc<Consumer>,
    operation: Operation,
    id: String,
    number: usize,
}

impl Job {
    fn done(self) {
        if self.number > 1 {
            self.consumer.forget(&self.id);
        }
        self.operation.done();
    }

    fn failed(self, error: &(dyn Error + 'static)) {
        self.operation
            .context()
            .run(|| tracing::error!(error, "job failed"));
        let operation = self.remembered();
        operation.failed(error);
    }

    fn panicked(self, payload: &(dyn Any + Send)) {
        let operation = self.remembered();
        operation.panicked(payload);
    }

    fn remembered(self) -> Operation {
        self.consumer.remember(Attempt {
            task: self.id,
            number: self.number,
            span: self.operation.context().span().clone(),
        });
        self.operation
    }
}

impl<S> Layer<S> for ConsumerLayer {
    type Service = ConsumerService<S>;

    fn layer(&self, inner: S) -> ConsumerService<S> {
        ConsumerService {
            inner,
            consumer: self.0.clone(),
        }
    }
}

/// A handler of jobs behind the layer.
#[derive(Clone, Debug)]
pub struct ConsumerService<S> {
    inner: S,
    consumer: Arc<Consumer>,
}

impl<S, Args> Service<Task<Args>> for ConsumerService<S>
where
    S: Service<Task<Args>>,
    S::Error: Into<BoxDynError>,
{
    type Response = S::Response;
    type Error = BoxDynError;
    type Future = ConsumerFuture<S::Future>;

    fn poll_ready(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(task).map_err(Into::into)
    }

    fn call(&mut self, task: Task<Args>) -> ConsumerFuture<S::Future> {
        let job = self.consumer.begin(&task);
        let context = job.operation.context();
        // What the handler does before it first waits is inside too.
        let called = catch(|| context.clone().run(|| self.inner.call(task)));
        match called {
            Ok(inner) => ConsumerFuture {
                inner: inner.in_context(context),
                job: Some(job),
            },
            Err(payload) => {
                job.panicked(&*payload);
                panic::resume_unwind(payload)
            }
        }
    }
}

/// Nothing that has panicked is used again: the panic goes on as soon as it has been recorded.
fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    panic::catch_unwind(AssertUnwindSafe(run))
}

pin_project! {
    /// An attempt at a job.
    pub struct ConsumerFuture<F> {
        #[pin]
        inner: WithContext<F>,
        job: Option<Job>,
    }
}

impl<F, R, E> Future for ConsumerFuture<F>
where
    F: Future<Output = Result<R, E>>,
    E: Into<BoxDynError>,
{
    type Output = Result<R, BoxDynError>;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let done = match catch(|| this.inner.poll(task)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(done)) => done.map_err(Into::into),
            Err(payload) => {
                if let Some(job) = this.job.take() {
                    job.panicked(&*payload);
                }
                panic::resume_unwind(payload)
            }
        };
        match (this.job.take(), &done) {
            (Some(job), Ok(_)) => job.done(),
            (Some(job), Err(error)) => job.failed(&**error),
            (None, _) => {}
        }
        Poll::Ready(done)
    }
}
