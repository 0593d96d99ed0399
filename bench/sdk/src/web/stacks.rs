//! Instrumentation of a web server, by hand and the same for all: a span of the server, a log record in it, and a histogram.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use clap::ValueEnum;
use cupola_sdk::http::ServerLayer;
use cupola_sdk_core::baggage::Baggage;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::logger::Logger;
use cupola_sdk_core::metrics::{Description, Instrument};
use cupola_sdk_core::recorder::Scope;
use cupola_sdk_core::span::SpanKind;
use cupola_sdk_core::tracer::{Start, Tracer};
use cupola_sdk_core::{Sdk, Surroundings, Value};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::operation::data;
use crate::side::Side as _;
use crate::sides::cupola_core::{FLUSH_TIMEOUT, settings};
use crate::sides::cupola_tracing::Tracing as CupolaTracing;
use crate::sides::logfire::Logfire;
use crate::sides::opentelemetry_sdk::{Providers, Tracing};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stack {
    /// None. The first, which the others are compared with.
    Bare,
    CupolaCore,
    CupolaTracing,
    /// Its own layer of axum, which measures sizes and what is in progress as well.
    CupolaAxum,
    TracingOpentelemetry,
    Logfire,
}

/// A stack at work.
pub(crate) struct Started {
    /// Puts it around routes.
    pub(crate) instrument: Box<dyn FnOnce(Router) -> Router + Send>,
    pub(crate) flush: Arc<dyn Fn() + Send + Sync>,
}

impl Stack {
    pub(crate) fn is_cupola(self) -> bool {
        matches!(self, Stack::CupolaCore | Stack::CupolaTracing | Stack::CupolaAxum)
    }

    pub(crate) fn start(self, endpoint: &str) -> Result<Started> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(match self {
            Stack::Bare => Started {
                instrument: Box::new(|routes| routes),
                flush: Arc::new(|| {}),
            },
            Stack::CupolaCore => core(endpoint),
            Stack::CupolaTracing => cupola_tracing(endpoint)?,
            Stack::CupolaAxum => cupola_axum(endpoint)?,
            Stack::TracingOpentelemetry => {
                let providers = Providers::start(endpoint, true)?;
                Tracing::install(&providers)?;
                let duration = api_histogram(&providers);
                Started {
                    instrument: Box::new(move |routes| by_tracing(routes, duration)),
                    flush: Arc::new(move || providers.flush()),
                }
            }
            Stack::Logfire => {
                let logfire = Logfire::start(endpoint, true)?;
                let histogram = logfire.histogram.clone();
                let duration = move |seconds, method: &str, route: &str, status: i64| {
                    use opentelemetry_of_logfire::KeyValue;
                    histogram.record(
                        seconds,
                        &[
                            KeyValue::new("http.request.method", method.to_owned()),
                            KeyValue::new("http.route", route.to_owned()),
                            KeyValue::new("http.response.status_code", status),
                        ],
                    );
                };
                Started {
                    instrument: Box::new(move |routes| by_tracing(routes, Arc::new(duration))),
                    flush: Arc::new(move || logfire.flush()),
                }
            }
        })
    }
}

/// Measures seconds, by method, route and status.
type Measure = Arc<dyn Fn(f64, &str, &str, i64) + Send + Sync>;

fn api_histogram(providers: &Providers) -> Measure {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::MeterProvider as _;
    let meter = providers.metrics.meter(data::SCOPE);
    let histogram = meter
        .f64_histogram("http.server.request.duration")
        .with_unit("s")
        .build();
    Arc::new(move |seconds, method, route, status| {
        histogram.record(
            seconds,
            &[
                KeyValue::new("http.request.method", method.to_owned()),
                KeyValue::new("http.route", route.to_owned()),
                KeyValue::new("http.response.status_code", status),
            ],
        );
    })
}

/// What is told of a request before it is answered.
struct Asked {
    method: axum::http::Method,
    route: Option<MatchedPath>,
    path: axum::http::Uri,
    begin: Instant,
}

impl Asked {
    fn of(request: &Request) -> Asked {
        Asked {
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            path: request.uri().clone(),
            begin: Instant::now(),
        }
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }
}

