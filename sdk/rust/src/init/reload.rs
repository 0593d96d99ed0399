//! Files of the configuration that change while the application runs: looked at by the thread that exports, put in force as far as
//! they can be, and told of where they cannot.

use std::sync::Arc;

use cupola_sdk_core::configuration::watch::Watched;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::{Settings, say};
use tracing::metadata::LevelFilter;

use super::Cupola;
use super::builder::Builder;

impl Cupola {
    /// Reads files again when they change, if there are any.
    pub(super) fn watch(&self, watched: Option<Watched>) {
        let Some(watched) = watched.filter(Watched::has_files) else {
            return;
        };
        let (filter, console) = (self.filter.clone(), self.console.clone());
        let builder: Arc<Builder> = self.builder.clone();
        self.sdk.watch(watched, move |settings: &mut Settings| {
            *settings = builder.changed(std::mem::take(settings));
            match builder.filters(settings) {
                Ok(filters) => filter.set(filters),
                Err(error) => say::warning(&error),
            }
            console.set(builder.make_console(settings.console.as_ref()));
        });
    }
}

/// The level of `tracing` that lets through what is at least as severe.
pub(super) fn level_of(severity: Severity) -> LevelFilter {
    match severity.number() {
        ..=4 => LevelFilter::TRACE,
        5..=8 => LevelFilter::DEBUG,
        9..=12 => LevelFilter::INFO,
        13..=16 => LevelFilter::WARN,
        17..=20 => LevelFilter::ERROR,
        // There is none above ERROR.
        _ => LevelFilter::OFF,
    }
}
