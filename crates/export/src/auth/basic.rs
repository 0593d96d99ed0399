//! `basicauth` of a client: a name and a password, from the settings or from files. <https://www.rfc-editor.org/rfc/rfc7617>

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use cupola_config::Secret;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::{ClientAuth, NoCredentials, Sender, sensitive};
use crate::Sample;
use crate::reloading::Reloading;

/// `client_auth`. A file goes before the text beside it, and is looked at again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientCredentials {
    pub username: String,
    pub username_file: Option<PathBuf>,
    pub password: Secret,
    pub password_file: Option<PathBuf>,
}

impl ClientCredentials {
    /// What is wrong, with its key.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.username.is_empty() && self.username_file.is_none() {
            return Err((
                "username",
                "is missing; set `username` or `username_file`".to_owned(),
            ));
        }
        if self.username.contains(':') {
            return Err(("username", "cannot have a colon".to_owned()));
        }
        Ok(())
    }
}

/// Sends the same credentials with every request.
#[derive(Debug)]
pub struct BasicClient(Reloading<HeaderValue>);

impl BasicClient {
    /// Reads the files, which are looked at every `every`; must be called on a tokio runtime if there are any.
    pub fn new(credentials: &ClientCredentials, every: Duration) -> Result<BasicClient, String> {
        let of = credentials.clone();
        let paths = [&of.username_file, &of.password_file];
        let paths = paths.into_iter().flatten().cloned().collect();
        let value = Reloading::new("passwords", paths, every, move |files| {
            let user = match &of.username_file {
                Some(file) => files.text(file)?,
                None => &of.username,
            };
            let password = match &of.password_file {
                Some(file) => files.text(file)?,
                None => of.password.expose(),
            };
            if user.is_empty() || user.contains(':') {
                return Err("the user name is empty or has a colon".to_owned());
            }
            let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            sensitive(&format!("Basic {both}")).map_err(|problem| problem.to_string())
        });
        value.map(BasicClient)
    }
}

#[async_trait]
impl ClientAuth for BasicClient {
    async fn authorize(&self, _: Sender<'_>, headers: &mut HeaderMap) -> Result<(), NoCredentials> {
        headers.insert(AUTHORIZATION, (*self.0.current()).clone());
        Ok(())
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.0.collect(samples);
    }
}
