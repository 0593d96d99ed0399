//! Everything Cupola serves to those who ask: the HTTP API with its OpenAPI document and web page, live tails, metrics,
//! health, the PostgreSQL wire protocol and Arrow Flight SQL; and the listeners of pages that the binary makes.
//!
//! Refuses: taking telemetry in (the receivers of `pipeline` do), planning queries (`query` does), reading configuration
//! files or the environment (the binary does). Every request is answered for exactly one tenant.

mod attribute_value;
mod backend;
mod config;
mod connections;
mod control;
mod encode;
mod error;
mod flight;
mod health;
mod listener;
mod live;
mod metrics;
mod model;
mod own_metrics;
mod pages;
mod postgres;
mod predicate;
mod query_string;
mod routes;
mod rows;
mod security;
mod server;
mod state;
mod tenant;
mod web;

pub use config::{API_PORT, ApiConfig, FLIGHT_PORT, HEALTH_PORT, POSTGRES_PORT};
pub use connections::Connections;
pub use control::{ConfigurationChange, Control};
pub use error::{ErrorBody, ErrorDetail};
pub use health::{
    ComponentHealth, HealthConfig, HealthServer, HealthSource, HealthStatus, Readiness, ReadyState,
    RunningHealth,
};
pub use listener::StartError;
pub use metrics::{MetricFamily, MetricKind, MetricsSource, PROMETHEUS_CONTENT_TYPE, PrometheusText};
pub use model::{
    AttributeKey, AttributeKeyList, AttributeValue, AttributeValueList, Attributes, Column, LogPage,
    LogRecord, OtlpPorts, RunningQuery, RunningQueryList, Service, ServiceEdge, ServiceList, ServiceMap,
    Span, SpanEvent, SpanLink, SqlAnswer, SqlStats, Trace, TraceList, TraceSummary,
};
pub use pages::{PageServer, RunningPages};
pub use routes::openapi_json;
pub use server::{ApiServer, RunningApi};
pub use tenant::TENANT_HEADER;
