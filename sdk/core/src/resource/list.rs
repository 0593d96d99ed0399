//! `OTEL_RESOURCE_ATTRIBUTES` and `attributes_list`: `key=value` pairs with commas between, percent-encoded.
//!
//! <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>

use super::OwnedValue;

/// Why a list is not read, none of it: what is right in one that has a mistake may belong to something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("`{0}` has no `=`: attributes are written as `key=value,key=value`")]
    NoPair(String),
    #[error("`{0}` has no key before its `=`")]
    NoKey(String),
    #[error(
        "`{0}` cannot be decoded: behind `%` two hexadecimal digits must follow, and UTF-8 come out; `%25` is `%`"
    )]
    Encoding(String),
}

/// Reads a list. Of a key that stands twice the later value counts.
pub fn parse_list(list: &str) -> Result<Vec<(String, OwnedValue)>, ListError> {
    let members = list.split(',').map(str::trim).filter(|member| !member.is_empty());
    let pairs = members.map(|member| {
        let (key, value) = member
            .split_once('=')
            .ok_or_else(|| ListError::NoPair(member.to_owned()))?;
        let decode = |text: &str| decode(text.trim()).ok_or_else(|| ListError::Encoding(member.to_owned()));
        let key = decode(key)?;
        match key.is_empty() {
            true => Err(ListError::NoKey(member.to_owned())),
            false => Ok((key, OwnedValue::String(decode(value)?))),
        }
    });
    pairs.collect()
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = digit()? << 4 | digit()?;
        decoded.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(decoded).ok()
}
