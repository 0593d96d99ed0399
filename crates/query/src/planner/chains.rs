//! Long chains of operators: of `OR` and `AND`, as generated filters have them, made shallow before they are planned; of
//! others, which nobody writes by hand, refused.
//!
//! A chain is parsed as a tree as deep as it is long, and the planner asks for the type of each node by walking
//! everything below it: the time it takes, in which nothing can stop it, grows with the square of the length.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr, Query, SetExpr, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::QueryError;

/// Shorter chains are left as they are written. Above the depth of what is made of the longest one.
const TERMS_MIN: usize = 32;

/// Longest chain of operators other than `OR` and `AND`, of set operations, and of joins.
const CHAIN_MAX: usize = 500;

pub(crate) fn prepare_statement(statement: &mut Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Statement(statement) => prepare(statement),
        Statement::Explain(explain) => prepare_statement(&mut explain.statement),
        _ => Ok(()),
    }
}

/// To be called on statements before they are planned.
pub fn prepare(statement: &mut ast::Statement) -> Result<(), QueryError> {
    match statement.visit(&mut Chains) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(QueryError::TooComplex {
            what: format!("it has a chain of more than {CHAIN_MAX} {what}"),
        }),
    }
}

/// Refuses text with a chain that is too long, for protocols whose parsers walk what they have parsed. Other errors are
/// for them to find.
pub fn check_chains(sql: &str) -> Result<(), QueryError> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap_or_default();
    statements.iter_mut().try_for_each(prepare)
}

struct Chains;

/// What an expression begins with, where that has been parsed without recursion: a chain of these can be of any length.
fn first(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::BinaryOp { left, .. } | Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => Some(left),
        Expr::IsNull(expr)
        | Expr::IsNotNull(expr)
        | Expr::IsTrue(expr)
        | Expr::IsNotTrue(expr)
        | Expr::IsFalse(expr)
        | Expr::IsNotFalse(expr)
        | Expr::IsUnknown(expr)
        | Expr::IsNotUnknown(expr)
        | Expr::Cast { expr, .. }
        | Expr::Collate { expr, .. }
        | Expr::InList { expr, .. }
        | Expr::Between { expr, .. }
        | Expr::Like { expr, .. }
        | Expr::ILike { expr, .. }
        | Expr::SimilarTo { expr, .. } => Some(expr),
        Expr::AtTimeZone { timestamp, .. } => Some(timestamp),
        Expr::CompoundFieldAccess { root, .. } => Some(root),
        _ => None,
    }
}

/// How often an expression begins with another, `OR` and `AND` not counted.
fn operators(expr: &Expr) -> usize {
    let chain = std::iter::successors(Some(expr), |expr| first(expr));
    chain
        .filter(|expr| first(expr).is_some())
        .filter(|expr| !matches!(expr, Expr::BinaryOp { op, .. } if is_chained(op)))
        .count()
}

/// How often a set operation begins with another.
fn set_operations(mut body: &SetExpr) -> usize {
    let mut found = 0;
    while let SetExpr::SetOperation { left, .. } = body {
        found += 1;
        body = left;
    }
    found
}

impl VisitorMut for Chains {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<&'static str> {
        if set_operations(&query.body) > CHAIN_MAX {
            return ControlFlow::Break("set operations");
        }
        if let SetExpr::Select(select) = query.body.as_ref()
            && select.from.iter().map(|from| 1 + from.joins.len()).sum::<usize>() > CHAIN_MAX
        {
            return ControlFlow::Break("joins");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<&'static str> {
        if operators(expr) > CHAIN_MAX {
            return ControlFlow::Break("operators");
        }
        let op = match expr {
            Expr::BinaryOp { op, .. } if is_chained(op) => op.clone(),
            _ => return ControlFlow::Continue(()),
        };
        if terms(expr, &op) >= TERMS_MIN {
            let chain = std::mem::replace(expr, Expr::Identifier(ast::Ident::new("")));
            *expr = balanced(chain, &op);
        }
        ControlFlow::Continue(())
    }
}

fn is_chained(op: &BinaryOperator) -> bool {
    matches!(op, BinaryOperator::And | BinaryOperator::Or)
}

fn terms(mut expr: &Expr, chained: &BinaryOperator) -> usize {
    let mut terms = 1;
    while let Expr::BinaryOp { left, op, .. } = expr
        && op == chained
    {
        terms += 1;
        expr = left;
    }
    terms
}

fn balanced(mut chain: Expr, chained: &BinaryOperator) -> Expr {
    let mut terms = Vec::new();
    loop {
        match chain {
            Expr::BinaryOp { left, op, right } if op == *chained => {
                terms.push(*right);
                chain = *left;
            }
            first => {
                chain = first;
                break;
            }
        }
    }
    terms.push(chain);
    terms.reverse();
    while terms.len() > 1 {
        let mut rest = terms.into_iter();
        let mut pairs = Vec::new();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                None => left,
                Some(right) => Expr::BinaryOp {
                    left: Box::new(left),
                    op: chained.clone(),
                    right: Box::new(right),
                },
            });
        }
        terms = pairs;
    }
    terms
        .pop()
        .unwrap_or_else(|| Expr::Identifier(ast::Ident::new("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_nobody_writes_are_refused() {
        for (sql, too_long) in [
            (format!("SELECT 1{}", "+1".repeat(400)), false),
            (format!("SELECT 1{}", "+1".repeat(7_000)), true),
            (format!("SELECT 1{}", "::INT".repeat(5_000)), true),
            (format!("SELECT 1{}", " IS NULL".repeat(5_000)), true),
            (format!("SELECT 1{}", " UNION SELECT 1".repeat(3_000)), true),
            (format!("SELECT 1 FROM a{}", ", a".repeat(3_000)), true),
            (format!("SELECT 1 FROM a{}", " CROSS JOIN a".repeat(3_000)), true),
            (format!("SELECT (SELECT max(1{}))", "||1".repeat(3_000)), true),
            (format!("SELECT 1 WHERE a{}", " OR a".repeat(7_000)), false),
        ] {
            assert_eq!(check_chains(&sql).is_err(), too_long, "{}", &sql[..30]);
        }
    }

    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryOp { left, op, right } if is_chained(op) => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }

    #[test]
    fn long_chains_are_shallow_and_say_the_same() {
        let terms: Vec<String> = (0..1000).map(|n| format!("a = {n} AND b")).collect();
        let sql = terms.join(" OR ");
        let mut expr = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(&sql)
            .unwrap()
            .parse_expr()
            .unwrap();
        let written = expr.to_string();
        let _ = expr.visit(&mut Chains);
        assert_eq!(expr.to_string(), written);
        assert!(depth(&expr) <= 11, "{}", depth(&expr));
    }
}
