//! The resource: what of an application all that it records has in common. Owns what is found out about the process and what it
//! runs in, and what counts more than what.
//!
//! By rising weight: defaults, what detectors find, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`, what is set by hand. Of what
//! cannot be found out the resource has nothing: finding out never fails, and asks nobody over the network.
//!
//! <https://opentelemetry.io/docs/specs/otel/resource/sdk/>

mod cloud;
mod container;
mod detect;
mod list;
mod machine;
mod owned;

use std::collections::HashMap;
use std::convert::Infallible;

use cupola_export::json_lines::write_resource;
use cupola_telemetry::view;

use crate::attributes::{AttributeLimits, Attributes};
use crate::fork::{self, PerProcess};
use crate::ids::Ids;
use crate::scrub::Scrubber;
use crate::wildcard;

pub use detect::{Detector, SCHEMA_URL};
pub use list::{ListError, parse_list};
pub use machine::{Machine, Process};
pub use owned::OwnedValue;

/// What the resource is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceSettings {
    /// Set by hand: they count most.
    pub attributes: Vec<(String, OwnedValue)>,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// Of `OTEL_RESOURCE_ATTRIBUTES`, as [`parse_list`] reads them.
    pub environment: Vec<(String, OwnedValue)>,
    /// The schema of what is set by hand; empty if it has none.
    pub schema_url: String,
    /// Those that are asked, of which the later counts more.
    pub detectors: Vec<Detector>,
    /// Of what detectors find, names that fit one of these patterns; all if there are none. `*` stands for any characters, `?` for one.
    pub included: Vec<String>,
    /// And none of these.
    pub excluded: Vec<String>,
    /// `telemetry.sdk.language`.
    pub language: Language,
    /// What the program runs on, if that is not found out otherwise: the interpreter of Python.
    pub runtime: Option<Runtime>,
}

impl Default for ResourceSettings {
    fn default() -> ResourceSettings {
        ResourceSettings {
            attributes: Vec::new(),
            service_name: None,
            environment: Vec::new(),
            schema_url: String::new(),
            detectors: Detector::ALL.to_vec(),
            included: Vec::new(),
            excluded: Vec::new(),
            language: Language::Rust,
            runtime: None,
        }
    }
}

/// The language of the application, as the semantic conventions name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    Python,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Python => "python",
        }
    }
}

/// `process.runtime.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    pub name: String,
    pub version: String,
    pub description: Option<String>,
}

/// A resource as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// A `Resource` message.
    pub message: Vec<u8>,
    pub schema_url: String,
}

impl Resource {
    /// As lines of JSON have it: an object of its attributes.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        write_resource(&mut json, &view::Resource::parse(&self.message));
        json
    }
}

impl ResourceSettings {
    /// The resource of this process. What is found in arguments of the process is scrubbed.
    pub fn resource(&self, machine: &Machine, scrubber: &Scrubber) -> Resource {
        let mut all = Merged::default();
        all.set("service.name", unknown_service(machine));
        all.set("telemetry.sdk.name", "cupola");
        all.set("telemetry.sdk.language", self.language.name());
        all.set("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
        let mut found = Merged::default();
        for detector in &self.detectors {
            detector.detect(machine, self, scrubber, &mut found);
        }
        found.attributes.retain(|(key, _)| self.wants(key));
        if !found.attributes.is_empty() {
            found.schema_url = SCHEMA_URL.to_owned();
        }
        all.merge(found);
        all.merge(Merged::of(&self.environment));
        // One that is set but empty is as if it were not set.
        if let Some(name) = self.service_name.as_ref().filter(|name| !name.is_empty()) {
            all.set("service.name", name.as_str());
        }
        all.merge(Merged {
            schema_url: self.schema_url.clone(),
            ..Merged::of(&self.attributes)
        });
        all.finish()
    }

    /// Whether anybody has said what the service is called. If not, it is `unknown_service`.
    pub fn names_service(&self) -> bool {
        let is_name = |(key, value): &(String, OwnedValue)| {
            key == "service.name" && *value != OwnedValue::String(String::new())
        };
        self.service_name.as_ref().is_some_and(|name| !name.is_empty())
            || self.attributes.iter().chain(&self.environment).any(is_name)
    }

    fn wants(&self, key: &str) -> bool {
        let fits = |patterns: &[String]| patterns.iter().any(|pattern| wildcard::matches(pattern, key));
        (self.included.is_empty() || fits(&self.included)) && !fits(&self.excluded)
    }
}

/// `unknown_service`, with the name of the program if that is known.
fn unknown_service(machine: &Machine) -> String {
    match machine.process.executable_name() {
        Some(name) => format!("unknown_service:{name}"),
        None => "unknown_service".to_owned(),
    }
}

/// Attributes and their schema, by the rules of the specification for merging:
/// <https://opentelemetry.io/docs/specs/otel/resource/sdk/#merge>
#[derive(Clone, Debug, Default, PartialEq)]
struct Merged {
    attributes: Vec<(String, OwnedValue)>,
    schema_url: String,
    /// Two that differ came together: there is none that describes all.
    in_conflict: bool,
}

impl Merged {
    fn of(attributes: &[(String, OwnedValue)]) -> Merged {
        let mut all = Merged::default();
        for (key, value) in attributes {
            all.set(key, value.clone());
        }
        all
    }

