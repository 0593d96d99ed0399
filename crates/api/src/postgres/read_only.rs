//! Lets statements through that only read, and refuses the rest: no tables, no files, no settings of the engine.

use async_trait::async_trait;
use cupola_query::datafusion::common::ParamValues;
use cupola_query::datafusion::logical_expr::LogicalPlan;
use cupola_query::datafusion::prelude::SessionContext;
use cupola_query::datafusion::sql::sqlparser::ast::{Query, Set, SetExpr, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::results::Response;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};

/// The first hook: what it refuses reaches no other.
#[derive(Debug)]
pub(super) struct ReadOnly;

fn refusal(statement: &Statement) -> Option<PgWireError> {
    if reads(statement) {
        return None;
    }
    // read_only_sql_transaction
    let message = "cannot execute this statement: Cupola answers statements that read".to_owned();
    Some(PgWireError::UserError(Box::new(ErrorInfo::new(
        "ERROR".to_owned(),
        "25006".to_owned(),
        message,
    ))))
}

fn reads(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => query_reads(query),
        Statement::Explain { statement, .. } => reads(statement),
        Statement::Declare { stmts } => stmts
            .iter()
            .all(|declared| declared.for_query.as_ref().is_none_or(|query| query_reads(query))),
        Statement::Set(set) => sets_client(set),
        Statement::Fetch { .. }
        | Statement::Close { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowCatalogs { .. }
        | Statement::ExplainTable { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Deallocate { .. }
        | Statement::Discard { .. } => true,
        _ => false,
    }
}

/// `WITH x AS (…) INSERT …` and `SELECT … INTO …` parse as queries too.
fn query_reads(query: &Query) -> bool {
    let with = query.with.iter().flat_map(|with| &with.cte_tables);
    with.into_iter().all(|table| query_reads(&table.query)) && body_reads(&query.body)
}

fn body_reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => query_reads(query),
        SetExpr::SetOperation { left, right, .. } => body_reads(left) && body_reads(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        _ => false,
    }
}

/// Settings of the connection, which clients make when they connect; none of the engine.
fn sets_client(set: &Set) -> bool {
    match set {
        Set::SingleAssignment { variable, .. } => {
            let name = variable.to_string().to_ascii_lowercase();
            !name.trim_matches('"').starts_with("datafusion")
        }
        Set::SetTimeZone { .. }
        | Set::SetTransaction { .. }
        | Set::SetSessionParam(_)
        | Set::SetNames { .. } => true,
        _ => false,
    }
}

#[async_trait]
impl QueryHook for ReadOnly {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _session: &SessionContext,
        _client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        refusal(statement).map(Err)
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _session: &SessionContext,
        _client: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        refusal(statement).map(Err)
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _plan: &LogicalPlan,
        _parameters: &ParamValues,
        _session: &SessionContext,
        _client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        refusal(statement).map(Err)
    }
}

#[cfg(test)]
mod tests {
    use cupola_query::datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use cupola_query::datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn check(sql: &str) -> bool {
        Parser::parse_sql(&PostgreSqlDialect {}, sql)
            .unwrap()
            .iter()
            .all(reads)
    }

    #[test]
    fn only_statements_that_read_pass() {
        for sql in [
            "SELECT 1",
            "WITH a AS (SELECT 1) SELECT * FROM a UNION ALL (SELECT 2)",
            "EXPLAIN SELECT 1",
            "SHOW search_path",
            "SET extra_float_digits = 3",
            "SET TIME ZONE 'UTC'",
            "BEGIN",
            "COMMIT",
            "VALUES (1)",
        ] {
            assert!(check(sql), "{sql}");
        }
        for sql in [
            "CREATE TABLE t (a INT)",
            "CREATE TABLE t AS SELECT 1",
            "INSERT INTO logs VALUES (1)",
            "DELETE FROM logs",
            "UPDATE logs SET body = ''",
            "DROP TABLE logs",
            "COPY logs TO '/tmp/x'",
            "EXPLAIN ANALYZE INSERT INTO logs VALUES (1)",
            "SET datafusion.runtime.memory_limit = '100G'",
            "SELECT 1 INTO t",
            "TRUNCATE logs",
        ] {
            assert!(!check(sql), "{sql}");
        }
    }
}
