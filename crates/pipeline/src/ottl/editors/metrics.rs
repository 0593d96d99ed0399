//! Editors of metrics: of another kind, of other points, and new ones beside them.
//!
//! New metrics follow those of their scope, and the statements of the group run over them as well, as in the Collector.

mod aggregate;
mod exponential;
mod extract;
mod percentile;
mod points;
mod values;

use cupola_telemetry::edit::{MetricKind, Place};

use super::{Definition, Editor};
use crate::ottl::compile::Bound;
use crate::ottl::context::Context;
use crate::ottl::error::Fault;
use crate::ottl::eval::{Evaluator, Run};
use crate::ottl::functions::{Kind, Parameter, optional, required};
use crate::ottl::lexer::Failure;
use crate::ottl::value::Value;
use aggregate::Aggregation;
use exponential::Distribution;
use extract::Extract;

/// Fields of a sum that a gauge does not have.
const AGGREGATION_TEMPORALITY: u32 = 2;
const IS_MONOTONIC: u32 = 3;

#[derive(Debug)]
pub(in crate::ottl) enum MetricEditor {
    SumToGauge,
    GaugeToSum {
        temporality: u64,
        monotonic: bool,
    },
    Extract {
        what: Extract,
        suffix: String,
    },
    Copy {
        texts: [Option<Evaluator>; 3],
    },
    Scale {
        factor: f64,
        unit: Option<Evaluator>,
    },
    Aggregate(Aggregation),
    MergeBuckets {
        value: Evaluator,
        limit: bool,
    },
    ToExplicit {
        distribution: Distribution,
        bounds: Vec<f64>,
    },
}

