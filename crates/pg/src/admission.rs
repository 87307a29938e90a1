//! Connections whose clients have not shown who they are yet: how many there may be, in all and of one
//! address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of all addresses. Also the sockets beyond the sessions, so that cancel requests come in when all
/// sessions are taken.
pub(crate) const STARTUPS_MAX: usize = 512;
/// Of one address: the others keep their half.
const OF_ADDRESS_MAX: usize = STARTUPS_MAX / 2;

/// Counts connections before they have authenticated.
#[derive(Default)]
pub(crate) struct Startups(Mutex<BTreeMap<IpAddr, usize>>);

/// The place of a connection among them.
pub(crate) struct Place {
    startups: Arc<Startups>,
    address: IpAddr,
}

impl Startups {
    fn places(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place; None if there are too many.
    pub(crate) fn enter(self: &Arc<Startups>, address: IpAddr) -> Option<Place> {
        let mut places = self.places();
        let all: usize = places.values().sum();
        let of_address = places.entry(address).or_default();
        if all >= STARTUPS_MAX || *of_address >= OF_ADDRESS_MAX {
            if *of_address == 0 {
                places.remove(&address);
            }
            return None;
        }
        *of_address += 1;
        Some(Place { startups: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.startups.places();
        if let Some(count) = places.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_places_for_others_and_places_come_back() {
        let startups = Arc::new(Startups::default());
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut taken: Vec<Place> = Vec::new();
        while let Some(place) = startups.enter(address(1)) {
            taken.push(place);
        }
        assert_eq!(taken.len(), OF_ADDRESS_MAX);
        while let Some(place) = startups.enter(address(2)) {
            taken.push(place);
        }
        assert_eq!(taken.len(), STARTUPS_MAX);
        assert!(startups.enter(address(3)).is_none());
        taken.clear();
        assert!(startups.enter(address(3)).is_some());
        assert!(startups.places().is_empty());
    }
}
