//! One worker: takes commands in, steps timely, says what has been published.
//!
//! Leaves run here, before timely: a chunk is projected, filtered and split by vnode as it arrives,
//! and enters the dataflow already routed. Changes that a view publishes on this worker go to the
//! leaves of the views that read it, on the same worker; operators further on exchange them.
//!
//! An operator that stops in the middle of a time goes on when nobody else has anything to do, or has
//! had some turns: an epoch of another view takes several steps of all workers, and none of them
//! should take as long as a piece of the heavy one. A step looks at the views alone that have done
//! something in it.
//!
//! Invariants: 1. a leaf's capability never passes rows that can still come for it: source leaves
//! move with seals, view leaves with what the view below has finished on this worker.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Receiver;
use millrace_plan::LeafKind;
use millrace_types::{Delta, Epoch, ObjectId, Ts};
use timely::scheduling::Activator;
use timely::worker::Worker;

use super::build::{Dataflow, install};
use super::history::History;
use super::leaf::LeafInput;
use super::working::Working;
use super::{Clock, Command, Event, Events, FeedId};
use crate::operator::{Context, Error};

const WATERMARKS_KEPT: usize = 4_096;
/// Changes of a view that those above it get at once; other dataflows take their turns in between.
const FED_ROWS: usize = 1 << 15;
/// Steps of the others, at most, before an operator goes on that has stopped in the middle.
const TURNS_MAX: usize = 16;

/// What the record of a sealed epoch says of time.
#[derive(Clone, Default)]
pub(super) struct Sealed {
    watermarks: Arc<BTreeMap<ObjectId, i64>>,
    now: i64,
}

/// What the operators of one worker share.
pub(super) struct Shared {
    pub(super) worker: usize,
    pub(super) workers: usize,
    pub(super) sealed: RefCell<BTreeMap<Epoch, Sealed>>,
    pub(super) clock: Clock,
    short: Arc<AtomicBool>,
    /// Views whose dataflows have done something that nobody has looked at yet.
    touched: RefCell<BTreeSet<ObjectId>>,
    /// Operators that have stopped in the middle of something.
    resting: RefCell<Vec<Activator>>,
}

impl Shared {
    /// Memory is short.
    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// A view's dataflow has done something.
    pub(super) fn touch(&self, view: ObjectId) {
        self.touched.borrow_mut().insert(view);
    }

    /// An operator is to go on when the others have had their turns.
    pub(super) fn rest(&self, operator: Activator) {
        self.resting.borrow_mut().push(operator);
    }

    /// What may be known at `ts` by a view that is live from `live_from` on.
    pub(super) fn context(&self, ts: Ts, live_from: Option<Ts>) -> Context {
        let mut watermarks = BTreeMap::new();
        if live_from.is_some_and(|from| ts >= from) {
            let known = self.sealed.borrow();
            if let Some((_, before)) = known.range(..ts.epoch()).next_back() {
                watermarks.clone_from(&before.watermarks);
            }
        }
        let known = self.sealed.borrow();
        let now = known.range(..=ts.epoch()).next_back().map(|(_, sealed)| sealed.now);
        let (worker, workers) = (self.worker, self.workers);
        Context { ts, worker, workers, watermarks, now, changelog: true }
    }

    /// The last epoch whose record is known.
    pub(super) fn last(&self) -> Option<Epoch> {
        self.sealed.borrow().last_key_value().map(|(epoch, _)| *epoch)
    }

    fn note(&self, epoch: Epoch, watermarks: &Arc<BTreeMap<ObjectId, i64>>, now: i64) {
        let mut known = self.sealed.borrow_mut();
        known.insert(epoch, Sealed { watermarks: watermarks.clone(), now });
        while known.len() > WATERMARKS_KEPT {
            known.pop_first();
        }
    }
}