fn by_tracing(routes: Router, duration: Measure) -> Router {
    routes.route_layer(from_fn(move |request: Request, next: Next| {
        let duration = duration.clone();
        let asked = Asked::of(&request);
        let span = tracing::info_span!(
            "GET /orders/{id}",
            otel.kind = "server",
            http.request.method = asked.method.as_str(),
            http.route = asked.route(),
            url.path = asked.path.path(),
            url.scheme = "http",
            http.response.status_code = Empty,
        );
        let inner = span.clone();
        async move {
            let response = next.run(request).await;
            let (seconds, status) = (asked.begin.elapsed().as_secs_f64(), status(&response));
            inner.record("http.response.status_code", status);
            tracing::info!(http.response.status_code = status, seconds, "request answered");
            duration(seconds, asked.method.as_str(), asked.route(), status);
            response
        }
        .instrument(span)
    }))
}

fn status(response: &Response) -> i64 {
    i64::from(response.status().as_u16())
}

fn cupola_tracing(endpoint: &str) -> Result<Started> {
    let sdk = Sdk::new(settings(endpoint, true), Surroundings::default());
    CupolaTracing::install(&sdk)?;
    let histogram = duration_of(&sdk);
    let measure = move |seconds, method: &str, route: &str, status: i64| {
        histogram.record(
            seconds,
            &[
                ("http.request.method", Value::String(method)),
                ("http.route", Value::String(route)),
                ("http.response.status_code", Value::Int(status)),
            ],
        );
    };
    Ok(Started {
        instrument: Box::new(move |routes| by_tracing(routes, Arc::new(measure))),
        flush: Arc::new(move || {
            sdk.flush(FLUSH_TIMEOUT);
        }),
    })
}

fn cupola_axum(endpoint: &str) -> Result<Started> {
    let sdk = Sdk::new(settings(endpoint, true), Surroundings::default());
    CupolaTracing::install(&sdk)?;
    let server = ServerLayer::new(&sdk);
    let log = |request: Request, next: Next| async move {
        let begin = Instant::now();
        let response = next.run(request).await;
        let (seconds, status) = (begin.elapsed().as_secs_f64(), status(&response));
        tracing::info!(http.response.status_code = status, seconds, "request answered");
        response
    };
    Ok(Started {
        instrument: Box::new(move |routes| routes.route_layer(from_fn(log)).route_layer(server)),
        flush: Arc::new(move || {
            sdk.flush(FLUSH_TIMEOUT);
        }),
    })
}

fn duration_of(sdk: &Sdk) -> Instrument<f64> {
    let meter = sdk.meter(Scope::of(data::SCOPE, "", "", &[]));
    meter.histogram(&Description {
        unit: "s",
        ..Description::new("http.server.request.duration")
    })
}

/// The core, called by hand.
struct Core {
    sdk: Sdk,
    tracer: Tracer,
    logger: Logger,
    duration: Instrument<f64>,
}

fn core(endpoint: &str) -> Started {
    let sdk = Sdk::new(settings(endpoint, true), Surroundings::default());
    let scope = Scope::of(data::SCOPE, "", "", &[]);
    let core = Arc::new(Core {
        tracer: sdk.tracer(scope),
        logger: sdk.logger(scope),
        duration: duration_of(&sdk),
        sdk,
    });
    let flushed = core.clone();
    let answer = move |request: Request, next: Next| {
        let core = core.clone();
        async move { core.answer(request, next).await }
    };
    Started {
        instrument: Box::new(move |routes| routes.route_layer(from_fn(answer))),
        flush: Arc::new(move || {
            flushed.sdk.flush(FLUSH_TIMEOUT);
        }),
    }
}

impl Core {
    async fn answer(&self, request: Request, next: Next) -> Response {
        let asked = Asked::of(&request);
        let attributes = [
            ("http.request.method", Value::String(asked.method.as_str())),
            ("http.route", Value::String(asked.route())),
            ("url.path", Value::String(asked.path.path())),
            ("url.scheme", Value::String("http")),
        ];
        let mut start = Start::new("GET /orders/{id}");
        start.kind = SpanKind::Server;
        start.attributes = &attributes;
        let mut started = self.tracer.start(start);

        let response = next.run(request).await;
        let (seconds, status) = (asked.begin.elapsed().as_secs_f64(), status(&response));
        let mut record = self
            .logger
            .record(Severity::INFO, "request answered", &Baggage::none());
        record.set("http.response.status_code", status);
        record.set("seconds", seconds);
        record.span = Some(&started.context);
        self.logger.emit(&record);
        self.duration.record(
            seconds,
            &[
                ("http.request.method", Value::String(asked.method.as_str())),
                ("http.route", Value::String(asked.route())),
                ("http.response.status_code", Value::Int(status)),
            ],
        );
        if let Some(mut recording) = started.recording.take() {
            recording.set("http.response.status_code", status);
            self.tracer.end(recording);
        }
        response
    }
}
