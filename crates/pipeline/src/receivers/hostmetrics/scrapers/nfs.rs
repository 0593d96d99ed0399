//! NFS, as client and as server, from `/proc/net/rpc`: of the network that this program is in, whatever the root, because the
//! kernel shows each process its own. Where the kernel has neither there is nothing to be measured, and no error.
//!
//! Procedures that a newer kernel has besides are left out: they have no names here.

use super::{Scrape, Scraping};
use crate::processors::ConfigError;
use crate::receivers::hostmetrics::config::PlainConfig;
use crate::receivers::hostmetrics::host::{Host, ReadError};
use crate::receivers::hostmetrics::metric::Metric;
use crate::receivers::hostmetrics::recorder::Recorder;
use crate::receivers::http::intake::now_unix_nano;

const CLIENT_NET_COUNT: Metric = Metric::counter(
    "nfs.client.net.count",
    "{record}",
    "Reports the count of kernel NFS client TCP segments and UDP datagrams handled.",
    &["network.transport"],
);
const CLIENT_NET_TCP_CONNECTION_ACCEPTED: Metric = Metric::counter(
    "nfs.client.net.tcp.connection.accepted",
    "{connection}",
    "Reports the count of kernel NFS client TCP connections accepted",
    &[],
);
const CLIENT_OPERATION_COUNT: Metric = Metric::counter(
    "nfs.client.operation.count",
    "{operation}",
    "Reports the count of kernel NFSv4+ client operations",
    &["onc_rpc.version", "nfs.operation.name"],
)
.numbers(&["onc_rpc.version"]);
const CLIENT_PROCEDURE_COUNT: Metric = Metric::counter(
    "nfs.client.procedure.count",
    "{procedure}",
    "Reports the count of kernel NFS client procedures",
    &["onc_rpc.version", "onc_rpc.procedure.name"],
)
.numbers(&["onc_rpc.version"]);
const CLIENT_RPC_AUTHREFRESH_COUNT: Metric = Metric::counter(
    "nfs.client.rpc.authrefresh.count",
    "{authrefresh}",
    "Reports the count of kernel NFS client RPC authentication refreshes",
    &[],
);
const CLIENT_RPC_COUNT: Metric = Metric::counter(
    "nfs.client.rpc.count",
    "{request}",
    "Reports the count of kernel NFS client RPCs sent, regardless of whether they're accepted/rejected by the server.",
    &[],
);
const CLIENT_RPC_RETRANSMIT_COUNT: Metric = Metric::counter(
    "nfs.client.rpc.retransmit.count",
    "{retransmit}",
    "Reports the count of kernel NFS client RPC retransmits",
    &[],
);
const SERVER_FH_STALE_COUNT: Metric = Metric::counter(
    "nfs.server.fh.stale.count",
    "{fh}",
    "Reports the cumulative count of kernel NFS server stale file handles.",
    &[],
);
const SERVER_IO: Metric = Metric::counter(
    "nfs.server.io",
    "By",
    "Reports the count of kernel NFS server bytes returned to receive and transmit (read and write) requests.",
    &["network.io.direction"],
);
const SERVER_NET_COUNT: Metric = Metric::counter(
    "nfs.server.net.count",
    "{request}",
    "Reports the count of kernel NFS server TCP segments and UDP datagrams handled.",
    &["network.transport"],
);
const SERVER_NET_TCP_CONNECTION_ACCEPTED: Metric = Metric::counter(
    "nfs.server.net.tcp.connection.accepted",
    "{connection}",
    "Reports the count of kernel NFS server TCP connections accepted",
    &[],
);
const SERVER_OPERATION_COUNT: Metric = Metric::counter(
    "nfs.server.operation.count",
    "{operation}",
    "Reports the count of kernel NFSv4+ server operations",
    &["onc_rpc.version", "nfs.operation.name"],
)
.numbers(&["onc_rpc.version"]);
const SERVER_PROCEDURE_COUNT: Metric = Metric::counter(
    "nfs.server.procedure.count",
    "{procedure}",
    "Reports the count of kernel NFS server procedures",
    &["onc_rpc.version", "onc_rpc.procedure.name"],
)
.numbers(&["onc_rpc.version"]);
const SERVER_REPCACHE_REQUESTS: Metric = Metric::counter(
    "nfs.server.repcache.requests",
    "{request}",
    "Reports the kernel NFS server reply cache request count by cache hit status.",
    &["nfs.server.repcache.status"],
);
const SERVER_RPC_COUNT: Metric = Metric::counter(
    "nfs.server.rpc.count",
    "{request}",
    "Reports the count of kernel NFS server RPCs handled.",
    &["error.type"],
);
const SERVER_THREAD_COUNT: Metric = Metric::level(
    "nfs.server.thread.count",
    "{thread}",
    "Reports the count of kernel NFS server available threads",
    &[],
);
const METRICS: &[Metric] = &[
    CLIENT_NET_COUNT,
    CLIENT_NET_TCP_CONNECTION_ACCEPTED,
    CLIENT_OPERATION_COUNT,
    CLIENT_PROCEDURE_COUNT,
    CLIENT_RPC_AUTHREFRESH_COUNT,
    CLIENT_RPC_COUNT,
    CLIENT_RPC_RETRANSMIT_COUNT,
    SERVER_FH_STALE_COUNT,
    SERVER_IO,
    SERVER_NET_COUNT,
    SERVER_NET_TCP_CONNECTION_ACCEPTED,
    SERVER_OPERATION_COUNT,
    SERVER_PROCEDURE_COUNT,
    SERVER_REPCACHE_REQUESTS,
    SERVER_RPC_COUNT,
    SERVER_THREAD_COUNT,
];

