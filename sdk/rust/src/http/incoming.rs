//! What of a request's headers is believed, and what of them becomes baggage.

use cupola_sdk_core::Sdk;
use cupola_sdk_core::context::SpanContext;
use http::{HeaderMap, HeaderName};

use super::claims::Claims;
use super::headers::Headers;
use crate::context::Context;

#[derive(Clone, Debug, Default)]
pub(crate) struct Incoming {
    headers: Vec<(HeaderName, String)>,
    claims: Option<Claims>,
    distrusts_callers: bool,
    is_never_forced: bool,
}

impl Incoming {
    /// The value of a header as a member of the baggage. What is no name of a header is never found.
    pub(crate) fn header(&mut self, header: &str, member: &str) {
        if let Ok(header) = HeaderName::try_from(header) {
            self.headers.push((header, member.to_owned()));
        }
    }

    pub(crate) fn claims(&mut self, claims: Claims) {
        self.claims = Some(claims);
    }

    /// Takes neither context nor baggage from whoever asks.
    pub(crate) fn distrust(&mut self) {
        self.distrusts_callers = true;
    }

    /// Lets nobody force a trace.
    pub(crate) fn without_force(&mut self) {
        self.is_never_forced = true;
    }

    /// The context that came with a request, and what is linked instead of believed.
    pub(crate) fn context(
        &self,
        sdk: &Sdk,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> (Context, Option<SpanContext>) {
        let carried = sdk.extract(&Headers(headers));
        let mut link = None;
        let mut context = match self.distrusts_callers {
            false => Context::of_carried(carried),
            true => {
                link = carried.span.is_valid().then_some(carried.span);
                Context::root()
            }
        };
        let mut add = |name: &str, value: &str| {
            // What cannot be baggage is left out.
            if let Ok(more) = context.clone().with_member(name, value) {
                context = more;
            }
        };
        for (header, member) in &self.headers {
            if let Some(value) = headers.get(header).and_then(|value| value.to_str().ok()) {
                add(member, value);
            }
        }
        if let Some(claims) = &self.claims {
            claims.each(headers, add);
        }
        let is_forced = self.is_forced(&context, sdk, query, headers);
        (context.with_forced(is_forced), link)
    }

    /// Whether the trace is recorded whatever samplers say: who asks says so, or the request does as the settings want it.
    fn is_forced(&self, context: &Context, sdk: &Sdk, query: Option<&str>, headers: &HeaderMap) -> bool {
        if self.is_never_forced {
            return false;
        }
        let settings = sdk.settings();
        let header = |name: &str| headers.get(name)?.to_str().ok();
        context.is_forced() || settings.traces.force.is_asked(query, header)
    }
}
