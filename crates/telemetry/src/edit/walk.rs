//! The walk over a batch: who is visited in which order, and what is left of a message when its children are gone.

use super::patch::{Patch, Spot};
use super::place::{Level, MetricKind, Place};
use crate::wire::LENGTH;
use crate::{Batch, Signal};

/// What becomes of a message that was visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// It goes, with everything in it; a metric, scope or resource left without children by that goes too.
    Drop,
}

/// Changes what a walk shows to it.
pub trait Editor<'a> {
    type Error;

    /// The deepest level that is to be visited; what is below is not looked at.
    fn deepest(&self) -> Level;

    /// Visits a message, before its children. May change it and those around it.
    fn visit(&mut self, level: Level, place: &mut Place<'a>) -> Result<Verdict, Self::Error>;
}

/// Shows `batch` to `editor` and gives the batch that it makes of it: the same if it changed nothing, `None` if it
/// dropped all items.
pub fn edit<'a, E: Editor<'a>>(batch: &'a Batch, editor: &mut E) -> Result<Option<Batch>, E::Error> {
    let payload: &'a [u8] = batch.payload();
    let mut walk = Walk {
        signal: batch.signal(),
        deepest: editor.deepest(),
        editor,
        patch: Patch::new(payload),
        place: Place::default(),
        items_dropped: 0,
        items_added: 0,
    };
    for spot in Spot::whole(payload).fields(payload) {
        if spot.is_message(1) {
            walk.envelope(Level::Resource, spot)?;
        }
    }
    let items = (batch.items() + walk.items_added).saturating_sub(walk.items_dropped);
    let all_dropped = walk.items_dropped > 0 && items == 0;
    Ok(match walk.patch.finish() {
        None => Some(batch.clone()),
        Some(payload) if all_dropped || payload.is_empty() => None,
        Some(payload) => Some(batch.derived(payload.into(), items)),
    })
}

/// Children that were visited, by what became of them.
#[derive(Default)]
struct Children {
    kept: usize,
    dropped: usize,
}

impl Children {
    fn add(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Keep => self.kept += 1,
            Verdict::Drop => self.dropped += 1,
        }
    }

    /// Whether there were some and none is left.
    fn all_dropped(&self) -> bool {
        self.dropped > 0 && self.kept == 0
    }
}

struct Walk<'a, 'e, E> {
    signal: Signal,
    deepest: Level,
    editor: &'e mut E,
    patch: Patch<'a>,
    place: Place<'a>,
    items_dropped: usize,
    items_added: usize,
}

impl<'a, E: Editor<'a>> Walk<'a, '_, E> {
    /// A message per resource, or per scope.
    fn envelope(&mut self, level: Level, spot: Spot) -> Result<Verdict, E::Error> {
        let payload = self.patch.source();
        self.place
            .message_mut(level)
            .reset_without_children(spot.contents(payload), |number| number == 2);
        if self.editor.visit(level, &mut self.place)? == Verdict::Drop {
            self.items_dropped += count_items(self.signal, level, payload, spot);
            self.patch.remove(spot);
            return Ok(Verdict::Drop);
        }
        self.patch.enter(spot);
        if self.deepest > level {
            let mut children = Children::default();
            for child in spot.fields(payload).filter(|field| field.is_message(2)) {
                children.add(match level {
                    Level::Resource => self.envelope(Level::Scope, child)?,
                    _ => self.item(child)?,
                });
            }
            if children.all_dropped() && self.place.appended.is_empty() {
                self.patch.leave_removed();
                return Ok(Verdict::Drop);
            }
        }
        if level == Level::Scope {
            self.append_items();
        }
        self.leave(level);
        Ok(Verdict::Keep)
    }

    /// Writes the items that were appended behind those of the scope.
    fn append_items(&mut self) {
        for item in std::mem::take(&mut self.place.appended) {
            self.items_added += match self.signal {
                Signal::Metrics => count_items(self.signal, Level::Item, &item, Spot::whole(&item)),
                Signal::Logs | Signal::Traces => 1,
            };
            self.patch.append(2, &item);
        }
    }

    fn item(&mut self, spot: Spot) -> Result<Verdict, E::Error> {
        match self.signal {
            Signal::Metrics => self.metric(spot),
            Signal::Traces if self.deepest > Level::Item => self.span(spot),
            Signal::Traces | Signal::Logs => self.leaf(Level::Item, spot, 1),
        }
    }

    /// A message without children to visit, which is as many items.
    fn leaf(&mut self, level: Level, spot: Spot, items: usize) -> Result<Verdict, E::Error> {
        let contents = spot.contents(self.patch.source());
        self.place.message_mut(level).reset(contents);
        let verdict = self.editor.visit(level, &mut self.place)?;
        if verdict == Verdict::Drop {
            self.items_dropped += items;
            self.patch.remove(spot);
            return Ok(verdict);
        }
        let message = self.place.message_mut(level);
        if message.is_changed() {
            self.patch.replace(spot, message);
        }
        Ok(verdict)
    }

