//! The scopes of targets, at hand for each thread: an appender has one logger for all, and says of each record which part of the
//! program it is from, as the crate `log` does.

use std::cell::RefCell;

use cupola_sdk_core::recorder::Scope;

/// Most that a thread has at hand; a power of two. Others are looked for each time.
const KNOWN_MAX: usize = 32;

struct Known {
    of: Scope,
    target: String,
    scope: Scope,
}

thread_local! {
    static KNOWN: RefCell<[Option<Known>; KNOWN_MAX]> = const { RefCell::new([const { None }; KNOWN_MAX]) };
}

/// The scope of a logger, `of`, with the target as its name, which `make` makes.
#[inline]
pub(crate) fn scope(target: &str, of: Scope, make: impl Fn() -> Scope) -> Scope {
    let at_hand = KNOWN.try_with(|known| {
        let mut known = known.try_borrow_mut().ok()?;
        let place = &mut known[place(target)];
        match place {
            Some(known) if known.of == of && known.target == target => Some(known.scope),
            _ => {
                let scope = make();
                let target = target.to_owned();
                *place = Some(Known { of, target, scope });
                Some(scope)
            }
        }
    });
    let at_hand = at_hand.ok().flatten();
    at_hand.unwrap_or_else(make)
}

/// By its length and its end, in which the modules of a crate differ.
#[inline]
fn place(target: &str) -> usize {
    let end = target.as_bytes().last_chunk::<8>();
    let end = end.map_or(0, |end| u64::from_le_bytes(*end));
    let mixed = (end ^ target.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize & (KNOWN_MAX - 1)
}
