//! Failed logins: each makes the next attempt of the same user from the same address wait longer.
//!
//! Others wait for nothing: the same user from another address, other users from the same one. Attempts
//! of one user and address come one after the other, so that many connections at once guess no faster.
//!
//! Invariants: 1. the table has at most [`ENTRIES_MAX`] entries; those with the fewest failures go first, so
//! that nobody pushes their own failures out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The wait after the first failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// After this time without an attempt all is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Attempts of one user and address that wait; further ones are sent away.
const WAITING_MAX: u32 = 4;
const ENTRIES_MAX: usize = 10_000;
/// Characters of a name that are told apart.
const NAME_MAX: usize = 64;

type Key = (IpAddr, String);

#[derive(Clone, Copy)]
struct Entry {
    failures: u32,
    waiting: u32,
    /// When the next attempt may begin.
    free_at: Instant,
    last_at: Instant,
}

/// See the module's documentation. All who ask for passwords share one.
#[derive(Default)]
pub struct Attempts {
    table: Mutex<BTreeMap<Key, Entry>>,
    refused: AtomicU64,
}

/// Too many attempts of this user from this address wait already.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// An attempt that waits for its turn.
struct Waiting<'a> {
    attempts: &'a Attempts,
    key: Key,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.attempts.table().get_mut(&self.key) {
            entry.waiting = entry.waiting.saturating_sub(1);
        }
    }
}

impl Attempts {
    fn table(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody who would log in was refused, for whatever reason.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused since the start.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until an attempt may begin.
    ///
    /// # Errors
    /// Others of the same user and address wait already.
    pub async fn turn(&self, peer: IpAddr, user: &str) -> Result<(), TooMany> {
        let key = key(peer, user);
        let Some(at) = self.reserve(&key, Instant::now())? else { return Ok(()) };
        let _waiting = Waiting { attempts: self, key };
        sleep_until(at).await;
        Ok(())
    }

    /// When an attempt may begin; None: now.
    fn reserve(&self, key: &Key, now: Instant) -> Result<Option<Instant>, TooMany> {
        let mut table = self.table();
        let Some(entry) = table.get_mut(key) else { return Ok(None) };
        if entry.waiting >= WAITING_MAX {
            return Err(TooMany);
        }
        if entry.waiting == 0 && now.saturating_duration_since(entry.last_at) > FORGET_AFTER {
            table.remove(key);
            return Ok(None);
        }
        let at = entry.free_at.max(now);
        entry.free_at = at + wait_after(entry.failures);
        entry.waiting += 1;
        Ok(Some(at))
    }

    /// The attempt has failed.
    pub fn failed(&self, peer: IpAddr, user: &str) {
        self.failed_at(key(peer, user), Instant::now());
    }

    fn failed_at(&self, key: Key, now: Instant) {
        let mut table = self.table();
        if table.len() >= ENTRIES_MAX && !table.contains_key(&key) {
            let idle = table.iter().filter(|(_, entry)| entry.waiting == 0);
            let least = idle.min_by_key(|(_, entry)| (entry.failures, entry.last_at));
            let Some(least) = least.map(|(key, _)| key.clone()) else { return };
            table.remove(&least);
        }
        let new = Entry { failures: 0, waiting: 0, free_at: now, last_at: now };
        let entry = table.entry(key).or_insert(new);
        entry.failures = entry.failures.saturating_add(1);
        entry.last_at = now;
        entry.free_at = entry.free_at.max(now + wait_after(entry.failures));
    }

    /// The attempt has shown the password.
    pub fn succeeded(&self, peer: IpAddr, user: &str) {
        let key = key(peer, user);
        let mut table = self.table();
        if table.get(&key).is_some_and(|entry| entry.waiting == 0) {
            table.remove(&key);
        } else if let Some(entry) = table.get_mut(&key) {
            entry.failures = 0;
        }
    }
}

/// IPv6 networks count as one address: who has one has 2^64 addresses.
fn key(peer: IpAddr, user: &str) -> Key {
    let peer = match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    };
    (peer, user.chars().take(NAME_MAX).collect())
}

fn wait_after(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        _ => FIRST_WAIT.saturating_mul(1 << (failures - 1).min(16)).min(WAIT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_failure_makes_the_next_attempt_wait_longer_and_success_ends_it() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let key = key(address(1), "ann");
        assert_eq!(attempts.reserve(&key, now), Ok(None));
        let mut waits = Vec::new();
        let mut at = now;
        for _ in 0..9 {
            attempts.failed_at(key.clone(), at);
            let next = attempts.reserve(&key, at).unwrap().unwrap();
            attempts.table().get_mut(&key).unwrap().waiting = 0;
            waits.push((next - at).as_millis());
            at = next;
        }
        assert!(waits.is_sorted() && waits[0] == 100, "{waits:?}");
        assert_eq!(waits[8], WAIT_MAX.as_millis());
        attempts.succeeded(address(1), "ann");
        assert_eq!(attempts.reserve(&key, at), Ok(None));
    }

    #[test]
    fn others_do_not_wait() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        (0..20).for_each(|_| attempts.failed_at(key(address(1), "ann"), now));
        assert_eq!(attempts.reserve(&key(address(2), "ann"), now), Ok(None));
        assert_eq!(attempts.reserve(&key(address(1), "bob"), now), Ok(None));
    }

    #[test]
    fn attempts_at_once_come_one_after_the_other_and_no_more_than_a_few_wait() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let key = key(address(1), "ann");
        attempts.failed_at(key.clone(), now);
        let turns: Vec<_> = (0..WAITING_MAX).map(|_| attempts.reserve(&key, now)).collect();
        let turns: Vec<_> = turns.into_iter().map(|turn| turn.unwrap().unwrap()).collect();
        assert!(turns.windows(2).all(|two| two[1] - two[0] >= FIRST_WAIT));
        assert_eq!(attempts.reserve(&key, now), Err(TooMany));
        // One whose client has gone leaves its place.
        drop(Waiting { attempts: &attempts, key: key.clone() });
        assert!(attempts.reserve(&key, now).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_who_failed_most_stays() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        (0..5).for_each(|_| attempts.failed_at(key(address(1), "ann"), now));
        for number in 0..ENTRIES_MAX + 100 {
            attempts.failed_at(key(address(2), &format!("user{number}")), now);
        }
        assert_eq!(attempts.table().len(), ENTRIES_MAX);
        assert!(attempts.reserve(&key(address(1), "ann"), now).unwrap().is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_failures_are_forgotten() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let (one, other) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        attempts.failed_at(key(one, "ann"), now);
        assert!(attempts.reserve(&key(other, "ann"), now).unwrap().is_some());
        drop(Waiting { attempts: &attempts, key: key(one, "ann") });
        let later = now + FORGET_AFTER + FORGET_AFTER;
        assert_eq!(attempts.reserve(&key(one, "ann"), later), Ok(None));
    }
}