const fn of_metrics(
    name: &'static str,
    parameters: &'static [Parameter],
    make: fn(&Bound<'_>) -> Result<Editor, Failure>,
) -> Definition {
    Definition {
        name,
        parameters,
        context: Some(Context::Metric),
        make,
    }
}

const fn of_points(
    name: &'static str,
    parameters: &'static [Parameter],
    make: fn(&Bound<'_>) -> Result<Editor, Failure>,
) -> Definition {
    Definition {
        name,
        parameters,
        context: Some(Context::DataPoint),
        make,
    }
}

const TEMPORALITY: Parameter = required("string_agg_temp", Kind::Text);
const MONOTONIC: Parameter = required("monotonic", Kind::Bool);
const SUFFIX: Parameter = optional("suffix", Kind::Text);

pub(super) const TABLE: &[Definition] = &[
    of_metrics("convert_sum_to_gauge", &[], |_| {
        Ok(Editor::Metric(MetricEditor::SumToGauge))
    }),
    of_metrics(
        "convert_gauge_to_sum",
        &[
            required("string_agg_temp", Kind::Text),
            required("monotonic", Kind::Bool),
        ],
        |bound| {
            Ok(Editor::Metric(MetricEditor::GaugeToSum {
                temporality: temporality(bound, 0)?,
                monotonic: bound.bool(1).unwrap_or(false),
            }))
        },
    ),
    of_metrics(
        "extract_sum_metric",
        &[required("monotonic", Kind::Bool), SUFFIX],
        |bound| {
            extract(
                bound,
                Extract::Sum {
                    monotonic: bound.bool(0).unwrap_or(false),
                },
                1,
                "_sum",
            )
        },
    ),
    of_metrics(
        "extract_count_metric",
        &[required("monotonic", Kind::Bool), SUFFIX],
        |bound| {
            extract(
                bound,
                Extract::Count {
                    monotonic: bound.bool(0).unwrap_or(false),
                },
                1,
                "_count",
            )
        },
    ),
    of_metrics("extract_avg_metric", &[SUFFIX], |bound| {
        extract(bound, Extract::Average, 0, "_avg")
    }),
    of_metrics(
        "extract_percentile_metric",
        &[required("percentile", Kind::Double), SUFFIX],
        |bound| {
            let percentile = bound.double(0).unwrap_or(0.0);
            if !(percentile > 0.0 && percentile < 100.0) {
                return Err(bound.refuse(0, "it is above 0 and below 100".to_owned()));
            }
            extract(
                bound,
                Extract::Percentile(percentile),
                1,
                &format!("_p{percentile}"),
            )
        },
    ),
    of_metrics(
        "convert_summary_quantile_val_to_gauge",
        &[optional("attribute_key", Kind::Text), SUFFIX],
        |bound| {
            let attribute = bound.text(0).unwrap_or("quantile").to_owned();
            extract(bound, Extract::Quantiles { attribute }, 1, ".quantiles")
        },
    ),
    of_points(
        "convert_summary_sum_val_to_sum",
        &[TEMPORALITY, MONOTONIC, SUFFIX],
        |bound| {
            let (temporality, monotonic) = (temporality(bound, 0)?, bound.bool(1).unwrap_or(false));
            extract(
                bound,
                Extract::SummarySum {
                    temporality,
                    monotonic,
                },
                2,
                "_sum",
            )
        },
    ),
    of_points(
        "convert_summary_count_val_to_sum",
        &[TEMPORALITY, MONOTONIC, SUFFIX],
        |bound| {
            let (temporality, monotonic) = (temporality(bound, 0)?, bound.bool(1).unwrap_or(false));
            extract(
                bound,
                Extract::SummaryCount {
                    temporality,
                    monotonic,
                },
                2,
                "_count",
            )
        },
    ),
    of_metrics(
        "copy_metric",
        &[
            optional("name", Kind::Value),
            optional("description", Kind::Value),
            optional("unit", Kind::Value),
        ],
        |bound| {
            let text = |index| given(bound, index);
            Ok(Editor::Metric(MetricEditor::Copy {
                texts: [text(0)?, text(1)?, text(2)?],
            }))
        },
    ),
    of_metrics(
        "scale_metric",
        &[
            required("multiplier", Kind::Double),
            optional("unit", Kind::Value),
        ],
        |bound| {
            let factor = bound.double(0).unwrap_or(1.0);
            Ok(Editor::Metric(MetricEditor::Scale {
                factor,
                unit: given(bound, 1)?,
            }))
        },
    ),
    of_metrics(
        "aggregate_on_attributes",
        &[
            required("aggregation_function", Kind::Text),
            optional("attributes", Kind::Texts),
        ],
        |bound| {
            let kept = bound.is_given(1).then(|| bound.texts(1));
            Ok(Editor::Metric(MetricEditor::Aggregate(
                Aggregation::on_attributes(bound, kept)?,
            )))
        },
    ),
    of_metrics(
        "aggregate_on_attribute_value",
        &[
            required("aggregation_function", Kind::Text),
            required("attribute", Kind::Text),
            required("values", Kind::Texts),
            required("new_value", Kind::Text),
        ],
        |bound| {
            Ok(Editor::Metric(MetricEditor::Aggregate(Aggregation::on_value(
                bound,
            )?)))
        },
    ),
    of_points(
        "merge_histogram_buckets",
        &[
            required("target_value", Kind::Value),
            optional("method", Kind::Text),
        ],
        |bound| {
            let limit = match bound.text(1).unwrap_or("remove_explicit_bound") {
                "remove_explicit_bound" => false,
                "limit_buckets" => true,
                other => {
                    let problem =
                        format!("{other:?} is no method; there are remove_explicit_bound and limit_buckets");
                    return Err(bound.refuse(1, problem));
                }
            };
            let value = bound.value(0)?;
            if let Evaluator::Nil = value {
                return Err(bound.refuse(0, "it cannot be nil".to_owned()));
            }
            Ok(Editor::Metric(MetricEditor::MergeBuckets { value, limit }))
        },
    ),
    of_metrics(
        "convert_exponential_histogram_to_histogram",
        &[
            required("distribution_fn", Kind::Text),
            required("explicit_bounds", Kind::Doubles),
        ],
        |bound| {
            let name = bound.text(0).unwrap_or_default();
            let Some(distribution) = Distribution::named(name) else {
                let problem =
                    format!("{name:?} is no distribution; there are upper, midpoint, uniform and random");
                return Err(bound.refuse(0, problem));
            };
            let bounds = bound.doubles(1);
            if bounds.is_empty() || !bounds.is_sorted_by(|a, b| a < b) {
                return Err(bound.refuse(1, "it needs bounds, each above the one before".to_owned()));
            }
            Ok(Editor::Metric(MetricEditor::ToExplicit { distribution, bounds }))
        },
    ),
];

fn extract(bound: &Bound<'_>, what: Extract, suffix: usize, default: &str) -> Result<Editor, Failure> {
    let suffix = bound.text(suffix).unwrap_or(default).to_owned();
    Ok(Editor::Metric(MetricEditor::Extract { what, suffix }))
}

fn given(bound: &Bound<'_>, index: usize) -> Result<Option<Evaluator>, Failure> {
    bound.is_given(index).then(|| bound.value(index)).transpose()
}

fn temporality(bound: &Bound<'_>, index: usize) -> Result<u64, Failure> {
    match bound.text(index).unwrap_or_default() {
        "delta" => Ok(1),
        "cumulative" => Ok(2),
        other => {
            let problem = format!("{other:?} is no temporality; there are delta and cumulative");
            Err(bound.refuse(index, problem))
        }
    }
}

impl MetricEditor {
    /// Whether it can make new metrics.
    pub(super) fn appends(&self) -> bool {
        matches!(self, Self::Extract { .. } | Self::Copy { .. })
    }

    pub(super) fn run<'a>(&'a self, run: &mut Run<'_, 'a>) -> Result<(), Fault> {
        match self {
            Self::SumToGauge => sum_to_gauge(run.place),
            Self::GaugeToSum {
                temporality,
                monotonic,
            } => gauge_to_sum(run.place, *temporality, *monotonic),
            Self::Extract { what, suffix } => return what.run(run, suffix),
            Self::Copy { texts } => return copy(run, texts),
            Self::Scale { factor, unit } => return values::scale(run, *factor, unit.as_ref()),
            Self::Aggregate(aggregation) => return aggregation.run(run.place),
            Self::MergeBuckets { value, limit } => return values::merge_buckets(run, value, *limit),
            Self::ToExplicit { distribution, bounds } => {
                exponential::to_explicit(run, *distribution, bounds);
            }
        }
        Ok(())
    }
}

fn sum_to_gauge(place: &mut Place<'_>) {
    if place.metric_kind() == Some(MetricKind::Sum) {
        place.set_metric_kind(MetricKind::Gauge);
        place.data.remove(AGGREGATION_TEMPORALITY);
        place.data.remove(IS_MONOTONIC);
    }
}

fn gauge_to_sum(place: &mut Place<'_>, temporality: u64, monotonic: bool) {
    if place.metric_kind() != Some(MetricKind::Gauge) {
        return;
    }
    place.set_metric_kind(MetricKind::Sum);
    place.data.set_varint(AGGREGATION_TEMPORALITY, temporality);
    match monotonic {
        true => place.data.set_varint(IS_MONOTONIC, 1),
        false => place.data.remove(IS_MONOTONIC),
    }
}

/// A copy of the metric with another name, description or unit.
fn copy<'a>(run: &mut Run<'_, 'a>, texts: &'a [Option<Evaluator>; 3]) -> Result<(), Fault> {
    let mut values: [Option<Value<'a>>; 3] = Default::default();
    for (text, value) in texts.iter().zip(&mut values) {
        *value = text.as_ref().map(|text| text.value(run)).transpose()?;
    }
    let encoded = run.place.encode_metric();
    let mut copied = cupola_telemetry::edit::Message::new(&encoded);
    for (value, number) in values.into_iter().zip(1..) {
        if let Some(value) = value {
            copied.set_text(number, value.into_text()?.into_owned().into());
        }
    }
    let copied = copied.encode();
    run.append_item(copied)
}
