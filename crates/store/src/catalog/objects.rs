//! The catalog as numbered files of an object store: each commit creates the next number, which only one can.
//!
//! A checkpoint now and then holds everything, so that loading reads one file and the commits after it; older files are
//! removed then. `FORMAT.md` beside this file documents the names.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::manifest::{Delta, decode_checkpoint, encode_checkpoint};
use super::{Catalog, CatalogEdit, CatalogError, CatalogState};

/// Where manifests are, below the prefix of the store.
pub const MANIFEST_PREFIX: &str = "manifest";
const DELTA_SUFFIX: &str = ".json";
const CHECKPOINT_SUFFIX: &str = ".checkpoint.json";
/// Manifests read at the same time.
const READS_MAX: usize = 16;
/// Attempts to find out whether a commit whose answer got lost was made.
const COMMIT_ATTEMPTS_MAX: usize = 3;

/// A catalog in an object store.
#[derive(Debug)]
pub struct ObjectCatalog {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    checkpoint_every: u64,
}

/// The files there are, by version.
#[derive(Debug, Default)]
struct Listing {
    deltas: BTreeMap<u64, Path>,
    checkpoints: BTreeMap<u64, Path>,
}

impl ObjectCatalog {
    /// `checkpoint_every`: commits between checkpoints, at least 1.
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: &Path, checkpoint_every: u64) -> ObjectCatalog {
        ObjectCatalog {
            objects,
            prefix: prefix.clone().join(MANIFEST_PREFIX),
            checkpoint_every: checkpoint_every.max(1),
        }
    }

    fn path(&self, version: u64, suffix: &str) -> Path {
        self.prefix.clone().join(format!("{version:020}{suffix}"))
    }

    async fn list(&self) -> Result<Listing, CatalogError> {
        let mut listing = Listing::default();
        let mut found = self.objects.list(Some(&self.prefix));
        while let Some(object) = found
            .try_next()
            .await
            .map_err(|source| unavailable("list", &self.prefix, source))?
        {
            let name = object.location.filename().unwrap_or_default();
            if let Some(version) = number(name, CHECKPOINT_SUFFIX) {
                listing.checkpoints.insert(version, object.location);
            } else if let Some(version) = number(name, DELTA_SUFFIX) {
                listing.deltas.insert(version, object.location);
            }
        }
        Ok(listing)
    }

    async fn read(&self, path: &Path) -> Result<bytes::Bytes, CatalogError> {
        let read = async { self.objects.get(path).await?.bytes().await };
        read.await.map_err(|source| unavailable("read", path, source))
    }

    async fn read_delta(&self, path: Path) -> Result<Delta, CatalogError> {
        Delta::decode(path.as_ref(), &self.read(&path).await?)
    }

    async fn load_listed(&self, listing: &Listing) -> Result<CatalogState, CatalogError> {
        let mut state = match listing.checkpoints.last_key_value() {
            Some((_, path)) => decode_checkpoint(path.as_ref(), &self.read(path).await?)?,
            None => CatalogState::default(),
        };
        let newer = listing.deltas.range(state.version + 1..);
        let newer: Vec<Path> = newer.map(|(_, path)| path.clone()).collect();
        let mut deltas = futures::stream::iter(newer)
            .map(|path| self.read_delta(path))
            .buffered(READS_MAX);
        while let Some(delta) = deltas.try_next().await? {
            if delta.version != state.version + 1 {
                return Err(CatalogError::Corrupt {
                    path: self.path(state.version + 1, DELTA_SUFFIX).to_string(),
                    reason: format!("it is missing, although version {} is there", delta.version),
                });
            }
            state.apply(delta.version, &delta.edit);
        }
        Ok(state)
    }

    /// Creates the manifest; finds out whether it was created when the answer got lost.
    async fn create(&self, path: &Path, delta: &Delta) -> Result<(), CatalogError> {
        let data = bytes::Bytes::from(delta.encode());
        let mut attempts = 0;
        loop {
            attempts += 1;
            let payload = PutPayload::from(data.clone());
            match self.objects.put_opts(path, payload, PutMode::Create.into()).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    let found = Delta::decode(path.as_ref(), &self.read(path).await?)?;
                    if found.commit == delta.commit {
                        return Ok(());
                    }
                    return Err(CatalogError::Conflict {
                        expected: delta.version - 1,
                    });
                }
                Err(source) if attempts >= COMMIT_ATTEMPTS_MAX => {
                    return Err(unavailable("create", path, source));
                }
                Err(error) => tracing::warn!(%path, %error, attempts, "could not commit, trying again"),
            }
        }
    }

    /// A number is free again after a checkpoint made its file superfluous: whoever was away for so long must not use it.
    async fn refuse_stale(&self, path: &Path, version: u64) -> Result<(), CatalogError> {
        let listing = self.list().await?;
        if listing.checkpoints.range(version..).next().is_none() {
            return Ok(());
        }
        let removed = self.objects.delete(path).await;
        removed.map_err(|source| unavailable("remove", path, source))?;
        Err(CatalogError::Conflict {
            expected: version - 1,
        })
    }

    /// Writes everything into one file and removes what it makes superfluous. Failing harms nothing.
    async fn checkpoint(&self, state: &CatalogState) -> Result<(), CatalogError> {
        let path = self.path(state.version, CHECKPOINT_SUFFIX);
        self.objects
            .put(&path, encode_checkpoint(state).into())
            .await
            .map_err(|source| unavailable("write", &path, source))?;
        // The checkpoint before stays for a reader that has just listed it.
        let listing = self.list().await?;
        let Some((kept, _)) = listing.checkpoints.range(..state.version).next_back() else {
            return Ok(());
        };
        let old_deltas = listing.deltas.range(..=*kept);
        let old_checkpoints = listing.checkpoints.range(..*kept);
        // Oldest first: what remains after a crash is still a gapless end.
        for (_, path) in old_deltas.chain(old_checkpoints) {
            self.objects
                .delete(path)
                .await
                .map_err(|source| unavailable("remove", path, source))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Catalog for ObjectCatalog {
    async fn load(&self) -> Result<CatalogState, CatalogError> {
        let listing = self.list().await?;
        match self.load_listed(&listing).await {
            // A checkpoint was made and what we listed is gone: the second listing knows.
            Err(CatalogError::Unavailable {
                source: object_store::Error::NotFound { .. },
                ..
            }) => {
                let listing = self.list().await?;
                self.load_listed(&listing).await
            }
            loaded => loaded,
        }
    }

    async fn commit(&self, state: &CatalogState, edit: &CatalogEdit) -> Result<CatalogState, CatalogError> {
        let version = state.version + 1;
        let delta = Delta::new(version, edit.clone());
        let path = self.path(version, DELTA_SUFFIX);
        self.create(&path, &delta).await?;
        self.refuse_stale(&path, version).await?;
        let mut next = state.clone();
        next.apply(version, edit);
        if version.is_multiple_of(self.checkpoint_every)
            && let Err(error) = self.checkpoint(&next).await
        {
            tracing::warn!(version, %error, "could not write a catalog checkpoint, the next one will do");
        }
        Ok(next)
    }
}

/// Whether a file of the prefix has a name of the catalog.
pub(crate) fn is_manifest(name: &str) -> bool {
    [CHECKPOINT_SUFFIX, DELTA_SUFFIX]
        .iter()
        .any(|suffix| number(name, suffix).is_some())
}

fn number(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

fn unavailable(action: &'static str, path: &Path, source: object_store::Error) -> CatalogError {
    CatalogError::Unavailable {
        action,
        path: path.to_string(),
        source,
    }
}
