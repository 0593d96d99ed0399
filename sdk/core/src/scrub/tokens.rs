//! Secrets that are known by how they begin: credentials of `Authorization`, tokens in the formats of those who issue them,
//! private keys, and passwords in URLs.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::REDACTED;

/// Padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What must follow a beginning.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// At least so many letters and digits, all of which belong to it.
    Alphanumeric(usize),
    /// Large letters and digits, exactly so many.
    Capital(usize),
    /// Also `-` and `_`, at least so many, with a digit among them and a large letter.
    Mixed(usize),
    /// Also `-`, `_` and `.`.
    Dotted(usize),
    /// The rest of a JSON Web Token, or of its first two parts.
    JsonWebToken,
    /// The credentials of a scheme; the scheme stays.
    Bearer,
    Basic,
    /// As far as the line that ends it.
    PrivateKey,
    /// `user:password@`, of which the password goes.
    UserInfo,
}

use Behind::{Alphanumeric, Basic, Bearer, Capital, Dotted, JsonWebToken, Mixed, PrivateKey, UserInfo};

const BEGINNINGS: &[(&str, Behind)] = &[
    ("Bearer ", Bearer),
    ("bearer ", Bearer),
    ("BEARER ", Bearer),
    ("Basic ", Basic),
    ("basic ", Basic),
    ("BASIC ", Basic),
    ("eyJ", JsonWebToken),
    ("://", UserInfo),
    ("-----BEGIN ", PrivateKey),
    // Amazon Web Services.
    ("AKIA", Capital(16)),
    ("ASIA", Capital(16)),
    // GitHub, GitLab.
    ("ghp_", Alphanumeric(30)),
    ("gho_", Alphanumeric(30)),
    ("ghu_", Alphanumeric(30)),
    ("ghs_", Alphanumeric(30)),
    ("ghr_", Alphanumeric(30)),
    ("github_pat_", Dotted(30)),
    ("glpat-", Dotted(20)),
    // Slack.
    ("xoxb-", Dotted(10)),
    ("xoxp-", Dotted(10)),
    ("xoxa-", Dotted(10)),
    ("xoxr-", Dotted(10)),
    ("xoxs-", Dotted(10)),
    ("xapp-", Dotted(10)),
    ("hooks.slack.com/services/", Dotted(9)),
    // Stripe.
    ("sk_live_", Alphanumeric(16)),
    ("sk_test_", Alphanumeric(16)),
    ("rk_live_", Alphanumeric(16)),
    ("rk_test_", Alphanumeric(16)),
    ("whsec_", Alphanumeric(24)),
    // Google.
    ("AIza", Mixed(35)),
    ("ya29.", Dotted(20)),
    ("GOCSPX-", Dotted(20)),
    // OpenAI, Anthropic and those who do as they do.
    ("sk-", Mixed(32)),
    ("hf_", Alphanumeric(30)),
    // Registries of packages.
    ("npm_", Alphanumeric(36)),
    ("pypi-", Mixed(50)),
    ("dckr_pat_", Dotted(20)),
    // Others.
    ("SG.", Dotted(40)),
    ("shpat_", Alphanumeric(32)),
    ("dop_v1_", Alphanumeric(64)),
    ("hvs.", Dotted(20)),
    ("dapi", Alphanumeric(32)),
    ("glsa_", Dotted(32)),
    ("AGE-SECRET-KEY-1", Capital(58)),
];

/// Shortest text in which one can be: `://u:p@`.
const TEXT_BYTES_MIN: usize = 7;

/// Up to this length, a search for three bytes of each beginning is quicker than one for all of them.
const SHORT_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct Tokens {
    searcher: Option<AhoCorasick>,
    threes: Threes,
}

impl Tokens {
    pub(super) fn new() -> Tokens {
        let beginnings = BEGINNINGS.iter().map(|(beginning, _)| beginning);
        // It cannot fail with so few; without it, what is known by its name is still found.
        let searcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(beginnings);
        Tokens {
            searcher: searcher.ok(),
            threes: Threes::new(),
        }
    }

    /// Adds where the secrets are.
    pub(super) fn find(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let is_long = text.len() >= SHORT_BYTES;
        let is_worth_it = is_long || text.len() >= TEXT_BYTES_MIN && self.threes.may_begin(text.as_bytes());
        let Some(searcher) = self.searcher.as_ref().filter(|_| is_worth_it) else {
            return;
        };
        // Behind the end of the last one: what is in a key of a megabyte is not looked at again from each beginning in it.
        let mut done = 0;
        for beginning in searcher.find_iter(text) {
            if beginning.start() < done || !stands_alone(text.as_bytes(), beginning.start()) {
                continue;
            }
            let behind = BEGINNINGS[beginning.pattern().as_usize()].1;
            if let Some(range) = secret(text, beginning.start(), beginning.end(), behind) {
                done = range.end;
                found.push(range);
            }
        }
    }
}

/// The first three bytes of each beginning, five bits of each: a bit for all that there can be.
struct Threes(Box<[u64; 512]>);

