//! What Cupola costs when nothing happens and when too much does: memory, time until ready, size of the binary.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use cupola_export::otlp::Compression;
use cupola_generator::GeneratorConfig;
use cupola_telemetry::Signal;
use serde::Serialize;

use crate::copies;
use crate::load::{self, Load};
use crate::report::{Spread, keep, print_table};
use crate::server::{Server, bytes_below, cupola_binary};

#[derive(Args)]
pub(crate) struct Options {
    /// The ceiling that the overload has to respect.
    #[arg(long, default_value = "512MiB")]
    memory_limit: String,
    /// How long the overload lasts.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// A filled store (for example that of `bench query`), to time its opening.
    #[arg(long)]
    filled: Option<PathBuf>,
    /// Times the segments of that store more, given to other tenants.
    #[arg(long, default_value_t = 7)]
    copies: usize,
}

#[derive(Serialize)]
struct Figures {
    binary_bytes: u64,
    idle_resident_bytes: u64,
    overload_resident_bytes_max: u64,
    overload_refusals: u64,
    overload_megabytes_per_second: f64,
    ready_empty_seconds: Spread,
    ready_filled_seconds: Option<Spread>,
    filled_bytes: Option<u64>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let scratch = tempfile::tempdir_in(".")?;
    let mut ready = Vec::new();
    let mut idle = 0;
    for run in 0..options.runs {
        let server = Server::start(&scratch.path().join(format!("empty-{run}")), None, &[]).await?;
        ready.push(server.ready_after.as_secs_f64());
        idle = server.usage()?.resident_bytes;
        server.stop()?;
    }
    let (peak, refused, speed) = overload(&options, &scratch.path().join("overload")).await?;
    let (mut filled, mut filled_bytes) = (None, None);
    if let Some(filled_store) = &options.filled {
        let directory = &scratch.path().join("filled");
        copies::multiply(filled_store, directory, options.copies)?;
        let mut seconds = Vec::new();
        for _ in 0..options.runs {
            let server = Server::start(directory, None, &[]).await?;
            seconds.push(server.ready_after.as_secs_f64());
            server.stop()?;
        }
        filled = Some(Spread::of(&seconds));
        filled_bytes = Some(bytes_below(directory, &|_| true)?);
    }
    let figures = Figures {
        binary_bytes: cupola_binary()?.metadata()?.len(),
        idle_resident_bytes: idle,
        overload_resident_bytes_max: peak,
        overload_refusals: refused,
        overload_megabytes_per_second: speed,
        ready_empty_seconds: Spread::of(&ready),
        ready_filled_seconds: filled,
        filled_bytes,
    };
    show(&options, &figures);
    keep("footprint", &figures)?;
    Ok(())
}

/// As much as this machine can send, from as many connections as three clients: far above what one processor takes.
async fn overload(options: &Options, directory: &std::path::Path) -> Result<(u64, u64, f64)> {
    let load = Load::generate(Signal::Logs, GeneratorConfig::default(), 4_000, 64 << 20);
    let server = Server::start(directory, Some("1"), &["--memory-limit", &options.memory_limit]).await?;
    let deadline = Instant::now() + Duration::from_secs(options.seconds);
    let (mut refused, mut bytes) = (0, 0_u64);
    let started = Instant::now();
    while Instant::now() < deadline {
        let clients = (0..3)
            .map(|_| load::sink(&server.addresses.grpc, Compression::None))
            .collect::<Result<Vec<_>>>()?;
        let all = futures::future::join_all(
            clients
                .into_iter()
                .map(|sink| load::send_all(sink, &load.batches)),
        )
        .await;
        for sent in all {
            refused += sent?.refused;
            bytes += load.bytes as u64;
        }
    }
    let speed = bytes as f64 / 1e6 / started.elapsed().as_secs_f64();
    let peak = server.usage()?.resident_bytes_max;
    server.stop()?;
    Ok((peak, refused, speed))
}

fn show(options: &Options, figures: &Figures) {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
    let mut rows = vec![
        vec!["binary".to_owned(), mib(figures.binary_bytes)],
        vec!["resident, idle".to_owned(), mib(figures.idle_resident_bytes)],
        vec![
            format!("resident at most, overload, limit {}", options.memory_limit),
            mib(figures.overload_resident_bytes_max),
        ],
        vec![
            "refusals during the overload (all sent again)".to_owned(),
            figures.overload_refusals.to_string(),
        ],
        vec![
            "taken during the overload".to_owned(),
            format!("{:.1} MB/s", figures.overload_megabytes_per_second),
        ],
        vec![
            "start to ready, empty, seconds".to_owned(),
            figures.ready_empty_seconds.show(3),
        ],
    ];
    if let (Some(seconds), Some(bytes)) = (&figures.ready_filled_seconds, figures.filled_bytes) {
        rows.push(vec![
            format!("start to ready, {}, seconds", mib(bytes)),
            seconds.show(3),
        ]);
    }
    print_table("Footprint", &["what", "figure"], &rows);
}
