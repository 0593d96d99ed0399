//! Uids of single objects, for whoever needs no more of a cluster. Keeps nothing.

use super::Surroundings;
use super::access::Access;
use super::api::{Api, ApiError};
use super::config::AuthType;

pub(in crate::processors) struct Lookup(Api);

impl Lookup {
    /// Must be called on a tokio runtime. `context` is of a kubeconfig file, where its current one is not meant.
    pub(in crate::processors) fn new(
        auth: AuthType,
        context: &str,
        around: &Surroundings,
    ) -> Result<Lookup, String> {
        Access::new(auth, context, around).and_then(Api::new).map(Lookup)
    }

    /// Of an object that is of no namespace, by the plural of its kind; none where we may not know.
    pub(in crate::processors) async fn uid(
        &self,
        plural: &str,
        name: &str,
    ) -> Result<Option<String>, String> {
        match self.0.object(plural, name).await {
            Ok(object) => Ok(Some(object.metadata.uid)),
            Err(ApiError::Refused { code: 401 | 403, .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}
