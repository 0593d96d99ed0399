//! Indexes in segments leave out rows, never one that matters.

use cupola_telemetry::encode::LogsEncoder;
use cupola_telemetry::{Batch, TenantId};

use crate::support::{Fixture, State};

/// Enough rows that merged segments have several filters and pages.
const ROWS: u64 = 40_000;
const FIRST_NANOS: u64 = 1_700_000_000_000_000_000;

/// Logs of four services. Each has a word of its own, a trace of ten rows, and a later time than the one before.
fn request(rows: std::ops::Range<u64>) -> Batch {
    let mut encoder = LogsEncoder::new();
    for service in 0..4 {
        let mut resource = encoder.resource_logs();
        resource
            .resource()
            .attribute("service.name", format!("service-{service}").as_str());
        let mut scope = resource.scope_logs();
        for row in rows.clone().filter(|row| row % 4 == service) {
            let mut record = scope.record();
            record
                .time_unix_nano(FIRST_NANOS + row)
                .severity_number(9)
                .trace_id(&(u128::from(row / 10) + 1).to_be_bytes());
            let body = format!(
                "Request took word{row} “quoted” and {}",
                if row == 77 { "größer needle_1" } else { "hay" }
            );
            if row % 1000 != 500 {
                record.body(body.as_str());
                continue;
            }
            let mut value = record.body_with();
            let mut list = value.key_value_list();
            list.attribute("note", body.as_str());
            list.attribute("ratio", row as f64 / 1000.0);
            if row == 500 {
                list.attribute("text", "needle_2 says \"hay\"\nneedle_3");
                list.attribute_with("list", |value| {
                    value.array().push(7_777_777).push(true).push(1e300);
                });
            }
        }
    }
    encoder.finish(TenantId::default_tenant())
}

async fn filled(state: State) -> Fixture {
    let requests: Vec<Batch> = (0..4)
        .map(|part| request(part * ROWS / 4..(part + 1) * ROWS / 4))
        .collect();
    Fixture::filled(state, &requests).await
}

#[tokio::test(flavor = "multi_thread")]
async fn words_and_traces_are_found_wherever_they_are() {
    for state in State::ALL {
        let fixture = filled(state).await;
        for (filter, rows) in [
            ("match(body, 'needle_1')", 1),
            ("match(body, 'GRÖSSER')", 0),
            ("match(body, 'größer REQUEST')", 1),
            ("match(body, 'word39999')", 1),
            ("match(body, 'quoted hay')", ROWS - 1),
            ("match(body, 'absent')", 0),
            ("match(body, 'needle_1 word78')", 0),
            ("body LIKE '%needle_1'", 1),
            ("body LIKE '%took word123 %'", 1),
            ("body LIKE '%took word12%'", 1111),
            ("body LIKE 'Request took word5 %'", 1),
            ("body LIKE '%eedle%'", 2),
            ("body NOT LIKE '%needle_1%'", ROWS - 1),
            ("body = 'Request took word5 “quoted” and hay'", 1),
            ("body = 'Request took word5'", 0),
            ("match(body, 'word5') OR match(body, 'word6')", 2),
            ("match(body, 'needle_2 hay')", 1),
            // In JSON a line break is a backslash and an n.
            ("match(body, 'nneedle_3')", 1),
            ("match(body, 'needle_3')", 0),
            ("match(body, 'list 7777777')", 1),
            ("match(body, 'text true 1e300')", 1),
            ("match(body, 'kvlistValue')", 0),
            ("body LIKE '%: 7777777 %'", 0),
            ("body LIKE '%:[7777777,true%'", 1),
            ("match(body, 'ratio note')", ROWS / 1000),
            ("match(body, 'note word1500')", 1),
            ("trace_id = '00000000000000000000000000000001'", 10),
            ("trace_id = '00000000000000000000000000000fa0'", 10),
            ("trace_id = '00000000000000000000000000ffffff'", 0),
            ("trace_id = 'no id'", 0),
            (
                "trace_id IN ('00000000000000000000000000000001', '00000000000000000000000000000fa0', 'x')",
                20,
            ),
            (
                "trace_id = '00000000000000000000000000000008' AND match(body, 'needle_1')",
                1,
            ),
            (
                "trace_id = '00000000000000000000000000000009' AND match(body, 'needle_1')",
                0,
            ),
        ] {
            let sql = format!("SELECT count(*) FROM logs WHERE {filter}");
            assert_eq!(fixture.value(&sql).await, rows.to_string(), "{state:?}: {filter}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_word_are_not_read() {
    let fixture = filled(State::Compacted).await;
    for (word, is_read) in [("absent", false), ("needle_1", true), ("needle_2", true)] {
        let sql = format!("EXPLAIN ANALYZE SELECT body FROM logs WHERE match(body, '{word}')");
        let plan = fixture.lines(&sql).await.join("\n");
        assert_eq!(plan.contains("segments of logs"), is_read, "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_rows_are_the_newest_whether_they_were_asked_for_before_or_not() {
    for state in State::ALL {
        let fixture = filled(state).await;
        // The second time the page index is in memory.
        for _ in 0..2 {
            for rows in [1, 7, 100] {
                let sql = format!("SELECT body, timestamp FROM logs ORDER BY timestamp DESC LIMIT {rows}");
                let lines = fixture.lines(&sql).await;
                let expected: Vec<String> =
                    (0..rows).map(|back| format!("word{}", ROWS - 1 - back)).collect();
                assert_eq!(lines.len(), expected.len() + 1);
                for (line, word) in lines.iter().skip(1).zip(&expected) {
                    assert!(
                        line.contains(&format!(" {word} ")),
                        "{state:?}: {line} is not {word}"
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_rows_are_looked_for_in_pages_that_may_have_them() {
    let fixture = filled(State::Compacted).await;
    let plan = fixture
        .lines("EXPLAIN SELECT body FROM logs ORDER BY timestamp DESC LIMIT 7")
        .await
        .join("\n");
    assert!(plan.contains("attempts=1"), "{plan}");
    assert!(plan.contains("timestamp@0 >= "), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_rows_that_pass_a_filter_are_found_however_rare_they_are() {
    for state in State::ALL {
        let fixture = filled(state).await;
        // The second time the page index is in memory, and the newest rows are looked through first.
        for _ in 0..2 {
            for (filter, matches) in [
                (
                    "service_name = 'service-1'",
                    (|row| row % 4 == 1) as fn(u64) -> bool,
                ),
                ("trace_id = '00000000000000000000000000000001'", |row| row < 10),
                ("match(body, 'needle_1')", |row| row == 77),
                ("body LIKE '%word1%'", |row| row.to_string().starts_with('1')),
                ("service_name = 'service-1' AND body LIKE '%word39%'", |row| {
                    row % 4 == 1 && row.to_string().starts_with("39")
                }),
            ] {
                for rows in [1, 7, 20] {
                    let sql = format!(
                        "SELECT body, flags FROM logs WHERE {filter} ORDER BY timestamp DESC LIMIT {rows}"
                    );
                    let lines = fixture.lines(&sql).await;
                    let expected: Vec<u64> = (0..ROWS).rev().filter(|row| matches(*row)).take(rows).collect();
                    assert_eq!(lines.len(), expected.len() + 1, "{state:?}: {sql}");
                    for (line, row) in lines.iter().skip(1).zip(&expected) {
                        assert!(line.contains(&format!(" word{row} ")), "{state:?}: {sql}: {line}");
                    }
                }
            }
        }
    }
}
