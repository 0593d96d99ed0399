//! What it costs to look for secrets in records, in nanoseconds: `cargo run --release -p cupola-sdk-core --example scrub_cost`.
//! The least of many runs, as other programs disturb all but a few.

use std::hint::black_box;
use std::time::Instant;

use cupola_sdk_core::context::SpanContext;
use cupola_sdk_core::scrub::{ScrubError, ScrubSettings, Scrubber};
use cupola_sdk_core::span::{Span, SpanKind, SpanLimits};
use cupola_telemetry::Signal;

/// More than are remembered.
const SPANS: usize = 20_000;
/// So few that a run of them is seldom interrupted.
const AT_ONCE: usize = 250;
const RUNS: usize = 400;
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

fn main() -> Result<(), ScrubError> {
    let scrubber = Scrubber::new(&ScrubSettings::default())?;
    let mut buffer = Vec::new();
    for (name, different) in [("seen before", 1), ("two values new", SPANS)] {
        let spans: Vec<Vec<u8>> = (0..SPANS).map(|number| span(number % different)).collect();
        let mut parts = spans.chunks(AT_ONCE).cycle();
        let nanos = least(AT_ONCE, || {
            for span in parts.next().into_iter().flatten() {
                black_box(scrubber.scrub(Signal::Traces, span, &mut buffer));
            }
        });
        println!("span with 8 attributes, {name}: {nanos} ns");
    }
    let key = least(AT_ONCE, || {
        for _ in 0..AT_ONCE {
            black_box(scrubber.is_secret_key(black_box("http.request.method")));
        }
    });
    println!("name: {key} ns");
    let id = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
    let sentence = "order 1234 of customer 5678 was placed after 12ms with 3 items";
    for text in ["/cart/17", id, sentence, USER_AGENT] {
        let nanos = least(AT_ONCE, || {
            for _ in 0..AT_ONCE {
                black_box(scrubber.scrub_text(black_box(text)));
            }
        });
        println!("text of {} bytes: {nanos} ns", text.len());
    }
    Ok(())
}

fn least(count: usize, mut run: impl FnMut()) -> u128 {
    let once = |_| {
        let begin = Instant::now();
        run();
        begin.elapsed().as_nanos()
    };
    (0..RUNS).map(once).min().unwrap_or_default() / count as u128
}

fn span(number: usize) -> Vec<u8> {
    let limits = SpanLimits::default();
    let mut span = Span::new(
        SpanContext::default(),
        None,
        "GET /cart/{id}",
        SpanKind::Server,
        1,
        &limits,
    );
    span.set("http.request.method", "GET");
    span.set("http.route", "/cart/{id}");
    span.set("url.path", format!("/cart/{number}").as_str());
    span.set("http.response.status_code", 200);
    span.set("server.address", "shop.example.com");
    span.set("user_agent.original", USER_AGENT);
    span.set("network.protocol.version", "1.1");
    span.set(
        "request_id",
        format!("7d444840-9dc0-11d1-b245-{number:012}").as_str(),
    );
    let mut bytes = Vec::new();
    span.write(&mut bytes, 10);
    bytes
}
