//! Durable ingest, end to end: OTLP/gRPC from the socket until the rows are in Parquet, on one processor.
//!
//! The server is pinned to one processor and the client to the others; what counts is the server's CPU time (user and
//! system) from the first request until its flush has returned, so waiting costs nothing and helper threads count. The
//! same load goes through once before it is measured: a server's life is not its first second, in which the system has to
//! find all of its memory.
//! Beside it, in the same run: how fast this machine decodes the same bytes with `opentelemetry-proto` (prost), as a
//! measure of the machine, and VictoriaMetrics taking the same number points by remote write.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use cupola_export::otlp::Compression;
use cupola_generator::{GeneratorConfig, ndjson};
use cupola_telemetry::{Batch, Signal};
use prost::Message;
use serde::Serialize;

use crate::load::{self, Load};
use crate::report::{Spread, keep, print_table};
use crate::server::{Server, bytes_below};
use crate::victoria::{self, Victoria};

#[derive(Args)]
pub(crate) struct Options {
    /// Megabytes of OTLP per signal and run.
    #[arg(long, default_value_t = 400)]
    megabytes: usize,
    /// Items per request: 512 is the default of the SDKs, a collector sends thousands.
    #[arg(long, default_value_t = 2_000)]
    batch_items: usize,
    #[arg(long, default_value_t = 3)]
    runs: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Processor of the server.
    #[arg(long, default_value = "1")]
    server_cpu: String,
}

#[derive(Serialize)]
struct Figures {
    signal: String,
    compression: String,
    megabytes_per_cpu_second: Spread,
    megabytes_per_user_second: Spread,
    records_per_cpu_second: Spread,
    prost_megabytes_per_second: Spread,
    ratio_to_prost: Spread,
    disk_bytes_per_record: f64,
    zstd3_ndjson_bytes_per_record: f64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let scratch = tempfile::tempdir_in(".")?;
    let mut figures = Vec::new();
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        let config = GeneratorConfig {
            seed: options.seed,
            ..GeneratorConfig::default()
        };
        let load = Load::generate(signal, config, options.batch_items, options.megabytes << 20);
        println!(
            "{}: {} items, {} MB",
            signal.as_str(),
            load.items,
            load.bytes >> 20
        );
        for (name, compression) in [("none", Compression::None), ("gzip", Compression::Gzip)] {
            figures.push(measure(&options, scratch.path(), &load, name, compression).await?);
        }
    }
    show(&figures);
    keep("ingest", &figures)?;
    points_against_victoria(&options, scratch.path()).await
}

async fn measure(
    options: &Options,
    scratch: &Path,
    load: &Load,
    name: &str,
    compression: Compression,
) -> Result<Figures> {
    let (mut megabytes, mut records, mut prost, mut ratios) = (vec![], vec![], vec![], vec![]);
    let mut user = vec![];
    let mut disk = 0.0;
    for run in 0..options.runs {
        let directory = scratch.join(format!("{}-{name}-{run}", load.signal.as_str()));
        let prost_speed = prost_decode(load);
        let server = Server::start(&directory, Some(&options.server_cpu), &[]).await?;
        let sink = load::sink(&server.addresses.grpc, compression)?;
        load::send_all(sink.clone(), &load.batches).await?;
        server.flush().await?;
        let before = server.usage()?;
        let sent = load::send_all(sink, &load.batches).await?;
        server.flush().await?;
        let after = server.usage()?;
        let cpu = (after.cpu - before.cpu).as_secs_f64();
        let speed = load.bytes as f64 / 1e6 / cpu;
        user.push(load.bytes as f64 / 1e6 / (after.user - before.user).as_secs_f64());
        println!(
            "  {name}: {speed:.1} MB per CPU-second, wall {:?}, {} refusals",
            sent.wall, sent.refused
        );
        server.stop()?;
        disk = bytes_below(&directory, &|path| {
            path.extension().is_some_and(|e| e == "parquet")
        })? as f64
            / 2.0;
        std::fs::remove_dir_all(&directory)?;
        megabytes.push(speed);
        records.push(load.items as f64 / cpu);
        prost.push(prost_speed);
        ratios.push(speed / prost_speed);
    }
    Ok(Figures {
        signal: load.signal.as_str().to_owned(),
        compression: name.to_owned(),
        megabytes_per_cpu_second: Spread::of(&megabytes),
        megabytes_per_user_second: Spread::of(&user),
        records_per_cpu_second: Spread::of(&records),
        prost_megabytes_per_second: Spread::of(&prost),
        ratio_to_prost: Spread::of(&ratios),
        disk_bytes_per_record: disk / load.items as f64,
        zstd3_ndjson_bytes_per_record: ndjson_bytes(load)? as f64 / load.items as f64,
    })
}

