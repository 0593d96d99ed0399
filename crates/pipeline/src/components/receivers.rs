//! Receivers by name.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use cupola_export::Sample;
use cupola_export::auth::AuthSettings;
use cupola_telemetry::Signal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

#[cfg(feature = "kafka")]
use super::exporters::{DEAD_LETTERS, folder_of};
use super::{ALL, LOGS, METRICS, TRACES, findings, folder};
use crate::graph::Context;
use crate::graph::extensions::{Reference, Side};
use crate::graph::kinds::{BuildError, Kind, Receiver, ReceiverSettings, Registry, SignalSinks};
use crate::processors::ConfigError;
use crate::receivers::StartError as HttpStartError;
use crate::receivers::filelog::{FilelogConfig, FilelogReceiver, FilelogSurroundings, RunningFilelog};
use crate::receivers::hostmetrics::{HostMetricsConfig, HostMetricsReceiver, RunningHostMetrics};
use crate::receivers::jaeger::{JaegerReceiver, JaegerReceiverConfig, RunningJaeger};
#[cfg(feature = "kafka")]
use crate::receivers::kafka::{KafkaReceiver, KafkaReceiverConfig, RunningKafka};
use crate::receivers::loki::{LokiReceiver, LokiReceiverConfig, RunningLoki};
use crate::receivers::otlp::{OtlpReceiver, OtlpSettings, ReceiverError, RunningReceiver};
use crate::receivers::prometheus::{PrometheusReceiver, PrometheusReceiverConfig, RunningPrometheus};
use crate::receivers::prometheus_remote_write::{
    RemoteWriteReceiver, RemoteWriteReceiverConfig, RunningRemoteWrite,
};
use crate::receivers::syslog::{RunningSyslog, SyslogReceiver, SyslogReceiverConfig};
use crate::receivers::zipkin::{RunningZipkin, ZipkinReceiver, ZipkinReceiverConfig};

/// The setting `auth` of a listener, and the key below which it stands.
type Auth<'c> = (&'static str, Option<&'c AuthSettings>);

fn references(auths: Vec<Auth<'_>>) -> Vec<Reference> {
    let reference = |(prefix, auth)| Reference::of(prefix, auth, Side::Server);
    auths.into_iter().filter_map(reference).collect()
}

