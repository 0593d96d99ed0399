//! The names that secrets are known to have, as words: `apiKey`, `api-key` and `API_KEY` are the two words `api` and `key`.

use smallvec::SmallVec;

/// Longest name that is looked at, in bytes; of a longer one its end.
const KEY_BYTES_MAX: usize = 256;
/// Most words of a term.
const TERM_WORDS_MAX: usize = 4;

/// Terms for secrets, their words written as one, sorted.
const TERMS: &[&str] = &[
    "accesskey",
    "accesskeys",
    "accesstoken",
    "accesstokens",
    "accountkey",
    "adminpass",
    "apikey",
    "apikeys",
    "apitokens",
    "appkey",
    "applicationkey",
    "authkey",
    "authorization",
    "authpass",
    "backupcode",
    "bearer",
    "cardnumber",
    "ccnum",
    "ccnumber",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "creditcard",
    "creds",
    "cvc",
    "cvv",
    "dbpass",
    "debitcard",
    "deploykey",
    "encryptionkey",
    "hmackey",
    "jsessionid",
    "jwt",
    "licensekey",
    "mailpass",
    "masterkey",
    "mysqlpass",
    "onetimepassword",
    "otp",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwordhash",
    "passwords",
    "pgpass",
    "phpsessid",
    "pincode",
    "presharedkey",
    "privatekey",
    "privkey",
    "proxyauthorization",
    "pwd",
    "recoverycode",
    "redispass",
    "refreshtokens",
    "rootpass",
    "secret",
    "secretid",
    "secretkey",
    "secrets",
    "securitycode",
    "servicekey",
    "sessid",
    "sessionid",
    "sessionkey",
    "setcookie",
    "sharedkey",
    "signingkey",
    "smtppass",
    "socialsecurity",
    "socialsecuritynumber",
    "sshkey",
    "ssn",
    "storagekey",
    "subscriptionkey",
    "token",
    "totp",
    "userpass",
    "verificationcode",
    "webhookkey",
    "writekey",
];

/// Ends of words that are written as one: `dbpassword`, `csrftoken`.
const ENDS: [&str; 7] = [
    "apikey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "token",
];

/// Words behind a term, or last of a name, that make it say something about a secret: `token.type`, `password_reset_url`.
const SAYING: &[&str] = &[
    "age",
    "alg",
    "algorithm",
    "arn",
    "at",
    "attempt",
    "attempts",
    "audience",
    "banner",
    "bucket",
    "budget",
    "bytes",
    "change",
    "changed",
    "check",
    "checked",
    "class",
    "code",
    "consent",
    "cost",
    "count",
    "counter",
    "counters",
    "counts",
    "created",
    "date",
    "description",
    "dir",
    "directory",
    "disabled",
    "domain",
    "duration",
    "enabled",
    "endpoint",
    "engine",
    "error",
    "errors",
    "exists",
    "expiration",
    "expire",
    "expired",
    "expires",
    "expiry",
    "failed",
    "failure",
    "failures",
    "file",
    "filename",
    "format",
    "hint",
    "hit",
    "hits",
    "host",
    "id",
    "ids",
    "index",
    "invalid",
    "issuer",
    "kind",
    "label",
    "length",
    "lifetime",
    "limit",
    "manager",
    "max",
    "method",
    "min",
    "miss",
    "misses",
    "missing",
    "mode",
    "ms",
    "name",
    "names",
    "path",
    "percent",
    "policy",
    "position",
    "present",
    "provider",
    "purpose",
    "quota",
    "rate",
    "ratio",
    "reason",
    "ref",
    "reference",
    "remaining",
    "required",
    "reset",
    "result",
    "results",
    "retries",
    "rotated",
    "rotation",
    "scheme",
    "schema",
    "scope",
    "scopes",
    "seconds",
    "size",
    "source",
    "state",
    "status",
    "store",
    "strategy",
    "strength",
    "success",
    "time",
    "timestamp",
    "total",
    "ttl",
    "type",
    "types",
    "updated",
    "uri",
    "url",
    "usage",
    "used",
    "valid",
    "validity",
    "verification",
    "verified",
    "version",
];

