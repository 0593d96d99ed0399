//! Dynamic attributes of spans and logs: who, how long, how large. Together with the static attributes of the operation
//! an item has 8 to 20 of them.

use crate::plan::Trace;
use crate::random::{Random, scale, skewed};
use crate::topology::{Operation, Work};
use crate::wire::{Value, Wire};
use crate::words::{push_decimal, push_hex};

/// Field number of `Span.attributes`.
const SPAN_ATTRIBUTES: u32 = 9;
/// Optional attributes, from which each item takes some neighbours; low numbers come more often.
const OPTIONAL: usize = 14;
/// Chosen so that static and dynamic ones together stay at 20 or less.
const OPTIONAL_TAKEN_MAX: usize = 11;

const USER_AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "okhttp/4.12.0",
    "shop-ios/7.31.2",
    "python-httpx/0.28.1",
    "curl/8.14.1",
];
const COUNTRIES: &[&str] = &[
    "DE", "US", "FR", "GB", "JP", "BR", "IN", "PL", "NL", "SE", "AU", "CA",
];
const PLANS: &[&str] = &["free", "starter", "team", "enterprise"];
const VARIANTS: &[&str] = &["control", "variant-a", "variant-b"];
const ERROR_TYPES: &[&str] = &[
    "timeout",
    "io.grpc.StatusException",
    "java.net.ConnectException",
    "ValidationError",
];

/// Everything that dynamic attributes are made from; holds a text buffer so that nothing allocates per item.
#[derive(Default)]
pub(crate) struct AttributeWriter {
    text: String,
}

/// The HTTP status that an operation of a trace answers.
pub(crate) fn http_status(trace: &Trace<'_>, step: usize) -> i64 {
    if trace.span_fails(step) {
        return [500, 503, 504, 502][scale(trace.number_for(7), 4)];
    }
    match scale(trace.number_for(8 + step as u64), 100) {
        0..=1 => 404,
        2 => 401,
        3..=4 => 304,
        5..=12 => 201,
        _ => 200,
    }
}

/// The user on whose behalf a trace runs.
pub(crate) fn user_of(trace: &Trace<'_>, users: usize) -> u64 {
    skewed(trace.number_for(1), users) as u64
}

