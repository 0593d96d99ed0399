//! Changing what runs to another plan. Only components whose settings or surroundings changed are made anew.
//!
//! The walk goes downstream: the edge into a component that changes is held up, so that nothing is on its way into it; the
//! component is ended, which hands on what it held back through edges that are still open; then the next. When everything
//! that changes has ended, the new components are made, the edges are led to them, and what was held up goes on. Senders
//! wait meanwhile, and lose nothing.
//!
//! A component that cannot be made leaves the old plan in charge: what was ended for it is made again as it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::ComponentId;
use cupola_telemetry::Batch;

use super::edges::{From, To};
use super::{Pipelines, Running, StartError};
use crate::auth::Authenticators;
use crate::graph::context::Context;
use crate::graph::edge::{Edge, Held};
use crate::graph::id::PipelineId;
use crate::graph::kinds::ReceiverSettings;
use crate::graph::plan::{Plan, Planned};

/// How long batches on their way into a component may take before it is told to end.
const HOLD_PATIENCE: Duration = Duration::from_secs(5);

/// Another plan was refused; what ran before runs on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("the new configuration could not be started; the running one goes on")]
    Refused(#[source] StartError),
    /// What is on its way holds up a component that changes, and does not come to an end.
    #[error("batches on their way did not come to an end in time; the running configuration goes on")]
    Busy,
    #[error("the pipelines have been ended")]
    Ended,
    #[error("neither the new configuration nor all of the running one could be started again: {refused}")]
    Broken {
        refused: String,
        #[source]
        broken: StartError,
    },
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Components that were made, those made anew among them, as `exporters.otlp/2`.
    pub made: Vec<String>,
    /// Components that were ended and not made again.
    pub ended: Vec<String>,
    /// Components that went on untouched.
    pub kept: usize,
}

/// A component by its place in the graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    Exporter(ComponentId),
    Connector(ComponentId),
    Processor(PipelineId, ComponentId),
    Receiver(ComponentId),
}

impl At {
    fn text(&self) -> String {
        match self {
            At::Exporter(id) => format!("exporters.{id}"),
            At::Connector(id) => format!("connectors.{id}"),
            At::Processor(pipeline, id) => format!("processors.{id} of {pipeline}"),
            At::Receiver(id) => format!("receivers.{id}"),
        }
    }
}

impl Running {
    /// Whether the component runs, which one that could not be made again does not.
    fn has(&self, at: &At) -> bool {
        match at {
            At::Exporter(id) => self.exporters.contains_key(id),
            At::Connector(id) => self.connectors.contains_key(id),
            At::Processor(pipeline, id) => self.processors.contains_key(&(pipeline.clone(), id.clone())),
            At::Receiver(id) => self.receivers.contains_key(id),
        }
    }
}

impl Pipelines {
    /// Changes to `plan`.
    pub async fn reload(&self, plan: Plan) -> Result<Reloaded, ReloadError> {
        let ended = self.changing.lock().await;
        if *ended {
            return Err(ReloadError::Ended);
        }
        let old = self.running.read().clone();
        // Before anything is ended: what cannot be made changes nothing.
        let authenticators = plan.authenticators(&old.plan, &old.authenticators);
        let authenticators = Arc::new(authenticators.map_err(ReloadError::Refused)?);
        let plan = Arc::new(plan);
        let before = places(&old.plan);
        let after = places(&plan);
        let same: BTreeSet<At> = before
            .intersection(&after)
            .filter(|at| same(at, &old.plan, &plan) && old.has(at))
            .cloned()
            .collect();
        let mut change = Change {
            context: &self.context,
            old,
            same,
            ended: BTreeSet::new(),
            held: Vec::new(),
            left: Vec::new(),
        };
        let free = change.end_what_changes(&plan).await;
        let outcome = match free {
            true => {
                let begun = change.begin(plan.clone(), authenticators).await;
                begun.map_err(ReloadError::Refused)
            }
            false => {
                // What has not been ended goes on.
                change.same = before.difference(&change.ended).cloned().collect();
                Err(ReloadError::Busy)
            }
        };
        match outcome {
            Ok(running) => {
                *self.running.write() = running;
                let made = after.difference(&change.same).map(At::text).collect();
                let ended = before.difference(&after).map(At::text).collect();
                Ok(Reloaded {
                    made,
                    ended,
                    kept: change.same.len(),
                })
            }
            Err(refused) => {
                let plan = change.old.plan.clone();
                let authenticators = change.old.authenticators.clone();
                match change.begin(plan, authenticators).await {
                    Ok(running) => {
                        *self.running.write() = running;
                        Err(refused)
                    }
                    Err(broken) => {
                        // What could not be made again is missing now, and is made by the next change that can.
                        *self.running.write() = change.what_goes_on();
                        change.tell_lost();
                        let cause = std::error::Error::source(&refused).map(|cause| format!(": {cause}"));
                        Err(ReloadError::Broken {
                            refused: format!("{refused}{}", cause.unwrap_or_default()),
                            broken,
                        })
                    }
                }
            }
        }
    }
}

