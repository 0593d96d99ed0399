//! What there is for whoever looks into the process: the extensions `zpages` and `pprof`. Both start before the store is
//! opened, so that a long recovery can be looked at too, and end last.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cupola_api::{PageServer, RunningPages, StartError};
use cupola_pipeline::graph::Pipelines;

use crate::components;
use crate::config::Settings;
use crate::failure::Failure;
use crate::own::{SpanSamples, Vitals};
use crate::pprof::CpuProfile;
use crate::server::start_failed;
use crate::{pprof, zpages};

/// What of it runs.
pub(crate) struct Diagnostics {
    zpages: Option<RunningPages>,
    pprof: Option<RunningPages>,
    saved: Option<SavedProfile>,
    pipelines: Arc<OnceLock<Arc<Pipelines>>>,
}

impl Diagnostics {
    /// Starts what the settings have. `samples` are there where there are pages to show them.
    pub(crate) async fn start(
        settings: &Settings,
        samples: Option<Arc<SpanSamples>>,
        vitals: &Arc<Vitals>,
    ) -> Result<Diagnostics, Failure> {
        let failed = |error: StartError| start_failed(&error, settings);

        let hosts = &settings.api.allowed_hosts;
        let pipelines = Arc::<OnceLock<_>>::default();
        let zpages = match &settings.zpages {
            None => None,
            Some(pages) => {
                let sources = zpages::Sources {
                    samples: samples.unwrap_or_default(),
                    vitals: vitals.clone(),
                    masked: cupola_config::masked(&settings.tree, &components::masking(&settings.tree)),
                    extensions: settings.extensions.clone(),
                    pipelines: pipelines.clone(),
                    expvar: pages.expvar,
                };
                let router = zpages::router(sources);
                let started = PageServer::start("the extension zpages", pages.listen, hosts, router).await;
                Some(started.map_err(failed)?)
            }
        };
        let (mut pprof, mut saved) = (None, None);
        if let Some(profiles) = &settings.pprof {
            pprof::heap::start();
            let router = pprof::router();
            let started = PageServer::start("the extension pprof", profiles.listen, hosts, router).await;
            pprof = Some(started.map_err(failed)?);
            saved = match &profiles.save_to_file {
                Some(path) => Some(SavedProfile::start(path)?),
                None => None,
            };
        }
        Ok(Diagnostics {
            zpages,
            pprof,
            saved,
            pipelines,
        })
    }

    /// Where the profiles are.
    pub(crate) fn pprof(&self) -> Option<SocketAddr> {
        self.pprof.as_ref().map(|profiles| profiles.addr)
    }

    /// Where the pages are.
    pub(crate) fn zpages(&self) -> Option<SocketAddr> {
        self.zpages.as_ref().map(|pages| pages.addr)
    }

    /// Lets the pages show what runs. Counts the first time.
    pub(crate) fn set_pipelines(&self, pipelines: Arc<Pipelines>) {
        let _ = self.pipelines.set(pipelines);
    }

    pub(crate) async fn shutdown(self) {
        for pages in [self.zpages, self.pprof].into_iter().flatten() {
            pages.shutdown().await;
        }
        if let Some(saved) = self.saved {
            saved.finish().await;
        }
    }
}

/// The processor profile of the whole run, written at its end.
struct SavedProfile {
    path: PathBuf,
    file: File,
    profile: CpuProfile,
}

impl SavedProfile {
    /// Makes the file first: that it cannot be written must not be found out at the end.
    fn start(path: &Path) -> Result<SavedProfile, Failure> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::new("the extension pprof cannot take the profile for `save_to_file`").caused_by(error)
        };
        let file = File::create(path).map_err(|error| {
            Failure::new(format!("cannot write the profile {}", path.display()))
                .caused_by(&error)
                .hint("give another file with extensions.pprof.save_to_file")
        })?;
        Ok(SavedProfile {
            path: path.to_owned(),
            file,
            profile: CpuProfile::start().map_err(|error| failed(&error))?,
        })
    }

    async fn finish(self) {
        let SavedProfile {
            path,
            mut file,
            profile,
        } = self;
        let write = move || file.write_all(&profile.finish()?);
        let written = tokio::task::spawn_blocking(write).await;
        match written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(()) => tracing::info!(path = %path.display(), "processor profile written"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "processor profile not written"),
        }
    }
}
