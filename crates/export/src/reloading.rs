//! Values made of files, made anew when the files change: certificates, keys, tokens, passwords.
//!
//! Files are compared by content, since mounted secrets change by renaming directories, of which no notice comes. What
//! cannot be used changes nothing: the value that was there stays, which a log line and a counter tell once. Owns the
//! task that looks, which ends with the value. Refuses to know what the files mean.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::task::AbortHandle;

use crate::Sample;

/// How often files are looked at unless told otherwise.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Largest file that is read: a bundle of authorities has a few hundred KiB.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// What files hold, or why they cannot be read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<PathBuf, Result<Vec<u8>, String>>);

/// Without what they hold, which may be keys.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Files {
    /// Reads all of them.
    pub fn read(paths: &[PathBuf]) -> Files {
        Files(paths.iter().map(|path| (path.clone(), read(path))).collect())
    }

    /// The content of one of them.
    pub fn get(&self, path: &Path) -> Result<&[u8], String> {
        match self.0.get(path) {
            Some(Ok(content)) => Ok(content),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(format!(
                "{} is not one of the files that are read",
                path.display()
            )),
        }
    }

    /// The content as text, without white space at its ends.
    pub fn text(&self, path: &Path) -> Result<&str, String> {
        let text = std::str::from_utf8(self.get(path)?);
        text.map(str::trim)
            .map_err(|_| format!("{} is not text in UTF-8", path.display()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "{} is larger than {FILE_BYTES_MAX} bytes",
            path.display()
        ));
    }
    Ok(content)
}

/// A value and the files that it is made of.
pub struct Reloading<T> {
    inside: Arc<Inside<T>>,
    looking: Option<AbortHandle>,
}

type Make<T> = Box<dyn Fn(&Files) -> Result<T, String> + Send + Sync>;

struct Inside<T> {
    /// What it is, for the log and the counters: `tls`, `tokens`.
    what: &'static str,
    paths: Vec<PathBuf>,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    /// What was last made a value of, or could not be.
    seen: Mutex<Files>,
    reloads: AtomicU64,
    failures: AtomicU64,
}

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Makes the value. Must be called on a tokio runtime if there are files, which are then looked at every `every`; zero
    /// is [`LOOK_EVERY`].
    pub fn new(
        what: &'static str,
        mut paths: Vec<PathBuf>,
        every: Duration,
        make: impl Fn(&Files) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Reloading<T>, String> {
        paths.sort();
        paths.dedup();
        let files = Files::read(&paths);
        let current = RwLock::new(Arc::new(make(&files)?));
        let is_lasting = paths.is_empty();
        let inside = Arc::new(Inside {
            what,
            paths,
            make: Box::new(make),
            current,
            seen: Mutex::new(files),
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        let every = if every.is_zero() { LOOK_EVERY } else { every };
        let looking =
            (!is_lasting).then(|| tokio::spawn(look_again(Arc::downgrade(&inside), every)).abort_handle());
        Ok(Reloading { inside, looking })
    }

    /// The value as it is now.
    pub fn current(&self) -> Arc<T> {
        self.inside.current.read().clone()
    }

    /// How often it was made anew, and how often changed files could not be used.
    pub fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.inside.reloads), count(&self.inside.failures))
    }

    /// Adds what is counted; nothing where there are no files.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        if self.inside.paths.is_empty() {
            return;
        }
        let (reloads, failures) = self.counts();
        let counts = [
            (
                "cupola_credential_reloads_total",
                "Times that changed files of certificates, tokens or passwords were taken into use.",
                reloads,
            ),
            (
                "cupola_credential_reload_failures_total",
                "Times that changed files could not be used and what was read before stayed in use.",
                failures,
            ),
        ];
        samples.extend(
            counts.map(|(name, help, count)| Sample::count(name, help, count).with("what", self.inside.what)),
        );
    }
}

async fn look_again<T: Send + Sync + 'static>(inside: Weak<Inside<T>>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inside) = inside.upgrade() else { return };
        // A file system that hangs holds up the next look and nothing else.
        let _ = tokio::task::spawn_blocking(move || inside.look()).await;
    }
}

impl<T> Inside<T> {
    fn look(&self) {
        let files = Files::read(&self.paths);
        let mut seen = self.seen.lock();
        if *seen == files {
            return;
        }
        let made = (self.make)(&files);
        *seen = files;
        let what = self.what;
        match made {
            Ok(value) => {
                *self.current.write() = Arc::new(value);
                self.reloads.fetch_add(1, Ordering::Relaxed);
                tracing::info!(what, files = ?self.paths, "changed files taken into use");
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    what,
                    error,
                    "changed files cannot be used; what was read before stays in use"
                );
            }
        }
    }
}

impl<T> Drop for Reloading<T> {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
    }
}

/// Without the value, which may be a secret.
impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading")
            .field("what", &self.inside.what)
            .field("paths", &self.inside.paths)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: PathBuf) -> Result<Reloading<u32>, String> {
        let file = path.clone();
        Reloading::new("numbers", vec![path], Duration::from_millis(1), move |files| {
            files.text(&file)?.parse().map_err(|_| "no number".to_owned())
        })
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_taken_and_one_that_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        assert!(number(path.clone()).is_err(), "there is no file yet");
        std::fs::write(&path, "1\n").unwrap();
        let reloading = number(path.clone()).unwrap();
        assert_eq!(*reloading.current(), 1);
        std::fs::write(&path, "two").unwrap();
        until(|| reloading.counts().1 > 0).await;
        assert_eq!(*reloading.current(), 1);
        std::fs::remove_file(&path).unwrap();
        until(|| reloading.counts().1 == 2).await;
        std::fs::write(&path, "3").unwrap();
        until(|| *reloading.current() == 3).await;
    }

    #[tokio::test]
    async fn the_task_that_looks_ends_with_the_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let reloading = number(path).unwrap();
        let looking = reloading.looking.clone().unwrap();
        drop(reloading);
        until(|| looking.is_finished()).await;
    }

    #[test]
    fn what_files_hold_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "hunter2").unwrap();
        let files = Files::read(std::slice::from_ref(&path));
        assert_eq!(files.text(&path), Ok("hunter2"));
        assert_eq!(format!("{files:?}"), format!("{{{path:?}}}"));
    }

    #[test]
    fn a_file_without_end_is_not_read_to_it() {
        let problem = read(Path::new("/dev/zero")).unwrap_err();
        assert!(problem.contains("larger"), "{problem}");
    }
}