/// What the Collector counts as missing where a file cannot be read.
const CLIENT_ERRORS: u64 = 97;
const SERVER_ERRORS: u64 = 115;

/// Of version 3, of clients and servers, in the order of the kernel.
const PROCEDURES_3: [&str; 22] = [
    "NULL",
    "GETATTR",
    "SETATTR",
    "LOOKUP",
    "ACCESS",
    "READLINK",
    "READ",
    "WRITE",
    "CREATE",
    "MKDIR",
    "SYMLINK",
    "MKNOD",
    "REMOVE",
    "RMDIR",
    "RENAME",
    "LINK",
    "READDIR",
    "READDIRPLUS",
    "FSSTAT",
    "FSINFO",
    "PATHCONF",
    "COMMIT",
];

/// Of version 4, as clients count them.
const CLIENT_OPERATIONS_4: [&str; 69] = [
    "NULL",
    "READ",
    "WRITE",
    "COMMIT",
    "OPEN",
    "OPEN_CONFIRM",
    "OPEN_NOATTR",
    "OPEN_DOWNGRADE",
    "CLOSE",
    "SETATTR",
    "FSINFO",
    "RENEW",
    "SETCLIENTID",
    "SETCLIENTID_CONFIRM",
    "LOCK",
    "LOCKT",
    "LOCKU",
    "ACCESS",
    "GETATTR",
    "LOOKUP",
    "LOOKUP_ROOT",
    "REMOVE",
    "RENAME",
    "LINK",
    "SYMLINK",
    "CREATE",
    "PATHCONF",
    "STATFS",
    "READLINK",
    "READDIR",
    "SERVER_CAPS",
    "DELEGRETURN",
    "GETACL",
    "SETACL",
    "FS_LOCATIONS",
    "RELEASE_LOCKOWNER",
    "SECINFO",
    "FSID_PRESENT",
    "EXCHANGE_ID",
    "CREATE_SESSION",
    "DESTROY_SESSION",
    "SEQUENCE",
    "GET_LEASE_TIME",
    "RECLAIM_COMPLETE",
    "GETDEVICEINFO",
    "LAYOUTGET",
    "LAYOUTCOMMIT",
    "LAYOUTRETURN",
    "SECINFO_NO_NAME",
    "TEST_STATEID",
    "FREE_STATEID",
    "GETDEVICELIST",
    "BIND_CONN_TO_SESSION",
    "DESTROY_CLIENTID",
    "SEEK",
    "ALLOCATE",
    "DEALLOCATE",
    "LAYOUTSTATS",
    "CLONE",
    "COPY",
    "OFFLOAD_CANCEL",
    "COPY_NOTIFY",
    "LOOKUPP",
    "LAYOUTERROR",
    "GETXATTR",
    "SETXATTR",
    "LISTXATTRS",
    "REMOVEXATTR",
    "READ_PLUS",
];

/// Of version 4, as servers count them.
const SERVER_PROCEDURES_4: [&str; 2] = ["NULL", "COMPOUND"];

