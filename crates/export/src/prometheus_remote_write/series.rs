//! The series of one batch: each once, with all its samples.

use std::collections::HashMap;
use std::sync::Arc;

use crate::prometheus::{
    Exemplar, Family, Flat, Labels, NativeHistogram, Point, STALE_NAN_BITS, Value, flatten, number_text,
};

#[derive(Debug, Default)]
pub(super) struct Collection {
    by_labels: HashMap<Arc<Labels>, usize>,
    pub(super) series: Vec<Series>,
    by_name: HashMap<String, usize>,
    pub(super) families: Vec<Family>,
}

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    /// With `__name__`.
    pub(super) labels: Arc<Labels>,
    /// Place in the families.
    pub(super) family: usize,
    /// Milliseconds and value; a stale marker is a value.
    pub(super) samples: Vec<(i64, f64)>,
    pub(super) histograms: Vec<(i64, NativeHistogram, bool)>,
    pub(super) exemplars: Vec<Exemplar>,
    pub(super) start_ms: i64,
}

impl Collection {
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn add(&mut self, point: &Point<'_>) {
        let family = self.family(point.family);
        if let Value::Native(histogram) = &point.value {
            let series = self.series(family, point, "", None);
            series
                .histograms
                .push((point.timestamp_ms, histogram.clone(), point.stale));
            series.exemplars.extend_from_slice(&point.exemplars);
            return;
        }
        flatten(point, &mut |flat: Flat<'_>| {
            let series = self.series(family, point, flat.suffix, flat.extra);
            let value = if point.stale {
                f64::from_bits(STALE_NAN_BITS)
            } else {
                flat.value
            };
            series.samples.push((point.timestamp_ms, value));
            series.exemplars.extend_from_slice(flat.exemplars);
        });
    }

    /// All that was added, samples in the order of time.
    pub(super) fn sort(&mut self) {
        for series in &mut self.series {
            series.samples.sort_by_key(|(time, _)| *time);
            series
                .samples
                .dedup_by_key(|(time, value)| (*time, value.to_bits()));
            series.histograms.sort_by_key(|(time, ..)| *time);
            series.exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
        }
    }

    fn family(&mut self, family: &Family) -> usize {
        if let Some(place) = self.by_name.get(&family.name) {
            return *place;
        }
        self.by_name.insert(family.name.clone(), self.families.len());
        self.families.push(family.clone());
        self.families.len() - 1
    }

    fn series(
        &mut self,
        family: usize,
        point: &Point<'_>,
        suffix: &str,
        extra: Option<(&str, f64)>,
    ) -> &mut Series {
        let mut labels = point.labels.clone();
        labels.set("__name__", format!("{}{suffix}", point.family.name));
        if let Some((name, value)) = extra {
            labels.set(name, number_text(value, false));
        }
        let place = match self.by_labels.get(&labels) {
            Some(place) => *place,
            None => {
                let labels = Arc::new(labels);
                self.by_labels.insert(labels.clone(), self.series.len());
                self.series.push(Series {
                    labels,
                    family,
                    samples: Vec::new(),
                    histograms: Vec::new(),
                    exemplars: Vec::new(),
                    start_ms: point.start_ms,
                });
                self.series.len() - 1
            }
        };
        &mut self.series[place]
    }
}