struct State {
    shared: Rc<Shared>,
    events: Events,
    views: BTreeMap<ObjectId, Dataflow>,
    /// Views by the feeds that go into them.
    readers: BTreeMap<FeedId, BTreeSet<ObjectId>>,
    /// Views by the views whose changes they take.
    followers: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// Views that rows wait for in their leaves.
    crowded: BTreeSet<ObjectId>,
    sealed: Option<Epoch>,
}

/// Runs until told to stop.
pub(super) fn run(
    timely: &mut Worker,
    commands: &Receiver<Command>,
    events: &Events,
    (clock, short): (&Clock, &Arc<AtomicBool>),
) {
    let shared = Rc::new(Shared {
        worker: timely.index(),
        workers: timely.peers(),
        sealed: RefCell::default(),
        clock: Arc::clone(clock),
        short: Arc::clone(short),
        touched: RefCell::default(),
        resting: RefCell::default(),
    });
    let mut state = State::new(Rc::clone(&shared), events);
    let (mut waits, mut turns) = (false, 0);
    loop {
        let mut idle = !waits && shared.resting.borrow().is_empty();
        while let Ok(command) = commands.try_recv() {
            idle = false;
            if matches!(command, Command::Stop) {
                let indexes: Vec<usize> = timely.installed_dataflows();
                state.views.clear();
                indexes.into_iter().for_each(|index| timely.drop_dataflow(index));
                return;
            }
            state.command(timely, command);
        }
        // Without commands the worker may sleep until a peer or the coordinator wakes it.
        match idle {
            true => timely.step_or_park(None),
            false => timely.step(),
        };
        waits = state.after_step();
        turns += 1;
        // It says so when the last step had nothing to do.
        let quiet = timely.activations().borrow().empty_for().is_none();
        if quiet || turns >= TURNS_MAX {
            turns = 0;
            shared.resting.take().iter().for_each(Activator::activate);
        }
    }
}

/// An operator that cannot go on is a program error or damaged state: the process ends and recovers.
pub(super) fn fatal(error: &Error) -> ! {
    panic!("an operator cannot go on: {error}");
}

/// Ends the process where the view is still known that this thread works on: the stop is noted there.
fn sure<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| fatal(&error))
}

impl State {
    fn new(shared: Rc<Shared>, events: &Events) -> State {
        let (views, readers, followers, crowded) = Default::default();
        let events = Arc::clone(events);
        State { shared, events, views, readers, followers, crowded, sealed: None }
    }

    fn command(&mut self, timely: &mut Worker, command: Command) {
        match command {
            Command::Install(spec) => {
                let _working = Working::on(spec.view);
                let dataflow = sure(install(timely, &self.shared, &spec, &self.events));
                if spec.live || spec.restore.is_some() {
                    let before = spec.start.epoch().previous();
                    self.shared.note(before, &spec.watermarks, spec.now);
                }
                self.views.insert(spec.view, dataflow);
                self.shared.touch(spec.view);
                self.note_followers();
            }
            Command::Rows { feed, ts, watermark, rows } => self.rows(feed, ts, watermark, &rows),
            Command::Subscribe { view, leaf, feed, from } => {
                if let Some(leaf) = self.leaf(view, leaf) {
                    leaf.feeds.push((feed, from));
                    self.readers.entry(feed).or_default().insert(view);
                }
            }
            Command::Follow { view, leaf, from } => {
                if let Some(leaf) = self.leaf(view, leaf) {
                    leaf.follows = Some(from);
                }
                self.note_followers();
            }
            Command::Reach { view, leaf, reach } => {
                if let Some(leaf) = self.leaf(view, leaf) {
                    leaf.reach = reach;
                }
            }
            Command::Mark { view, at } => {
                if let Some(dataflow) = self.views.get(&view) {
                    dataflow.marks.borrow_mut().push(at);
                    self.shared.touch(view);
                }
            }
            Command::Advance { view, upto } => {
                self.feed_wholly(view, upto);
                if let Some(dataflow) = self.views.get_mut(&view) {
                    let _working = Working::on(view);
                    sure(dataflow.let_in(upto, &self.shared));
                    dataflow.leaves.iter_mut().for_each(|leaf| leaf.advance(upto));
                    dataflow.pass(upto);
                    self.crowded.insert(view);
                }
            }
            Command::GoLive { view, from } => self.go_live(view, from),
            Command::Seal { epoch, watermarks, now, hand_over } => {
                self.shared.note(epoch, &watermarks, now);
                self.seal(epoch, hand_over);
            }
            Command::Retain { view, history } => {
                let history = history.map(|(table, from)| History { table, from });
                self.retain(view, history);
            }
            Command::Unpublish(view) => {
                if let Some(dataflow) = self.views.get(&view) {
                    dataflow.published.set(false);
                }
                (self.events)(Event::Unpublished { view, worker: self.shared.worker });
            }
            Command::Drop(view) => self.drop_view(timely, view),
            Command::Stop => {}
        }
    }

