//! The pipeline against an OpenTelemetry Collector: both with the same configuration file, one after the other in one run.
//!
//! The collector under test runs on one processor; the client and the destination are this process, on another. Frames
//! are encoded, and compressed where that is measured, before the clock starts; no two have the same ids. What counts is
//! the processor time of the collector from the first request until the destination has everything, by items that the
//! destination has got: what is dropped on the way earns nothing.

mod cases;
mod client;
mod destination;
mod overload;
mod subject;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::Signal;
use serde::Serialize;

use crate::load::Load;
use crate::report::{Spread, keep, print_table};
use cases::{CASES, Case};
use client::{Client, Frame};
use destination::Destination;
use subject::{Kind, Subject};

#[derive(Args)]
pub(crate) struct Options {
    /// An OpenTelemetry Collector; built from Go modules if it is not given.
    #[arg(long)]
    collector: Option<std::path::PathBuf>,
    /// Megabytes of OTLP in frames, which are sent again and again.
    #[arg(long, default_value_t = 24)]
    megabytes: usize,
    /// Items in one frame: 512 is the default of the SDKs.
    #[arg(long, default_value_t = 512)]
    batch_items: usize,
    /// Seconds that each case is measured for.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    #[arg(long, default_value_t = 3)]
    runs: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests in flight.
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Processor of the collector under test.
    #[arg(long, default_value = "1")]
    subject_cpu: String,
    /// Processor of the client and the destination.
    #[arg(long, default_value = "0")]
    client_cpu: String,
    /// Three times as much as can be had, instead of the cases.
    #[arg(long)]
    overload: bool,
    /// Mebibytes that memory may take under overload.
    #[arg(long, default_value_t = 256)]
    ceiling: u64,
    /// Only cases whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Only one signal: logs, traces or metrics.
    #[arg(long)]
    signal: Option<Signal>,
}

#[derive(Debug, Serialize)]
struct Figures {
    case: &'static str,
    signal: &'static str,
    compression: &'static str,
    subject: &'static str,
    cpu_seconds_per_million: Spread,
    items_per_second: Spread,
    resident_mebibytes_max: Spread,
    p50_millis: Spread,
    p99_millis: Spread,
    /// Of items offered, how many the destination was to get and did not.
    missing: u64,
}

/// One measurement.
struct Measured {
    cpu_seconds_per_million: f64,
    items_per_second: f64,
    resident_mebibytes_max: f64,
    p50_millis: f64,
    p99_millis: f64,
    missing: u64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    pin(&options.client_cpu)?;
    let collector = match &options.collector {
        Some(path) => Some(path.clone()),
        None => match cupola_peers::collector::binary() {
            Ok(path) => Some(path),
            Err(reason) => {
                println!("skipped: the OpenTelemetry Collector: {reason}");
                None
            }
        },
    };
    let mut subjects = vec![Kind::Cupola];
    subjects.extend(collector.map(Kind::Collector));
    if options.overload {
        return overload::run(&options, &subjects).await;
    }
    let mut figures = Vec::new();
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        if options.signal.is_some_and(|only| only != signal) {
            continue;
        }
        let config = GeneratorConfig {
            seed: options.seed,
            ..GeneratorConfig::default()
        };
        let mut generator = Generator::new(config);
        let bytes = options.megabytes << 20;
        let load = Load::continued(&mut generator, signal, options.batch_items, bytes, usize::MAX);
        for gzip in [false, true] {
            let frames = Frame::encode_all(&load, gzip)?;
            for case in &CASES {
                if options
                    .only
                    .as_ref()
                    .is_some_and(|only| !case.name.contains(only.as_str()))
                {
                    continue;
                }
                compare(&options, &subjects, case, signal, gzip, &frames, &mut figures).await?;
            }
        }
    }
    show(&figures);
    keep("pipeline", &figures)?;
    Ok(())
}

async fn compare(
    options: &Options,
    subjects: &[Kind],
    case: &'static Case,
    signal: Signal,
    gzip: bool,
    frames: &[Frame],
    figures: &mut Vec<Figures>,
) -> Result<()> {
    let mut measured: Vec<Vec<Measured>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.runs {
        for (subject, results) in subjects.iter().zip(&mut measured) {
            results.push(measure(options, subject, case, signal, gzip, frames).await?);
        }
    }
    for (subject, results) in subjects.iter().zip(measured) {
        let spread = |value: fn(&Measured) -> f64| Spread::of(&results.iter().map(value).collect::<Vec<_>>());
        let row = Figures {
            case: case.name,
            signal: signal.as_str(),
            compression: if gzip { "gzip" } else { "none" },
            subject: subject.name(),
            cpu_seconds_per_million: spread(|one| one.cpu_seconds_per_million),
            items_per_second: spread(|one| one.items_per_second),
            resident_mebibytes_max: spread(|one| one.resident_mebibytes_max),
            p50_millis: spread(|one| one.p50_millis),
            p99_millis: spread(|one| one.p99_millis),
            missing: results.iter().map(|one| one.missing).sum(),
        };
        println!(
            "{} {} {} {}: {} CPU-s per million items",
            row.case,
            row.signal,
            row.compression,
            row.subject,
            row.cpu_seconds_per_million.show(2)
        );
        figures.push(row);
    }
    Ok(())
}

