//! The machine loses power at every single operation of a run of appends, flushes, a compaction, a retention run and a
//! deletion. Afterwards everything acknowledged is there once, and nothing that was never sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cupola_store::{
    AttributeSet, Comparison, DeleteRequest, Literal, RetentionRule, RowFilter, Store, StoreConfig,
};
use cupola_telemetry::{Batch, Signal};

use crate::rows::{HOUR, START, USERS, log_numbers, logs, open, point_numbers, points, quiet, tenant};
use crate::simulated::{Simulated, Survival};

/// What must be, and what may be, in the store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub logs: Expected,
    pub points: Expected,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    certain: BTreeSet<u64>,
    possible: BTreeSet<u64>,
}

impl Expected {
    /// Sent, and not answered yet.
    pub(crate) fn begin(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.possible.extend(numbers);
    }

    pub(crate) fn acknowledge(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.possible.remove(&number);
            self.certain.insert(number);
        }
    }

    /// To be deleted, and not answered yet.
    pub(crate) fn begin_deletion(&mut self, doomed: impl Fn(u64) -> bool) {
        let going: Vec<u64> = self
            .certain
            .iter()
            .copied()
            .filter(|number| doomed(*number))
            .collect();
        for number in going {
            self.certain.remove(&number);
            self.possible.insert(number);
        }
    }

    pub(crate) fn finish_deletion(&mut self, doomed: impl Fn(u64) -> bool) {
        self.possible.retain(|number| !doomed(*number));
    }

    pub(crate) fn check(&self, found: &[u64], when: &str) {
        let distinct: BTreeSet<u64> = found.iter().copied().collect();
        assert_eq!(distinct.len(), found.len(), "{when}: twice in {found:?}");
        let lost: Vec<_> = self.certain.difference(&distinct).collect();
        assert!(lost.is_empty(), "{when}: lost {lost:?}");
        let unknown: Vec<_> = distinct
            .iter()
            .filter(|number| !self.certain.contains(number) && !self.possible.contains(number))
            .collect();
        assert!(unknown.is_empty(), "{when}: nobody sent, or deleted: {unknown:?}");
    }

    /// What was possible is now known.
    pub(crate) fn settle(&mut self, found: &[u64]) {
        self.certain = found.iter().copied().collect();
        self.possible.clear();
    }
}

pub(crate) fn config(disk: &Simulated) -> StoreConfig {
    let mut config = quiet(Arc::new(disk.clone()));
    config.compaction.files_min = 2;
    config.retention = vec![RetentionRule {
        tenant: Some("b".to_owned()),
        ..RetentionRule::signal(Signal::Logs, Duration::from_secs(60))
    }];
    config
}

pub(crate) fn of_user(user: u64) -> RowFilter {
    RowFilter::Attribute {
        set: AttributeSet::Item,
        key: "user.id".to_owned(),
        comparison: Comparison::Equal,
        value: Literal::Text(format!("user {user}")),
    }
}

async fn append(
    store: &Store,
    expected: &mut Expected,
    batch: Batch,
    numbers: std::ops::Range<u64>,
) -> Option<()> {
    expected.begin(numbers.clone());
    store.append(batch).await.ok()?;
    expected.acknowledge(numbers);
    Some(())
}

/// The run. Ends early, with `None`, at the first thing that fails.
async fn run(disk: &Simulated, model: &mut Model) -> Option<()> {
    let (store, _) = Store::open(config(disk)).await.ok()?;
    append(&store, &mut model.logs, logs("a", 0..5), 0..5).await?;
    append(&store, &mut model.points, points("a", 0..5), 0..5).await?;
    store.flush().await.ok()?;
    append(&store, &mut model.logs, logs("a", 5..10), 5..10).await?;
    append(&store, &mut model.points, points("a", 5..10), 5..10).await?;
    store.append(logs("b", 0..3)).await.ok()?;
    store.flush().await.ok()?;
    append(&store, &mut model.logs, logs("a", 10..15), 10..15).await?;
    store.compact().await.ok()?;
    store.apply_retention(START + HOUR).await.ok()?;
    append(&store, &mut model.points, points("a", 10..15), 10..15).await?;
    let doomed = |number: u64| number % USERS == 1;
    model.logs.begin_deletion(doomed);
    model.points.begin_deletion(doomed);
    let request = DeleteRequest {
        tenant: tenant("a"),
        filter: Some(of_user(1)),
    };
    store.delete(request).await.ok()?;
    model.logs.finish_deletion(doomed);
    model.points.finish_deletion(doomed);
    append(&store, &mut model.points, points("a", 15..20), 15..20).await?;
    append(&store, &mut model.logs, logs("a", 15..20), 15..20).await?;
    store.shutdown().await.ok()
}

/// Opens, compares, and opens again: recovery may be repeated, and what it leaves can be worked with.
async fn check(disk: &Simulated, model: &Model, when: &str) {
    let mut model = model.clone();
    for attempt in 0..2 {
        let when = format!("{when}, opened {attempt}");
        let store = open(config(disk)).await;
        let (found_logs, found_points) = (log_numbers(&store, "a").await, point_numbers(&store, "a").await);
        model.logs.check(&found_logs, &when);
        model.points.check(&found_points, &when);
        model.logs.settle(&found_logs);
        model.points.settle(&found_points);
        if attempt == 0 {
            // As if it crashed again at once.
            drop(store);
            let again = disk.reboot(Survival::Nothing);
            let store = open(config(&again)).await;
            model
                .logs
                .check(&log_numbers(&store, "a").await, &format!("{when}, crashed again"));
            store.append(points("a", 100..103)).await.unwrap();
            store.flush().await.unwrap();
            store.compact().await.unwrap();
            let mut points = model.points.clone();
            points.acknowledge(100..103);
            points.check(&point_numbers(&store, "a").await, &format!("{when}, worked with"));
        } else {
            store.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_loss_at_every_operation() {
    let disk = Simulated::new();
    let mut model = Model::default();
    run(&disk, &mut model).await.unwrap();
    let operations = disk.operations();
    check(&disk.reboot(Survival::Nothing), &model, "no crash").await;
    println!("{operations} operations");
    for operation in 1..=operations {
        let disk = Simulated::new();
        disk.crash_at(operation);
        let mut model = Model::default();
        // The last operations remove files nobody needs: a run may end well without them.
        let _ = run(&disk, &mut model).await;
        let mut survivals = vec![Survival::Nothing, Survival::Some(operation)];
        if operation.is_multiple_of(3) {
            survivals.push(Survival::Everything);
        }
        for survival in survivals {
            let when = format!("crash at {operation} of {operations}, {survival:?}");
            check(&disk.reboot(survival), &model, &when).await;
        }
    }
}
