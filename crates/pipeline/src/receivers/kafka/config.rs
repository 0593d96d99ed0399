//! Settings of the receiver `kafka`, under the Collector's names, and the client they make.

use std::time::Duration;

use cupola_config::units::TimeSpan;
use cupola_config::{Passed, present};
use cupola_export::dead_letter::DeadLetterConfig;
use cupola_export::kafka::SettingError;
use cupola_export::kafka::connection::{
    Auth, CLIENT_ID, CONN_IDLE_TIMEOUT, Connection, DIAL_TIMEOUT, Metadata, bounded_millis, millis,
};
use cupola_export::tls::TlsSettings;
use cupola_telemetry::Signal;
use rdkafka::ClientConfig;
use serde::Deserialize;

use super::decode::Encoding;
use super::settings::{
    Autocommit, ErrorBackoff, HeaderExtraction, InitialOffset, MessageMarking, Strategy, TopicSettings,
};
use super::topics::Topics;
use crate::processors::ConfigError;

/// What librdkafka fetches ahead, in all partitions together, and does not count in our budget.
const FETCHED_KIBIBYTES_MAX: u64 = 16 * 1024;
/// Largest answer of a broker that is read, unless `max_fetch_size` is larger.
const ANSWER_BYTES_MIN: u64 = 100_000_000;
/// Largest sizes that librdkafka takes.
const FETCH_BYTES_MAX: u64 = 1_000_000_000;
/// A member that does not poll for as long leaves its group; ours polls all the time.
const POLL_INTERVAL: Duration = Duration::from_secs(300);
/// How often the client says how far each partition has been written.
const STATISTICS_MILLIS: &str = "5000";

/// Settings of the receiver.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaReceiverConfig {
    pub brokers: Vec<String>,
    pub client_id: String,
    pub rack_id: String,
    /// Read and of no effect: the client agrees on it with the broker.
    pub protocol_version: String,
    pub resolve_canonical_bootstrap_servers_only: bool,
    /// Read and of no effect: the client does so where the broker can.
    pub use_leader_epoch: bool,
    pub dial_timeout: TimeSpan,
    pub conn_idle_timeout: TimeSpan,
    pub auth: Auth,
    #[serde(deserialize_with = "present")]
    pub tls: Option<TlsSettings>,
    pub metadata: Metadata,
    /// The older form: of every signal, before what the signals say.
    pub topic: Option<String>,
    pub encoding: Option<String>,
    pub logs: TopicSettings,
    pub metrics: TopicSettings,
    pub traces: TopicSettings,
    pub group_id: String,
    /// A member with a name keeps its partitions while it restarts.
    pub group_instance_id: String,
    pub initial_offset: InitialOffset,
    pub session_timeout: TimeSpan,
    pub heartbeat_interval: TimeSpan,
    /// The older form, of one.
    pub group_rebalance_strategy: Option<Strategy>,
    pub group_rebalance_strategies: Vec<Strategy>,
    pub min_fetch_size: u64,
    pub max_fetch_size: u64,
    pub max_partition_fetch_size: Option<u64>,
    /// The older name of `max_partition_fetch_size`.
    pub default_fetch_size: Option<u64>,
    pub max_fetch_wait: TimeSpan,
    /// Read and of no effect: the client has its own bound.
    pub max_decompress_batch_bytes: Option<u64>,
    pub autocommit: Autocommit,
    pub message_marking: MessageMarking,
    /// Read and of no effect: each partition is worked on by itself, in order.
    pub partition_processing: Passed,
    pub header_extraction: HeaderExtraction,
    pub error_backoff: ErrorBackoff,
    /// Read and of no effect.
    pub telemetry: Passed,
    /// Ours: messages that cannot be taken.
    pub dead_letters: DeadLetterConfig,
}

impl Default for KafkaReceiverConfig {
    fn default() -> Self {
        KafkaReceiverConfig {
            brokers: vec!["localhost:9092".to_owned()],
            client_id: CLIENT_ID.to_owned(),
            rack_id: String::new(),
            protocol_version: String::new(),
            resolve_canonical_bootstrap_servers_only: false,
            use_leader_epoch: true,
            dial_timeout: DIAL_TIMEOUT,
            conn_idle_timeout: CONN_IDLE_TIMEOUT,
            auth: Auth::default(),
            tls: None,
            metadata: Metadata::default(),
            topic: None,
            encoding: None,
            logs: TopicSettings::default(),
            metrics: TopicSettings::default(),
            traces: TopicSettings::default(),
            group_id: "otel-collector".to_owned(),
            group_instance_id: String::new(),
            initial_offset: InitialOffset::default(),
            session_timeout: TimeSpan(Duration::from_secs(10)),
            heartbeat_interval: TimeSpan(Duration::from_secs(3)),
            group_rebalance_strategy: None,
            group_rebalance_strategies: Vec::new(),
            min_fetch_size: 1,
            max_fetch_size: 1_048_576,
            max_partition_fetch_size: None,
            default_fetch_size: None,
            max_fetch_wait: TimeSpan(Duration::from_millis(250)),
            max_decompress_batch_bytes: None,
            autocommit: Autocommit::default(),
            message_marking: MessageMarking::default(),
            partition_processing: Passed,
            header_extraction: HeaderExtraction::default(),
            error_backoff: ErrorBackoff::default(),
            telemetry: Passed,
            dead_letters: DeadLetterConfig::default(),
        }
    }
}

