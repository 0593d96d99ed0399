//! Log records: events of `tracing` with fields of every type, with errors and without anything, and records of the crate `log`.

use std::error::Error;

use cupola_sdk::Context;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use super::{LEVELS, Refused, SCOPE, SaidLog, Speaker, body};
use crate::content::{LONG_ATTRIBUTE_CHARS_MAX, LONG_BODY_CHARS_MAX};
use crate::expect::{self, Pairs, attributes, now, pair, text, truth, wide};

/// An event at one of [`LEVELS`]. The line on which it is.
macro_rules! event {
    ($level:expr, $($fields:tt)*) => {{
        match $level {
            0 => tracing::trace!($($fields)*),
            1 => tracing::debug!($($fields)*),
            2 => tracing::info!($($fields)*),
            3 => tracing::warn!($($fields)*),
            _ => tracing::error!($($fields)*),
        }
        line!()
    }};
}

impl Speaker<'_> {
    /// A log record of any kind.
    pub(super) fn log(&mut self) {
        match self.content.below(7) {
            0 => self.bare(),
            1 => self.failure(),
            2 => self.named(),
            3 => self.of_the_crate_log(),
            4 => self.long(),
            5 => self.by_the_api(),
            _ => self.with_all_types(),
        }
    }

    fn note_event(&mut self, from: u64, (level, line): (usize, u32), message: &str, own: Pairs) {
        self.note(SaidLog {
            severity: LEVELS[level],
            body: body(message),
            event_name: "",
            own,
            scope: &format!("{SCOPE}::events"),
            place: Some((file!(), line)),
            span: None,
            from,
            time: None,
        });
    }

    fn with_all_types(&mut self) {
        let (n, level, content) = (self.next(), self.content.below(LEVELS.len()), &mut self.content);
        let (message, string, int, unsigned) =
            (content.text(), content.text(), content.int(), content.unsigned());
        let big = i128::from(content.int()) * i128::from(content.int());
        let huge = u128::from(content.unsigned()) * u128::from(content.unsigned());
        let (double, is_true, bytes) = (content.double(), content.truth(), content.bytes());
        let optional = is_true.then_some(string.as_str());
        let from = now();
        let line = event!(level, n, string = string.as_str(), int, unsigned, big, huge, double, is_true, bytes = &bytes[..],
            shown = %string, debugged = ?(is_true, &string), optional, http.method = "GET", http.status = 200u16, "{message}");
        let mut own = vec![
            pair("n", expect::int(n)),
            pair("string", text(&string)),
            pair("int", expect::int(int)),
            pair("unsigned", wide(unsigned)),
            pair("big", wide(big)),
            pair("huge", wide(huge)),
            pair("double", expect::double(double)),
            pair("is_true", truth(is_true)),
            pair("bytes", expect::bytes(&bytes)),
            pair("shown", text(&string)),
            pair("debugged", text(&format!("{:?}", (is_true, &string)))),
            pair("http.method", text("GET")),
            pair("http.status", expect::int(200)),
        ];
        own.extend(optional.map(|there| pair("optional", text(there))));
        self.note_event(from, (level, line), &message, own);
    }

    /// A message and nothing else; its number is the context's.
    fn bare(&mut self) {
        let (n, level, message) = (self.next(), self.content.below(LEVELS.len()), self.content.text());
        Context::current().with_attribute("n", n).run(|| {
            let from = now();
            let line = event!(level, "{message}");
            self.note_event(from, (level, line), &message, vec![pair("n", expect::int(n))]);
        });
    }

    fn long(&mut self) {
        let (n, level) = (self.next(), self.content.below(LEVELS.len()));
        let message = self.content.long(LONG_BODY_CHARS_MAX);
        let long = self.content.long(LONG_ATTRIBUTE_CHARS_MAX);
        let from = now();
        let line = event!(level, n, long = long.as_str(), message);
        let own = vec![pair("n", expect::int(n)), pair("long", text(&long))];
        self.note_event(from, (level, line), &message, own);
    }

    /// An event with an error, which is an exception of the span around it too.
    fn failure(&mut self) {
        let (n, level) = (self.next(), self.content.below(LEVELS.len()));
        let refused = self.refused();
        let from = now();
        let line = event!(level, n, error = &refused as &dyn Error, "failed");
        let mut exception = vec![
            pair("exception.type", text("Refused")),
            pair("exception.message", text(&refused.to_string())),
        ];
        if refused.cause.is_some() {
            let chain = format!("{refused}\ncaused by: {}", std::fmt::Error);
            exception.push(pair("exception.stacktrace", text(&chain)));
        }
        if let Some(span) = self.running.last_mut() {
            span.events.push(Event {
                name: "exception".to_owned(),
                attributes: attributes(exception.clone()),
                ..Event::default()
            });
        }
        exception.extend([
            pair("n", expect::int(n)),
            pair("error", text(&refused.to_string())),
        ]);
        self.note_event(from, (level, line), "failed", exception);
    }

    pub(super) fn refused(&mut self) -> Refused {
        Refused {
            because: self.content.text(),
            cause: self.content.truth().then_some(std::fmt::Error),
        }
    }

    /// An event with a name and a target.
    fn named(&mut self) {
        let (n, message) = (self.next(), self.content.text());
        let (from, line) = (now(), line!() + 1);
        tracing::event!(name: "order.placed", target: "shop::orders", tracing::Level::INFO, n, "{message}");
        self.note(SaidLog {
            severity: LEVELS[2],
            body: body(&message),
            event_name: "order.placed",
            own: vec![pair("n", expect::int(n))],
            scope: "shop::orders",
            place: Some((file!(), line)),
            span: None,
            from,
            time: None,
        });
    }

    fn of_the_crate_log(&mut self) {
        let (n, message) = (self.next(), self.content.text());
        Context::current().with_attribute("n", n).run(|| {
            let (from, line) = (now(), line!() + 1);
            log::warn!(target: "shop::legacy", "{message}");
            self.note(SaidLog {
                severity: LEVELS[3],
                body: body(&message),
                event_name: "",
                own: vec![pair("n", expect::int(n))],
                scope: "shop::legacy",
                place: Some((file!(), line)),
                span: None,
                from,
                time: None,
            });
        });
    }
}
