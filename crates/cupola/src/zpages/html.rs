//! Pages and tables as text. Whatever is put in is escaped here, so that no caller can forget it.

use std::fmt::Write as _;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// Nothing but the sheet of these pages: they have no script and no picture.
const SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) const STYLE: &str = "\
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1b1f24; background: #fff; }
nav a { margin-right: 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { padding: .2rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid #d9dee3; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr:nth-child(even) td { background: #f4f6f8; }
pre { background: #f4f6f8; padding: .7rem; overflow: auto; }
.bad { color: #b3261e; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e9ec; background: #15181c; }
  a { color: #8ab4f8; }
  tr:nth-child(even) td, pre { background: #1f242a; }
  th, td { border-color: #343b43; }
  .bad { color: #f2857d; }
}
";

/// A page being written.
pub(super) struct Page {
    text: String,
}

/// What stands in a cell.
pub(super) enum Cell {
    Text(String),
    Bad(String),
    Link {
        to: String,
        text: String,
    },
    NumberLink {
        to: String,
        number: u64,
    },
    /// One below the other.
    Lines(Vec<Cell>),
}

impl Page {
    pub(super) fn new(title: &str) -> Page {
        let title = escaped(title);
        let mut text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title>\
             <link rel=\"stylesheet\" href=\"/debug/style.css\"></head>\n<body>\n<nav>"
        );
        for page in ["servicez", "pipelinez", "extensionz", "featurez", "tracez"] {
            let _ = write!(text, "<a href=\"/debug/{page}\">{page}</a>");
        }
        let _ = writeln!(text, "</nav>\n<h1>{title}</h1>");
        Page { text }
    }

    pub(super) fn heading(&mut self, text: &str) {
        let _ = writeln!(self.text, "<h2>{}</h2>", escaped(text));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.text, "<p>{}</p>", escaped(text));
    }

    pub(super) fn preformatted(&mut self, text: &str) {
        let _ = writeln!(self.text, "<pre>{}</pre>", escaped(text));
    }

    pub(super) fn table(&mut self, columns: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) {
        self.text.push_str("<table>\n<thead><tr>");
        for column in columns {
            let _ = write!(self.text, "<th>{}</th>", escaped(column));
        }
        self.text.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.text.push_str("<tr>");
            for cell in &row {
                let class = match cell {
                    Cell::NumberLink { .. } => " class=\"number\"",
                    _ => "",
                };
                let _ = write!(self.text, "<td{class}>");
                write(&mut self.text, cell);
                self.text.push_str("</td>");
            }
            self.text.push_str("</tr>\n");
        }
        self.text.push_str("</tbody>\n</table>\n");
    }

    /// Names with what they stand for.
    pub(super) fn properties(&mut self, rows: impl IntoIterator<Item = (&'static str, String)>) {
        let rows = rows
            .into_iter()
            .map(|(name, value)| vec![Cell::Text(name.to_owned()), Cell::Text(value)]);
        self.table(&["Name", "Value"], rows);
    }
}

impl IntoResponse for Page {
    fn into_response(mut self) -> Response {
        self.text.push_str("</body>\n</html>\n");
        let headers = [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
            // They are of this moment, and of this process alone.
            (header::CACHE_CONTROL, "no-store"),
        ]
        .map(|(name, value)| (name, HeaderValue::from_static(value)));
        (headers, self.text).into_response()
    }
}

fn write(out: &mut String, cell: &Cell) {
    let _ = match cell {
        Cell::Text(text) => write!(out, "{}", escaped(text)),
        Cell::Bad(text) => write!(out, "<span class=\"bad\">{}</span>", escaped(text)),
        Cell::Link { to, text } => write!(out, "<a href=\"{}\">{}</a>", escaped(to), escaped(text)),
        Cell::NumberLink { to, number } => write!(out, "<a href=\"{}\">{number}</a>", escaped(to)),
        Cell::Lines(cells) => {
            for (index, cell) in cells.iter().enumerate() {
                if index > 0 {
                    out.push_str("<br>");
                }
                write(out, cell);
            }
            Ok(())
        }
    };
}

/// A page with parameters, which may be any text.
pub(super) fn link(page: &str, parameters: &[(&str, &str)]) -> String {
    if parameters.is_empty() {
        return format!("/debug/{page}");
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    format!("/debug/{page}?{query}")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Nothing that a reader cannot see.
            character if character.is_control() && !matches!(character, '\n' | '\t') => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_put_in_stays_text() {
        let hostile = "<script>alert('&\"')</script>\u{0}";
        let mut page = Page::new(hostile);
        page.heading(hostile);
        page.paragraph(hostile);
        page.preformatted(hostile);
        page.properties([("name", hostile.to_owned())]);
        let to = link("tracez", &[("zspanname", hostile)]);
        page.table(
            &[hostile],
            [vec![
                Cell::Bad(hostile.to_owned()),
                Cell::NumberLink {
                    to: to.clone(),
                    number: 1,
                },
                Cell::Lines(vec![Cell::Link {
                    to,
                    text: hostile.to_owned(),
                }]),
            ]],
        );
        assert!(
            !page.text.contains("<script") && !page.text.contains("alert('"),
            "{}",
            page.text
        );
        assert_eq!(
            page.text
                .matches("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;\u{fffd}")
                .count(),
            9
        );
        assert!(
            page.text
                .contains("zspanname=%3Cscript%3Ealert%28%27%26%22%27%29%3C%2Fscript%3E%00")
        );
    }
}
