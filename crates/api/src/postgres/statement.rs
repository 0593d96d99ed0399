//! What a client's text is: questions, planned for the engine, and statements about the connection itself. Everything
//! else is refused: no tables, no files, no settings of the engine.
//!
//! Syntax trees and plans of questions are as deep as a client likes. They live and end within [`steps`] and
//! [`prepare`], which belong on the engine's threads (`QueryEngine::plan`).

use std::any::Any;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use cupola_query::datafusion::common::ParamValues;
use cupola_query::datafusion::error::DataFusionError;
use cupola_query::datafusion::logical_expr::LogicalPlan;
use cupola_query::datafusion::prelude::SessionContext;
use cupola_query::datafusion::sql::parser::Statement as DfStatement;
use cupola_query::datafusion::sql::sqlparser::ast::{Expr, Set, Statement};
use cupola_query::datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use cupola_query::datafusion::sql::sqlparser::parser::Parser as PlainParser;
use cupola_query::{PlannedQuery, QueryEngine, QueryError, check_chains, check_reads, readable_names};
use datafusion_postgres::DfSessionService;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::query::ExtendedQueryHandler as _;
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::api::stmt::QueryParser as _;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use datafusion_postgres::{Parser, QueryHook as _};
use futures::future::BoxFuture;

use super::execute::query_error;

/// A planned question.
pub(super) struct Question {
    /// As it is listed.
    pub(super) sql: String,
    pub(super) schema: SchemaRef,
    pub(super) planned: PlannedQuery,
}

/// One statement of a text.
pub(super) enum Step {
    Question(Question),
    Connection(AboutConnection),
}

/// A statement about the connection, which is small. Erased, so that futures that hold one need not prove of every
/// syntax tree that it may be sent.
#[derive(Clone)]
pub(super) struct AboutConnection(Arc<dyn Any + Send + Sync>);

/// A prepared statement. It is planned for its types, and again on a fresh snapshot each time it is executed: it holds no
/// plan, and so no rows.
#[derive(Clone)]
pub(super) struct Prepared(Arc<Description>);

pub(super) struct Description {
    pub(super) sql: String,
    /// In their order: the type on the wire, and the one of the plan where it is known.
    pub(super) parameters: Vec<(Type, Option<DataType>)>,
    pub(super) schema: SchemaRef,
    pub(super) connection: Option<AboutConnection>,
}

impl std::ops::Deref for Prepared {
    type Target = Description;

    fn deref(&self) -> &Description {
        &self.0
    }
}

/// The statements of a text, in their order.
pub(super) async fn steps(
    engine: &QueryEngine,
    session: &SessionContext,
    sql: &str,
) -> PgWireResult<Vec<Step>> {
    let mut steps = Vec::new();
    for statement in parse(sql)? {
        steps.push(if is_about_connection(&statement)? {
            Step::Connection(AboutConnection(Arc::new(statement)))
        } else {
            let sql = statement.to_string();
            let plan = plan(session, statement).await?;
            Step::Question(question(engine, session, sql, plan)?)
        });
    }
    Ok(steps)
}

/// The one question of a text, with its parameters filled in.
pub(super) async fn bind(
    engine: &QueryEngine,
    session: &SessionContext,
    sql: String,
    parameters: &ParamValues,
) -> PgWireResult<Question> {
    let statement = one(&sql)?;
    let plan = plan(session, statement).await?;
    let plan = plan.replace_params_with_values(parameters).map_err(plan_error)?;
    question(engine, session, sql, plan)
}

