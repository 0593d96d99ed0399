//! `cupola tail`: logs or spans as they arrive, until the reader or the server has enough.

use cupola_api::{LogRecord, Span};
use futures::StreamExt as _;

use super::waterfall::duration;
use crate::cli::{TailArguments, TailSignal};
use crate::client::Client;
use crate::failure::Failure;
use crate::output;
use crate::signals::StopSignals;
use crate::terminal::{Paint, printable};

/// Longest event that is waited for; a server that sends more without an end is not ours.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;
const SERVICE_WIDTH: usize = 16;

pub(crate) async fn run(arguments: &TailArguments, paint: Paint) -> Result<(), Failure> {
    let mut signals = StopSignals::listen()?;
    let client = Client::online(&arguments.url, arguments.tenant.clone())?;
    let asked = parameters(arguments);
    let response = tokio::select! {
        _ = signals.asked() => return Ok(()),
        response = client.get("/api/v1/tail", &asked) => response?,
    };
    let mut body = response.bytes_stream();
    let mut events = Events::default();
    let mut left = arguments.lines.unwrap_or(u64::MAX);
    while left > 0 {
        let chunk = tokio::select! {
            _ = signals.asked() => return Ok(()),
            chunk = body.next() => chunk,
        };
        let Some(chunk) = chunk else {
            return Err(Failure::new("the server ended the tail").hint("it is shutting down, or restarting"));
        };
        let chunk = chunk.map_err(|error| Failure::new("the tail broke off").caused_by(&error))?;
        for (name, data) in events.push(&chunk)? {
            if left == 0 {
                break;
            }
            if let Some(line) = show(&name, &data, arguments.json, paint) {
                if !output::write(format!("{line}\n").as_bytes())? {
                    return Ok(());
                }
                left -= 1;
            }
        }
    }
    Ok(())
}

fn parameters(arguments: &TailArguments) -> Vec<(&'static str, String)> {
    let signal = match arguments.signal {
        TailSignal::Logs => "logs",
        TailSignal::Spans => "spans",
    };
    let mut all = vec![("signal", signal.to_owned())];
    let optional = [
        ("service", &arguments.service),
        ("level", &arguments.level),
        ("words", &arguments.words),
        ("trace_id", &arguments.trace_id),
    ];
    all.extend(
        optional
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?))),
    );
    all.extend(arguments.attribute.iter().map(|pair| ("attribute", pair.clone())));
    if arguments.errors {
        all.push(("errors", "true".to_owned()));
    }
    all
}

/// Server-sent events, put together from pieces. <https://html.spec.whatwg.org/multipage/server-sent-events.html>
#[derive(Default)]
struct Events {
    buffer: Vec<u8>,
    name: String,
    data: String,
}

impl Events {
    fn push(&mut self, chunk: &[u8]) -> Result<Vec<(String, String)>, Failure> {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() + self.data.len() > EVENT_BYTES_MAX {
            return Err(Failure::new("the server sent an event without an end"));
        }
        let mut complete = Vec::new();
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            self.line(line.trim_end_matches(['\n', '\r']), &mut complete);
        }
        Ok(complete)
    }

    fn line(&mut self, line: &str, complete: &mut Vec<(String, String)>) {
        if line.is_empty() {
            if !self.data.is_empty() {
                complete.push((std::mem::take(&mut self.name), std::mem::take(&mut self.data)));
            }
            self.name.clear();
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments keep the connection alive; other fields are not used here.
            _ => {}
        }
    }
}

fn show(name: &str, data: &str, json: bool, paint: Paint) -> Option<String> {
    match name {
        "log" | "span" if json => Some(data.to_owned()),
        "log" => serde_json::from_str(data).ok().map(|log| log_line(&log, paint)),
        "span" => serde_json::from_str(data)
            .ok()
            .map(|span| span_line(&span, paint)),
        "lag" => {
            let skipped =
                serde_json::from_str::<serde_json::Value>(data).ok()?["skipped_batches"].as_u64()?;
            eprintln!(
                "{}",
                paint.yellow(&format!("too slow: {skipped} batches are not shown"))
            );
            None
        }
        _ => None,
    }
}

