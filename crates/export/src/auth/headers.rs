//! `headers_setter`: headers of every request, with fixed values or with what is known of who sent the batch.
//!
//! A header of the sender is known where its receiver says `include_metadata`, and no processor between has put batches of
//! several senders together; the tenant always is, as `X-Scope-OrgID`. What is not known is not set, unless there is a
//! `default_value`; several values of one header are an error, as they are in the Collector.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use cupola_config::Secret;
use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::{ClientAuth, NoCredentials, Sender, sensitive};
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
    /// A header of those who sent; `X-Scope-OrgID` is the tenant.
    pub from_context: Option<String>,
    /// What the receiver's authenticator says of those who sent, such as `username`.
    pub from_attribute: Option<String>,
    /// Of `from_context` and `from_attribute`, where there is nothing to take.
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
        for (key, value) in [("value", &self.value), ("default_value", &self.default_value)] {
            if let Some(value) = value {
                HeaderValue::from_str(value.expose())
                    .map_err(|_| (key, "has characters that a header cannot have".to_owned()))?;
            }
        }
        let sources = [
            self.value.is_some(),
            self.value_file.is_some(),
            self.from_context.is_some(),
            self.from_attribute.is_some(),
        ];
        match (self.action, sources.into_iter().filter(|given| *given).count()) {
            (HeaderAction::Delete, _) | (_, 1) => Ok(()),
            (_, 0) => Err((
                "value",
                "is missing; set `value`, `value_file`, `from_context` or `from_attribute`".to_owned(),
            )),
            _ => Err((
                "value",
                "only one of `value`, `value_file`, `from_context` and `from_attribute` can be".to_owned(),
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
    Metadata(String, Option<HeaderValue>),
    Identity(String, Option<HeaderValue>),
    None,
}

impl Value {
    /// `None`: it is not known.
    fn of(&self, sender: Sender<'_>) -> Result<Option<HeaderValue>, NoCredentials> {
        let (texts, name, default) = match self {
            Value::Fixed(value) => return Ok(Some(value.clone())),
            Value::Tenant => {
                let tenant = HeaderValue::from_str(sender.tenant.as_str());
                let tenant = tenant.map_err(|_| {
                    NoCredentials::of_batch("the tenant cannot be sent as a header".to_owned())
                })?;
                return Ok(Some(tenant));
            }
            Value::None => return Ok(Some(HeaderValue::from_static(""))),
            Value::Metadata(name, default) => {
                let texts = sender.client.map_or(&[][..], |client| client.metadata(name));
                (
                    texts.iter().map(String::as_str).collect::<Vec<_>>(),
                    name,
                    default,
                )
            }
            Value::Identity(name, default) => {
                let text = sender.client.and_then(|client| client.identity(name));
                (Vec::from_iter(text), name, default)
            }
        };
        match texts[..] {
            [] => Ok(default.clone()),
            [text] => match sensitive(text) {
                Ok(value) => Ok(Some(value)),
                Err(problem) => Err(NoCredentials::of_batch(problem.reason)),
            },
            _ => Err(NoCredentials::of_batch(format!(
                "the sender's header `{name}` has {} values, and one is needed",
                texts.len()
            ))),
        }
    }
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
                let default = header.default_value.as_ref().map(|text| sensitive(text.expose()));
                let default = default.transpose().map_err(|error| error.to_string())?;
                let value = if let Some(file) = &header.value_file {
                    fixed(files.text(file)?)?
                } else if let Some(value) = &header.value {
                    fixed(value.expose())?
                } else if header.action == HeaderAction::Delete {
                    Value::None
                } else if let Some(name) = &header.from_context {
                    match name.eq_ignore_ascii_case(TENANT_HEADER) {
                        // A batch has a tenant in any case, so that no default ever stands in for it.
                        true => Value::Tenant,
                        false => Value::Metadata(name.clone(), default),
                    }
                } else if let Some(name) = &header.from_attribute {
                    Value::Identity(name.clone(), default)
                } else {
                    Value::None
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
    async fn authorize(&self, sender: Sender<'_>, headers: &mut HeaderMap) -> Result<(), NoCredentials> {
        for set in self.0.current().iter() {
            let Some(value) = set.value.of(sender)? else {
                continue;
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
    use cupola_telemetry::{Client, TenantId};

    use super::*;

    fn settings(text: &str) -> HeadersSetterSettings {
        cupola_config::yaml::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn each_action_does_what_its_name_says() {
        let text = "headers:\n- {key: a, value: new}\n- {action: insert, key: b, value: new}\n\
                    - {action: insert, key: c, value: new}\n- {action: update, key: d, value: new}\n\
                    - {action: update, key: e, value: new}\n- {action: delete, key: f}\n\
                    - {key: X-Org, from_context: x-scope-orgid}\n- {key: x-team, from_context: X-Team}\n\
                    - {key: x-user, from_attribute: username}\n\
                    - {key: x-missing, from_context: X-Missing}\n\
                    - {key: x-zone, from_context: X-Missing, default_value: none}\n";
        let settings = settings(text);
        settings.validate().unwrap();
        let setter = HeadersSetter::new(&settings, Duration::ZERO).unwrap();
        let tenant = TenantId::parse("team-a").unwrap();
        let client = Client::default()
            .with_metadata([("x-team", "blue")])
            .with_identity([("username".to_owned(), "mia".to_owned())]);
        let sender = Sender {
            tenant: &tenant,
            client: Some(&client),
        };
        let mut headers = HeaderMap::new();
        for name in ["a", "b", "d", "f"] {
            headers.insert(name, HeaderValue::from_static("old"));
        }
        setter.authorize(sender, &mut headers).await.unwrap();
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
            ("x-team", "blue"),
            ("x-user", "mia"),
            ("x-zone", "none"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[tokio::test]
    async fn several_values_of_the_senders_header_are_no_value() {
        let settings = settings("headers: [{key: x-team, from_context: X-Team}]");
        let setter = HeadersSetter::new(&settings, Duration::ZERO).unwrap();
        let tenant = TenantId::default_tenant();
        let client = Client::default().with_metadata([("x-team", "blue"), ("x-team", "red")]);
        let sender = Sender {
            tenant: &tenant,
            client: Some(&client),
        };
        let problem = setter.authorize(sender, &mut HeaderMap::new()).await.unwrap_err();
        assert!(problem.to_string().contains("`X-Team` has 2 values"), "{problem}");
        // For good: a sender must not keep others' data from being sent.
        let client = Client::default().with_metadata([("x-team", "two\nlines")]);
        let sender = Sender {
            tenant: &tenant,
            client: Some(&client),
        };
        let odd = setter.authorize(sender, &mut HeaderMap::new()).await.unwrap_err();
        for problem in [problem, odd] {
            assert!(matches!(
                crate::SendError::from(problem),
                crate::SendError::Permanent { .. }
            ));
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        for (text, key) in [
            ("headers: []", "headers"),
            ("headers: [{key: 'a b', value: c}]", "headers[0].key"),
            ("headers: [{key: a}]", "headers[0].value"),
            (
                "headers: [{key: a, from_context: tenant, default_value: \"a\\nb\"}]",
                "headers[0].default_value",
            ),
            (
                "headers: [{key: a, from_context: b, from_attribute: subject}]",
                "headers[0].value",
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
