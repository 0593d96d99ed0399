//! A reader beside the load: what it counts never falls, over restarts too, and never lags behind what was acknowledged
//! before it asked.

use std::collections::HashMap;
use std::sync::Arc;

use cupola_telemetry::Signal;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::support::{Server, try_sql};

/// What has been seen of a ledger, of one server after the other.
pub(crate) struct Reader {
    ledger: Arc<Ledger>,
    seen: Mutex<HashMap<Signal, Seen>>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    rows: i64,
    /// Questions that were answered.
    looks: u64,
}

impl Reader {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Arc<Reader> {
        Arc::new(Reader {
            ledger,
            seen: Mutex::default(),
        })
    }

    /// Looks at this server, again and again, until told to stop.
    pub(crate) fn look(
        self: &Arc<Self>,
        server: &Server,
        context: String,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (reader, http, api) = (self.clone(), server.http.clone(), server.api.clone());
        async move {
            while !stop.is_cancelled() {
                for signal in Signal::ALL {
                    reader.look_once(&http, &api, signal, &context).await;
                }
            }
        }
    }

    async fn look_once(&self, http: &reqwest::Client, api: &str, signal: Signal, context: &str) {
        let acknowledged = self.ledger.acknowledged(signal) as i64;
        // Cut off by a kill; a refusal of the living server would come again in the comparison.
        let Ok(rows) = try_sql(http, api, "default", count(signal)).await else {
            return;
        };
        let count = rows[0][0].as_i64().unwrap();
        let mut all = self.seen.lock();
        let seen = all.entry(signal).or_default();
        assert!(
            count >= seen.rows,
            "{context}: {signal} fell from {} to {count}",
            seen.rows
        );
        assert!(
            count >= acknowledged,
            "{context}: {count} {signal} are seen, {acknowledged} were acknowledged"
        );
        seen.rows = count;
        seen.looks += 1;
    }

    /// How often it got an answer, of the signal of which it got the fewest.
    pub(crate) fn looks(&self) -> u64 {
        let seen = self.seen.lock();
        let looks = Signal::ALL.map(|signal| seen.get(&signal).map_or(0, |seen| seen.looks));
        looks.into_iter().min().unwrap_or_default()
    }
}

fn count(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "SELECT count(*) FROM logs WHERE service_name = 'ledger'",
        Signal::Traces => "SELECT count(*) FROM spans WHERE service_name = 'ledger'",
        Signal::Metrics => "SELECT count(*) FROM metrics WHERE name LIKE 'ledger.%'",
    }
}
