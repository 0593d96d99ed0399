//! Reading the configuration again while the server runs: on a signal, on request, and when a file has changed.
//!
//! Only pipelines change, with the authenticators that they name. What else differs (`store`, `api`, `memory`, `query`,
//! other `extensions`, `service.telemetry`) is told and holds after a restart. Files that are not valid change nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cupola_api::{ConfigurationChange, Control};
use cupola_config::Node;
use cupola_pipeline::graph::{Pipelines, ReloadError};
use cupola_store::Store;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::components;
use crate::config::{LogFlags, ServeFlags, Settings, file};
use crate::failure::Failure;
use crate::server;

/// How often files are looked at. They are compared by content: mounted configuration changes by renaming directories, of
/// which no notice comes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Where settings came from, so that they can be made again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) flags: ServeFlags,
    pub(crate) log: LogFlags,
}

impl Sources {
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        Settings::resolve(&self.flags, &self.log, file::load(&self.paths)?)
    }
}

/// How long nothing may come into a processor or connector before that is told.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);
const SILENCE_LOOK_EVERY: Duration = Duration::from_secs(60);

/// How reading the configuration again has ended.
#[derive(Debug, Default)]
pub(crate) struct ReloadCounts {
    pub(crate) applied: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Whether the last one was refused, so that what runs is not what the files say.
    pub(crate) last_refused: AtomicBool,
}

impl ReloadCounts {
    fn count(&self, is_applied: bool) {
        let of = match is_applied {
            true => &self.applied,
            false => &self.refused,
        };
        of.fetch_add(1, Ordering::Relaxed);
        self.last_refused.store(!is_applied, Ordering::Relaxed);
    }
}

pub(crate) struct Reloader {
    sources: Sources,
    /// None if there was nothing to keep at the start.
    store: Option<Store>,
    pipelines: Arc<Pipelines>,
    /// As it was at the start.
    lasting: Lasting,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
    counts: Arc<ReloadCounts>,
    /// The text of the files when they were last read.
    seen: Mutex<Vec<Option<Vec<u8>>>>,
}

impl Reloader {
    pub(crate) fn new(
        sources: Sources,
        settings: &Settings,
        store: Option<Store>,
        pipelines: Arc<Pipelines>,
        counts: Arc<ReloadCounts>,
    ) -> Arc<Self> {
        let seen = Mutex::new(contents(&sources.paths));
        Arc::new(Reloader {
            lasting: Lasting::of(settings),
            sources,
            store,
            pipelines,
            changing: tokio::sync::Mutex::new(()),
            counts,
            seen,
        })
    }

    /// Reads the files again and changes the pipelines to them, which is counted.
    pub(crate) async fn reload(&self) -> Result<ConfigurationChange, Failure> {
        let reloaded = self.read_again().await;
        self.counts.count(reloaded.is_ok());
        reloaded
    }

    async fn read_again(&self) -> Result<ConfigurationChange, Failure> {
        let _changing = self.changing.lock().await;
        *self.seen.lock() = contents(&self.sources.paths);
        let settings = self.sources.settings()?;
        if self.store.is_none() && settings.has_store() {
            return Err(Failure::usage(
                "the exporter `store` cannot be added to a pipeline while Cupola runs without a store",
            )
            .hint("start Cupola again with this configuration; until then what ran before goes on running"));
        }
        let plan = server::plan(&settings, self.store.as_ref())?;
        let reloaded = self.pipelines.reload(plan).await.map_err(|error| match &error {
            ReloadError::Refused(refused) => {
                server::pipelines_failed(refused, &settings).hint("what ran before goes on running")
            }
            ReloadError::Busy | ReloadError::Ended => Failure::from_error(&error),
            ReloadError::Broken { .. } => {
                Failure::from_error(&error).hint("reload or restart with one that works")
            }
        })?;
        let mut warnings = settings.warnings.clone();
        let changed = self.lasting.changed(&Lasting::of(&settings));
        if !changed.is_empty() {
            warnings.push(format!(
                "changed since the start, and holding after a restart: {}",
                changed.join(", ")
            ));
        }
        if self.store.is_some() && !settings.opens_store {
            warnings.push(
                "no pipeline has the exporter `store` any more: what was kept can be queried until the next start"
                    .to_owned(),
            );
        }
        Ok(ConfigurationChange {
            made: reloaded.made,
            ended: reloaded.ended,
            kept: reloaded.kept,
            warnings,
        })
    }

