//! Series of Prometheus as OTLP metrics: what the receivers of remote writes and of scrapes share.
//!
//! Owns what a series becomes; how series come in is of the receivers. Names stay as they are.
//!
//! | Prometheus | OTLP |
//! |---|---|
//! | counter; `_count`, `_sum`, `_bucket` of a histogram or summary that came as single series | cumulative monotonic sum |
//! | gauge, unknown, a quantile of a summary | gauge |
//! | info, state set | cumulative sum that is not monotonic |
//! | classic histogram, summary that came whole | histogram, summary |
//! | native histogram | exponential histogram; with custom buckets, histogram |
//! | staleness marker | a point without a value, `FLAG_NO_RECORDED_VALUE` |
//! | `job`, `instance` | `service.name` (and `service.namespace`), `service.instance.id` |
//! | `otel_scope_name`, `otel_scope_version` | scope |
//! | exemplar | exemplar, with the ids of its labels `trace_id` and `span_id` |
//!
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>

pub(super) mod native;
pub(super) mod write;

/// What marks that a series has ended. <https://prometheus.io/docs/prometheus/latest/querying/basics/#staleness>
pub(super) const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// Most labels of one series.
pub(super) const LABELS_MAX: usize = 256;

/// The type of a metric family, by the numbers of Prometheus' protocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    #[default]
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl Kind {
    const ALL: [(Kind, &'static str); 8] = [
        (Kind::Unknown, "unknown"),
        (Kind::Counter, "counter"),
        (Kind::Gauge, "gauge"),
        (Kind::Histogram, "histogram"),
        (Kind::GaugeHistogram, "gaugehistogram"),
        (Kind::Summary, "summary"),
        (Kind::Info, "info"),
        (Kind::StateSet, "stateset"),
    ];

    pub(super) fn from_number(number: u64) -> Kind {
        let known = usize::try_from(number)
            .ok()
            .and_then(|number| Kind::ALL.get(number));
        known.map_or(Kind::Unknown, |(kind, _)| *kind)
    }

    pub(super) fn from_name(name: &str) -> Option<Kind> {
        let name = if name == "untyped" { "unknown" } else { name };
        Kind::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }

    pub(super) fn as_str(self) -> &'static str {
        Kind::ALL[self as usize].1
    }
}

/// A label's name and value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// What is known of a metric family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Family<'a> {
    pub(super) kind: Kind,
    pub(super) help: &'a str,
    pub(super) unit: &'a str,
}

/// One series with the points that came of it.
#[derive(Clone, Debug)]
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) family: Family<'a>,
    pub(super) job: &'a str,
    pub(super) instance: &'a str,
    /// `otel_scope_name`, `otel_scope_version`.
    pub(super) scope: (&'a str, &'a str),
    /// All others, sorted by name.
    pub(super) labels: Vec<Label<'a>>,
    pub(super) points: Vec<Point>,
    pub(super) exemplars: Vec<Exemplar<'a>>,
}

/// One value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) time_unix_nano: u64,
    /// 0 if it is not known.
    pub(super) start_unix_nano: u64,
    pub(super) value: PointValue,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum PointValue {
    Number(f64),
    Native(Box<native::Native>),
    /// A histogram or a summary that has ended says nothing else.
    Classic(Box<Classic>),
    Summary(Box<Summary>),
}

/// A classic histogram in one piece. `counts` are not cumulative, and one more than `bounds`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Classic {
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) bounds: Vec<f64>,
    pub(super) counts: Vec<u64>,
    pub(super) stale: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) stale: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Exemplar<'a> {
    pub(super) labels: Vec<Label<'a>>,
    pub(super) value: f64,
    pub(super) time_unix_nano: u64,
}

/// Milliseconds as protocols have them; what lies before 1970 is 0.
pub(super) fn nanos(unix_milli: i64) -> u64 {
    u64::try_from(unix_milli).unwrap_or(0).saturating_mul(1_000_000)
}

impl<'a> Series<'a> {
    /// Sorts out the labels of a series as it came. The reason, if it is none.
    pub(super) fn new(mut labels: Vec<Label<'a>>) -> Result<Series<'a>, &'static str> {
        labels.sort_unstable();
        if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("a label is given twice");
        }
        let mut series = Series {
            name: "",
            family: Family::default(),
            job: "",
            instance: "",
            scope: ("", ""),
            labels: Vec::new(),
            points: Vec::new(),
            exemplars: Vec::new(),
        };
        labels.retain(|(name, value)| {
            let place = match *name {
                "__name__" => &mut series.name,
                "job" => &mut series.job,
                "instance" => &mut series.instance,
                "otel_scope_name" => &mut series.scope.0,
                "otel_scope_version" => &mut series.scope.1,
                // A label without a value is the same as none.
                _ => return !value.is_empty(),
            };
            *place = value;
            false
        });
        if series.name.is_empty() {
            return Err("the name of the metric is missing");
        }
        if labels.iter().any(|(name, _)| name.is_empty()) {
            return Err("a label has no name");
        }
        series.labels = labels;
        Ok(series)
    }
}
