//! Statements and conditions in configuration: a list of texts, or of groups with settings of their own.

use std::fmt;

use cupola_telemetry::Signal;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::ottl::{
    Conditions, Context, ErrorMode, OttlError, Statements, infer_condition, infer_group, infer_statement,
};

/// A statement, or several that run together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatementGroup {
    /// Taken from the paths if it is not given.
    pub context: Option<Context>,
    pub error_mode: Option<ErrorMode>,
    /// Whether `cache` is one for all groups of the context that share it, instead of new for each item.
    pub shared_cache: bool,
    /// Of which one must hold for the statements to run.
    pub conditions: Vec<String>,
    pub statements: Vec<String>,
}

impl StatementGroup {
    /// The statement that this is, if it is one without any settings.
    fn bare_statement(&self) -> Option<&String> {
        let bare = self.context.is_none()
            && self.conditions.is_empty()
            && self.error_mode.is_none()
            && !self.shared_cache;
        match &self.statements[..] {
            [statement] if bare => Some(statement),
            _ => None,
        }
    }
}

/// A condition, or several of which one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConditionGroup {
    /// Taken from the paths if it is not given.
    pub context: Option<Context>,
    pub error_mode: Option<ErrorMode>,
    pub conditions: Vec<String>,
}

impl ConditionGroup {
    /// Whether this is a condition without any settings.
    fn is_bare(&self) -> bool {
        self.context.is_none() && self.error_mode.is_none() && self.conditions.len() == 1
    }
}

/// A text, or a map of settings.
pub(super) struct OneOrGroup<T>(pub(super) T);

/// What a bare text stands for.
pub(super) trait FromText {
    fn from_text(text: String) -> Self;
}

impl FromText for StatementGroup {
    fn from_text(text: String) -> Self {
        Self {
            statements: vec![text],
            ..Self::default()
        }
    }
}

impl FromText for ConditionGroup {
    fn from_text(text: String) -> Self {
        Self {
            conditions: vec![text],
            ..Self::default()
        }
    }
}

impl<'de, T: FromText + Deserialize<'de>> Deserialize<'de> for OneOrGroup<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrGroupVisitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: FromText + Deserialize<'de>> Visitor<'de> for OneOrGroupVisitor<T> {
            type Value = OneOrGroup<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a group with its settings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrGroup(T::from_text(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OneOrGroup)
            }
        }

        deserializer.deserialize_any(OneOrGroupVisitor(std::marker::PhantomData))
    }
}

/// For `deserialize_with`: a list whose elements are texts or groups.
pub(super) fn groups<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromText + Deserialize<'de>,
{
    let groups = Vec::<OneOrGroup<T>>::deserialize(deserializer)?;
    Ok(groups.into_iter().map(|OneOrGroup(group)| group).collect())
}

/// A statement or condition in configuration that cannot be compiled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key}: {error}")]
pub struct StatementProblem {
    /// As `log_statements[2]`.
    pub key: String,
    pub error: OttlError,
}

/// Settings of a processor that cannot work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Statements(Vec<StatementProblem>),
    #[error("{key}: {problem}")]
    Setting { key: String, problem: String },
}