    /// A span whose events are visited. It stays if they all go.
    fn span(&mut self, spot: Spot) -> Result<Verdict, E::Error> {
        const EVENTS: u32 = 11;
        let payload = self.patch.source();
        self.place
            .item
            .reset_without_children(spot.contents(payload), |number| number == EVENTS);
        if self.editor.visit(Level::Item, &mut self.place)? == Verdict::Drop {
            self.items_dropped += 1;
            self.patch.remove(spot);
            return Ok(Verdict::Drop);
        }
        self.patch.enter(spot);
        for event in spot.fields(payload).filter(|field| field.is_message(EVENTS)) {
            self.leaf(Level::Part, event, 0)?;
        }
        self.leave(Level::Item);
        Ok(Verdict::Keep)
    }

    fn metric(&mut self, spot: Spot) -> Result<Verdict, E::Error> {
        let payload = self.patch.source();
        let data = data_of_metric(payload, spot);
        self.place
            .item
            .reset_without_children(spot.contents(payload), |number| {
                MetricKind::of_number(number).is_some()
            });
        let contents = data.map_or(&[][..], |(_, data)| data.contents(payload));
        self.place.kind = data.map(|(kind, _)| kind);
        self.place.points = contents;
        self.place.points_set = None;
        self.place
            .data
            .reset_without_children(contents, |number| number == 1);
        if self.editor.visit(Level::Item, &mut self.place)? == Verdict::Drop {
            self.items_dropped += count_items(self.signal, Level::Item, payload, spot);
            self.patch.remove(spot);
            return Ok(Verdict::Drop);
        }
        self.patch.enter(spot);
        if let (Some(points), Some((_, data))) = (self.place.points_set.take(), data) {
            self.replace_data(data, &points);
        } else if let Some((kind, data)) = data
            && self.data(kind, data)? == Verdict::Drop
        {
            self.patch.leave_removed();
            return Ok(Verdict::Drop);
        }
        self.leave(Level::Item);
        Ok(Verdict::Keep)
    }

    /// Writes the points that the metric was given in the place of those that it had.
    fn replace_data(&mut self, spot: Spot, points: &[u8]) {
        let count = |points: &[u8]| {
            Spot::whole(points)
                .fields(points)
                .filter(|field| field.is_message(1))
                .count()
        };
        self.items_dropped += count(spot.contents(self.patch.source()));
        self.items_added += count(points);
        let mut data = self.place.data.encode();
        data.extend_from_slice(points);
        let number = self.place.kind.map_or(spot.number, MetricKind::number);
        self.patch.remove(spot);
        self.patch.append_here(number, &data);
    }

    fn data(&mut self, kind: MetricKind, spot: Spot) -> Result<Verdict, E::Error> {
        let payload = self.patch.source();
        self.patch.enter(spot);
        if self.deepest > Level::Item {
            let mut children = Children::default();
            for point in spot.fields(payload).filter(|field| field.is_message(1)) {
                children.add(self.leaf(Level::Part, point, 1)?);
            }
            if children.all_dropped() {
                self.patch.leave_removed();
                return Ok(Verdict::Drop);
            }
        }
        if self.place.data.is_changed() {
            self.patch.rewrite(&self.place.data);
        }
        if let Some(now) = self.place.kind.filter(|now| *now != kind) {
            self.patch.renumber(now.number());
        }
        self.patch.leave();
        Ok(Verdict::Keep)
    }

    /// Steps out of a message, whose own fields may have been changed at any time.
    fn leave(&mut self, level: Level) {
        let message = self.place.message_mut(level);
        if message.is_changed() {
            self.patch.rewrite(message);
        }
        self.patch.leave();
    }
}

fn data_of_metric(payload: &[u8], metric: Spot) -> Option<(MetricKind, Spot)> {
    metric
        .fields(payload)
        .filter(|field| field.wire_type == LENGTH)
        .find_map(|field| Some((MetricKind::of_number(field.number)?, field)))
}

/// Items in a message of `level`.
fn count_items(signal: Signal, level: Level, payload: &[u8], spot: Spot) -> usize {
    let children = |number| spot.fields(payload).filter(move |field| field.is_message(number));
    match (level, signal) {
        (Level::Resource, _) => children(2)
            .map(|scope| count_items(signal, Level::Scope, payload, scope))
            .sum(),
        (Level::Scope, Signal::Metrics) => children(2)
            .map(|metric| count_items(signal, Level::Item, payload, metric))
            .sum(),
        (Level::Scope, _) => children(2).count(),
        (Level::Item, Signal::Metrics) => data_of_metric(payload, spot).map_or(0, |(_, data)| {
            data.fields(payload).filter(|f| f.is_message(1)).count()
        }),
        _ => 1,
    }
}
