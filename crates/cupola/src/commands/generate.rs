//! `cupola generate`: seeded telemetry to an OTLP endpoint, to files, or straight into a data directory.

mod destination;
mod refused;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::{Signal, time};

use crate::cli::GenerateArguments;
use crate::config::LogFlags;
use crate::failure::Failure;
use crate::own::now_unix_nano;
use destination::Destination;

/// A run that would take longer is a mistake.
const RUN_TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

pub(crate) async fn run(
    arguments: &GenerateArguments,
    log: &LogFlags,
    files: &[PathBuf],
) -> Result<(), Failure> {
    if arguments.batch == 0 || arguments.signals.is_empty() {
        return Err(Failure::usage(
            "there is nothing to make: --batch and --signals must not be empty",
        ));
    }
    let mut generator = Generator::new(config(arguments)?);
    let mut destination = Destination::open(arguments, log, files).await?;
    let started = Instant::now();
    let made = make(arguments, &mut generator, &mut destination).await;
    // What was written is closed properly even if not all of it was.
    let closed = destination.close().await;
    let made = made?;
    closed?;
    made.report(started.elapsed());
    Ok(())
}

/// What was made.
#[derive(Default)]
struct Made {
    items: u64,
    bytes: u64,
}

impl Made {
    fn report(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        eprintln!(
            "{} items, {:.1} MB of OTLP in {seconds:.1} s ({:.0} items/s, {:.1} MB/s)",
            self.items,
            self.bytes as f64 / 1e6,
            self.items as f64 / seconds,
            self.bytes as f64 / 1e6 / seconds
        );
    }
}

/// Signals take turns, batch by batch, so that what belongs together arrives together.
async fn make(
    arguments: &GenerateArguments,
    generator: &mut Generator,
    destination: &mut Destination,
) -> Result<Made, Failure> {
    let mut made = Made::default();
    let started = tokio::time::Instant::now();
    let mut of_each = 0;
    while of_each < arguments.items {
        let count = arguments
            .batch
            .min(usize::try_from(arguments.items - of_each).unwrap_or(arguments.batch));
        for signal in &arguments.signals {
            let batch = generator.batch(*signal, count);
            made.items += batch.items() as u64;
            made.bytes += batch.payload().len() as u64;
            destination.take(batch).await?;
        }
        of_each += count as u64;
        if let Some(rate) = arguments.rate {
            tokio::time::sleep_until(started + Duration::from_secs_f64(of_each as f64 / rate)).await;
        }
    }
    Ok(made)
}

fn config(arguments: &GenerateArguments) -> Result<GeneratorConfig, Failure> {
    let now = now_unix_nano();
    let given = arguments.start.as_deref().map(|text| {
        time::from_rfc3339(text).ok_or_else(|| {
            Failure::usage(format!("`{text}` is not a time")).hint("write for example 2026-01-31T12:00:00Z")
        })
    });
    let given = given.transpose()?;
    // Made at a rate, items are of the moment in which they are made.
    let span = match arguments.rate {
        Some(rate) => run_time(arguments.items, rate)?,
        None => arguments.span.0,
    };
    let span_nanos = u64::try_from(span.as_nanos()).unwrap_or(now);
    let start = given.unwrap_or(if arguments.rate.is_some() {
        now
    } else {
        now.saturating_sub(span_nanos)
    });
    let mut config = GeneratorConfig {
        seed: arguments.seed,
        tenants: arguments.tenants.clone(),
        services: arguments.services,
        pods: arguments.pods,
        users: arguments.users,
        start_unix_nano: start,
        ..GeneratorConfig::default()
    }
    .spread(arguments.items, span);
    if arguments.signals.contains(&Signal::Metrics) {
        config.metric_interval = metric_interval(&config, arguments.items, span);
    }
    Ok(config)
}

/// How long making so many items at this rate takes.
fn run_time(items: u64, rate: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(items as f64 / rate)
        .ok()
        .filter(|time| *time <= RUN_TIME_MAX)
        .ok_or_else(|| {
            Failure::usage(format!(
                "{items} items at {rate} in a second take more than a year"
            ))
            .hint("give fewer --items or a higher --rate")
        })
}

/// The interval at which as many points as asked for cover the span.
fn metric_interval(config: &GeneratorConfig, points: u64, span: Duration) -> Duration {
    let series = Generator::new(config.clone()).series() * config.tenants.len();
    let sweeps = (points as f64 / series.max(1) as f64).max(1.0);
    span.div_f64(sweeps).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_an_end() {
        assert_eq!(run_time(100, 50.0).unwrap(), Duration::from_secs(2));
        assert!(run_time(100_000, 1e-18).is_err());
        assert!(run_time(u64::MAX, 1e-300).is_err());
    }
}