impl ConfigError {
    pub(crate) fn setting(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Setting {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

/// Gathers what is compiled and what cannot be.
#[derive(Default)]
pub(super) struct Compiling {
    problems: Vec<StatementProblem>,
}

impl Compiling {
    /// What was made of several texts; an error has the place of its own in the list `key`.
    fn keep_of<T>(&mut self, key: &str, texts: &[String], result: Result<T, Vec<OttlError>>) -> Option<T> {
        let errors = match result {
            Ok(compiled) => return Some(compiled),
            Err(errors) => errors,
        };
        for error in errors {
            let index = texts.iter().position(|text| *text == error.statement);
            let key = index.map_or_else(|| key.to_owned(), |index| format!("{key}[{index}]"));
            self.problems.push(StatementProblem { key, error });
        }
        None
    }

    fn keep<T>(&mut self, key: &str, result: Result<T, Vec<OttlError>>) -> Option<T> {
        let errors = match result {
            Ok(compiled) => return Some(compiled),
            Err(errors) => errors,
        };
        self.problems
            .extend(errors.into_iter().map(|error| StatementProblem {
                key: key.to_owned(),
                error,
            }));
        None
    }

    pub(super) fn finish<T>(self, compiled: T) -> Result<T, ConfigError> {
        match self.problems.is_empty() {
            true => Ok(compiled),
            false => Err(ConfigError::Statements(self.problems)),
        }
    }

    /// Compiles conditions of a context that is given.
    pub(super) fn conditions(
        &mut self,
        key: &str,
        context: Context,
        texts: &[String],
        mode: ErrorMode,
    ) -> Option<Conditions> {
        if texts.is_empty() {
            return None;
        }
        let conditions = self.keep_of(key, texts, Conditions::compile(context, texts))?;
        Some(conditions.with_error_mode(mode))
    }

    /// Compiles groups of conditions, one for each context that they turn out to have.
    pub(super) fn condition_groups(
        &mut self,
        key: &str,
        signal: Signal,
        groups: &[ConditionGroup],
        mode: ErrorMode,
    ) -> Vec<Conditions> {
        let mut compiled = Vec::new();
        for (index, group) in groups.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let mode = group.error_mode.unwrap_or(mode);
            for (index, text) in group.conditions.iter().enumerate() {
                let key = match group.is_bare() {
                    true => key.clone(),
                    false => format!("{key}.conditions[{index}]"),
                };
                let context = match group.context {
                    Some(context) => Some(context),
                    None => self.keep(&key, infer_condition(signal, text).map_err(|error| vec![error])),
                };
                let Some(context) = context else {
                    continue;
                };
                let conditions = Conditions::compile(context, std::slice::from_ref(text));
                let conditions = self.keep(&key, conditions);
                compiled.extend(conditions.map(|conditions| conditions.with_error_mode(mode)));
            }
        }
        compiled
    }

    /// Compiles groups of statements in their order. Bare statements run together in the context that all of them have;
    /// if there is none, those next to each other that have the same one do.
    pub(super) fn statement_groups(
        &mut self,
        key: &str,
        signal: Signal,
        groups: &[StatementGroup],
        mode: ErrorMode,
    ) -> Vec<Statements> {
        let mut compiled = Vec::new();
        let all_bare = common_context(signal, groups);
        let mut together: Option<(Context, Vec<String>)> = None;
        for (index, group) in groups.iter().enumerate() {
            let key = format!("{key}[{index}]");
            if let Some(statement) = group.bare_statement() {
                let inferred = match all_bare {
                    Some(context) => Ok(context),
                    None => infer_statement(signal, statement),
                };
                let Some(context) = self.keep(&key, inferred.map_err(|error| vec![error])) else {
                    continue;
                };
                // Compiled by itself once, so that its error has its own place.
                self.keep(
                    &key,
                    Statements::compile(context, std::slice::from_ref(statement)),
                );
                match &mut together {
                    Some((of, statements)) if *of == context => statements.push(statement.clone()),
                    _ => {
                        compiled.extend(compile_together(together.take(), mode));
                        together = Some((context, vec![statement.clone()]));
                    }
                }
                continue;
            }
            compiled.extend(compile_together(together.take(), mode));
            compiled.extend(self.statement_group(&key, signal, group, mode));
        }
        compiled.extend(compile_together(together, mode));
        compiled
    }

    fn statement_group(
        &mut self,
        key: &str,
        signal: Signal,
        group: &StatementGroup,
        mode: ErrorMode,
    ) -> Option<Statements> {
        let mode = group.error_mode.unwrap_or(mode);
        let context = match group.context {
            Some(context) => context,
            None => {
                let inferred = infer_group(signal, &group.statements, &group.conditions);
                let (list, texts) = match &inferred {
                    Err(error) if !group.statements.contains(&error.statement) => {
                        ("conditions", &group.conditions)
                    }
                    _ => ("statements", &group.statements),
                };
                let inferred = inferred.map_err(|error| vec![error]);
                self.keep_of(&format!("{key}.{list}"), texts, inferred)?
            }
        };
        let conditions = self.conditions(&format!("{key}.conditions"), context, &group.conditions, mode);
        let compiled = Statements::compile(context, &group.statements);
        let statements = self.keep_of(&format!("{key}.statements"), &group.statements, compiled)?;
        let statements = statements
            .with_error_mode(mode)
            .with_shared_cache(group.shared_cache);
        Some(match conditions {
            Some(conditions) => statements.with_conditions(conditions),
            None => statements,
        })
    }
}

/// The context in which bare statements run together, if nothing but such is there and one has them all.
fn common_context(signal: Signal, groups: &[StatementGroup]) -> Option<Context> {
    let statements: Option<Vec<String>> = groups
        .iter()
        .map(|group| group.bare_statement().cloned())
        .collect();
    infer_group(signal, &statements?, &[]).ok()
}

fn compile_together(together: Option<(Context, Vec<String>)>, mode: ErrorMode) -> Option<Statements> {
    let (context, statements) = together?;
    // What cannot be compiled has been told when it was looked at by itself.
    let compiled = Statements::compile(context, &statements).ok()?;
    Some(compiled.with_error_mode(mode))
}
