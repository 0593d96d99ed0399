//! Statements of all dialects, and of nobody's.

use proptest::prelude::*;

use super::*;

const DIALECTS: [Dialect; 4] = [
    Dialect::Postgres,
    Dialect::MySql,
    Dialect::Sqlite,
    Dialect::Unknown,
];

fn text(sql: &str, dialect: Dialect) -> String {
    read(sql, dialect).text
}

#[test]
fn values_are_no_part_of_the_text_and_placeholders_are() {
    for (sql, told) in [
        ("SELECT 1", "SELECT ?"),
        (
            "select * from t1 where a1 = 17 and b=-1.5e-3",
            "select * from t1 where a1 = ? and b=-?",
        ),
        ("SELECT 'it''s', x FROM t", "SELECT ?, x FROM t"),
        (
            "SELECT $1, ?2, ?, :name, @name FROM t",
            "SELECT $1, ?2, ?, :name, @name FROM t",
        ),
        ("SELECT a::text, b [1] FROM s.t", "SELECT a::text, b [1] FROM s.t"),
        ("SELECT N'x', x'ff', TRUE, NULL, .5", "SELECT ?, ?, TRUE, NULL, ?"),
        (
            "  SELECT /* of 'bob' */\n\t a -- 'alice'\nFROM t ; ",
            "SELECT a FROM t ;",
        ),
        (
            "a IN (1, 'x', $3) AND b NOT IN (SELECT 2)",
            "a IN (?) AND b NOT IN (SELECT ?)",
        ),
        ("SELECT 'never ends", "SELECT ?"),
        ("SELECT 'é', [名前] FROM 表", "SELECT ?, [名前] FROM 表"),
        ("", ""),
    ] {
        assert_eq!(
            text(sql, Dialect::Sqlite).replace("[1]", "[?]"),
            told.replace("[1]", "[?]"),
            "{sql}"
        );
    }
}

#[test]
fn texts_are_those_of_the_dialect() {
    for (dialect, sql, told) in [
        (
            Dialect::Postgres,
            "SELECT $$a'b$$, $x$ $$ $x$, E'a\\'b', 'c:\\', d",
            "SELECT ?, ?, ?, ?",
        ),
        (
            Dialect::Postgres,
            "SELECT U&'x', a[1], \"b'\" /* /* ' */ ' */",
            "SELECT U&?, a[?], \"b'\"",
        ),
        (Dialect::Postgres, "SELECT a -- b\rFROM c", "SELECT a FROM c"),
        (
            Dialect::MySql,
            "SELECT \"a\", 'b''c\\\\', `d'`, 5--1 # '\n, 2",
            "SELECT ?, ?, `d'`, ?--? , ?",
        ),
        (Dialect::MySql, "SELECT /*!40101 'x', */ a -- b\n", "SELECT ?, a"),
        // Which of both it is, is a setting of the server.
        (Dialect::MySql, "SELECT 'a\\', 'hunter2', b", "SELECT ?"),
        (Dialect::MySql, "SELECT \"a\\\", \"hunter2\", b", "SELECT ?"),
        (Dialect::MySql, "SELECT /*M!100100 b, */ a", "SELECT b, a"),
        (Dialect::Sqlite, "SELECT [it's], 'c:\\', 2", "SELECT [it's], ?, ?"),
        (Dialect::Unknown, "SELECT \"a\", 'b\\', 'c', d", "SELECT ?, ?"),
        (Dialect::Unknown, "SELECT a /* /* */ b", "SELECT a ?"),
        (Dialect::Unknown, "SELECT a /*! '*/' */, b", "SELECT a ?"),
    ] {
        assert_eq!(text(sql, dialect), told, "{sql}");
    }
}

#[test]
fn a_comment_is_code_where_mysql_says_so_and_not_where_that_is_doubtful() {
    for (sql, told) in [
        (
            "/*MyService*/ UPDATE users SET pw = 'a!hunter2 x' WHERE id = 1",
            "UPDATE users SET pw = ? WHERE id = ?",
        ),
        ("/* M! ' */ SELECT 'hunter2'", "SELECT ?"),
        ("SELECT 5*/* it's */3, 'hunter2'", "SELECT ?* ?, ?"),
        // Servers that do not execute it take it for a comment.
        ("SELECT /*!99999 it's */ 'hunter2'", "SELECT it?"),
        ("SELECT /*M! '*/', 'hunter2' */ 1", "SELECT ?"),
        ("SELECT /*!40101 a /*!50000 b */ , 'hunter2' */ 1", "SELECT a ?"),
        ("SELECT /*!40101 a", "SELECT ?"),
    ] {
        assert_eq!(text(sql, Dialect::MySql), told, "{sql}");
    }
}

