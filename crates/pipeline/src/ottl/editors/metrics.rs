//! Editors that make a metric one of another kind.

use cupola_telemetry::edit::{MetricKind, Place};

use super::{Definition, Editor};
use crate::ottl::context::Context;
use crate::ottl::functions::{Kind, required};

/// Fields of a sum that a gauge does not have.
const AGGREGATION_TEMPORALITY: u32 = 2;
const IS_MONOTONIC: u32 = 3;

#[derive(Debug)]
pub(in crate::ottl) enum MetricEditor {
    SumToGauge,
    GaugeToSum { temporality: u64, monotonic: bool },
}

pub(super) const TABLE: &[Definition] = &[
    Definition {
        name: "convert_sum_to_gauge",
        parameters: &[],
        context: Some(Context::Metric),
        make: |_| Ok(Editor::Metric(MetricEditor::SumToGauge)),
    },
    Definition {
        name: "convert_gauge_to_sum",
        parameters: &[
            required("aggregation_temporality", Kind::Text),
            required("is_monotonic", Kind::Bool),
        ],
        context: Some(Context::Metric),
        make: |bound| {
            let temporality = match bound.text(0).unwrap_or_default() {
                "delta" => 1,
                "cumulative" => 2,
                other => {
                    let problem = format!("{other:?} is no temporality; there are delta and cumulative");
                    return Err(bound.refuse(0, problem));
                }
            };
            Ok(Editor::Metric(MetricEditor::GaugeToSum {
                temporality,
                monotonic: bound.bool(1).unwrap_or(false),
            }))
        },
    },
];

impl MetricEditor {
    pub(super) fn run(&self, place: &mut Place<'_>) {
        match (self, place.metric_kind()) {
            (Self::SumToGauge, Some(MetricKind::Sum)) => {
                place.set_metric_kind(MetricKind::Gauge);
                place.data.remove(AGGREGATION_TEMPORALITY);
                place.data.remove(IS_MONOTONIC);
            }
            (
                Self::GaugeToSum {
                    temporality,
                    monotonic,
                },
                Some(MetricKind::Gauge),
            ) => {
                place.set_metric_kind(MetricKind::Sum);
                place.data.set_varint(AGGREGATION_TEMPORALITY, *temporality);
                match monotonic {
                    true => place.data.set_varint(IS_MONOTONIC, 1),
                    false => place.data.remove(IS_MONOTONIC),
                }
            }
            _ => {}
        }
    }
}
