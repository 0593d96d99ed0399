//! What is refused before it is planned: everything that is not a question, and text that is too long or too deep.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use crate::error::QueryError;

/// Longest statement.
pub(crate) const SQL_BYTES_MAX: usize = 256 << 10;
/// Most tokens of a statement. An expression is at most as deep as the statement has tokens, and the stack of the
/// planning threads is made for this depth.
pub(crate) const SQL_TOKENS_MAX: usize = 16_000;

/// Refuses text that is too much to parse.
pub(crate) fn check_text(sql: &str) -> Result<(), QueryError> {
    if sql.len() > SQL_BYTES_MAX {
        let what = format!(
            "the statement has {} bytes, at most {SQL_BYTES_MAX} are read",
            sql.len()
        );
        return Err(QueryError::TooComplex { what });
    }
    if sql.len() <= SQL_TOKENS_MAX {
        return Ok(());
    }
    // Text that cannot be cut into tokens is the parser's to explain.
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize()
        .map(|tokens| tokens.len())
        .unwrap_or(0);
    if tokens > SQL_TOKENS_MAX {
        let what = format!("the statement has {tokens} tokens, at most {SQL_TOKENS_MAX} are read");
        return Err(QueryError::TooComplex { what });
    }
    Ok(())
}

/// Refuses statements that are not questions.
pub(crate) fn check_statement(statement: &Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Statement(statement) => check_reads(statement),
        Statement::Explain(explain) => check_statement(&explain.statement),
        Statement::CopyTo(_) => Err(refused("COPY")),
        Statement::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE")),
        Statement::Reset(_) => Err(refused("RESET")),
    }
}

/// The same for protocols that parse themselves.
pub fn check_reads(statement: &ast::Statement) -> Result<(), QueryError> {
    match statement {
        ast::Statement::Query(query) => check_query(query),
        ast::Statement::Explain { statement, .. } => check_reads(statement),
        ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. } => Ok(()),
        // The settings of the engine are nobody's business.
        ast::Statement::ShowVariable { .. } => Err(refused("SHOW of a setting")),
        other => {
            let text = other.to_string();
            let words: Vec<&str> = text.split_whitespace().take(2).collect();
            let name = match words.as_slice() {
                [verb @ ("CREATE" | "DROP" | "ALTER"), noun] => format!("{verb} {noun}"),
                [verb, ..] => (*verb).to_owned(),
                [] => "this statement".to_owned(),
            };
            Err(refused(&name))
        }
    }
}

/// A query can hide statements that write, as `WITH x AS (INSERT …)`.
fn check_query(query: &ast::Query) -> Result<(), QueryError> {
    if let Some(with) = &query.with {
        with.cte_tables
            .iter()
            .try_for_each(|table| check_query(&table.query))?;
    }
    check_body(&query.body)
}

fn check_body(body: &ast::SetExpr) -> Result<(), QueryError> {
    match body {
        ast::SetExpr::Insert(_) => Err(refused("INSERT")),
        ast::SetExpr::Update(_) => Err(refused("UPDATE")),
        ast::SetExpr::Delete(_) => Err(refused("DELETE")),
        ast::SetExpr::Merge(_) => Err(refused("MERGE")),
        ast::SetExpr::Select(select) if select.into.is_some() => Err(refused("SELECT INTO")),
        ast::SetExpr::Query(query) => check_query(query),
        ast::SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        ast::SetExpr::Select(_) | ast::SetExpr::Values(_) | ast::SetExpr::Table(_) => Ok(()),
    }
}

fn refused(statement: &str) -> QueryError {
    QueryError::Refused {
        statement: statement.to_owned(),
    }
}
