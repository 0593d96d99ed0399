//! `bearertokenauth` of a server: a header must be one of the right values.

use ::http::header::{HeaderMap, HeaderValue};
use async_trait::async_trait;
use cupola_export::Sample;
use cupola_export::auth::{BearerSettings, Denied, Identity, ServerAuth, Tokens};
use subtle::{Choice, ConstantTimeEq as _};

/// Knows tokens.
#[derive(Debug)]
pub struct BearerServer {
    tokens: Tokens,
    challenge: HeaderValue,
}

impl BearerServer {
    pub fn new(settings: &BearerSettings, tokens: Tokens) -> BearerServer {
        let scheme = match settings.scheme.as_str() {
            "" => "Bearer",
            scheme => scheme,
        };
        let challenge = HeaderValue::try_from(format!("{scheme} realm=\"cupola\""));
        BearerServer {
            tokens,
            challenge: challenge.unwrap_or(HeaderValue::from_static("Bearer")),
        }
    }
}

#[async_trait]
impl ServerAuth for BearerServer {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity, Denied> {
        let mut found = Choice::from(0);
        if let Some(given) = headers.get(self.tokens.header()) {
            // All of them, so that the time says nothing of which it was nearest to.
            for value in self.tokens.values().iter() {
                found |= value.as_bytes().ct_eq(given.as_bytes());
            }
        }
        match found.into() {
            // All that have a token are alike.
            true => Ok(Identity::new()),
            false => Err(Denied::Unknown {
                challenge: self.challenge.clone(),
            }),
        }
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.tokens.collect(samples);
    }
}
