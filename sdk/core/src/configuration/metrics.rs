//! Metrics as files describe them: temporality, histograms, exemplars and views, by the names of the declarative file, which
//! Cupola's own has too. Owns what of a view can be had.

use cupola_config::{Node, present};
use serde::Deserialize;

use super::text::File;
use crate::metrics::{
    Aggregation, AttributeKeys, ExemplarFilter, HistogramPreference, Kind, Selector, StreamSettings,
    TemporalityPreference, View,
};

/// What an exponential histogram may have.
const SIZES: std::ops::RangeInclusive<u32> = 2..=16_384;
const SCALES: std::ops::RangeInclusive<i8> = -10..=20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TemporalityModel {
    Cumulative,
    Delta,
    LowMemory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HistogramModel {
    ExplicitBucketHistogram,
    Base2ExponentialBucketHistogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExemplarFilterModel {
    AlwaysOn,
    AlwaysOff,
    TraceBased,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IncludeExclude {
    pub(super) included: Option<Vec<String>>,
    pub(super) excluded: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Nothing {}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ViewModel {
    pub(super) selector: Option<SelectorModel>,
    pub(super) stream: Option<StreamModel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SelectorModel {
    pub(super) instrument_name: Option<String>,
    pub(super) instrument_type: Option<InstrumentType>,
    pub(super) unit: Option<String>,
    pub(super) meter_name: Option<String>,
    pub(super) meter_version: Option<String>,
    pub(super) meter_schema_url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum InstrumentType {
    Counter,
    Gauge,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamModel {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) aggregation: Option<AggregationModel>,
    pub(super) aggregation_cardinality_limit: Option<usize>,
    pub(super) attribute_keys: Option<IncludeExclude>,
    #[serde(rename = "enabled/development", alias = "enabled")]
    pub(super) enabled: Option<bool>,
}

/// One key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AggregationModel {
    #[serde(deserialize_with = "present")]
    pub(super) default: Option<Nothing>,
    #[serde(deserialize_with = "present")]
    pub(super) drop: Option<Nothing>,
    #[serde(deserialize_with = "present")]
    pub(super) explicit_bucket_histogram: Option<ExplicitModel>,
    #[serde(deserialize_with = "present")]
    pub(super) base2_exponential_bucket_histogram: Option<ExponentialModel>,
    #[serde(deserialize_with = "present")]
    pub(super) last_value: Option<Nothing>,
    #[serde(deserialize_with = "present")]
    pub(super) sum: Option<Nothing>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExplicitModel {
    pub(super) boundaries: Option<Vec<f64>>,
    pub(super) record_min_max: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExponentialModel {
    pub(super) max_scale: Option<i8>,
    pub(super) max_size: Option<u32>,
    pub(super) record_min_max: Option<bool>,
}

impl From<TemporalityModel> for TemporalityPreference {
    fn from(model: TemporalityModel) -> TemporalityPreference {
        match model {
            TemporalityModel::Cumulative => TemporalityPreference::Cumulative,
            TemporalityModel::Delta => TemporalityPreference::Delta,
            TemporalityModel::LowMemory => TemporalityPreference::LowMemory,
        }
    }
}

impl From<HistogramModel> for HistogramPreference {
    fn from(model: HistogramModel) -> HistogramPreference {
        match model {
            HistogramModel::ExplicitBucketHistogram => HistogramPreference::ExplicitBuckets,
            HistogramModel::Base2ExponentialBucketHistogram => HistogramPreference::Exponential,
        }
    }
}

impl From<ExemplarFilterModel> for ExemplarFilter {
    fn from(model: ExemplarFilterModel) -> ExemplarFilter {
        match model {
            ExemplarFilterModel::AlwaysOn => ExemplarFilter::AlwaysOn,
            ExemplarFilterModel::AlwaysOff => ExemplarFilter::AlwaysOff,
            ExemplarFilterModel::TraceBased => ExemplarFilter::TraceBased,
        }
    }
}

impl From<InstrumentType> for Kind {
    fn from(model: InstrumentType) -> Kind {
        match model {
            InstrumentType::Counter => Kind::Counter,
            InstrumentType::Gauge => Kind::Gauge,
            InstrumentType::Histogram => Kind::Histogram,
            InstrumentType::ObservableCounter => Kind::ObservableCounter,
            InstrumentType::ObservableGauge => Kind::ObservableGauge,
            InstrumentType::ObservableUpDownCounter => Kind::ObservableUpDownCounter,
            InstrumentType::UpDownCounter => Kind::UpDownCounter,
        }
    }
}

/// The views of a list, which is at `key`.
pub(super) fn views(file: &mut File<'_>, node: &Node, key: &str, models: &[ViewModel]) -> Vec<View> {
    let views = models.iter().zip(node.items()).enumerate();
    views
        .map(|(index, (model, node))| view(file, node, &format!("{key}[{index}]"), model))
        .collect()
}

fn view(file: &mut File<'_>, node: &Node, key: &str, model: &ViewModel) -> View {
    for (name, is_there) in [
        ("selector", model.selector.is_some()),
        ("stream", model.stream.is_some()),
    ] {
        if !is_there {
            let hint = "a view has a selector and a stream";
            file.error(
                node.place(),
                &format!("{key}.{name}"),
                "this key is missing",
                Some(hint),
            );
        }
    }
    let selector = model.selector.as_ref();
    let selector = selector.map_or_else(Selector::default, |selector| Selector {
        name: selector.instrument_name.clone(),
        kind: selector.instrument_type.map(Kind::from),
        unit: selector.unit.clone(),
        meter_name: selector.meter_name.clone(),
        meter_version: selector.meter_version.clone(),
        meter_schema_url: selector.meter_schema_url.clone(),
    });
    let Some(stream) = &model.stream else {
        return View {
            selector,
            ..View::default()
        };
    };
    let node = node.get("stream").unwrap_or(node);
    let key = format!("{key}.stream");
    let mut aggregation = match &stream.aggregation {
        Some(aggregation) => {
            let at = node.get("aggregation").unwrap_or(node);
            aggregation_of(file, at, &format!("{key}.aggregation"), aggregation)
        }
        None => Aggregation::Default,
    };
    if stream.enabled == Some(false) {
        aggregation = Aggregation::Drop;
    }
    View {
        selector,
        stream: StreamSettings {
            name: stream.name.clone(),
            description: stream.description.clone(),
            attributes: keys(
                file,
                node,
                &format!("{key}.attribute_keys"),
                stream.attribute_keys.as_ref(),
            ),
            aggregation,
            cardinality_limit: stream.aggregation_cardinality_limit,
        },
    }
}

fn aggregation_of(file: &mut File<'_>, node: &Node, key: &str, model: &AggregationModel) -> Aggregation {
    if !file.is_one(node, key) {
        return Aggregation::Default;
    }
    if model.drop.is_some() {
        return Aggregation::Drop;
    }
    if model.sum.is_some() {
        return Aggregation::Sum;
    }
    if model.last_value.is_some() {
        return Aggregation::LastValue;
    }
    if let Some(explicit) = &model.explicit_bucket_histogram {
        let boundaries = explicit.boundaries.clone();
        let is_right = |bounds: &Vec<f64>| {
            bounds.iter().all(|bound| bound.is_finite()) && bounds.windows(2).all(|pair| pair[0] < pair[1])
        };
        if !boundaries.as_ref().is_none_or(is_right) {
            let key = format!("{key}.explicit_bucket_histogram.boundaries");
            file.error(
                node.place(),
                &key,
                "must increase, and be finite",
                Some("write for example [0.1, 1, 10]"),
            );
        }
        return Aggregation::ExplicitBuckets {
            boundaries,
            record_min_max: explicit.record_min_max.unwrap_or(true),
        };
    }
    if let Some(exponential) = &model.base2_exponential_bucket_histogram {
        let (max_size, max_scale) = (
            exponential.max_size.unwrap_or(160),
            exponential.max_scale.unwrap_or(20),
        );
        let key = format!("{key}.base2_exponential_bucket_histogram");
        if !SIZES.contains(&max_size) {
            file.error(
                node.place(),
                &format!("{key}.max_size"),
                "must be from 2 to 16384",
                None,
            );
        }
        if !SCALES.contains(&max_scale) {
            file.error(
                node.place(),
                &format!("{key}.max_scale"),
                "must be from -10 to 20",
                None,
            );
        }
        return Aggregation::Exponential {
            max_size,
            max_scale,
            record_min_max: exponential.record_min_max.unwrap_or(true),
        };
    }
    Aggregation::Default
}

/// Keys are taken as they stand: patterns are not available, and are told.
fn keys(file: &mut File<'_>, node: &Node, key: &str, model: Option<&IncludeExclude>) -> AttributeKeys {
    let Some(model) = model else {
        return AttributeKeys::All;
    };
    let at = node.get("attribute_keys").unwrap_or(node);
    let is_pattern = |name: &String| name.contains(['*', '?']);
    let mut has_pattern = false;
    let mut plain = |list: &Option<Vec<String>>| -> Option<Vec<String>> {
        let list = list.as_ref()?;
        // That everything is included says nothing.
        let list: Vec<String> = list.iter().filter(|name| *name != "*").cloned().collect();
        has_pattern |= list.iter().any(is_pattern);
        Some(
            list.into_iter()
                .filter(|name| !is_pattern(name))
                .collect::<Vec<String>>(),
        )
        .filter(|list| !list.is_empty())
    };
    let (included, excluded) = (plain(&model.included), plain(&model.excluded));
    if has_pattern {
        let hint = "write each key in full";
        file.warn(
            at.place(),
            key,
            "patterns with `*` or `?` are not available and left out",
            Some(hint),
        );
    }
    match (included, excluded) {
        (None, None) => AttributeKeys::All,
        (None, Some(excluded)) => AttributeKeys::Without(excluded),
        (Some(included), excluded) => {
            let excluded = excluded.unwrap_or_default();
            AttributeKeys::Only(
                included
                    .into_iter()
                    .filter(|name| !excluded.contains(name))
                    .collect(),
            )
        }
    }
}