    /// Tells of components into which nothing comes, each once until something does, until `stop`.
    pub(crate) async fn watch_silence(self: Arc<Self>, stop: CancellationToken) {
        let mut told: BTreeSet<String> = BTreeSet::new();
        let mut looks = tokio::time::interval(SILENCE_LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let silent = self.pipelines.silent(SILENCE_LIMIT);
            // The sentence without its minutes.
            let subject = |text: &str| text.split(" has seen").next().unwrap_or_default().to_owned();
            for text in silent.iter().filter(|text| !told.contains(&subject(text))) {
                tracing::warn!(component = text, "component is silent");
            }
            told = silent.iter().map(|text| subject(text)).collect();
        }
    }

    /// Reloads on SIGHUP and when a file has changed, until `stop`.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::error!("cannot listen for SIGHUP; the configuration is not read again");
            return;
        };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let cause = tokio::select! {
                () = stop.cancelled() => return,
                _ = hangup.recv() => "SIGHUP",
                _ = looks.tick() => match self.has_changed() {
                    true => "a file has changed",
                    false => continue,
                },
            };
            self.report(cause).await;
        }
    }

    async fn report(&self, cause: &str) {
        match self.reload().await {
            Ok(change) => {
                let (made, ended, kept) = (change.made.join(", "), change.ended.join(", "), change.kept);
                tracing::info!(cause, made, ended, kept, "configuration read again");
                for warning in change.warnings {
                    tracing::warn!(warning, "configuration read again");
                }
            }
            Err(failure) => {
                let details = failure.details().join("\n");
                tracing::error!(cause, %failure, details, "configuration not changed");
            }
        }
    }

    fn has_changed(&self) -> bool {
        !self.sources.paths.is_empty() && contents(&self.sources.paths) != *self.seen.lock()
    }
}

#[async_trait]
impl Control for Reloader {
    async fn reload(&self) -> Result<ConfigurationChange, String> {
        Reloader::reload(self).await.map_err(|failure| {
            let details = failure.details().iter().map(|detail| format!("\n{detail}"));
            format!("{failure}{}", details.collect::<String>())
        })
    }
}

/// A file that cannot be read differs from one that can.
fn contents(paths: &[PathBuf]) -> Vec<Option<Vec<u8>>> {
    paths.iter().map(|path| std::fs::read(path).ok()).collect()
}

/// What only a restart can change.
#[derive(Debug, PartialEq)]
struct Lasting {
    /// The sections beside those of the pipelines.
    sections: Node,
    /// Names of the extensions that are in use, which `service.extensions` can say.
    extensions: BTreeSet<String>,
}

impl Lasting {
    /// The parts that differ in `other`: sections, and of `extensions` and `service` what is in them.
    fn changed(&self, other: &Lasting) -> Vec<String> {
        let mut changed: BTreeSet<String> = BTreeSet::new();
        let differing = |one: Option<&Node>, other: Option<&Node>| -> Vec<String> {
            let entries = [one, other].into_iter().flatten().flat_map(Node::entries);
            let keys: BTreeSet<&str> = entries.map(|entry| &*entry.key).collect();
            let value = |node: Option<&Node>, key: &str| node.and_then(|node| node.get(key)).cloned();
            let keys = keys
                .into_iter()
                .filter(|key| value(one, key) != value(other, key));
            keys.map(str::to_owned).collect()
        };
        for section in differing(Some(&self.sections), Some(&other.sections)) {
            let below = match section.as_str() {
                components::EXTENSIONS | "service" => {
                    differing(self.sections.get(&section), other.sections.get(&section))
                }
                _ => Vec::new(),
            };
            match below.is_empty() {
                true => drop(changed.insert(section)),
                false => changed.extend(below.iter().map(|key| format!("{section}.{key}"))),
            }
        }
        let names = self.extensions.symmetric_difference(&other.extensions);
        changed.extend(names.map(|name| format!("{}.{name}", components::EXTENSIONS)));
        changed.into_iter().collect()
    }

