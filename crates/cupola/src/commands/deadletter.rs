//! `cupola deadletter list|show|retry|drop`: what destinations have refused for good. Works on the data directory, beside a
//! server that runs on it or not.

use std::path::{Path, PathBuf};

use cupola_config::ComponentId;
use cupola_export::dead_letter::{self, Entry};
use cupola_pipeline::components::{DEAD_LETTERS, folder};
use cupola_telemetry::time::to_rfc3339;

use crate::cli::{DeadletterCommand, LettersArguments};
use crate::config::{DATA_DIRECTORY, LogFlags, PIPELINE_DIRECTORY, ServeFlags, Settings, file};
use crate::failure::Failure;
use crate::output;

pub(crate) async fn run(
    command: &DeadletterCommand,
    log: &LogFlags,
    config: &[PathBuf],
) -> Result<(), Failure> {
    match command {
        DeadletterCommand::List(arguments) => list(arguments, config),
        DeadletterCommand::Show { letters, json } => show(letters, *json, config),
        DeadletterCommand::Drop(arguments) => drop_letters(arguments, config),
        DeadletterCommand::Retry(arguments) => retry(arguments, log, config).await,
    }
}

/// A letter and the directory it is in.
struct Found {
    directory: PathBuf,
    entry: Entry,
}

fn list(arguments: &LettersArguments, config: &[PathBuf]) -> Result<(), Failure> {
    let mut text = String::new();
    let root = root(arguments, config)?;
    let (letters, unreadable) = letters(&root, arguments)?;
    let named = |id: &String| arguments.ids.is_empty() || arguments.ids.contains(id);
    for Found { entry, .. } in letters.iter().filter(|found| named(&found.entry.id)) {
        let time = to_rfc3339(u64::try_from(entry.unix_nano).unwrap_or(0));
        let reason = entry.reason.replace('\n', " ");
        text.push_str(&format!(
            "{}  {time}  {}  {} {} of {}  {} attempts  {reason}\n",
            entry.id, entry.exporter, entry.items, entry.signal, entry.tenant, entry.attempts
        ));
    }
    for problem in unreadable {
        text.push_str(&format!("{problem}\n"));
    }
    if text.is_empty() {
        let of = arguments
            .exporter
            .as_ref()
            .map(|exporter| format!(" of {exporter}"));
        let of = of.unwrap_or_default();
        text.push_str(&format!("there are no dead letters{of} in {}\n", root.display()));
    }
    output::print(&text)
}

/// Letter by letter, since all of them may be more than memory takes.
fn show(arguments: &LettersArguments, as_json: bool, config: &[PathBuf]) -> Result<(), Failure> {
    for Found { directory, entry } in chosen(arguments, config)? {
        let batch = dead_letter::read(&directory, &entry.id).map_err(|error| Failure::from_error(&error))?;
        let time = to_rfc3339(u64::try_from(entry.unix_nano).unwrap_or(0));
        let head = serde_json::json!({
            "id": entry.id, "time": time, "exporter": entry.exporter, "signal": entry.signal.as_str(),
            "tenant": entry.tenant.as_str(), "items": entry.items, "attempts": entry.attempts, "reason": entry.reason,
        });
        let text = match as_json {
            // What was refused goes in as it is: to be read into values, it would take several times its size.
            true => format!(
                "{},\"batch\":{}}}\n",
                head.to_string().trim_end_matches('}'),
                batch.to_json()
            ),
            false => format!(
                "letter    {}\ntime      {time}\nexporter  {}\ntenant    {}\nholds     {} {}\nattempts  {}\nreason    {}\n\n{}\n\n",
                entry.id,
                entry.exporter,
                entry.tenant,
                entry.items,
                entry.signal,
                entry.attempts,
                entry.reason.replace('\n', " "),
                batch.to_json()
            ),
        };
        if !output::write(text.as_bytes())? {
            return Ok(());
        }
    }
    Ok(())
}

fn drop_letters(arguments: &LettersArguments, config: &[PathBuf]) -> Result<(), Failure> {
    let chosen = chosen(arguments, config)?;
    let count = chosen.len();
    let items: u64 = chosen.iter().map(|found| found.entry.items).sum();
    for Found { directory, entry } in chosen {
        dead_letter::discard(&directory, &entry.id).map_err(|error| Failure::from_error(&error))?;
    }
    output::print(&format!("dropped {count} letters with {items} items\n"))
}

