//! The series of one tenant, by resource, metric and labels.

use std::collections::HashMap;

use super::Taken;
use super::series::Series;

#[derive(Default)]
pub(super) struct Tenant {
    /// By the encoded resource.
    pub(super) groups: HashMap<Box<[u8]>, Group>,
    /// Series of each family.
    pub(super) series: Vec<usize>,
}

/// The series of one resource: by labels, a map a family.
pub(super) struct Group {
    pub(super) families: Vec<HashMap<Box<[u8]>, Series>>,
}

impl Tenant {
    pub(super) fn has(&self, resource: &[u8], family: usize, labels: &[u8]) -> bool {
        let group = self.groups.get(resource);
        group.is_some_and(|group| group.families[family].contains_key(labels))
    }

    pub(super) fn series(
        &mut self,
        resource: &[u8],
        family: usize,
        labels: &[u8],
        make: impl FnOnce() -> Series,
    ) -> &mut Series {
        let families = self.series.len();
        let count = &mut self.series[family];
        if !self.groups.contains_key(resource) {
            let group = Group {
                families: (0..families).map(|_| HashMap::new()).collect(),
            };
            self.groups.insert(resource.into(), group);
        }
        let group = self.groups.get_mut(resource).expect("inserted above");
        let series = &mut group.families[family];
        if !series.contains_key(labels) {
            *count += 1;
            series.insert(labels.into(), make());
        }
        series.get_mut(labels).expect("inserted above")
    }
}

impl Group {
    pub(super) fn drain(&mut self, resource: &[u8]) -> Vec<Taken> {
        let families = self.families.iter_mut().enumerate();
        let taken = families.flat_map(|(family, series)| {
            series.drain().map(move |(labels, series)| Taken {
                resource: resource.into(),
                family,
                labels,
                series,
            })
        });
        taken.collect()
    }
}
