//! Log lines on stderr, and the layer that keeps Cupola's own telemetry beside them. Set once per process.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogSettings;
use crate::config::file::LogEncoding;
use crate::failure::Failure;
use crate::own::{self, OwnLayer};

/// Starts logging. With `own`, telemetry about Cupola itself goes there too.
pub(crate) fn start(settings: &LogSettings, own: Option<OwnLayer>) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(|error| {
        Failure::usage(format!("`{}` is not a log filter", settings.filter))
            .caused_by(&error)
            .hint("write for example info, debug, or cupola_store=debug,warn")
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.encoding {
        LogEncoding::Console => lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_filter(filter)
            .boxed(),
        LogEncoding::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let own = own.map(|layer| layer.with_filter(filter_fn(own::is_kept)));
    // A second start in one process (a demo in a test) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(lines).with(own).try_init();
    Ok(())
}
