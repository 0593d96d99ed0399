//! `bearertokenauth`: its settings, the tokens that both sides have, and the client. <https://www.rfc-editor.org/rfc/rfc6750>

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::{Passed, Secret};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::{ClientAuth, NoCredentials, Sender, sensitive};
use crate::Sample;
use crate::reloading::Reloading;

/// Settings of the extension.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BearerSettings {
    pub header: String,
    /// In front of the token; nothing if empty.
    pub scheme: String,
    pub token: Secret,
    /// A server takes any of them, a client sends the first.
    pub tokens: Vec<Secret>,
    /// A token in each line, what follows it is a comment. Goes before tokens that are given here; looked at again.
    pub filename: Option<PathBuf>,
    /// Read and of no effect: the file must be there at the start, and a reload that fails changes nothing.
    pub retry_on_failure: Passed,
    pub wait_for_token_file: Passed,
}

impl Default for BearerSettings {
    fn default() -> Self {
        Self {
            header: "Authorization".to_owned(),
            scheme: "Bearer".to_owned(),
            token: Secret::default(),
            tokens: Vec::new(),
            filename: None,
            retry_on_failure: Passed,
            wait_for_token_file: Passed,
        }
    }
}

impl BearerSettings {
    /// What is wrong, with its key.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.token.is_empty() && self.tokens.is_empty() && self.filename.is_none() {
            return Err((
                "token",
                "is missing; set `token`, `tokens` or `filename`".to_owned(),
            ));
        }
        if !self.token.is_empty() && !self.tokens.is_empty() {
            return Err(("tokens", "`token` is given too; leave one out".to_owned()));
        }
        if self.tokens.iter().any(Secret::is_empty) {
            return Err((
                "tokens",
                "one of them is empty, which anybody could send".to_owned(),
            ));
        }
        if HeaderName::from_bytes(self.header.as_bytes()).is_err() {
            return Err(("header", format!("`{}` is no name of a header", self.header)));
        }
        self.values(self.given().map(Secret::expose))
            .map(drop)
            .map_err(|problem| ("token", problem.to_string()))
    }

    fn given(&self) -> impl Iterator<Item = &Secret> {
        self.tokens
            .iter()
            .chain(Some(&self.token).filter(|token| !token.is_empty()))
    }

    fn values<'t>(&self, tokens: impl Iterator<Item = &'t str>) -> Result<Vec<HeaderValue>, NoCredentials> {
        tokens
            .map(|token| match self.scheme.as_str() {
                "" => sensitive(token),
                scheme => sensitive(&format!("{scheme} {token}")),
            })
            .collect()
    }
}

/// The header and its right values, of which there is at least one.
#[derive(Debug)]
pub struct Tokens {
    header: HeaderName,
    values: Reloading<Vec<HeaderValue>>,
}

impl Tokens {
    /// Reads the file, which is looked at every `every`; must be called on a tokio runtime if there is one.
    pub fn new(settings: &BearerSettings, every: Duration) -> Result<Tokens, String> {
        let header = HeaderName::from_bytes(settings.header.as_bytes())
            .map_err(|_| format!("`{}` is no name of a header", settings.header))?;
        let of = settings.clone();
        let paths = of.filename.iter().cloned().collect();
        let values = Reloading::new("tokens", paths, every, move |files| {
            let told = |problem: NoCredentials| problem.to_string();
            let Some(file) = &of.filename else {
                return of.values(of.given().map(Secret::expose)).map_err(told);
            };
            let lines = files.text(file)?.lines();
            let tokens = lines
                .filter(|line| !line.trim_start().starts_with('#'))
                .filter_map(|line| line.split_whitespace().next());
            match of.values(tokens).map_err(told)? {
                values if values.is_empty() => Err(format!("{} has no token in it", file.display())),
                values => Ok(values),
            }
        })?;
        Ok(Tokens { header, values })
    }

    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The values of the header that are right now.
    pub fn values(&self) -> std::sync::Arc<Vec<HeaderValue>> {
        self.values.current()
    }

    /// Adds what is counted.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        self.values.collect(samples);
    }
}

/// Sends the first token with every request.
#[derive(Debug)]
pub struct BearerClient(Tokens);

impl BearerClient {
    pub fn new(tokens: Tokens) -> BearerClient {
        BearerClient(tokens)
    }
}

#[async_trait]
impl ClientAuth for BearerClient {
    async fn authorize(&self, _: Sender<'_>, headers: &mut HeaderMap) -> Result<(), NoCredentials> {
        if let Some(value) = self.0.values().first() {
            headers.insert(self.0.header().clone(), value.clone());
        }
        Ok(())
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.0.collect(samples);
    }
}
