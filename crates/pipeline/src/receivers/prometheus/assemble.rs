//! From a page to series: labels of the target added, samples relabelled, histograms and summaries put together.
//! Owns no state: what a scrape means for the one before is of [`super::memory`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::exposition::{Exposition, FamilyText, Sample};
use super::relabel::{Labels, Relabel};
use crate::receivers::series::{Classic, Exemplar, Family, Kind, PointValue, Series, Summary, nanos};

/// Rules of a job for its samples.
#[derive(Clone, Debug, Default)]
pub(super) struct SampleRules {
    pub(super) honor_labels: bool,
    pub(super) honor_timestamps: bool,
    /// 0 is no limit.
    pub(super) sample_limit: u64,
    pub(super) relabel: Relabel,
}

/// A series with its one point.
#[derive(Clone, Debug)]
pub(super) struct Ready<'p> {
    /// `__name__` among them.
    pub(super) labels: Labels,
    pub(super) family: Family<'p>,
    pub(super) value: PointValue,
    /// If the page says it.
    pub(super) unix_milli: Option<i64>,
    /// From `_created`, else 0.
    pub(super) start_unix_nano: u64,
    pub(super) exemplars: Vec<Exemplar<'p>>,
}

/// What a scrape came to.
#[derive(Debug, Default)]
pub(super) struct Assembled<'p> {
    pub(super) series: Vec<Ready<'p>>,
    pub(super) samples_scraped: u64,
    pub(super) samples_kept: u64,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than the {0} samples of sample_limit")]
pub(super) struct TooManySamples(u64);

/// What a sample is of its family.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Plain,
    Bucket(f64),
    Sum,
    Count,
    Quantile(f64),
    Created,
}

/// The samples of one histogram, summary or counter.
#[derive(Default)]
struct Group<'p> {
    family: Family<'p>,
    created: Option<f64>,
    pieces: Vec<Piece<'p>>,
}

struct Piece<'p> {
    part: Part,
    labels: Labels,
    sample: &'p Sample<'p>,
}

