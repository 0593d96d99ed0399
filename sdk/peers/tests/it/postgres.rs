//! PostgreSQL: each item is a row, asked for with `psql`.

use cupola_peers::expected::rows::{TABLES, expected, stored};
use cupola_peers::{peer_or_skip, postgres};
use cupola_sdk_peers::items::assert_same;
use cupola_telemetry::Batch;

use crate::application::run;
use crate::levels::of;

pub(crate) fn backend(server: &postgres::Running, level: &str) -> String {
    format!(
        "{{backend_type: postgres, level: {level}, config: {{url: \"{}\"}}}}",
        server.url()
    )
}

#[test]
fn everything_is_found_in_a_database_as_it_was_said() {
    let server = peer_or_skip!(postgres::start());
    let ran = run(300, &[backend(&server, "TRACE")]);
    check(&server, &ran.checked());
}

pub(crate) fn check(server: &postgres::Running, exported: &[Batch]) {
    for (signal, table, times) in TABLES {
        let arrived = stored(server, table, times);
        assert_same(table, &arrived, &expected(&of(signal, exported)));
    }
}
