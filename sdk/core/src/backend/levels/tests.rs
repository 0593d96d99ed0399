//! Destinations that answer as they are told, in a time that passes when nobody has anything to do.

use std::collections::VecDeque;

use bytes::Bytes;
use cupola_telemetry::{Signal, TenantId};

use super::*;

/// How it answers from now on.
#[derive(Clone)]
enum Answer {
    Takes,
    Fails(SendError),
    Hangs,
    /// Takes all but these, which it hands back.
    TakesBut(Batch),
}

struct Told {
    answer: Mutex<Answer>,
    asked: AtomicU64,
    taken: Mutex<VecDeque<usize>>,
}

impl Default for Told {
    fn default() -> Told {
        Told {
            answer: Mutex::new(Answer::Takes),
            asked: AtomicU64::new(0),
            taken: Mutex::default(),
        }
    }
}

impl Told {
    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn fails(&self, reason: &str) {
        self.answers(Answer::Fails(SendError::retryable(reason)));
    }

    /// Times that it was asked since the last time that this was.
    fn asked(&self) -> u64 {
        self.asked.swap(0, Ordering::Relaxed)
    }

    fn taken(&self) -> Vec<usize> {
        self.taken.lock().unwrap().drain(..).collect()
    }
}

#[async_trait]
impl Sink for Told {
    async fn send(&self, batch: Batch) -> Result<Accepted, SendError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Fails(error) => Err(error),
            Answer::Hangs => std::future::pending().await,
            Answer::Takes => {
                self.taken.lock().unwrap().push_back(batch.items());
                Ok(Accepted::all())
            }
            Answer::TakesBut(refused) => {
                let mut accepted = Accepted::partial(refused.items() as u64, "no");
                accepted.refused.push(refused);
                Ok(accepted)
            }
        }
    }
}

impl Component for Told {}

fn batch(items: usize) -> Batch {
    let tenant = TenantId::default_tenant();
    Batch::from_canonical(Signal::Logs, tenant, Bytes::from_static(b"payload"), items)
}

const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(30);

fn levels() -> (Levels, Arc<Told>, Arc<Told>) {
    let (first, fallback) = (Arc::<Told>::default(), Arc::<Told>::default());
    let built: Vec<Built> = vec![("otlp", first.clone()), ("json lines", fallback.clone())];
    let pace = Pace {
        timeout: TIMEOUT,
        pause: Duration::from_secs(1),
        interval: INTERVAL,
    };
    (Levels::new(built, pace), first, fallback)
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_is_left_after_a_few_attempts_and_used_again_when_it_works() {
    let (levels, first, fallback) = levels();
    first.fails("down");
    let begun = Instant::now();
    levels.send(batch(1)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(
        (first.asked(), fallback.taken(), levels.fallback()),
        (3, vec![1], 1)
    );
    let condition = levels.condition();
    assert_eq!(condition.failing.unwrap().reason, "otlp: down");
    // Left alone.
    for items in 2..5 {
        levels.send(batch(items)).await.unwrap();
    }
    assert_eq!((first.asked(), fallback.taken()), (0, vec![2, 3, 4]));
    // Asked once, by the batch that finds out.
    tokio::time::advance(INTERVAL).await;
    levels.send(batch(5)).await.unwrap();
    levels.send(batch(6)).await.unwrap();
    assert_eq!((first.asked(), fallback.taken()), (1, vec![5, 6]));
    first.answers(Answer::Takes);
    tokio::time::advance(INTERVAL).await;
    levels.send(batch(7)).await.unwrap();
    levels.send(batch(8)).await.unwrap();
    assert_eq!(
        (first.taken(), fallback.taken(), levels.fallback()),
        (vec![7, 8], vec![], 0)
    );
    let condition = levels.condition();
    assert!(condition.failing.is_none() && condition.recovered.is_some());
    assert_eq!(condition.last_error.unwrap().reason, "otlp: down");
}

#[tokio::test(start_paused = true)]
async fn a_moment_of_trouble_is_no_reason_to_go_elsewhere() {
    let (levels, first, fallback) = levels();
    first.fails("one moment");
    let (sent, ()) = tokio::join!(levels.send(batch(1)), async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        first.answers(Answer::Takes);
    });
    sent.unwrap();
    assert_eq!(
        (first.taken(), fallback.taken(), levels.fallback()),
        (vec![1], vec![], 0)
    );
    let mut samples = Vec::new();
    levels.collect(&mut samples);
    let retries = samples
        .iter()
        .filter(|sample| sample.name == "cupola_exporter_retries");
    assert_eq!(retries.map(|sample| sample.value).sum::<f64>(), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_does_not_answer_is_left_when_its_time_is_over() {
    let (levels, first, fallback) = levels();
    first.answers(Answer::Hangs);
    let begun = Instant::now();
    levels.send(batch(1)).await.unwrap();
    let took = begun.elapsed();
    assert!(
        took >= TIMEOUT && took < levels.levels[0].pace.longest(2),
        "{took:?}"
    );
    assert_eq!((first.asked(), fallback.taken()), (1, vec![1]));
    assert_eq!(
        levels.condition().failing.unwrap().reason,
        "otlp: no answer within 10 s"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_asks_for_patience_is_not_asked_again_meanwhile() {
    let (levels, first, fallback) = levels();
    first.answers(Answer::Fails(SendError::Retryable {
        reason: "busy".to_owned(),
        retry_after: Some(Duration::from_secs(60)),
    }));
    let begun = Instant::now();
    levels.send(batch(1)).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!((first.asked(), fallback.taken()), (1, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_kept_by_a_fallback_and_nothing_else_is() {
    let (levels, first, fallback) = levels();
    first.answers(Answer::Fails(SendError::permanent("no")));
    levels.send(batch(3)).await.unwrap();
    assert_eq!(
        (fallback.taken(), levels.fallback()),
        (vec![3], 0),
        "it is there, and is asked again"
    );
    first.answers(Answer::TakesBut(batch(2)));
    assert_eq!(
        levels.send(batch(5)).await,
        Ok(Accepted {
            message: "no".to_owned(),
            ..Accepted::all()
        })
    );
    assert_eq!(fallback.taken(), [2]);
    let mut samples = Vec::new();
    levels.collect(&mut samples);
    let kept = samples
        .iter()
        .find(|sample| sample.name == "cupola_sdk_fallback_kept_items");
    assert_eq!(kept.unwrap().value, 5.0);
    // Neither takes it: given up, and not tried for ever.
    first.answers(Answer::Fails(SendError::permanent("no")));
    fallback.answers(Answer::Fails(SendError::permanent("nor here")));
    assert_eq!(levels.send(batch(1)).await, Err(SendError::permanent("no")));
}

#[tokio::test(start_paused = true)]
async fn with_all_down_the_batch_stays_with_the_queue_whatever_a_fallback_says() {
    let (levels, first, fallback) = levels();
    first.fails("down");
    fallback.answers(Answer::Fails(SendError::permanent("not allowed")));
    let begun = Instant::now();
    assert_eq!(levels.send(batch(1)).await, Err(SendError::retryable("down")));
    assert!(begun.elapsed() < levels.levels[0].pace.longest(2));
    assert_eq!(
        levels.condition().last_error.unwrap().reason,
        "json lines: not allowed"
    );
    first.answers(Answer::Takes);
    levels.send(batch(1)).await.unwrap();
    assert_eq!((first.taken(), levels.fallback()), (vec![1], 0));
}
