//! Authenticators by name.

use std::sync::Arc;

use cupola_export::auth::{
    BasicClient, BearerClient, BearerSettings, ClientAuth, ClientCredentials, HeadersSetter,
    HeadersSetterSettings, OAuth2Client, OAuth2Settings, ServerAuth, Tokens,
};
use cupola_export::reloading::LOOK_EVERY;
use serde::Deserialize;

use crate::auth::{BasicServer, BearerServer, Htpasswd};
use crate::graph::extensions::{ExtensionSettings, Side};
use crate::graph::kinds::{BuildError, Kind, Registry};

pub(super) fn register(registry: &mut Registry) {
    let extensions = &mut registry.extensions;
    extensions.push(
        Kind::new::<BasicSettings>(
            "basicauth",
            &[],
            |settings| found(settings.validate()),
            |settings| Arc::new(settings) as Arc<dyn ExtensionSettings>,
        )
        .also("basic_auth"),
    );
    extensions.push(
        Kind::new::<BearerSettings>(
            "bearertokenauth",
            &[],
            |settings| found(settings.validate()),
            |settings| Arc::new(settings) as Arc<dyn ExtensionSettings>,
        )
        .also("bearer_token_auth"),
    );
    extensions.push(Kind::new::<HeadersSetterSettings>(
        "headers_setter",
        &[],
        |settings| found(settings.validate()),
        |settings| Arc::new(settings) as Arc<dyn ExtensionSettings>,
    ));
    extensions.push(
        Kind::new::<OAuth2Settings>(
            "oauth2client",
            &[],
            |settings| found(settings.validate()),
            |settings| Arc::new(settings) as Arc<dyn ExtensionSettings>,
        )
        .also("oauth2_client"),
    );
}

fn found<K: Into<String>>(result: Result<(), (K, String)>) -> Vec<(String, String)> {
    let problem = result.err().map(|(key, problem)| (key.into(), problem));
    problem.into_iter().collect()
}

/// `basicauth`: of a server with `htpasswd`, of a client with `client_auth`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BasicSettings {
    htpasswd: Option<Htpasswd>,
    client_auth: Option<ClientCredentials>,
}

impl BasicSettings {
    fn validate(&self) -> Result<(), (String, String)> {
        match (&self.htpasswd, &self.client_auth) {
            (Some(_), Some(_)) => Err((
                "client_auth".to_owned(),
                "`htpasswd` is given too; one extension is for servers or for clients".to_owned(),
            )),
            (None, None) => Err((
                "htpasswd".to_owned(),
                "is missing; set `htpasswd` for servers or `client_auth` for clients".to_owned(),
            )),
            (Some(htpasswd), None) => htpasswd
                .validate()
                .map_err(|(key, problem)| (key.to_owned(), problem)),
            (None, Some(client)) => client
                .validate()
                .map_err(|(key, problem)| (format!("client_auth.{key}"), problem)),
        }
    }
}

impl ExtensionSettings for BasicSettings {
    fn sides(&self) -> &'static [Side] {
        match self.htpasswd {
            Some(_) => &[Side::Server],
            None => &[Side::Client],
        }
    }

    fn server(&self) -> Result<Arc<dyn ServerAuth>, BuildError> {
        let settings = self.htpasswd.clone().unwrap_or_default();
        let made = BasicServer::new(&settings, LOOK_EVERY).map_err(BuildError::new)?;
        Ok(Arc::new(made))
    }

    fn client(&self) -> Result<Arc<dyn ClientAuth>, BuildError> {
        let settings = self.client_auth.clone().unwrap_or_default();
        let made = BasicClient::new(&settings, LOOK_EVERY).map_err(BuildError::new)?;
        Ok(Arc::new(made))
    }
}

impl ExtensionSettings for BearerSettings {
    fn sides(&self) -> &'static [Side] {
        &[Side::Server, Side::Client]
    }

    fn server(&self) -> Result<Arc<dyn ServerAuth>, BuildError> {
        let tokens = Tokens::new(self, LOOK_EVERY).map_err(BuildError::new)?;
        Ok(Arc::new(BearerServer::new(self, tokens)))
    }

    fn client(&self) -> Result<Arc<dyn ClientAuth>, BuildError> {
        let tokens = Tokens::new(self, LOOK_EVERY).map_err(BuildError::new)?;
        Ok(Arc::new(BearerClient::new(tokens)))
    }
}

impl ExtensionSettings for HeadersSetterSettings {
    fn sides(&self) -> &'static [Side] {
        &[Side::Client]
    }

    fn client(&self) -> Result<Arc<dyn ClientAuth>, BuildError> {
        let made = HeadersSetter::new(self, LOOK_EVERY).map_err(BuildError::new)?;
        Ok(Arc::new(made))
    }
}

impl ExtensionSettings for OAuth2Settings {
    fn sides(&self) -> &'static [Side] {
        &[Side::Client]
    }

    fn client(&self) -> Result<Arc<dyn ClientAuth>, BuildError> {
        let made = OAuth2Client::new(self, LOOK_EVERY).map_err(BuildError::new)?;
        Ok(Arc::new(made))
    }
}