    fn set(&mut self, key: &str, value: impl Into<OwnedValue>) {
        let value = value.into();
        match self.attributes.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((key.to_owned(), value)),
        }
    }

    /// Sets what is known and not empty.
    fn set_known(&mut self, key: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value
            .as_ref()
            .map(AsRef::as_ref)
            .filter(|value| !value.is_empty())
        {
            self.set(key, value);
        }
    }

    /// What is in `updating` counts more.
    fn merge(&mut self, updating: Merged) {
        for (key, value) in updating.attributes {
            self.set(&key, value);
        }
        if self.schema_url.is_empty() {
            self.schema_url = updating.schema_url;
        } else if !updating.schema_url.is_empty() && updating.schema_url != self.schema_url {
            self.in_conflict = true;
        }
    }

    fn finish(self) -> Resource {
        let limits = AttributeLimits {
            count: usize::MAX,
            value_length: None,
        };
        let mut set = Attributes::new(1, limits);
        for (key, value) in &self.attributes {
            value.with(|value| set.set(key, value));
        }
        Resource {
            message: set.as_bytes().to_vec(),
            schema_url: match self.in_conflict {
                true => String::new(),
                false => self.schema_url,
            },
        }
    }
}

/// The resource of each process that has these settings: the child of a `fork()` makes one of its own.
#[derive(Debug)]
pub struct OwnResource {
    settings: ResourceSettings,
    /// Of whoever made it: in the child of a fork, nobody may be there to let go of those of the system.
    variables: HashMap<String, String>,
    made: PerProcess<Resource>,
}

impl OwnResource {
    pub fn new(settings: ResourceSettings) -> OwnResource {
        fork::watch();
        OwnResource {
            settings,
            variables: Machine::here().variables,
            made: PerProcess::default(),
        }
    }

    /// Made when it is first asked for; to be asked by a thread of the SDK, as it reads files.
    pub fn get(&self, scrubber: &Scrubber) -> &Resource {
        let Ok(resource) = self.made.get_or_make(|| {
            let machine = Machine::with(self.variables.clone());
            Ok::<_, Infallible>(self.settings.resource(&machine, scrubber))
        });
        resource
    }
}

/// A UUID that this process has for itself for as long as it lives, whoever asks.
/// <https://www.rfc-editor.org/rfc/rfc9562#section-5.4>
pub fn instance_id() -> &'static str {
    static MADE: PerProcess<String> = PerProcess::none();
    fork::watch();
    let make = || {
        let random = u128::from_be_bytes(Ids::Random.trace_id().0);
        // Version 4, variant 2.
        let id = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{id:032x}");
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Ok::<_, Infallible>(parts.join("-"))
    };
    let Ok(id) = MADE.get_or_make(make);
    id
}
