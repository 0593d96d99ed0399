//! Exemplars of a series: a few measurements with the spans that they came from.

use cupola_telemetry::encode;

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::connectors) struct Exemplar {
    pub(in crate::connectors) trace_id: [u8; 16],
    pub(in crate::connectors) span_id: [u8; 8],
    pub(in crate::connectors) value: f64,
    /// When it was measured here, so that those of one series are in order.
    pub(in crate::connectors) time_unix_nano: u64,
}

/// A bounded number of exemplars, as far as possible of different buckets, the newest of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Exemplars(Vec<Kept>);

#[derive(Clone, Debug)]
struct Kept {
    exemplar: Exemplar,
    bucket: i64,
    /// The flush that is the first to carry it.
    round: u64,
}

impl Exemplars {
    pub(super) fn add(&mut self, exemplar: Exemplar, bucket: i64, round: u64, most: usize) {
        if most == 0 {
            return;
        }
        let same_bucket = self.0.iter().position(|kept| kept.bucket == bucket);
        // Ordered by time: what makes room goes from where it is, what is new goes to the end.
        if let Some(index) = same_bucket.or((self.0.len() >= most).then_some(0)) {
            self.0.remove(index);
        }
        self.0.push(Kept {
            exemplar,
            bucket,
            round,
        });
    }

    /// Forgets those that have been delivered.
    pub(super) fn forget(&mut self, delivered: u64) {
        self.0.retain(|kept| kept.round > delivered);
    }

    /// Adds older ones that came back.
    pub(super) fn merge(&mut self, older: Exemplars, most: usize) {
        let newer = std::mem::replace(self, older);
        for kept in newer.0 {
            self.add(kept.exemplar, kept.bucket, kept.round, most);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Exemplar> {
        self.0.iter().map(|kept| &kept.exemplar)
    }
}

/// Writes one exemplar.
pub(super) fn write(exemplar: &Exemplar, to: &mut encode::Exemplar<'_>) {
    to.time_unix_nano(exemplar.time_unix_nano)
        .value(exemplar.value)
        .span_id(&exemplar.span_id)
        .trace_id(&exemplar.trace_id);
}
