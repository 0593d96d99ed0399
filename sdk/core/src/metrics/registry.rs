//! Which instruments, streams and callbacks there are. Makes streams of instruments by the views, finds those that are the same, and
//! says which contradict each other. Read and changed without a lock, so that a `fork()` leaves none shut.
//!
//! <https://opentelemetry.io/docs/specs/otel/metrics/sdk/#duplicate-instrument-registration>

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Meters;
use super::exponential;
use super::instrument::{Description, Kind, Known};
use super::observable::Callback;
use super::point::Shape;
use super::problem::Problem;
use super::settings::ExemplarFilter;
use super::stream::{self, Identity, Stream};
use super::view::{Aggregation, AttributeKeys, Looks, StreamSettings};
use crate::fork;
use crate::recorder::Scope;

/// Most instruments, and most callbacks: one that is made for each request is a mistake, and must not fill the memory.
const INSTRUMENTS_MAX: usize = 4096;
const CALLBACKS_MAX: usize = 4096;
/// Most boundaries of a histogram.
const BOUNDARIES_MAX: usize = 1024;

const BOUNDARIES: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0,
];

/// All of them.
#[derive(Clone, Default)]
pub(super) struct Registry {
    instruments: Vec<Arc<Made>>,
    pub(super) streams: Vec<Arc<Stream>>,
    pub(super) callbacks: Vec<Arc<Callback>>,
}

/// An instrument, with what tells it from others.
struct Made {
    scope: Scope,
    unit: String,
    description: String,
    is_int: bool,
    boundaries: Option<Box<[f64]>>,
    attributes: Option<Box<[String]>>,
    known: Arc<Known>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    pub(super) scope: Scope,
    pub(super) kind: Kind,
    pub(super) is_int: bool,
    pub(super) description: &'w Description<'w>,
}

impl Meters {
    /// The instrument that is asked for, made if it is not there. `None` if there can be none.
    pub(super) fn instrument(&self, wanted: Wanted<'_>) -> Option<Arc<Known>> {
        let name = wanted.description.name;
        if let Some(why) = stream::fault(name) {
            let name = name.to_owned();
            self.problems.add(Problem::Name { name, why });
            return None;
        }
        let registry = self.registry.load();
        let (known, problems) = match registry.find(&wanted) {
            Some(made) => (Some(made.known.clone()), made.differs(&wanted)),
            None => self.make(&wanted),
        };
        problems
            .into_iter()
            .for_each(|problem| self.problems.add(problem));
        known
    }

    #[cold]
    fn make(&self, wanted: &Wanted<'_>) -> (Option<Arc<Known>>, Vec<Problem>) {
        let instrument = wanted.description.name.to_owned();
        let mut known = None;
        let mut problems = Vec::new();
        self.registry.rcu(|registry| {
            problems = Vec::new();
            // Another thread may have made it meanwhile.
            if let Some(made) = registry.find(wanted) {
                known = Some(made.known.clone());
                return registry.clone();
            }
            if registry.instruments.len() >= INSTRUMENTS_MAX {
                problems.push(Problem::Instruments {
                    instrument: instrument.clone(),
                    most: INSTRUMENTS_MAX,
                });
                known = None;
                return registry.clone();
            }
            let mut more = Registry::clone(registry);
            known = Some(more.add(wanted, self, &mut problems));
            Arc::new(more)
        });
        (known, problems)
    }

    /// Adds a callback. `false` if there are too many.
    pub(super) fn add_callback(&self, callback: &Arc<Callback>) -> bool {
        let before = self.registry.rcu(|registry| {
            if registry.callbacks.len() >= CALLBACKS_MAX {
                return registry.clone();
            }
            let mut more = Registry::clone(registry);
            more.callbacks.push(callback.clone());
            Arc::new(more)
        });
        let has_room = before.callbacks.len() < CALLBACKS_MAX;
        if !has_room {
            self.problems.add(Problem::Callbacks { most: CALLBACKS_MAX });
        }
        has_room
    }

    pub(super) fn remove_callback(&self, callback: &Arc<Callback>) {
        self.registry.rcu(|registry| {
            let mut fewer = Registry::clone(registry);
            fewer.callbacks.retain(|known| !Arc::ptr_eq(known, callback));
            Arc::new(fewer)
        });
    }
}

impl Registry {
    fn find(&self, wanted: &Wanted<'_>) -> Option<&Arc<Made>> {
        let Description {
            name,
            unit,
            description,
            ..
        } = wanted.description;
        self.instruments.iter().find(|made| {
            made.scope == wanted.scope
                && made.known.kind == wanted.kind
                && made.is_int == wanted.is_int
                && made.unit == *unit
                && made.description == *description
                && made.known.name.eq_ignore_ascii_case(name)
        })
    }