    fn drop_view(&mut self, timely: &mut Worker, view: ObjectId) {
        if let Some(dataflow) = self.views.remove(&view) {
            timely.drop_dataflow(dataflow.index);
        }
        self.readers.retain(|_, views| {
            views.remove(&view);
            !views.is_empty()
        });
        self.note_followers();
    }

    fn retain(&mut self, view: ObjectId, history: Option<History>) {
        if let Some(dataflow) = self.views.get(&view) {
            *dataflow.history.borrow_mut() = history;
        }
        self.note_followers();
    }

    /// Tells each view whether another one takes its changes. A follower is named before the first
    /// time that it follows can be finished here, since that time's seal comes later.
    fn note_followers(&mut self) {
        self.followers.clear();
        for (above, dataflow) in &self.views {
            for leaf in dataflow.leaves.iter().filter(|leaf| leaf.follows.is_some()) {
                if let LeafKind::View(below) = leaf.kind {
                    self.followers.entry(below).or_default().insert(*above);
                }
            }
        }
        for (id, dataflow) in &self.views {
            let kept = dataflow.history.borrow().is_some();
            dataflow.followed.set(kept || self.followers.contains_key(id));
        }
    }

    fn leaf(&mut self, view: ObjectId, leaf: usize) -> Option<&mut LeafInput> {
        self.views.get_mut(&view)?.leaves.get_mut(leaf)
    }

    fn rows(&mut self, feed: FeedId, ts: Ts, watermark: Option<i64>, rows: &Delta) {
        for view in self.readers.get(&feed).into_iter().flatten() {
            let Some(dataflow) = self.views.get_mut(view) else { continue };
            let _working = Working::on(*view);
            for leaf in &mut dataflow.leaves {
                if !leaf.feeds.iter().any(|(id, from)| *id == feed && ts >= *from) {
                    continue;
                }
                let mut context = self.shared.context(ts, None);
                if let (LeafKind::Source(source), Some(watermark)) = (leaf.kind, watermark) {
                    context.watermarks.insert(source, watermark);
                }
                sure(leaf.push(rows, &context, &mut dataflow.side.borrow_mut()));
                if !leaf.waiting.is_empty() {
                    self.crowded.insert(*view);
                }
            }
        }
    }

    /// Lets some of the rows pass that wait in leaves. True if there are others.
    fn let_pass(&mut self) -> bool {
        for view in std::mem::take(&mut self.crowded) {
            let Some(dataflow) = self.views.get_mut(&view) else { continue };
            let _working = Working::on(view);
            let mut side = dataflow.side.borrow_mut();
            for leaf in &mut dataflow.leaves {
                if sure(leaf.let_pass(&mut side)) {
                    self.crowded.insert(view);
                }
            }
        }
        !self.crowded.is_empty()
    }

