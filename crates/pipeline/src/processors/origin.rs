//! What components may ask of who sent a batch, by the Collector's keys: `metadata.NAME` of its headers, `auth.NAME` of what
//! its authenticator says, and `client.address`.

use cupola_export::otlp::TENANT_HEADER;
use cupola_telemetry::Batch;

/// What the Collector puts between several values of a header.
const SEPARATOR: &str = ";";

/// A key of what is known of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OriginKey {
    Metadata(String),
    Identity(String),
    Address,
}

impl OriginKey {
    /// A key without a prefix is that of a header.
    pub(crate) fn parse(key: &str) -> OriginKey {
        if key == "client.address" {
            return OriginKey::Address;
        }
        match (key.strip_prefix("auth."), key.strip_prefix("metadata.")) {
            (Some(name), _) => OriginKey::Identity(name.to_owned()),
            (None, name) => OriginKey::Metadata(name.unwrap_or(key).to_owned()),
        }
    }

    /// As one text; `None` if it is not known of the batch.
    pub(crate) fn value(&self, batch: &Batch) -> Option<String> {
        match self {
            OriginKey::Metadata(name) => {
                let values = header(batch, name);
                (!values.is_empty()).then(|| values.join(SEPARATOR))
            }
            OriginKey::Identity(name) => batch.client()?.identity(name).map(str::to_owned),
            OriginKey::Address => batch.client()?.address().map(|address| address.to_string()),
        }
    }
}

/// The values of a header of the sender. The tenant is always known, but only told if somebody named it.
pub(crate) fn header<'b>(batch: &'b Batch, name: &str) -> Vec<&'b str> {
    if name.eq_ignore_ascii_case(TENANT_HEADER) {
        let named = Some(batch.tenant()).filter(|tenant| !tenant.is_default());
        return named.map(|tenant| tenant.as_str()).into_iter().collect();
    }
    let values = batch.client().map_or(&[][..], |client| client.metadata(name));
    values.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use cupola_telemetry::{Client, Signal, TenantId};

    use super::*;

    #[test]
    fn each_key_finds_what_it_names_and_nothing_else() {
        let client = Client::at("10.0.0.7".parse().unwrap())
            .with_metadata([("X-Team", "blue"), ("x-team", "red")])
            .with_identity([("username".to_owned(), "mia".to_owned())]);
        let tenant = TenantId::parse("acme").unwrap();
        let known =
            Batch::from_canonical(Signal::Logs, tenant, Bytes::new(), 0).with_client(Some(Arc::new(client)));
        let unknown = Batch::from_canonical(Signal::Logs, TenantId::default_tenant(), Bytes::new(), 0);
        for (key, value) in [
            ("metadata.x-team", Some("blue;red")),
            ("x-team", Some("blue;red")),
            ("metadata.x-other", None),
            ("metadata.X-Scope-OrgID", Some("acme")),
            ("auth.username", Some("mia")),
            ("auth.x-team", None),
            ("client.address", Some("10.0.0.7")),
        ] {
            let key = OriginKey::parse(key);
            assert_eq!(key.value(&known).as_deref(), value, "{key:?}");
            assert_eq!(key.value(&unknown), None, "{key:?}");
        }
    }
}
