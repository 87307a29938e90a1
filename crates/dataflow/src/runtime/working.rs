//! Which view each worker is working on, for whoever has to say at which one the engine stopped.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use millrace_types::ObjectId;
use parking_lot::Mutex;

/// What the threads that have worked on views write into: how often they have begun, and in the lower half a view's
/// id and one, 0 for none.
static PLACES: Mutex<Vec<Weak<AtomicU64>>> = Mutex::new(Vec::new());

thread_local! {
    static VIEW: Cell<Option<ObjectId>> = const { Cell::new(None) };
    static PLACE: Arc<AtomicU64> = place();
}

fn place() -> Arc<AtomicU64> {
    let place = Arc::default();
    let mut places = PLACES.lock();
    places.retain(|place| place.strong_count() > 0);
    places.push(Arc::downgrade(&place));
    place
}

/// The view that this thread works on. May be asked in a signal handler.
pub fn working_on() -> Option<ObjectId> {
    VIEW.get()
}

/// One call of the operators of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// The view.
    pub view: ObjectId,
    /// Tells it from other pieces of work of the same thread.
    begun: u64,
    thread: usize,
}

/// What all threads work on now.
pub fn all_working_on() -> Vec<Call> {
    let places = PLACES.lock();
    let work = |(thread, place): (usize, &Weak<AtomicU64>)| {
        let begun = place.upgrade()?.load(Ordering::Relaxed);
        let id = u32::try_from(begun & u64::from(u32::MAX)).ok()?;
        Some(Call { view: ObjectId(id.checked_sub(1)?), begun, thread })
    };
    places.iter().enumerate().filter_map(work).collect()
}

/// This thread works on a view until the guard goes.
#[must_use]
pub(super) struct Working(());

impl Working {
    pub(super) fn on(view: ObjectId) -> Working {
        set(Some(view));
        Working(())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // A panic looks at it while the stack is still there; unwinding may clear it.
        set(None);
    }
}

fn set(view: Option<ObjectId>) {
    VIEW.set(view);
    let id = view.map_or(0, |view| u64::from(view.0) + 1);
    PLACE.with(|place| {
        // Nobody else writes it.
        let times = place.load(Ordering::Relaxed) >> 32;
        place.store((times.wrapping_add(1) << 32) | id, Ordering::Relaxed);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_other_threads_work_on_are_seen_until_they_end() {
        let (a, b) = (ObjectId(4_000_001), ObjectId(4_000_002));
        let ours = || -> Vec<ObjectId> {
            let views = all_working_on().into_iter().map(|work| work.view);
            let mut views: Vec<ObjectId> = views.filter(|view| [a, b].contains(view)).collect();
            views.sort_unstable();
            views
        };
        let working = Working::on(a);
        let (begun, wait) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::Builder::new().spawn(move || {
            let _working = Working::on(b);
            begun.send(working_on()).unwrap();
            ended.recv().unwrap_or_default();
        });
        assert_eq!(wait.recv().unwrap(), Some(b));
        assert_eq!((working_on(), ours()), (Some(a), vec![a, b]));
        drop(end);
        other.unwrap().join().unwrap();
        assert_eq!(ours(), [a]);
        let own = || all_working_on().into_iter().find(|work| work.view == a);
        let before = own();
        assert_eq!(own(), before);
        drop(working);
        let _again = Working::on(a);
        assert_ne!(own(), before, "it has begun anew");
    }
}