async fn retry(arguments: &LettersArguments, log: &LogFlags, config: &[PathBuf]) -> Result<(), Failure> {
    let settings = Settings::resolve(&ServeFlags::default(), log, file::load(config)?)?;
    let authenticators = settings.plan.make_authenticators();
    let authenticators = authenticators.map_err(|error| Failure::from_error(&error))?;
    let mut failures = Vec::new();
    let mut taken = 0;
    for Found { directory, entry } in chosen(arguments, config)? {
        let id: Option<ComponentId> = entry.exporter.parse().ok();
        let planned = id.and_then(|id| settings.plan.exporters.get(&id).cloned());
        let Some(planned) = planned else {
            failures.push(format!(
                "{}: the configuration has no exporter `{}` in use",
                entry.id, entry.exporter
            ));
            continue;
        };
        let sink = match planned.settings.destination(&authenticators) {
            Ok(sink) => sink,
            Err(error) => {
                failures.push(format!("{}: {error}", entry.id));
                continue;
            }
        };
        match dead_letter::retry(&directory, &entry.id, &sink).await {
            Ok(_) => taken += 1,
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                failures.push(format!("{error}{}", cause.unwrap_or_default()));
            }
        }
    }
    output::print(&format!("{taken} letters were taken\n"))?;
    if failures.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::new(format!("{} letters are still there", failures.len()));
    for told in failures {
        failure = failure.detail(told);
    }
    Err(failure)
}

/// The letters that are named; none is no choice.
fn chosen(arguments: &LettersArguments, config: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    if arguments.ids.is_empty() && !arguments.all {
        return Err(Failure::usage("no letters were named")
            .hint("name them by the ids that `cupola deadletter list` prints, or take all with --all"));
    }
    let (letters, _) = letters(&root(arguments, config)?, arguments)?;
    if let Some(id) = arguments
        .ids
        .iter()
        .find(|id| !letters.iter().any(|found| found.entry.id == **id))
    {
        return Err(Failure::usage(format!("there is no letter {id}")));
    }
    let named = |found: &Found| arguments.all || arguments.ids.contains(&found.entry.id);
    Ok(letters.into_iter().filter(named).collect())
}

/// Where the letters of all exporters are, which there is if anything was ever refused. The data directory must be there:
/// another one than that of the server has no letters, which would pass for good news.
fn root(arguments: &LettersArguments, config: &[PathBuf]) -> Result<PathBuf, Failure> {
    let data = data_directory(arguments, config)?;
    if !data.is_dir() {
        let shown = std::path::absolute(&data).unwrap_or(data);
        let failure = Failure::usage(format!("there is no data directory {}", shown.display()));
        return Err(failure.hint("give that of the server with --data-dir, or the --config that `serve` has and start this where `serve` was started"));
    }
    Ok(data.join(PIPELINE_DIRECTORY).join(DEAD_LETTERS))
}

fn letters(root: &Path, arguments: &LettersArguments) -> Result<(Vec<Found>, Vec<String>), Failure> {
    let (mut letters, mut unreadable) = (Vec::new(), Vec::new());
    for directory in directories(root, arguments)? {
        let listing = dead_letter::list(&directory).map_err(|error| Failure::from_error(&error))?;
        unreadable.extend(listing.unreadable.iter().map(ToString::to_string));
        letters.extend(listing.letters.into_iter().map(|entry| Found {
            directory: directory.clone(),
            entry,
        }));
    }
    letters.sort_by(|one, other| one.entry.id.cmp(&other.entry.id));
    Ok((letters, unreadable))
}

fn data_directory(arguments: &LettersArguments, config: &[PathBuf]) -> Result<PathBuf, Failure> {
    if let Some(directory) = &arguments.data_dir {
        return Ok(directory.clone());
    }
    let file = file::load(config)?.settled()?;
    Ok(file
        .store
        .directory
        .unwrap_or_else(|| PathBuf::from(DATA_DIRECTORY)))
}

/// One directory for each exporter; none where nothing was ever refused.
fn directories(root: &Path, arguments: &LettersArguments) -> Result<Vec<PathBuf>, Failure> {
    if let Some(exporter) = &arguments.exporter {
        let id: ComponentId = exporter.parse().map_err(|error: String| {
            Failure::usage(format!("`{exporter}` is not the name of an exporter")).cause(error)
        })?;
        let directory = root.join(folder(&id));
        return Ok(if directory.is_dir() {
            vec![directory]
        } else {
            Vec::new()
        });
    }
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::new(format!("cannot list {}", root.display())).caused_by(&error)),
    };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()).filter(|path| path.is_dir()));
    Ok(folders.collect())
}
