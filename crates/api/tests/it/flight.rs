//! Arrow Flight SQL with a client that is not ours: ADBC's driver.

use crate::outside;
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn adbc_asks_binds_and_looks_around() {
    let server = Server::filled().await;
    let addr = server.api.flight_addr.unwrap().to_string();
    if let Some(said) = outside::script("flight_client.py", &[&addr]).await {
        assert_eq!(said, "ok\n");
    }
}
