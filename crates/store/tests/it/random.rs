//! Random runs with crashes, restarts, full disks and failing syncs, compared with a model after every step.

use cupola_store::{DeleteRequest, Store};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::crash::{Model, config, of_user};
use crate::rows::{USERS, log_numbers, logs, open, point_numbers, points, tenant};
use crate::simulated::{Simulated, Survival};

const RUNS: u64 = 24;
const STEPS: usize = 40;

struct Run {
    random: StdRng,
    disk: Simulated,
    store: Option<Store>,
    model: Model,
    next: u64,
}

impl Run {
    async fn open(&mut self) {
        self.store = Some(open(config(&self.disk)).await);
    }

    fn store(&self) -> Store {
        self.store.clone().unwrap()
    }

    async fn append(&mut self) {
        let numbers = self.next..self.next + self.random.random_range(1..8);
        self.next = numbers.end;
        let is_logs = self.random.random_bool(0.5);
        let (expected, batch) = match is_logs {
            true => (&mut self.model.logs, logs("a", numbers.clone())),
            false => (&mut self.model.points, points("a", numbers.clone())),
        };
        // A refused batch is repeated by its sender until it is taken: it must be there once.
        expected.begin(numbers.clone());
        let store = self.store.clone().unwrap();
        for _ in 0..3 {
            match store.append(batch.clone()).await {
                Ok(()) => {
                    expected.acknowledge(numbers);
                    return;
                }
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    }

    async fn delete(&mut self) {
        let user = self.random.random_range(0..USERS);
        let doomed = |number: u64| number % USERS == user;
        self.model.logs.begin_deletion(doomed);
        self.model.points.begin_deletion(doomed);
        let request = DeleteRequest {
            tenant: tenant("a"),
            filter: Some(of_user(user)),
        };
        if self.store().delete(request).await.is_ok() {
            self.model.logs.finish_deletion(doomed);
            self.model.points.finish_deletion(doomed);
        }
    }

    async fn step(&mut self) -> &'static str {
        match self.random.random_range(0..100) {
            0..50 => {
                self.append().await;
                "append"
            }
            50..62 => {
                let _ = self.store().flush().await;
                "flush"
            }
            62..70 => {
                let _ = self.store().compact().await;
                "compact"
            }
            70..76 => {
                self.delete().await;
                "delete"
            }
            76..82 => {
                self.disk.fail_syncs(1);
                "failing sync"
            }
            82..86 => {
                self.disk.fail_writes(1);
                "failing write"
            }
            86..90 => {
                let room = self.random.random_range(0..2000);
                self.disk.set_capacity(Some(self.disk.used() + room));
                "disk full"
            }
            90..94 => {
                self.disk.set_capacity(None);
                "space returns"
            }
            94..97 => {
                self.restart(None).await;
                "restart"
            }
            _ => {
                let survival = match self.random.random_range(0..3) {
                    0 => Survival::Nothing,
                    1 => Survival::Everything,
                    _ => Survival::Some(self.random.random()),
                };
                self.restart(Some(survival)).await;
                "power loss"
            }
        }
    }

    async fn restart(&mut self, survival: Option<Survival>) {
        self.disk.set_capacity(None);
        self.disk.fail_syncs(0);
        self.disk.fail_writes(0);
        let store = self.store.take().unwrap();
        match survival {
            Some(survival) => {
                self.disk.crash_now();
                self.disk = self.disk.reboot(survival);
            }
            None => store.shutdown().await.unwrap(),
        }
        drop(store);
        self.open().await;
    }

    async fn check(&mut self, when: &str) {
        let store = self.store();
        self.model.logs.check(&log_numbers(&store, "a").await, when);
        self.model.points.check(&point_numbers(&store, "a").await, when);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_runs_agree_with_the_model() {
    for seed in 0..RUNS {
        let mut run = Run {
            random: StdRng::seed_from_u64(seed),
            disk: Simulated::new(),
            store: None,
            model: Model::default(),
            next: 0,
        };
        run.open().await;
        let mut steps = Vec::new();
        for step in 0..STEPS {
            steps.push(run.step().await);
            run.check(&format!("seed {seed}, step {step}, after {steps:?}"))
                .await;
        }
        run.restart(None).await;
        run.check(&format!("seed {seed}, at the end of {steps:?}")).await;
    }
}
