//! Headers of messages: the tenant, the signal, and those that become attributes of resources.

use std::borrow::Cow;
use std::convert::Infallible;

use cupola_export::kafka::SIGNAL_HEADER;
use cupola_export::otlp::TENANT_HEADER;
use cupola_telemetry::edit::{Editor, Level, Place, Value, Verdict, edit};
use cupola_telemetry::{Batch, Signal, TenantId};
use rdkafka::message::{BorrowedHeaders, Headers};

use super::settings::HeaderExtraction;

/// Longest value of a header that becomes an attribute; longer ones are cut.
const VALUE_BYTES_MAX: usize = 4096;

/// What the headers of a message say.
pub(super) struct Said {
    pub(super) tenant: Result<TenantId, String>,
    pub(super) signal: Option<Signal>,
    pub(super) extracted: Vec<(String, String)>,
}

pub(super) fn read(headers: Option<&BorrowedHeaders>, extraction: &HeaderExtraction) -> Said {
    let mut said = Said {
        tenant: Ok(TenantId::default_tenant()),
        signal: None,
        extracted: Vec::new(),
    };
    let mut tenants = 0;
    for header in headers.into_iter().flat_map(BorrowedHeaders::iter) {
        let value = header.value.unwrap_or_default();
        if header.key.eq_ignore_ascii_case(TENANT_HEADER) {
            tenants += 1;
            said.tenant = tenant(value);
        }
        if header.key == SIGNAL_HEADER {
            let named = |signal: &Signal| signal.as_str().as_bytes() == value;
            said.signal = Signal::ALL.into_iter().find(named);
        }
        let wanted = extraction.extract_headers && extraction.headers.iter().any(|name| name == header.key);
        // Of several of one name, the first.
        if wanted && !said.extracted.iter().any(|(name, _)| name == header.key) {
            let text = String::from_utf8_lossy(value);
            let text = text[..text.floor_char_boundary(VALUE_BYTES_MAX)].to_owned();
            said.extracted.push((header.key.to_owned(), text));
        }
    }
    if tenants > 1 {
        said.tenant = Err(format!("the header {TENANT_HEADER} is there {tenants} times"));
    }
    said
}

fn tenant(value: &[u8]) -> Result<TenantId, String> {
    let text = std::str::from_utf8(value).map_err(|_| format!("the header {TENANT_HEADER} is not a text"))?;
    TenantId::parse(text).map_err(|error| format!("the header {TENANT_HEADER}: {error}"))
}

/// The batch with the headers as attributes of all its resources.
pub(super) fn add(batch: Batch, headers: &[(String, String)]) -> Batch {
    if headers.is_empty() {
        return batch;
    }
    let Ok(edited) = edit(&batch, &mut Add(headers));
    edited.unwrap_or(batch)
}

struct Add<'h>(&'h [(String, String)]);

impl<'a> Editor<'a> for Add<'_> {
    type Error = Infallible;

    fn deepest(&self) -> Level {
        Level::Resource
    }

    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Infallible> {
        if level == Level::Resource {
            let attributes = place.resource.message_mut(1).map_mut(1);
            for (name, value) in self.0 {
                let key = Cow::Owned(format!("kafka.header.{name}"));
                attributes.set(key, Value::String(Cow::Owned(value.clone())));
            }
        }
        Ok(Verdict::Keep)
    }
}
