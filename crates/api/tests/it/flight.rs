//! Arrow Flight SQL with a client that is not ours, ADBC's driver; and what it does when its clients leave.

use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt as _;
use tonic::transport::Channel;

use crate::outside;
use crate::support::{ENDLESS, Server};

#[tokio::test(flavor = "multi_thread")]
async fn adbc_asks_binds_and_looks_around() {
    let server = Server::filled().await;
    let addr = server.api.flight_addr.unwrap().to_string();
    if let Some(said) = outside::script("flight_client.py", &[&addr]).await {
        assert_eq!(said, "ok\n");
    }
}

async fn client(server: &Server) -> FlightSqlServiceClient<Channel> {
    let url = format!("http://{}", server.api.flight_addr.unwrap());
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    FlightSqlServiceClient::new(channel)
}

/// Asks for a plan and begins to read its rows, of which the first never comes.
fn read(mut client: FlightSqlServiceClient<Channel>) -> tokio::task::JoinHandle<Result<usize, tonic::Code>> {
    tokio::spawn(async move {
        let info = client.execute(ENDLESS.to_owned(), None).await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let rows = client.do_get(ticket).await;
        let rows = match rows {
            Ok(rows) => rows.try_collect::<Vec<_>>().await,
            Err(error) => panic!("{error}"),
        };
        match rows {
            Ok(batches) => Ok(batches.len()),
            Err(arrow_flight::error::FlightError::Tonic(status)) => Err(status.code()),
            Err(error) => panic!("{error}"),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_when_its_client_leaves_or_somebody_cancels_it() {
    let server = Server::empty().await;
    let reading = read(client(&server).await);
    await_execution(&server).await;
    reading.abort();
    server.await_running(0).await;

    let reading = read(client(&server).await);
    await_execution(&server).await;
    let id = server.engine.running()[0].id;
    assert!(server.engine.cancel(id));
    assert_eq!(reading.await.unwrap(), Err(tonic::Code::Cancelled));
    server.await_running(0).await;
}

/// It is listed while it is planned as well.
async fn await_execution(server: &Server) {
    while server.engine.status().running == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_are_counted() {
    let server = Server::empty().await;
    let mut client = client(&server).await;
    let prepared = client.prepare("SELECT 1".to_owned(), None).await.unwrap();
    server.await_metric("cupola_api_flight_statements", "1").await;
    prepared.close().await.unwrap();
    server.await_metric("cupola_api_flight_statements", "0").await;
}
