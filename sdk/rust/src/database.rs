//! What clients of databases have in common: the span and the measurement of an operation. Names of spans, attributes and metrics
//! are those of the semantic conventions.
//!
//! <https://opentelemetry.io/docs/specs/semconv/db/>

use std::sync::Arc;
use std::time::Instant;

use cupola_sdk_core::Sdk;
use cupola_sdk_core::metrics::{self, Description, Instrument};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::{SpanKind, Status};
use cupola_sdk_core::tracer::{Recording, Start, Tracer};
use cupola_sdk_core::value::Value;

use crate::context::Context;

/// Bounds of the buckets of durations, in seconds, as the semantic conventions advise.
const SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// What records the operations on one database.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    tracer: Tracer,
    duration: Instrument<f64>,
    pub(crate) place: Place,
}

/// Which database, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) system: &'static str,
    pub(crate) namespace: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) port: Option<u16>,
}

/// What is asked of a database. Values are in none of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operation {
    pub(crate) name: Option<String>,
    pub(crate) collection: Option<String>,
    /// Low in cardinality: it is the name of the span.
    pub(crate) summary: Option<String>,
    pub(crate) text: Option<String>,
    /// Of how many, if it is of several.
    pub(crate) batch: Option<usize>,
}

/// Why an operation has failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure<'f> {
    /// One of few.
    pub(crate) kind: &'f str,
    /// As the database has answered.
    pub(crate) code: Option<&'f str>,
    /// For people. Messages of databases quote values, so it is none of theirs.
    pub(crate) message: &'f str,
}

impl Client {
    pub(crate) fn new(sdk: &Sdk, scope: &'static str, place: Place) -> Client {
        let scope = Scope::of(scope, env!("CARGO_PKG_VERSION"), "", &[]);
        let duration = sdk.meter(scope).histogram(&Description {
            boundaries: Some(SECONDS),
            ..Description::of(
                "db.client.operation.duration",
                "s",
                "Duration of database client operations.",
            )
        });
        Client {
            tracer: sdk.tracer(scope),
            duration,
            place,
        }
    }

    /// Starts the span of an operation below the current one; in which context it is done, and what ends it.
    pub(crate) fn begin(self: &Arc<Client>, mut operation: Operation) -> (Context, Running) {
        let context = Context::current();
        let text = operation.text.take();
        let mut attributes = self.attributes(&operation);
        attributes.extend(text.as_deref().map(|text| ("db.query.text", Value::String(text))));
        let size = operation.batch.and_then(|size| i64::try_from(size).ok());
        attributes.extend(size.map(|size| ("db.operation.batch.size", Value::Int(size))));
        let started = self.tracer.start(Start {
            kind: SpanKind::Client,
            parent: context.span(),
            baggage: context.baggage(),
            is_forced: context.is_forced(),
            attributes: &attributes,
            ..Start::new(self.name_of(&operation))
        });
        let context = context.with_span(started.context);
        let running = Running(Some(Box::new(Open {
            client: self.clone(),
            recording: started.recording,
            context: context.clone(),
            begun: Instant::now(),
            operation,
        })));
        (context, running)
    }

    /// The summary, or the operation with what it is done to.
    fn name_of(&self, operation: &Operation) -> String {
        match (&operation.summary, &operation.name, &operation.collection) {
            (Some(summary), ..) => summary.clone(),
            (None, Some(name), Some(collection)) => format!("{name} {collection}"),
            (None, Some(name), None) => name.clone(),
            (None, None, _) => self.place.system.to_owned(),
        }
    }

    /// What spans and measurements have both.
    fn attributes<'o>(&'o self, operation: &'o Operation) -> Vec<(&'static str, Value<'o>)> {
        let place = &self.place;
        let texts = [
            ("db.namespace", &place.namespace),
            ("server.address", &place.address),
            ("db.operation.name", &operation.name),
            ("db.collection.name", &operation.collection),
            ("db.query.summary", &operation.summary),
        ];
        let mut attributes = vec![("db.system.name", Value::String(place.system))];
        let texts = texts.into_iter();
        attributes.extend(texts.filter_map(|(key, text)| Some((key, Value::String(text.as_deref()?)))));
        attributes.extend(place.port.map(|port| ("server.port", Value::Int(port.into()))));
        attributes
    }
}

/// An operation that has begun.
#[derive(Debug)]
pub(crate) struct Running(Option<Box<Open>>);

#[derive(Debug)]
struct Open {
    client: Arc<Client>,
    recording: Option<Recording>,
    context: Context,
    begun: Instant,
    operation: Operation,
}

impl Running {
    /// With so many rows, if it is one that returns rows.
    pub(crate) fn succeeded(&mut self, rows: Option<u64>) {
        if let Some(open) = self.0.take() {
            open.end(rows, None);
        }
    }

    pub(crate) fn failed(&mut self, failure: &Failure<'_>) {
        if let Some(open) = self.0.take() {
            open.end(None, Some(failure));
        }
    }
}

impl Drop for Running {
    /// Nobody waits for it any more.
    fn drop(&mut self) {
        self.failed(&Failure {
            kind: "cancelled",
            code: None,
            message: "",
        });
    }
}

impl Open {
    fn end(self, rows: Option<u64>, failure: Option<&Failure<'_>>) {
        let mut attributes = self.client.attributes(&self.operation);
        let before = attributes.len();
        if let Some(failure) = failure {
            let code = failure.code;
            attributes.extend(code.map(|code| ("db.response.status_code", Value::String(code))));
            attributes.push(("error.type", Value::String(code.unwrap_or(failure.kind))));
        }
        let within = metrics::Context {
            span: self.context.span(),
            baggage: self.context.baggage(),
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        self.client.duration.record_in(seconds, &attributes, &within);
        let Some(mut span) = self.recording else {
            return;
        };
        for (key, value) in attributes.drain(before..) {
            span.set(key, value);
        }
        if let Some(rows) = rows.and_then(|rows| i64::try_from(rows).ok()) {
            span.set("db.response.returned_rows", rows);
        }
        if let Some(failure) = failure {
            span.set_status(Status::Error {
                description: failure.message.to_owned(),
            });
        }
        self.client.tracer.end(span);
    }
}
