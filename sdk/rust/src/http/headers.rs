//! Headers of HTTP as carriers of a context.

use cupola_sdk_core::propagation::{Extractor, Injector};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers to be read.
#[derive(Debug)]
pub struct Headers<'h>(pub &'h HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<String> {
        let mut values = self.0.get_all(key).iter().filter_map(|value| value.to_str().ok());
        let mut all = values.next()?.to_owned();
        for value in values {
            all.push(',');
            all.push_str(value);
        }
        Some(all)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Headers to be written.
#[derive(Debug)]
pub struct HeadersMut<'h>(pub &'h mut HeaderMap);

impl Injector for HeadersMut<'_> {
    /// What cannot be a header is left out.
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(key, value);
        }
    }
}
