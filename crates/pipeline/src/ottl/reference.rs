//! The functions and the paths as tables, for the documentation.

use super::context::Context;
use super::functions::Parameter;
use super::path::names;
use super::{editors, functions};

/// Markdown between the marks in `docs/ottl.md`.
pub(super) fn tables() -> String {
    let mut text = String::new();
    let mut table = |title: &str, rows: Vec<(String, Option<Context>)>| {
        text.push_str(&format!(
            "### {title}\n\n| function | only in the context |\n|---|---|\n"
        ));
        for (call, context) in rows {
            text.push_str(&format!(
                "| `{call}` | {} |\n",
                context.map_or("", Context::as_str)
            ));
        }
        text.push('\n');
    };
    let editors = editors::all().map(|editor| (call(editor.name, editor.parameters), editor.context));
    table("Editors", sorted(editors));
    let converters =
        functions::all().map(|converter| (call(converter.name, converter.parameters), converter.context));
    table("Converters", sorted(converters));
    text.push_str("### Paths\n\n| context | paths |\n|---|---|\n");
    for context in Context::ALL {
        let names: Vec<String> = names(context).map(|name| format!("`{name}`")).collect();
        text.push_str(&format!("| `{context}` | {} |\n", names.join(", ")));
    }
    text
}

fn sorted<T: Ord>(rows: impl Iterator<Item = T>) -> Vec<T> {
    let mut rows: Vec<T> = rows.collect();
    rows.sort();
    rows
}

fn call(name: &str, parameters: &[Parameter]) -> String {
    let parameters = parameters.iter().map(|parameter| match parameter.optional {
        true => format!("[{}]", parameter.name),
        false => parameter.name.to_owned(),
    });
    format!("{name}({})", parameters.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    const BEGIN: &str = "<!-- generated: functions and paths -->\n";
    const END: &str = "<!-- end of what is generated -->\n";

    /// Written anew with `CUPOLA_WRITE_DOCS=1`.
    #[test]
    fn the_documentation_has_all_functions_and_paths() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ottl.md");
        let page = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = page.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let fresh = format!("{before}{BEGIN}\n{}\n{END}{after}", super::tables());
        if std::env::var_os("CUPOLA_WRITE_DOCS").is_some() {
            std::fs::write(&path, &fresh).unwrap();
        }
        assert!(
            page == fresh || std::env::var_os("CUPOLA_WRITE_DOCS").is_some(),
            "docs/ottl.md is not fresh: run this with CUPOLA_WRITE_DOCS=1"
        );
    }
}