/// How long the destination may take to get what is still under way.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

async fn measure(
    options: &Options,
    kind: &Kind,
    case: &Case,
    signal: Signal,
    gzip: bool,
    frames: &[Frame],
) -> Result<Measured> {
    let mut destinations = Vec::new();
    for _ in 0..case.destinations {
        destinations.push(Destination::start().await?);
    }
    let addresses: Vec<String> = destinations.iter().map(|one| one.address.to_string()).collect();
    let configuration =
        |listen: &str, queue: &str| case.configuration(signal, gzip, listen, &addresses, queue);
    let subject = Subject::start(kind, configuration, &options.subject_cpu, None).await?;
    // Once without the clock: caches, connections and the heap are not what is measured.
    let mut client = Client::connect(&subject.address, options.in_flight).await?;
    client.send_for(frames, Duration::from_millis(500)).await?;
    wait_for(&destinations, case.expected(&client)).await?;
    let before = subject.usage()?;
    let already: Vec<u64> = destinations.iter().map(Destination::items).collect();
    let warm_items = client.items_acknowledged();
    let started = Instant::now();
    let sent = client
        .send_for(frames, Duration::from_secs(options.seconds))
        .await?;
    let acknowledged = client.items_acknowledged() - warm_items;
    let expected = case.expected(&client);
    let missing = match wait_for(&destinations, expected).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}: {error:#}", kind.name());
            let got = destinations.iter().map(Destination::items).min().unwrap_or(0);
            expected.saturating_sub(got)
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let after = subject.usage()?;
    let got = destinations
        .iter()
        .zip(already)
        .map(|(one, before)| one.items() - before)
        .min()
        .unwrap_or(0);
    if got == 0 {
        bail!(
            "{} handed nothing on in `{}`: {}",
            kind.name(),
            case.name,
            subject.log()
        );
    }
    subject.stop()?;
    Ok(Measured {
        cpu_seconds_per_million: (after.cpu - before.cpu).as_secs_f64() / (acknowledged as f64 / 1e6),
        items_per_second: acknowledged as f64 / seconds,
        resident_mebibytes_max: after.resident_bytes_max as f64 / f64::from(1 << 20),
        p50_millis: sent.percentile(50.0),
        p99_millis: sent.percentile(99.0),
        missing,
    })
}

async fn wait_for(destinations: &[Destination], items: u64) -> Result<()> {
    for destination in destinations {
        let waited = tokio::time::timeout(DRAIN_WITHIN, destination.wait_for(items)).await;
        waited.with_context(|| format!("{} of {items} items arrived", destination.items()))?;
    }
    Ok(())
}

/// Keeps this process on `cpus`, with all its threads.
fn pin(cpus: &str) -> Result<()> {
    let own = std::process::id().to_string();
    let done = std::process::Command::new("taskset")
        .args(["-a", "-p", "-c", cpus, &own])
        .output()?;
    if !done.status.success() {
        bail!("taskset: {}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

fn show(figures: &[Figures]) {
    let of_peer = |one: &Figures| {
        let peer = figures.iter().find(|other| {
            other.subject != one.subject
                && (other.case, other.signal, other.compression) == (one.case, one.signal, one.compression)
        });
        peer.map_or("–".to_owned(), |peer| {
            format!(
                "{:.2}",
                one.cpu_seconds_per_million.median / peer.cpu_seconds_per_million.median
            )
        })
    };
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|one| {
            vec![
                one.case.to_owned(),
                one.signal.to_owned(),
                one.compression.to_owned(),
                one.subject.to_owned(),
                one.cpu_seconds_per_million.show(2),
                of_peer(one),
                one.items_per_second.show(0),
                one.resident_mebibytes_max.show(0),
                one.p50_millis.show(1),
                one.p99_millis.show(1),
                one.missing.to_string(),
            ]
        })
        .collect();
    let head = [
        "case",
        "signal",
        "compression",
        "collector",
        "CPU-s per million items",
        "ratio to the other",
        "items/s",
        "resident MiB, most",
        "p50 ms",
        "p99 ms",
        "missing",
    ];
    print_table("Pipeline, on one processor", &head, &rows);
}
