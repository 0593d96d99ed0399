//! Processors by name.

use std::sync::Arc;

use cupola_export::{Component, Sink};
use cupola_telemetry::Signal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use super::{ALL, METRICS, TRACES, findings};
use crate::graph::Context;
use crate::graph::kinds::{BuildError, Kind, ProcessorSettings, Registry};
use crate::processors::ConfigError;
use crate::processors::attributes::{Attributes, AttributesConfig};
use crate::processors::batch::{BatchConfig, BatchProcessor};
use crate::processors::cumulativetodelta::{CumulativeToDelta, CumulativeToDeltaConfig};
use crate::processors::deltatocumulative::{DeltaToCumulative, DeltaToCumulativeConfig};
use crate::processors::filter::{Filter, FilterConfig};
use crate::processors::groupbyattrs::{GroupByAttrs, GroupByAttrsConfig};
use crate::processors::k8sattributes::{self, K8sAttributes, K8sAttributesConfig};
use crate::processors::memory_limiter::{MemoryLimiter, MemoryLimiterConfig};
use crate::processors::probabilistic_sampler::{ProbabilisticSampler, ProbabilisticSamplerConfig};
use crate::processors::redaction::{Redaction, RedactionConfig};
use crate::processors::resource::{Resource, ResourceConfig};
use crate::processors::resourcedetection::{ResourceDetection, ResourceDetectionConfig, Surroundings};
use crate::processors::stage::{Stage, Work};
use crate::processors::tail_sampling::{TailSampling, TailSamplingConfig};
use crate::processors::tenant::{Tenant, TenantConfig};
use crate::processors::transform::{Transform, TransformConfig};

pub(super) fn register(registry: &mut Registry) {
    let processors = &mut registry.processors;
    processors.push(Kind::with_remarks(
        "batch",
        ALL,
        |config: &BatchConfig| findings(config.validate()),
        BatchConfig::remarks,
        |config| {
            let build: Build<BatchConfig> =
                |config, context, next| Ok(Arc::new(BatchProcessor::new(config, context.held, next)?));
            Arc::new(Made { config, build }) as Arc<dyn ProcessorSettings>
        },
    ));
    processors.push(kind(
        "memory_limiter",
        ALL,
        MemoryLimiterConfig::validate,
        |config, context, next| Ok(Arc::new(MemoryLimiter::new(config, context.memory, next)?)),
    ));
    processors.push(kind(
        "attributes",
        ALL,
        AttributesConfig::validate,
        |config, context, next| Ok(stage(Attributes::new(config)?, context, next)),
    ));
    processors.push(kind(
        "resource",
        ALL,
        ResourceConfig::validate,
        |config, context, next| Ok(stage(Resource::new(config)?, context, next)),
    ));
    processors.push(kind(
        "filter",
        ALL,
        FilterConfig::validate,
        |config, context, next| Ok(stage(Filter::new(config)?, context, next)),
    ));
    processors.push(kind(
        "transform",
        ALL,
        TransformConfig::validate,
        |config, context, next| Ok(stage(Transform::new(config)?, context, next)),
    ));
    processors.push(kind(
        "tail_sampling",
        TRACES,
        TailSamplingConfig::validate,
        |config, context, next| {
            Ok(Arc::new(TailSampling::new(
                config,
                next,
                context.held,
                context.env,
            )?))
        },
    ));
    processors.push(kind(
        "probabilistic_sampler",
        LOGS_AND_TRACES,
        ProbabilisticSamplerConfig::validate,
        |config, _, next| Ok(Arc::new(ProbabilisticSampler::new(config, next)?)),
    ));
    processors.push(kind(
        "tenant",
        ALL,
        TenantConfig::validate,
        |config, context, next| Ok(Arc::new(Tenant::new(config, next, context.env)?)),
    ));
    processors.push(
        kind(
            "cumulativetodelta",
            METRICS,
            CumulativeToDeltaConfig::validate,
            |config, context, next| Ok(Arc::new(CumulativeToDelta::new(config, next, context.env)?)),
        )
        .also("cumulative_to_delta"),
    );
    processors.push(
        kind(
            "deltatocumulative",
            METRICS,
            DeltaToCumulativeConfig::validate,
            |config, context, next| Ok(Arc::new(DeltaToCumulative::new(config, next, context.env)?)),
        )
        .also("delta_to_cumulative"),
    );
    processors.push(
        kind(
            "groupbyattrs",
            ALL,
            GroupByAttrsConfig::validate,
            |config, _, next| Ok(Arc::new(GroupByAttrs::new(config, next)?)),
        )
        .also("group_by_attrs"),
    );
    processors.push(kind(
        "redaction",
        ALL,
        RedactionConfig::validate,
        |config, _, next| Ok(Arc::new(Redaction::new(config, next)?)),
    ));
    processors.push(
        Kind::new(
            "resourcedetection",
            ALL,
            |config: &ResourceDetectionConfig| findings(config.validate()),
            |config| Arc::new(Detecting(config)) as Arc<dyn ProcessorSettings>,
        )
        .also("resource_detection"),
    );
    processors.push(
        Kind::with_remarks(
            "k8sattributes",
            ALL,
            |config: &K8sAttributesConfig| findings(config.validate()),
            K8sAttributesConfig::remarks,
            |config| Arc::new(Knowing(config)) as Arc<dyn ProcessorSettings>,
        )
        .also("k8s_attributes"),
    );
}