struct Change<'c> {
    context: &'c Context,
    old: Running,
    same: BTreeSet<At>,
    /// What has been ended so far.
    ended: BTreeSet<At>,
    /// Edges that are held up, upstream first.
    held: Vec<(From, Held)>,
    /// What exporters that were ended had not delivered.
    left: Vec<(ComponentId, Vec<Batch>)>,
}

impl Change<'_> {
    /// Whether everything that changes could be ended.
    async fn end_what_changes(&mut self, plan: &Arc<Plan>) -> bool {
        for (id, receiver) in &self.old.receivers {
            if !self.same.contains(&At::Receiver(id.clone())) {
                self.ended.insert(At::Receiver(id.clone()));
                receiver.shutdown().await;
            }
        }
        let new = Running {
            plan: plan.clone(),
            ..Running::default()
        };
        let ways_after = new.ways();
        let ways = self.old.ways();
        let mut ended: BTreeSet<ComponentId> = BTreeSet::new();
        for (index, (from, to)) in ways.iter().enumerate() {
            let stays = ways_after.iter().any(|(also, leads)| also == from && leads == to);
            if stays && !self.changes(to) {
                continue;
            }
            let Some(edge) = self.old.edges.get(from).cloned() else {
                continue;
            };
            let Some(held) = self.hold(&edge, to, plan).await else {
                return false;
            };
            self.held.push((from.clone(), held));
            // A destination of several pipelines ends when the last way into it is held up.
            let later: Vec<&To> = ways[index + 1..].iter().map(|(_, to)| to).collect();
            if let To::Processor(pipeline, id) = to
                && self.changes(to)
                && let Some(component) = self.old.component(pipeline, id)
            {
                self.ended.insert(At::Processor(pipeline.clone(), id.clone()));
                component.shutdown().await;
            }
            if let To::Destinations(ids) = to {
                for id in ids {
                    let again = later
                        .iter()
                        .any(|to| matches!(to, To::Destinations(ids) if ids.contains(id)));
                    if !again && self.destination_changes(id) && ended.insert(id.clone()) {
                        self.end_destination(id, plan).await;
                    }
                }
            }
        }
        true
    }

    /// Holds up an edge. Components behind it that end and keep batches waiting for longer than they should are told to
    /// end meanwhile, which has them refuse; what holds it up in spite of that is not waited for.
    async fn hold(&mut self, edge: &Edge, to: &To, plan: &Plan) -> Option<Held> {
        let mut holding = Box::pin(edge.hold());
        if let Ok(held) = tokio::time::timeout(HOLD_PATIENCE, &mut holding).await {
            return Some(held);
        }
        match to {
            To::Processor(pipeline, id) if self.changes(to) => {
                if let Some(component) = self.old.component(pipeline, id) {
                    self.ended.insert(At::Processor(pipeline.clone(), id.clone()));
                    component.shutdown().await;
                }
            }
            To::Destinations(ids) => {
                for id in ids
                    .iter()
                    .filter(|id| self.destination_changes(id))
                    .cloned()
                    .collect::<Vec<_>>()
                {
                    self.end_destination(&id, plan).await;
                }
            }
            To::Processor(..) | To::Pipelines(_) => {}
        }
        tokio::time::timeout(HOLD_PATIENCE, holding).await.ok()
    }

    async fn end_destination(&mut self, id: &ComponentId, plan: &Plan) {
        let Some(station) = self.old.destination(id).cloned() else {
            return;
        };
        let at = match self.old.exporters.contains_key(id) {
            true => At::Exporter(id.clone()),
            false => At::Connector(id.clone()),
        };
        self.ended.insert(at);
        if !plan.exporters.contains_key(id) {
            station.component.shutdown().await;
            return;
        }
        let left = station.component.retire().await;
        if !left.is_empty() {
            self.left.push((id.clone(), left));
        }
    }

    fn changes(&self, to: &To) -> bool {
        match to {
            To::Pipelines(_) => false,
            To::Processor(pipeline, id) => !self.same.contains(&At::Processor(pipeline.clone(), id.clone())),
            To::Destinations(ids) => ids.iter().any(|id| self.destination_changes(id)),
        }
    }

    fn destination_changes(&self, id: &ComponentId) -> bool {
        !self.same.contains(&At::Exporter(id.clone())) && !self.same.contains(&At::Connector(id.clone()))
    }

    /// The components that nothing has changed.
    fn what_goes_on(&self) -> Running {
        let mut running = self.old.clone();
        let same = &self.same;
        running
            .exporters
            .retain(|id, _| same.contains(&At::Exporter(id.clone())));
        running
            .connectors
            .retain(|id, _| same.contains(&At::Connector(id.clone())));
        running
            .processors
            .retain(|(pipeline, id), _| same.contains(&At::Processor(pipeline.clone(), id.clone())));
        running
            .receivers
            .retain(|id, _| same.contains(&At::Receiver(id.clone())));
        running
    }

    fn tell_lost(&mut self) {
        for (id, batches) in std::mem::take(&mut self.left) {
            let items: usize = batches.iter().map(Batch::items).sum();
            tracing::error!(exporter = %id, items, "items lost: the exporter that had them could not be made again");
        }
    }

    /// Makes what `plan` has and does not run, leads the edges, and lets go on what was held up.
    async fn begin(
        &mut self,
        plan: Arc<Plan>,
        authenticators: Arc<Authenticators>,
    ) -> Result<Running, StartError> {
        let mut running = self.what_goes_on();
        running.plan = plan.clone();
        running.authenticators = authenticators;
        if let Err(error) = self.make(&mut running).await {
            self.unmake(&running).await;
            return Err(error);
        }
        for (id, batches) in std::mem::take(&mut self.left) {
            hand_over(&running, &id, batches).await;
        }
        let ways = running.ways();
        running.make_edges(&ways);
        // Downstream first, so that what goes on finds its way open.
        for (from, to) in ways.into_iter().rev() {
            let target = running.target(&to);
            let edge = running.edges.of(from.clone());
            match self.held.iter().position(|(held, _)| *held == from) {
                Some(at) => {
                    let (_, mut held) = self.held.swap_remove(at);
                    *held = target;
                }
                None if self.old.edges.get(&from).is_none() || !self.old_way(&from, &to) => {
                    edge.lead(target).await
                }
                // What is on its way through it did not end in time: it is led as soon as that has been answered.
                None if self.changes(&to) => {
                    tokio::spawn(async move { edge.lead(target).await });
                }
                None => {}
            }
        }
        // Of edges that come from nothing any more.
        self.held.clear();
        let ways: Vec<From> = running.ways().into_iter().map(|(from, _)| from).collect();
        running.edges.retain(|from| ways.contains(from));
        Ok(running)
    }

    fn old_way(&self, from: &From, to: &To) -> bool {
        self.old
            .ways()
            .iter()
            .any(|(also, leads)| also == from && leads == to)
    }

    async fn make(&self, running: &mut Running) -> Result<(), StartError> {
        let plan = running.plan.clone();
        for id in plan.exporters.keys() {
            if !running.exporters.contains_key(id) {
                running.make_exporter(id, self.context).await?;
            }
        }
        for id in plan.connectors.keys() {
            if !running.connectors.contains_key(id) {
                running.make_connector(id, self.context)?;
            }
        }
        for (pipeline, of) in &plan.pipelines {
            for id in &of.processors {
                if !running.processors.contains_key(&(pipeline.clone(), id.clone())) {
                    running.make_processor(pipeline, id, self.context).await?;
                }
            }
        }
        // Until their edges are led somewhere, they refuse for now.
        for id in plan.receivers.keys() {
            if !running.receivers.contains_key(id) {
                running.start_receiver(id, self.context).await?;
            }
        }
        Ok(())
    }

    /// Ends what was made for a plan that could not be made whole.
    async fn unmake(&self, running: &Running) {
        for (id, receiver) in &running.receivers {
            if !self.same.contains(&At::Receiver(id.clone())) {
                receiver.shutdown().await;
            }
        }
        for (id, station) in &running.exporters {
            if !self.same.contains(&At::Exporter(id.clone())) {
                station.component.shutdown().await;
            }
        }
        for (id, station) in &running.connectors {
            if !self.same.contains(&At::Connector(id.clone())) {
                station.component.shutdown().await;
            }
        }
        for ((pipeline, id), station) in &running.processors {
            if !self.same.contains(&At::Processor(pipeline.clone(), id.clone())) {
                station.component.shutdown().await;
            }
        }
    }
}

