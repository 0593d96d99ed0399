//! Files of the configuration that change while the application runs: looked at by a thread of their own, put in force as far as
//! they can be, and told of where they cannot.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cupola_sdk_core::configuration::watch::Watched;
use cupola_sdk_core::log::Severity;
use cupola_sdk_core::{Sdk, Settings, suppress};
use tracing::metadata::LevelFilter;

use super::builder::Builder;
use super::{Cupola, say};
use crate::console::ConsoleHandle;
use crate::layer::{FilterHandle, Filters};

/// So often files are looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// Longest that a change waits for the backends.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Reloading {
    /// Dropped to end it.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Reloading {
    fn drop(&mut self) {
        drop(self.stop.take());
        // It is looking at a file or changing backends at most; the process does not wait for that to end.
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// What a change changes.
struct Target {
    sdk: Sdk,
    filter: FilterHandle,
    console: ConsoleHandle,
    builder: Arc<Builder>,
}

impl Cupola {
    /// Reads files again when they change, if there are any.
    pub(super) fn watch(&self, watched: Option<Watched>) {
        let Some(watched) = watched.filter(Watched::has_files) else {
            return;
        };
        let target = Target {
            sdk: self.sdk.clone(),
            filter: self.filter.clone(),
            console: self.console.clone(),
            builder: self.builder.clone(),
        };
        let (stop, stopped) = sync_channel::<()>(0);
        let look = move || {
            suppress::suppress_thread();
            let mut watched = watched;
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                target.look(&mut watched);
            }
        };
        match thread::Builder::new().name("cupola-files".to_owned()).spawn(look) {
            Ok(thread) => {
                let mut reloading = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
                *reloading = Some(Reloading {
                    stop: Some(stop),
                    thread: Some(thread),
                });
            }
            Err(error) => say(&format!(
                "files of the configuration are not read again when they change: {error}"
            )),
        }
    }
}

impl Target {
    fn look(&self, watched: &mut Watched) {
        match watched.changed() {
            None => {}
            Some(Ok(loaded)) => {
                for warning in &loaded.warnings {
                    say(&warning.render(None));
                }
                self.apply(self.builder.changed(loaded.settings));
            }
            Some(Err(error)) => say(&format!("the configuration stays as it was: {error}")),
        }
    }

    fn apply(&self, settings: Settings) {
        match self.builder.filters(&settings) {
            Ok(filters) => set_filters(&self.filter, filters),
            Err(error) => say(&error.to_string()),
        }
        let console = self.builder.make_console(settings.console.as_ref(), &self.sdk);
        self.console.set(console);
        for problem in self.sdk.apply(settings, APPLY_TIMEOUT) {
            say(&problem);
        }
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