/// A server of one protocol over HTTP.
macro_rules! http_receiver {
    ($config:ty, $receiver:ty, $running:ty, $listens:expr, $addresses:expr, $auths:expr) => {
        impl ReceiverSettings for Http<$config> {
            fn start(
                &self,
                context: Context,
                sinks: SignalSinks,
            ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
                async move {
                    let (config, sinks) = (self.0.clone(), Arc::new(sinks));
                    let authenticators = &context.authenticators;
                    let started =
                        <$receiver>::start_with(config, sinks, context.ingest, authenticators).await;
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

            fn references(&self) -> Vec<Reference> {
                let auths: for<'c> fn(&'c $config) -> Vec<Auth<'c>> = $auths;
                references(auths(&self.0))
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
    |running| vec![("http", running.addr)],
    |config| vec![("protocols.http.", config.protocols.http.auth.as_ref())]
);
http_receiver!(
    RemoteWriteReceiverConfig,
    RemoteWriteReceiver,
    RunningRemoteWrite,
    |config| vec![("http", config.endpoint.0)],
    |running| vec![("http", running.addr)],
    |config| vec![("", config.auth.as_ref())]
);
http_receiver!(
    ZipkinReceiverConfig,
    ZipkinReceiver,
    RunningZipkin,
    |config| vec![("http", config.endpoint.0)],
    |running| vec![("http", running.addr)],
    |config| vec![("", config.auth.as_ref())]
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
    },
    |config| {
        let protocols = &config.protocols;
        let grpc = protocols.grpc.as_ref().and_then(|grpc| grpc.auth.as_ref());
        let thrift = protocols.thrift_http.as_ref().and_then(|http| http.auth.as_ref());
        vec![("protocols.grpc.", grpc), ("protocols.thrift_http.", thrift)]
    }
);

/// A receiver that fetches by itself: nobody connects to it.
macro_rules! fetching_receiver {
    ($config:ty, $receiver:ty, $running:ty) => {
        impl ReceiverSettings for Http<$config> {
            fn start(
                &self,
                context: Context,
                sinks: SignalSinks,
            ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
                async move {
                    let started = <$receiver>::start(self.0.clone(), Arc::new(sinks), context.ingest).await;
                    Ok(Arc::new(started.map_err(BuildError::of)?) as Arc<dyn Receiver>)
                }
                .boxed()
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
        }
    };
}

fetching_receiver!(PrometheusReceiverConfig, PrometheusReceiver, RunningPrometheus);
fetching_receiver!(HostMetricsConfig, HostMetricsReceiver, RunningHostMetrics);

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
    #[cfg(feature = "kafka")]
    registry.receivers.push(Kind::new(
        "kafka",
        ALL,
        |config: &KafkaReceiverConfig| findings(config.validate()),
        |config| Arc::new(Kafka(config)) as Arc<dyn ReceiverSettings>,
    ));
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
    registry.receivers.push(Kind::new::<FilelogConfig>(
        "filelog",
        LOGS,
        FilelogConfig::problems,
        |config| Arc::new(Filelog(config)) as Arc<dyn ReceiverSettings>,
    ));
    registry.receivers.push(Kind::new::<SyslogReceiverConfig>(
        "syslog",
        LOGS,
        SyslogReceiverConfig::problems,
        |config| Arc::new(Syslog(config)) as Arc<dyn ReceiverSettings>,
    ));
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
            let (sinks, authenticators) = (Arc::new(sinks), &context.authenticators);
            let started = OtlpReceiver::start_with(config, sinks, context.ingest, authenticators).await;
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

    fn references(&self) -> Vec<Reference> {
        let config = self.0.config();
        references(vec![
            (
                "protocols.grpc.",
                config.grpc.as_ref().and_then(|grpc| grpc.auth.as_ref()),
            ),
            (
                "protocols.http.",
                config.http.as_ref().and_then(|http| http.auth.as_ref()),
            ),
        ])
    }
}

#[cfg(feature = "kafka")]
struct Kafka(KafkaReceiverConfig);

#[cfg(feature = "kafka")]
impl ReceiverSettings for Kafka {
    fn start(
        &self,
        context: Context,
        sinks: SignalSinks,
    ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
        async move {
            let name = format!("receivers/{}", context.id);
            let letters = context.directory.join(DEAD_LETTERS).join(folder_of(&name));
            let started = KafkaReceiver::start(
                self.0.clone(),
                (&name, &letters),
                &context.signals,
                Arc::new(sinks),
                context.ingest,
            );
            Ok(Arc::new(started.await.map_err(BuildError::of)?) as Arc<dyn Receiver>)
        }
        .boxed()
    }

    fn asks_for_signals(&self) -> bool {
        true
    }
}

#[cfg(feature = "kafka")]
#[async_trait]
impl Receiver for RunningKafka {
    async fn shutdown(&self) {
        RunningKafka::shutdown(self).await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        RunningKafka::collect(self, samples);
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
        self.collect_guards(samples);
    }

    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let both = [("grpc", self.grpc_addr), ("http", self.http_addr)];
        both.into_iter()
            .filter_map(|(protocol, address)| Some((protocol, address?)))
            .collect()
    }
}

/// A receiver could not be started, with the address if it is for that.
fn start_failed(error: HttpStartError) -> BuildError {
    match error {
        HttpStartError::Listen {
            endpoint,
            receiver,
            source,
        } => BuildError::listen(endpoint, receiver, source),
        error => BuildError::of(error),
    }
}

struct Filelog(FilelogConfig);

impl ReceiverSettings for Filelog {
    fn start(
        &self,
        context: Context,
        sinks: SignalSinks,
    ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
        async move {
            let storage = self
                .0
                .storage
                .as_ref()
                .map(|id| match context.extensions.storage.get(id) {
                    // Receivers and exporters of the same name have directories of their own.
                    Some(directory) => Ok(directory.join(format!("receiver-{}", folder(&context.id)))),
                    None => Err(BuildError::new(format!(
                        "there is no extension `{id}` to keep checkpoints"
                    ))),
                });
            let surroundings = FilelogSurroundings {
                storage: storage.transpose()?,
                memory: context.ingest,
                variables: context.variables,
            };
            let started = FilelogReceiver::start(self.0.clone(), Arc::new(sinks), surroundings).await;
            Ok(Arc::new(started.map_err(start_failed)?) as Arc<dyn Receiver>)
        }
        .boxed()
    }
}

#[async_trait]
impl Receiver for RunningFilelog {
    async fn shutdown(&self) {
        RunningFilelog::shutdown(self).await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        RunningFilelog::collect(self, samples);
    }
}

struct Syslog(SyslogReceiverConfig);

impl ReceiverSettings for Syslog {
    fn start(
        &self,
        context: Context,
        sinks: SignalSinks,
    ) -> BoxFuture<'_, Result<Arc<dyn Receiver>, BuildError>> {
        async move {
            let started = SyslogReceiver::start(
                self.0.clone(),
                Arc::new(sinks),
                context.ingest,
                &context.variables,
            )
            .await;
            Ok(Arc::new(started.map_err(start_failed)?) as Arc<dyn Receiver>)
        }
        .boxed()
    }

    fn listens(&self) -> Vec<(&'static str, SocketAddr)> {
        let tcp = self.0.tcp.as_ref().map(|tcp| ("tcp", tcp.listen_address.0));
        let udp = self.0.udp.as_ref().map(|udp| ("udp", udp.listen_address.0));
        tcp.into_iter().chain(udp).collect()
    }
}

#[async_trait]
impl Receiver for RunningSyslog {
    async fn shutdown(&self) {
        RunningSyslog::shutdown(self).await;
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        RunningSyslog::collect(self, samples);
    }

    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![self.listens()]
    }
}
