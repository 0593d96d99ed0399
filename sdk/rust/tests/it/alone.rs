//! The subscriber that has the layer built in does what the layer does on a registry.

use std::time::Duration;

use cupola_sdk::Context;
use cupola_sdk::testing::Capture;
use proptest::prelude::*;
use tracing::dispatcher::Dispatch;
use tracing::{Span, field, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt as _;

const SLOTS: usize = 5;

/// What an application may do with spans. Numbers are those of the places where it keeps handles.
#[derive(Clone, Debug)]
enum Act {
    Open(usize),
    OpenBelow(usize, usize),
    OpenRoot(usize),
    Copy(usize, usize),
    Drop(usize),
    Enter(usize),
    Exit,
    /// One that was not entered last.
    ExitFirst,
    Record(usize, i64),
    RecordCurrent(i64),
    Follow(usize, usize),
    Say,
    SayIn(usize),
    SayOutside,
    /// Keeps the context of now, as a task does that is queued.
    Carry,
    /// Puts one of those in force that were kept.
    Attach(usize),
    Detach,
    Advance,
}

fn act() -> impl Strategy<Value = Act> {
    let slot = || 0..SLOTS;
    prop_oneof![
        3 => slot().prop_map(Act::Open),
        2 => (slot(), slot()).prop_map(|(slot, parent)| Act::OpenBelow(slot, parent)),
        1 => slot().prop_map(Act::OpenRoot),
        1 => (slot(), slot()).prop_map(|(from, to)| Act::Copy(from, to)),
        3 => slot().prop_map(Act::Drop),
        4 => slot().prop_map(Act::Enter),
        3 => Just(Act::Exit),
        1 => Just(Act::ExitFirst),
        2 => (slot(), any::<i64>()).prop_map(|(slot, value)| Act::Record(slot, value)),
        1 => any::<i64>().prop_map(Act::RecordCurrent),
        1 => (slot(), slot()).prop_map(|(slot, other)| Act::Follow(slot, other)),
        2 => Just(Act::Say),
        1 => slot().prop_map(Act::SayIn),
        1 => Just(Act::SayOutside),
        2 => Just(Act::Carry),
        2 => slot().prop_map(Act::Attach),
        2 => Just(Act::Detach),
        2 => Just(Act::Advance),
    ]
}

/// Does it all, and tells what was recorded, in which order it ended, and which span the current one was after each act.
fn run(capture: &Capture, dispatch: &Dispatch, acts: &[Act]) -> String {
    let mut current = Vec::new();
    tracing::dispatcher::with_default(dispatch, || {
        let mut slots: Vec<Span> = vec![Span::none(); SLOTS];
        let mut entered: Vec<Span> = Vec::new();
        let (mut carried, mut attached) = (Vec::new(), Vec::new());
        let is_entered = |entered: &[Span], span: &Span| {
            span.id().is_some() && entered.iter().any(|other| other.id() == span.id())
        };
        for (number, act) in acts.iter().enumerate() {
            match act {
                Act::Open(slot) => slots[*slot] = info_span!("open", number, late = field::Empty),
                Act::OpenBelow(slot, parent) => {
                    let below = info_span!(parent: &slots[*parent], "below", number, late = field::Empty);
                    slots[*slot] = below;
                }
                Act::OpenRoot(slot) => {
                    slots[*slot] = info_span!(parent: None, "root", number, late = field::Empty)
                }
                Act::Copy(from, to) => slots[*to] = slots[*from].clone(),
                Act::Drop(slot) => slots[*slot] = Span::none(),
                Act::Enter(slot) if !is_entered(&entered, &slots[*slot]) => {
                    slots[*slot].with_subscriber(|(id, dispatch)| dispatch.enter(id));
                    entered.push(slots[*slot].clone());
                }
                Act::Enter(_) => {}
                Act::Exit | Act::ExitFirst => {
                    let left = match act {
                        Act::ExitFirst if !entered.is_empty() => Some(entered.remove(0)),
                        _ => entered.pop(),
                    };
                    if let Some(span) = left {
                        span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
                    }
                }
                Act::Record(slot, value) => {
                    slots[*slot].record("late", value);
                }
                Act::RecordCurrent(value) => {
                    Span::current().record("late", value);
                }
                Act::Follow(slot, other) => {
                    slots[*slot].follows_from(&slots[*other]);
                }
                Act::Say => info!(number, "said"),
                Act::SayIn(slot) => warn!(parent: &slots[*slot], number, "said in a span"),
                Act::SayOutside => info!(parent: None, number, "said outside"),
                Act::Carry => carried.push(Context::current()),
                Act::Attach(place) => attached.extend(carried.get(*place).cloned().map(Context::attach)),
                Act::Detach => drop(attached.pop()),
                Act::Advance => capture.advance(Duration::from_millis(1)),
            }
            current.push(Span::current().metadata().map(|metadata| metadata.name()));
        }
        drop(attached);
        for span in entered.iter().rev() {
            span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
        }
    });
    let ended: Vec<_> = capture
        .spans()
        .into_iter()
        .map(|span| (span.name, span.span_id, span.parent_span_id, span.trace_id))
        .collect();
    format!("{}\n{ended:#?}\n{current:?}", capture.render())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_subscriber_records_what_the_layer_records(
        acts in prop::collection::vec(act(), 1..60),
        directives in prop_oneof![Just("trace"), Just("info,[below]=trace"), Just("info,[root{number}]=trace")],
    ) {
        let (alone, layered) = (Capture::new(), Capture::new());
        for capture in [&alone, &layered] {
            capture.filter().set_directives(directives).unwrap();
        }
        let registry = Dispatch::new(tracing_subscriber::registry().with(layered.layer()));
        let subscriber = Dispatch::new(alone.subscriber());
        prop_assert_eq!(run(&alone, &subscriber, &acts), run(&layered, &registry, &acts));
    }
}

#[test]
fn a_span_that_others_hold_ends_with_the_last_of_them_on_whatever_thread() {
    let capture = Capture::new();
    let dispatch = Dispatch::new(capture.subscriber());
    let span = tracing::dispatcher::with_default(&dispatch, || info_span!("shared"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let span = span.clone();
            scope.spawn(move || {
                for _ in 0..1000 {
                    let _entered = span.clone().entered();
                }
            });
        }
        assert_eq!(capture.spans().len(), 0);
        drop(span);
    });
    assert_eq!(capture.spans().len(), 1);
}

#[test]
fn ids_of_another_subscriber_are_nobodys_here() {
    let (one, other) = (Capture::new(), Capture::new());
    let (first, second) = (Dispatch::new(one.subscriber()), Dispatch::new(other.subscriber()));
    let foreign = tracing::dispatcher::with_default(&first, || info_span!("foreign"));
    let _entered = foreign.enter();
    tracing::dispatcher::with_default(&second, || {
        assert!(Span::current().is_none());
        // As one is the parent of the other, by what is current on the thread, and not kept open by it.
        drop(info_span!("own"));
        for id in [1, 2, u64::MAX] {
            let id = tracing::span::Id::from_u64(id);
            second.enter(&id);
            second.exit(&id);
            assert_eq!(second.clone_span(&id), id);
            assert!(!second.try_close(id));
        }
    });
    drop(_entered);
    drop(foreign);
    assert_eq!((one.spans().len(), other.spans().len()), (1, 1));
}
