//! The instruments of a pod: names and units of the semantic conventions, and the attributes of their series.

use crate::topology::Service;
use crate::wire::{Value, Wire};

/// How an instrument is aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Gauge,
    Sum { delta: bool, monotonic: bool },
    Histogram,
    Exponential,
    Summary,
}

pub(crate) struct Instrument {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) shape: Shape,
    pub(crate) integer: bool,
    /// Typical value, or typical step of a counter.
    pub(crate) level: f64,
    labels: Labels,
}

#[derive(Clone, Copy)]
enum Labels {
    Routes,
    Static(&'static [(&'static str, &'static [&'static str])]),
}

const COUNTER: Shape = Shape::Sum {
    delta: false,
    monotonic: true,
};
const DELTA_COUNTER: Shape = Shape::Sum {
    delta: true,
    monotonic: true,
};
const UP_DOWN: Shape = Shape::Sum {
    delta: false,
    monotonic: false,
};

pub(crate) const INSTRUMENTS: &[Instrument] = &[
    instrument(
        "http.server.request.duration",
        "Duration of HTTP server requests.",
        "s",
        Shape::Histogram,
        0.0,
        Labels::Routes,
    ),
    instrument(
        "http.server.active_requests",
        "Number of active HTTP server requests.",
        "{request}",
        UP_DOWN,
        4.0,
        Labels::Static(&[("http.request.method", &["GET", "POST", "PUT"])]),
    )
    .integer(),
    instrument(
        "process.cpu.time",
        "Total CPU seconds broken down by different states.",
        "s",
        COUNTER,
        0.01,
        Labels::Static(&[("cpu.mode", &["user", "system", "wait"])]),
    ),
    instrument(
        "process.memory.usage",
        "The amount of physical memory in use.",
        "By",
        UP_DOWN,
        3e8,
        Labels::Static(&[]),
    )
    .integer(),
    instrument(
        "system.cpu.utilization",
        "Share of time that a logical CPU was busy.",
        "1",
        Shape::Gauge,
        0.25,
        Labels::Static(&[
            ("cpu.logical_number", &["0", "1", "2", "3"]),
            ("cpu.mode", &["user", "system", "idle"]),
        ]),
    ),
    instrument(
        "system.network.io",
        "Bytes sent and received.",
        "By",
        COUNTER,
        2_000.0,
        Labels::Static(&[
            ("network.interface.name", &["eth0", "lo"]),
            ("network.io.direction", &["transmit", "receive"]),
        ]),
    )
    .integer(),
    instrument(
        "db.client.operation.duration",
        "Duration of database client operations.",
        "s",
        Shape::Exponential,
        0.0,
        Labels::Static(&[("db.operation.name", &["SELECT", "INSERT", "UPDATE", "DELETE"])]),
    ),
    instrument(
        "db.client.connection.count",
        "Connections that are in the state described.",
        "{connection}",
        Shape::Gauge,
        12.0,
        Labels::Static(&[("db.client.connection.state", &["idle", "used"])]),
    )
    .integer(),
    instrument(
        "messaging.process.duration",
        "Duration of processing operation.",
        "s",
        Shape::Exponential,
        0.0,
        Labels::Static(&[("messaging.operation.name", &["process"])]),
    ),
    instrument(
        "rpc.server.latency",
        "Latency of calls, from a legacy client library.",
        "s",
        Shape::Summary,
        0.0,
        Labels::Static(&[("rpc.method", &["Get", "List", "Update"])]),
    ),
    instrument(
        "jvm.memory.used",
        "Measure of memory used.",
        "By",
        UP_DOWN,
        1e8,
        Labels::Static(&[(
            "jvm.memory.pool.name",
            &["G1 Eden Space", "G1 Old Gen", "Metaspace", "CodeHeap"],
        )]),
    )
    .integer(),
    instrument(
        "jvm.gc.duration",
        "Duration of JVM garbage collection actions.",
        "s",
        Shape::Histogram,
        0.0,
        Labels::Static(&[("jvm.gc.action", &["end of minor GC", "end of major GC"])]),
    ),
    instrument(
        "app.orders.placed",
        "Orders placed since the last reading.",
        "{order}",
        DELTA_COUNTER,
        0.05,
        Labels::Static(&[
            ("customer.plan", &["free", "starter", "team", "enterprise"]),
            ("cloud.region", &["eu-central-1", "us-east-1", "ap-southeast-2"]),
        ]),
    )
    .integer(),
    instrument(
        "app.queue.depth",
        "Messages that wait.",
        "{message}",
        Shape::Gauge,
        40.0,
        Labels::Static(&[("messaging.destination.partition.id", &["0", "1", "2", "3"])]),
    )
    .integer(),
];

const fn instrument(
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    shape: Shape,
    level: f64,
    labels: Labels,
) -> Instrument {
    Instrument {
        name,
        description,
        unit,
        shape,
        integer: false,
        level,
        labels,
    }
}

impl Instrument {
    const fn integer(mut self) -> Self {
        self.integer = true;
        self
    }
}

impl Shape {
    /// Field number of the data in `Metric`.
    pub(crate) fn data_field(self) -> u32 {
        match self {
            Shape::Gauge => 5,
            Shape::Sum { .. } => 7,
            Shape::Histogram => 9,
            Shape::Exponential => 10,
            Shape::Summary => 11,
        }
    }

    /// Field number of the attributes in its kind of data point.
    fn attributes_field(self) -> u32 {
        match self {
            Shape::Gauge | Shape::Sum { .. } | Shape::Summary => 7,
            Shape::Histogram => 9,
            Shape::Exponential => 1,
        }
    }

    pub(crate) fn buckets(self, explicit: usize, exponential: usize) -> usize {
        match self {
            Shape::Histogram => explicit,
            Shape::Exponential => exponential,
            _ => 0,
        }
    }
}

/// Encoded attributes of each series that `service` has of `instrument`.
pub(crate) fn series_of(instrument: &Instrument, service: &Service) -> Vec<Vec<u8>> {
    let field = instrument.shape.attributes_field();
    match instrument.labels {
        Labels::Routes => routes(field, service),
        Labels::Static(labels) => combinations(field, labels),
    }
}

fn routes(field: u32, service: &Service) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for operation in &service.operations[..service.routes] {
        let (method, route) = operation.name.split_once(' ').unwrap_or(("GET", &operation.name));
        for status in [200, 500] {
            let mut wire = Wire::default();
            wire.attribute(field, "http.request.method", Value::Text(method));
            wire.attribute(field, "http.route", Value::Text(route));
            wire.attribute(field, "http.response.status_code", Value::Int(status));
            all.push(wire.into_bytes());
        }
    }
    all
}

fn combinations(field: u32, labels: &[(&str, &[&str])]) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for (key, values) in labels {
        let mut longer = Vec::with_capacity(all.len() * values.len());
        for prefix in &all {
            for value in *values {
                let mut wire = Wire::default();
                wire.raw(prefix);
                wire.attribute(field, key, Value::Text(value));
                longer.push(wire.into_bytes());
            }
        }
        all = longer;
    }
    all
}
