//! Programs that are not ours: Python with client libraries from PyPI, and `psql`. Where one cannot be had, the test says
//! why and passes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::OnceCell;

const REQUIREMENTS: &str = "clients/requirements.txt";

/// A Python with the client libraries, made once and kept under `target`; or why there is none.
pub(crate) async fn python() -> Result<PathBuf, String> {
    static PYTHON: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    PYTHON.get_or_init(make_python).await.clone()
}

async fn make_python() -> Result<PathBuf, String> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(REQUIREMENTS);
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-clients");
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed.txt"));
    if python.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))
    .await?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ];
    run(Command::new(&python).args(install).arg(&requirements)).await?;
    // Written last: a half-done environment is made again.
    std::fs::write(&stamp, wanted).unwrap();
    Ok(python)
}

/// `psql`, or why there is none.
pub(crate) async fn psql() -> Result<(), String> {
    run(Command::new("psql").arg("--version"))
        .await
        .map(|_| ())
        .map_err(|reason| format!("no psql: {reason}"))
}

/// What a program wrote to its standard output, or why it failed.
pub(crate) async fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Runs a script of `clients/` with arguments; `None` when there is no Python for it.
pub(crate) async fn script(name: &str, arguments: &[&str]) -> Option<String> {
    let python = match python().await {
        Ok(python) => python,
        Err(reason) => {
            println!("skipped: no Python with the client libraries: {reason}");
            return None;
        }
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name);
    let said = run(Command::new(python).arg(script).args(arguments)).await;
    Some(said.unwrap_or_else(|said| panic!("{name}: {said}")))
}
