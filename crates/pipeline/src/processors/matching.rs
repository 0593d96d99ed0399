//! `include` and `exclude`: which items the attributes processor works on.

use std::borrow::Cow;

use cupola_telemetry::Signal;
use cupola_telemetry::edit::{Map, Place, Value};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value as Json;

use super::actions::telemetry;
use super::statements::ConfigError;
use crate::ottl::pattern;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatchType {
    Strict,
    Regexp,
}

/// An attribute, or a library, by its name and what it has.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named<T> {
    #[serde(alias = "name")]
    pub key: String,
    #[serde(alias = "version")]
    pub value: Option<T>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Severity {
    /// As `INFO` or `WARN2`.
    pub min: String,
    pub match_undefined: bool,
}

/// What an item must have. Of each list one entry is enough, but of attributes and resources all are needed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    pub match_type: MatchType,
    #[serde(default)]
    pub services: Vec<String>,
    #[serde(default)]
    pub span_names: Vec<String>,
    #[serde(default)]
    pub span_kinds: Vec<String>,
    #[serde(default)]
    pub log_bodies: Vec<String>,
    #[serde(default)]
    pub log_severity_texts: Vec<String>,
    #[serde(default)]
    pub log_severity_number: Option<Severity>,
    #[serde(default)]
    pub metric_names: Vec<String>,
    #[serde(default)]
    pub attributes: Vec<Named<Json>>,
    #[serde(default)]
    pub resources: Vec<Named<Json>>,
    #[serde(default)]
    pub libraries: Vec<Named<String>>,
}

#[derive(Debug)]
enum Text {
    Strict(String),
    Regexp(Regex),
}

impl Text {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Strict(wanted) => wanted == text,
            Self::Regexp(pattern) => pattern.is_match(text),
        }
    }
}

#[derive(Debug)]
enum Wanted {
    Any,
    Strict(Json),
    Regexp(Regex),
}

#[derive(Debug)]
pub(super) struct Matcher {
    services: Vec<Text>,
    span_names: Vec<Text>,
    span_kinds: Vec<Text>,
    log_bodies: Vec<Text>,
    log_severity_texts: Vec<Text>,
    severity: Option<(u64, bool)>,
    metric_names: Vec<Text>,
    attributes: Vec<(String, Wanted)>,
    resources: Vec<(String, Wanted)>,
    libraries: Vec<(Text, Option<Text>)>,
}

