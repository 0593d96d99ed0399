//! `prometheus.WriteRequest`.

use std::collections::HashMap;

use cupola_telemetry::TenantId;

use super::targets::Targets;
use super::{Outcome, finish, series_bytes};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::refusal::Refusal;
use crate::receivers::protobuf::{Fields, ProtobufError};
use crate::receivers::series::native::{self, NativeError};
use crate::receivers::series::{Exemplar, Family, Kind, LABELS_MAX, Label, Point, PointValue, Series, nanos};

/// What a request describes of families, about, for each.
const FAMILY_BYTES: usize = 128;

pub(super) fn convert(
    body: &[u8],
    tenant: TenantId,
    room: &mut Room<'_>,
    targets: &Targets,
) -> Converted<Outcome> {
    let mut outcome = Outcome::default();
    let mut all = Vec::new();
    let mut families = HashMap::new();
    let mut held = 0;
    for field in Fields::new(body) {
        let field = field.map_err(invalid)?;
        match field.number {
            1 => {
                let message = field.bytes().map_err(invalid)?;
                match series(message) {
                    Ok(series) => {
                        held += series_bytes(&series);
                        room.hold(held)?;
                        all.push(series);
                    }
                    Err(Problem::Message(error)) => return Err(invalid(error)),
                    Err(Problem::Series { problem, points }) => outcome.refuse(points, problem),
                }
            }
            3 => {
                let (name, family) = metadata(field.bytes().map_err(invalid)?).map_err(invalid)?;
                held += FAMILY_BYTES;
                room.hold(held)?;
                families.insert(name, family);
            }
            _ => {}
        }
    }
    for series in &mut all {
        series.family = family(&families, series.name);
    }
    finish(all, true, (tenant, targets), outcome)
}

fn invalid(error: ProtobufError) -> Refusal {
    Refusal::invalid("body", format!("not a prometheus.WriteRequest: {error}"))
}

/// What is known of the family that a series is part of.
fn family<'a>(families: &HashMap<&'a str, Family<'a>>, name: &str) -> Family<'a> {
    if families.is_empty() {
        return Family::default();
    }
    let suffixes = ["_bucket", "_count", "_sum", "_total", "_created"];
    let whole = families.get(name);
    let part = || {
        suffixes
            .iter()
            .find_map(|suffix| families.get(name.strip_suffix(suffix)?))
    };
    whole.or_else(part).copied().unwrap_or_default()
}

pub(super) enum Problem {
    /// The request is not what it says it is.
    Message(ProtobufError),
    /// One series of it is none.
    Series { problem: String, points: usize },
}

impl From<ProtobufError> for Problem {
    fn from(error: ProtobufError) -> Problem {
        Problem::Message(error)
    }
}

fn series(message: &[u8]) -> Result<Series<'_>, Problem> {
    let (mut labels, mut points, mut exemplars) = (Vec::new(), Vec::new(), Vec::new());
    let mut problem = None;
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => push(&mut labels, label(field.bytes()?)?)?,
            2 => points.push(sample(field.bytes()?, 0)?),
            3 => exemplars.push(exemplar(field.bytes()?)?),
            4 => match native_point(field.bytes()?, 0) {
                Ok(point) => points.push(point),
                Err(NativeError::Protobuf(error)) => return Err(error.into()),
                Err(error) => problem = Some(error.to_string()),
            },
            _ => {}
        }
    }
    assemble(labels, points, exemplars, problem)
}

/// A series of its parts, or why it is none.
pub(super) fn assemble<'a>(
    labels: Vec<Label<'a>>,
    points: Vec<Point>,
    exemplars: Vec<Exemplar<'a>>,
    problem: Option<String>,
) -> Result<Series<'a>, Problem> {
    let count = points.len();
    let refused = |problem| Problem::Series {
        problem,
        points: count,
    };
    if let Some(problem) = problem {
        return Err(refused(problem));
    }
    let mixed = points
        .iter()
        .any(|point| matches!(point.value, PointValue::Native(_)))
        && points
            .iter()
            .any(|point| matches!(point.value, PointValue::Number(_)));
    if mixed {
        return Err(refused("it has both samples and histograms".to_owned()));
    }
    let mut series = Series::new(labels).map_err(|problem| refused(problem.to_owned()))?;
    series.points = points;
    series.exemplars = exemplars;
    Ok(series)
}

pub(super) fn push<'a>(labels: &mut Vec<Label<'a>>, label: Label<'a>) -> Result<(), ProtobufError> {
    if labels.len() == LABELS_MAX {
        return Err(ProtobufError::TooMany(1));
    }
    labels.push(label);
    Ok(())
}

fn label(message: &[u8]) -> Result<Label<'_>, ProtobufError> {
    let (mut name, mut value) = ("", "");
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// `start_unix_milli` is that of the series, where the protocol has it there.
pub(super) fn sample(message: &[u8], start_unix_milli: i64) -> Result<Point, ProtobufError> {
    let (mut value, mut time, mut start) = (0.0, 0, start_unix_milli);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => value = field.double()?,
            2 => time = field.int()?,
            3 => start = field.int()?,
            _ => {}
        }
    }
    Ok(Point {
        time_unix_nano: nanos(time),
        start_unix_nano: nanos(start),
        value: PointValue::Number(value),
    })
}

pub(super) fn native_point(message: &[u8], start_unix_milli: i64) -> Result<Point, NativeError> {
    let timed = native::read(message)?;
    let start = match timed.start_unix_milli {
        0 => start_unix_milli,
        own => own,
    };
    Ok(Point {
        time_unix_nano: nanos(timed.unix_milli),
        start_unix_nano: nanos(start),
        value: PointValue::Native(Box::new(timed.histogram)),
    })
}

fn exemplar(message: &[u8]) -> Result<Exemplar<'_>, ProtobufError> {
    let mut exemplar = Exemplar::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => push(&mut exemplar.labels, label(field.bytes()?)?)?,
            2 => exemplar.value = field.double()?,
            3 => exemplar.time_unix_nano = nanos(field.int()?),
            _ => {}
        }
    }
    Ok(exemplar)
}

fn metadata(message: &[u8]) -> Result<(&str, Family<'_>), ProtobufError> {
    let mut name = "";
    let mut family = Family::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => family.kind = Kind::from_number(field.uint()?),
            2 => name = field.text()?,
            4 => family.help = field.text()?,
            5 => family.unit = field.text()?,
            _ => {}
        }
    }
    Ok((name, family))
}
