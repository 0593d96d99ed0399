//! `headers_setter`: headers of every request, with fixed values or with what is known of a batch, which is its tenant.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::Secret;
use cupola_telemetry::TenantId;
use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::{ClientAuth, NoCredentials, sensitive};
use crate::Sample;
use crate::otlp::TENANT_HEADER;
use crate::reloading::Reloading;

/// Settings of the extension.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersSetterSettings {
    pub headers: Vec<HeaderSetting>,
}

/// What is done to one header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderSetting {
    pub action: HeaderAction,
    pub key: String,
    /// A secret, because tokens are among what is set.
    pub value: Option<Secret>,
    /// A file with the value, which is looked at again.
    pub value_file: Option<PathBuf>,
    /// `X-Scope-OrgID`, the tenant: no other header of those who sent is kept.
    pub from_context: Option<String>,
    /// Nothing is known of who sent, so that there is nothing to take.
    pub from_attribute: Option<String>,
    pub default_value: Option<Secret>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderAction {
    /// Adds the header if it is not there.
    Insert,
    /// Replaces the value of a header that is there.
    Update,
    #[default]
    Upsert,
    Delete,
}

impl HeadersSetterSettings {
    /// What is wrong, with its key.
    pub fn validate(&self) -> Result<(), (String, String)> {
        if self.headers.is_empty() {
            return Err(("headers".to_owned(), "is empty: nothing would be set".to_owned()));
        }
        for (index, header) in self.headers.iter().enumerate() {
            header
                .validate()
                .map_err(|(key, problem)| (format!("headers[{index}].{key}"), problem))?;
        }
        Ok(())
    }
}

impl HeaderSetting {
    fn validate(&self) -> Result<(), (&'static str, String)> {
        if HeaderName::from_bytes(self.key.as_bytes()).is_err() {
            return Err(("key", format!("`{}` is no name of a header", self.key)));
        }
        if self.from_attribute.is_some() {
            return Err((
                "from_attribute",
                "nothing is known of who sent a batch; use `value`, or `from_context: X-Scope-OrgID`"
                    .to_owned(),
            ));
        }
        if let Some(name) = &self.from_context
            && !name.eq_ignore_ascii_case(TENANT_HEADER)
        {
            return Err((
                "from_context",
                format!(
                    "of the headers that a batch came with only X-Scope-OrgID is kept, its tenant, and not `{name}`"
                ),
            ));
        }
        if let Some(value) = &self.value {
            HeaderValue::from_str(value.expose())
                .map_err(|_| ("value", "has characters that a header cannot have".to_owned()))?;
        }
        let sources = [
            self.value.is_some(),
            self.value_file.is_some(),
            self.from_context.is_some(),
        ];
        match (self.action, sources.into_iter().filter(|given| *given).count()) {
            (HeaderAction::Delete, _) | (_, 1) => Ok(()),
            (_, 0) => Err((
                "value",
                "is missing; set `value`, `value_file` or `from_context`".to_owned(),
            )),
            _ => Err((
                "value",
                "only one of `value`, `value_file` and `from_context` can be".to_owned(),
            )),
        }
    }
}

/// Sets headers.
#[derive(Debug)]
pub struct HeadersSetter(Reloading<Vec<Set>>);

struct Set {
    action: HeaderAction,
    key: HeaderName,
    value: Value,
}

enum Value {
    Fixed(HeaderValue),
    Tenant,
    None,
}

