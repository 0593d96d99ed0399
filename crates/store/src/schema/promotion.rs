//! Which attributes get a column of their own: about thirty names of the semantic conventions always, others where
//! they occur often enough. A profile is a value: it is learned from finished chunks and given to the next seal.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{AttributeSet, KeyCounts, KeyStatistics, PROMOTED_PER_SET_MAX, PromotedColumn, Table, ValueType};

/// An attribute not promoted so far is promoted when it is in at least one row out of this many.
const PROMOTE_ONE_IN: u64 = 20;
/// A promoted attribute stays promoted while it is in at least one row out of this many.
const DEMOTE_ONE_IN: u64 = 100;
/// The profile is decided again when one row out of this many is new.
const DECIDE_ONE_IN: u64 = 16;
/// Rows after which the learned counts are halved.
const LEARNED_ROWS_MAX: u64 = 1_000_000;

/// Names that get a column wherever they occur: what the views, the service map and most queries ask for.
pub const ALWAYS_PROMOTED: &[(AttributeSet, &str, ValueType)] = &[
    (AttributeSet::Resource, "service.name", ValueType::String),
    (AttributeSet::Resource, "service.namespace", ValueType::String),
    (AttributeSet::Resource, "service.version", ValueType::String),
    (AttributeSet::Resource, "service.instance.id", ValueType::String),
    (
        AttributeSet::Resource,
        "deployment.environment.name",
        ValueType::String,
    ),
    (AttributeSet::Resource, "host.name", ValueType::String),
    (AttributeSet::Resource, "k8s.namespace.name", ValueType::String),
    (AttributeSet::Resource, "k8s.pod.name", ValueType::String),
    (AttributeSet::Resource, "k8s.deployment.name", ValueType::String),
    (AttributeSet::Resource, "k8s.container.name", ValueType::String),
    (AttributeSet::Resource, "cloud.region", ValueType::String),
    (
        AttributeSet::Resource,
        "telemetry.sdk.language",
        ValueType::String,
    ),
    (AttributeSet::Item, "http.request.method", ValueType::String),
    (AttributeSet::Item, "http.response.status_code", ValueType::Int),
    (AttributeSet::Item, "http.route", ValueType::String),
    (AttributeSet::Item, "url.path", ValueType::String),
    (AttributeSet::Item, "url.full", ValueType::String),
    (AttributeSet::Item, "server.address", ValueType::String),
    (AttributeSet::Item, "server.port", ValueType::Int),
    (AttributeSet::Item, "client.address", ValueType::String),
    (AttributeSet::Item, "peer.service", ValueType::String),
    (AttributeSet::Item, "db.system.name", ValueType::String),
    (AttributeSet::Item, "db.operation.name", ValueType::String),
    (AttributeSet::Item, "db.collection.name", ValueType::String),
    (AttributeSet::Item, "rpc.system", ValueType::String),
    (AttributeSet::Item, "rpc.service", ValueType::String),
    (AttributeSet::Item, "rpc.method", ValueType::String),
    (AttributeSet::Item, "messaging.system", ValueType::String),
    (
        AttributeSet::Item,
        "messaging.destination.name",
        ValueType::String,
    ),
    (AttributeSet::Item, "error.type", ValueType::String),
    (AttributeSet::Item, "exception.type", ValueType::String),
    (AttributeSet::Item, "exception.message", ValueType::String),
    (AttributeSet::Item, "user.id", ValueType::String),
    (AttributeSet::Item, "session.id", ValueType::String),
];

/// The attributes to promote in rows of one table, `service.name` included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromotionProfile {
    columns: Vec<PromotedColumn>,
}

impl PromotionProfile {
    /// The always-promoted names alone.
    pub fn initial(table: Table) -> PromotionProfile {
        PromotionProfile {
            columns: always(table).collect(),
        }
    }