/// Numbers of operations of version 4 that stand for nothing.
const OPERATIONS_UNUSED: usize = 3;

/// The others.
const SERVER_OPERATIONS_4: [&str; 73] = [
    "ACCESS",
    "CLOSE",
    "COMMIT",
    "CREATE",
    "DELEGPURGE",
    "DELEGRETURN",
    "GETATTR",
    "GETFH",
    "LINK",
    "LOCK",
    "LOCKT",
    "LOCKU",
    "LOOKUP",
    "LOOKUPP",
    "NVERIFY",
    "OPEN",
    "OPENATTR",
    "OPEN_CONFIRM",
    "OPEN_DOWNGRADE",
    "PUTFH",
    "PUTPUBFH",
    "PUTROOTFH",
    "READ",
    "READDIR",
    "READLINK",
    "REMOVE",
    "RENAME",
    "RENEW",
    "RESTOREFH",
    "SAVEFH",
    "SECINFO",
    "SETATTR",
    "SETCLIENTID",
    "SETCLIENTID_CONFIRM",
    "VERIFY",
    "WRITE",
    "RELEASE_LOCKOWNER",
    "BACKCHANNEL_CTL",
    "BIND_CONN_TO_SESSION",
    "EXCHANGE_ID",
    "CREATE_SESSION",
    "DESTROY_SESSION",
    "FREE_STATEID",
    "GET_DIR_DELEGATION",
    "GETDEVICEINFO",
    "GETDEVICELIST",
    "LAYOUTCOMMIT",
    "LAYOUTGET",
    "LAYOUTRETURN",
    "SECINFO_NO_NAME",
    "SEQUENCE",
    "SET_SSV",
    "TEST_STATEID",
    "WANT_DELEGATION",
    "DESTROY_CLIENTID",
    "RECLAIM_COMPLETE",
    "ALLOCATE",
    "COPY",
    "COPY_NOTIFY",
    "DEALLOCATE",
    "IO_ADVISE",
    "LAYOUTERROR",
    "LAYOUTSTATS",
    "OFFLOAD_CANCEL",
    "OFFLOAD_STATUS",
    "READ_PLUS",
    "SEEK",
    "WRITE_SAME",
    "CLONE",
    "GETXATTR",
    "SETXATTR",
    "LISTXATTRS",
    "REMOVEXATTR",
];

#[derive(Debug)]
pub(super) struct Nfs {
    recorder: Recorder,
}

impl Nfs {
    pub(super) fn new(config: &PlainConfig) -> Result<Nfs, ConfigError> {
        let recorder = Recorder::new(METRICS, &config.metrics, "scrapers.nfs.metrics")?;
        Ok(Nfs { recorder })
    }

