//! A map that forgets: bounded in number and in time.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Entries live for a time and give way, the oldest first, to new ones when there are too many.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Every entry lives equally long: the order of their coming is that of their going.
    order: BTreeMap<Ticket, K>,
    next: u64,
    limit: usize,
    ttl: Duration,
}

/// One insertion: tells an entry from a later one under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[derive(Debug)]
struct Entry<V> {
    value: V,
    ticket: Ticket,
    expires: Instant,
}

impl<K: Clone + Eq + Hash, V> Expiring<K, V> {
    pub(super) fn new(limit: usize, ttl: Duration) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), next: 0, limit: limit.max(1), ttl }
    }

    /// Replaces what was under the key.
    pub(super) fn insert(&mut self, now: Instant, key: K, value: V) -> Ticket {
        self.forget(now);
        if let Some(old) = self.entries.remove(&key) {
            self.order.remove(&old.ticket);
        }
        while self.entries.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.order.insert(ticket, key.clone());
        self.entries.insert(key, Entry { value, ticket, expires: now + self.ttl });
        ticket
    }

    pub(super) fn get(&self, now: Instant, key: &K) -> Option<&V> {
        self.entries.get(key).filter(|entry| entry.expires > now).map(|entry| &entry.value)
    }

    /// Removes the entry that was inserted with this ticket; a later one stays.
    pub(super) fn remove(&mut self, key: &K, ticket: Ticket) {
        if self.entries.get(key).is_some_and(|entry| entry.ticket == ticket) {
            self.entries.remove(key);
            self.order.remove(&ticket);
        }
    }

    /// Drops what has expired.
    fn forget(&mut self, now: Instant) {
        while let Some((_, key)) = self.order.first_key_value()
            && self.entries.get(key).is_none_or(|entry| entry.expires <= now)
            && let Some((_, key)) = self.order.pop_first()
        {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_expire_and_the_oldest_give_way() {
        let (start, ttl) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut map = Expiring::new(2, ttl);
        map.insert(at(0), "a", 1);
        assert_eq!((map.get(at(9), &"a"), map.get(at(10), &"a")), (Some(&1), None));
        map.insert(at(1), "b", 2);
        map.insert(at(2), "a", 3);
        map.insert(at(3), "c", 4);
        assert_eq!([map.get(at(3), &"a"), map.get(at(3), &"b"), map.get(at(3), &"c")], [Some(&3), None, Some(&4)]);
        map.insert(at(60), "d", 5);
        assert_eq!((map.entries.len(), map.order.len()), (1, 1));
    }

    #[test]
    fn a_ticket_removes_its_own_entry_only() {
        let now = Instant::now();
        let mut map = Expiring::new(10, Duration::from_secs(1));
        let first = map.insert(now, "a", 1);
        let second = map.insert(now, "a", 2);
        map.remove(&"a", first);
        assert_eq!(map.get(now, &"a"), Some(&2));
        map.remove(&"a", second);
        assert_eq!((map.get(now, &"a"), map.order.len()), (None, 0));
    }
}
