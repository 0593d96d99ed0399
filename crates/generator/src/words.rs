//! Bodies of log records: sentences of about 120 bytes from a vocabulary in which a few words are in most bodies and
//! many in few, with numbers that are in almost none.

use crate::random::Random;

/// In about one body of three.
pub const COMMON_WORD: &str = "request";
/// In one body of ten thousand.
pub const RARE_WORD: &str = "brownout";
/// In no body.
pub const ABSENT_WORD: &str = "xylophone";

const RARE_WORD_ONE_IN: usize = 10_000;
/// Words are added until a body has this many bytes, give or take a spread.
const BODY_BYTES: usize = 96;
const BODY_BYTES_SPREAD: usize = 48;
/// Draws of a word are looked up in a table of this many quantiles, so the rarest words are in one draw of as many.
const QUANTILES: usize = 16_384;
const VOCABULARY: usize = 6_000;

const HEAD: &[&str] = &[
    "the",
    "to",
    "for",
    "of",
    "with",
    "from",
    "after",
    "in",
    "on",
    "by",
    "handler",
    "client",
    "user",
    "order",
    "completed",
    "started",
    "received",
    "cache",
    "timeout",
    "connection",
    "retrying",
    "payload",
    "session",
    "queue",
    "response",
    "database",
    "status",
    "processing",
    "message",
    "service",
    "upstream",
    "batch",
    "item",
    "update",
    "fetched",
    "stored",
    "token",
    "validated",
    "worker",
    "partition",
    "offset",
    "commit",
    "thread",
    "pool",
    "latency",
    "attempt",
    "rejected",
    "accepted",
    "scheduled",
    "pending",
    "invoice",
    "payment",
    "inventory",
    "shipment",
    "customer",
    "basket",
    "catalog",
    "lookup",
    "index",
    "refresh",
    "expired",
    "renewed",
    "lease",
    "leader",
    "follower",
    "replica",
    "shard",
    "snapshot",
    "checkpoint",
    "segment",
    "compaction",
    "flush",
    "limit",
    "exceeded",
    "backoff",
    "circuit",
    "breaker",
    "opened",
    "closed",
    "deadline",
    "cancelled",
    "stream",
    "consumer",
    "producer",
    "topic",
    "schema",
    "migration",
    "version",
    "feature",
    "flag",
    "enabled",
    "disabled",
    "rollout",
    "canary",
    "region",
    "zone",
    "gateway",
    "proxy",
    "header",
    "cookie",
    "redirect",
    "template",
    "render",
    "webhook",
    "delivery",
    "signature",
    "certificate",
    "handshake",
    "resolver",
    "endpoint",
    "health",
    "probe",
    "ready",
    "draining",
    "shutdown",
    "restart",
];

const SYLLABLES: &[&str] = &[
    "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we",
    "xi", "yo", "zu", "bra", "cle", "dri", "flo", "gru", "ster", "tion", "ment", "ling", "ward", "con",
    "pre", "sub", "ter",
];

pub(crate) struct Words {
    vocabulary: Vec<String>,
    quantiles: Vec<u16>,
}

impl Words {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut vocabulary: Vec<String> = HEAD.iter().map(|word| (*word).to_owned()).collect();
        while vocabulary.len() < VOCABULARY {
            let count = 2 + random.below(3);
            let word: String = (0..count).map(|_| *random.pick(SYLLABLES)).collect();
            if word != ABSENT_WORD && word != RARE_WORD {
                vocabulary.push(word);
            }
        }
        let quantiles = (0..QUANTILES)
            .map(|number| {
                let share = (number as f64 + 0.5) / QUANTILES as f64;
                ((VOCABULARY as f64).powf(share) as usize).min(VOCABULARY - 1) as u16
            })
            .collect();
        Words {
            vocabulary,
            quantiles,
        }
    }

    /// Writes the body of a record into `body`, which is cleared first.
    pub(crate) fn compose(&self, random: &mut Random, opening: &str, subject: u64, body: &mut String) {
        body.clear();
        body.push_str(opening);
        if random.below(3) == 0 {
            body.push_str(" for ");
            body.push_str(COMMON_WORD);
        }
        body.push_str(" id=");
        push_decimal(body, subject);
        let length = BODY_BYTES + random.below(BODY_BYTES_SPREAD);
        // One random word is cut into four draws of 14 bits, which is all that a table look-up needs.
        let mut bits = 0_u64;
        let mut draws_left = 0;
        while body.len() < length {
            if draws_left == 0 {
                bits = random.word();
                draws_left = 4;
            }
            let quantile = (bits & (QUANTILES as u64 - 1)) as usize;
            bits >>= 14;
            draws_left -= 1;
            body.push(' ');
            body.push_str(&self.vocabulary[self.quantiles[quantile] as usize]);
        }
        if random.below(RARE_WORD_ONE_IN) == 0 {
            body.push(' ');
            body.push_str(RARE_WORD);
        }
    }
}

pub(crate) fn push_decimal(text: &mut String, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    for digit in &digits[at..] {
        text.push(char::from(*digit));
    }
}

pub(crate) fn push_hex(text: &mut String, number: u64, digits: u32) {
    for position in (0..digits).rev() {
        let nibble = (number >> (position * 4)) & 0xf;
        text.push(char::from(b"0123456789abcdef"[nibble as usize]));
    }
}
