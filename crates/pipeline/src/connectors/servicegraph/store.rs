//! Spans that wait for the other side of their call. Bounded for each tenant; nothing waits for longer than it may.

use std::collections::{HashMap, VecDeque};

use cupola_telemetry::TenantId;

use super::edge::Half;

/// Tenants whose spans wait at one time.
const TENANTS_MAX: usize = 10_000;
/// Entries of a queue that are out of date are swept out when there are more of them than this and than live ones.
const STALE_MAX: usize = 1_024;

/// The span of the client: both sides know its trace and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallId {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
}

/// What became of a span that was put into the store.
#[derive(Debug)]
pub(super) enum Put {
    /// It waits.
    Waits,
    /// The other side was there; it has left the store.
    Paired(Half),
    /// It waits in the place of another span of the same side, which will find no partner any more.
    Replaced(Half),
    /// There is no room.
    Full(Half),
}

#[derive(Debug)]
pub(super) struct Store {
    items_max: usize,
    ttl: u64,
    tenants: HashMap<TenantId, Waiting>,
    /// The latest moment so far: a clock that is set back does not let anything wait for longer.
    now: u64,
    /// Tells an entry of a queue whose span has gone from the same call's next one.
    next: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    halves: HashMap<CallId, (u64, Half)>,
    /// In the order of their ends.
    order: VecDeque<(u64, u64, CallId)>,
}

impl Store {
    pub(super) fn new(items_max: usize, ttl: u64) -> Self {
        Self {
            items_max,
            ttl,
            tenants: HashMap::new(),
            now: 0,
            next: 0,
        }
    }

    /// Spans that wait.
    pub(super) fn len(&self) -> usize {
        self.tenants.values().map(|waiting| waiting.halves.len()).sum()
    }

    pub(super) fn put(&mut self, tenant: &TenantId, id: CallId, half: Half, now: u64) -> Put {
        self.now = self.now.max(now);
        if !self.tenants.contains_key(tenant) {
            if self.tenants.len() >= TENANTS_MAX {
                return Put::Full(half);
            }
            self.tenants.insert(tenant.clone(), Waiting::default());
        }
        let waiting = self.tenants.entry(tenant.clone()).or_default();
        let mut replaced = None;
        match waiting.halves.remove(&id) {
            Some((_, other)) if other.side != half.side => return Put::Paired(other),
            Some((_, same)) => replaced = Some(same),
            None if waiting.halves.len() >= self.items_max => return Put::Full(half),
            None => {}
        }
        self.next += 1;
        waiting.halves.insert(id, (self.next, half));
        let end = self.now.saturating_add(self.ttl);
        waiting.order.push_back((end, self.next, id));
        if waiting.order.len() > 2 * waiting.halves.len() + STALE_MAX {
            waiting.sweep();
        }
        match replaced {
            Some(replaced) => Put::Replaced(replaced),
            None => Put::Waits,
        }
    }

    /// Takes out what has waited for too long; everything, if `now` is the end of time.
    pub(super) fn expire(&mut self, now: u64) -> Vec<(TenantId, Half)> {
        self.now = self.now.max(now);
        let now = self.now;
        let mut expired = Vec::new();
        self.tenants.retain(|tenant, waiting| {
            while let Some((end, number, id)) = waiting.order.front().copied() {
                if end > now {
                    break;
                }
                waiting.order.pop_front();
                if waiting.is_current(number, &id)
                    && let Some((_, half)) = waiting.halves.remove(&id)
                {
                    expired.push((tenant.clone(), half));
                }
            }
            !waiting.halves.is_empty()
        });
        expired
    }
}

impl Waiting {
    fn is_current(&self, number: u64, id: &CallId) -> bool {
        self.halves.get(id).is_some_and(|(current, _)| *current == number)
    }

    fn sweep(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.retain(|(_, number, id)| self.is_current(*number, id));
        self.order = order;
    }
}
