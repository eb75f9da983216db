//! Locks by key.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock per key at a fixed cost: keys share `N` locks.
pub(super) struct KeyLocks<const N: usize> {
    locks: [Mutex<()>; N],
    hasher: RandomState,
}

impl<const N: usize> KeyLocks<N> {
    pub(super) fn new() -> Self {
        Self { locks: std::array::from_fn(|_| Mutex::new(())), hasher: RandomState::new() }
    }

    pub(super) fn lock<K: Hash + ?Sized>(&self, key: &K) -> MutexGuard<'_, ()> {
        let slot = usize::try_from(self.hasher.hash_one(key) % N as u64).unwrap_or_default();
        self.locks[slot].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