    fn go_live(&mut self, view: ObjectId, from: Epoch) {
        let upto = self.sealed.map_or(from, |sealed| sealed.next().max(from)).ts();
        let uppers: BTreeMap<ObjectId, Ts> =
            self.views.iter().map(|(id, below)| (*id, below.fed)).collect();
        let Some(dataflow) = self.views.get_mut(&view) else { return };
        let _working = Working::on(view);
        dataflow.live_from.set(Some(from.ts()));
        sure(dataflow.let_in(Ts(u64::MAX), &self.shared));
        dataflow.pass(upto.max(from.ts()));
        for leaf in &mut dataflow.leaves {
            let upto = match leaf.kind {
                LeafKind::Source(_) => upto,
                LeafKind::View(below) => uppers.get(&below).copied().unwrap_or_default(),
            };
            leaf.advance(upto.max(from.ts()));
        }
        self.crowded.insert(view);
    }

    fn seal(&mut self, epoch: Epoch, hand_over: bool) {
        self.sealed = Some(epoch);
        for (view, dataflow) in &mut self.views {
            if dataflow.live_from.get().is_none_or(|from| epoch.ts() < from) {
                continue;
            }
            if hand_over {
                dataflow.marks.borrow_mut().push(epoch.ts());
                self.shared.touch(*view);
            }
            for leaf in &mut dataflow.leaves {
                if matches!(leaf.kind, LeafKind::Source(_)) {
                    leaf.advance(epoch.next().ts());
                }
            }
            dataflow.pass(epoch.next().ts());
        }
    }

    /// Passes changes that were published on to the views above, in the order of creation, and reports.
    /// True if there are more than can be passed on at once.
    fn after_step(&mut self) -> bool {
        let mut waits = self.let_pass();
        for id in self.shared.touched.take() {
            let Some(dataflow) = self.views.get_mut(&id) else { continue };
            let before = dataflow.fed;
            let changes = dataflow.next_changes(FED_ROWS);
            let upper = dataflow.fed;
            if !changes.is_empty() || upper != before {
                self.feed_views(id, &changes, upper);
            }
            let Some(dataflow) = self.views.get_mut(&id) else { continue };
            if dataflow.has_changes() {
                self.shared.touch(id);
                waits = true;
            }
            dataflow.report(id, &self.shared, &self.events);
        }
        waits
    }

    /// Gives a view that is being filled all changes of the views below before a time, which these have
    /// completed.
    fn feed_wholly(&mut self, view: ObjectId, before: Ts) {
        let leaves = self.views.get(&view).into_iter().flat_map(|dataflow| &dataflow.leaves);
        let below = leaves.filter_map(|leaf| match leaf.kind {
            LeafKind::View(below) => Some(below),
            LeafKind::Source(_) => None,
        });
        for id in below.collect::<Vec<_>>() {
            let Some(below) = self.views.get_mut(&id).filter(|below| below.fed < before) else {
                continue;
            };
            let changes = below.next_changes(usize::MAX);
            let upper = below.fed;
            self.feed_views(id, &changes, upper);
        }
    }

    fn feed_views(&mut self, below: ObjectId, changes: &[(Ts, Vec<Delta>)], upper: Ts) {
        for view in self.followers.get(&below).into_iter().flatten() {
            let Some(dataflow) = self.views.get_mut(view) else { continue };
            let _working = Working::on(*view);
            let live_from = dataflow.live_from.get();
            for leaf in dataflow.leaves.iter_mut().filter(|l| l.kind == LeafKind::View(below)) {
                let Some(from) = leaf.follows else { continue };
                if live_from.is_none() {
                    // What has been read of it so far will be known when it is advanced.
                    leaf.held.extend(changes.iter().filter(|(ts, _)| *ts >= from).cloned());
                    continue;
                }
                for (ts, deltas) in changes.iter().filter(|(ts, _)| *ts >= from) {
                    let context = self.shared.context(*ts, live_from);
                    for delta in deltas {
                        sure(leaf.push(delta, &context, &mut dataflow.side.borrow_mut()));
                    }
                }
                if !leaf.waiting.is_empty() {
                    self.crowded.insert(*view);
                }
                leaf.advance(upper);
            }
        }
    }
}
