//! Tables as they are found and made, partitions made ahead, partitions dropped. Owns every statement that changes a
//! schema; each waits for a lock only briefly, since whoever waits holds up all others.

use std::collections::HashSet;
use std::sync::Arc;

use cupola_telemetry::Signal;
use cupola_telemetry::time::to_rfc3339;
use parking_lot::Mutex;

use super::partition::Period;
use super::session::{Class, Failure, Session};
use super::table::{
    Column, Table, add_columns, create, create_batches, create_index, indexed, literal, qualified,
};
use super::{Inner, Partition, REMEMBERED};

/// Several exporters may come up at the same moment: one after the other makes tables. An arbitrary number.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4788193265310401)";
/// How long a change of the schema waits for a lock.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = 5000;";
/// How long an index may take on a table that was there before us.
const INDEX_TIMEOUT: &str = "SET LOCAL statement_timeout = 10000;";
/// How far back partitions are made without a retention, in periods of a day.
const PAST_DAYS: u64 = 31;
const NANOS_PER_DAY: u64 = 86_400_000_000_000;

/// A table that was looked at.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) table: Table,
    name: String,
    /// Partitions that are there, or cannot be made.
    periods: Mutex<HashSet<Period>>,
}

impl Inner {
    /// The table of a signal, made if it is missing and that is wanted.
    pub(super) async fn known(&self, session: &mut Session, signal: Signal) -> Result<Arc<Known>, Failure> {
        let mut tables = self.tables.lock().await;
        if let Some(known) = &tables.known[signal as usize] {
            return Ok(known.clone());
        }
        let found = self.find(session, signal).await;
        if found.is_err() {
            session.roll_back().await;
        }
        let known = Arc::new(found?);
        tables.known[signal as usize] = Some(known.clone());
        Ok(known)
    }

    /// To be looked at again.
    pub(super) async fn forget(&self, signal: Signal) {
        self.tables.lock().await.known[signal as usize] = None;
    }

    async fn find(&self, session: &mut Session, signal: Signal) -> Result<Known, Failure> {
        let (schema, name) = (&self.config.schema, self.table_of(signal));
        session.begin(&format!("{LOCK_TIMEOUT} {LOCK}")).await?;
        let batches = &self.config.batches_table;
        if self.config.deduplicate && columns(session, schema, batches).await?.0.is_empty() {
            self.make(session, batches, &create_batches(schema, batches))
                .await?;
        }
        let (mut existing, mut partitioned) = columns(session, schema, name).await?;
        if existing.is_empty() {
            let wanted = self.config.partition != Partition::None;
            self.make(session, name, &create(signal, schema, name, wanted))
                .await?;
        } else if self.config.create_schema {
            self.complete(session, signal, &existing).await?;
        }
        (existing, partitioned) = match columns(session, schema, name).await? {
            (columns, _) if columns.is_empty() => (existing, partitioned),
            found => found,
        };
        session.commit().await?;
        if self.config.partition != Partition::None && !partitioned {
            tracing::warn!(
                table = name,
                "the table is there and not partitioned; it is filled as it is"
            );
        }
        let table = Table::new(signal, &qualified(schema, name), &existing, partitioned)
            .map_err(Failure::mendable)?;
        Ok(Known {
            table,
            name: name.to_owned(),
            periods: Mutex::default(),
        })
    }

    /// Makes a table that is not there.
    async fn make(&self, session: &mut Session, name: &str, statement: &str) -> Result<(), Failure> {
        if !self.config.create_schema {
            let reason = format!("table `{name}` is missing; make it, or set `create_schema: true`");
            return Err(Failure::mendable(reason));
        }
        // Without the right to make one, a schema that is there must not be asked for.
        let schema = literal(&self.config.schema);
        let there = session
            .run(&format!("SELECT 1 FROM pg_namespace WHERE nspname = {schema}"))
            .await?;
        if there.rows.is_empty() {
            let name = super::table::quoted(&self.config.schema);
            session
                .run(&format!("CREATE SCHEMA IF NOT EXISTS {name}"))
                .await?;
        }
        session.run(statement).await?;
        Ok(())
    }

    /// Adds what a table that was there lacks. A right that we do not have, and an index that takes long, are no reason
    /// not to fill it.
    async fn complete(
        &self,
        session: &mut Session,
        signal: Signal,
        existing: &[Column],
    ) -> Result<(), Failure> {
        let (schema, name) = (&self.config.schema, self.table_of(signal));
        let mut statements = vec![add_columns(signal, schema, name, existing)];
        let led = session
            .run(&format!(
                "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
                 AND a.attnum = i.indkey[0] WHERE i.indrelid = {}::regclass",
                literal(&qualified(schema, name))
            ))
            .await?;
        let led: HashSet<String> = led.rows.into_iter().flatten().flatten().collect();
        for column in indexed(signal).iter().filter(|column| !led.contains(**column)) {
            statements.push(create_index(schema, name, column));
        }
        for statement in statements.iter().filter(|statement| !statement.is_empty()) {
            session.run(&format!("SAVEPOINT added; {INDEX_TIMEOUT}")).await?;
            if let Err(failure) = session.run(statement).await {
                tracing::warn!(
                    statement,
                    reason = failure.reason,
                    "a table could not be completed, filling it as it is"
                );
                session.run("ROLLBACK TO SAVEPOINT added").await?;
            }
        }
        Ok(())
    }

