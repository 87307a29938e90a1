//! Which view each worker is working on, for whoever has to say at which one the engine stopped.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use millrace_types::ObjectId;
use parking_lot::Mutex;

/// What the threads that have worked on views write into: a view's id and one, 0 for none.
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

/// The views that any thread works on, each once.
pub fn all_working_on() -> Vec<ObjectId> {
    let places = PLACES.lock();
    let ids = places.iter().filter_map(Weak::upgrade).map(|place| place.load(Ordering::Relaxed));
    let views = ids.filter_map(|id| Some(ObjectId(u32::try_from(id.checked_sub(1)?).ok()?)));
    let mut views: Vec<ObjectId> = views.collect();
    views.sort_unstable();
    views.dedup();
    views
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
    PLACE.with(|place| place.store(id, Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_other_threads_work_on_are_seen_until_they_end() {
        let (a, b) = (ObjectId(4_000_001), ObjectId(4_000_002));
        let ours = || -> Vec<ObjectId> {
            all_working_on().into_iter().filter(|view| [a, b].contains(view)).collect()
        };
        let _working = Working::on(a);
        let (begun, wait) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            let _working = Working::on(b);
            begun.send(working_on()).unwrap();
            ended.recv().unwrap_or_default();
        });
        assert_eq!(wait.recv().unwrap(), Some(b));
        assert_eq!((working_on(), ours()), (Some(a), vec![a, b]));
        drop(end);
        other.join().unwrap();
        assert_eq!(ours(), [a]);
    }
}
