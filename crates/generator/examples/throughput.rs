//! Prints how fast the generator is and how large its items are: `cargo run --release --example throughput`.

use std::time::Instant;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::Signal;

const BATCH_ITEMS: usize = 1_000;
const BATCHES: usize = 400;

fn main() {
    let mut generator = Generator::new(GeneratorConfig::default());
    for signal in [Signal::Logs, Signal::Traces, Signal::Metrics] {
        let started = Instant::now();
        let bytes: usize = (0..BATCHES)
            .map(|_| generator.batch(signal, BATCH_ITEMS).payload().len())
            .sum();
        let seconds = started.elapsed().as_secs_f64();
        let items = BATCHES * BATCH_ITEMS;
        println!(
            "{signal:?}: {:.0} bytes an item, {:.0} MB/s, {:.0} items/s",
            bytes as f64 / items as f64,
            bytes as f64 / seconds / 1e6,
            items as f64 / seconds
        );
    }
}