    /// Makes the partitions that rows of these times belong to, and the next ones.
    pub(super) async fn make_partitions(
        &self,
        session: &mut Session,
        known: &Known,
        times: &[u64],
        now: u64,
    ) -> Result<(), Failure> {
        if !known.table.partitioned || !self.config.create_schema {
            return Ok(());
        }
        let past = self.retention_nanos().unwrap_or(PAST_DAYS * NANOS_PER_DAY);
        let wanted = self.config.partition.wanted(times, now, now.saturating_sub(past));
        let missing: Vec<Period> = {
            let there = known.periods.lock();
            wanted
                .into_iter()
                .filter(|period| !there.contains(period))
                .collect()
        };
        for period in missing {
            if let Err(failure) = self.make_partition(session, known, &period).await {
                session.roll_back().await;
                if failure.class == Class::Mendable {
                    return Err(failure);
                }
                // Rows of that time are in the default partition, or in one that was made by somebody else.
                tracing::warn!(
                    partition = period.table(&known.name),
                    reason = failure.reason,
                    "no partition made"
                );
            }
            known.periods.lock().insert(period);
        }
        Ok(())
    }

    async fn make_partition(
        &self,
        session: &mut Session,
        known: &Known,
        period: &Period,
    ) -> Result<(), Failure> {
        let schema = &self.config.schema;
        let name = qualified(schema, &period.table(&known.name));
        let there = session
            .query(&format!("SELECT to_regclass({})", literal(&name)))
            .await?;
        if there.into_iter().flatten().flatten().next().is_some() {
            return Ok(());
        }
        session.begin(&format!("{LOCK_TIMEOUT} {LOCK}")).await?;
        session.run(&period.create(schema, &known.name)).await?;
        session.commit().await
    }

    fn retention_nanos(&self) -> Option<u64> {
        let nanos = self.config.retention?.0.as_nanos();
        Some(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(super) async fn keep_up(&self, now: u64) -> Result<(), String> {
        let tables: Vec<Arc<Known>> = {
            let tables = self.tables.lock().await;
            tables.known.iter().flatten().cloned().collect()
        };
        if tables.is_empty() {
            return Ok(());
        }
        let mut session = Session::new(&self.pool).await.map_err(|failure| failure.reason)?;
        let mut problem = Ok(());
        for known in tables {
            let done = match self.make_partitions(&mut session, &known, &[], now).await {
                Ok(()) => self.drop_old(&mut session, &known, now).await,
                failed => failed,
            };
            if let Err(failure) = done {
                session.roll_back().await;
                problem = Err(format!("{}: {}", known.name, failure.reason));
            }
        }
        if self.config.deduplicate {
            let statement = format!(
                "DELETE FROM {} WHERE \"taken\" < now() - interval '{} seconds'",
                qualified(&self.config.schema, &self.config.batches_table),
                REMEMBERED.as_secs()
            );
            session
                .query(&statement)
                .await
                .map_err(|failure| failure.reason)?;
        }
        problem
    }

    async fn drop_old(&self, session: &mut Session, known: &Known, now: u64) -> Result<(), Failure> {
        let Some(retention) = self.retention_nanos().filter(|_| known.table.partitioned) else {
            return Ok(());
        };
        let oldest = now.saturating_sub(retention);
        let schema = &self.config.schema;
        let parent = literal(&qualified(schema, &known.name));
        let children = session
            .query(&format!(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
                 WHERE i.inhparent = {parent}::regclass"
            ))
            .await?;
        let children: Vec<String> = children.into_iter().flatten().flatten().collect();
        for child in &children {
            let period = self.config.partition.period_of(&known.name, child);
            let Some(period) = period.filter(|period| period.end <= oldest) else {
                continue;
            };
            session
                .begin(&format!("{LOCK_TIMEOUT} DROP TABLE {}", qualified(schema, child)))
                .await?;
            session.commit().await?;
            known.periods.lock().remove(&period);
            tracing::info!(partition = child, "dropped a partition past retention");
        }
        let default = format!("{}_default", known.name);
        if children.contains(&default) {
            let statement = format!(
                "DELETE FROM {} WHERE \"timestamp\" < {}",
                qualified(schema, &default),
                literal(&to_rfc3339(oldest))
            );
            session.query(&statement).await?;
        }
        Ok(())
    }
}

/// The columns of a table and whether it is partitioned; none if there is no such table.
async fn columns(session: &mut Session, schema: &str, table: &str) -> Result<(Vec<Column>, bool), Failure> {
    let statement = format!(
        "SELECT a.attname, t.typname, a.atthasdef OR a.attidentity <> '' OR NOT a.attnotnull, c.relkind = 'p' \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        literal(schema),
        literal(table)
    );
    let answer = session.run(&statement).await?;
    let is_true = |text: Option<String>| text.as_deref() == Some("t");
    let mut partitioned = false;
    let mut columns = Vec::new();
    for row in answer.rows {
        let mut row = row.into_iter();
        let (name, kind) = (row.next().flatten(), row.next().flatten());
        columns.push(Column {
            name: name.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            optional: is_true(row.next().flatten()),
        });
        partitioned = is_true(row.next().flatten());
    }
    Ok((columns, partitioned))
}
