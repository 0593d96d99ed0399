//! What there is for whoever looks into the process: the extension `zpages`. It starts before the store is
//! opened, so that a long recovery can be looked at too, and ends last.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use cupola_api::{PageServer, RunningPages, StartError};
use cupola_pipeline::graph::Pipelines;

use crate::components;
use crate::config::Settings;
use crate::failure::Failure;
use crate::own::{SpanSamples, Vitals};
use crate::server::start_failed;
use crate::zpages;

/// What of it runs.
pub(crate) struct Diagnostics {
    zpages: Option<RunningPages>,
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
                let started = PageServer::start("the extension zpages", pages.listen, router).await;
                Some(started.map_err(failed)?)
            }
        };
        Ok(Diagnostics { zpages, pipelines })
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
        if let Some(pages) = self.zpages {
            pages.shutdown().await;
        }
    }
}
