//! The context of a job in its metadata.

use apalis_core::task::metadata::{Metadata, MetadataStore, TracingContext};
use cupola_sdk_core::Sdk;
use cupola_sdk_core::propagation::{Carried, Extractor, Format, Propagators};

/// Pairs of keys and values as metadata of a job. What the application has put there itself stays.
pub(super) struct Pairs(pub(super) Vec<(String, String)>);

impl Metadata for Pairs {
    type Error = std::convert::Infallible;

    fn extract(store: &MetadataStore) -> Result<Pairs, Self::Error> {
        let pairs = store
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Ok(Pairs(pairs.collect()))
    }

    fn inject(&self, store: &mut MetadataStore) -> Result<(), Self::Error> {
        for (key, value) in &self.0 {
            let _ = store.insert(key.as_str(), value.as_str());
        }
        Ok(())
    }
}

/// The context that came with a job: in our formats, or in that of apalis itself, which says nothing of a trace that is forced.
pub(super) fn carried(sdk: &Sdk, store: &MetadataStore) -> Carried {
    let Ok(Pairs(pairs)) = Pairs::extract(store);
    let mut carried = sdk.extract(&pairs as &dyn Extractor);
    if !carried.span.is_valid()
        && let Ok(own) = TracingContext::extract(store)
        && let (Some(trace), Some(span)) = (own.trace_id(), own.span_id())
    {
        let flags = own.trace_flags().unwrap_or_default();
        let mut pairs = vec![("traceparent".to_owned(), format!("00-{trace}-{span}-{flags:02x}"))];
        pairs.extend(
            own.trace_state()
                .clone()
                .map(|state| ("tracestate".to_owned(), state)),
        );
        carried.span = Propagators(vec![Format::TraceContext]).extract(&pairs).span;
    }
    carried
}