#[test]
fn double_quotes_are_a_text_for_sqlite_where_no_name_has_to_be() {
    for (sql, told) in [
        (
            "SELECT * FROM users WHERE name = \"alice@example.org\"",
            "SELECT * FROM users WHERE name = ?",
        ),
        (
            "SELECT \"u\".\"id\", \"x\" FROM \"users\" \"u\", \"b\" JOIN \"c\" ON \"d\" = 1",
            "SELECT \"u\".\"id\", ? FROM \"users\" ?, \"b\" JOIN \"c\" ON ? = ?",
        ),
        (
            "INSERT OR REPLACE INTO \"t\" (\"a\") VALUES (\"bob\", \"x\")",
            "INSERT OR REPLACE INTO \"t\" (?) VALUES (?, ?)",
        ),
        (
            "UPDATE \"t\" SET a = \"bob\" WHERE b IN (\"c\", \"d\") OR a IS NOT DISTINCT FROM \"e\"",
            "UPDATE \"t\" SET a = ? WHERE b IN (?) OR a IS NOT DISTINCT FROM ?",
        ),
        (
            "CREATE TABLE IF NOT EXISTS \"t\" (a)",
            "CREATE TABLE IF NOT EXISTS \"t\" (a)",
        ),
        ("SELECT \"bob\".5", "SELECT ?.?"),
    ] {
        assert_eq!(text(sql, Dialect::Sqlite), told, "{sql}");
    }
    let summary = read("SELECT \"x\" FROM \"users\", \"b\"", Dialect::Sqlite).summary;
    assert_eq!(summary, "SELECT users b");
}

#[test]
fn a_summary_says_what_is_done_to_what() {
    for (sql, summary) in [
        ("SELECT * FROM wuser_table WHERE a = 1", "SELECT wuser_table"),
        (
            "select distinct a from only public.\"users\" u, b",
            "SELECT public.users b",
        ),
        (
            "INSERT INTO shipping (a, b) SELECT a, b FROM orders",
            "INSERT shipping SELECT orders",
        ),
        (
            "SELECT a FROM (SELECT * FROM orders o JOIN \"big customers\" c ON o.x = c.x) s, d",
            "SELECT SELECT orders \"big customers\" d",
        ),
        (
            "SELECT extract(year FROM at), a IS DISTINCT FROM b FROM t",
            "SELECT t",
        ),
        ("SELECT * FROM generate_series(1, 2) g JOIN t ON true", "SELECT t"),
        (
            "UPDATE t SET a = (SELECT max(a) FROM u) WHERE b = 2",
            "UPDATE t SELECT u",
        ),
        ("DELETE FROM a.b.c USING d WHERE x", "DELETE a.b.c d"),
        (
            "INSERT OR REPLACE INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1",
            "INSERT t",
        ),
        ("SELECT * FROM t FOR UPDATE", "SELECT t"),
        (
            "WITH a AS (SELECT 1 FROM t), \"b\" (x, y) AS (SELECT 2) INSERT INTO u SELECT * FROM a JOIN b",
            "SELECT t SELECT INSERT u SELECT",
        ),
        (
            "MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN UPDATE SET y = 1",
            "MERGE a b",
        ),
        (
            "CREATE TABLE IF NOT EXISTS t (a INT REFERENCES u ON DELETE CASCADE)",
            "CREATE TABLE t",
        ),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX i"),
        ("CREATE USER alice PASSWORD 'x'", "CREATE USER"),
        ("drop table a", "DROP TABLE a"),
        ("TRUNCATE TABLE t", "TRUNCATE t"),
        ("EXPLAIN ANALYZE SELECT * FROM t", "EXPLAIN SELECT t"),
        ("GRANT SELECT ON t TO u", "GRANT"),
        ("CALL shop.close_day(7)", "CALL shop.close_day"),
        ("COMMIT", "COMMIT"),
        ("(SELECT 1 FROM a) UNION (SELECT 2 FROM b)", "SELECT a SELECT b"),
        ("SELECT a; ; DELETE FROM b", "SELECT; DELETE b"),
        ("gibberish FROM secrets", ""),
        ("", ""),
    ] {
        assert_eq!(read(sql, Dialect::Postgres).summary, summary, "{sql}");
    }
}

#[test]
fn an_operation_and_a_collection_are_told_where_there_is_one() {
    let told = |sql| {
        let statement = read(sql, Dialect::Postgres);
        let operation = statement.operation.unwrap_or_default();
        (operation, statement.collection.unwrap_or_default())
    };
    for (sql, operation, collection) in [
        ("SELECT * FROM a JOIN a AS b ON true", "SELECT", "a"),
        ("SELECT * FROM a JOIN b ON true", "SELECT", ""),
        ("WITH x AS (SELECT 1 FROM a) DELETE FROM a", "DELETE", "a"),
        ("UPDATE a SET x = 1; UPDATE a SET x = 2", "UPDATE", "a"),
        ("UPDATE a SET x = 1; DELETE FROM a", "", "a"),
        ("CREATE INDEX i ON a (b)", "CREATE INDEX", ""),
    ] {
        assert_eq!(told(sql), (operation.to_owned(), collection.to_owned()), "{sql}");
    }
}

