//! The layer where it is the only one: its filter is that of the whole subscriber then, and is asked once for each place in the
//! code, where a filter of one layer among several is looked up at every turn of a span.

use cupola_sdk_core::Sdk;
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::{CoreLayer, FilterHandle, LayerOptions};
use crate::console::ConsoleHandle;

/// A layer that filters for all.
#[derive(Debug)]
pub(crate) struct Alone {
    core: CoreLayer,
    filter: FilterHandle,
}

impl Alone {
    pub(crate) fn new(
        sdk: Sdk,
        options: LayerOptions,
        console: ConsoleHandle,
        filter: FilterHandle,
    ) -> Alone {
        Alone {
            core: CoreLayer::new(sdk, options, console, filter.clone()),
            filter,
        }
    }
}

impl<S> Layer<S> for Alone
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        Filter::<S>::callsite_enabled(&self.filter, metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        Filter::<S>::enabled(&self.filter, metadata, &context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.filter)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_new_span(&self.filter, attributes, id, context.clone());
        self.core.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::<S>::on_record(&self.filter, id, values, context.clone());
        self.core.on_record(id, values, context);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        self.core.on_follows_from(id, follows, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.core.on_event(event, context);
    }

    #[inline]
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_enter(&self.filter, id, context.clone());
        self.core.on_enter(id, context);
    }

    #[inline]
    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_exit(&self.filter, id, context.clone());
        self.core.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::<S>::on_close(&self.filter, id.clone(), context.clone());
        self.core.on_close(id, context);
    }
}
