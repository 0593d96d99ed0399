//! Starting the services, and that none of them outlives whoever started them.

use std::process::Stdio;
use std::time::Duration;

use cupola_example_services::processes::Shop;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::receiver::Receiver;

/// The program, which sends to the receiver and knows nothing of the environment of the test.
pub(crate) fn program(receiver: &Receiver) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_services"));
    command
        .env_clear()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "100")
        .env("CUPOLA_CONSOLE", "off")
        .env("RUST_LOG", "info");
    command
}

pub(crate) async fn start(receiver: &Receiver, data: &std::path::Path) -> Shop {
    let started = Shop::start(|| program(receiver), data).await;
    started.unwrap()
}

#[tokio::test]
async fn services_end_with_whoever_started_them_also_if_that_is_killed() {
    let (receiver, data) = (Receiver::start().await, tempfile::tempdir().unwrap());
    let mut command = program(&receiver);
    command
        .args(["all", "--data"])
        .arg(data.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut all = command.spawn().unwrap();
    let mut lines = BufReader::new(all.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let gateway = line.strip_prefix("the gateway is at http://").unwrap().to_owned();
    tokio::net::TcpStream::connect(&gateway).await.unwrap();
    all.kill().await.unwrap();
    let refused = async {
        while tokio::net::TcpStream::connect(&gateway).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused)
        .await
        .unwrap();
}
