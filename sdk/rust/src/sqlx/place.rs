//! Where a database is, as the options of its connections say.

use std::fmt::{self, Write as _};

use sqlx::{Connection, Database};

use super::statement::Dialect;
use crate::database::Place;

/// Longest text of options that is looked at.
const OPTIONS_BYTES_MAX: usize = 16 * 1024;

pub(super) fn dialect_of<DB: Database>() -> Dialect {
    match DB::NAME {
        "PostgreSQL" => Dialect::Postgres,
        "MySQL" => Dialect::MySql,
        "SQLite" => Dialect::Sqlite,
        _ => Dialect::Unknown,
    }
}

/// What is not known is left out, and may be told.
pub(super) fn place_of<DB: Database>(options: &<DB::Connection as Connection>::Options) -> Place {
    let system = match dialect_of::<DB>() {
        Dialect::Postgres => "postgresql",
        Dialect::MySql => "mysql",
        Dialect::Sqlite => "sqlite",
        Dialect::Unknown => {
            return Place {
                system: "other_sql",
                ..Place::default()
            };
        }
    };
    // Their address panics where the host is none that an address can have, and their getters are of types that are there
    // with the driver alone. `Debug` of all three is derived.
    let mut text = Bounded(String::new());
    let _ = write!(text, "{options:?}");
    let field = |name| field(&text.0, name);
    if system == "sqlite" {
        return Place {
            system,
            namespace: match field("in_memory") {
                Some("true") => Some(":memory:".to_owned()),
                _ => field("filename").map(str::to_owned),
            },
            ..Place::default()
        };
    }
    let socket = field("socket");
    Place {
        system,
        // Whoever names none is in that of the user's name.
        namespace: field("database")
            .or_else(|| field("username").filter(|_| system == "postgresql"))
            .map(str::to_owned),
        address: socket.or_else(|| field("host")).map(str::to_owned),
        port: field("port")
            .filter(|_| socket.is_none())
            .and_then(|port| port.parse().ok()),
    }
}

/// The value of a field in what `Debug` writes of a structure; none that needs an escape.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let value = begin_of(text, name)?;
    let value = value.strip_prefix("Some(").unwrap_or(value);
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => value.split([',', ' ', ')', '}']).next()?,
    };
    (!value.is_empty() && value != "None" && !value.contains('\\')).then_some(value)
}

/// What is behind the name of a field, which is one of the structure itself: neither of one within, nor in a text, such as a
/// password.
fn begin_of<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut is_text) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if is_text => at += 1,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            b' ' if depth == 1 => {
                let value = text[at + 1..].strip_prefix(name);
                if let Some(value) = value.and_then(|rest| rest.strip_prefix(": ")) {
                    return Some(value);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.0.len() + more.len() > OPTIONS_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_those_in_doubt_are_not() {
        let text = r#"Options { host: "db", port: 5432, socket: None, password: Some("a, database: b \", database: c"), within: Within { database: "d" }, database: Some("shop"), name: "a\"b" }"#;
        assert_eq!(field(text, "host"), Some("db"));
        assert_eq!(field(text, "port"), Some("5432"));
        assert_eq!(field(text, "database"), Some("shop"));
        for none in ["socket", "name", "nothing", "ort"] {
            assert_eq!(field(text, none), None, "{none}");
        }
        assert_eq!(field("", "host"), None);
    }
}
