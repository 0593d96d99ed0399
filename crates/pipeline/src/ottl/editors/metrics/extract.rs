//! New metrics of what a histogram or a summary says.

use std::borrow::Cow;

use cupola_telemetry::edit::{Message, MetricKind};

use super::percentile::{self, Percentile};
use super::points::{COUNT, Head, Number, SUM, derived, double, metric};
use crate::ottl::error::Fault;
use crate::ottl::eval::Run;

#[derive(Debug)]
pub(in crate::ottl) enum Extract {
    Sum {
        monotonic: bool,
    },
    Count {
        monotonic: bool,
    },
    Average,
    Percentile(f64),
    Quantiles {
        attribute: String,
    },
    /// Of a summary, once for each of its points, as the Collector has it.
    SummarySum {
        temporality: u64,
        monotonic: bool,
    },
    SummaryCount {
        temporality: u64,
        monotonic: bool,
    },
}

impl Extract {
    pub(super) fn run(&self, run: &mut Run<'_, '_>, suffix: &str) -> Result<(), Fault> {
        let Some(kind) = self.kind(run.place.metric_kind())? else {
            return Ok(());
        };
        let points = match self {
            Self::SummarySum { .. } | Self::SummaryCount { .. } => {
                run.check_room()?;
                self.points(kind, points_of_part(run))?
            }
            _ => self.points(kind, run.place.points_now())?,
        };
        // Without a point there is nothing to say; the Collector's older functions say it nevertheless.
        let older = matches!(
            self,
            Self::Quantiles { .. } | Self::SummarySum { .. } | Self::SummaryCount { .. }
        );
        if points.is_empty() && !older {
            return Ok(());
        }
        let item = &run.place.item;
        let (name, description, unit) = (item.text(1), item.text(2), item.text(3));
        let description = match self {
            Self::Percentile(percentile) if description.is_empty() => format!("p{percentile}"),
            Self::Percentile(percentile) => format!("{description} (p{percentile})"),
            _ => description.into_owned(),
        };
        let temporality = match kind {
            MetricKind::Summary => 2,
            _ => run.place.data.number(2).unwrap_or(0),
        };
        let head = Head {
            name: format!("{name}{suffix}"),
            description: &description,
            unit: match self {
                Self::Count { .. } => "1",
                _ => &unit,
            },
            sum: match self {
                Self::Sum { monotonic } | Self::Count { monotonic } => Some((temporality, *monotonic)),
                Self::SummarySum {
                    temporality,
                    monotonic,
                }
                | Self::SummaryCount {
                    temporality,
                    monotonic,
                } => Some((*temporality, *monotonic)),
                _ => None,
            },
        };
        let made = metric(&head, &points);
        run.append_item(made)
    }

    /// The kind of the metric if something can be extracted from it; some functions pass over others, and some fail.
    fn kind(&self, kind: Option<MetricKind>) -> Result<Option<MetricKind>, Fault> {
        use MetricKind::{ExponentialHistogram, Histogram, Summary};
        match (self, kind) {
            (
                Self::Sum { .. } | Self::Count { .. } | Self::Average,
                Some(Histogram | ExponentialHistogram | Summary),
            )
            | (Self::Percentile(_), Some(Histogram | ExponentialHistogram))
            | (Self::Quantiles { .. } | Self::SummarySum { .. } | Self::SummaryCount { .. }, Some(Summary)) => {
                Ok(kind)
            }
            (Self::Sum { .. } | Self::Count { .. } | Self::Average, _) => Err(Fault::new(
                "the metric is neither a histogram, nor an exponential one, nor a summary",
            )),
            _ => Ok(None),
        }
    }

    fn points(
        &self,
        kind: MetricKind,
        points: impl Iterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let mut made = Vec::new();
        for point in points {
            let point = Message::new(point.as_ref());
            let count = point.number(COUNT).unwrap_or(0);
            let sum = match (double(&point, SUM), kind) {
                (None, MetricKind::Summary) => Some(0.0),
                (sum, _) => sum,
            };
            let value = match self {
                Self::Count { .. } | Self::SummaryCount { .. } => Some(Number::Int(count as i64)),
                Self::Sum { .. } => sum.map(Number::Double),
                Self::SummarySum { .. } => Some(Number::Double(sum.unwrap_or(0.0))),
                Self::Average if count > 0 => sum.map(|sum| Number::Double(sum / count as f64)),
                Self::Average => None,
                Self::Percentile(percentile) => match percentile::of(kind, &point, *percentile)? {
                    Percentile::Value(value) => Some(Number::Double(value)),
                    Percentile::None => None,
                },
                Self::Quantiles { attribute } => {
                    for quantile in point.repeated(6) {
                        let quantile = Message::new(quantile);
                        let at = double(&quantile, 1).unwrap_or(0.0);
                        let value = Number::Double(double(&quantile, 2).unwrap_or(0.0));
                        made.push(derived(&point, kind, value, Some((attribute, at))));
                    }
                    None
                }
            };
            made.extend(value.map(|value| derived(&point, kind, value, None)));
        }
        Ok(made)
    }
}

/// All points of the metric whose points are visited: those before this one as statements left them, this one as it is
/// now, and those behind it as they came.
fn points_of_part<'r>(run: &'r Run<'_, '_>) -> impl Iterator<Item = Cow<'r, [u8]>> {
    let done = run.points_done;
    let before = done.iter().map(|point| Cow::Borrowed(point.as_slice()));
    let behind = run.place.points().skip(done.len() + 1).map(Cow::Borrowed);
    let this = std::iter::once_with(|| Cow::Owned(run.place.part.encode()));
    before.chain(this).chain(behind)
}
