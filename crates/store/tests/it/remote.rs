//! Object storage: the store on an S3-compatible server (moto, from PyPI) that is started here.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cupola_store::io::Disk;
use cupola_store::{DeleteRequest, StoreConfig};

use crate::crash::of_user;
use crate::rows::{USERS, log_numbers, logs, open, point_numbers, points, quiet, tenant};

/// Starts moto on a port of its choice, makes the bucket, says the port, and serves until its input ends.
const SERVER: &str = r#"
import sys, urllib.request
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
port = server.get_host_and_port()[1]
request = urllib.request.Request(f"http://127.0.0.1:{port}/cupola", method="PUT")
request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request")
urllib.request.urlopen(request).read()
print(port, flush=True)
sys.stdin.read()
"#;

struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A virtual environment with moto, made once below the target directory.
fn python() -> Result<PathBuf, String> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let python = directory.join("bin/python");
    let run = |command: &mut Command| {
        let output = command
            .output()
            .map_err(|error| format!("{command:?}: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "{command:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    };
    let imports = |python: &PathBuf| run(Command::new(python).args(["-c", "import moto.server"]));
    if imports(&python).is_ok() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&directory))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "moto[s3,server]==5.1.*"]))?;
    imports(&python)?;
    Ok(python)
}

fn start() -> Result<Server, String> {
    let mut process = Command::new(python()?)
        .args(["-c", SERVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    let output = process.stdout.take().ok_or("no output")?;
    let read = BufReader::new(output).read_line(&mut line);
    let port = read.ok().and_then(|_| line.trim().parse().ok());
    let server = Server {
        port: port.unwrap_or(0),
        process,
    };
    match server.port {
        0 => Err("moto did not start".to_owned()),
        _ => Ok(server),
    }
}

fn config(server: &Server, directory: PathBuf) -> StoreConfig {
    let options = [
        ("aws_access_key_id", "test"),
        ("aws_secret_access_key", "test"),
        ("aws_region", "us-east-1"),
        ("aws_allow_http", "true"),
        ("aws_conditional_put", "etag"),
    ];
    let mut config = quiet(Arc::new(Disk));
    config.directory = directory;
    config.object_store_url = Some("s3://cupola/some/prefix".to_owned());
    config.object_store_options = options
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    config
        .object_store_options
        .push(("aws_endpoint".to_owned(), endpoint));
    config.compaction.files_min = 2;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_and_manifests_on_s3_the_log_on_disk() {
    let server = match tokio::task::spawn_blocking(start).await.unwrap() {
        Ok(server) => server,
        Err(reason) => {
            println!("skipped: no S3-compatible server: {reason}");
            return;
        }
    };
    let directory = tempfile::tempdir().unwrap();
    let store = open(config(&server, directory.path().to_owned())).await;
    for batch in 0..4 {
        let numbers = batch * 10..batch * 10 + 10;
        store.append(logs("a", numbers.clone())).await.unwrap();
        store.append(points("a", numbers)).await.unwrap();
        store.flush().await.unwrap();
    }
    assert!(store.compact().await.unwrap().merges > 0);
    let request = DeleteRequest {
        tenant: tenant("a"),
        filter: Some(of_user(0)),
    };
    store.delete(request).await.unwrap();
    store.append(logs("a", [41])).await.unwrap();
    drop(store);
    assert!(!directory.path().join("data").exists());
    let store = open(config(&server, directory.path().to_owned())).await;
    let mut expected: Vec<u64> = (0..40).filter(|number| number % USERS != 0).collect();
    assert_eq!(point_numbers(&store, "a").await, expected);
    expected.push(41);
    assert_eq!(log_numbers(&store, "a").await, expected);

    // A second store on the same bucket commits in between: neither loses anything.
    let other_directory = tempfile::tempdir().unwrap();
    let other = open(config(&server, other_directory.path().to_owned())).await;
    other.append(logs("b", 0..5)).await.unwrap();
    other.flush().await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.status().counters.catalog_conflicts, 1);
    assert_eq!(log_numbers(&store, "a").await, expected);
    assert_eq!(log_numbers(&store, "b").await, [0, 1, 2, 3, 4]);
}