/// Megabytes a second of this machine decoding the same payloads into prost structs: the machine's measure.
fn prost_decode(load: &Load) -> f64 {
    use opentelemetry_proto::tonic::collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    };
    let started = Instant::now();
    let mut bytes = 0;
    for batch in load.batches.iter().take(50) {
        let payload = batch.payload().as_ref();
        bytes += payload.len();
        let decoded = match load.signal {
            Signal::Logs => ExportLogsServiceRequest::decode(payload).map(|r| r.resource_logs.len()),
            Signal::Traces => ExportTraceServiceRequest::decode(payload).map(|r| r.resource_spans.len()),
            Signal::Metrics => ExportMetricsServiceRequest::decode(payload).map(|r| r.resource_metrics.len()),
        };
        assert!(
            std::hint::black_box(decoded).is_ok_and(|count| count > 0),
            "a generated batch decodes"
        );
    }
    bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
}

/// What `zstd -3` makes of the same records as NDJSON, the usual way to keep telemetry in files.
fn ndjson_bytes(load: &Load) -> Result<usize> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
    for batch in &load.batches {
        ndjson::write(batch, &mut encoder)?;
    }
    Ok(encoder.finish()?.len())
}

fn show(figures: &[Figures]) {
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|f| {
            vec![
                f.signal.clone(),
                f.compression.clone(),
                f.megabytes_per_cpu_second.show(1),
                f.megabytes_per_user_second.show(1),
                f.records_per_cpu_second.show(0),
                f.prost_megabytes_per_second.show(0),
                f.ratio_to_prost.show(2),
                format!("{:.1}", f.disk_bytes_per_record),
                format!("{:.1}", f.zstd3_ndjson_bytes_per_record),
                format!("{:.2}", f.disk_bytes_per_record / f.zstd3_ndjson_bytes_per_record),
            ]
        })
        .collect();
    print_table(
        "Durable ingest per CPU-second, until in Parquet",
        &[
            "signal",
            "compression",
            "MB/CPU-s",
            "MB/CPU-s in user mode",
            "records/CPU-s",
            "prost decode MB/s",
            "ratio to prost",
            "disk B/record",
            "zstd -3 NDJSON B/record",
            "disk ratio",
        ],
        &rows,
    );
}

/// The same number points, per sample: Cupola over OTLP/gRPC, VictoriaMetrics over remote write.
async fn points_against_victoria(options: &Options, scratch: &Path) -> Result<()> {
    let config = GeneratorConfig {
        seed: options.seed,
        ..GeneratorConfig::default()
    };
    let load = Load::generate(
        Signal::Metrics,
        config,
        options.batch_items,
        options.megabytes << 20,
    );
    let batches: Vec<Batch> = load
        .batches
        .iter()
        .filter_map(victoria::number_points_only)
        .collect();
    let points: usize = batches.iter().map(Batch::items).sum();
    let requests: Vec<victoria::Request> = batches.iter().map(victoria::request).collect::<Result<_>>()?;
    let samples: usize = requests.iter().map(|request| request.samples).sum();
    let (mut ours, mut theirs) = (vec![], vec![]);
    for run in 0..options.runs {
        let directory = scratch.join(format!("points-{run}"));
        let server = Server::start(&directory, Some(&options.server_cpu), &[]).await?;
        let sink = load::sink(&server.addresses.grpc, Compression::None)?;
        load::send_all(sink.clone(), &batches).await?;
        server.flush().await?;
        let before = server.usage()?.cpu;
        load::send_all(sink, &batches).await?;
        server.flush().await?;
        ours.push(points as f64 / (server.usage()?.cpu - before).as_secs_f64());
        server.stop()?;
        let Some(victoria) = Victoria::start(&scratch.join(format!("vm-{run}")), &options.server_cpu).await?
        else {
            break;
        };
        send_to_victoria(&victoria, &requests).await?;
        victoria.flush().await?;
        let before = victoria.usage()?.cpu;
        send_to_victoria(&victoria, &requests).await?;
        victoria.flush().await?;
        theirs.push(samples as f64 / (victoria.usage()?.cpu - before).as_secs_f64());
        victoria.stop()?;
    }
    let (ours, theirs) = (Spread::of(&ours), Spread::of(&theirs));
    print_table(
        "Number points per CPU-second",
        &["points", "cupola", "victoria-metrics", "ratio of medians"],
        &[vec![
            points.to_string(),
            ours.show(0),
            theirs.show(0),
            format!("{:.2}", ours.median / theirs.median),
        ]],
    );
    keep("points", &(ours, theirs))?;
    Ok(())
}

async fn send_to_victoria(victoria: &Victoria, requests: &[victoria::Request]) -> Result<Duration> {
    use futures::StreamExt;
    let client = reqwest::Client::new();
    let started = Instant::now();
    let results: Vec<Result<()>> = futures::stream::iter(requests)
        .map(|request| victoria.write(&client, request))
        .buffer_unordered(load::IN_FLIGHT)
        .collect()
        .await;
    results.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(started.elapsed())
}
