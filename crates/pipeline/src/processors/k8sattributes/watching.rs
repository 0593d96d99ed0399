//! Keeps what is known of a cluster as the API server says it: one task a kind, which lists, then watches from there.
//!
//! A list becomes known page by page, and only a whole one says what is gone. A watch that ends goes on from the last
//! version that it told; a version that the API server no longer has (410) is a new list. Failures are tried again after a
//! while that doubles, and what is known meanwhile stays.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::api::{Api, ApiError, Resource};
use super::cluster::Cluster;
use super::objects::{Failure, List, ListMeta, Object};

/// Waits between attempts.
const BACKOFF_FIRST: Duration = Duration::from_millis(800);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A watch that held for this long failed by chance.
const HELD: Duration = Duration::from_secs(60);
/// How long pods wait for what else is told of them. As in the Collector.
const OTHERS_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Watcher {
    pub(super) api: Arc<Api>,
    pub(super) resource: Resource,
    pub(super) cluster: Arc<RwLock<Cluster>>,
    pub(super) failures: Arc<AtomicU64>,
    /// Whether a list has been read.
    pub(super) is_known: watch::Sender<bool>,
}

/// Waits until all of these kinds are known, and not for ever: one may be forbidden.
pub(super) async fn all_known(mut kinds: Vec<watch::Receiver<bool>>) {
    let all = async {
        for known in &mut kinds {
            // Its watcher has ended if this fails, with the processor.
            let _ = known.wait_for(|known| *known).await;
        }
    };
    if tokio::time::timeout(OTHERS_TIMEOUT, all).await.is_err() {
        tracing::warn!(waited = ?OTHERS_TIMEOUT, "pods become known before all that is told of them");
    }
}

impl Watcher {
    pub(super) async fn run(self) {
        let mut backoff = BACKOFF_FIRST;
        let mut version: Option<String> = None;
        loop {
            let begun = Instant::now();
            let error = match self.follow(&mut version).await {
                Ok(()) => {
                    backoff = BACKOFF_FIRST;
                    // Between the two of us something may end each watch at once.
                    if begun.elapsed() < BACKOFF_FIRST {
                        tokio::time::sleep(BACKOFF_FIRST).await;
                    }
                    continue;
                }
                Err(error) => error,
            };
            if matches!(error, ApiError::Expired) {
                version = None;
            } else {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(kind = ?self.resource.kind, %error, "cannot watch the cluster; what is known stays");
            }
            if begun.elapsed() >= HELD {
                backoff = BACKOFF_FIRST;
            }
            tokio::time::sleep(backoff).await;
            backoff = backoff.saturating_mul(2).min(BACKOFF_MAX);
        }
    }

    /// Lists if no version is known, and watches until the watch ends.
    async fn follow(&self, version: &mut Option<String>) -> Result<(), ApiError> {
        let from = match version {
            Some(from) => from,
            None => version.insert(self.list().await?),
        };
        let mut watch = self.api.watch(&self.resource, from).await?;
        while let Some(event) = watch.next().await? {
            if event.kind == "ERROR" {
                let failure: Failure = serde_json::from_value(event.object).unwrap_or_default();
                return Err(match failure.code {
                    410 => ApiError::Expired,
                    code => ApiError::Refused {
                        code,
                        message: failure.message,
                    },
                });
            }
            let object: Object = serde_json::from_value(event.object)
                .map_err(|error| ApiError::Request(format!("an object that cannot be read: {error}")))?;
            if !object.metadata.resource_version.is_empty() {
                from.clone_from(&object.metadata.resource_version);
            }
            let mut cluster = self.cluster.write();
            match event.kind.as_str() {
                "ADDED" | "MODIFIED" => drop(cluster.put(self.resource.kind, object)),
                "DELETED" => cluster.delete(self.resource.kind, &object),
                // BOOKMARK: the version alone.
                _ => {}
            }
        }
        Ok(())
    }

    /// Everything of the kind. The version of the list.
    async fn list(&self) -> Result<String, ApiError> {
        let mut there = HashSet::new();
        let mut next = String::new();
        loop {
            let page = self.api.page(&self.resource, &next).await?;
            let meta;
            (meta, there) = self.put_page(page, there).await?;
            if meta.r#continue.is_empty() {
                self.cluster.write().keep(self.resource.kind, &there);
                self.is_known.send_replace(true);
                return Ok(meta.resource_version);
            }
            next = meta.r#continue;
        }
    }

    /// Adds to `there` what is known of the page now. A page has megabytes, which do not hold up the threads that serve
    /// connections.
    async fn put_page(
        &self,
        page: impl AsRef<[u8]> + Send + 'static,
        mut there: HashSet<String>,
    ) -> Result<(ListMeta, HashSet<String>), ApiError> {
        let (cluster, kind) = (self.cluster.clone(), self.resource.kind);
        let putting = tokio::task::spawn_blocking(move || {
            let list: List = serde_json::from_slice(page.as_ref())
                .map_err(|error| ApiError::Request(format!("a list that cannot be read: {error}")))?;
            let mut cluster = cluster.write();
            there.extend(
                list.items
                    .into_iter()
                    .filter_map(|object| cluster.put(kind, object)),
            );
            Ok((list.metadata, there))
        });
        let put = putting.await;
        put.unwrap_or_else(|error| {
            Err(ApiError::Request(format!(
                "a list that cannot be put in: {error}"
            )))
        })
    }
}
