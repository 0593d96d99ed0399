//! Receivers by name.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::Sample;
use cupola_telemetry::Signal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::{ALL, LOGS, METRICS, TRACES, findings};
use crate::graph::Context;
use crate::graph::kinds::{BuildError, Kind, Receiver, ReceiverSettings, Registry, SignalSinks};
use crate::processors::ConfigError;
use crate::receivers::StartError as HttpStartError;
use crate::receivers::hostmetrics::{HostMetricsConfig, HostMetricsReceiver, RunningHostMetrics};
use crate::receivers::jaeger::{JaegerReceiver, JaegerReceiverConfig, RunningJaeger};
use crate::receivers::loki::{LokiReceiver, LokiReceiverConfig, RunningLoki};
use crate::receivers::otlp::{OtlpReceiver, OtlpSettings, ReceiverError, RunningReceiver};
use crate::receivers::prometheus::{PrometheusReceiver, PrometheusReceiverConfig, RunningPrometheus};
use crate::receivers::prometheus_remote_write::{
    RemoteWriteReceiver, RemoteWriteReceiverConfig, RunningRemoteWrite,
};
use crate::receivers::zipkin::{RunningZipkin, ZipkinReceiver, ZipkinReceiverConfig};

/// A server of one protocol over HTTP.
macro_rules! http_receiver {
    ($config:ty, $receiver:ty, $running:ty, $listens:expr, $addresses:expr) => {
        impl ReceiverSettings for Http<$config> {
            fn start(
                &self,
                context: Context,
                sinks: SignalSinks,
            ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
                async move {
                    let started = <$receiver>::start(self.0.clone(), Arc::new(sinks), context.ingest).await;
                    let running = started.map_err(|error| match error {
                        HttpStartError::Listen {
                            endpoint,
                            receiver,
                            source,
                        } => BuildError::listen(endpoint, receiver, source),
                        error => BuildError::of(error),
                    })?;
                    Ok(Arc::new(running) as Arc<dyn Receiver>)
                }
                .boxed()
            }

            fn listens(&self) -> Vec<(&'static str, SocketAddr)> {
                let listens: fn(&$config) -> Vec<(&'static str, SocketAddr)> = $listens;
                listens(&self.0)
            }
        }

        #[async_trait]
        impl Receiver for $running {
            async fn shutdown(&self) {
                <$running>::shutdown(self).await;
            }

            fn collect(&self, samples: &mut Vec<Sample>) {
                <$running>::collect(self, samples);
            }

            fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
                let addresses: fn(&$running) -> Vec<(&'static str, SocketAddr)> = $addresses;
                addresses(self)
            }
        }
    };
}

http_receiver!(
    LokiReceiverConfig,
    LokiReceiver,
    RunningLoki,
    |config| vec![("http", config.listens())],
    |running| vec![("http", running.addr)]
);
http_receiver!(
    RemoteWriteReceiverConfig,
    RemoteWriteReceiver,
    RunningRemoteWrite,
    |config| vec![("http", config.endpoint.0)],
    |running| vec![("http", running.addr)]
);
http_receiver!(
    ZipkinReceiverConfig,
    ZipkinReceiver,
    RunningZipkin,
    |config| vec![("http", config.endpoint.0)],
    |running| vec![("http", running.addr)]
);
http_receiver!(
    PrometheusReceiverConfig,
    PrometheusReceiver,
    RunningPrometheus,
    |_| Vec::new(),
    |_| Vec::new()
);
http_receiver!(
    HostMetricsConfig,
    HostMetricsReceiver,
    RunningHostMetrics,
    |_| Vec::new(),
    |_| Vec::new()
);
http_receiver!(
    JaegerReceiverConfig,
    JaegerReceiver,
    RunningJaeger,
    |config| config.listens(),
    |running| {
        let both = [
            ("grpc", running.grpc_addr),
            ("thrift_http", running.thrift_http_addr),
        ];
        both.into_iter()
            .filter_map(|(protocol, address)| Some((protocol, address?)))
            .collect()
    }
);

pub(super) fn register(registry: &mut Registry) {
    registry.receivers.push(Kind::new::<OtlpSettings>(
        "otlp",
        ALL,
        |settings| match settings.config().validate() {
            Ok(()) => Vec::new(),
            Err(error) => vec![(String::new(), error.to_string())],
        },
        |settings| Arc::new(Otlp(settings)) as Arc<dyn ReceiverSettings>,
    ));
    registry
        .receivers
        .push(http("loki", LOGS, LokiReceiverConfig::validate));
    registry.receivers.push(http(
        "prometheusremotewrite",
        METRICS,
        RemoteWriteReceiverConfig::validate,
    ));
    registry
        .receivers
        .push(http("prometheus", METRICS, PrometheusReceiverConfig::validate));
    // The Collector's older name, and its newer one.
    for name in ["hostmetrics", "host_metrics"] {
        registry
            .receivers
            .push(http(name, METRICS, HostMetricsConfig::validate));
    }
    registry
        .receivers
        .push(http("jaeger", TRACES, JaegerReceiverConfig::validate));
    registry
        .receivers
        .push(http("zipkin", TRACES, ZipkinReceiverConfig::validate));
}

fn http<C>(
    name: &'static str,
    signals: &'static [Signal],
    validate: fn(&C) -> Result<(), ConfigError>,
) -> Kind<dyn ReceiverSettings>
where
    C: DeserializeOwned + Send + Sync + 'static,
    Http<C>: ReceiverSettings,
{
    Kind::new(
        name,
        signals,
        move |config: &C| findings(validate(config)),
        |config: C| Arc::new(Http(config)) as Arc<dyn ReceiverSettings>,
    )
}

struct Http<C>(C);

struct Otlp(OtlpSettings);

impl ReceiverSettings for Otlp {
    fn start(
        &self,
        context: Context,
        sinks: SignalSinks,
    ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
        async move {
            let config = self.0.config();
            let started = OtlpReceiver::start(config, Arc::new(sinks), context.ingest).await;
            let running = started.map_err(|error| match error {
                ReceiverError::Listen {
                    endpoint,
                    transport,
                    source,
                } => BuildError::listen(endpoint, &format!("OTLP/{transport}"), source),
                error => BuildError::of(error),
            })?;
            Ok(Arc::new(running) as Arc<dyn Receiver>)
        }
        .boxed()
    }

    fn listens(&self) -> Vec<(&'static str, SocketAddr)> {
        let config = self.0.config();
        let both = [
            ("grpc", config.grpc.map(|grpc| grpc.endpoint)),
            ("http", config.http.map(|http| http.endpoint)),
        ];
        both.into_iter()
            .filter_map(|(protocol, address)| Some((protocol, address?)))
            .collect()
    }
}

#[async_trait]
impl Receiver for RunningReceiver {
    async fn shutdown(&self) {
        RunningReceiver::shutdown(self).await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        for sample in self.stats().samples() {
            let mut one = Sample {
                name: sample.name,
                help: sample.help,
                labels: vec![("transport", sample.transport.to_owned())],
                value: sample.value as f64,
                gauge: sample.gauge,
            };
            if let Some(signal) = sample.signal {
                one = one.with("signal", signal.as_str());
            }
            samples.push(one);
        }
    }

    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let both = [("grpc", self.grpc_addr), ("http", self.http_addr)];
        both.into_iter()
            .filter_map(|(protocol, address)| Some((protocol, address?)))
            .collect()
    }
}
