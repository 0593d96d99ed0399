//! One batch into its table: the transaction, the search for rows that cannot be stored, what is remembered of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cupola_telemetry::Batch;
use futures::SinkExt as _;

use super::Inner;
use super::rows::{Encoded, encode};
use super::session::{Class, Failure, Session};
use super::table::{literal, qualified};
use super::upkeep::Known;
use crate::items::{batch_id, only};
use crate::{Accepted, SendError};

/// Batches from this size are encoded off the IO threads.
const INLINE_BYTES_MAX: usize = 128 * 1024;
/// So often at most is a batch cut to find what is wrong with it; then all of it is refused.
const COPIES_MAX: usize = 512;
/// Longest reason that is remembered and told.
const REASON_BYTES_MAX: usize = 500;

/// Why a row was not even sent.
const UNFIT: &str = "a number is too large for its column";

/// Items that are not in the table.
#[derive(Debug, Default)]
struct Refused {
    items: BTreeSet<usize>,
    reason: String,
}

impl Inner {
    pub(super) async fn store(&self, batch: &Batch, now: u64) -> Result<Accepted, SendError> {
        let mut session = Session::new(&self.pool).await?;
        let known = self.known(&mut session, batch.signal()).await?;
        let encoded = encoded(batch, &known, now).await?;
        self.make_partitions(&mut session, &known, &encoded.times, now)
            .await?;
        let written = self.write(&mut session, batch, &known, &encoded).await;
        if let Err(failure) = &written {
            // After any other failure the connection is given up: it may lead to a server that only reads now.
            if failure.class == Class::Table {
                self.forget(batch.signal()).await;
                session.roll_back().await;
            }
        }
        self.account(batch, written?)
    }

    /// What is told of a batch that is stored but for some items.
    fn account(&self, batch: &Batch, refused: Refused) -> Result<Accepted, SendError> {
        let rejected = refused.items.len() as u64;
        self.stats.refused.fetch_add(rejected, Ordering::Relaxed);
        let stored = (batch.items() as u64).saturating_sub(rejected);
        self.stats.stored.fetch_add(stored, Ordering::Relaxed);
        if refused.items.is_empty() {
            return Ok(Accepted::all());
        }
        if stored == 0 {
            return Err(SendError::permanent(refused.reason));
        }
        Ok(Accepted {
            rejected,
            message: format!("rows that PostgreSQL cannot store: {}", refused.reason),
            refused: only(batch, |item| refused.items.contains(&item))
                .into_iter()
                .collect(),
        })
    }

    async fn write(
        &self,
        session: &mut Session,
        batch: &Batch,
        known: &Known,
        encoded: &Encoded,
    ) -> Result<Refused, Failure> {
        let limit = self.config.timeout.0.as_millis();
        let remembered = self.config.deduplicate && encoded.timed;
        let id = format!("{:032x}", batch_id(batch));
        let batches = qualified(&self.config.schema, &self.config.batches_table);
        // The server ends what we have given up, so that nothing is locked by a connection that nobody reads.
        let mut opening = format!("SET LOCAL statement_timeout = {limit};");
        if remembered {
            opening.push_str(&format!(
                "INSERT INTO {batches} (\"id\") VALUES ('{id}') ON CONFLICT DO NOTHING;"
            ));
        }
        opening.push_str("SAVEPOINT rows");
        let answer = session.begin(&opening).await?;
        // BEGIN, SET, INSERT.
        if remembered && answer.affected.get(2) == Some(&0) {
            let refused = recall(session, &batches, &id).await;
            session.roll_back().await;
            self.stats.repeated.fetch_add(1, Ordering::Relaxed);
            return refused;
        }
        let mut refused = Refused {
            items: encoded.unfit.iter().copied().collect(),
            reason: match encoded.unfit.is_empty() {
                true => String::new(),
                false => UNFIT.to_owned(),
            },
        };
        if !copy_all(session, known, encoded, &mut refused).await? {
            session.roll_back().await;
            refused.items = (0..batch.items()).collect();
            return Ok(refused);
        }
        if remembered && !refused.items.is_empty() {
            let items: Vec<String> = refused.items.iter().map(usize::to_string).collect();
            let statement = format!(
                "UPDATE {batches} SET \"refused\" = '{{{}}}', \"reason\" = {} WHERE \"id\" = '{id}'",
                items.join(","),
                literal(&refused.reason)
            );
            session.run(&statement).await?;
        }
        session.commit().await?;
        Ok(refused)
    }
}

/// What was refused of a batch that has been stored before.
async fn recall(session: &mut Session, batches: &str, id: &str) -> Result<Refused, Failure> {
    let statement =
        format!("SELECT array_to_string(\"refused\", ','), \"reason\" FROM {batches} WHERE \"id\" = '{id}'");
    let answer = session.run(&statement).await?;
    let mut row = answer.rows.into_iter().next().unwrap_or_default().into_iter();
    let items = row.next().flatten().unwrap_or_default();
    Ok(Refused {
        items: items.split(',').filter_map(|item| item.parse().ok()).collect(),
        reason: row.next().flatten().unwrap_or_default(),
    })
}

/// Copies all rows but those that cannot be stored; `false` if these are too many to be found one by one.
async fn copy_all(
    session: &mut Session,
    known: &Known,
    encoded: &Encoded,
    refused: &mut Refused,
) -> Result<bool, Failure> {
    let rows = encoded.rows.len();
    let mut left: Vec<Range<usize>> = Vec::new();
    if rows > 0 {
        left.push(0..rows);
    }
    let mut copies = 0;
    while let Some(range) = left.pop() {
        copies += 1;
        let failure = match copy(session, &known.table.copy, encoded.rows.copy(range.clone())).await {
            // A later failure must not undo it.
            Ok(()) if left.is_empty() => continue,
            Ok(()) => {
                session.run("SAVEPOINT rows").await?;
                continue;
            }
            Err(failure) if failure.class == Class::Data => failure,
            Err(failure) => return Err(failure),
        };
        session.run("ROLLBACK TO SAVEPOINT rows").await?;
        if refused.reason.is_empty() {
            refused.reason = shortened(&failure.reason);
        }
        if copies >= COPIES_MAX {
            return Ok(false);
        }
        if range.len() == 1 {
            refused.items.extend(encoded.items.get(range.start));
            continue;
        }
        let middle = range.start + range.len() / 2;
        left.push(middle..range.end);
        left.push(range.start..middle);
    }
    Ok(true)
}

async fn copy(session: &mut Session, statement: &str, rows: Bytes) -> Result<(), Failure> {
    let client = session.client()?;
    let prepared = client.prepare_cached(statement).await?;
    let sink = match client.copy_in::<_, Bytes>(&prepared).await {
        Ok(sink) => sink,
        Err(error) => {
            // No row was looked at. The client has told the server twice that it is done, and would take the second
            // answer for that of its next question.
            session.give_up();
            return Err(Failure {
                class: Class::Table,
                ..error.into()
            });
        }
    };
    let mut sink = std::pin::pin!(sink);
    sink.send(rows).await?;
    sink.finish().await?;
    Ok(())
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(REASON_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

async fn encoded(batch: &Batch, known: &Known, now: u64) -> Result<Encoded, SendError> {
    if batch.payload().len() <= INLINE_BYTES_MAX {
        return Ok(encode(batch, &known.table, now));
    }
    let (batch, table) = (batch.clone(), known.table.clone());
    tokio::task::spawn_blocking(move || encode(&batch, &table, now))
        .await
        .map_err(|error| SendError::retryable(format!("encoding was cut short: {error}")))
}
