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
use crate::receivers::StartError;
use crate::receivers::filelog::{FilelogConfig, FilelogReceiver, FilelogSurroundings, RunningFilelog};
use crate::receivers::hostmetrics::{HostMetricsConfig, HostMetricsReceiver, RunningHostMetrics};
use crate::receivers::jaeger::{JaegerReceiver, JaegerReceiverConfig, RunningJaeger};
#[cfg(feature = "kafka")]
use crate::receivers::kafka::{KafkaReceiver, KafkaReceiverConfig, KafkaReceiverError, RunningKafka};
use crate::receivers::loki::{LokiReceiver, LokiReceiverConfig, RunningLoki};
use crate::receivers::otlp::{OtlpReceiver, OtlpSettings, ReceiverError, RunningReceiver};
use crate::receivers::prometheus::{PrometheusReceiver, PrometheusReceiverConfig, RunningPrometheus};
use crate::receivers::prometheus_remote_write::{
    RemoteWriteReceiver, RemoteWriteReceiverConfig, RunningRemoteWrite,
};
use crate::receivers::syslog::{RunningSyslog, SyslogReceiver, SyslogReceiverConfig};
use crate::receivers::zipkin::{RunningZipkin, ZipkinReceiver, ZipkinReceiverConfig};

pub(super) fn register(registry: &mut Registry) {
    let receivers = &mut registry.receivers;
    receivers.push(receiver("otlp", ALL, &OTLP));
    receivers.push(receiver("loki", LOGS, &LOKI));
    receivers.push(receiver("prometheusremotewrite", METRICS, &REMOTE_WRITE).also("prometheus_remote_write"));
    receivers.push(receiver("prometheus", METRICS, &PROMETHEUS));
    #[cfg(feature = "kafka")]
    receivers.push(receiver("kafka", ALL, &KAFKA));
    receivers.push(receiver("hostmetrics", METRICS, &HOST_METRICS).also("host_metrics"));
    receivers.push(receiver("jaeger", TRACES, &JAEGER));
    receivers.push(receiver("zipkin", TRACES, &ZIPKIN));
    receivers.push(receiver("filelog", LOGS, &FILELOG).also("file_log"));
    receivers.push(receiver("syslog", LOGS, &SYSLOG));
}

fn receiver<C: DeserializeOwned + Clone + Send + Sync + 'static>(
    name: &'static str,
    signals: &'static [Signal],
    of: &'static Of<C>,
) -> Kind<dyn ReceiverSettings> {
    Kind::new(name, signals, of.check, move |config: C| {
        Arc::new(Settings { config, of }) as Arc<dyn ReceiverSettings>
    })
}

type Addresses = Vec<(&'static str, SocketAddr)>;
/// The setting `auth` of a listener, and the key below which it stands.
type Auth<'c> = (&'static str, Option<&'c AuthSettings>);
type Started = Result<Arc<dyn Receiver>, BuildError>;
type Check<C> = fn(&C) -> Vec<(String, String)>;
type Start<C> = fn(C, Context, Arc<SignalSinks>) -> BoxFuture<'static, Started>;

/// What there is to know of receivers with the settings `C`.
struct Of<C> {
    check: Check<C>,
    start: Start<C>,
    listens: fn(&C) -> Addresses,
    auths: for<'c> fn(&'c C) -> Vec<Auth<'c>>,
    asks_for_signals: bool,
}

impl<C> Of<C> {
    /// Of one that nobody connects to.
    const fn new(check: Check<C>, start: Start<C>) -> Of<C> {
        Of {
            check,
            start,
            listens: |_| Vec::new(),
            auths: |_| Vec::new(),
            asks_for_signals: false,
        }
    }
}

struct Settings<C: 'static> {
    config: C,
    of: &'static Of<C>,
}