    /// The names to promote in rows with these statistics: always-promoted names that occur, then the most frequent
    /// of the others, at most [`PROMOTED_PER_SET_MAX`] of a set. In a fixed order.
    pub fn decide(table: Table, statistics: &KeyStatistics) -> PromotionProfile {
        let mut columns = Vec::new();
        for set in table.attribute_sets() {
            let mut chosen: Vec<(u64, PromotedColumn)> = Vec::new();
            for (key, counts) in statistics.set(*set).sorted() {
                if let Some((rank, value_type)) = rank(*set, key, counts, statistics.rows) {
                    chosen.push((
                        rank,
                        PromotedColumn {
                            set: *set,
                            key: key.to_owned(),
                            value_type,
                        },
                    ));
                }
            }
            chosen.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            chosen.truncate(PROMOTED_PER_SET_MAX);
            columns.extend(chosen.into_iter().map(|(_, column)| column));
        }
        columns.sort();
        PromotionProfile { columns }
    }

    /// The always-promoted names whether they occurred or not, and what [`PromotionProfile::decide`] finds.
    fn expect(table: Table, statistics: &KeyStatistics) -> PromotionProfile {
        let mut profile = PromotionProfile::decide(table, statistics);
        for column in always(table) {
            if !profile.columns.contains(&column) {
                profile.columns.push(column);
            }
        }
        profile.columns.sort();
        profile
    }

    pub fn columns(&self) -> &[PromotedColumn] {
        &self.columns
    }
}

fn always(table: Table) -> impl Iterator<Item = PromotedColumn> {
    ALWAYS_PROMOTED
        .iter()
        .filter(move |(set, ..)| table.attribute_sets().contains(set))
        .map(|(set, key, value_type)| PromotedColumn {
            set: *set,
            key: (*key).to_owned(),
            value_type: *value_type,
        })
}

/// The weight and type of a key that deserves a column.
fn rank(set: AttributeSet, key: &str, counts: &KeyCounts, rows: u64) -> Option<(u64, ValueType)> {
    if let Some((_, _, value_type)) = ALWAYS_PROMOTED
        .iter()
        .find(|fixed| fixed.0 == set && fixed.1 == key)
    {
        return (counts.by_type[*value_type as usize] > 0).then_some((u64::MAX, *value_type));
    }
    // A column named after nothing could not be told from the map.
    if key.is_empty() {
        return None;
    }
    let (value_type, count) = counts.majority()?;
    let one_in = if counts.promoted.is_empty() {
        PROMOTE_ONE_IN
    } else {
        DEMOTE_ONE_IN
    };
    (count.saturating_mul(one_in) >= rows).then_some((count, value_type))
}

/// The profiles of one tenant, learning from each seal.
#[derive(Debug)]
pub struct PromotionProfiles {
    tables: [Mutex<Learned>; Table::ALL.len()],
}

#[derive(Debug)]
struct Learned {
    statistics: KeyStatistics,
    /// Rows counted when the profile was decided.
    decided_rows: u64,
    profile: Arc<PromotionProfile>,
}

impl Default for PromotionProfiles {
    fn default() -> PromotionProfiles {
        PromotionProfiles {
            tables: Table::ALL.map(|table| {
                Mutex::new(Learned {
                    statistics: KeyStatistics::default(),
                    decided_rows: 0,
                    profile: Arc::new(PromotionProfile::initial(table)),
                })
            }),
        }
    }
}

impl PromotionProfiles {
    pub fn profile(&self, table: Table) -> Arc<PromotionProfile> {
        self.tables[table as usize].lock().profile.clone()
    }

    /// Takes the key counts of newly built rows into account.
    pub fn learn(&self, table: Table, statistics: &KeyStatistics) {
        if table.attribute_sets().is_empty() {
            return;
        }
        let mut learned = self.tables[table as usize].lock();
        learned.statistics.merge(statistics);
        if learned.statistics.rows > LEARNED_ROWS_MAX {
            learned.statistics.age();
            learned.decided_rows = 0;
        }
        // A few rows among many change nothing; they come with every query that looks at the newest ones.
        let rows = learned.statistics.rows;
        if rows - learned.decided_rows < learned.decided_rows / DECIDE_ONE_IN {
            return;
        }
        learned.decided_rows = rows;
        let profile = PromotionProfile::expect(table, &learned.statistics);
        if *learned.profile != profile {
            learned.profile = Arc::new(profile);
        }
    }
}
