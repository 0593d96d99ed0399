//! Memory of spans that have ended, kept by their thread for its next ones: to ask for it and to give it back takes longer than
//! what is written into it.

use std::cell::RefCell;

use super::Span;
use crate::attributes::{AttributeLimits, Attributes};

/// Most of each that a thread keeps: as many spans as it usually has open at once.
const KEPT_MAX: usize = 16;

struct Spare {
    #[expect(
        clippy::vec_box,
        reason = "what is kept is the place of a span, which it has on the heap"
    )]
    spans: Vec<Box<Span>>,
    attributes: Vec<Attributes>,
}

thread_local! {
    static SPARE: RefCell<Spare> = const {
        RefCell::new(Spare {
            spans: Vec::new(),
            attributes: Vec::new(),
        })
    };
}

/// While a thread ends there is nothing to spare.
#[inline]
fn with<T>(with: impl FnOnce(&mut Spare) -> Option<T>) -> Option<T> {
    SPARE
        .try_with(|spare| with(&mut *spare.try_borrow_mut().ok()?))
        .ok()
        .flatten()
}

/// No attributes yet, with memory for some.
#[inline]
pub(super) fn attributes(limits: AttributeLimits) -> Option<Attributes> {
    let mut attributes = with(|spare| spare.attributes.pop())?;
    attributes.clear(limits);
    Some(attributes)
}

/// Puts a span where it stays until it ends.
#[inline]
pub(crate) fn place(span: Span) -> Box<Span> {
    match with(|spare| spare.spans.pop()) {
        Some(mut place) => {
            *place = span;
            place
        }
        None => Box::new(span),
    }
}

/// Keeps what an ended one has.
#[inline]
pub(crate) fn keep(mut span: Box<Span>) {
    with(|spare| {
        let limits = span.attributes.limits();
        let emptied = Attributes::within(super::field::ATTRIBUTES, limits);
        let attributes = std::mem::replace(&mut span.attributes, emptied);
        if spare.attributes.len() < KEPT_MAX && attributes.has_memory() {
            spare.attributes.push(attributes);
        }
        // Little beside its attributes is worth keeping, and nothing that is large.
        span.events = None;
        span.links = None;
        if spare.spans.len() < KEPT_MAX {
            spare.spans.push(span);
        }
        Some(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::SpanContext;
    use crate::span::{SpanKind, SpanLimits, Status, empty_attributes};

    #[test]
    fn a_span_where_another_was_has_nothing_of_it_and_no_more_is_kept_than_said() {
        let limits = SpanLimits::default();
        let span = || Span::new(SpanContext::none(), None, "span", SpanKind::Internal, 1, &limits);
        let spans: Vec<Box<Span>> = (0..2 * KEPT_MAX).map(|_| place(span())).collect();
        for mut ended in spans {
            ended.set("of", "the first");
            ended.add_event("event", 1, &[]);
            ended.set_status(Status::Ok);
            keep(ended);
        }
        let kept = with(|spare| Some((spare.spans.len(), spare.attributes.len())));
        assert_eq!(kept, Some((KEPT_MAX, KEPT_MAX)));
        let (mut fresh, mut next) = (Vec::new(), Vec::new());
        span().write(&mut fresh, 2);
        let mut again = place(span());
        *again.attributes_mut() = empty_attributes(limits.attributes);
        again.write(&mut next, 2);
        assert_eq!(fresh, next);
        assert!(again.attributes().has_memory(), "that of the first is used again");
    }
}
