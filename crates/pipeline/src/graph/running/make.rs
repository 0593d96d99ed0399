//! Making components of a plan.

use std::sync::Arc;

use cupola_config::ComponentId;
use cupola_export::Sink;
use cupola_telemetry::Signal;

use super::edges::{From, To};
use super::{Running, StartError};
use crate::connectors::{Output, Outputs};
use crate::graph::context::Context;
use crate::graph::id::PipelineId;
use crate::graph::kinds::{BuildError, SignalSinks};
use crate::graph::station::Station;

impl Running {
    pub(super) async fn make_all(&mut self, context: &Context) -> Result<(), StartError> {
        let plan = self.plan.clone();
        for id in plan.exporters.keys() {
            self.make_exporter(id, context).await?;
        }
        for id in plan.connectors.keys() {
            self.make_connector(id, context)?;
        }
        for (pipeline, of) in &plan.pipelines {
            for id in &of.processors {
                self.make_processor(pipeline, id, context).await?;
            }
        }
        let ways = self.ways();
        self.make_edges(&ways);
        for (from, to) in ways {
            let target = self.target(&to);
            self.edges.of(from).lead(target).await;
        }
        for id in plan.receivers.keys() {
            self.start_receiver(id, context).await?;
        }
        Ok(())
    }

    /// All of them before any is led, for one leads to others.
    pub(super) fn make_edges(&mut self, ways: &[(From, To)]) {
        for (from, _) in ways {
            self.edges.of(from.clone());
        }
    }

    pub(super) async fn make_exporter(
        &mut self,
        id: &ComponentId,
        context: &Context,
    ) -> Result<(), StartError> {
        let Some(planned) = self.plan.exporters.get(id).cloned() else {
            return Ok(());
        };
        let made = planned.settings.build(self.surroundings(id, context)).await;
        let component = made.map_err(failed("exporter", id))?;
        self.exporters.insert(id.clone(), Station::new(component));
        Ok(())
    }

    fn surroundings(&self, id: &ComponentId, context: &Context) -> Context {
        Context {
            one_of_several: self.plan.is_one_of_several(id),
            authenticators: self.authenticators.clone(),
            ..context.of(id)
        }
    }

    pub(super) fn make_connector(&mut self, id: &ComponentId, context: &Context) -> Result<(), StartError> {
        let Some(planned) = self.plan.connectors.get(id).cloned() else {
            return Ok(());
        };
        let plan = self.plan.clone();
        let mut outputs = Vec::new();
        for pipeline in plan.fed_by(id) {
            outputs.push(Output {
                pipeline: pipeline.to_string(),
                signal: pipeline.signal,
                sink: self.edges.of(From::Entry(pipeline.clone())) as Arc<dyn Sink>,
            });
        }
        let made = planned
            .settings
            .build(context.of(id), &plan.inputs(id), Outputs::new(outputs));
        let component = made.map_err(failed("connector", id))?;
        self.connectors.insert(id.clone(), Station::new(component));
        Ok(())
    }

    pub(super) async fn make_processor(
        &mut self,
        pipeline: &PipelineId,
        id: &ComponentId,
        context: &Context,
    ) -> Result<(), StartError> {
        let Some(planned) = self.plan.processors.get(id).cloned() else {
            return Ok(());
        };
        let next = self.edges.of(From::Processor(pipeline.clone(), id.clone()));
        let made = planned.settings.build(context.of(id), next).await;
        let component = made.map_err(failed("processor", id))?;
        self.processors
            .insert((pipeline.clone(), id.clone()), Station::new(component));
        Ok(())
    }

    pub(super) async fn start_receiver(
        &mut self,
        id: &ComponentId,
        context: &Context,
    ) -> Result<(), StartError> {
        let Some(planned) = self.plan.receivers.get(id).cloned() else {
            return Ok(());
        };
        let of = |signal| self.edges.of(From::Receiver(id.clone(), signal)) as Arc<dyn Sink>;
        let sinks = SignalSinks(Signal::ALL.map(of));
        let context = Context {
            signals: self.plan.taken_from(id),
            ..self.surroundings(id, context)
        };
        let started = planned.settings.start(context, sinks).await;
        let receiver = started.map_err(failed("receiver", id))?;
        self.receivers.insert(id.clone(), receiver);
        Ok(())
    }
}

fn failed(role: &'static str, id: &ComponentId) -> impl FnOnce(BuildError) -> StartError {
    let id = id.clone();
    move |source| StartError { role, id, source }
}