    fn add(&mut self, wanted: &Wanted<'_>, meters: &Meters, problems: &mut Vec<Problem>) -> Arc<Known> {
        let description = wanted.description;
        let meter = || wanted.scope.name().to_owned();
        // One that differs in more than its spelling is another instrument, which conflicts.
        let mut streams: Vec<Arc<Stream>> = Vec::new();
        for identity in meters.identities(wanted, problems) {
            let of_scope = self.streams.iter().filter(|stream| stream.scope == wanted.scope);
            let mut namesakes = of_scope.filter(|stream| stream.identity.has_name_of(&identity));
            let same = namesakes.clone().find(|stream| stream.identity.is(&identity));
            if let Some(same) = same {
                // An instrument that two views make the same stream of is measured once.
                if !streams.iter().any(|known| Arc::ptr_eq(known, same)) {
                    streams.push(same.clone());
                }
                continue;
            }
            if let Some(other) = namesakes.next() {
                problems.push(conflict(meter(), &identity, &other.identity));
            }
            let stream = Arc::new(meters.stream(self.streams.len(), wanted.scope, identity));
            self.streams.push(stream.clone());
            streams.push(stream);
        }
        let is_sum = |stream: &Arc<Stream>| stream.identity.shape == Shape::Sum;
        let refuses_negative = match wanted.kind {
            Kind::Counter | Kind::ObservableCounter => true,
            Kind::Histogram => streams.iter().any(is_sum),
            _ => false,
        };
        let known = Arc::new(Known {
            owner: meters.number,
            name: description.name.to_owned(),
            kind: wanted.kind,
            streams: streams.into(),
            refuses_negative,
        });
        let attributes = description
            .attributes
            .map(|keys| keys.iter().map(|key| (*key).to_owned()));
        self.instruments.push(Arc::new(Made {
            scope: wanted.scope,
            unit: description.unit.to_owned(),
            description: description.description.to_owned(),
            is_int: wanted.is_int,
            boundaries: description.boundaries.map(Into::into),
            attributes: attributes.map(Iterator::collect),
            known: known.clone(),
        }));
        known
    }
}

impl Made {
    /// What of a second one does not count.
    fn differs(&self, wanted: &Wanted<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let (first, description) = (&self.known.name, wanted.description);
        if first != description.name {
            problems.push(Problem::Spelling {
                meter: self.scope.name().to_owned(),
                first: first.clone(),
                name: description.name.to_owned(),
            });
        }
        let attributes = self.attributes.as_deref().unwrap_or_default().iter();
        let is_same = self.boundaries.as_deref() == description.boundaries
            && self.attributes.is_some() == description.attributes.is_some()
            && attributes.eq(description.attributes.unwrap_or_default());
        if !is_same {
            problems.push(Problem::Advice {
                meter: self.scope.name().to_owned(),
                instrument: first.clone(),
            });
        }
        problems
    }
}

impl Meters {
    /// The streams that views make of an instrument, or that it describes itself.
    fn identities(&self, wanted: &Wanted<'_>, problems: &mut Vec<Problem>) -> Vec<Identity> {
        let description = wanted.description;
        let looks = Looks {
            name: description.name,
            kind: wanted.kind,
            unit: description.unit,
            meter_name: wanted.scope.name(),
            meter_version: wanted.scope.version(),
            meter_schema_url: wanted.scope.schema_url(),
        };
        let mut identities = Vec::new();
        let mut is_matched = false;
        for view in self
            .settings
            .views
            .iter()
            .filter(|view| view.selector.matches(&looks))
        {
            let mut settings = view.stream.clone();
            if let Some(why) = unfit(&settings.aggregation, wanted.kind) {
                problems.push(Problem::UnfitView {
                    instrument: description.name.to_owned(),
                    kind: wanted.kind.as_str(),
                    why,
                });
                continue;
            }
            is_matched = true;
            if let Some(name) = settings.name.take() {
                if view.selector.is_wide() {
                    problems.push(Problem::WideView { name });
                } else if let Some(why) = stream::fault(&name) {
                    problems.push(Problem::Name { name, why });
                } else {
                    settings.name = Some(name);
                }
            }
            identities.extend(self.identity(wanted, settings, problems));
        }
        if !is_matched {
            identities.extend(self.identity(wanted, StreamSettings::default(), problems));
        }
        identities
    }

