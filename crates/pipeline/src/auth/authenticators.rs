//! The authenticators that a configuration has, by their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_config::ComponentId;
use cupola_export::Sample;
use cupola_export::auth::{AuthSettings, ClientAuth, Credentials, ServerAuth};

/// What components find the authenticators in that they name.
#[derive(Clone, Debug, Default)]
pub struct Authenticators {
    servers: BTreeMap<ComponentId, Arc<dyn ServerAuth>>,
    clients: BTreeMap<ComponentId, Arc<dyn ClientAuth>>,
}

/// A component names an authenticator that there is not, or not for its side. A plan that was checked has none such.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no authenticator `{id}` for {side}s")]
pub struct NoAuthenticator {
    pub id: ComponentId,
    /// `server` or `client`.
    pub side: &'static str,
}

impl Authenticators {
    pub fn add_server(&mut self, id: ComponentId, auth: Arc<dyn ServerAuth>) {
        self.servers.insert(id, auth);
    }

    pub fn add_client(&mut self, id: ComponentId, auth: Arc<dyn ClientAuth>) {
        self.clients.insert(id, auth);
    }

    /// Takes over those of `other` that have this name.
    pub fn keep(&mut self, id: &ComponentId, other: &Authenticators) {
        if let Some(auth) = other.servers.get(id) {
            self.servers.insert(id.clone(), auth.clone());
        }
        if let Some(auth) = other.clients.get(id) {
            self.clients.insert(id.clone(), auth.clone());
        }
    }

    /// That of a listener, if its settings name one.
    pub fn server(
        &self,
        settings: Option<&AuthSettings>,
    ) -> Result<Option<Arc<dyn ServerAuth>>, NoAuthenticator> {
        let Some(AuthSettings {
            authenticator: id, ..
        }) = settings
        else {
            return Ok(None);
        };
        let missing = || NoAuthenticator {
            id: id.clone(),
            side: "server",
        };
        self.servers.get(id).cloned().map(Some).ok_or_else(missing)
    }

    /// The credentials of an exporter: none unless its settings name an authenticator.
    pub fn credentials(&self, settings: Option<&AuthSettings>) -> Result<Credentials, NoAuthenticator> {
        let Some(AuthSettings {
            authenticator: id, ..
        }) = settings
        else {
            return Ok(Credentials::default());
        };
        let missing = || NoAuthenticator {
            id: id.clone(),
            side: "client",
        };
        self.clients
            .get(id)
            .cloned()
            .map(Credentials::of)
            .ok_or_else(missing)
    }

    /// Adds what each counts, labelled with its name.
    pub fn collect(&self, samples: &mut Vec<Sample>) {
        let mut labelled = |id: &ComponentId, collect: &dyn Fn(&mut Vec<Sample>)| {
            let start = samples.len();
            collect(samples);
            for sample in &mut samples[start..] {
                sample.labels.push(("extension", id.to_string()));
            }
        };
        for (id, auth) in &self.servers {
            labelled(id, &|samples| auth.collect(samples));
        }
        for (id, auth) in &self.clients {
            labelled(id, &|samples| auth.collect(samples));
        }
    }
}
