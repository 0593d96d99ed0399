//! `io.prometheus.write.v2.Request`: texts are references to a table of symbols.

use cupola_telemetry::TenantId;

use super::targets::Targets;
use super::v1::{Problem, assemble, native_point, push, sample};
use super::{Outcome, finish, series_bytes};
use crate::receivers::http::intake::{Converted, Room};
use crate::receivers::http::refusal::Refusal;
use crate::receivers::protobuf::{Fields, ProtobufError};
use crate::receivers::series::native::NativeError;
use crate::receivers::series::{Exemplar, Family, Kind, LABELS_MAX, Label, Series, nanos};

const SYMBOL_BYTES: usize = size_of::<&str>();

pub(super) fn convert(
    body: &[u8],
    tenant: TenantId,
    room: &mut Room<'_>,
    targets: &Targets,
) -> Converted<Outcome> {
    let mut outcome = Outcome::default();
    let mut symbols = Symbols(Vec::new());
    let mut held = 0;
    for field in Fields::new(body) {
        let field = field.map_err(invalid)?;
        if field.number == 4 {
            held += SYMBOL_BYTES;
            room.hold(held)?;
            symbols.0.push(field.text().map_err(invalid)?);
        }
    }
    let mut all = Vec::new();
    for field in Fields::new(body) {
        let field = field.map_err(invalid)?;
        if field.number != 5 {
            continue;
        }
        match symbols.series(field.bytes().map_err(invalid)?) {
            Ok(series) => {
                held += series_bytes(&series);
                room.hold(held)?;
                all.push(series);
            }
            Err(Problem::Message(error)) => return Err(invalid(error)),
            Err(Problem::Series { problem, points }) => outcome.refuse(points, problem),
        }
    }
    finish(all, false, (tenant, targets), outcome)
}

fn invalid(error: ProtobufError) -> Refusal {
    Refusal::invalid("body", format!("not an io.prometheus.write.v2.Request: {error}"))
}

struct Symbols<'a>(Vec<&'a str>);

impl<'a> Symbols<'a> {
    /// The text that is referred to, or a note of what is wrong.
    fn text(&self, reference: u64, problem: &mut Option<String>) -> &'a str {
        let found = usize::try_from(reference)
            .ok()
            .and_then(|index| self.0.get(index));
        match found {
            Some(text) => text,
            // 0 means no text, which a request without symbols may say too.
            None if reference == 0 => "",
            None => {
                problem.get_or_insert_with(|| format!("there is no symbol {reference}"));
                ""
            }
        }
    }

    fn labels(
        &self,
        references: &[u64],
        problem: &mut Option<String>,
    ) -> Result<Vec<Label<'a>>, ProtobufError> {
        let (pairs, rest) = references.as_chunks::<2>();
        if !rest.is_empty() {
            problem.get_or_insert_with(|| "a label has no value".to_owned());
        }
        if pairs.len() > LABELS_MAX {
            return Err(ProtobufError::TooMany(1));
        }
        let mut labels = Vec::with_capacity(pairs.len());
        for [name, value] in pairs {
            push(
                &mut labels,
                (self.text(*name, problem), self.text(*value, problem)),
            )?;
        }
        Ok(labels)
    }

    fn series(&self, message: &'a [u8]) -> Result<Series<'a>, Problem> {
        let (mut references, mut points, mut exemplars) = (Vec::new(), Vec::new(), Vec::new());
        let (mut family, mut problem) = (Family::default(), None);
        // Of the series in earlier drafts; later ones have it in each sample.
        let mut start_unix_milli = 0;
        for field in Fields::new(message) {
            let field = field?;
            if field.number == 6 {
                start_unix_milli = field.int()?;
            }
        }
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                1 => field.uints(&mut references)?,
                2 => points.push(sample(field.bytes()?, start_unix_milli)?),
                3 => match native_point(field.bytes()?, start_unix_milli) {
                    Ok(point) => points.push(point),
                    Err(NativeError::Protobuf(error)) => return Err(error.into()),
                    Err(error) => problem = Some(error.to_string()),
                },
                4 => exemplars.push(self.exemplar(field.bytes()?, &mut problem)?),
                5 => family = self.family(field.bytes()?, &mut problem)?,
                _ => {}
            }
        }
        let labels = self.labels(&references, &mut problem)?;
        let mut series = assemble(labels, points, exemplars, problem)?;
        series.family = family;
        Ok(series)
    }

    fn exemplar(
        &self,
        message: &'a [u8],
        problem: &mut Option<String>,
    ) -> Result<Exemplar<'a>, ProtobufError> {
        let (mut exemplar, mut references) = (Exemplar::default(), Vec::new());
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                1 => field.uints(&mut references)?,
                2 => exemplar.value = field.double()?,
                3 => exemplar.time_unix_nano = nanos(field.int()?),
                _ => {}
            }
        }
        exemplar.labels = self.labels(&references, problem)?;
        Ok(exemplar)
    }

    fn family(&self, message: &[u8], problem: &mut Option<String>) -> Result<Family<'a>, ProtobufError> {
        let mut family = Family::default();
        for field in Fields::new(message) {
            let field = field?;
            match field.number {
                1 => family.kind = Kind::from_number(field.uint()?),
                3 => family.help = self.text(field.uint()?, problem),
                4 => family.unit = self.text(field.uint()?, problem),
                _ => {}
            }
        }
        Ok(family)
    }
}
