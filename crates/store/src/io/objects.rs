//! An object store in a directory that loses nothing it has said to have stored: `object_store`'s own
//! `LocalFileSystem` (0.13) syncs neither files nor directories.
//!
//! Refuses: multipart uploads, conditional updates and copies; the store needs none of them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::RwLock;

use super::{FileSystem, Metadata};

const STORE: &str = "local";
/// Where files are written before they get their name.
pub(crate) const TEMPORARY_DIRECTORY: &str = "tmp";

/// Whether a file in that directory has a name as `put` gives.
pub(crate) fn is_temporary(name: &str) -> bool {
    let id = uuid::Uuid::try_parse(name).ok();
    id.is_some_and(|id| id.get_version_num() == 7 && id.to_string() == name)
}

/// Objects as files below a directory.
#[derive(Debug, Clone)]
pub struct DurableObjects {
    root: Arc<PathBuf>,
    file_system: Arc<dyn FileSystem>,
    /// Shared while a file gets its name in a directory, alone while empty directories are removed.
    naming: Arc<RwLock<()>>,
}

impl DurableObjects {
    pub fn new(root: impl Into<PathBuf>, file_system: Arc<dyn FileSystem>) -> DurableObjects {
        DurableObjects {
            root: Arc::new(root.into()),
            file_system,
            naming: Arc::default(),
        }
    }

    /// The file of an object.
    pub fn file_path(&self, location: &Path) -> PathBuf {
        let mut path = self.root.as_ref().clone();
        path.extend(location.as_ref().split('/').filter(|part| !part.is_empty()));
        path
    }