    fn record_client(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        for (kind, values) in lines(host, "proc/net/rpc/nfs")? {
            match (kind.as_str(), &values[..]) {
                ("net", [_, udp, tcp, connections, ..]) => {
                    let recorder = &mut self.recorder;
                    recorder.record(&CLIENT_NET_COUNT, now, *udp, &["udp"]);
                    recorder.record(&CLIENT_NET_COUNT, now, *tcp, &["tcp"]);
                    recorder.record(&CLIENT_NET_TCP_CONNECTION_ACCEPTED, now, *connections, &[]);
                }
                ("rpc", [sent, again, refreshed, ..]) => {
                    self.recorder.record(&CLIENT_RPC_COUNT, now, *sent, &[]);
                    self.recorder
                        .record(&CLIENT_RPC_RETRANSMIT_COUNT, now, *again, &[]);
                    self.recorder
                        .record(&CLIENT_RPC_AUTHREFRESH_COUNT, now, *refreshed, &[]);
                }
                ("proc3", [_, calls @ ..]) => {
                    self.record_calls(&CLIENT_PROCEDURE_COUNT, now, ("3", &PROCEDURES_3), calls);
                }
                ("proc4", [_, calls @ ..]) => {
                    self.record_calls(&CLIENT_OPERATION_COUNT, now, ("4", &CLIENT_OPERATIONS_4), calls);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn record_server(&mut self, now: u64, host: &Host) -> Result<(), ReadError> {
        for (kind, values) in lines(host, "proc/net/rpc/nfsd")? {
            let recorder = &mut self.recorder;
            match (kind.as_str(), &values[..]) {
                ("rc", [hits, misses, others, ..]) => {
                    for (value, status) in [(hits, "hit"), (misses, "miss"), (others, "nocache")] {
                        recorder.record(&SERVER_REPCACHE_REQUESTS, now, *value, &[status]);
                    }
                }
                ("fh", [stale, ..]) => recorder.record(&SERVER_FH_STALE_COUNT, now, *stale, &[]),
                ("io", [read, written, ..]) => {
                    recorder.record(&SERVER_IO, now, *read, &["receive"]);
                    recorder.record(&SERVER_IO, now, *written, &["transmit"]);
                }
                ("th", [threads, ..]) => recorder.record(&SERVER_THREAD_COUNT, now, *threads, &[]),
                ("net", [_, udp, tcp, connections, ..]) => {
                    recorder.record(&SERVER_NET_COUNT, now, *udp, &["udp"]);
                    recorder.record(&SERVER_NET_COUNT, now, *tcp, &["tcp"]);
                    recorder.record(&SERVER_NET_TCP_CONNECTION_ACCEPTED, now, *connections, &[]);
                }
                ("rpc", [_, _, format, auth, client, ..]) => {
                    for (value, kind) in [(format, "format"), (auth, "auth"), (client, "client")] {
                        recorder.record(&SERVER_RPC_COUNT, now, *value, &[kind]);
                    }
                }
                ("proc3", [_, calls @ ..]) => {
                    self.record_calls(&SERVER_PROCEDURE_COUNT, now, ("3", &PROCEDURES_3), calls);
                }
                ("proc4", [_, calls @ ..]) => {
                    self.record_calls(&SERVER_PROCEDURE_COUNT, now, ("4", &SERVER_PROCEDURES_4), calls);
                }
                ("proc4ops", [_, calls @ ..]) => {
                    let calls = calls.get(OPERATIONS_UNUSED..).unwrap_or_default();
                    self.record_calls(&SERVER_OPERATION_COUNT, now, ("4", &SERVER_OPERATIONS_4), calls);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn record_calls(&mut self, metric: &Metric, now: u64, (version, names): (&str, &[&str]), calls: &[i64]) {
        for (name, count) in names.iter().zip(calls) {
            self.recorder.record(metric, now, *count, &[version, name]);
        }
    }
}

impl Scrape for Nfs {
    fn name(&self) -> &'static str {
        "nfs"
    }

    fn scrape(&mut self, host: &Host, scraping: &mut Scraping<'_>) {
        let now = now_unix_nano();
        let mut tell = |result: Result<(), ReadError>, metrics| match result {
            Err(error) if !error.is_gone() => scraping.failed(metrics, &error),
            _ => {}
        };
        tell(self.record_client(now, host), CLIENT_ERRORS);
        tell(self.record_server(now, host), SERVER_ERRORS);
        scraping.write(&mut self.recorder);
    }
}

/// Kinds of lines that are read, with as many numbers as each must have. Those of calls say how many follow.
const KINDS: [(&str, usize); 9] = [
    ("rc", 3),
    ("fh", 1),
    ("io", 2),
    ("th", 1),
    ("net", 4),
    ("rpc", 3),
    ("proc3", 2),
    ("proc4", 2),
    ("proc4ops", 2),
];

/// The lines of a file that are known, all of them or none.
fn lines(host: &Host, path: &str) -> Result<Vec<(String, Vec<i64>)>, ReadError> {
    let text = host.read(path)?;
    let wrong = |line: &str| ReadError::new(&host.path(path), &format!("it has the line {line:?}"));
    let mut found = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(kind), rest) = (fields.next(), fields) else {
            return Err(wrong(line));
        };
        let rest: Vec<&str> = rest.collect();
        if rest.is_empty() {
            return Err(wrong(line));
        }
        let Some((_, least)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            continue;
        };
        // Behind the number of threads there are shares of time that mean nothing any more.
        let wanted = if kind == "th" { &rest[..1] } else { &rest[..] };
        let values: Result<Vec<i64>, _> = wanted
            .iter()
            .map(|text| text.parse::<u64>().map(|value| value as i64))
            .collect();
        let values = values.map_err(|_| wrong(line))?;
        let is_whole = !kind.starts_with("proc") || values.first() == Some(&(values.len() as i64 - 1));
        if values.len() < *least || !is_whole {
            return Err(wrong(line));
        }
        found.push((kind.to_owned(), values));
    }
    Ok(found)
}
