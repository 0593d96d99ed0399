//! Whether settings make sense together: what `serve` could not work with is refused before anything starts.

use std::net::SocketAddr;
use std::time::Duration;

use super::Settings;
use crate::failure::Failure;
use crate::logging;

/// Merging fewer files than this would never end.
const FILES_MERGED_MIN: usize = 2;

/// Everything that does.
pub(super) fn check(settings: &Settings) -> Vec<Failure> {
    let mut wrong: Vec<Failure> = logging::filter(&settings.log.filter).err().into_iter().collect();
    store(settings, &mut wrong);
    listeners(settings, &mut wrong);
    wrong
}

fn store(settings: &Settings, wrong: &mut Vec<Failure>) {
    let store = &settings.store;
    let intervals = [
        ("store.compaction.interval", store.compaction_interval),
        ("store.retention_interval", store.retention_interval),
    ];
    for (key, interval) in intervals {
        if interval == Some(Duration::ZERO) {
            wrong.push(Failure::usage(format!("{key} is zero")).hint("write for example 15s or 10m"));
        }
    }
    let sizes = [
        (
            "store.flush_bytes_max",
            store.flush_bytes_max.map(|bytes| bytes as u64),
        ),
        ("store.wal_segment_bytes_max", store.wal_segment_bytes_max),
        (
            "store.compaction.segment_bytes_target",
            store.segment_bytes_target,
        ),
    ];
    for (key, size) in sizes {
        if size == Some(0) {
            wrong.push(Failure::usage(format!("{key} is zero")).hint("write for example 128MiB"));
        }
    }
    if store
        .compaction_files_min
        .is_some_and(|files| files < FILES_MERGED_MIN)
    {
        wrong.push(Failure::usage(format!(
            "store.compaction.files_min is less than {FILES_MERGED_MIN}"
        )));
    }
    if let Some(Err(error)) = settings.object_store_url.as_deref().map(url::Url::parse) {
        let failure = Failure::usage("the URL of the object store cannot be read").caused_by(&error);
        wrong.push(failure.hint("write for example s3://bucket/prefix"));
    }
}

fn listeners(settings: &Settings, wrong: &mut Vec<Failure>) {
    let own = [
        ("the API", Some(settings.api.listen)),
        ("the PostgreSQL protocol", settings.api.postgres_listen),
        ("Arrow Flight SQL", settings.api.flight_listen),
        (
            "the health checks",
            settings.health.as_ref().map(|health| health.listen),
        ),
        (
            "the extension zpages",
            settings.zpages.as_ref().map(|pages| pages.listen),
        ),
        (
            "the extension pprof",
            settings.pprof.as_ref().map(|pprof| pprof.listen),
        ),
    ];
    let receivers = settings.plan.receivers.iter().flat_map(|(id, receiver)| {
        let listens = receiver.settings.listens();
        listens.into_iter().map(move |(protocol, address)| {
            let name = format!("the receiver {id} ({protocol})");
            (name, address, PACKETS.contains(&protocol))
        })
    });
    let metrics = settings.own_metrics.iter();
    let own = own
        .into_iter()
        .chain(metrics.map(|address| ("the page of own metrics", Some(*address))))
        .filter_map(|(name, address)| Some((name.to_owned(), address?, false)));
    let on: Vec<(String, SocketAddr, bool)> = receivers.chain(own).collect();
    for (index, (name, address, packets)) in on.iter().enumerate() {
        let taken = |other: &&(String, SocketAddr, bool)| other.2 == *packets && collide(other.1, *address);
        if let Some((other, ..)) = on[..index].iter().find(taken) {
            let failure = Failure::usage(format!(
                "{other} and {name} are to listen on the same address, {address}"
            ));
            wrong.push(failure.hint("give each a port of its own"));
        }
    }
}

/// Protocols over UDP, whose ports are others than those of TCP.
const PACKETS: [&str; 3] = ["udp", "thrift_compact", "thrift_binary"];

/// Port 0 is any free one; an unspecified address takes the port on all of them.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use crate::config::{LogFlags, ServeFlags, Settings};
    use crate::failure::EXIT_USAGE;

    fn refused(text: &str) -> Option<String> {
        let file = crate::config::file::File::parse(text).unwrap();
        let failure = Settings::resolve(&ServeFlags::default(), &LogFlags::default(), file).err()?;
        assert_eq!(failure.exit_code(), EXIT_USAGE);
        Some(failure.to_string())
    }

    #[test]
    fn what_serve_cannot_work_with_is_refused_by_name() {
        for (text, named) in [
            ("service: {telemetry: {logs: {level: inof}}}", "`inof`"),
            ("store: {compaction: {interval: 0s}}", "store.compaction.interval"),
            (
                "store: {compaction: {files_min: 1}}",
                "store.compaction.files_min",
            ),
            ("store: {retention_interval: 0s}", "store.retention_interval"),
            ("store: {flush_bytes_max: 0}", "store.flush_bytes_max"),
            ("store: {object_store_url: bucket}", "object store"),
            ("api: {endpoint: 4317}", "the receiver otlp (grpc) and the API"),
            (
                "api: {endpoint: \"0.0.0.0:4318\"}",
                "the receiver otlp (http) and the API",
            ),
            ("api: {postgres: {endpoint: 4302}}", "Arrow Flight SQL"),
            (
                "extensions: {health_check: {path: health}}",
                "extensions.health_check.path",
            ),
            ("extensions: {pprof: {endpoint: 4300}}", "the extension pprof"),
            ("extensions: {zpages: {endpoint: 13133}}", "the extension zpages"),
        ] {
            let failure = refused(text).unwrap_or_else(|| panic!("{text} is taken"));
            assert!(failure.contains(named), "{text}: {failure}");
        }
    }

    #[test]
    fn one_port_may_be_used_on_two_addresses_and_any_free_one_by_all() {
        assert_eq!(refused("api: {endpoint: \"127.0.0.2:4317\"}"), None);
        assert_eq!(refused("api: {endpoint: 0, postgres: {endpoint: 0}}"), None);
        assert_eq!(refused("api: {endpoint: 4301, postgres: {enabled: false}}"), None);
    }
}
