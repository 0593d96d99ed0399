//! The extension `pprof`: profiles that the tool of Go opens, one at a time, ended with their client.

use std::path::Path;
use std::time::Duration;

use cupola_generator::{Generator, GeneratorConfig};
use tokio::process::Command;

use crate::support::{Server, eventually};

async fn start(directory: &Path, pprof: &str) -> Server {
    let file = directory.join("cupola.yaml");
    std::fs::write(&file, format!("extensions: {{pprof: {pprof}}}\n")).unwrap();
    Server::start_with(&directory.join("data"), &["--config", file.to_str().unwrap()]).await
}

/// What `go tool pprof` says of a file or an address that it can read; nothing where there is no Go.
async fn pprof(directory: &Path, arguments: &[&str]) -> Option<String> {
    let tool = Command::new("go")
        .args(["tool", "pprof"])
        .args(arguments)
        .env("PPROF_TMPDIR", directory)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .await;
    match tool {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) => {
            println!("skipped: there is no Go to open profiles with: {error}");
            None
        }
    }
}

/// Sends until it is dropped.
fn load(server: &Server) -> tokio::task::JoinSet<()> {
    let (http, base) = (server.http.clone(), server.otlp_http.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut generator = Generator::new(GeneratorConfig::default());
        loop {
            crate::support::post(&http, &base, &generator.logs(2_000)).await;
        }
    });
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tool_of_go_fetches_a_processor_profile_with_rust_names() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(
        directory.path(),
        "{endpoint: '127.0.0.1:0', block_profile_fraction: 1}",
    )
    .await;
    let _load = load(&server);
    let url = server.url("pprof", "/debug/pprof/profile?seconds=2");
    let Some(text) = pprof(directory.path(), &["-top", "-cum", &url]).await else {
        return;
    };
    for expected in ["Type: cpu", "Duration: 2", "cupola", "tokio::runtime::"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(server.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tool_of_go_fetches_the_heap() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), "{endpoint: '127.0.0.1:0'}").await;
    let mut generator = Generator::new(GeneratorConfig::default());
    for _ in 0..20 {
        server.send_ok(&generator.logs(5_000)).await;
    }
    for (path, first) in [("heap", "Type: inuse_space"), ("allocs", "Type: alloc_space")] {
        let url = server.url("pprof", &format!("/debug/pprof/{path}"));
        let Some(text) = pprof(directory.path(), &["-top", "-cum", &url]).await else {
            return;
        };
        assert!(text.contains(first) && text.contains("cupola"), "{text}");
        assert!(
            !text.contains("__rust_alloc"),
            "the allocator is left out: {text}"
        );
    }
    assert!(server.stop().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_profile_is_taken_at_a_time_and_ends_with_its_client() {
    let directory = tempfile::tempdir().unwrap();
    let server = start(directory.path(), "{endpoint: '127.0.0.1:0'}").await;
    let long = server.url("pprof", "/debug/pprof/profile?seconds=600");
    // Its answer begins when the profile does.
    let begun = server.http.get(long).send().await.unwrap();
    assert_eq!(begun.status().as_u16(), 200);
    let short = "/debug/pprof/profile?seconds=1";
    let (status, text) = server.page("pprof", short).await;
    assert_eq!(status, 500);
    assert!(text.contains("cpu profiling already in use"), "{text}");
    drop(begun);
    eventually("it ends with its client", || async {
        server.page("pprof", short).await.0 == 200
    })
    .await;
    let (status, _) = server.page("pprof", "/debug/pprof/profile?seconds=601").await;
    assert_eq!(status, 400);
    assert_eq!(server.page("pprof", "/debug/pprof/goroutine").await.0, 404);
    let (_, arguments) = server.page("pprof", "/debug/pprof/cmdline").await;
    assert!(
        arguments.split('\0').any(|argument| argument == "serve"),
        "{arguments}"
    );
    assert!(
        server
            .page("pprof", "/debug/pprof/")
            .await
            .1
            .contains("profile?seconds=30")
    );
    // A profile under way does not hold up the end.
    let http = server.http.clone();
    let long = server.url("pprof", "/debug/pprof/profile?seconds=600");
    tokio::spawn(async move { http.get(long).send().await.unwrap().bytes().await });
    let began = std::time::Instant::now();
    assert!(server.stop().await.0.success());
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_profile_of_the_whole_run_is_saved_at_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("run.pb.gz");
    let settings = format!("{{endpoint: '127.0.0.1:0', save_to_file: '{}'}}", saved.display());
    let server = start(directory.path(), &settings).await;
    let mut generator = Generator::new(GeneratorConfig::default());
    for _ in 0..10 {
        server.send_ok(&generator.logs(2_000)).await;
    }
    let (status, text) = server.page("pprof", "/debug/pprof/profile?seconds=1").await;
    assert_eq!(status, 500, "{text}");
    assert!(server.stop().await.0.success());
    let Some(text) = pprof(directory.path(), &["-raw", saved.to_str().unwrap()]).await else {
        return;
    };
    assert!(
        text.contains("samples/count cpu/nanoseconds") && text.contains("cupola::main"),
        "{text}"
    );
    let refused = directory.path().join("nowhere/run.pb.gz");
    let config = directory.path().join("cupola.yaml");
    let text = format!(
        "extensions: {{pprof: {{endpoint: '127.0.0.1:0', save_to_file: '{}'}}}}\n",
        refused.display()
    );
    std::fs::write(&config, text).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let failed = Server::try_start(&directory.path().join("other"), &arguments)
        .await
        .err()
        .unwrap();
    assert!(
        failed.contains("cannot write the profile") && failed.contains("save_to_file"),
        "{failed}"
    );
}
