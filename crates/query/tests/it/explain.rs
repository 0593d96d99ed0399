//! Filters leave out files, row groups and pages.

use crate::support::{Fixture, State, fixture_requests};

async fn analyzed(fixture: &Fixture, sql: &str) -> String {
    fixture.lines(&format!("EXPLAIN ANALYZE {sql}")).await.join("\n")
}

/// The sum of a pruning metric: `(total, matched)`.
fn pruned(plan: &str, metric: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for part in plan.split(&format!("{metric}=")).skip(1) {
        let text: Vec<&str> = part
            .split([',', ']', '\n'])
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        if let [total, "total", _, matched, "matched", ..] = text.as_slice() {
            sum = (
                sum.0 + total.parse::<u64>().unwrap(),
                sum.1 + matched.parse::<u64>().unwrap(),
            );
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_on_promoted_attributes_and_ids_prune_row_groups() {
    let fixture = Fixture::filled(State::Flushed, &fixture_requests()).await;
    for (table, columns, filter) in [
        ("logs", "body", "attributes['http.response.status_code'] = 503"),
        ("logs", "body", "attributes->>'http.route' = '/zzz'"),
        ("logs", "body", "attributes['ratio'] > 1000.0"),
        ("spans", "name", "trace_id = 'a0000000000000000000000000000999'"),
    ] {
        let is_read = format!("segments of {table}: [");
        let all = format!("SELECT {columns} FROM {table}");
        let plan = analyzed(&fixture, &all).await;
        assert!(plan.contains(&is_read), "what this test looks for: {all}\n{plan}");
        let sql = format!("{all} WHERE {filter}");
        let plan = analyzed(&fixture, &sql).await;
        let statistics = pruned(&plan, "row_groups_pruned_statistics");
        let bloom = pruned(&plan, "row_groups_pruned_bloom_filter");
        let left_out = (statistics.0 - statistics.1) + (bloom.0 - bloom.1);
        // A segment that an index excludes is not in the plan at all.
        assert!(
            !plan.contains(&is_read) || (left_out > 0 && left_out >= statistics.0),
            "{sql}\n{plan}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_on_time_and_service_leave_segments_out_of_the_plan() {
    let fixture = Fixture::filled(State::Flushed, &fixture_requests()).await;
    let all = fixture
        .lines("EXPLAIN SELECT body FROM logs")
        .await
        .join("\n")
        .matches(".parquet")
        .count();
    assert!(all > 2, "{all}");
    for (sql, most) in [
        (
            "EXPLAIN SELECT body FROM logs WHERE timestamp < '2026-03-01T10:00:01Z'",
            1,
        ),
        ("EXPLAIN SELECT body FROM logs WHERE timestamp > '2027-01-01'", 0),
        ("EXPLAIN SELECT body FROM logs WHERE service_name = 'nobody'", 0),
        (
            "EXPLAIN SELECT message FROM records WHERE kind = 'log' AND timestamp < '2026-03-01T10:00:01Z'",
            1,
        ),
    ] {
        let plan = fixture.lines(sql).await.join("\n");
        assert!(plan.matches(".parquet").count() <= most, "{sql}\n{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counting_reads_no_file() {
    let fixture = Fixture::filled(State::Flushed, &fixture_requests()).await;
    for sql in [
        "SELECT count(*) FROM logs",
        "SELECT min(timestamp), max(timestamp) FROM spans",
    ] {
        let plan = fixture.lines(&format!("EXPLAIN {sql}")).await.join("\n");
        assert!(!plan.contains(".parquet"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_is_read_from_its_column_alone() {
    let fixture = Fixture::filled(State::Flushed, &fixture_requests()).await;
    let plan = fixture
        .lines("EXPLAIN SELECT attributes['http.route'] FROM logs")
        .await
        .join("\n");
    // In the projection of the scan, where each file makes a column of it.
    assert!(plan.contains("projection=[attribute(attributes@"), "{plan}");
    assert!(!plan.contains("ProjectionExec"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_rows_are_found_before_they_are_read() {
    for state in State::ALL {
        let fixture = Fixture::filled(state, &fixture_requests()).await;
        for (sql, late) in [
            ("SELECT * FROM logs ORDER BY timestamp DESC LIMIT 5", true),
            (
                "SELECT * FROM logs WHERE level >= 'error' ORDER BY timestamp DESC LIMIT 5",
                true,
            ),
            (
                "SELECT body FROM logs WHERE attributes['rare.int'] > 1 ORDER BY timestamp DESC LIMIT 5",
                true,
            ),
            (
                "SELECT * FROM records ORDER BY timestamp DESC, kind, span_id LIMIT 5",
                true,
            ),
            (
                "SELECT timestamp FROM logs ORDER BY timestamp DESC LIMIT 5",
                false,
            ),
            ("SELECT * FROM logs ORDER BY timestamp DESC", false),
        ] {
            let plan = fixture.lines(&format!("EXPLAIN {sql}")).await.join("\n");
            assert_eq!(
                plan.contains("LateMaterializeExec"),
                late,
                "{sql} {state:?}\n{plan}"
            );
            // The same rows as without a limit, which is not late.
            let all = fixture.lines(&sql.replace(" LIMIT 5", "")).await;
            assert_eq!(
                fixture.lines(&sql.replace("LIMIT 5", "LIMIT 500")).await,
                all,
                "{sql} {state:?}"
            );
            let few: Vec<String> = all.into_iter().take(6).collect();
            if late {
                assert_eq!(fixture.lines(sql).await, few, "{sql} {state:?}");
            }
        }
    }
}