/// Ends of names of files with code, which traces have before a number of a line.
const FILES: [&str; 12] = [
    "cpp", "cs", "go", "java", "js", "jsx", "kt", "php", "py", "rb", "rs", "ts",
];

/// Words before `token` of tokens that open nothing: those of language models, parsers and pages.
const HARMLESS_TOKENS: &[&str] = &[
    "bos",
    "completion",
    "continuation",
    "eos",
    "first",
    "input",
    "last",
    "mask",
    "max",
    "min",
    "next",
    "output",
    "pad",
    "page",
    "parse",
    "per",
    "prompt",
    "special",
    "stop",
    "sync",
    "total",
    "unexpected",
    "unk",
];

/// Whether a name is made of the words of a secret.
pub(super) fn are_of_secret(key: &str) -> bool {
    let words = split(key);
    let last = words.last().map(String::as_str);
    if last.is_none_or(|last| FILES.contains(&last) || SAYING.contains(&last) && !ends_with_term(&words)) {
        return false;
    }
    (0..words.len()).any(|start| {
        let longest = TERM_WORDS_MAX.min(words.len() - start);
        (1..=longest).any(|count| {
            let term = words[start..start + count].concat();
            let says = words.get(start + count).map(String::as_str);
            let before = start.checked_sub(1).map(|before| words[before].as_str());
            let is_term = TERMS.binary_search(&term.as_str()).is_ok()
                || (count == 1 && ENDS.iter().any(|end| term.ends_with(end)));
            let is_harmless = term == "token" && before.is_some_and(|word| HARMLESS_TOKENS.contains(&word));
            is_term && !is_harmless && says.is_none_or(|word| !SAYING.contains(&word))
        })
    })
}

/// Of names whose last word usually says something about a secret, and belongs to the term here: `session_id`.
fn ends_with_term(words: &[String]) -> bool {
    (2..=TERM_WORDS_MAX.min(words.len())).any(|count| {
        let term = words[words.len() - count..].concat();
        TERMS.binary_search(&term.as_str()).is_ok()
    })
}

/// The words of a name in small letters, without digits at their end.
fn split(key: &str) -> SmallVec<[String; 8]> {
    let start = key.len().saturating_sub(KEY_BYTES_MAX);
    let start = (start..=key.len()).find(|at| key.is_char_boundary(*at));
    let key = &key[start.unwrap_or_default()..];
    let mut words: SmallVec<[String; 8]> = SmallVec::new();
    let mut word = String::new();
    let mut characters = key.chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        // `apiKey`, and `APIKey`.
        let is_first = character.is_uppercase()
            && (before.is_lowercase()
                || before.is_uppercase() && characters.peek().is_some_and(|next| next.is_lowercase()));
        if !character.is_alphanumeric() || is_first {
            finish(&mut word, &mut words);
        }
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        }
        before = character;
    }
    finish(&mut word, &mut words);
    words
}

fn finish(word: &mut String, words: &mut SmallVec<[String; 8]>) {
    let length = word
        .trim_end_matches(|character: char| character.is_ascii_digit())
        .len();
    word.truncate(length);
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_however_they_are_written() {
        for (name, words) in [
            ("apiKey", "api key"),
            ("APIKey", "api key"),
            ("X-API-KEY", "x api key"),
            ("password2", "password"),
            ("http.request.header.set-cookie", "http request header set cookie"),
            ("größe_1", "größe"),
            ("--", ""),
            ("", ""),
        ] {
            assert_eq!(split(name).join(" "), words, "{name}");
        }
        let long = format!("{}ü_{}", "x".repeat(300), "y".repeat(KEY_BYTES_MAX - 2));
        assert_eq!(split(&long).len(), 1);
    }

    #[test]
    fn terms_are_sorted_for_the_search() {
        assert!(TERMS.is_sorted());
    }
}
