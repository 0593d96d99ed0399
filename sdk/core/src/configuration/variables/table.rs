//! Every variable that is known, with what it takes, its default and what it does: what the reading, the warnings, the tests and
//! the page in the documentation have in common.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

mod known;

pub use known::GROUPS;
pub(super) use known::{LEVELS, PROTOCOLS};

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub kind: Kind,
    /// As it would be written; empty if there is none.
    pub default: &'static str,
    /// What it says.
    pub what: &'static str,
}

/// What a variable takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true`, whatever its case, is true.
    Boolean,
    /// A whole number, not below the least.
    Integer(u64),
    /// A whole number of milliseconds.
    Milliseconds,
    /// The same; 0 means without end.
    Timeout,
    /// One of ours: `500ms`, `5s`, `1h`; a number alone is of milliseconds.
    TimeSpan,
    /// `512MiB`, or a number of bytes.
    ByteSize,
    /// A number from 0 to 1.
    Share,
    /// One word of these, whatever its case.
    Word(&'static [&'static str]),
    /// Words of these, separated by commas.
    Words(&'static [&'static str]),
    /// Names or texts, separated by commas.
    List,
    /// `name=value`, separated by commas, values percent-encoded.
    Pairs,
    /// The same, and nobody is shown the values.
    Secrets,
    Text,
    /// Nobody is shown it.
    Secret,
    Url,
    Path,
    /// By what another variable says.
    Other,
    /// Known, and without an effect here.
    WithoutEffect,
}

impl Kind {
    /// In a few words, with the unit.
    pub fn describe(self) -> String {
        match self {
            Kind::Boolean => "`true` or `false`".to_owned(),
            Kind::Integer(0) => "number".to_owned(),
            Kind::Integer(least) => format!("number, at least {least}"),
            Kind::Milliseconds => "milliseconds".to_owned(),
            Kind::Timeout => "milliseconds; 0 is without end".to_owned(),
            Kind::TimeSpan => "duration such as `5s`, or milliseconds".to_owned(),
            Kind::ByteSize => "size such as `512MiB`, or bytes".to_owned(),
            Kind::Share => "number from 0 to 1".to_owned(),
            Kind::Word(words) => quoted(words),
            Kind::Words(words) => format!("list of {}", quoted(words)),
            Kind::List => "list, separated by commas".to_owned(),
            Kind::Pairs | Kind::Secrets => "list of `name=value`".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Secret => "text, shown nowhere".to_owned(),
            Kind::Url => "URL".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Other => "see its text".to_owned(),
            Kind::WithoutEffect => "anything".to_owned(),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Variables that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub title: &'static str,
    pub variables: &'static [Variable],
}

/// The variable of this name.
pub(super) fn find(name: &str) -> Option<&'static Variable> {
    all().find(|variable| variable.name == name)
}

/// All of them, without their groups.
pub fn all() -> impl Iterator<Item = &'static Variable> {
    GROUPS.iter().flat_map(|group| group.variables)
}

/// The table as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut page = String::new();
    for group in GROUPS {
        page.push_str(&format!("### {}\n\n", group.title));
        page.push_str("| variable | takes | default | what it says |\n|---|---|---|---|\n");
        for variable in group.variables {
            let default = match variable.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            page.push_str(&format!(
                "| `{}` | {} | {default} | {} |\n",
                variable.name,
                variable.kind.describe(),
                variable.what
            ));
        }
        page.push('\n');
    }
    page
}