    async fn run<T: Send + 'static>(
        &self,
        location: &Path,
        work: impl FnOnce(&DurableObjects, &FilePath) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (objects, path) = (self.clone(), self.file_path(location));
        let done = tokio::task::spawn_blocking(move || work(&objects, &path)).await?;
        done.map_err(|error| object_error(location, error))
    }

    fn put(&self, path: &FilePath, payload: &PutPayload, create: bool) -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let temporary_directory = self.root.join(TEMPORARY_DIRECTORY);
        self.file_system.create_directories(&temporary_directory)?;
        let temporary = temporary_directory.join(uuid::Uuid::now_v7().to_string());
        let published = self
            .stage(&temporary, payload)
            .and_then(|()| self.publish(&temporary, path, parent, create));
        if create || published.is_err() {
            let _ = self.file_system.remove(&temporary);
        }
        published
    }

    fn stage(&self, temporary: &FilePath, payload: &PutPayload) -> io::Result<()> {
        let mut file = self.file_system.create(temporary)?;
        for part in payload {
            file.write_all(part)?;
        }
        file.sync()
    }

    fn publish(
        &self,
        temporary: &FilePath,
        path: &FilePath,
        parent: &FilePath,
        create: bool,
    ) -> io::Result<()> {
        let _naming = self.naming.read();
        self.file_system.create_directories(parent)?;
        let named = match create {
            true => self.file_system.link(temporary, path),
            false => self.file_system.rename(temporary, path),
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Whoever is told that the object exists may rely on it.
                self.file_system.sync_directory(parent)?;
                Err(error)
            }
            Err(error) => Err(error),
            Ok(()) => self.file_system.sync_directory(parent),
        }
    }

    fn remove(&self, path: &FilePath) -> io::Result<()> {
        match self.file_system.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let _naming = self.naming.write();
        // Fails when the directory holds other files.
        let mut directory = path.parent();
        while let Some(parent) = directory.filter(|parent| *parent != self.root.as_path()) {
            if self.file_system.remove_directory(parent).is_err() {
                break;
            }
            directory = parent.parent();
        }
        Ok(())
    }

    /// All files below `path`, deep first; a missing directory has none.
    fn walk(&self, path: &FilePath, location: &Path, found: &mut Vec<ObjectMeta>) -> io::Result<()> {
        let entries = match self.file_system.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => listed?,
        };
        for entry in entries {
            let Ok(child) = Path::parse(format!("{location}/{}", entry.name)) else {
                continue;
            };
            let child_path = path.join(&entry.name);
            if entry.is_directory {
                self.walk(&child_path, &child, found)?;
                continue;
            }
            match self.file_system.metadata(&child_path) {
                Ok(metadata) => found.push(object_meta(child, &metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn object_meta(location: Path, metadata: &Metadata) -> ObjectMeta {
    let modified = chrono::DateTime::<chrono::Utc>::from(metadata.modified);
    ObjectMeta {
        location,
        last_modified: modified,
        size: metadata.bytes,
        e_tag: Some(format!(
            "{:x}-{:x}",
            modified.timestamp_nanos_opt().unwrap_or_default(),
            metadata.bytes
        )),
        version: None,
    }
}

fn object_error(location: &Path, error: io::Error) -> Error {
    let path = location.to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound {
            path,
            source: error.into(),
        },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: error.into(),
        },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied {
            path,
            source: error.into(),
        },
        _ => Error::Generic {
            store: STORE,
            source: error.into(),
        },
    }
}

fn unsupported(operation: &str) -> Error {
    Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: STORE.to_owned(),
    }
}

impl fmt::Display for DurableObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE}({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create = match options.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(unsupported("conditional update")),
        };
        self.run(location, move |objects, path| objects.put(path, &payload, create))
            .await?;
        Ok(PutResult {
            e_tag: None,
            version: None,
        })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(unsupported("multipart upload"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let object = location.clone();
        let (metadata, file) = self
            .run(location, |objects, path| {
                let metadata = objects.file_system.metadata(path)?;
                if metadata.is_directory {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Ok((metadata, objects.file_system.open(path)?))
            })
            .await?;
        let meta = object_meta(object, &metadata);
        options.check_preconditions(&meta)?;
        let range = match options.range {
            Some(range) => range.as_range(meta.size).map_err(|error| Error::Generic {
                store: STORE,
                source: error.into(),
            })?,
            None => 0..meta.size,
        };
        let payload = match file {
            Some(file) => GetResultPayload::File(file, self.file_path(location)),
            None if options.head || range.is_empty() => GetResultPayload::Stream(stream::empty().boxed()),
            None => {
                let wanted = range.clone();
                let data = self.get_ranges(location, &[wanted]).await?;
                GetResultPayload::Stream(stream::iter(data.into_iter().map(Ok)).boxed())
            }
        };
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes: object_store::Attributes::default(),
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let ranges = ranges.to_vec();
        let parts = self
            .run(location, move |objects, path| {
                objects.file_system.read_ranges(path, &ranges)
            })
            .await?;
        Ok(parts.into_iter().map(Bytes::from).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let objects = self.clone();
        locations
            .then(move |location| {
                let objects = objects.clone();
                async move {
                    let location = location?;
                    objects
                        .run(&location, |objects, path| objects.remove(path))
                        .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (objects, prefix) = (self.clone(), prefix.cloned().unwrap_or_default());
        let listed = async move {
            let location = prefix.clone();
            let walked = objects
                .run(&prefix, move |objects, path| {
                    let mut found = Vec::new();
                    objects.walk(path, &location, &mut found)?;
                    Ok(found)
                })
                .await;
            match walked {
                Ok(found) => stream::iter(found.into_iter().map(Ok)).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = prefix.cloned().unwrap_or_default();
        let location = prefix.clone();
        self.run(&prefix, move |objects, path| {
            let mut result = ListResult {
                common_prefixes: Vec::new(),
                objects: Vec::new(),
            };
            let entries = match objects.file_system.list(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(result),
                listed => listed?,
            };
            for entry in entries {
                let Ok(child) = Path::parse(format!("{location}/{}", entry.name)) else {
                    continue;
                };
                if entry.is_directory {
                    result.common_prefixes.push(child);
                    continue;
                }
                let metadata = objects.file_system.metadata(&path.join(&entry.name))?;
                result.objects.push(object_meta(child, &metadata));
            }
            Ok(result)
        })
        .await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(unsupported("copy"))
    }
}
