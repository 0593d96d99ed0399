//! A histogram of our own, for a metrics page.

use cupola_export::Sample;

/// Names of the series that a histogram becomes.
pub(super) struct HistogramNames {
    pub(super) bucket: &'static str,
    pub(super) sum: &'static str,
    pub(super) count: &'static str,
    pub(super) help: &'static str,
}

/// Counts by upper bounds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len()],
            sum: 0.0,
            count: 0,
        }
    }

    pub(super) fn record(&mut self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum += value;
        self.count += 1;
    }

    /// Adds the series, with `label` on each if there is one.
    pub(super) fn collect(
        &self,
        names: &HistogramNames,
        label: Option<(&'static str, &str)>,
        samples: &mut Vec<Sample>,
    ) {
        let labelled = |sample: Sample| match label {
            Some((key, value)) => sample.with(key, value),
            None => sample,
        };
        let mut below = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count;
            let sample = Sample::count(names.bucket, names.help, below);
            samples.push(labelled(sample).with("le", bound.to_string()));
        }
        let sample = Sample::count(names.bucket, names.help, self.count);
        samples.push(labelled(sample).with("le", "+Inf"));
        let mut sum = labelled(Sample::count(names.sum, names.help, 0));
        sum.value = self.sum;
        samples.push(sum);
        samples.push(labelled(Sample::count(names.count, names.help, self.count)));
    }
}
