//! Processors read the Collector's configuration and do what it says.

mod actions;
mod filter;
mod groupbyattrs;
mod k8sattributes;
mod probabilistic_sampler;
mod redaction;
mod resourcedetection;
mod tail_sampling;
mod temporality;
mod tenant;
mod transform;

use std::time::Duration;

use cupola_generator::{Generator, GeneratorConfig};
use cupola_telemetry::{Batch, Signal, TenantId};

/// Generated telemetry of one tenant.
pub(crate) fn generated(signal: Signal, seed: u64, items: usize) -> Batch {
    let config = GeneratorConfig {
        seed,
        ..GeneratorConfig::default()
    }
    .spread(items as u64, Duration::from_secs(60));
    Generator::new(config).batch(signal, items)
}

/// Fails if the payload is not canonical, or does not have as many items as the batch says.
#[track_caller]
pub(crate) fn check_canonical(batch: &Batch) {
    let again =
        Batch::decode_protobuf(batch.signal(), batch.tenant().clone(), batch.payload().clone()).unwrap();
    assert_eq!(
        again.payload().as_ptr(),
        batch.payload().as_ptr(),
        "not canonical"
    );
    assert_eq!(again.items(), batch.items());
}

/// A batch of encoded structs.
pub(crate) fn encoded(signal: Signal, request: &impl prost::Message) -> Batch {
    Batch::decode_protobuf(signal, TenantId::default_tenant(), request.encode_to_vec().into()).unwrap()
}

/// Runs `test` with a clock that goes on whenever nothing else can.
pub(crate) fn with_held_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test)
}
