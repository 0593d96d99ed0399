//! A map of bounded size that forgets what was not asked for the longest.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Stale notes about the order that are kept beyond the size before they are swept.
const STALE_MIN: usize = 64;

#[derive(Debug)]
pub(super) struct Lru<K, V> {
    entries: HashMap<K, (V, u64)>,
    /// Keys by when they were used; a key that was used again is further back too.
    order: VecDeque<(u64, K)>,
    clock: u64,
    capacity: usize,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            clock: 0,
            capacity: capacity.max(1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The value of `key`, which counts as used.
    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.clock += 1;
        let (_, used) = self.entries.get_mut(key)?;
        *used = self.clock;
        self.order.push_back((self.clock, key.to_owned()));
        self.sweep();
        self.entries.get_mut(key).map(|(value, _)| value)
    }

    /// Sets the value of `key`, and forgets another one if there are too many.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.clock += 1;
        self.entries.insert(key.clone(), (value, self.clock));
        self.order.push_back((self.clock, key));
        while self.entries.len() > self.capacity && self.pop().is_some() {}
        self.sweep();
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|(value, _)| value)
    }

    /// The entry that was not used the longest.
    pub(super) fn oldest(&mut self) -> Option<(&K, &V)> {
        while let Some((used, key)) = self.order.front() {
            if self.entries.get(key).is_some_and(|(_, last)| last == used) {
                break;
            }
            self.order.pop_front();
        }
        let (_, key) = self.order.front()?;
        self.entries.get(key).map(|(value, _)| (key, value))
    }

    /// Forgets the entry that was not used the longest.
    pub(super) fn pop(&mut self) -> Option<(K, V)> {
        while let Some((used, key)) = self.order.pop_front() {
            if self.entries.get(&key).is_some_and(|(_, last)| *last == used) {
                let (value, _) = self.entries.remove(&key)?;
                return Some((key, value));
            }
        }
        None
    }

    fn sweep(&mut self) {
        if self.order.len() > 2 * self.entries.len() + STALE_MIN {
            let entries = &self.entries;
            self.order
                .retain(|(used, key)| entries.get(key).is_some_and(|(_, last)| last == used));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut lru = Lru::new(2);
        lru.insert("a".to_owned(), 1);
        lru.insert("b".to_owned(), 2);
        assert_eq!(lru.get("a").copied(), Some(1));
        lru.insert("c".to_owned(), 3);
        assert_eq!((lru.get("b").copied(), lru.get("a").copied()), (None, Some(1)));
        assert_eq!(lru.oldest(), Some((&"c".to_owned(), &3)));
        for _ in 0..10_000 {
            lru.get("a");
        }
        assert!(lru.order.len() <= 2 * lru.len() + STALE_MIN);
        assert_eq!(lru.remove(&"a".to_owned()), Some(1));
        assert_eq!(lru.pop(), Some(("c".to_owned(), 3)));
        assert_eq!(lru.pop(), None);
    }
}