    fn of(settings: &Settings) -> Lasting {
        // Authenticators change with the components that refer to them.
        let of_pipelines =
            |name: &str| components::is_of_pipelines(name.split('/').next().unwrap_or_default().trim());
        let tree = &settings.tree;
        let mut sections = tree.clone();
        for section in components::SECTIONS {
            sections = sections.without(&[section]);
        }
        let extensions = tree.get(components::EXTENSIONS).map(Node::entries);
        for entry in extensions.unwrap_or_default() {
            if of_pipelines(&entry.key) {
                sections = sections.without(&[components::EXTENSIONS, &*entry.key]);
            }
        }
        // A section that came with them says nothing without them.
        if sections
            .get(components::EXTENSIONS)
            .is_some_and(|node| node.is_null() || node.entries().is_empty())
        {
            sections = sections.without(&[components::EXTENSIONS]);
        }
        let names = settings.extensions.iter().filter(|name| !of_pipelines(name));
        Lasting {
            sections: sections
                .without(&["service", "pipelines"])
                .without(&["service", "extensions"]),
            extensions: names.cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::File;

    fn lasting(text: &str) -> Lasting {
        let file = File::parse(text).unwrap();
        Lasting::of(&Settings::resolve(&ServeFlags::default(), &LogFlags::default(), file).unwrap())
    }

    #[test]
    fn only_what_a_restart_changes_is_told_to_hold_after_one() {
        let auth = "bearertokenauth/new: {token: secret}";
        let listed = |sections: &str, list: &str| {
            lasting(&format!(
                "extensions: {{zpages: , file_storage: {{directory: /tmp/queues}}{sections}}}\nservice: {{extensions: [{list}]}}\n"
            ))
        };
        let before = listed("", "zpages, file_storage");
        for (sections, list) in [
            (format!(", {auth}"), "zpages, file_storage, bearertokenauth/new"),
            (format!(", {auth}"), "file_storage, zpages"),
            // Which is told by itself, and in use all the same.
            (String::new(), "zpages"),
        ] {
            assert_eq!(listed(&sections, list), before, "{list}");
        }
        assert_ne!(
            listed("", "file_storage"),
            before,
            "zpages is off after a restart"
        );
        assert_ne!(listed(", pprof: ", "zpages, file_storage, pprof"), before);
        assert_ne!(
            lasting("api: {endpoint: '127.0.0.1:1'}"),
            lasting("api: {endpoint: '127.0.0.1:2'}")
        );
        let changed = lasting(
            "api: {endpoint: '127.0.0.1:1'}\nextensions: {zpages: }\nservice: {telemetry: {tenant: a}}",
        )
        .changed(&lasting(
            "store: {flush_interval: 1s}\nextensions: {zpages: , pprof: }\nservice: {telemetry: {tenant: b}}",
        ));
        assert_eq!(changed, ["api", "extensions.pprof", "service.telemetry", "store"]);
        assert_eq!(before.changed(&before), [""; 0]);
        assert_eq!(
            lasting("service: {extensions: [health_check]}"),
            lasting(&format!(
                "extensions: {{{auth}}}\nservice: {{extensions: [bearertokenauth/new]}}"
            ))
        );
    }
}
