//! Extensions that components refer to by name: authenticators. Their kinds, who refers to them, and making those of a plan.

use std::sync::Arc;

use cupola_config::ComponentId;
use cupola_export::auth::{AuthSettings, ClientAuth, ServerAuth};

use super::kinds::BuildError;
use super::plan::Plan;
use super::running::StartError;
use crate::auth::Authenticators;

/// Which end of a connection an authenticator is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Tells a listener who may send.
    Server,
    /// Gives a sender its credentials.
    Client,
}

/// Settings of an authenticator, read and checked.
pub trait ExtensionSettings: Send + Sync {
    /// The sides that it can be for, with these settings.
    fn sides(&self) -> &'static [Side];

    /// Makes it for listeners, if it is for them. On a tokio runtime.
    fn server(&self) -> Result<Arc<dyn ServerAuth>, BuildError> {
        Err(BuildError::new("it is none for servers"))
    }

    /// Makes it for exporters, if it is for them. On a tokio runtime.
    fn client(&self) -> Result<Arc<dyn ClientAuth>, BuildError> {
        Err(BuildError::new("it is none for clients"))
    }
}

/// A component names an authenticator.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// Of its setting `auth`, below the component: `protocols.grpc.auth`.
    pub key: String,
    pub id: ComponentId,
    pub side: Side,
}

impl Reference {
    /// That of the setting `auth` below `prefix`, which is empty or ends in a dot.
    pub fn of(prefix: &str, settings: Option<&AuthSettings>, side: Side) -> Option<Reference> {
        settings.map(|settings| Reference {
            key: format!("{prefix}auth"),
            id: settings.authenticator.clone(),
            side,
        })
    }
}

impl Plan {
    /// Makes its authenticators. Those that `before` had for the plan `old` with the same settings are kept, with the
    /// tokens that they have.
    pub(super) fn authenticators(
        &self,
        old: &Plan,
        before: &Authenticators,
    ) -> Result<Authenticators, StartError> {
        let mut made = Authenticators::default();
        for (id, planned) in &self.extensions {
            let failed = |source| StartError {
                role: "extension",
                id: id.clone(),
                source,
            };
            if old
                .extensions
                .get(id)
                .is_some_and(|old| old.written == planned.written)
            {
                made.keep(id, before);
                continue;
            }
            for side in planned.settings.sides() {
                match side {
                    Side::Server => made.add_server(id.clone(), planned.settings.server().map_err(failed)?),
                    Side::Client => made.add_client(id.clone(), planned.settings.client().map_err(failed)?),
                }
            }
        }
        Ok(made)
    }

    /// Makes its authenticators, for whoever uses a part of it by itself.
    pub fn make_authenticators(&self) -> Result<Authenticators, StartError> {
        self.authenticators(&Plan::default(), &Authenticators::default())
    }

    /// Whether what components refer to is as it was in `old`.
    pub(super) fn refers_to_the_same(&self, old: &Plan, references: &[Reference]) -> bool {
        references.iter().all(|reference| {
            let written = |plan: &Plan| {
                let planned = plan.extensions.get(&reference.id);
                planned.map(|planned| planned.written.clone())
            };
            written(self) == written(old)
        })
    }
}
