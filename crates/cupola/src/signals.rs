//! Being asked to stop: SIGTERM, SIGINT. The second time means at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{EXIT_INTERRUPTED, Failure};

/// Listens from the moment it is made, so that no signal is missed while something starts.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new("cannot listen for signals").caused_by(&error);
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// Waits until the process is asked to stop; gives the signal's name.
    pub(crate) async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Whoever asks a second time is not kept waiting, not even by a terminal that takes no more output.
    pub(crate) fn exit_on_second() -> Result<(), Failure> {
        let mut signals = Self::listen()?;
        tokio::spawn(async move {
            signals.asked().await;
            signals.asked().await;
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        });
        Ok(())
    }

    /// From now on another signal ends the process at once, whatever is still under way.
    pub(crate) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            let name = self.asked().await;
            eprintln!("{name} again: stopping at once; acknowledged data is safe in the write-ahead log");
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        });
    }
}
