//! What must hold for any input of what reads files that somebody else may have written; for fuzzing alone.

use cupola_telemetry::{Batch, TenantId};

use crate::configuration::{Environment, load};
use crate::recorder::{Batcher, RecorderLimits};
use crate::resource::Resource;
use crate::spool::SegmentRecords;

/// A segment of the spool: no panic; no more is read than there is; batches of what is read are refused or are what they say.
pub fn segment(input: &[u8]) {
    let Some(records) = SegmentRecords::of(input.to_vec()) else {
        return;
    };
    let resource = Resource {
        message: Vec::new(),
        schema_url: String::new(),
    };
    let tenant = TenantId::default_tenant();
    let mut batcher = Batcher::new(records.signal(), RecorderLimits::default(), 0);
    let mut batches = Vec::new();
    let mut read = 0;
    let count = records.each(&mut |scope, record| {
        read += record.len();
        let _ = (scope.name(), scope.version());
        if batcher.add(scope, record) {
            batches.extend(batcher.finish(&resource, &tenant));
        }
    });
    assert!(read <= input.len(), "{read} bytes of {}", input.len());
    batches.extend(batcher.finish(&resource, &tenant));
    let items: usize = batches.iter().map(Batch::items).sum();
    assert_eq!(items as u64, count);
    for batch in batches {
        let _ = Batch::decode_protobuf(batch.signal(), tenant.clone(), batch.payload().clone());
    }
}

/// What variables hold that nobody may be shown.
const SECRET: &str = "hunter2-hunter2-hunter2";

/// `cupola.yaml`, a declarative file, or a file of variables, as the first byte says: no panic; what is wrong is told with a line
/// that there is, and shows no secret.
pub fn configuration(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if text.contains("hunter2") {
        return;
    }
    let (file, variables): (&str, &[(&str, &str)]) = match kind % 3 {
        0 => ("cupola.yaml", &[]),
        1 => ("otel.yaml", &[("OTEL_CONFIG_FILE", "otel.yaml")]),
        _ => (".env", &[]),
    };
    let read = text.to_owned();
    let environment = Environment::of(variables.iter().copied())
        .with("SECRET", SECRET)
        .with_files(move |path| match path.to_str() == Some(file) {
            true => Ok(read.clone()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        });
    let (problems, shown) = match load(&environment) {
        Ok(loaded) => (loaded.warnings, String::new()),
        Err(error) => (error.problems().to_vec(), error.to_string()),
    };
    // YAML ends lines at either character, and what is missing at the end is missing behind the last.
    let lines = text.matches(['\n', '\r']).count() + 2;
    assert!(!shown.contains(SECRET), "{shown}");
    for problem in &problems {
        assert!(problem.place.line <= lines, "{problem:?}");
        let told = problem.render(None);
        assert!(!told.contains(SECRET), "{told}");
    }
}
