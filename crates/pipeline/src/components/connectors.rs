//! Connectors by name.

use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::{Accepted, Component, Sample, SendError, Sink};
use cupola_telemetry::{Batch, Signal};
use serde::de::DeserializeOwned;

use super::{ALL, TRACES, findings};
use crate::connectors::count::{Count, CountConfig};
use crate::connectors::failover::{Failover, FailoverConfig};
use crate::connectors::forward::{Forward, ForwardConfig};
use crate::connectors::routing::{Routing, RoutingConfig};
use crate::connectors::servicegraph::{ServiceGraph, ServiceGraphConfig};
use crate::connectors::spanmetrics::{SpanMetrics, SpanMetricsConfig};
use crate::connectors::{Outputs, Surroundings};
use crate::graph::Context;
use crate::graph::kinds::{BuildError, ConnectorKind, ConnectorSettings, Kind, Registry};
use crate::processors::ConfigError;

const SAME: &[(Signal, Signal)] = &[
    (Signal::Logs, Signal::Logs),
    (Signal::Metrics, Signal::Metrics),
    (Signal::Traces, Signal::Traces),
];
const TO_METRICS: &[(Signal, Signal)] = &[
    (Signal::Logs, Signal::Metrics),
    (Signal::Metrics, Signal::Metrics),
    (Signal::Traces, Signal::Metrics),
];
const SPANS_TO_METRICS: &[(Signal, Signal)] = &[(Signal::Traces, Signal::Metrics)];

pub(super) fn register(registry: &mut Registry) {
    let connectors = &mut registry.connectors;
    connectors.push(
        kind(
            "spanmetrics",
            TRACES,
            SPANS_TO_METRICS,
            SpanMetricsConfig::validate,
            |config, made| {
                Ok(Arc::new(SpanMetrics::new(
                    config,
                    made.outputs.clone(),
                    made.surroundings(),
                )?))
            },
        )
        .also("span_metrics"),
    );
    connectors.push(
        kind(
            "servicegraph",
            TRACES,
            SPANS_TO_METRICS,
            ServiceGraphConfig::validate,
            |config, made| {
                Ok(Arc::new(ServiceGraph::new(
                    config,
                    made.outputs.clone(),
                    made.surroundings(),
                )?))
            },
        )
        .also("service_graph"),
    );
    connectors.push(kind(
        "count",
        ALL,
        TO_METRICS,
        CountConfig::validate,
        |config, made| {
            Ok(Arc::new(Count::new(
                config,
                made.outputs.clone(),
                made.surroundings(),
            )?))
        },
    ));
    connectors.push(kind(
        "forward",
        ALL,
        SAME,
        ForwardConfig::validate,
        |config, made| {
            Ok(Arc::new(Forward::new(
                config,
                made.outputs.clone(),
                made.context.env.clone(),
            )?))
        },
    ));
    let any = |config: &RoutingConfig| {
        // Conditions are of one signal or another: they are good if they are of any.
        let tried = ALL.iter().map(|signal| config.validate(*signal));
        tried
            .reduce(|one, other| if one.is_ok() { one } else { other })
            .unwrap_or(Ok(()))
    };
    connectors.push(kind("routing", ALL, SAME, any, |config, made| {
        made.by_signal(|signal| {
            Ok(Arc::new(Routing::new(
                config,
                signal,
                made.outputs.clone(),
                made.context.env.clone(),
            )?))
        })
    }));
    connectors.push(kind(
        "failover",
        ALL,
        SAME,
        FailoverConfig::validate,
        |config, made| {
            made.by_signal(|signal| {
                Ok(Arc::new(Failover::new(
                    config,
                    signal,
                    made.outputs.clone(),
                    made.context.env.clone(),
                )?))
            })
        },
    ));
}

/// What a connector is made with.
struct Making<'m> {
    context: &'m Context,
    inputs: &'m [Signal],
    outputs: &'m Outputs,
}

type Made = Result<Arc<dyn Component>, ConfigError>;

impl Making<'_> {
    fn surroundings(&self) -> Surroundings {
        Surroundings {
            env: self.context.env.clone(),
            memory: self.context.held.clone(),
            instance: None,
        }
    }

    /// One for each signal that comes in.
    fn by_signal(&self, make: impl Fn(Signal) -> Made) -> Made {
        let mut by_signal = BySignal::default();
        for signal in self.inputs {
            by_signal.components[*signal as usize] = Some(make(*signal)?);
        }
        Ok(Arc::new(by_signal))
    }
}

/// A connector for each signal.
#[derive(Default)]
struct BySignal {
    components: [Option<Arc<dyn Component>>; Signal::ALL.len()],
}

#[async_trait]
impl Sink for BySignal {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        match &self.components[batch.signal() as usize] {
            Some(component) => component.send(batch).await,
            None => Err(SendError::permanent(format!(
                "the connector does not take {}",
                batch.signal()
            ))),
        }
    }
}

#[async_trait]
impl Component for BySignal {
    async fn shutdown(&self) {
        for component in self.components.iter().flatten() {
            component.shutdown().await;
        }
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        for (signal, component) in Signal::ALL.iter().zip(&self.components) {
            let Some(component) = component else {
                continue;
            };
            let start = samples.len();
            component.collect(samples);
            for sample in &mut samples[start..] {
                sample.labels.push(("otel_signal", signal.as_str().to_owned()));
            }
        }
    }
}

fn kind<C: DeserializeOwned + Send + Sync + 'static>(
    name: &'static str,
    signals: &'static [Signal],
    ways: &'static [(Signal, Signal)],
    validate: fn(&C) -> Result<(), ConfigError>,
    make: fn(&C, &Making<'_>) -> Made,
) -> ConnectorKind {
    ConnectorKind {
        kind: Kind::new(
            name,
            signals,
            move |config: &C| findings(validate(config)),
            move |config: C| Arc::new(Settings { config, make }) as Arc<dyn ConnectorSettings>,
        ),
        ways,
    }
}

impl ConnectorKind {
    /// The same, which is also called `alias`.
    fn also(self, alias: &'static str) -> ConnectorKind {
        ConnectorKind {
            kind: self.kind.also(alias),
            ..self
        }
    }
}

struct Settings<C> {
    config: C,
    make: fn(&C, &Making<'_>) -> Made,
}

impl<C: Send + Sync> ConnectorSettings for Settings<C> {
    fn build(
        &self,
        context: Context,
        inputs: &[Signal],
        outputs: Outputs,
    ) -> Result<Arc<dyn Component>, BuildError> {
        let making = Making {
            context: &context,
            inputs,
            outputs: &outputs,
        };
        (self.make)(&self.config, &making).map_err(BuildError::of)
    }
}
