//! The PostgreSQL protocol with clients that are not ours: `psql` and psycopg.

use tokio::process::Command;

use crate::outside;
use crate::support::{ENDLESS, Server, logs};

/// Unaligned rows of one `psql` command.
async fn psql(server: &Server, database: &str, arguments: &[&str]) -> Result<String, String> {
    let addr = server.api.postgres_addr.unwrap();
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-A",
        "-t",
        "-h",
        "127.0.0.1",
        "-U",
        "anyone",
        "-v",
        "ON_ERROR_STOP=1",
    ]);
    command
        .args(["-p", &addr.port().to_string(), "-d", database])
        .args(arguments);
    outside::run(command.env("PGSSLMODE", "disable").env("PGCONNECT_TIMEOUT", "30")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_asks_and_describes() {
    if let Err(reason) = outside::psql().await {
        println!("skipped: {reason}");
        return;
    }
    let server = Server::filled().await;
    let ask = async |sql: &str| psql(&server, "default", &["-c", sql]).await;
    let answer = ask("SELECT service_name, count(*) FROM spans GROUP BY 1 ORDER BY 1")
        .await
        .unwrap();
    assert_eq!(answer, "cart|2\nfront|2\n");
    assert_eq!(
        ask("SELECT body FROM logs WHERE level >= 'error'").await.unwrap(),
        "payment failed: Timeout of database\n"
    );
    assert_eq!(ask("SELECT 1; SELECT 2").await.unwrap(), "1\n2\n");
    let named = ["-P", "tuples_only=off", "-P", "footer=off", "-c"];
    let constants = [&named[..], &["SELECT 1, 'a', 1 + 1, NULL, 5 AS n"]].concat();
    assert_eq!(
        psql(&server, "default", &constants).await.unwrap(),
        "?column?|?column?|?column?|?column?|n\n1|a|2||5\n"
    );
    // It draws a line below the place.
    let misspelt = ask("SELECT body\nFROM logs WHER level = 'error' x")
        .await
        .unwrap_err();
    assert!(misspelt.contains("LINE 2: FROM logs WHER"), "{misspelt}");
    assert!(
        ask("EXPLAIN SELECT count(*) FROM logs")
            .await
            .unwrap()
            .contains("logs")
    );
    // Everything at once, nested columns included.
    assert_eq!(ask("SELECT * FROM spans").await.unwrap().lines().count(), 4);
    assert_eq!(ask("SELECT * FROM logs").await.unwrap().lines().count(), 3);

    let tables = psql(&server, "default", &["-c", "\\d"]).await.unwrap();
    for table in ["logs", "spans", "metrics", "records"] {
        assert!(
            tables.contains(&format!("public|{table}|")),
            "{table} in {tables}"
        );
    }
    let described = psql(&server, "default", &["-c", "\\d logs"]).await.unwrap();
    assert!(
        described.contains("body|text") && described.contains("timestamp|"),
        "{described}"
    );
    assert!(
        psql(&server, "default", &["-c", "\\l"])
            .await
            .unwrap()
            .contains("default")
    );
    assert!(
        psql(&server, "default", &["-c", "\\dn"])
            .await
            .unwrap()
            .contains("public")
    );

    let refused = psql(&server, "default", &["-c", "DROP TABLE logs"])
        .await
        .unwrap_err();
    assert!(refused.contains("read"), "{refused}");
    let misspelt = psql(&server, "default", &["-c", "SELECT bodi FROM logs"])
        .await
        .unwrap_err();
    assert!(
        misspelt.contains("HINT") && misspelt.contains("body"),
        "{misspelt}"
    );
    assert_eq!(
        psql(&server, "other", &["-c", "SELECT name FROM spans"])
            .await
            .unwrap(),
        "sesame\n"
    );
    assert!(
        psql(&server, "a b", &["-c", "SELECT 1"])
            .await
            .unwrap_err()
            .contains("tenant")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_sees_what_came_before_it() {
    if let Err(reason) = outside::psql().await {
        println!("skipped: {reason}");
        return;
    }
    let server = Server::filled().await;
    let count = "SELECT count(*) FROM logs";
    assert_eq!(psql(&server, "default", &["-c", count]).await.unwrap(), "3\n");
    server.store.append(logs()).await.unwrap();
    assert_eq!(psql(&server, "default", &["-c", count]).await.unwrap(), "6\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_listed_and_end_with_their_client() {
    if let Err(reason) = outside::psql().await {
        println!("skipped: {reason}");
        return;
    }
    let server = Server::filled().await;
    let running = async { psql(&server, "default", &["-c", ENDLESS]).await.unwrap_err() };
    let cancel = async {
        server.await_running(1).await;
        let id = server.engine.running()[0].id;
        assert!(server.engine.cancel(id));
    };
    let (said, ()) = tokio::join!(running, cancel);
    assert!(said.contains("cancel"), "{said}");

    let addr = server.api.postgres_addr.unwrap().port().to_string();
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-h",
        "127.0.0.1",
        "-p",
        &addr,
        "-U",
        "anyone",
        "-d",
        "default",
        "-c",
        ENDLESS,
    ]);
    let child = command
        .env("PGSSLMODE", "disable")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    server.await_running(1).await;
    drop(child);
    server.await_running(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_prepares_binds_and_introspects() {
    let server = Server::filled().await;
    let addr = server.api.postgres_addr.unwrap().to_string();
    if let Some(said) = outside::script("psycopg_client.py", &[&addr]).await {
        assert_eq!(said, "ok\n");
    }
}