impl SampleRules {
    /// The series of a page, of a target with `target` labels.
    pub(super) fn assemble<'p>(
        &self,
        page: &'p Exposition<'_>,
        target: &Labels,
    ) -> Result<Assembled<'p>, TooManySamples> {
        let mut assembled = Assembled::default();
        let mut groups: BTreeMap<(String, Labels), Group<'p>> = BTreeMap::new();
        for sample in &page.samples {
            assembled.samples_scraped += 1;
            let mut labels = self.labels(sample, target);
            if !self.relabel.is_empty() && !self.relabel.apply(&mut labels) {
                continue;
            }
            let Some(name) = labels.get("__name__").cloned() else {
                continue;
            };
            assembled.samples_kept += 1;
            if self.sample_limit > 0 && assembled.samples_kept > self.sample_limit {
                return Err(TooManySamples(self.sample_limit));
            }
            let (family, suffix, part) = part(page, sample);
            // A rule may have given it a name that has nothing to do with its family.
            let base = name.strip_suffix(suffix).filter(|base| !base.is_empty());
            let grouped = matches!(
                family.kind,
                Kind::Counter | Kind::Histogram | Kind::GaugeHistogram | Kind::Summary
            );
            let (Some(base), true) = (base, grouped) else {
                assembled.series.push(self.single(labels, family, sample, 0));
                continue;
            };
            let mut key = labels.clone();
            key.remove("__name__");
            match part {
                Part::Bucket(_) => drop(key.remove("le")),
                Part::Quantile(_) => drop(key.remove("quantile")),
                _ => {}
            }
            let group = match groups.entry((base.to_owned(), key)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Group {
                    family,
                    ..Group::default()
                }),
            };
            match part {
                Part::Created => group.created = Some(sample.value),
                _ => group.pieces.push(Piece { part, labels, sample }),
            }
        }
        for ((base, labels), group) in groups {
            self.finish(base, labels, group, &mut assembled.series);
        }
        Ok(assembled)
    }

    /// The labels of a sample and of its target; who wins is a setting.
    fn labels(&self, sample: &Sample<'_>, target: &Labels) -> Labels {
        let own = sample.labels.iter().filter(|(_, value)| !value.is_empty());
        let mut labels: Labels = own
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        for (name, value) in target {
            if let Some(own) = labels.get(name).cloned() {
                if self.honor_labels {
                    continue;
                }
                let mut renamed = format!("exported_{name}");
                while labels.contains_key(&renamed) || target.contains_key(&renamed) {
                    renamed.insert_str(0, "exported_");
                }
                labels.insert(renamed, own);
            }
            labels.insert(name.clone(), value.clone());
        }
        labels.insert("__name__".to_owned(), sample.name.to_string());
        labels
    }

    fn time(&self, sample: &Sample<'_>) -> Option<i64> {
        sample.unix_milli.filter(|_| self.honor_timestamps)
    }

    fn single<'p>(
        &self,
        labels: Labels,
        family: Family<'p>,
        sample: &'p Sample<'p>,
        start: u64,
    ) -> Ready<'p> {
        Ready {
            labels,
            family,
            value: PointValue::Number(sample.value),
            unix_milli: self.time(sample),
            start_unix_nano: start,
            exemplars: exemplar(sample).into_iter().collect(),
        }
    }

    fn finish<'p>(&self, base: String, mut labels: Labels, group: Group<'p>, series: &mut Vec<Ready<'p>>) {
        let start = group.created.map_or(0, |seconds| (seconds.max(0.0) * 1e9) as u64);
        let whole = match group.family.kind {
            Kind::Histogram | Kind::GaugeHistogram => group.histogram(),
            Kind::Summary => group.summary(),
            _ => None,
        };
        let Some(value) = whole else {
            let pieces = group.pieces.into_iter();
            series.extend(pieces.map(|piece| self.single(piece.labels, group.family, piece.sample, start)));
            return;
        };
        labels.insert("__name__".to_owned(), base);
        series.push(Ready {
            labels,
            family: group.family,
            value,
            unix_milli: group.pieces.first().and_then(|piece| self.time(piece.sample)),
            start_unix_nano: start,
            exemplars: group
                .pieces
                .iter()
                .filter_map(|piece| exemplar(piece.sample))
                .collect(),
        });
    }
}

fn exemplar<'p>(sample: &'p Sample<'p>) -> Option<Exemplar<'p>> {
    let exemplar = sample.exemplar.as_ref()?;
    Some(Exemplar {
        labels: exemplar
            .labels
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect(),
        value: exemplar.value,
        time_unix_nano: exemplar.unix_milli.map_or(0, nanos),
    })
}

/// The family of a sample, what its name has beyond that of the family, and what it is of it.
fn part<'p>(page: &'p Exposition<'_>, sample: &'p Sample<'_>) -> (Family<'p>, &'static str, Part) {
    let number = |label: &str| {
        let (_, value) = sample.labels.iter().find(|(name, _)| name == label)?;
        value.parse::<f64>().ok()
    };
    let name: &str = &sample.name;
    if let Some(family) = page.families.get(name) {
        let quantile = (family.kind == Kind::Summary)
            .then(|| number("quantile"))
            .flatten();
        return (family.family(), "", quantile.map_or(Part::Plain, Part::Quantile));
    }
    const SUFFIXES: [&str; 8] = [
        "_bucket", "_count", "_sum", "_total", "_created", "_gcount", "_gsum", "_info",
    ];
    for suffix in SUFFIXES {
        let found: Option<&FamilyText<'_>> = name
            .strip_suffix(suffix)
            .and_then(|base| page.families.get(&Cow::Borrowed(base)));
        let Some(family) = found else {
            continue;
        };
        let part = match (family.kind, suffix) {
            (Kind::Histogram | Kind::GaugeHistogram, "_bucket") => number("le").map(Part::Bucket),
            (Kind::Histogram | Kind::Summary, "_count") | (Kind::GaugeHistogram, "_gcount") => {
                Some(Part::Count)
            }
            (Kind::Histogram | Kind::Summary, "_sum") | (Kind::GaugeHistogram, "_gsum") => Some(Part::Sum),
            (Kind::Histogram | Kind::Summary | Kind::Counter, "_created") => Some(Part::Created),
            (Kind::Counter, "_total") | (Kind::Info, "_info") => Some(Part::Plain),
            _ => None,
        };
        if let Some(part) = part {
            return (family.family(), suffix, part);
        }
    }
    (Family::default(), "", Part::Plain)
}