/// What there is to know of the one statement of a text; `None` when there is none.
pub(super) async fn prepare(session: &SessionContext, sql: String) -> PgWireResult<Option<Prepared>> {
    if parse(&sql)?.is_empty() {
        return Ok(None);
    }
    let statement = one(&sql)?;
    let description = if is_about_connection(&statement)? {
        Description {
            sql,
            parameters: Vec::new(),
            schema: Arc::new(shown(&statement)),
            connection: Some(AboutConnection(Arc::new(statement))),
        }
    } else {
        let plan = plan(session, statement.clone()).await?;
        Description {
            sql,
            schema: readable_names(plan.schema().inner()),
            parameters: parameters(statement, plan)?,
            connection: None,
        }
    };
    Ok(Some(Prepared(Arc::new(description))))
}

fn parse(sql: &str) -> PgWireResult<Vec<Statement>> {
    static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);
    check_chains(sql).map_err(|error| query_error(&error))?;
    PARSER.parse(sql).map_err(|error| {
        // It does not say where; the plain parser does.
        let located = PlainParser::parse_sql(&PostgreSqlDialect {}, sql).err();
        let place = located.and_then(|error| position(&error.to_string(), sql));
        let mut error = plan_error(DataFusionError::SQL(Box::new(error), None));
        if let PgWireError::UserError(info) = &mut error {
            info.position = place.map(|place| place.to_string());
        }
        error
    })
}

/// Where a parser stumbled, as PostgreSQL counts: characters from 1. Read from the message, which has line and column.
fn position(message: &str, sql: &str) -> Option<usize> {
    let (_, place) = message.rsplit_once("at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    let (line, column): (usize, usize) = (line.parse().ok()?, column.trim_end().parse().ok()?);
    let before = sql.split('\n').take(line.checked_sub(1)?);
    Some(before.map(|line| line.chars().count() + 1).sum::<usize>() + column)
}

fn one(sql: &str) -> PgWireResult<Statement> {
    let mut statements = parse(sql)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(refusal(
            "42601",
            "a prepared statement is one statement, not several".to_owned(),
        )),
    }
}

async fn plan(session: &SessionContext, mut statement: Statement) -> PgWireResult<LogicalPlan> {
    cupola_query::prepare(&mut statement).map_err(|error| query_error(&error))?;
    let statement = DfStatement::Statement(Box::new(statement));
    let planned = session.state().statement_to_plan(statement).await;
    planned.map_err(plan_error)
}

fn question(
    engine: &QueryEngine,
    session: &SessionContext,
    sql: String,
    plan: LogicalPlan,
) -> PgWireResult<Question> {
    Ok(Question {
        sql,
        schema: readable_names(plan.schema().inner()),
        planned: engine
            .planned(session.state(), plan)
            .map_err(|error| query_error(&error))?,
    })
}

fn parameters(statement: Statement, plan: LogicalPlan) -> PgWireResult<Vec<(Type, Option<DataType>)>> {
    // Types are read from the plan alone; which session the parser has does not matter.
    static PARSER: LazyLock<Arc<Parser>> = LazyLock::new(|| {
        DfSessionService::new_with_hooks(Arc::new(SessionContext::new()), Vec::new()).query_parser()
    });
    let mut known: Vec<(String, Option<DataType>)> = plan
        .get_parameter_types()
        .map_err(plan_error)?
        .into_iter()
        .collect();
    known.sort_by_key(|(name, _)| name.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX));
    let wire = PARSER.get_parameter_types(&(String::new(), Some((statement, plan))))?;
    let known = known.into_iter().map(|(_, known)| known);
    Ok(wire.into_iter().zip(known).collect())
}