fn log_line(log: &LogRecord, paint: Paint) -> String {
    let level = format!("{:<5}", log.level.to_uppercase());
    let level = match log.level.as_str() {
        "error" | "fatal" => paint.red(&level),
        "warn" => paint.yellow(&level),
        "info" => paint.cyan(&level),
        _ => paint.dim(&level),
    };
    let body = match &log.body {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => log.event_name.clone(),
        other => other.to_string(),
    };
    let mut line = format!(
        "{} {level} {} {}",
        clock(&log.timestamp, paint),
        service(&log.service_name, paint),
        printable(&with_exception(body, log))
    );
    if !log.trace_id.is_empty() {
        line.push_str(&paint.dim(&format!(" trace={}", printable(&log.trace_id))));
    }
    line
}

/// The body, and the exception that came with it unless it is named there.
fn with_exception(mut body: String, log: &LogRecord) -> String {
    for (key, joint) in [("exception.type", " · "), ("exception.message", ": ")] {
        if let Some(serde_json::Value::String(text)) = log.attributes.get(key)
            && !body.contains(text.as_str())
        {
            if !body.is_empty() {
                body.push_str(joint);
            }
            body.push_str(text);
        }
    }
    body
}

fn span_line(span: &Span, paint: Paint) -> String {
    let name = printable(&span.name);
    let name = if span.status_code == "error" {
        paint.red(&format!("✗ {name}"))
    } else {
        name
    };
    format!(
        "{} {:>9} {} {name} {}",
        clock(&span.timestamp, paint),
        duration(span.duration_ns.max(0) as u64),
        service(&span.service_name, paint),
        paint.dim(&format!("trace={}", printable(&span.trace_id)))
    )
}

/// The time of day to the millisecond: what a reader compares.
fn clock(timestamp: &str, paint: Paint) -> String {
    paint.dim(&printable(timestamp.get(11..23).unwrap_or(timestamp)))
}

fn service(name: &str, paint: Paint) -> String {
    paint.of_name(&format!("{:<SERVICE_WIDTH$}", printable(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_from_any_pieces() {
        let text = "event: ready\ndata: {}\n\n: alive\n\nevent: log\r\ndata: {\"a\":\ndata: 1}\n\n";
        for size in 1..text.len() {
            let mut events = Events::default();
            let all: Vec<_> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|piece| events.push(piece).unwrap())
                .collect();
            let expected = [("ready", "{}"), ("log", "{\"a\":\n1}")]
                .map(|(name, data)| (name.to_owned(), data.to_owned()));
            assert_eq!(all, expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_exception_is_shown_once() {
        let log: LogRecord = LogRecord {
            attributes: [
                ("exception.type", "ValueError"),
                ("exception.message", "no such item"),
            ]
            .map(|(key, value)| (key.to_owned(), value.into()))
            .into_iter()
            .collect(),
            ..LogRecord::default()
        };
        let shown = |body: &str| with_exception(body.to_owned(), &log);
        assert_eq!(
            shown("cannot reserve"),
            "cannot reserve · ValueError: no such item"
        );
        assert_eq!(shown("failed: no such item"), "failed: no such item · ValueError");
        assert_eq!(shown(""), "ValueError: no such item");
    }

    #[test]
    fn a_log_is_one_line_whatever_it_holds() {
        let log = LogRecord {
            timestamp: "2026-11-20T14:01:46.123456789Z".to_owned(),
            level: "error".to_owned(),
            body: "one\ntwo\x1b[31m".into(),
            service_name: "orders".to_owned(),
            trace_id: "abc".to_owned(),
            ..LogRecord::default()
        };
        let line = log_line(&log, Paint(false));
        assert_eq!(
            line,
            "14:01:46.123 ERROR orders           one two\u{fffd}[31m trace=abc"
        );
    }
}
