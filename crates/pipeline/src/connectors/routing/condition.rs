//! What a row of the routing table asks: a condition of the transformation language, or one on a header of the request.

use cupola_export::otlp::TENANT_HEADER;
use cupola_telemetry::{Batch, Signal};

use super::{RouteConfig, RouteContext};
use crate::ottl::{Conditions, Context, Env, ErrorMode, OttlError, RunError, Split, infer_condition};
use crate::processors::origin::header;
use crate::processors::{ConfigError, StatementProblem};

#[derive(Debug)]
pub(super) enum RouteCondition {
    Always,
    Tenant {
        equal: bool,
        tenant: String,
    },
    /// Its first value; one that is not there equals nothing, and differs from nothing.
    Header {
        name: String,
        equal: bool,
        value: String,
    },
    Holds(Conditions),
}

impl RouteContext {
    /// As the transformation language has it; nothing for requests, which it does not know.
    fn ottl(self) -> Option<Context> {
        Some(match self {
            Self::Request => return None,
            Self::Resource => Context::Resource,
            Self::Span => Context::Span,
            Self::Log => Context::Log,
            Self::Metric => Context::Metric,
            Self::DataPoint => Context::DataPoint,
        })
    }
}

impl RouteCondition {
    /// `key` is that of the row: `table[1]`.
    pub(super) fn compile(
        key: &str,
        row: &RouteConfig,
        signal: Signal,
        mode: ErrorMode,
    ) -> Result<Self, ConfigError> {
        let (text, key) = match (&row.condition, &row.statement) {
            (Some(condition), None) => (condition.trim(), format!("{key}.condition")),
            (None, Some(_)) if row.context == Some(RouteContext::Request) => {
                return Err(ConfigError::setting(
                    key,
                    "the request context needs a `condition`",
                ));
            }
            (None, Some(statement)) => {
                let key = format!("{key}.statement");
                match condition_of_statement(&key, statement)? {
                    Some(condition) => (condition, key),
                    None => return Ok(Self::Always),
                }
            }
            (Some(_), Some(_)) => {
                return Err(ConfigError::setting(
                    key,
                    "has a `condition` and a `statement`: use one",
                ));
            }
            (None, None) => return Err(ConfigError::setting(key, "needs a `condition` or a `statement`")),
        };
        let Some(context) = row.context else {
            return Self::infer(&key, text, signal, mode);
        };
        let Some(context) = context.ottl() else {
            return request_condition(&key, text);
        };
        if context.signal().is_some_and(|other| other != signal) {
            let problem = format!("there is no context `{context}` in pipelines of {signal}");
            return Err(ConfigError::setting(key, problem));
        }
        Self::holds(&key, context, text, mode)
    }

    /// Of the resource, or of what the paths name.
    fn infer(key: &str, text: &str, signal: Signal, mode: ErrorMode) -> Result<Self, ConfigError> {
        if text.starts_with("request[") {
            return request_condition(key, text);
        }
        let of_resource = Self::holds(key, Context::Resource, text, mode);
        if of_resource.is_ok() {
            return of_resource;
        }
        match infer_condition(signal, text) {
            Ok(context) => Self::holds(key, context, text, mode),
            Err(error) => Err(problems(key, vec![error])),
        }
    }

    fn holds(key: &str, context: Context, text: &str, mode: ErrorMode) -> Result<Self, ConfigError> {
        let compiled = Conditions::compile(context, &[text.to_owned()]);
        let conditions = compiled.map_err(|errors| problems(key, errors))?;
        Ok(Self::Holds(conditions.with_error_mode(mode)))
    }

    /// What it holds for, and the rest.
    pub(super) fn split(&self, batch: &Batch, env: &dyn Env) -> Result<Split, RunError> {
        let matches = match self {
            Self::Always => true,
            Self::Tenant { equal, tenant } => (batch.tenant().as_str() == tenant) == *equal,
            Self::Header { name, equal, value } => header(batch, name)
                .first()
                .is_some_and(|found| (found == value) == *equal),
            Self::Holds(conditions) => return conditions.split(batch, env),
        };
        let batch = Some(batch.clone());
        let (matched, rest) = if matches { (batch, None) } else { (None, batch) };
        Ok(Split {
            matched,
            rest,
            errors: 0,
            first_error: None,
        })
    }
}

fn problems(key: &str, errors: Vec<OttlError>) -> ConfigError {
    let problem = |error| StatementProblem {
        key: key.to_owned(),
        error,
    };
    ConfigError::Statements(errors.into_iter().map(problem).collect())
}

/// The condition of `route() where …`; nothing of `route()`.
fn condition_of_statement<'s>(key: &str, statement: &'s str) -> Result<Option<&'s str>, ConfigError> {
    let after = |text: &'s str, word: &str| Some(text.trim_start().strip_prefix(word)?.trim_start());
    let call = after(statement, "route")
        .and_then(|rest| after(rest, "("))
        .and_then(|rest| after(rest, ")"));
    let Some(rest) = call else {
        let problem = "only `route()` and `route() where CONDITION` are possible here; to change what is routed, use a \
                       transform processor";
        return Err(ConfigError::setting(key, problem));
    };
    match rest.strip_prefix("where") {
        None if rest.is_empty() => Ok(None),
        Some(condition) if condition.starts_with([' ', '\t', '\n', '(']) => Ok(Some(condition.trim())),
        _ => Err(ConfigError::setting(
            key,
            "expected `where` or nothing after `route()`",
        )),
    }
}

/// `request["X-Scope-OrgID"] == "acme"`.
fn request_condition(key: &str, text: &str) -> Result<RouteCondition, ConfigError> {
    let form = || {
        let problem = "expected `request[\"HEADER\"] == \"VALUE\"` or the same with `!=`";
        ConfigError::setting(key, problem)
    };
    let rest = text.strip_prefix("request[").ok_or_else(form)?;
    let (name, rest) = quoted(rest).ok_or_else(form)?;
    let rest = rest.trim_start().strip_prefix(']').ok_or_else(form)?.trim_start();
    let (equal, rest) = match (rest.strip_prefix("=="), rest.strip_prefix("!=")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(form()),
    };
    let (value, rest) = quoted(rest).ok_or_else(form)?;
    if !rest.trim().is_empty() {
        return Err(form());
    }
    let value = value.to_owned();
    Ok(match name.eq_ignore_ascii_case(TENANT_HEADER) {
        true => RouteCondition::Tenant { equal, tenant: value },
        false => RouteCondition::Header {
            name: name.to_owned(),
            equal,
            value,
        },
    })
}

/// A text in double quotes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.trim_start().strip_prefix('"')?.split_once('"')
}