impl std::fmt::Debug for Threes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Threes")
    }
}

impl Threes {
    fn new() -> Threes {
        let mut bits = Box::new([0; 512]);
        for (beginning, _) in BEGINNINGS {
            if let [first, second, third, ..] = beginning.as_bytes() {
                let number = Threes::number(*first, *second, *third);
                bits[number >> 6] |= 1 << (number & 63);
            }
        }
        Threes(bits)
    }

    fn number(first: u8, second: u8, third: u8) -> usize {
        usize::from(first & 31) << 10 | usize::from(second & 31) << 5 | usize::from(third & 31)
    }

    /// `false` if no beginning is in it. Without branches, as nobody can tell what comes next in a text.
    fn may_begin(&self, text: &[u8]) -> bool {
        let mut bits = 0;
        for three in text.windows(3) {
            let number = Threes::number(three[0], three[1], three[2]);
            bits |= self.0[number >> 6] >> (number & 63);
        }
        bits & 1 == 1
    }
}

/// Whether a word begins here, or something that is no word.
fn stands_alone(bytes: &[u8], start: usize) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let before = start.checked_sub(1).map(|before| bytes[before]);
    !is_word(bytes[start]) || !before.is_some_and(is_word)
}

/// The secret that begins at `start`, if what is behind its beginning is as it must be.
fn secret(text: &str, start: usize, end: usize, behind: Behind) -> Option<Range<usize>> {
    let rest = &text.as_bytes()[end..];
    let while_in = |allowed: fn(u8) -> bool| rest.iter().take_while(|byte| allowed(**byte)).count();
    let at_least = |length: usize, least: usize| (length >= least).then(|| start..end + length);
    match behind {
        Alphanumeric(least) => at_least(while_in(|byte| byte.is_ascii_alphanumeric()), least),
        Dotted(least) => at_least(
            while_in(|byte| is_url_safe(byte) || matches!(byte, b'.' | b'/')),
            least,
        ),
        Capital(count) => {
            let length = while_in(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            let is_whole = !rest.get(length).is_some_and(u8::is_ascii_lowercase);
            (length == count && is_whole).then(|| start..end + length)
        }
        Mixed(least) => {
            let length = while_in(is_url_safe);
            at_least(length, least).filter(|_| is_mixed(&rest[..length]))
        }
        JsonWebToken => {
            let length = while_in(|byte| is_url_safe(byte) || byte == b'.');
            let parts = rest[..length].split(|byte| *byte == b'.');
            let whole = parts.clone().take(2).filter(|part| part.len() >= 4).count();
            (whole == 2 && parts.count() <= 5).then(|| start..end + length)
        }
        Bearer => {
            let length = while_in(is_token68);
            let token = &rest[..length];
            let is_word = token.iter().all(u8::is_ascii_lowercase);
            (length >= 8 && !is_word).then(|| end..end + length)
        }
        Basic => {
            let length = while_in(is_token68);
            let credentials = BASE64.decode(&rest[..length]).ok()?;
            (length >= 4 && credentials.contains(&b':')).then(|| end..end + length)
        }
        PrivateKey => private_key(text, start, end),
        UserInfo => user_info(rest).map(|password| end + password.start..end + password.end),
    }
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// <https://www.rfc-editor.org/rfc/rfc9110#section-11.2>
fn is_token68(byte: u8) -> bool {
    is_url_safe(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=')
}

fn is_mixed(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_digit) && bytes.iter().any(u8::is_ascii_uppercase)
}

/// From one `-----BEGIN … PRIVATE KEY-----` up to its end, or that of the text.
fn private_key(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    /// Longest name of a kind of key: `ENCRYPTED PRIVATE KEY`, `PGP PRIVATE KEY BLOCK`.
    const LABEL_BYTES_MAX: usize = 40;
    const CLOSE: &[u8] = b"-----";
    let rest = &text.as_bytes()[end..];
    let label = memchr::memmem::find(&rest[..rest.len().min(LABEL_BYTES_MAX)], CLOSE)?;
    memchr::memmem::find(&rest[..label], b"PRIVATE KEY")?;
    let of_end = memchr::memmem::find(rest, b"-----END ").map(|at| at + b"-----END ".len());
    let closed = of_end.and_then(|at| Some(at + memchr::memmem::find(&rest[at..], CLOSE)? + CLOSE.len()));
    Some(start..closed.map_or(text.len(), |closed| end + closed))
}

/// The password before the host of a URL.
fn user_info(rest: &[u8]) -> Option<Range<usize>> {
    let is_end = |byte: &u8| {
        matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'\\') || byte.is_ascii_whitespace()
    };
    let authority = rest.iter().position(is_end).unwrap_or(rest.len());
    // A password may have an `@` of its own.
    let at = memchr::memrchr(b'@', &rest[..authority])?;
    let colon = memchr::memchr(b':', &rest[..at])?;
    let password = rest.get(colon + 1..at)?;
    (!password.is_empty() && password != REDACTED.as_bytes()).then(|| colon + 1..at)
}
