//! Stores to ask, and answers as text.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use cupola_query::{QueryConfig, QueryEngine, QueryError, QueryLimits};
use cupola_store::{Store, StoreConfig};
use cupola_telemetry::memory::MemoryBudget;
use cupola_telemetry::{Batch, Signal, TenantId};
use futures::TryStreamExt;

/// Where the rows are when they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// In memory only.
    Memory,
    /// In one segment or more per request.
    Flushed,
    /// In few segments.
    Compacted,
}

impl State {
    pub(crate) const ALL: [State; 3] = [State::Memory, State::Flushed, State::Compacted];
}

pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) engine: QueryEngine,
    _directory: tempfile::TempDir,
}

impl Fixture {
    /// A store that does nothing by itself.
    pub(crate) async fn empty() -> Fixture {
        Fixture::with(
            QueryConfig {
                threads: 2,
                ..QueryConfig::default()
            },
            MemoryBudget::new(1 << 30),
        )
        .await
    }

    pub(crate) async fn with(mut config: QueryConfig, memory: MemoryBudget) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let mut store = StoreConfig::new(directory.path().join("store"));
        store.background = false;
        store.compaction.files_min = 2;
        store.compaction.settle = std::time::Duration::ZERO;
        let (store, _) = Store::open(store).await.unwrap();
        config.spill_directory = Some(directory.path().join("spill"));
        let engine = QueryEngine::new(store.clone(), config, memory).unwrap();
        Fixture {
            store,
            engine,
            _directory: directory,
        }
    }

    /// A store with these requests, in a state.
    pub(crate) async fn filled(state: State, requests: &[Batch]) -> Fixture {
        let fixture = Fixture::empty().await;
        fixture.fill(state, requests).await;
        fixture
    }

    pub(crate) async fn fill(&self, state: State, requests: &[Batch]) {
        for request in requests {
            self.store.append(request.clone()).await.unwrap();
            if state != State::Memory {
                self.store.flush().await.unwrap();
            }
        }
        if state == State::Compacted {
            self.store.compact().await.unwrap();
        }
    }

    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        self.ask_as(&TenantId::default_tenant(), sql, QueryLimits::default())
            .await
    }

    pub(crate) async fn ask_as(
        &self,
        tenant: &TenantId,
        sql: &str,
        limits: QueryLimits,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let result = self.engine.sql(tenant, sql, limits).await?;
        let schema = result.schema.clone();
        let batches: Vec<RecordBatch> = result.stream.try_collect().await?;
        if batches.is_empty() {
            return Ok(vec![RecordBatch::new_empty(schema)]);
        }
        Ok(batches)
    }

    /// The answer as lines: names, then rows.
    pub(crate) async fn lines(&self, sql: &str) -> Vec<String> {
        match self.ask(sql).await {
            Ok(batches) => lines(&batches),
            Err(error) => panic!("{sql}\n{error}\n{:?}", error.hint()),
        }
    }

    /// The one value of an answer.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let lines = self.lines(sql).await;
        assert_eq!(lines.len(), 2, "{sql}: {lines:?}");
        lines[1].clone()
    }
}

pub(crate) fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let schema = batches[0].schema();
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let mut lines = vec![names.join(" | ")];
    for batch in batches {
        let columns: Vec<ArrayFormatter> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            lines.push(values.join(" | "));
        }
    }
    lines
}

pub(crate) fn request(signal: Signal, tenant: &TenantId, json: &str) -> Batch {
    Batch::decode_json(signal, tenant.clone(), json.as_bytes()).unwrap()
}

/// The telemetry of `tests/sql/data`.
pub(crate) fn fixture_requests() -> Vec<Batch> {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/data");
    let mut requests = Vec::new();
    for (file, signal) in [
        ("logs.ndjson", Signal::Logs),
        ("traces.ndjson", Signal::Traces),
        ("metrics.ndjson", Signal::Metrics),
    ] {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        requests.extend(
            text.lines()
                .map(|line| request(signal, &TenantId::default_tenant(), line)),
        );
    }
    requests
}
