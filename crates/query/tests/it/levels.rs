//! Levels mean the same in memory, in files, and above a scan.

use cupola_telemetry::{Batch, Signal, TenantId};

use crate::support::{Fixture, State, request};

/// One record for each of these severities, in this order of time.
const SEVERITIES: [i32; 9] = [13, 0, 17, 16, 14, 9, 25, 24, 1];

fn logs() -> Vec<Batch> {
    let record = |(index, severity): (usize, &i32)| {
        format!(
            r#"{{"timeUnixNano":"{}","severityNumber":{severity},"body":{{"stringValue":"s{severity}"}}}}"#,
            1_772_359_200_000_000_000u64 + index as u64
        )
    };
    let records: Vec<String> = SEVERITIES.iter().enumerate().map(record).collect();
    let json = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#,
        records.join(",")
    );
    vec![request(Signal::Logs, &TenantId::default_tenant(), &json)]
}

#[tokio::test(flavor = "multi_thread")]
async fn levels_compare_and_order_as_levels() {
    for state in State::ALL {
        let fixture = Fixture::filled(state, &logs()).await;
        // Within a level by time and not by severity; records without a level last.
        assert_eq!(
            fixture
                .lines("SELECT body FROM logs ORDER BY level, timestamp")
                .await[1..],
            ["s1", "s9", "s13", "s16", "s14", "s17", "s24", "s0", "s25"],
            "{state:?}"
        );
        for (condition, expected) in [
            ("level >= 'warn'", "s13,s14,s16,s17,s24"),
            ("level > 'warn'", "s17,s24"),
            ("level = 'WARN'", "s13,s14,s16"),
            ("level IN ('WARN', 'error')", "s13,s14,s16,s17"),
            ("level NOT IN ('WARN', 'error')", "s1,s24,s9"),
            ("level <> 'warn'", "s1,s17,s24,s9"),
            ("level < 'warn'", "s1,s9"),
            ("level <= 'warn'", "s1,s13,s14,s16,s9"),
            ("level IS NULL", "s0,s25"),
            ("level_rank(level) = 13", "s13,s14,s16"),
            ("level_rank(level) > 14", "s17,s24"),
            ("level_rank(level) = 14", "NULL"),
            ("level_rank(level) <> 13", "s1,s17,s24,s9"),
            ("level_rank(level) <= 200", "s1,s13,s14,s16,s17,s24,s9"),
        ] {
            let sql =
                format!("SELECT string_agg(body, ',' ORDER BY body) AS found FROM logs WHERE {condition}");
            assert_eq!(fixture.value(&sql).await, expected, "{condition} {state:?}");
            // The same where the scan does not do it.
            let above = sql.replace("FROM logs", "FROM (SELECT DISTINCT body, level FROM logs)");
            assert_eq!(fixture.value(&above).await, expected, "{condition} {state:?}");
        }
        assert_eq!(
            fixture
                .lines("SELECT DISTINCT level_rank(level) AS rank FROM logs ORDER BY rank")
                .await[1..],
            ["1", "9", "13", "17", "21", "NULL"],
            "{state:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_no_name_has_finds_nothing() {
    for state in State::ALL {
        let fixture = Fixture::filled(state, &crate::support::fixture_requests()).await;
        for sql in [
            "SELECT count(*) FROM series WHERE type = '300'",
            "SELECT count(*) FROM spans WHERE kind = '5000000000'",
        ] {
            assert_eq!(fixture.value(sql).await, "0", "{sql} {state:?}");
        }
    }
}