const LOGS_AND_TRACES: &[Signal] = &[Signal::Logs, Signal::Traces];

fn stage(work: impl Work, context: Context, next: Arc<dyn Sink>) -> Arc<dyn Component> {
    Arc::new(Stage::new(work, context.env, next))
}

type Build<C> = fn(&C, Context, Arc<dyn Sink>) -> Result<Arc<dyn Component>, ConfigError>;

/// A processor that is made of its settings, its surroundings and the next sink.
fn kind<C: DeserializeOwned + Send + Sync + 'static>(
    name: &'static str,
    signals: &'static [Signal],
    validate: fn(&C) -> Result<(), ConfigError>,
    build: Build<C>,
) -> Kind<dyn ProcessorSettings> {
    Kind::new(
        name,
        signals,
        move |config: &C| findings(validate(config)),
        move |config: C| Arc::new(Made { config, build }) as Arc<dyn ProcessorSettings>,
    )
}

struct Made<C> {
    config: C,
    build: Build<C>,
}

impl<C: Send + Sync> ProcessorSettings for Made<C> {
    fn build(
        &self,
        context: Context,
        next: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move { (self.build)(&self.config, context, next).map_err(BuildError::of) }.boxed()
    }
}

/// Finds things out before it is ready.
struct Detecting(ResourceDetectionConfig);

impl ProcessorSettings for Detecting {
    fn build(
        &self,
        context: Context,
        next: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move {
            let surroundings = Surroundings {
                variables: (*context.variables).clone(),
                root: "/".into(),
            };
            let started = ResourceDetection::start(&self.0, next, surroundings).await;
            Ok(Arc::new(started.map_err(BuildError::of)?) as Arc<dyn Component>)
        }
        .boxed()
    }
}

/// Asks the API server of a cluster before it is ready.
struct Knowing(K8sAttributesConfig);

impl ProcessorSettings for Knowing {
    fn build(
        &self,
        context: Context,
        next: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Arc<dyn Component>, BuildError>> {
        async move {
            let surroundings = k8sattributes::Surroundings {
                variables: (*context.variables).clone(),
                root: "/".into(),
            };
            let started = K8sAttributes::start(&self.0, next, surroundings).await;
            Ok(Arc::new(started.map_err(BuildError::of)?) as Arc<dyn Component>)
        }
        .boxed()
    }
}