#[test]
fn what_is_long_is_cut() {
    let long = format!("SELECT {} FROM t", "é, ".repeat(10_000));
    let told = read(&long, Dialect::Postgres);
    assert!(told.text.len() <= TEXT_BYTES_MAX + '…'.len_utf8() && told.text.ends_with('…'));
    let many: Vec<String> = (0..1_000).map(|n| format!("table_{n}")).collect();
    let told = read(&format!("SELECT * FROM {}", many.join(", ")), Dialect::Postgres);
    assert!(told.summary.len() <= 255 && told.summary.starts_with("SELECT table_0 table_1"));
    assert_eq!(told.collection, None);
}

#[test]
fn of_the_names_of_a_with_no_more_are_known_than_each_table_may_be_compared_with() {
    let names: Vec<String> = (0..65).map(|at| format!("n{at}")).collect();
    let sql = format!(
        "WITH {} AS (SELECT 1) SELECT * FROM n0, n63, n64",
        names.join(", ")
    );
    assert_eq!(read(&sql, Dialect::Postgres).summary, "SELECT SELECT n64");
}

/// A literal with a secret in it, in every way in which the dialect lets one be written.
fn literal(dialect: Dialect, secret: &str, noise: &str, way: usize) -> String {
    let doubled = noise.replace('\\', "").replace('\'', "''");
    let escaped = noise.replace('\\', "\\\\").replace('\'', "\\'");
    let tagged = noise.replace('$', "");
    match (dialect, way) {
        (Dialect::Postgres, 0) => format!("E'{escaped}{secret}'"),
        (Dialect::Postgres, 1) => format!("$tag${tagged}{secret}$tag$"),
        (Dialect::Postgres, 2) => format!("/* {} /* ' */ {secret} */ 1", noise.replace(['*', '/'], "")),
        (Dialect::MySql, 0) => format!("'{escaped}{secret}'"),
        (Dialect::MySql, 1) => format!("\"{}{secret}\"", doubled.replace('"', "\"\"")),
        (Dialect::MySql, 4) => format!("'{doubled}\\', '{secret}'"),
        (Dialect::MySql, 2) => format!("1 # {}{secret}\n", noise.replace(['\n', '\r'], "")),
        (Dialect::Sqlite, 0) => format!("\"{}{secret}\"", noise.replace('"', "\"\"")),
        (_, 3) => format!("1 -- {}{secret}\n", noise.replace(['\n', '\r'], "")),
        _ => format!("'{doubled}{secret}'"),
    }
}

proptest! {
    #[test]
    fn whatever_is_said_there_is_no_panic_and_a_bound(sql in any::<String>(), which in 0usize..4) {
        let told = read(&sql, DIALECTS[which]);
        prop_assert!(told.summary.len() <= 255);
        prop_assert!(told.text.chars().count() <= sql.chars().count() + 1);
    }

    #[test]
    fn tokens_of_all_kinds_in_any_order_are_read(
        parts in prop::collection::vec(prop::sample::select(vec![
            "'", "\"", "`", "[", "]", "$", "$a$", "--", "/*", "*/", "#", "\\", ";", "(", ")", ",", ".", ":", "::", "@", "?",
            "e", "E'", "x'", "1", "1e", "-", "+", "é", " ", "\n", "\r", "SELECT", "FROM", "JOIN", "WITH", "AS", "INSERT",
            "INTO", "CREATE", "TABLE", "t", "IN",
        ]), 0..60),
        which in 0usize..4,
    ) {
        let told = read(&parts.concat(), DIALECTS[which]);
        prop_assert!(told.summary.len() <= 255);
        let spaced = read(&parts.join(" "), DIALECTS[which]);
        prop_assert!(spaced.summary.len() <= 255);
    }

    #[test]
    fn no_secret_is_told(
        noise in "[ -~\né]{0,20}",
        remark in "M?!?[ -~é]{0,20}",
        way in 0usize..5,
        which in 0usize..3,
        many in 1usize..4,
    ) {
        let dialect = DIALECTS[which];
        let secret = "zqsecretqz";
        let comment = format!("/*{}*/", remark.replace(['*', '/'], ""));
        let literals = (0..many).map(|_| format!("{comment}{}", literal(dialect, secret, &noise, way)));
        let literals: Vec<String> = literals.collect();
        let sql = format!("INSERT INTO t (a) VALUES ({}) RETURNING b", literals.join(", "));
        let told = read(&sql, dialect);
        prop_assert!(!told.text.contains(secret), "{sql} became {}", told.text);
        prop_assert!(!told.summary.contains(secret), "{sql}");
        // Nor where the dialect is not known.
        let told = read(&sql, Dialect::Unknown);
        prop_assert!(!told.text.contains(secret), "{sql} became {}", told.text);
    }
}