/// Whether a statement is about the connection; an error for one that is neither that nor a question.
fn is_about_connection(statement: &Statement) -> PgWireResult<bool> {
    match statement {
        Statement::Set(set) if sets_client(set) => Ok(true),
        Statement::StartTransaction { statements, .. } if statements.is_empty() => Ok(true),
        Statement::ShowVariable { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowCatalogs { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Deallocate { .. }
        | Statement::Discard { .. } => Ok(true),
        Statement::Declare { .. } | Statement::Fetch { .. } | Statement::Close { .. } => Err(refusal(
            "0A000",
            "there are no cursors: rows are sent as they are read, as few at a time as a driver asks for with its fetch \
             size"
            .to_owned(),
        )),
        other => match check_reads(other) {
            Ok(()) => Ok(false),
            Err(error) => Err(query_error(&error)),
        },
    }
}

/// Settings of the connection, which clients make when they connect; none of the engine. With plain values: others could
/// be as deep as a question.
fn sets_client(set: &Set) -> bool {
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let name = variable.to_string().to_ascii_lowercase();
            !name.trim_matches('"').starts_with("datafusion") && values.iter().all(is_plain)
        }
        Set::SetTimeZone { value, .. } => is_plain(value),
        Set::SetTransaction { .. } | Set::SetSessionParam(_) | Set::SetNames { .. } => true,
        _ => false,
    }
}

fn is_plain(value: &Expr) -> bool {
    match value {
        Expr::UnaryOp { expr, .. } => matches!(expr.as_ref(), Expr::Value(_)),
        other => matches!(
            other,
            Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_)
        ),
    }
}

/// The columns of the answer to a statement about the connection.
fn shown(statement: &Statement) -> Schema {
    let shows = matches!(
        statement,
        Statement::ShowVariable { .. } | Statement::ShowStatus { .. } | Statement::ShowCatalogs { .. }
    );
    let fields = shows.then(|| Field::new("show", DataType::Utf8, false));
    Schema::new(fields.into_iter().collect::<Vec<_>>())
}

type Responded<'a> = BoxFuture<'a, Option<PgWireResult<Response>>>;

impl AboutConnection {
    /// The answer; `None` where nobody has one.
    pub(super) fn respond<'a>(&'a self, client: &'a mut dyn HookClient) -> Responded<'a> {
        static SET_SHOW: SetShowHook = SetShowHook;
        static TRANSACTIONS: TransactionStatementHook = TransactionStatementHook;
        // Settings of the engine do not reach the hooks.
        static NO_SESSION: LazyLock<SessionContext> = LazyLock::new(SessionContext::new);
        let Some(statement) = self.0.downcast_ref::<Statement>() else {
            return Box::pin(std::future::ready(None));
        };
        let tag = match statement {
            Statement::Deallocate { .. } => "DEALLOCATE",
            Statement::Discard { .. } => "DISCARD",
            Statement::Set(_)
            | Statement::ShowVariable { .. }
            | Statement::ShowStatus { .. }
            | Statement::ShowCatalogs { .. } => {
                return SET_SHOW.handle_simple_query(statement, &NO_SESSION, client);
            }
            _ => return TRANSACTIONS.handle_simple_query(statement, &NO_SESSION, client),
        };
        Box::pin(std::future::ready(Some(Ok(Response::Execution(Tag::new(tag))))))
    }
}

pub(super) fn refusal(code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(
        "ERROR".to_owned(),
        code.to_owned(),
        message,
    )))
}

fn plan_error(error: DataFusionError) -> PgWireError {
    query_error(&QueryError::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_statement_is_counted_in_characters() {
        let message = "Expected: an expression, found: FROM at Line: 2, Column: 5";
        assert_eq!(position(message, "sélect\n    from x"), Some(12));
        assert_eq!(position("Expected: end of statement", "select"), None);
        assert_eq!(position("at Line: 0, Column: 1", "select"), None);
    }

    fn check(sql: &str) -> bool {
        parse(sql)
            .unwrap()
            .iter()
            .all(|statement| is_about_connection(statement).is_ok())
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
            "DEALLOCATE ALL",
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
            "SET search_path = 1 + 1",
            "SELECT 1 INTO t",
            "SELECT 1 UNION ALL (SELECT 1 INTO t)",
            "TRUNCATE logs",
            "DECLARE c CURSOR FOR SELECT * FROM logs",
            "FETCH 10 FROM c",
        ] {
            assert!(!check(sql), "{sql}");
        }
    }
}
