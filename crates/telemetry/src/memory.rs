//! Memory budgets: a shared ledger of bytes held, with a ceiling. Counts only what it is told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A ceiling on bytes held, shared by all clones. A child draws on its own ceiling and on its parent's.
#[derive(Clone)]
pub struct MemoryBudget {
    ledger: Arc<Ledger>,
}

struct Ledger {
    ceiling: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    refused: AtomicU64,
    parent: Option<MemoryBudget>,
}

impl MemoryBudget {
    /// A budget of `ceiling` bytes.
    pub fn new(ceiling: usize) -> Self {
        Self::with_parent(ceiling, None)
    }

    /// A budget without a bound of its own, for tests and tools.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// A part of this budget with its own ceiling; what it holds counts in both.
    pub fn child(&self, ceiling: usize) -> Self {
        Self::with_parent(ceiling, Some(self.clone()))
    }

    fn with_parent(ceiling: usize, parent: Option<Self>) -> Self {
        let ledger = Ledger {
            ceiling,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            parent,
        };
        Self {
            ledger: Arc::new(ledger),
        }
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.ledger.used.load(Ordering::Relaxed)
    }

    /// Most bytes held at one time so far.
    pub fn peak(&self) -> usize {
        self.ledger.peak.load(Ordering::Relaxed)
    }

    pub fn ceiling(&self) -> usize {
        self.ledger.ceiling
    }

    /// Bytes that could be reserved now, here and in every parent.
    pub fn available(&self) -> usize {
        let own = self.ceiling().saturating_sub(self.used());
        self.ledger
            .parent
            .as_ref()
            .map_or(own, |parent| own.min(parent.available()))
    }

    /// How often a reservation was refused, by this ceiling or a parent's.
    pub fn refused(&self) -> u64 {
        self.ledger.refused.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` until the reservation is dropped, or `None` if a ceiling would be passed.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        self.try_add(bytes).then(|| Reservation {
            budget: self.clone(),
            bytes,
        })
    }

    /// An empty reservation to grow later.
    pub fn reservation(&self) -> Reservation {
        Reservation {
            budget: self.clone(),
            bytes: 0,
        }
    }

    fn try_add(&self, bytes: usize) -> bool {
        let ledger = &*self.ledger;
        let added = ledger
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= ledger.ceiling)
            });
        let Ok(before) = added else {
            ledger.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        if let Some(parent) = &ledger.parent
            && !parent.try_add(bytes)
        {
            ledger.used.fetch_sub(bytes, Ordering::AcqRel);
            ledger.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        ledger.peak.fetch_max(before + bytes, Ordering::Relaxed);
        true
    }

    /// Counts `bytes` although a ceiling may be passed: they are held already and cannot be refused.
    fn add(&self, bytes: usize) {
        let before = self.ledger.used.fetch_add(bytes, Ordering::AcqRel);
        self.ledger
            .peak
            .fetch_max(before.saturating_add(bytes), Ordering::Relaxed);
        if let Some(parent) = &self.ledger.parent {
            parent.add(bytes);
        }
    }

    fn subtract(&self, bytes: usize) {
        let before = self.ledger.used.fetch_sub(bytes, Ordering::AcqRel);
        debug_assert!(before >= bytes, "gave back {bytes} bytes of {before}");
        if let Some(parent) = &self.ledger.parent {
            parent.subtract(bytes);
        }
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("used", &self.used())
            .field("ceiling", &self.ceiling())
            .finish()
    }
}

/// Bytes reserved in a [`MemoryBudget`]; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

impl Reservation {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Adds `bytes`; `false`, and nothing changed, if a ceiling would be passed.
    #[must_use = "a refused reservation must be obeyed"]
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let grown = self.budget.try_add(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Adds `bytes` that are held already, whatever the ceiling says: the next `try_` call pays.
    pub fn grow(&mut self, bytes: usize) {
        self.budget.add(bytes);
        self.bytes += bytes;
    }

    /// Gives back up to `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.budget.subtract(bytes);
        self.bytes -= bytes;
    }

    /// Makes this reservation `bytes` large; `false`, and nothing changed, if a ceiling would be passed.
    #[must_use = "a refused reservation must be obeyed"]
    pub fn try_resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            return self.try_grow(bytes - self.bytes);
        }
        self.shrink(self.bytes - bytes);
        true
    }

    /// Takes over what another reservation of the same budget holds.
    pub fn absorb(&mut self, mut other: Self) {
        debug_assert!(
            Arc::ptr_eq(&self.budget.ledger, &other.budget.ledger),
            "a reservation of another budget"
        );
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Splits up to `bytes` off into a reservation of their own.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            budget: self.budget.clone(),
            bytes,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.subtract(self.bytes);
    }
}
