//! Files of the configuration that change while the application runs: looked at by the thread that exports, put in force as far as
//! they can be, and told of where they cannot.

use std::sync::Arc;

use cupola_sdk_core::Settings;
use cupola_sdk_core::configuration::watch::Watched;
use cupola_sdk_core::log::Severity;
use tracing::metadata::LevelFilter;

use super::builder::Builder;
use super::{Cupola, say};
use crate::layer::{FilterHandle, Filters};

impl Cupola {
    /// Reads files again when they change, if there are any.
    pub(super) fn watch(&self, watched: Option<Watched>) {
        let Some(watched) = watched.filter(Watched::has_files) else {
            return;
        };
        let (sdk, filter, console) = (self.sdk.clone(), self.filter.clone(), self.console.clone());
        let builder: Arc<Builder> = self.builder.clone();
        self.sdk.watch(watched, move |settings: &mut Settings| {
            *settings = builder.changed(std::mem::take(settings));
            match builder.filters(settings) {
                Ok(filters) => set_filters(&filter, filters),
                Err(error) => say(&error.to_string()),
            }
            console.set(builder.make_console(settings.console.as_ref(), &sdk));
        });
    }
}

/// Puts filters in force, for records of the crate `log` too.
pub(super) fn set_filters(handle: &FilterHandle, filters: Filters) {
    handle.set(filters);
    log::set_max_level(log_level(handle));
}

/// The most verbose level of records of the crate `log` that somebody wants.
pub(super) fn log_level(handle: &FilterHandle) -> log::LevelFilter {
    match handle.get().most_verbose_log() {
        LevelFilter::OFF => log::LevelFilter::Off,
        LevelFilter::ERROR => log::LevelFilter::Error,
        LevelFilter::WARN => log::LevelFilter::Warn,
        LevelFilter::INFO => log::LevelFilter::Info,
        LevelFilter::DEBUG => log::LevelFilter::Debug,
        LevelFilter::TRACE => log::LevelFilter::Trace,
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
