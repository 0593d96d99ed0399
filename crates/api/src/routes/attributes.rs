//! `GET /api/v1/attributes`: which attribute keys there are, and the values of one of them, with counts.

use std::collections::{HashMap, HashSet};

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use cupola_store::AttributeKey as KnownKey;
use cupola_store::schema::Table;
use cupola_telemetry::TenantId;
use utoipa::ToSchema;

use super::refusals::QueryRefusals;
use crate::error::ApiError;
use crate::model::{AttributeKey, AttributeKeyList, AttributeValue, AttributeValueList, Attributes};
use crate::predicate::{self, Predicate};
use crate::query_string::QueryString;
use crate::rows::read_all;
use crate::state::AppState;
use crate::tenant::Tenant;

const SETS: [&str; 3] = ["attributes", "resource_attributes", "scope_attributes"];

/// Newest rows looked at for counts: enough to see what is much in use, and cheap however much is stored.
const KEY_ROWS_MAX: u64 = 5_000;
const KEYS_DEFAULT: u64 = 1_000;
const KEYS_MAX: u64 = 10_000;
const VALUES_DEFAULT: u64 = 100;
const VALUES_MAX: u64 = 1_000;

const PARAMETERS: [&str; 7] = ["signal", "from", "to", "service", "key", "set", "limit"];

#[derive(ToSchema, serde::Serialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the two answers of one endpoint")]
pub(super) enum AttributesAnswer {
    Keys(AttributeKeyList),
    Values(AttributeValueList),
}

/// Attribute keys in use, or, with `key`, the values of that key.
///
/// Keys are counted in the newest 5,000 rows. Without `service`, every other key that is known of the range follows, with a
/// count of 0: those of rows in memory, and those that the catalog lists of segments of the range, which leaves out
/// only what exceeds its bound of keys for each segment. With `service`, keys are those of the rows looked at.
#[utoipa::path(get, path = "/api/v1/attributes", tag = "attributes", operation_id = "listAttributes",
    params(
        ("X-Scope-OrgID" = Option<String>, Header, description = "Tenant"),
        ("signal" = Option<String>, Query, description = "`logs` (default) or `spans`"),
        ("from" = Option<String>, Query), ("to" = Option<String>, Query),
        ("service" = Option<String>, Query),
        ("key" = Option<String>, Query, description = "Answer with the values of this key"),
        ("set" = Option<String>, Query, description = "`attributes` (default with `key`), `resource_attributes` or `scope_attributes`"),
        ("limit" = Option<u32>, Query)),
    responses((status = 200, body = AttributesAnswer), QueryRefusals))]
pub(super) async fn list(
    State(state): State<AppState>,
    Tenant(tenant): Tenant,
    RawQuery(raw): RawQuery,
) -> Result<Response, ApiError> {
    let query = QueryString::parse(raw.as_deref(), &PARAMETERS)?;
    let table = match query.text("signal")? {
        None | Some("logs") => Table::Logs,
        Some("spans" | "traces") => Table::Spans,
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "parameter `signal` is `{other}`; it must be `logs` or `spans`"
            )));
        }
    };
    let set = query.text("set")?.map(known_set).transpose()?;
    let (range, service) = (query.range()?, query.text("service")?);
    let mut filter = Predicate::default();
    filter.range(range).equals("service_name", service);
    match query.text("key")? {
        Some(key) => {
            let limit = query.number("limit", VALUES_DEFAULT, VALUES_MAX)?;
            let set = set.unwrap_or(SETS[0]);
            Ok(Json(values(&state, &tenant, table, set, key, filter, limit).await?).into_response())
        }
        None => {
            let limit = query.number("limit", KEYS_DEFAULT, KEYS_MAX)?;
            let sets: Vec<&'static str> = SETS
                .into_iter()
                .filter(|name| set.is_none_or(|set| set == *name))
                .collect();
            let mut keys = sampled_keys(&state, &tenant, table, &sets, &filter).await?;
            // Of which service a key is, only its rows tell.
            if service.is_none() {
                let snapshot = state.backend.snapshot(&tenant).await?;
                add_known(
                    &mut keys,
                    &snapshot.attribute_keys_within(table, range.from, range.to),
                    &sets,
                );
            }
            keys.keys.truncate(limit as usize);
            Ok(Json(keys).into_response())
        }
    }
}

fn known_set(name: &str) -> Result<&'static str, ApiError> {
    SETS.into_iter().find(|set| *set == name).ok_or_else(|| {
        ApiError::bad_request(format!(
            "parameter `set` is `{name}`; it must be one of {}",
            SETS.join(", ")
        ))
    })
}

/// The keys of the newest rows, most frequent first.
async fn sampled_keys(
    state: &AppState,
    tenant: &TenantId,
    table: Table,
    sets: &[&'static str],
    filter: &Predicate,
) -> Result<AttributeKeyList, ApiError> {
    let sql = format!(
        "SELECT {} FROM {}{} ORDER BY timestamp DESC LIMIT {KEY_ROWS_MAX}",
        sets.join(", "),
        table.as_str(),
        filter.clause()
    );
    let batches = state.backend.rows(tenant, &sql).await?;
    let rows: Vec<Vec<Attributes>> = read_all(&batches, |row| {
        sets.iter().map(|set| row.attributes(set)).collect()
    });
    let mut counts: HashMap<(&'static str, &str), i64> = HashMap::new();
    for row in &rows {
        for (set, attributes) in sets.iter().zip(row) {
            for key in attributes.keys() {
                *counts.entry((set, key)).or_default() += 1;
            }
        }
    }
    let mut keys: Vec<AttributeKey> = counts
        .into_iter()
        .map(|((set, key), count)| AttributeKey {
            set: set.to_owned(),
            key: key.to_owned(),
            count,
        })
        .collect();
    keys.sort_by(|a, b| {
        b.count
            .cmp(&a.count)
            .then_with(|| (&a.set, &a.key).cmp(&(&b.set, &b.key)))
    });
    Ok(AttributeKeyList {
        keys,
        rows_examined: rows.len() as i64,
    })
}

/// Adds the keys that no row looked at has, by set and name.
fn add_known(list: &mut AttributeKeyList, known: &[KnownKey], sets: &[&'static str]) {
    let listed: HashSet<(String, String)> = list
        .keys
        .iter()
        .map(|key| (key.set.clone(), key.key.clone()))
        .collect();
    let unseen = known.iter().filter_map(|known| {
        let names = (known.set.column().to_owned(), known.key.clone());
        (sets.contains(&names.0.as_str()) && !listed.contains(&names)).then_some(names)
    });
    list.keys
        .extend(unseen.map(|(set, key)| AttributeKey { set, key, count: 0 }));
}

async fn values(
    state: &AppState,
    tenant: &TenantId,
    table: Table,
    set: &'static str,
    key: &str,
    filter: Predicate,
    limit: u64,
) -> Result<AttributeValueList, ApiError> {
    let attribute = format!("{set}->>{}", predicate::text(key));
    let mut filter = filter;
    filter.add(format!("{attribute} IS NOT NULL"));
    let sql = format!(
        "SELECT {attribute} AS value, count(*) AS occurrences FROM {}{} \
         GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {limit}",
        table.as_str(),
        filter.clause()
    );
    let batches = state.backend.rows(tenant, &sql).await?;
    let values = read_all(&batches, |row| AttributeValue {
        value: row.text("value"),
        count: row.integer("occurrences").unwrap_or_default(),
    });
    Ok(AttributeValueList {
        key: key.to_owned(),
        values,
    })
}