/// Topics and encoding of a signal, as they hold.
pub(super) struct Of<'c> {
    pub(super) topics: Vec<&'c str>,
    pub(super) excluded: Vec<&'c str>,
    pub(super) encoding: &'c str,
}

impl KafkaReceiverConfig {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let checked = self.check();
        checked.map_err(|SettingError { key, problem }| ConfigError::Setting { key, problem })
    }

    fn check(&self) -> Result<(), SettingError> {
        self.connection().validate()?;
        if self.group_id.is_empty() {
            return Err(SettingError::new("group_id", "must not be empty"));
        }
        let (session, heartbeat) = (self.session_timeout.0, self.heartbeat_interval.0);
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&session) {
            return Err(SettingError::new("session_timeout", "must be between 1s and 1h"));
        }
        if heartbeat.is_zero() || heartbeat * 2 > session {
            let problem = "must be greater than 0 and at most half of session_timeout";
            return Err(SettingError::new("heartbeat_interval", problem));
        }
        if self.autocommit.enable && self.autocommit.interval.0 < Duration::from_millis(1) {
            return Err(SettingError::new("autocommit.interval", "must be at least 1ms"));
        }
        self.check_strategies()?;
        self.check_sizes()?;
        let retry = self.error_backoff.retry().validate();
        retry.map_err(|error| {
            let key = error.key.rsplit('.').next().unwrap_or_default();
            SettingError::new(format!("error_backoff.{key}"), error.problem)
        })?;
        self.dead_letters
            .validate()
            .map_err(|error| SettingError::new(error.key, error.problem))?;
        for signal in Signal::ALL {
            Encoding::parse(signal, self.of(signal).encoding)
                .map_err(|problem| SettingError::new(self.encoding_key(signal), problem))?;
        }
        Topics::new(self, &Signal::ALL).map(drop)
    }

    fn check_strategies(&self) -> Result<(), SettingError> {
        let (one, several) = ("group_rebalance_strategy", "group_rebalance_strategies");
        if self.group_rebalance_strategy.is_some() && !self.group_rebalance_strategies.is_empty() {
            return Err(SettingError::new(
                one,
                format!("cannot stand beside {several}; leave one out"),
            ));
        }
        let key = if self.group_rebalance_strategy.is_some() {
            one
        } else {
            several
        };
        let strategies = self.strategies();
        if strategies.contains(&Strategy::Sticky) {
            return Err(SettingError::new(
                key,
                "can be cooperative-sticky, range or roundrobin, and not sticky",
            ));
        }
        if strategies.contains(&Strategy::CooperativeSticky) && strategies.len() > 1 {
            return Err(SettingError::new(
                key,
                "can have cooperative-sticky by itself only",
            ));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), SettingError> {
        let key = match self.default_fetch_size {
            Some(_) if self.max_partition_fetch_size.is_some() => {
                let problem = "is the older name of max_partition_fetch_size; leave it out";
                return Err(SettingError::new("default_fetch_size", problem));
            }
            Some(_) => "default_fetch_size",
            None => "max_partition_fetch_size",
        };
        for (key, size) in [
            (key, self.partition_bytes()),
            ("max_fetch_size", self.max_fetch_size),
        ] {
            if size > FETCH_BYTES_MAX {
                return Err(SettingError::new(
                    key,
                    format!("must be at most {FETCH_BYTES_MAX}"),
                ));
            }
        }
        if self.max_fetch_size != 0 && self.max_fetch_size < self.min_fetch_size {
            return Err(SettingError::new(
                "max_fetch_size",
                "must not be less than min_fetch_size",
            ));
        }
        Ok(())
    }

    fn strategies(&self) -> Vec<Strategy> {
        match self.group_rebalance_strategy {
            Some(strategy) => vec![strategy],
            None if self.group_rebalance_strategies.is_empty() => vec![Strategy::CooperativeSticky],
            None => self.group_rebalance_strategies.clone(),
        }
    }

    pub(super) fn partition_bytes(&self) -> u64 {
        let said = self.max_partition_fetch_size.or(self.default_fetch_size);
        said.filter(|bytes| *bytes > 0).unwrap_or(1_048_576)
    }

    fn signal(&self, signal: Signal) -> &TopicSettings {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
            Signal::Traces => &self.traces,
        }
    }

    /// What holds for a signal.
    pub(super) fn of(&self, signal: Signal) -> Of<'_> {
        let settings = self.signal(signal);
        let mut topics: Vec<&str> = match &self.topic {
            Some(topic) => vec![topic],
            None => settings
                .topics
                .iter()
                .chain(&settings.topic)
                .map(String::as_str)
                .collect(),
        };
        if topics.is_empty() {
            topics.push(match signal {
                Signal::Logs => "otlp_logs",
                Signal::Metrics => "otlp_metrics",
                Signal::Traces => "otlp_spans",
            });
        }
        let excluded = settings.exclude_topics.iter().chain(&settings.exclude_topic);
        let encoding = self.encoding.as_ref().or(settings.encoding.as_ref());
        Of {
            topics,
            excluded: excluded.map(String::as_str).collect(),
            encoding: encoding.map_or("otlp_proto", String::as_str),
        }
    }

    fn encoding_key(&self, signal: Signal) -> String {
        match self.encoding {
            Some(_) => "encoding".to_owned(),
            None => format!("{signal}.encoding"),
        }
    }

    /// Settings of librdkafka; `excluded` are patterns of topics that it is not to see.
    pub(super) fn client(&self, excluded: &[&str]) -> ClientConfig {
        let strategies: Vec<&str> = self
            .strategies()
            .into_iter()
            .map(|strategy| match strategy {
                Strategy::Range => "range",
                Strategy::Roundrobin => "roundrobin",
                Strategy::Sticky | Strategy::CooperativeSticky => "cooperative-sticky",
            })
            .collect();
        let earliest = self.initial_offset == InitialOffset::Earliest;
        let fetch = match self.max_fetch_size {
            0 => FETCH_BYTES_MAX,
            bytes => bytes.max(self.partition_bytes()),
        };
        let mut client = self.connection().client();
        client
            .set("group.id", &self.group_id)
            .set("auto.offset.reset", if earliest { "earliest" } else { "latest" })
            .set("partition.assignment.strategy", strategies.join(","))
            .set("session.timeout.ms", millis(self.session_timeout))
            .set(
                "max.poll.interval.ms",
                millis(TimeSpan(self.session_timeout.0.max(POLL_INTERVAL))),
            )
            .set("heartbeat.interval.ms", millis(self.heartbeat_interval))
            .set(
                "fetch.min.bytes",
                self.min_fetch_size.clamp(1, 100_000_000).to_string(),
            )
            .set("fetch.max.bytes", fetch.max(1024).to_string())
            // Of a producer, and yet held against what is fetched.
            .set("message.max.bytes", fetch.clamp(1024, 1_000_000).to_string())
            .set(
                "receive.message.max.bytes",
                (fetch + 1024).max(ANSWER_BYTES_MIN).to_string(),
            )
            .set("max.partition.fetch.bytes", self.partition_bytes().to_string())
            .set(
                "fetch.wait.max.ms",
                self.max_fetch_wait.0.as_millis().min(300_000).to_string(),
            )
            .set("queued.max.messages.kbytes", FETCHED_KIBIBYTES_MAX.to_string())
            // A partition whose messages did not fit is looked at again soon.
            .set("fetch.queue.backoff.ms", "50")
            // What was taken is told by us, message by message; what is told is committed at the interval.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", self.autocommit.enable.to_string())
            .set(
                "auto.commit.interval.ms",
                bounded_millis(self.autocommit.interval, 1, 86_400_000),
            )
            .set("allow.auto.create.topics", "true")
            .set("log.connection.close", "false")
            .set("statistics.interval.ms", STATISTICS_MILLIS);
        if !self.group_instance_id.is_empty() {
            client.set("group.instance.id", &self.group_instance_id);
        }
        if !excluded.is_empty() {
            client.set("topic.blacklist", excluded.join(","));
        }
        client
    }

    fn connection(&self) -> Connection<'_> {
        Connection {
            brokers: &self.brokers,
            client_id: &self.client_id,
            rack_id: &self.rack_id,
            resolve_canonical_bootstrap_servers_only: self.resolve_canonical_bootstrap_servers_only,
            dial_timeout: self.dial_timeout,
            conn_idle_timeout: self.conn_idle_timeout,
            auth: &self.auth,
            tls: self.tls.as_ref(),
            metadata: &self.metadata,
        }
    }
}