impl Matcher {
    /// `key` is where it stands in configuration.
    pub(super) fn new(config: &MatchConfig, key: &str) -> Result<Self, ConfigError> {
        let regex = |field: &str, pattern: &str| {
            pattern::compile(pattern)
                .map_err(|problem| ConfigError::setting(format!("{key}.{field}"), problem))
        };
        let text = |field: &str, text: &str| {
            Ok::<_, ConfigError>(match config.match_type {
                MatchType::Strict => Text::Strict(text.to_owned()),
                MatchType::Regexp => Text::Regexp(regex(field, text)?),
            })
        };
        let texts = |field: &str, texts: &[String]| {
            texts
                .iter()
                .map(|one| text(field, one))
                .collect::<Result<Vec<_>, _>>()
        };
        let wanted = |field: &str, named: &[Named<Json>]| {
            let one = |named: &Named<Json>| {
                let wanted = match (&named.value, config.match_type) {
                    (None, _) => Wanted::Any,
                    (Some(Json::String(pattern)), MatchType::Regexp) => {
                        Wanted::Regexp(regex(field, pattern)?)
                    }
                    (Some(value), _) => Wanted::Strict(value.clone()),
                };
                Ok::<_, ConfigError>((named.key.clone(), wanted))
            };
            named.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let mut libraries = Vec::new();
        for library in &config.libraries {
            let version = library.value.as_deref().map(|version| text("libraries", version));
            libraries.push((text("libraries", &library.key)?, version.transpose()?));
        }
        let severity = match &config.log_severity_number {
            None => None,
            Some(severity) => match severity_number(&severity.min) {
                Some(min) => Some((min, severity.match_undefined)),
                None => {
                    let key = format!("{key}.log_severity_number.min");
                    return Err(ConfigError::setting(
                        key,
                        "it is no severity, as `INFO` or `WARN2`",
                    ));
                }
            },
        };
        Ok(Self {
            services: texts("services", &config.services)?,
            span_names: texts("span_names", &config.span_names)?,
            span_kinds: texts("span_kinds", &config.span_kinds)?,
            log_bodies: texts("log_bodies", &config.log_bodies)?,
            log_severity_texts: texts("log_severity_texts", &config.log_severity_texts)?,
            severity,
            metric_names: texts("metric_names", &config.metric_names)?,
            attributes: wanted("attributes", &config.attributes)?,
            resources: wanted("resources", &config.resources)?,
            libraries,
        })
    }

    /// Whether the item, whose attributes are `attributes`, has all that is wanted.
    pub(super) fn matches<'a>(&self, signal: Signal, place: &Place<'a>, attributes: &Map<'_>) -> bool {
        const SPAN_KINDS: [&str; 6] = [
            "SPAN_KIND_UNSPECIFIED",
            "SPAN_KIND_INTERNAL",
            "SPAN_KIND_SERVER",
            "SPAN_KIND_CLIENT",
            "SPAN_KIND_PRODUCER",
            "SPAN_KIND_CONSUMER",
        ];
        let any = |texts: &[Text], text: &dyn Fn() -> Cow<'a, str>| {
            texts.is_empty() || {
                let text = text();
                texts.iter().any(|wanted| wanted.matches(&text))
            }
        };
        let item = &place.item;
        let of_signal = match signal {
            Signal::Traces => {
                any(&self.span_names, &|| item.text(5))
                    && any(&self.span_kinds, &|| {
                        let kind = item.number(6).unwrap_or(0) as usize;
                        Cow::Borrowed(SPAN_KINDS.get(kind).copied().unwrap_or("SPAN_KIND_"))
                    })
            }
            Signal::Metrics => any(&self.metric_names, &|| item.text(1)),
            Signal::Logs => {
                any(&self.log_severity_texts, &|| item.text(3))
                    && self.severity.is_none_or(|(min, match_undefined)| match item.number(2) {
                        None | Some(0) => match_undefined,
                        Some(severity) => severity >= min,
                    })
                    // Structured bodies match nothing.
                    && (self.log_bodies.is_empty()
                        || match item.value(5) {
                            Some(Value::String(body)) => self.log_bodies.iter().any(|wanted| wanted.matches(&body)),
                            _ => false,
                        })
            }
        };
        of_signal
            && any(&self.services, &|| {
                let service = place
                    .resource
                    .with_message(1, |resource| resource.attribute(1, "service.name"));
                match service {
                    Some(Value::String(name)) => name,
                    _ => Cow::Borrowed(""),
                }
            })
            && (self.libraries.is_empty() || self.library_matches(place))
            && has_all(&self.attributes, attributes)
            && (self.resources.is_empty()
                || has_all(
                    &self.resources,
                    &place.resource.with_message(1, |resource| resource.map(1)),
                ))
    }

    fn library_matches(&self, place: &Place<'_>) -> bool {
        place.scope.with_message(1, |scope| {
            let (name, version) = (scope.text(1), scope.text(2));
            self.libraries.iter().any(|(wanted, wanted_version)| {
                wanted.matches(&name)
                    && wanted_version
                        .as_ref()
                        .is_none_or(|wanted| wanted.matches(&version))
            })
        })
    }
}

fn has_all(wanted: &[(String, Wanted)], map: &Map<'_>) -> bool {
    wanted.iter().all(|(key, wanted)| match (map.get(key), wanted) {
        (None, _) => false,
        (Some(_), Wanted::Any) => true,
        (Some(value), Wanted::Strict(expected)) => value == telemetry(expected),
        (Some(value), Wanted::Regexp(pattern)) => match value {
            Value::String(text) => pattern.is_match(&text),
            Value::Int(value) => pattern.is_match(&value.to_string()),
            Value::Double(value) => pattern.is_match(&value.to_string()),
            Value::Bool(value) => pattern.is_match(if value { "true" } else { "false" }),
            _ => false,
        },
    })
}

/// `INFO` is 9, `INFO2` is 10.
fn severity_number(name: &str) -> Option<u64> {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    if let Ok(number) = name.parse() {
        return (1..=24).contains(&number).then_some(number);
    }
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let base = NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(letters))? as u64
        * 4;
    match &name[letters.len()..] {
        "" | "1" => Some(base + 1),
        "2" => Some(base + 2),
        "3" => Some(base + 3),
        "4" => Some(base + 4),
        _ => None,
    }
}
