//! What a back-end with a level is to be given.

use cupola_telemetry::{Batch, Signal};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;

/// The log records of batches that are at least so severe, and everything that is no log record.
pub(crate) fn at_least(batches: &[Batch], severity_number: i32) -> Vec<Batch> {
    batches
        .iter()
        .map(|batch| filtered(batch, severity_number))
        .collect()
}

fn filtered(batch: &Batch, severity_number: i32) -> Batch {
    if batch.signal() != Signal::Logs {
        return batch.clone();
    }
    let mut request = ExportLogsServiceRequest::decode(batch.payload().clone()).unwrap();
    let scopes = request
        .resource_logs
        .iter_mut()
        .flat_map(|resource| &mut resource.scope_logs);
    let mut items = 0;
    for scope in scopes {
        scope
            .log_records
            .retain(|record| record.severity_number >= severity_number);
        items += scope.log_records.len();
    }
    let payload = request.encode_to_vec().into();
    Batch::from_canonical(Signal::Logs, batch.tenant().clone(), payload, items)
}

/// The batches of one signal.
pub(crate) fn of(signal: Signal, batches: &[Batch]) -> Vec<Batch> {
    batches
        .iter()
        .filter(|batch| batch.signal() == signal)
        .cloned()
        .collect()
}