impl<C: Clone + Send + Sync + 'static> ReceiverSettings for Settings<C> {
    fn start(&self, context: Context, sinks: SignalSinks) -> BoxFuture<'_, Started> {
        (self.of.start)(self.config.clone(), context, Arc::new(sinks))
    }

    fn asks_for_signals(&self) -> bool {
        self.of.asks_for_signals
    }

    fn listens(&self) -> Addresses {
        (self.of.listens)(&self.config)
    }

    fn references(&self) -> Vec<Reference> {
        let auths = (self.of.auths)(&self.config).into_iter();
        auths
            .filter_map(|(prefix, auth)| Reference::of(prefix, auth, Side::Server))
            .collect()
    }
}

fn started<R: Receiver + 'static, E: Into<BuildError>>(started: Result<R, E>) -> Started {
    Ok(Arc::new(started.map_err(Into::into)?))
}

impl From<StartError> for BuildError {
    fn from(error: StartError) -> BuildError {
        match error {
            StartError::Listen {
                endpoint,
                receiver,
                source,
            } => BuildError::listen(endpoint, receiver, source),
            error => BuildError::of(error),
        }
    }
}

impl From<ReceiverError> for BuildError {
    fn from(error: ReceiverError) -> BuildError {
        match error {
            ReceiverError::Listen {
                endpoint,
                transport,
                source,
            } => BuildError::listen(endpoint, &format!("OTLP/{transport}"), source),
            error => BuildError::of(error),
        }
    }
}

#[cfg(feature = "kafka")]
impl From<KafkaReceiverError> for BuildError {
    fn from(error: KafkaReceiverError) -> BuildError {
        BuildError::of(error)
    }
}

/// A receiver that runs, and where it listens if it does.
macro_rules! running {
    ($running:ty $(, $addresses:expr)?) => {
        #[async_trait]
        impl Receiver for $running {
            async fn shutdown(&self) {
                <$running>::shutdown(self).await;
            }

            fn collect(&self, samples: &mut Vec<Sample>) {
                <$running>::collect(self, samples);
            }

            $(fn addresses(&self) -> Addresses {
                let addresses: fn(&$running) -> Addresses = $addresses;
                addresses(self)
            })?
        }
    };
}

running!(RunningReceiver, |running| {
    given([("grpc", running.grpc_addr), ("http", running.http_addr)])
});
running!(RunningLoki, |running| vec![("http", running.addr)]);
running!(RunningRemoteWrite, |running| vec![("http", running.addr)]);
running!(RunningPrometheus);
#[cfg(feature = "kafka")]
running!(RunningKafka);
running!(RunningHostMetrics);
running!(RunningJaeger, |running| given([
    ("grpc", running.grpc_addr),
    ("thrift_http", running.thrift_http_addr),
    ("thrift_compact", running.thrift_compact_addr),
    ("thrift_binary", running.thrift_binary_addr),
]));
running!(RunningZipkin, |running| vec![("http", running.addr)]);
running!(RunningFilelog);
running!(RunningSyslog, |running| vec![running.listens()]);

