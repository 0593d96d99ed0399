//! Tenant ids: which names may divide the data. Refuses anything unfit for a path or a header.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

/// Longest tenant id, in bytes.
pub const TENANT_ID_BYTES_MAX: usize = 150;

/// Owner of a batch: 1 to 150 characters of `[A-Za-z0-9!_.*'()-]`, not `.` or `..`.
///
/// These characters are safe in object store paths and in the `X-Scope-OrgID` header, so a tenant id
/// is used in both as it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// Why a text is not a tenant id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    #[error("tenant id is empty")]
    Empty,
    #[error("tenant id has {actual} bytes, at most {TENANT_ID_BYTES_MAX} are allowed")]
    TooLong { actual: usize },
    #[error(
        "tenant id has the character {character:?} at byte {offset}; allowed are letters, digits and !_.*'()-"
    )]
    Character { character: char, offset: usize },
    #[error("tenant id {0:?} names a directory, not a tenant")]
    Reserved(&'static str),
}

impl TenantId {
    /// Reads a tenant id; see the type for what is allowed.
    pub fn parse(text: &str) -> Result<Self, TenantIdError> {
        if text.is_empty() {
            return Err(TenantIdError::Empty);
        }
        if text.len() > TENANT_ID_BYTES_MAX {
            return Err(TenantIdError::TooLong { actual: text.len() });
        }
        if let Some((offset, character)) = text.char_indices().find(|(_, c)| !is_allowed(*c)) {
            return Err(TenantIdError::Character { character, offset });
        }
        match text {
            "." => Err(TenantIdError::Reserved(".")),
            ".." => Err(TenantIdError::Reserved("..")),
            _ => Ok(Self(text.into())),
        }
    }

    /// The tenant of requests that name none: `default`.
    pub fn default_tenant() -> Self {
        static DEFAULT: LazyLock<TenantId> = LazyLock::new(|| TenantId("default".into()));
        DEFAULT.clone()
    }

    /// Whether it is the tenant of those who name none.
    pub fn is_default(&self) -> bool {
        *self == Self::default_tenant()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!_.*'()-".contains(character)
}

impl Default for TenantId {
    fn default() -> Self {
        Self::default_tenant()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for TenantId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Maps keyed by tenant are looked up by `&str`; `Ord` and `Hash` agree with those of `str`.
impl std::borrow::Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        Self::parse(text)
    }
}
