//! What a user sees when something is in the way: the error, its cause, and a hint.

use crate::support::{Server, cupola, normalized, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let cause = std::net::TcpListener::bind(&address).unwrap_err().to_string();
    let data = tempfile::tempdir().unwrap();
    let output = cupola(&[
        "serve",
        "--data-dir",
        data.path().to_str().unwrap(),
        "--otlp-http",
        &address,
        "--otlp-grpc",
        "0",
        "--api",
        "0",
        "--health",
        "off",
        "--postgres",
        "off",
        "--flight-sql",
        "off",
        "--log",
        "off",
    ])
    .output()
    .await
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        normalized(&output.stderr, &[(&address, "ADDRESS"), (&cause, "CAUSE")]),
        "error: cannot start the receiver `otlp`\n  cause: cannot listen on ADDRESS for OTLP/HTTP\n\
         \x20 cause: CAUSE\n\
         \x20 hint: another process uses this port: another Cupola, or an OpenTelemetry Collector?\n\
         \x20 hint: stop it, or choose another port with --otlp-http 127.0.0.1:PORT\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_in_use_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path()).await;
    let directory = data.path().to_str().unwrap();
    for (command, instead) in [
        (vec!["query", "SELECT 1", "--data-dir", directory], "--url http"),
        (vec!["generate", "--data-dir", directory], "--endpoint http"),
        (vec!["doctor", "--data-dir", directory], "stop the server first"),
    ] {
        let output = run(&command).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(shown.starts_with("error: the data directory"), "{shown}");
        assert!(shown.contains("in use by another process"), "{shown}");
        assert!(shown.lines().last().unwrap().contains(instead), "{shown}");
    }
    assert_eq!(
        server.count("default", "SELECT count(*) FROM logs").await,
        0,
        "the server goes on"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    // Bound and dropped: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    let cause = std::net::TcpStream::connect(free).unwrap_err().to_string();
    let output = run(&["query", "SELECT 1", "--url", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        normalized(&output.stderr, &[(&url, "URL"), (&cause, "CAUSE")]),
        "error: no server answers at URL\n\
         \x20 cause: CAUSE\n\
         \x20 hint: start one with `cupola serve`, or name another with --url\n\
         \x20 hint: or ask a data directory that no server is using, with --data-dir DIR\n"
    );
}

#[tokio::test]
async fn generated_telemetry_without_a_server_fails_at_once() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    let cause = std::net::TcpStream::connect(free).unwrap_err().to_string();
    let output = run(&["generate", "--endpoint", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        normalized(&output.stderr, &[(&url, "URL"), (&cause, "CAUSE")]),
        "error: no server answers at URL\n\
         \x20 cause: CAUSE\n\
         \x20 hint: start one with `cupola serve`, or name another with --endpoint\n"
    );
    let output = run(&["generate", "--output", "/nowhere", "--rate", "1e-18"]).await;
    assert_eq!(output.status.code(), Some(2));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("more than a year"), "{shown}");
}

#[tokio::test]
async fn a_bad_flag_is_named_with_the_nearest_one() {
    let output = run(&["serve", "--data-dri", "x"]).await;
    assert_eq!(output.status.code(), Some(2));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.starts_with("error: unexpected argument '--data-dri' found"),
        "{shown}"
    );
    assert!(shown.contains("'--data-dir'"), "{shown}");
    let output = run(&["trace", "abc"]).await;
    assert_eq!(output.status.code(), Some(2));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.starts_with("error: `abc` is not a trace id"), "{shown}");
    let output = run(&["serve", "--log", "cupola=loud=1"]).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_named() {
    let output = run(&[
        "serve",
        "--data-dir",
        "/proc/cupola",
        "--otlp-grpc",
        "0",
        "--otlp-http",
        "0",
        "--api",
        "0",
        "--health",
        "off",
        "--postgres",
        "off",
        "--flight-sql",
        "off",
        "--log",
        "off",
    ])
    .await;
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.starts_with("error: the data directory \"/proc/cupola\" cannot be used; name one"),
        "{shown}"
    );
    assert!(shown.contains("\n  cause: "), "{shown}");
}

#[tokio::test]
async fn a_directory_that_is_no_store_is_named_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "mine").unwrap();
    let (directory, file) = (directory.path().to_str().unwrap(), file.to_str().unwrap());
    for (place, problem) in [
        (directory, "is not a Cupola data directory"),
        (file, "is a file, not a directory"),
        ("/nowhere/at/all", "there is no data directory /nowhere/at/all"),
    ] {
        for command in [
            vec!["query", "SELECT 1", "--data-dir", place],
            vec!["doctor", "--data-dir", place],
        ] {
            let output = run(&command).await;
            let shown = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{shown}");
            assert!(shown.lines().next().unwrap().contains(problem), "{shown}");
        }
    }
    let output = run(&["serve", "--data-dir", directory]).await;
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(
        shown.contains("is not empty; name an empty or a new one"),
        "{shown}"
    );
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
}
