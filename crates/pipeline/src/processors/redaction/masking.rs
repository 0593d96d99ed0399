//! What stands for what must not be seen.

use std::borrow::Cow;

use cupola_config::Secret;
use cupola_telemetry::edit::Value;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use regex::{Captures, Regex};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use sha3::Sha3_256;

use crate::processors::ConfigError;

const MASK: &str = "****";

/// Shortest keys, in bytes.
const HMAC_SHA256_KEY_MIN: usize = 32;
const HMAC_SHA512_KEY_MIN: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum HashFunction {
    #[serde(rename = "md5")]
    Md5,
    #[serde(rename = "sha1")]
    Sha1,
    /// SHA3-256.
    #[serde(rename = "sha3")]
    Sha3,
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

pub(super) enum Masking {
    Fixed(String),
    Hash(HashFunction),
    Hmac256(Hmac<Sha256>),
    Hmac512(Hmac<Sha512>),
}

impl Masking {
    pub(super) fn new(
        function: Option<HashFunction>,
        key: Option<&Secret>,
        mask: &str,
    ) -> Result<Self, ConfigError> {
        if function.is_some() && !mask.is_empty() {
            let problem = "it is not used together with hash_function";
            return Err(ConfigError::setting("masking_string", problem));
        }
        let missing = || ConfigError::setting("hmac_key", "the hash_function needs one");
        let key = key.map(Secret::expose).filter(|key| !key.is_empty());
        let long_enough = |key: &str, least: usize| match key.len() < least {
            true => Err(ConfigError::setting(
                "hmac_key",
                format!("it needs {least} bytes at least"),
            )),
            false => Ok(()),
        };
        Ok(match function {
            None if mask.is_empty() => Self::Fixed(MASK.to_owned()),
            None => Self::Fixed(mask.to_owned()),
            Some(HashFunction::HmacSha256) => {
                let key = key.ok_or_else(missing)?;
                long_enough(key, HMAC_SHA256_KEY_MIN)?;
                Self::Hmac256(Hmac::new_from_slice(key.as_bytes()).map_err(|_| missing())?)
            }
            Some(HashFunction::HmacSha512) => {
                let key = key.ok_or_else(missing)?;
                long_enough(key, HMAC_SHA512_KEY_MIN)?;
                Self::Hmac512(Hmac::new_from_slice(key.as_bytes()).map_err(|_| missing())?)
            }
            Some(function) => Self::Hash(function),
        })
    }

    /// What stands for a text as a whole.
    pub(super) fn whole(&self, text: &str) -> String {
        let bytes = text.as_bytes();
        match self {
            Self::Fixed(mask) => mask.clone(),
            Self::Hash(HashFunction::Md5) => hex::encode(Md5::digest(bytes)),
            Self::Hash(HashFunction::Sha1) => hex::encode(Sha1::digest(bytes)),
            Self::Hash(_) => hex::encode(Sha3_256::digest(bytes)),
            Self::Hmac256(hmac) => hex::encode(hmac.clone().chain_update(bytes).finalize().into_bytes()),
            Self::Hmac512(hmac) => hex::encode(hmac.clone().chain_update(bytes).finalize().into_bytes()),
        }
    }

    /// The text with all that one of `patterns` finds masked, one pattern after the other; `None` if none finds anything.
    pub(super) fn parts(&self, text: &str, patterns: &[Regex]) -> Option<String> {
        let mut masked = Cow::Borrowed(text);
        for pattern in patterns {
            if pattern.is_match(&masked) {
                let replaced = pattern.replace_all(&masked, |found: &Captures<'_>| {
                    self.whole(found.get(0).map_or("", |found| found.as_str()))
                });
                masked = Cow::Owned(replaced.into_owned());
            }
        }
        match masked {
            Cow::Owned(masked) if masked != text => Some(masked),
            _ => None,
        }
    }
}

/// A value as text: numbers as they are written, bytes in base64, structures as JSON.
pub(super) fn text<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Empty => Cow::Borrowed(""),
        Value::Bool(value) => value.to_string().into(),
        Value::Int(value) => value.to_string().into(),
        Value::Double(value) => value.to_string().into(),
        Value::Bytes(bytes) => {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(bytes).into()
        }
        Value::Array(_) | Value::Map(_) | Value::Other(_) => {
            let mut out = String::new();
            crate::ottl::write_json(&mut out, value);
            out.into()
        }
    }
}
