//! Simulated users: they look around, and some of them buy.

use std::time::Duration;

use rand::Rng as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::shop::TENANT_HEADER;

const USERS_PER_TENANT: u32 = 400;
const PATIENCE: Duration = Duration::from_secs(10);

/// One visitor after the other, until `stop`.
pub(crate) async fn act(
    http: reqwest::Client,
    tenant: &'static str,
    storefront: String,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let (user, looks, buys, items, pause) = {
            let mut random = rand::rng();
            let user = format!("{tenant}-user-{}", random.random_range(0..USERS_PER_TENANT));
            (
                user,
                random.random_range(1..4),
                random.random_range(0..3) > 0,
                random.random_range(1..6),
                random.random_range(80..700),
            )
        };
        // Failures are part of the show: the services record them.
        for _ in 0..looks {
            let look = http.get(format!("{storefront}/products"));
            let _ = look
                .header(TENANT_HEADER, tenant)
                .header("x-shop-user", &user)
                .timeout(PATIENCE)
                .send()
                .await;
        }
        if buys {
            let basket = json!({ "items": items, "value": f64::from(items) * 19.95 });
            let order = http.post(format!("{storefront}/checkout")).json(&basket);
            let _ = order
                .header(TENANT_HEADER, tenant)
                .header("x-shop-user", &user)
                .timeout(PATIENCE)
                .send()
                .await;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(pause)) => {}
        }
    }
}
