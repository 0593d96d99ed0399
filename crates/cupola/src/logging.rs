//! Log lines on stderr, and the layer that keeps Cupola's own telemetry beside them. Set once per process.

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogSettings;
use crate::config::telemetry::LogEncoding;
use crate::failure::Failure;
use crate::own::{self, OwnLayer};

/// What the targets of Cupola's own crates begin with.
const OWN_CRATES: &str = "cupola";

/// Starts logging. With `own`, telemetry about Cupola itself goes there too.
pub(crate) fn start(settings: &LogSettings, own: Option<OwnLayer>) -> Result<(), Failure> {
    let filter = filter(&settings.filter)?;
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

/// Reads a filter. A level alone is about Cupola: what its libraries say below `info` is for whoever names them. A bare
/// word must be a level: the library takes any other for the name of a module, so that a slip such
/// as `inof` would silence everything.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, Failure> {
    let wrong = || Failure::usage(format!("`{text}` is not a log filter"));
    let example = "write for example info, debug, or cupola_store=debug,warn";
    let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    if let Some(word) = words.find(|word| !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err())
    {
        return Err(wrong().cause(format!("`{word}` is not a level")).hint(example));
    }
    let of_cupola = match text.trim().parse::<LevelFilter>() {
        Ok(level) if level > LevelFilter::INFO => Some(format!("info,{OWN_CRATES}={level}")),
        _ => None,
    };
    EnvFilter::try_new(of_cupola.as_deref().unwrap_or(text))
        .map_err(|error| wrong().caused_by(&error).hint(example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_about_cupola_and_not_about_its_libraries() {
        for (text, shown) in [
            ("DEBUG", "cupola=debug,info"),
            ("trace", "cupola=trace,info"),
            ("info", "info"),
            ("error", "error"),
            ("debug,cupola=debug", "cupola=debug,debug"),
            ("h2=debug,info", "h2=debug,info"),
        ] {
            assert_eq!(filter(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_filter_is_made_of_levels_and_of_modules_with_levels() {
        for good in [
            "info",
            "off",
            "WARN",
            "cupola_store=debug,warn",
            "cupola[append]=trace",
            "",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for wrong in ["inof", "verbose", "info,loud", "cupola=loud=1", "cupola=loud"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
