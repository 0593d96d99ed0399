//! Interfaces, from `/proc/net/dev`, and TCP connections, from `/proc/net/tcp`: those of the network that this program is
//! in, whatever the root, because the kernel shows each process its own.

use std::collections::{BTreeMap, HashSet};

use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::NetworkConfig;
use crate::receivers::hostmetrics::filter::Filter;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const CONNECTIONS: Metric = Metric::level(
    "system.network.connections",
    "{connections}",
    "The number of connections.",
    &["protocol", "state"],
);
const CONNTRACK_COUNT: Metric = Metric::level(
    "system.network.conntrack.count",
    "{entries}",
    "The count of entries in conntrack table.",
    &[],
)
.off();
const CONNTRACK_MAX: Metric = Metric::level(
    "system.network.conntrack.max",
    "{entries}",
    "The limit for entries in the conntrack table.",
    &[],
)
.off();
const DROPPED: Metric = Metric::counter(
    "system.network.dropped",
    "{packets}",
    "The number of packets dropped.",
    &["device", "direction"],
);
const ERRORS: Metric = Metric::counter(
    "system.network.errors",
    "{errors}",
    "The number of errors encountered.",
    &["device", "direction"],
);
const IO: Metric = Metric::counter(
    "system.network.io",
    "By",
    "The number of bytes transmitted and received.",
    &["device", "direction"],
);
const PACKETS: Metric = Metric::counter(
    "system.network.packets",
    "{packets}",
    "The number of packets transferred.",
    &["device", "direction"],
);
const METRICS: &[Metric] = &[
    CONNECTIONS,
    CONNTRACK_COUNT,
    CONNTRACK_MAX,
    DROPPED,
    ERRORS,
    IO,
    PACKETS,
];

/// By their number in the kernel, from 1.
const STATES: [&str; 11] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];

#[derive(Debug)]
pub(super) struct Network {
    recorder: Recorder,
    filter: Filter,
}

impl Network {
    pub(super) fn new(config: &NetworkConfig) -> Result<Network, ConfigError> {
        Ok(Network {
            recorder: Recorder::new(METRICS, &config.metrics, "scrapers.network.metrics")?,
            filter: Filter::interfaces(
                (&config.include, "scrapers.network.include"),
                (&config.exclude, "scrapers.network.exclude"),
            )?,
        })
    }

    fn record_interfaces(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        let text = host.read("proc/net/dev")?;
        let interfaces = text.lines().skip(2).filter_map(interface);
        for (name, received, sent) in interfaces.filter(|(name, ..)| self.filter.passes(name)) {
            for (column, metric) in [IO, PACKETS, ERRORS, DROPPED].iter().enumerate() {
                for (columns, direction) in [(&sent, "transmit"), (&received, "receive")] {
                    let value = columns[column] as i64;
                    self.recorder.record(metric, now, value, &[name, direction]);
                }
            }
        }
        Ok(())
    }

    fn record_connections(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        if !self.recorder.wants(&CONNECTIONS) {
            return Ok(());
        }
        let first = host.read("proc/net/tcp")?;
        // Not there where the kernel has no IPv6.
        let second = host.read("proc/net/tcp6").unwrap_or_default();
        for (state, count) in connections(&[&first, &second]) {
            self.recorder.record(&CONNECTIONS, now, count, &["tcp", state]);
        }
        Ok(())
    }

    fn record_conntrack(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        if !self.recorder.wants_any(&[&CONNTRACK_COUNT, &CONNTRACK_MAX]) {
            return Ok(());
        }
        for (metric, file) in [
            (CONNTRACK_COUNT, "nf_conntrack_count"),
            (CONNTRACK_MAX, "nf_conntrack_max"),
        ] {
            let path = format!("proc/sys/net/netfilter/{file}");
            let number = host.read(&path)?.trim().parse::<i64>();
            let number = number.map_err(|_| ReadError::new(&host.path(&path), "it is not a number"))?;
            self.recorder.record(&metric, now, number, &[]);
        }
        Ok(())
    }
}

impl Scrape for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        if let Err(error) = self.record_interfaces(now, host) {
            scraping.failed(4, &error);
        }
        if let Err(error) = self.record_connections(now, host) {
            scraping.failed(1, &error);
        }
        if let Err(error) = self.record_conntrack(now, host) {
            scraping.failed(2, &error);
        }
        scraping.write(&mut self.recorder);
    }
}

/// Name, and bytes, packets, errors and drops: received and sent.
fn interface(line: &str) -> Option<(&str, [u64; 4], [u64; 4])> {
    // Names of aliases have a colon themselves.
    let (name, columns) = line.rsplit_once(':')?;
    let columns = columns.split_ascii_whitespace().map(|column| column.parse().ok());
    let columns: Vec<u64> = columns.collect::<Option<_>>()?;
    let (received, sent) = (columns.get(0..4)?, columns.get(8..12)?);
    Some((name.trim(), received.try_into().ok()?, sent.try_into().ok()?))
}

/// How many there are in each state, all of which are there. Sockets that listen at the same address count once.
fn connections(tables: &[&str]) -> BTreeMap<&'static str, i64> {
    let mut counts: BTreeMap<&str, i64> = STATES.iter().map(|state| (*state, 0)).collect();
    let mut seen = HashSet::new();
    for line in tables.iter().flat_map(|table| table.lines().skip(1)) {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(remote), Some(state)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let number = usize::from_str_radix(state, 16).unwrap_or(0);
        let name = number.checked_sub(1).and_then(|at| STATES.get(at));
        if let Some(count) = name.and_then(|name| counts.get_mut(name))
            && seen.insert((local, remote, state))
        {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_colons_and_lines_may_be_odd() {
        let line = "eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        assert_eq!(interface(line), Some(("eth0:1", [1, 2, 3, 4], [9, 10, 11, 12])));
        assert_eq!(interface("  lo: 1 2 3"), None);
        assert_eq!(interface("lo 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"), None);
        assert_eq!(interface("lo: 1 2 3 4 5 6 7 8 9 10 x 12 13 14 15 16"), None);
    }

    #[test]
    fn every_state_is_counted_and_listeners_at_one_address_once() {
        let table = "  sl  local_address rem_address   st\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
             2: 0100007F:1F90 0100007F:ABCD 01 00000000:00000000\n\
             3: 0100007F:1F90 0100007F:ABCE 0C\n\
             4: 0100007F:1F90\n";
        let counts = connections(&[table, ""]);
        assert_eq!(counts.len(), STATES.len());
        let some: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(some, [("ESTABLISHED", 1), ("LISTEN", 1)]);
    }
}