/// A count that OTLP can hold.
fn whole(value: f64) -> Option<u64> {
    let counts = value >= 0.0 && value.fract() == 0.0 && value < u64::MAX as f64;
    counts.then_some(value as u64)
}

impl Group<'_> {
    fn value(&self, part: Part) -> Option<f64> {
        let mut found = self.pieces.iter().filter(|piece| piece.part == part);
        let value = found.next()?.sample.value;
        // Two of them are two series in one place.
        found.next().is_none().then_some(value)
    }

    fn odd(&self) -> bool {
        self.pieces.iter().any(|piece| piece.part == Part::Plain)
    }

    /// The histogram, if its samples are one: complete, cumulative, whole.
    fn histogram(&self) -> Option<PointValue> {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for piece in &self.pieces {
            if let Part::Bucket(bound) = piece.part {
                buckets.push((bound, whole(piece.sample.value)?));
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (last, total) = *buckets.last()?;
        let sums = self.pieces.iter().filter(|piece| piece.part == Part::Sum).count();
        let counts = self
            .pieces
            .iter()
            .filter(|piece| piece.part == Part::Count)
            .count();
        let count = match counts {
            0 => total,
            _ => whole(self.value(Part::Count)?)?,
        };
        let ordered = buckets
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        if last != f64::INFINITY || total != count || sums > 1 || !ordered || self.odd() {
            return None;
        }
        let mut histogram = Classic {
            count,
            sum: self.value(Part::Sum),
            ..Classic::default()
        };
        let mut below = 0;
        for (bound, cumulative) in buckets {
            histogram.counts.push(cumulative - below);
            below = cumulative;
            if bound.is_finite() {
                histogram.bounds.push(bound);
            }
        }
        // A bound of minus infinity has no place in OTLP.
        (histogram.counts.len() == histogram.bounds.len() + 1)
            .then(|| PointValue::Classic(Box::new(histogram)))
    }

    fn summary(&self) -> Option<PointValue> {
        let mut quantiles = Vec::new();
        for piece in &self.pieces {
            if let Part::Quantile(quantile) = piece.part {
                quantiles.push((quantile, piece.sample.value));
            }
        }
        quantiles.sort_by(|a, b| a.0.total_cmp(&b.0));
        if quantiles.windows(2).any(|pair| pair[0].0 == pair[1].0) || self.odd() {
            return None;
        }
        Some(PointValue::Summary(Box::new(Summary {
            count: whole(self.value(Part::Count)?)?,
            sum: self.value(Part::Sum)?,
            quantiles,
            stale: false,
        })))
    }
}

/// Series with borrowed labels, to be written. `None` for what relabelling made unfit.
pub(super) fn series<'r>(ready: &'r Ready<'r>, time_unix_nano: u64) -> Option<Series<'r>> {
    let labels = ready
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut series = Series::new(labels).ok()?;
    series.family = ready.family;
    series.exemplars = ready.exemplars.clone();
    series.points = vec![crate::receivers::series::Point {
        time_unix_nano: ready.unix_milli.map_or(time_unix_nano, nanos),
        start_unix_nano: ready.start_unix_nano,
        value: ready.value.clone(),
    }];
    Some(series)
}