    /// `None` if it is dropped.
    fn identity(
        &self,
        wanted: &Wanted<'_>,
        settings: StreamSettings,
        problems: &mut Vec<Problem>,
    ) -> Option<Identity> {
        let description = wanted.description;
        let shape = self.shape(wanted, settings.aggregation, problems)?;
        let attributes = match settings.attributes {
            AttributeKeys::All => stream::advised_attributes(description),
            chosen => chosen,
        };
        Some(Identity {
            name: settings.name.unwrap_or_else(|| description.name.to_owned()),
            unit: description.unit.to_owned(),
            description: settings
                .description
                .unwrap_or_else(|| description.description.to_owned()),
            kind: wanted.kind,
            is_int: wanted.is_int,
            shape,
            is_delta: self.settings.temporality.is_delta(wanted.kind),
            attributes,
            limit: settings
                .cardinality_limit
                .unwrap_or(self.settings.cardinality_limit),
        })
    }

    fn shape(&self, wanted: &Wanted<'_>, asked: Aggregation, problems: &mut Vec<Problem>) -> Option<Shape> {
        let asked = match asked {
            Aggregation::Default => match wanted.kind {
                Kind::Gauge | Kind::ObservableGauge => Aggregation::LastValue,
                Kind::Histogram => self.settings.histogram.aggregation(),
                _ => Aggregation::Sum,
            },
            other => other,
        };
        Some(match asked {
            Aggregation::Default | Aggregation::Drop => return None,
            Aggregation::Sum => Shape::Sum,
            Aggregation::LastValue => Shape::LastValue,
            Aggregation::ExplicitBuckets {
                boundaries,
                record_min_max,
            } => {
                let mut checked = |boundaries: Box<[f64]>| {
                    let is_good = are_boundaries(&boundaries);
                    if !is_good {
                        problems.push(Problem::Boundaries {
                            instrument: wanted.description.name.to_owned(),
                            most: BOUNDARIES_MAX,
                        });
                    }
                    is_good.then_some(boundaries)
                };
                let chosen = boundaries.and_then(|given| checked(given.into()));
                let chosen = chosen.or_else(|| checked(wanted.description.boundaries?.into()));
                Shape::Explicit {
                    boundaries: chosen.unwrap_or_else(|| BOUNDARIES.into()),
                    record_min_max,
                }
            }
            Aggregation::Exponential {
                max_size,
                max_scale,
                record_min_max,
            } => Shape::Exponential {
                max_size: max_size.clamp(exponential::SIZE_MIN, exponential::SIZE_MAX),
                max_scale: max_scale.clamp(exponential::SCALE_MIN, exponential::SCALE_MAX),
                record_min_max,
            },
        })
    }

    fn stream(&self, index: usize, scope: Scope, identity: Identity) -> Stream {
        let observed = identity.kind.is_observable();
        Stream {
            index,
            scope,
            exemplars: match observed {
                // Made outside of every span.
                true => ExemplarFilter::AlwaysOff,
                false => self.settings.exemplars,
            },
            is_set: observed && identity.attributes == AttributeKeys::All,
            identity,
            kept: ArcSwap::default(),
            generation: fork::generation(),
            created_unix_nano: self.clock.now(),
        }
    }
}

/// Why a view cannot be of a kind of instrument.
fn unfit(aggregation: &Aggregation, kind: Kind) -> Option<&'static str> {
    let is_histogram = matches!(
        aggregation,
        Aggregation::ExplicitBuckets { .. } | Aggregation::Exponential { .. }
    );
    (is_histogram && kind.is_observable())
        .then_some("an observation is no single measurement, so there is no histogram of them")
}

fn are_boundaries(boundaries: &[f64]) -> bool {
    boundaries.len() <= BOUNDARIES_MAX
        && boundaries.iter().all(|bound| bound.is_finite())
        && boundaries.is_sorted_by(|one, next| one < next)
}

fn conflict(meter: String, new: &Identity, known: &Identity) -> Problem {
    let differ = new.difference(known);
    let name = &new.name;
    let hint = match differ.as_slice() {
        ["description"] => format!("give both one description, or set it with a view of {name:?}"),
        _ if differ.contains(&"kind") => format!(
            "rename one with a view that selects name {name:?} and type {}",
            new.kind.as_str()
        ),
        _ if differ.contains(&"unit") => format!(
            "rename one with a view that selects name {name:?} and unit {:?}",
            new.unit
        ),
        _ => "name one of them otherwise".to_owned(),
    };
    Problem::Conflict {
        meter,
        name: name.clone(),
        differ: differ.join(", "),
        hint,
    }
}
