//! Expressions of `if`, `expr` and `EXPR(…)`: a bounded part of expr-lang, compiled once.
//!
//! What there is: literals and lists of them; `body` (or `$`), `attributes`, `resource`, `timestamp`, `env("NAME")`;
//! members by `.name`, `?.name` and `[…]`; `not`, `and`, `or`, comparisons, arithmetic, `in`, `matches` with a pattern that
//! is written out, `contains`, `startsWith`, `endsWith`, `??`, `? :`; and the functions of [`eval::FUNCTIONS`].
//! Refuses everything else of the language when it is compiled, pointing at the place.

mod eval;
mod lexer;
mod parser;

use std::collections::BTreeMap;
use std::fmt;

use super::entry::Entry;
use super::value::Value;
use parser::Node;

/// Bytes that an expression may have.
pub(super) const EXPRESSION_BYTES_MAX: usize = 8 * 1024;

/// The environment of the process, for `env("NAME")`.
pub(crate) type Variables = BTreeMap<String, String>;

/// An expression that can be asked for its value.
#[derive(Debug)]
pub(crate) struct Expression {
    root: Node,
}

/// An expression that cannot be compiled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{problem}, at byte {start} of `{text}`")]
pub struct ExpressionError {
    pub text: String,
    /// Of the part that is wrong.
    pub start: usize,
    pub end: usize,
    pub problem: String,
}

/// What is wrong, and where: bytes from and up to.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) problem: String,
}

impl Wrong {
    pub(super) fn new(start: usize, end: usize, problem: impl fmt::Display) -> Wrong {
        Wrong {
            start,
            end,
            problem: problem.to_string(),
        }
    }
}

impl ExpressionError {
    /// The problem over the expression with a line that points at the place.
    pub fn render(&self) -> String {
        let before = self.text.get(..self.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self
            .text
            .get(line_start..)
            .unwrap_or_default()
            .lines()
            .next()
            .unwrap_or_default();
        let indent = before.get(line_start..).unwrap_or_default().chars().count();
        let token = self.text.get(self.start..self.end).unwrap_or_default();
        let carets = token.lines().next().unwrap_or_default().chars().count().max(1);
        format!(
            "{}\n  {line}\n  {}{}",
            self.problem,
            " ".repeat(indent),
            "^".repeat(carets)
        )
    }
}

impl Expression {
    pub(crate) fn compile(text: &str, variables: &Variables) -> Result<Expression, ExpressionError> {
        let compiled = match text.len() > EXPRESSION_BYTES_MAX {
            true => Err(Wrong::new(
                0,
                0,
                format_args!("the expression is longer than {EXPRESSION_BYTES_MAX} bytes"),
            )),
            false => lexer::tokens(text).and_then(|tokens| parser::parse(text, &tokens, variables)),
        };
        let failed = |Wrong { start, end, problem }| ExpressionError {
            text: text.to_owned(),
            start,
            end,
            problem,
        };
        compiled.map(|root| Expression { root }).map_err(failed)
    }

    pub(crate) fn value(&self, entry: &Entry) -> Result<Value, String> {
        eval::value(&self.root, entry).map(|value| value.into_owned())
    }