/// The addresses that there are.
fn given<const N: usize>(addresses: [(&'static str, Option<SocketAddr>); N]) -> Addresses {
    let each = addresses.into_iter();
    each.filter_map(|(protocol, address)| Some((protocol, address?)))
        .collect()
}

static OTLP: Of<OtlpSettings> = Of {
    listens: |settings| {
        let config = settings.config();
        given([
            ("grpc", config.grpc.map(|grpc| grpc.endpoint)),
            ("http", config.http.map(|http| http.endpoint)),
        ])
    },
    auths: |settings| {
        let protocols = settings.protocols.as_ref();
        let grpc = protocols.and_then(|protocols| protocols.grpc.as_ref()?.auth.as_ref());
        let http = protocols.and_then(|protocols| protocols.http.as_ref()?.auth.as_ref());
        vec![("protocols.grpc.", grpc), ("protocols.http.", http)]
    },
    ..Of::new(
        |settings| match settings.config().validate() {
            Ok(()) => Vec::new(),
            Err(error) => vec![(String::new(), error.to_string())],
        },
        |settings, context, sinks| {
            async move {
                let (config, with) = (settings.config(), &context.authenticators);
                started(OtlpReceiver::start_with(config, sinks, context.ingest, with).await)
            }
            .boxed()
        },
    )
};

static LOKI: Of<LokiReceiverConfig> = Of {
    listens: |config| vec![("http", config.listens())],
    auths: |config| vec![("protocols.http.", config.protocols.http.auth.as_ref())],
    ..Of::new(
        |config| findings(config.validate()),
        |config, context, sinks| {
            async move {
                let with = &context.authenticators;
                started(LokiReceiver::start_with(config, sinks, context.ingest, with).await)
            }
            .boxed()
        },
    )
};

static REMOTE_WRITE: Of<RemoteWriteReceiverConfig> = Of {
    listens: |config| vec![("http", config.endpoint.0)],
    auths: |config| vec![("", config.auth.as_ref())],
    ..Of::new(
        |config| findings(config.validate()),
        |config, context, sinks| {
            async move {
                let with = &context.authenticators;
                started(RemoteWriteReceiver::start_with(config, sinks, context.ingest, with).await)
            }
            .boxed()
        },
    )
};

static PROMETHEUS: Of<PrometheusReceiverConfig> = Of::new(
    |config| findings(config.validate()),
    |config, context, sinks| {
        async move { started(PrometheusReceiver::start(config, sinks, context.ingest).await) }.boxed()
    },
);

#[cfg(feature = "kafka")]
static KAFKA: Of<KafkaReceiverConfig> = Of {
    asks_for_signals: true,
    ..Of::new(
        |config| findings(config.validate()),
        |config, context, sinks| {
            async move {
                let name = format!("receivers/{}", context.id);
                let letters = context.directory.join(DEAD_LETTERS).join(folder_of(&name));
                let place = (name.as_str(), letters.as_path());
                started(KafkaReceiver::start(config, place, &context.signals, sinks, context.ingest).await)
            }
            .boxed()
        },
    )
};

static HOST_METRICS: Of<HostMetricsConfig> = Of::new(
    |config| findings(config.validate()),
    |config, context, sinks| {
        async move { started(HostMetricsReceiver::start(config, sinks, context.ingest).await) }.boxed()
    },
);

static JAEGER: Of<JaegerReceiverConfig> = Of {
    listens: JaegerReceiverConfig::listens,
    auths: |config| {
        let protocols = &config.protocols;
        let grpc = protocols.grpc.as_ref().and_then(|grpc| grpc.auth.as_ref());
        let thrift = protocols.thrift_http.as_ref().and_then(|http| http.auth.as_ref());
        vec![("protocols.grpc.", grpc), ("protocols.thrift_http.", thrift)]
    },
    ..Of::new(
        |config| findings(config.validate()),
        |config, context, sinks| {
            async move {
                let with = &context.authenticators;
                started(JaegerReceiver::start_with(config, sinks, context.ingest, with).await)
            }
            .boxed()
        },
    )
};

static ZIPKIN: Of<ZipkinReceiverConfig> = Of {
    listens: |config| vec![("http", config.endpoint.0)],
    auths: |config| vec![("", config.auth.as_ref())],
    ..Of::new(
        |config| findings(config.validate()),
        |config, context, sinks| {
            async move {
                let with = &context.authenticators;
                started(ZipkinReceiver::start_with(config, sinks, context.ingest, with).await)
            }
            .boxed()
        },
    )
};

static FILELOG: Of<FilelogConfig> = Of::new(FilelogConfig::problems, |config, context, sinks| {
    async move {
        let storage = config
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
        started(FilelogReceiver::start(config, sinks, surroundings).await)
    }
    .boxed()
});

static SYSLOG: Of<SyslogReceiverConfig> = Of {
    listens: |config| {
        given([
            ("tcp", config.tcp.as_ref().map(|tcp| tcp.listen_address.0)),
            ("udp", config.udp.as_ref().map(|udp| udp.listen_address.0)),
        ])
    },
    ..Of::new(SyslogReceiverConfig::problems, |config, context, sinks| {
        async move {
            let variables = &context.variables;
            started(SyslogReceiver::start(config, sinks, context.ingest, variables).await)
        }
        .boxed()
    })
};
