//! Three times as much as can be had, in an open loop: whoever is refused does not wait, and the next request comes all the
//! same.
//!
//! Two things are too slow in turn: the destination, which takes so many items a second, and the processor, which has
//! statements to run over every record. First what gets through is measured with sixteen requests in flight, which
//! saturates; then requests come at three times that rate, as far as this machine can send them, and what gets through is
//! measured again. Both collectors have a ceiling on their memory, by `memory_limiter` and by what each is told beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::Signal;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::{Client, Frame};
use super::destination::Destination;
use super::subject::{Kind, Subject};
use super::{Options, wait_for};
use crate::load::Load;
use crate::report::{Spread, keep, print_table};

/// How much more is offered than gets through.
const TIMES: f64 = 3.0;
/// Connections of the client, and requests under way on each at most: beyond, a request is not made and not offered.
const CONNECTIONS: usize = 8;
const UNDER_WAY_MAX: usize = 1024;
/// Before measuring: queues fill, the heap grows.
const WARM_UP: Duration = Duration::from_secs(2);
/// What a slow destination takes in a second.
const SLOW_ITEMS_PER_SECOND: f64 = 60_000.0;

#[derive(Debug, Serialize)]
struct Figures {
    bottleneck: &'static str,
    subject: &'static str,
    saturated_items_per_second: Spread,
    /// By what got through when saturated.
    offered: Spread,
    goodput: Spread,
    refused_percent: Spread,
    resident_mebibytes_max: Spread,
    ceiling_mebibytes: u64,
    /// Of items acknowledged, how many never came.
    missing: u64,
}

struct Measured {
    saturated: f64,
    offered: f64,
    goodput: f64,
    refused_percent: f64,
    resident_mebibytes_max: f64,
    missing: u64,
}

#[derive(Clone, Copy)]
enum Bottleneck {
    Destination,
    Processor,
}

impl Bottleneck {
    fn name(self) -> &'static str {
        match self {
            Bottleneck::Destination => "destination",
            Bottleneck::Processor => "processor",
        }
    }

    fn pace(self) -> Option<f64> {
        matches!(self, Bottleneck::Destination).then_some(SLOW_ITEMS_PER_SECOND)
    }

    fn configuration(self, listen: &str, destination: &str, ceiling: u64) -> String {
        let work = match self {
            Bottleneck::Destination => "",
            Bottleneck::Processor => {
                "  transform:\n    error_mode: ignore\n    log_statements:\n      - context: log\n        statements:\n          \
                 - 'replace_all_patterns(attributes, \"value\", \"[0-9a-f]{4}\", \"****\")'\n          \
                 - 'set(attributes[\"digest\"], SHA256(body.string))'\n          \
                 - 'replace_pattern(body.string, \"(\\\\w+)=(\\\\w+)\", \"$$1\")'\n"
            }
        };
        let names = if work.is_empty() {
            "memory_limiter"
        } else {
            "memory_limiter, transform"
        };
        let spike = ceiling / 5;
        format!(
            "receivers:\n  otlp: {{protocols: {{grpc: {{endpoint: '{listen}'}}}}}}\nprocessors:\n  \
             memory_limiter: {{check_interval: 100ms, limit_mib: {ceiling}, spike_limit_mib: {spike}}}\n{work}\
             exporters:\n  otlp: {{endpoint: '{destination}', tls: {{insecure: true}}, compression: none}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}\n  pipelines:\n    \
             logs: {{receivers: [otlp], processors: [{names}], exporters: [otlp]}}\n"
        )
    }
}

pub(super) async fn run(options: &Options, subjects: &[Kind]) -> Result<()> {
    let config = GeneratorConfig {
        seed: options.seed,
        ..GeneratorConfig::default()
    };
    let mut generator = Generator::new(config);
    let bytes = options.megabytes << 20;
    let load = Load::continued(
        &mut generator,
        Signal::Logs,
        options.batch_items,
        bytes,
        usize::MAX,
    );
    let frames = Arc::new(Frame::encode_all(&load, false)?);
    let mut figures = Vec::new();
    for bottleneck in [Bottleneck::Destination, Bottleneck::Processor] {
        let mut measured: Vec<Vec<Measured>> = subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..options.runs {
            for (subject, results) in subjects.iter().zip(&mut measured) {
                results.push(measure(options, subject, bottleneck, &frames).await?);
            }
        }
        for (subject, results) in subjects.iter().zip(measured) {
            let spread =
                |value: fn(&Measured) -> f64| Spread::of(&results.iter().map(value).collect::<Vec<_>>());
            figures.push(Figures {
                bottleneck: bottleneck.name(),
                subject: subject.name(),
                saturated_items_per_second: spread(|one| one.saturated),
                offered: spread(|one| one.offered / one.saturated),
                goodput: spread(|one| one.goodput / one.saturated),
                refused_percent: spread(|one| one.refused_percent),
                resident_mebibytes_max: spread(|one| one.resident_mebibytes_max),
                ceiling_mebibytes: options.ceiling,
                missing: results.iter().map(|one| one.missing).sum(),
            });
        }
    }
    show(&figures);
    keep("overload", &figures)?;
    Ok(())
}