/// Gives a new exporter what the one before it had not delivered.
async fn hand_over(running: &Running, id: &ComponentId, batches: Vec<Batch>) {
    let Some(station) = running.exporters.get(id) else {
        return;
    };
    for batch in batches {
        station.component.take_over(batch).await;
    }
}

fn places(plan: &Plan) -> BTreeSet<At> {
    let mut places = BTreeSet::new();
    places.extend(plan.exporters.keys().cloned().map(At::Exporter));
    places.extend(plan.connectors.keys().cloned().map(At::Connector));
    places.extend(plan.receivers.keys().cloned().map(At::Receiver));
    for (pipeline, of) in &plan.pipelines {
        places.extend(
            of.processors
                .iter()
                .map(|id| At::Processor(pipeline.clone(), id.clone())),
        );
    }
    places
}

/// Whether a component that both plans have can go on as it is.
fn same(at: &At, old: &Plan, new: &Plan) -> bool {
    fn written<S: ?Sized>(old: Option<&Planned<S>>, new: Option<&Planned<S>>) -> bool {
        matches!((old, new), (Some(old), Some(new)) if old.written == new.written)
    }
    match at {
        At::Exporter(id) => {
            written(old.exporters.get(id), new.exporters.get(id))
                && old.is_one_of_several(id) == new.is_one_of_several(id)
                && new.refers_to_the_same(old, &new.references(id))
        }
        At::Processor(_, id) => written(old.processors.get(id), new.processors.get(id)),
        At::Receiver(id) => {
            written(old.receivers.get(id), new.receivers.get(id))
                && new.refers_to_the_same(old, &new.references(id))
                && (old.taken_from(id) == new.taken_from(id) || !asks_for_signals(new.receivers.get(id)))
        }
        // It keeps what it feeds.
        At::Connector(id) => {
            written(old.connectors.get(id), new.connectors.get(id))
                && old.fed_by(id).eq(new.fed_by(id))
                && old.inputs(id) == new.inputs(id)
        }
    }
}

/// Whether a receiver fetches what pipelines take, and has to know of a change in that.
fn asks_for_signals(planned: Option<&Planned<dyn ReceiverSettings>>) -> bool {
    planned.is_some_and(|planned| planned.settings.asks_for_signals())
}
