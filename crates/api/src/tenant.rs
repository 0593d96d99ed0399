//! Who is asking: the tenant named by `X-Scope-OrgID`, the default one without it.
//! Refuses a malformed or repeated header instead of falling back to somebody else's data.

use axum::extract::FromRequestParts;
use cupola_telemetry::TenantId;
use http::{HeaderMap, StatusCode, request::Parts};

use crate::error::ApiError;

/// The header that selects a tenant, as Loki, Mimir and Tempo have it.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// Extractor of the request's tenant.
#[derive(Debug, Clone)]
pub(crate) struct Tenant(pub(crate) TenantId);

pub(crate) fn tenant_of(headers: &HeaderMap) -> Result<TenantId, ApiError> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(first) = values.next() else {
        return Ok(TenantId::default_tenant());
    };
    if values.next().is_some() {
        return Err(invalid("the X-Scope-OrgID header is there more than once"));
    }
    let text = first
        .to_str()
        .map_err(|_| invalid("the X-Scope-OrgID header is not ASCII"))?;
    parse_tenant(text)
}

pub(crate) fn parse_tenant(text: &str) -> Result<TenantId, ApiError> {
    TenantId::parse(text).map_err(|error| invalid(&error.to_string()))
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_tenant", message)
        .with_hint("a tenant is 1 to 150 characters of A-Z a-z 0-9 ! _ . * ' ( ) -, and not \".\" or \"..\"")
}

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        tenant_of(&parts.headers).map(Tenant)
    }
}
