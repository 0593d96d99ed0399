//! Spans of `tracing`, and functions whose calls are spans.

use std::cell::Cell;

use cupola_sdk::{Context, otel_trace};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use tracing::field::Empty;

use super::{LEVELS, Refused, Running, SCOPE, SaidLog, Speaker, body};
use crate::expect::{self, Pairs, attributes, inherit, now, pair, text, truth};

/// Longest text of an argument, as the documentation has it.
const ARGUMENT_CHARS_MAX: usize = 256;
/// It is known whether the parent is of another process: it is not.
const HAS_IS_REMOTE: u32 = 0x100;
const KINDS: [(&str, i32); 5] = [
    ("internal", 1),
    ("server", 2),
    ("client", 3),
    ("producer", 4),
    ("consumer", 5),
];

/// Where calls of it are said to be.
const WORK_LINE: u32 = line!() + 1;
#[otel_trace("work", args, skip(seen), result, attributes(n = n, shop = "north"))]
fn work(n: i64, what: &str, refused: Option<Refused>, seen: &Cell<Context>) -> Result<String, Refused> {
    seen.set(Context::current());
    match refused {
        Some(refused) => Err(refused),
        None => Ok(what.to_owned()),
    }
}

/// As `Debug` writes it, up to so many characters.
fn cut(text: &str) -> String {
    match text.char_indices().nth(ARGUMENT_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

impl Speaker<'_> {
    /// A span, in which other things are said.
    pub(super) fn request(&mut self) {
        let content = &mut self.content;
        let (kind, name, route, late) = (
            content.pick(&KINDS),
            content.text(),
            content.text(),
            content.text(),
        );
        let (attempt, ratio, is_cached) = (content.int(), content.double(), content.truth());
        let (from, line) = (now(), line!() + 1);
        let span = tracing::info_span!(
            "request",
            otel.kind = kind.0,
            otel.name = name,
            route,
            attempt,
            ratio,
            is_cached,
            late = Empty
        );
        let mut fields = vec![
            pair("route", text(&route)),
            pair("attempt", expect::int(attempt)),
            pair("ratio", expect::double(ratio)),
            pair("is_cached", truth(is_cached)),
        ];
        inherit(&mut fields, &self.around);
        self.running.push(Running {
            fields,
            events: Vec::new(),
        });
        let context = span.in_scope(|| {
            self.say_inside(&span, &late);
            Context::current()
        });
        drop(span);
        let Running { mut fields, events } = self.running.pop().unwrap();
        add_place(&mut fields, line);
        let status = Some(Status::default());
        let span = Span {
            name,
            kind: kind.1,
            start_time_unix_nano: from,
            status,
            ..with(&context, fields, events)
        };
        self.said.span(&format!("{SCOPE}::spans"), span);
    }

    fn say_inside(&mut self, span: &tracing::Span, late: &str) {
        for _ in 0..self.content.below(4) {
            self.log();
        }
        self.measure();
        if self.content.once_in(3) {
            self.call();
        }
        if self.content.once_in(3) {
            self.span_of_the_api();
        }
        if self.content.truth() {
            span.record("late", late);
            let running = self.running.last_mut().unwrap();
            running.fields.push(pair("late", text(late)));
            self.log();
        }
        if self.running.len() < 3 && self.content.once_in(3) {
            self.request();
        }
    }

    /// A call of a function that is traced, which fails or does not.
    fn call(&mut self) {
        let (n, what) = (self.next(), self.content.text());
        let refused = self.content.truth().then(|| self.refused());
        let message = refused.as_ref().map(ToString::to_string);
        let mut fields = vec![
            pair("n", expect::int(n)),
            pair("shop", text("north")),
            pair("args.n", text(&n.to_string())),
            pair("args.what", text(&cut(&format!("{what:?}")))),
            pair("args.refused", text(&cut(&format!("{refused:?}")))),
        ];
        let from = now();
        let seen = Cell::new(Context::root());
        let answered = work(n, &what, refused, &seen);
        if let Ok(result) = &answered {
            fields.push(pair("result", text(&cut(&format!("{result:?}")))));
        }
        self.note_call(&seen.take(), from, message, fields);
    }

    fn note_call(&mut self, context: &Context, from: u64, message: Option<String>, mut fields: Pairs) {
        let of = format!("{SCOPE}::spans");
        inherit(&mut fields, &self.around);
        let (mut status, mut events) = (Status::default(), Vec::new());
        if let Some(message) = message {
            let exception = vec![pair("exception.message", text(&message))];
            events.push(Event {
                name: "exception".to_owned(),
                attributes: attributes(exception.clone()),
                ..Event::default()
            });
            let mut own = exception;
            own.extend([
                pair("error", text(&message)),
                pair("exception.type", text(std::any::type_name::<Refused>())),
            ]);
            self.running.push(Running {
                fields: fields.clone(),
                events: Vec::new(),
            });
            self.note(SaidLog {
                severity: LEVELS[4],
                body: body(&message),
                event_name: "",
                own,
                scope: &of,
                place: Some((file!(), WORK_LINE)),
                span: Some(context.span()),
                from,
                time: None,
            });
            self.running.pop();
            status = Status { code: 2, message };
        }
        add_place(&mut fields, WORK_LINE);
        fields.push(pair("code.function.name", text(&format!("{of}::work"))));
        let status = Some(status);
        let name = "work".to_owned();
        let span = Span {
            name,
            kind: 1,
            start_time_unix_nano: from,
            status,
            ..with(context, fields, events)
        };
        self.said.span(&of, span);
    }
}

fn add_place(fields: &mut Pairs, line: u32) {
    fields.push(pair("code.file.path", text(file!())));
    fields.push(pair("code.line.number", expect::int(i64::from(line))));
}

/// A span that has just ended, and was that of a context.
fn with(context: &Context, fields: Pairs, events: Vec<Event>) -> Span {
    let ids = context.span();
    let parent = Context::with_current(|context| context.span().clone());
    let parent_span_id = if parent.is_valid() {
        parent.span_id.as_bytes().to_vec()
    } else {
        Vec::new()
    };
    Span {
        trace_id: ids.trace_id.as_bytes().to_vec(),
        span_id: ids.span_id.as_bytes().to_vec(),
        parent_span_id,
        flags: u32::from(ids.flags.0) | HAS_IS_REMOTE,
        end_time_unix_nano: now(),
        attributes: attributes(fields),
        events,
        ..Span::default()
    }
}
