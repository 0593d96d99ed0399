//! Users who look around and order, so that there is something to see.

use std::time::Duration;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use serde_json::json;

use crate::tokens::{self, User};

const PATIENCE: Duration = Duration::from_secs(10);
/// Mostly what is no trouble.
const WISHES: [&str; 16] = [
    "anvil", "anvil", "anvil", "anvil", "anvil", "dodo", "hole", "rocket", "rocket", "rope", "rope", "rope",
    "rope", "rope", "rope", "tnt",
];

/// One visit after the other, for as long as the future is polled. Calls `made` at each request.
pub async fn visit(http: &reqwest::Client, gateway: &str, user: &User, made: impl Fn()) {
    let token = tokens::token(user);
    loop {
        made();
        let look = http.get(format!("{gateway}/products"));
        // Failures are part of the show: the services record them.
        let _ = look.bearer_auth(&token).timeout(PATIENCE).send().await;
        let (order, pause) = {
            let mut random = rand::rng();
            let product = WISHES.choose(&mut random);
            let order = json!({ "product": product, "quantity": random.random_range(1..6) });
            (order, random.random_range(80..700))
        };
        made();
        let buy = http.post(format!("{gateway}/orders")).json(&order);
        let _ = buy.bearer_auth(&token).timeout(PATIENCE).send().await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}
