//! Builds the web interface into `web/dist`, where Node.js and npm are there, so that it can be embedded. Never fails the
//! Rust build, writes nowhere but `web/dist` and `web/node_modules`, and does nothing when the sources are unchanged or
//! `CUPOLA_SKIP_WEB=1` is set.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What of `web/` decides the outcome.
const SOURCES: [&str; 7] = [
    "src",
    "public",
    "index.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "tsconfig.json",
];

/// Written into the folder it describes, so that another profile or a second checkout of it is not built again.
const STAMP: &str = ".cupola-sources";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CUPOLA_SKIP_WEB");
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let sources: Vec<PathBuf> = SOURCES
        .iter()
        .map(|name| web.join(name))
        .filter(|path| path.exists())
        .collect();
    for source in &sources {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    if web.join("dist/index.html").exists() {
        println!(
            "cargo::rerun-if-changed={}",
            web.join("dist/index.html").display()
        );
    }
    let skip = std::env::var("CUPOLA_SKIP_WEB").is_ok_and(|value| !value.is_empty() && value != "0");
    if skip || !web.join("package.json").exists() {
        return;
    }
    if let Err(reason) = build(&web, &sources) {
        println!("cargo::warning=the web page was not built: {reason}");
    }
}

fn build(web: &Path, sources: &[PathBuf]) -> Result<(), String> {
    let wanted = fingerprint(sources);
    if stamp(&web.join("dist")).as_deref() == Some(&wanted) {
        return Ok(());
    }
    if run(web, "node", &["--version"]).is_err() || run(web, npm(), &["--version"]).is_err() {
        return Err(
            "Node.js 20.19 or newer with npm was not found (set CUPOLA_SKIP_WEB=1 to silence this)"
                .to_owned(),
        );
    }
    if !is_installed(web) {
        run(
            web,
            npm(),
            &[
                "ci",
                "--no-audit",
                "--no-fund",
                "--prefer-offline",
                "--fetch-retries=1",
            ],
        )?;
    }
    run(web, npm(), &["run", "build"])?;
    write_stamp(&web.join("dist"), &wanted);
    date_back(&web.join("dist/index.html"), &web.join("package.json"));
    Ok(())
}

/// npm notes what it has installed, whoever called it: after the list was last changed, it is all there.
fn is_installed(web: &Path) -> bool {
    let modified = |file: &str| std::fs::metadata(web.join(file)).and_then(|metadata| metadata.modified());
    match (
        modified("node_modules/.package-lock.json"),
        modified("package-lock.json"),
    ) {
        (Ok(installed), Ok(listed)) => installed >= listed,
        _ => false,
    }
}

fn npm() -> &'static str {
    if cfg!(windows) { "npm.cmd" } else { "npm" }
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no message")
        .trim()
        .to_owned();
    Err(format!("`{program} {}` failed: {last}", arguments.join(" ")))
}

fn stamp(folder: &Path) -> Option<String> {
    std::fs::read_to_string(folder.join(STAMP)).ok()
}

fn write_stamp(folder: &Path, text: &str) {
    // Without the stamp the next build does the work again, no more.
    let _ = std::fs::write(folder.join(STAMP), text);
}

/// What this script wrote must not look changed since it started, or the next build would embed it all again.
fn date_back(file: &Path, to: &Path) {
    let modified = std::fs::metadata(to).and_then(|metadata| metadata.modified());
    let opened = std::fs::OpenOptions::new().write(true).open(file);
    if let (Ok(modified), Ok(file)) = (modified, opened) {
        let _ = file.set_modified(modified);
    }
}

/// Names and contents of all files, in a stable order.
fn fingerprint(sources: &[PathBuf]) -> String {
    let mut files = Vec::new();
    for source in sources {
        collect(source, &mut files);
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.to_string_lossy().hash(&mut hasher);
        std::fs::read(&file).unwrap_or_default().hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
        return;
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        collect(&entry.path(), files);
    }
}