    /// Of an expression that must say yes or no.
    pub(crate) fn holds(&self, entry: &Entry) -> Result<bool, String> {
        match eval::value(&self.root, entry)?.into_owned() {
            Value::Bool(value) => Ok(value),
            other => Err(format!("the expression gives {}, not a boolean", other.kind())),
        }
    }
}

/// Text with `EXPR(…)` in it, or without.
#[derive(Debug)]
pub(crate) struct Template {
    texts: Vec<String>,
    expressions: Vec<Expression>,
}

const OPENING: &str = "EXPR(";

impl Template {
    /// The parts are told apart as the Collector does: an expression ends at the last `)` before the next one begins.
    pub(crate) fn compile(text: &str, variables: &Variables) -> Result<Template, ExpressionError> {
        let (mut texts, mut expressions) = (Vec::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find(OPENING) {
            let after = &rest[at + OPENING.len()..];
            let range = &after[..after.find(OPENING).unwrap_or(after.len())];
            let Some(end) = range.rfind(')') else {
                break;
            };
            texts.push(rest[..at].to_owned());
            expressions.push(Expression::compile(&range[..end], variables)?);
            rest = &after[end + 1..];
        }
        texts.push(rest.to_owned());
        Ok(Template { texts, expressions })
    }

    /// The value of one expression alone; text otherwise, to which every expression must give text.
    pub(crate) fn render(&self, entry: &Entry) -> Result<String, String> {
        let mut out = String::new();
        for (index, text) in self.texts.iter().enumerate() {
            out.push_str(text);
            if let Some(expression) = self.expressions.get(index) {
                let value = expression.value(entry)?;
                out.push_str(value.as_text().map_err(|problem| format!("EXPR: {problem}"))?);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let json =
            serde_json::json!({"level": "warn", "code": 404, "tags": ["a", "b"], "http": {"method": "GET"}});
        let mut entry = Entry {
            body: Value::from_json(json),
            ..Entry::default()
        };
        entry.attributes.set("log.file.name", "app.log");
        entry.attributes.set("n", 3);
        entry.resource.set("service.name", "cart");
        entry
    }

    fn value(text: &str) -> Result<Value, String> {
        let variables = [("HOME".to_owned(), "/root".to_owned())].into_iter().collect();
        Expression::compile(text, &variables)
            .map_err(|error| error.render())?
            .value(&entry())
    }

    #[test]
    fn the_language_has_the_meaning_of_expr_lang() {
        for text in [
            r#"body.level == "warn""#,
            r#"$.level == 'warn' and $["code"] == 404.0"#,
            "body.code >= 400 && body.code < 500",
            r#"attributes["log.file.name"] matches "^app\\.log$""#,
            "attributes['log.file.name'] matches `^app\\.log$`",
            r#"not (body.level in ["info", "debug"])"#,
            r#""b" in body.tags and "level" in body and "x" not in body"#,
            r#"resource["service.name"] startsWith "ca" and resource["service.name"] endsWith "rt""#,
            r#"body.http.method contains "GE""#,
            "attributes.missing == nil and attributes.missing?.deeper == nil",
            "len(body.tags) == 2 and len(body.level) == 4",
            "(attributes.n > 2 ? 'many' : 'few') == 'many'",
            "attributes.missing ?? 'none' == 'none'",
            "1 + 2 * 3 == 7 and 2 ** 3 == 8 and 7 % 4 == 3 and -2 < 1 and 7 / 2 == 3.5",
            r#"upper(body.level) + "!" == "WARN!""#,
            r#"env("HOME") == "/root" and env("NOPE") == """#,
            "body.tags[0] == 'a' and body.tags[-1] == 'b'",
            "int('12') == 12 and string(5) == '5' and float('1.5') == 1.5",
            "!false || true",
            "split('a,b', ',') == ['a', 'b'] and trim('  x ') == 'x' and replace('aXb', 'X', '-') == 'a-b'",
            "body.level != nil and type(body.level) == 'string'",
        ] {
            assert_eq!(value(text), Ok(Value::Bool(true)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_pointed_at() {
        for (text, at, says) in [
            ("body.level ==", 13, "a value"),
            ("all(body.tags, # == 'a')", 0, "`all`"),
            ("body matches attributes.pattern", 13, "written out"),
            ("body matches '('", 13, "pattern"),
            ("boddy == 1", 0, "`body`"),
            ("'open", 0, "not closed"),
            ("body == {a: 1}", 8, "`{`"),
            ("len(1, 2)", 0, "argument"),
            ("1..3", 1, "range"),
            ("body | upper()", 5, "`|`"),
        ] {
            let error = Expression::compile(text, &Variables::new()).unwrap_err();
            assert_eq!(error.start, at, "{text}: {error}");
            assert!(error.problem.contains(says), "{text}: {error}");
            assert!(error.render().contains('^'));
        }
        let deep = format!("{}1{}", "(".repeat(500), ")".repeat(500));
        assert!(
            Expression::compile(&deep, &Variables::new())
                .unwrap_err()
                .problem
                .contains("nested")
        );
        let minus = format!("{}1", "-".repeat(5000));
        assert!(
            Expression::compile(&minus, &Variables::new())
                .unwrap_err()
                .problem
                .contains("nested")
        );
    }

    #[test]
    fn what_goes_wrong_at_work_is_an_error() {
        for text in [
            "body.missing.deeper",
            "attributes.n contains 'a'",
            "1 < 'a'",
            "attributes.n % 0",
            "'a' - 1",
        ] {
            assert!(value(text).is_err(), "{text}: {:?}", value(text));
        }
        let not_boolean = Expression::compile("1", &Variables::new()).unwrap();
        assert!(not_boolean.holds(&entry()).is_err());
    }

    #[test]
    fn templates_put_values_into_text() {
        let render = |text| {
            Template::compile(text, &Variables::new())
                .unwrap()
                .render(&entry())
        };
        assert_eq!(render("plain (text)").unwrap(), "plain (text)");
        assert_eq!(
            render("a-EXPR(body.level)-EXPR(upper(body.http.method))!").unwrap(),
            "a-warn-GET!"
        );
        assert!(render("EXPR(attributes.n)").is_err());
        assert!(Template::compile("EXPR(1 +)", &Variables::new()).is_err());
    }
}