impl HeadersSetter {
    /// Reads the files, which are looked at every `every`; must be called on a tokio runtime if there are any.
    pub fn new(settings: &HeadersSetterSettings, every: Duration) -> Result<HeadersSetter, String> {
        let of = settings.clone();
        let paths = of.headers.iter().filter_map(|header| header.value_file.clone());
        let sets = Reloading::new("headers", paths.collect(), every, move |files| {
            let set = |header: &HeaderSetting| {
                let key = HeaderName::from_bytes(header.key.as_bytes())
                    .map_err(|_| format!("`{}` is no name of a header", header.key))?;
                let fixed = |text: &str| {
                    sensitive(text)
                        .map(Value::Fixed)
                        .map_err(|error| error.to_string())
                };
                let value = match (&header.value_file, &header.value, &header.from_context) {
                    (Some(file), _, _) => fixed(files.text(file)?)?,
                    (None, Some(value), _) => fixed(value.expose())?,
                    // A batch has a tenant in any case, so that no default ever stands in for it.
                    (None, None, Some(_)) => Value::Tenant,
                    (None, None, None) => Value::None,
                };
                Ok::<_, String>(Set {
                    action: header.action,
                    key,
                    value,
                })
            };
            of.headers.iter().map(set).collect()
        });
        sets.map(HeadersSetter)
    }
}

#[async_trait]
impl ClientAuth for HeadersSetter {
    async fn authorize(&self, tenant: &TenantId, headers: &mut HeaderMap) -> Result<(), NoCredentials> {
        for set in self.0.current().iter() {
            let value = match &set.value {
                Value::Fixed(value) => value.clone(),
                Value::Tenant => HeaderValue::from_str(tenant.as_str())
                    .map_err(|_| NoCredentials("the tenant cannot be sent as a header".to_owned()))?,
                Value::None => HeaderValue::from_static(""),
            };
            match (set.action, headers.entry(&set.key)) {
                (HeaderAction::Upsert | HeaderAction::Update, Entry::Occupied(mut there)) => {
                    there.insert(value);
                }
                (HeaderAction::Insert | HeaderAction::Upsert, Entry::Vacant(free)) => {
                    free.insert(value);
                }
                (HeaderAction::Delete, Entry::Occupied(there)) => {
                    there.remove_entry_mult();
                }
                (HeaderAction::Insert, Entry::Occupied(_))
                | (HeaderAction::Update | HeaderAction::Delete, Entry::Vacant(_)) => {}
            }
        }
        Ok(())
    }

    fn collect(&self, samples: &mut Vec<Sample>) {
        self.0.collect(samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> HeadersSetterSettings {
        cupola_config::yaml::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn each_action_does_what_its_name_says() {
        let text = "headers:\n- {key: a, value: new}\n- {action: insert, key: b, value: new}\n\
                    - {action: insert, key: c, value: new}\n- {action: update, key: d, value: new}\n\
                    - {action: update, key: e, value: new}\n- {action: delete, key: f}\n\
                    - {key: X-Org, from_context: x-scope-orgid}\n";
        let settings = settings(text);
        settings.validate().unwrap();
        let setter = HeadersSetter::new(&settings, Duration::ZERO).unwrap();
        let mut headers = HeaderMap::new();
        for name in ["a", "b", "d", "f"] {
            headers.insert(name, HeaderValue::from_static("old"));
        }
        setter
            .authorize(&TenantId::parse("team-a").unwrap(), &mut headers)
            .await
            .unwrap();
        let mut found: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        found.sort();
        let expected = [
            ("a", "new"),
            ("b", "old"),
            ("c", "new"),
            ("d", "new"),
            ("x-org", "team-a"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn what_is_not_known_of_a_batch_is_refused_by_its_key() {
        for (text, key) in [
            ("headers: []", "headers"),
            ("headers: [{key: 'a b', value: c}]", "headers[0].key"),
            ("headers: [{key: a}]", "headers[0].value"),
            (
                "headers: [{key: a, from_context: tenant}]",
                "headers[0].from_context",
            ),
            (
                "headers: [{key: a, from_attribute: subject}]",
                "headers[0].from_attribute",
            ),
            (
                "headers: [{key: a, value: b, from_context: X-Scope-OrgID}]",
                "headers[0].value",
            ),
        ] {
            assert_eq!(settings(text).validate().unwrap_err().0, key, "{text}");
        }
    }
}
