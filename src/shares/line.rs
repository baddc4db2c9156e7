//! A line: a bounded number of places for what waits and for what is done meanwhile.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Caller, Share, Shares, WhenScarce};

/// The places of a line. A caller has a quarter of them at most. While fewer than half are free, networks and sites that
/// hold many get no more.
#[derive(Debug)]
pub(crate) struct Line {
    places: Arc<Semaphore>,
    number: usize,
    shares: Arc<Shares>,
}

impl Line {
    pub fn new(number: usize) -> Self {
        let part = |of: usize| (number / of).max(1);
        let scarce = WhenScarce {
            of_network: part(16),
            of_site: part(8),
        };
        Self {
            places: Arc::new(Semaphore::new(number)),
            number,
            shares: Arc::new(Shares::new(part(4), scarce)),
        }
    }

    /// Takes a place; `None` if all are taken, or if the caller holds its share. Work of the server itself has no caller,
    /// and no share.
    pub fn enter(&self, caller: Option<Caller>) -> Option<Place> {
        let is_scarce = self.free() < self.number / 2;
        let share = match caller {
            None => None,
            Some(caller) => Some(Held {
                share: self.shares.take(caller, is_scarce)?,
                shares: Arc::clone(&self.shares),
            }),
        };
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place {
            _permit: permit,
            _share: share,
        })
    }

    /// Returns how many places are free.
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }
}

/// A place in a line, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Option<Held>,
}

/// A place counted for a caller.
#[derive(Debug)]
struct Held {
    shares: Arc<Shares>,
    share: Share,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shares.give_back(&self.share);
    }
}

#[cfg(test)]
mod tests {
    use super::super::caller;
    use super::*;

    #[test]
    fn one_caller_does_not_hold_the_places_of_others() {
        let line = Line::new(16);
        let enter = |site, network| line.enter(Some(caller(site, network)));
        let mut held: Vec<Place> = (0..4).map(|_| enter(1, 1).unwrap()).collect();
        assert!(enter(1, 1).is_none(), "a quarter is the most");
        held.pop();
        held.push(enter(1, 1).unwrap());
        held.extend((0..5).map(|_| line.enter(None).unwrap()));
        // Places are scarce now: a site gets no more than two, and a network no more than one.
        assert!(enter(1, 2).is_none());
        held.push(enter(2, 1).unwrap());
        assert!(enter(2, 1).is_none());
        held.push(enter(2, 2).unwrap());
        assert!(enter(2, 3).is_none());
        held.extend((0..5).map(|_| line.enter(None).unwrap()));
        assert!(enter(3, 1).is_none(), "all are taken");
        drop(held);
        assert_eq!(line.free(), 16);
        assert!(enter(1, 1).is_some(), "the share is given back");
    }
}
