//! Settings of the receiver `syslog`, as the Collector has them. Refuses what cannot work, by its key.

use std::collections::BTreeMap;
use std::time::Duration;

use cupola_config::units::{ByteSize, TimeSpan};
use cupola_config::{ComponentId, Endpoint};
use cupola_export::tls::ServerTlsSettings;
use serde::Deserialize;

use super::work::record_memory;
use crate::operators::{self, OnError, OperatorConfig, Problem, Protocol, SyslogConfig, Trailer, Variables};
use crate::receivers::text::Templates;
use crate::receivers::text::delivery::RetryOnFailure;
use crate::receivers::text::encoding::Encoding;
use crate::receivers::text::split::{MultilineConfig, Split};

/// As the Collector: a smaller bound would cut what every program writes.
const LOG_BYTES_MIN: u64 = 64 << 10;
const LOG_BYTES_MAX: u64 = 64 << 20;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogReceiverConfig {
    pub tcp: Option<TcpConfig>,
    pub udp: Option<UdpConfig>,
    pub protocol: Option<Protocol>,
    /// The time zone of RFC 3164. UTC unless given.
    pub location: String,
    pub enable_octet_counting: bool,
    pub allow_skip_pri_header: bool,
    pub non_transparent_framing_trailer: Option<Trailer>,
    /// Of a message with a count of octets. Zero: 8192.
    pub max_octets: usize,
    /// What becomes of what does not follow the protocol.
    pub on_error: OnError,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
    pub operators: Vec<OperatorConfig>,
    /// Without effect: there is no place to be remembered.
    pub storage: Option<ComponentId>,
    pub retry_on_failure: RetryOnFailure,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpConfig {
    pub listen_address: Endpoint,
    #[serde(default)]
    pub tls: Option<ServerTlsSettings>,
    #[serde(default = "log_bytes")]
    pub max_log_size: ByteSize,
    #[serde(default)]
    pub add_attributes: bool,
    /// All that a connection sends is one record.
    #[serde(default)]
    pub one_log_per_packet: bool,
    #[serde(default)]
    pub encoding: Encoding,
    #[serde(default)]
    pub multiline: MultilineConfig,
    #[serde(default)]
    pub preserve_leading_whitespaces: bool,
    #[serde(default)]
    pub preserve_trailing_whitespaces: bool,
    /// Zero: as many as there may be at all.
    #[serde(default)]
    pub max_connections: usize,
    /// Zero: a connection may be idle for ever.
    #[serde(default = "no_time")]
    pub connection_idle_timeout: TimeSpan,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UdpConfig {
    pub listen_address: Endpoint,
    #[serde(default)]
    pub add_attributes: bool,
    /// Without effect: names of hosts are not looked up.
    #[serde(default)]
    pub resolve_names: Option<bool>,
    #[serde(default)]
    pub one_log_per_packet: bool,
    #[serde(default)]
    pub encoding: Encoding,
    /// Without it, a packet is one record.
    #[serde(default)]
    pub multiline: MultilineConfig,
    #[serde(default)]
    pub preserve_leading_whitespaces: bool,
    #[serde(default)]
    pub preserve_trailing_whitespaces: bool,
    #[serde(default)]
    pub r#async: AsyncConfig,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsyncConfig {
    /// Without effect: one task reads all that the system has.
    pub readers: usize,
    /// Without effect.
    pub processors: usize,
    /// Packets that wait for the sink. Zero: 1024.
    pub max_queue_length: usize,
}

fn log_bytes() -> ByteSize {
    ByteSize(1 << 20)
}

fn no_time() -> TimeSpan {
    TimeSpan(Duration::ZERO)
}

impl SyslogReceiverConfig {
    /// Everything that is wrong: keys and problems.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |key: &str, problem: &str| problems.push((key.to_owned(), problem.to_owned()));
        match (&self.tcp, &self.udp) {
            (None, None) => add("", "has neither `tcp` nor `udp`: there is nothing to listen on"),
            (Some(_), Some(_)) => add(
                "udp",
                "cannot be set together with `tcp`: make two receivers of it",
            ),
            _ => {}
        }
        if self.udp.is_some() && self.enable_octet_counting {
            add(
                "enable_octet_counting",
                "is for `tcp` alone: a packet ends by itself",
            );
        }
        if self.udp.is_some() && self.non_transparent_framing_trailer.is_some() {
            add(
                "non_transparent_framing_trailer",
                "is for `tcp` alone: a packet ends by itself",
            );
        }
        if let Some(tcp) = &self.tcp {
            if !(LOG_BYTES_MIN..=LOG_BYTES_MAX).contains(&tcp.max_log_size.0) {
                add("tcp.max_log_size", "must be between 64 KiB and 64 MiB");
            } else if let Err((key, problem)) = tcp.split() {
                add(&format!("tcp.{key}"), &problem);
            }
            if let Some(Err(error)) = tcp.tls.as_ref().map(ServerTlsSettings::validate) {
                add(&format!("tcp.tls.{}", error.key), &error.problem);
            }
        }
        if let Some(Err((key, problem))) = self.udp.as_ref().map(UdpConfig::split) {
            add(&format!("udp.{key}"), &problem);
        }
        self.retry_on_failure.check(&mut problems);
        let nothing = Variables::new();
        Templates::compile("attributes", &self.attributes, &nothing, &mut problems);
        Templates::compile("resource", &self.resource, &nothing, &mut problems);
        let operators = ("operators", &self.operators[..]);
        let compiled = operators::compile_syslog(
            &self.protocol(),
            self.on_error,
            operators,
            &nothing,
            &Default::default(),
        );
        problems.extend(compiled.err().into_iter().flatten());
        problems
    }

    /// Memory that a receiver needs at the least: half of it for what waits, half for work on one record.
    pub(super) fn memory_needed(&self) -> usize {
        let record = |tcp: &TcpConfig| tcp.max_log_size.0 as usize;
        2 * record_memory(self.tcp.as_ref().map_or(super::udp::PACKET_BYTES_MAX, record))
    }

    pub(super) fn protocol(&self) -> SyslogConfig {
        SyslogConfig {
            protocol: self.protocol,
            location: self.location.clone(),
            enable_octet_counting: self.enable_octet_counting,
            allow_skip_pri_header: self.allow_skip_pri_header,
            non_transparent_framing_trailer: self.non_transparent_framing_trailer,
            max_octets: self.max_octets,
        }
    }
}

impl TcpConfig {
    fn split(&self) -> Result<Split, (&'static str, String)> {
        Split::new(&self.multiline, self.encoding, self.max_log_size.0 as usize)
    }

    /// Where records end, unless the protocol says so.
    pub(super) fn records(&self) -> Result<Split, (&'static str, String)> {
        match self.one_log_per_packet {
            true => Ok(Split::whole(self.encoding, self.max_log_size.0 as usize)),
            false => self.split(),
        }
    }
}

impl UdpConfig {
    pub(super) fn split(&self) -> Result<Split, (&'static str, String)> {
        match self.one_log_per_packet || self.multiline == MultilineConfig::default() {
            true => Ok(Split::whole(self.encoding, super::udp::PACKET_BYTES_MAX)),
            false => Split::new(&self.multiline, self.encoding, super::udp::PACKET_BYTES_MAX),
        }
    }
}