/// The exception of a failed trace.
pub(crate) fn error_type(trace: &Trace<'_>) -> &'static str {
    ERROR_TYPES[scale(trace.number_for(6), ERROR_TYPES.len())]
}

impl AttributeWriter {
    /// Attributes of a span beside those of its operation: 3, then up to 11 optional ones.
    pub(crate) fn span(
        &mut self,
        wire: &mut Wire,
        random: &mut Random,
        operation: &Operation,
        trace: &Trace<'_>,
        step: usize,
        user: u64,
    ) {
        let field = SPAN_ATTRIBUTES;
        match trace.template.steps[step].work {
            Work::Http | Work::HttpCall => {
                wire.attribute(
                    field,
                    "http.response.status_code",
                    Value::Int(http_status(trace, step)),
                );
                self.text.clear();
                self.text.push_str(&operation.path);
                push_decimal(&mut self.text, trace.number_for(2) % 1_000_000);
                wire.attribute(field, "url.path", Value::Text(&self.text));
                self.user(wire, field, user);
            }
            Work::Database => {
                wire.attribute(
                    field,
                    "db.response.returned_rows",
                    Value::Int(random.skewed(500) as i64),
                );
                wire.attribute(
                    field,
                    "server.address",
                    Value::Text("postgres-0.shop.svc.cluster.local"),
                );
                self.user(wire, field, user);
            }
            Work::Cache => {
                wire.attribute(field, "cache.hit", Value::Bool(random.below(10) != 0));
                wire.attribute(
                    field,
                    "cache.item.bytes",
                    Value::Int(random.skewed(65_536) as i64),
                );
                self.user(wire, field, user);
            }
            Work::Publish | Work::Consume => {
                wire.attribute(
                    field,
                    "messaging.kafka.offset",
                    Value::Int((trace.number % 10_000_000) as i64),
                );
                let partition = scale(trace.number_for(3), 12) as i64;
                wire.attribute(field, "messaging.destination.partition.id", Value::Int(partition));
                wire.attribute(
                    field,
                    "messaging.message.body.size",
                    Value::Int(random.skewed(16_384) as i64),
                );
            }
            Work::Compute => {
                wire.attribute(field, "app.items", Value::Int(random.skewed(200) as i64));
                wire.attribute(field, "app.score", Value::Double(rounded(random.unit(), 1_000.0)));
                self.user(wire, field, user);
            }
        }
        self.optional(wire, field, random, trace.number_for(4), user);
    }

    /// Attributes of a log beside the 4 of its operation: 4, then up to 11 optional ones.
    pub(crate) fn log(&mut self, wire: &mut Wire, field: u32, random: &mut Random, request: u64, user: u64) {
        self.user(wire, field, user);
        wire.attribute(field, "thread.id", Value::Int(random.skewed(64) as i64));
        wire.attribute(
            field,
            "code.line.number",
            Value::Int(10 + random.skewed(900) as i64),
        );
        let elapsed = rounded(0.2 * (1.0 - random.unit()).recip().min(1e5), 1_000.0);
        wire.attribute(field, "duration_ms", Value::Double(elapsed));
        self.optional(wire, field, random, request, user);
    }

    fn user(&mut self, wire: &mut Wire, field: u32, user: u64) {
        self.text.clear();
        self.text.push_str("user-");
        push_decimal(&mut self.text, user);
        wire.attribute(field, "user.id", Value::Text(&self.text));
    }

    fn optional(&mut self, wire: &mut Wire, field: u32, random: &mut Random, request: u64, user: u64) {
        let taken = random
            .below(OPTIONAL_TAKEN_MAX + 1)
            .min(random.below(OPTIONAL_TAKEN_MAX + 1));
        let first = random.skewed(OPTIONAL);
        for number in first..first + taken {
            self.optional_one(wire, field, number % OPTIONAL, random, request, user);
        }
    }

    fn optional_one(
        &mut self,
        wire: &mut Wire,
        field: u32,
        number: usize,
        random: &mut Random,
        request: u64,
        user: u64,
    ) {
        match number {
            0 => {
                self.text.clear();
                push_hex(&mut self.text, request, 16);
                wire.attribute(field, "request.id", Value::Text(&self.text));
            }
            1 => {
                self.text.clear();
                self.text.push_str("customer-");
                push_decimal(&mut self.text, user % 997);
                wire.attribute(field, "customer.id", Value::Text(&self.text));
            }
            2 => wire.attribute(field, "customer.plan", Value::Text(PLANS[(user % 4) as usize])),
            3 => {
                self.text.clear();
                push_hex(&mut self.text, user.wrapping_mul(0x9E37_79B9_7F4A_7C15), 12);
                wire.attribute(field, "session.id", Value::Text(&self.text));
            }
            4 => {
                let country = COUNTRIES[skewed(user.wrapping_mul(0xD6E8_FEB8_6659_FD93), COUNTRIES.len())];
                wire.attribute(field, "geo.country.iso_code", Value::Text(country));
            }
            5 => wire.attribute(
                field,
                "user_agent.original",
                Value::Text(USER_AGENTS[(user % 7) as usize]),
            ),
            6 => wire.attribute(field, "client.address", Value::Text(self.address(user))),
            7 => wire.attribute(
                field,
                "http.request.body.size",
                Value::Int(random.skewed(100_000) as i64),
            ),
            8 => wire.attribute(
                field,
                "feature.variant",
                Value::Text(VARIANTS[(user % 3) as usize]),
            ),
            9 => wire.attribute(field, "retry.count", Value::Int(random.skewed(4) as i64)),
            10 => {
                let wait = rounded(random.unit() * random.unit() * 40.0, 1_000.0);
                wire.attribute(field, "queue.wait_ms", Value::Double(wait));
            }
            11 => wire.attribute(field, "thread.name", Value::Text(self.thread(random))),
            12 => wire.attribute(field, "app.debug", Value::Bool(random.below(50) == 0)),
            _ => wire.attribute(
                field,
                "http.response.body.size",
                Value::Int(random.skewed(1_000_000) as i64),
            ),
        }
    }

    fn address(&mut self, user: u64) -> &str {
        self.text.clear();
        self.text.push_str("203.0.");
        push_decimal(&mut self.text, user % 251);
        self.text.push('.');
        push_decimal(&mut self.text, user / 251 % 251);
        &self.text
    }

    fn thread(&mut self, random: &mut Random) -> &str {
        self.text.clear();
        self.text.push_str("worker-");
        push_decimal(&mut self.text, random.skewed(32) as u64);
        &self.text
    }
}

/// Keeps a few decimals only, as real measurements written to logs do.
pub(crate) fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
