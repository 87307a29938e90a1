//! Which view a worker is working on, for whoever has to say at which one the engine stopped.

use std::cell::Cell;

use millrace_types::ObjectId;

thread_local! {
    static VIEW: Cell<Option<ObjectId>> = const { Cell::new(None) };
}

/// The view that this thread works on.
pub fn working_on() -> Option<ObjectId> {
    VIEW.get()
}

/// This thread works on a view until the guard goes.
#[must_use]
pub(super) struct Working(());

impl Working {
    pub(super) fn on(view: ObjectId) -> Working {
        VIEW.set(Some(view));
        Working(())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // A panic looks at it while the stack is still there; unwinding may clear it.
        VIEW.set(None);
    }
}