async fn measure(
    options: &Options,
    kind: &Kind,
    bottleneck: Bottleneck,
    frames: &Arc<Vec<Frame>>,
) -> Result<Measured> {
    let destination = Destination::paced(bottleneck.pace()).await?;
    let to = destination.address.to_string();
    let configuration = |listen: &str, _: &str| bottleneck.configuration(listen, &to, options.ceiling);
    let subject = Subject::start(kind, configuration, &options.subject_cpu, Some(options.ceiling)).await?;
    let time = Duration::from_secs(options.seconds);

    let mut client = Client::connect(&subject.address, options.in_flight).await?;
    client.send_for(frames, WARM_UP).await?;
    let (before, begun) = (destination.items(), Instant::now());
    client.send_for(frames, time).await?;
    let saturated = (destination.items() - before) as f64 / begun.elapsed().as_secs_f64();

    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Arc::new(
            Client::connect(&subject.address, options.in_flight).await?,
        ));
    }
    let mut open = OpenLoop::new(clients, frames.clone(), TIMES * saturated);
    open.run_for(WARM_UP).await;
    let (before, begun, made) = (destination.items(), Instant::now(), open.count());
    open.run_for(time).await;
    let seconds = begun.elapsed().as_secs_f64();
    let goodput = (destination.items() - before) as f64 / seconds;
    let offered = (open.count() - made) as f64 * options.batch_items as f64 / seconds;
    let outcome = open.finish().await?;

    let acknowledged = client.items_acknowledged() + outcome.acknowledged;
    let missing = match wait_for(std::slice::from_ref(&destination), acknowledged).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}: {error:#}", kind.name());
            acknowledged.saturating_sub(destination.items())
        }
    };
    let resident = subject.usage()?.resident_bytes_max;
    subject.stop()?;
    Ok(Measured {
        saturated,
        offered,
        goodput,
        refused_percent: 100.0 * outcome.refused as f64 / outcome.made as f64,
        resident_mebibytes_max: resident as f64 / f64::from(1 << 20),
        missing,
    })
}

/// Requests at a rate of their own.
struct OpenLoop {
    clients: Vec<Arc<Client>>,
    frames: Arc<Vec<Frame>>,
    /// Between two requests.
    pause: Duration,
    under_way: Arc<Semaphore>,
    requests: JoinSet<()>,
    made: u64,
    refused: Arc<AtomicU64>,
}

struct Outcome {
    made: u64,
    refused: u64,
    acknowledged: u64,
}

impl OpenLoop {
    fn new(clients: Vec<Arc<Client>>, frames: Arc<Vec<Frame>>, items_per_second: f64) -> OpenLoop {
        let items = frames.iter().map(|frame| frame.items).sum::<u64>() as f64 / frames.len() as f64;
        OpenLoop {
            clients,
            frames,
            pause: Duration::from_secs_f64(items / items_per_second),
            under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)),
            requests: JoinSet::new(),
            made: 0,
            refused: Arc::default(),
        }
    }

    fn count(&self) -> u64 {
        self.made
    }

    async fn run_for(&mut self, time: Duration) {
        let begun = Instant::now();
        let mut due = begun;
        while begun.elapsed() < time {
            tokio::time::sleep_until(due.into()).await;
            while due <= Instant::now() {
                due += self.pause;
                self.request();
            }
            while self.requests.try_join_next().is_some() {}
        }
    }

    fn request(&mut self) {
        let Ok(place) = self.under_way.clone().try_acquire_owned() else {
            return;
        };
        let client = self.clients[self.made as usize % self.clients.len()].clone();
        let (frames, refused) = (self.frames.clone(), self.refused.clone());
        self.made += 1;
        self.requests.spawn(async move {
            if !matches!(client.send_once(&frames).await, Ok(true)) {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            drop(place);
        });
    }

    /// Waits for the answers that are still to come.
    async fn finish(mut self) -> Result<Outcome> {
        while let Some(ended) = self.requests.join_next().await {
            ended?;
        }
        Ok(Outcome {
            made: self.made,
            refused: self.refused.load(Ordering::Relaxed),
            acknowledged: self
                .clients
                .iter()
                .map(|client| client.items_acknowledged())
                .sum(),
        })
    }
}

fn show(figures: &[Figures]) {
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|one| {
            vec![
                one.bottleneck.to_owned(),
                one.subject.to_owned(),
                one.saturated_items_per_second.show(0),
                one.offered.show(2),
                one.goodput.show(2),
                one.refused_percent.show(0),
                one.resident_mebibytes_max.show(0),
                one.ceiling_mebibytes.to_string(),
                one.missing.to_string(),
            ]
        })
        .collect();
    let head = [
        "too slow",
        "collector",
        "items/s at saturation",
        "offered, times that",
        "got through, times that",
        "refused, % of requests",
        "resident MiB, most",
        "ceiling MiB",
        "missing",
    ];
    print_table("Overload, on one processor", &head, &rows);
}
