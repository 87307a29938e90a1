//! Jobs: views that are being filled, or wait for it.
//!
//! Each takes memory and shares the workers with everything else, so not all begin at once: a few at a
//! time, and only while memory is there; one always runs, or nothing would ever end. The others wait
//! in the order in which they came.
//!
//! Invariants: 1. a job is stored before its statement is answered, and forgotten before whoever ended
//! it is (`commit_endings`).

use std::collections::VecDeque;

use millrace_sql::Object;
use millrace_types::{ObjectId, Report, SqlState};

use super::checkpoint::Then;
use super::hydrate::{forget, needs};
use super::{Coordinator, NewView, Reply};
use crate::error::ServerError;
use crate::shared::{JobState, JobStatus};

/// After a start the next one waits until what the first took shows in memory, microseconds.
const START_EVERY_US: i64 = 250_000;
/// Jobs that have failed are remembered, so that somebody may look.
const FAILED_KEPT: usize = 100;

/// A job that waits for its turn.
pub(super) struct Queued {
    pub(super) new: NewView,
    /// Who waits for it; none in the background.
    pub(super) reply: Option<Reply>,
}

/// A job that has ended without a view: it is to be forgotten, then sessions are answered.
struct Ending {
    view: ObjectId,
    replies: Vec<(Reply, Result<(), Report>)>,
}

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Jobs {
    pub(super) queue: VecDeque<Queued>,
    /// Of an earlier life of the server, without a place: their sources are being asked.
    pub(super) connecting: Vec<Object>,
    failed: Vec<JobStatus>,
    endings: Vec<Ending>,
    started_at: i64,
}

impl Jobs {
    /// What is not being read yet.
    fn waiting(&self) -> impl Iterator<Item = &Object> {
        self.queue.iter().map(|queued| &queued.new.object).chain(&self.connecting)
    }
}

impl Coordinator {
    /// Every job, in the order of their numbers.
    pub(super) fn jobs(&self) -> Vec<JobStatus> {
        let mut jobs: Vec<JobStatus> = Vec::new();
        for (id, hydration) in &self.hydrations {
            let state = if hydration.is_admitted() { JobState::Running } else { JobState::Queued };
            let (view, kind) = (hydration.name.clone(), hydration.kind());
            let (read, total, kept) = hydration.progress();
            let (needs, owner) = (hydration.needs().collect(), hydration.owner());
            jobs.push(JobStatus { id: *id, view, owner, kind, state, read, total, kept, needs });
        }
        // They are full, and wait for the checkpoint that makes them durable.
        let attached = self.checkpoints.attached.iter();
        let attached = attached.map(|attached| &attached.object);
        let done = attached.chain(&self.checkpoints.creating);
        let full = |object| JobStatus { total: Some(0), ..status(object, JobState::Running) };
        jobs.extend(done.map(full));
        let waiting =
            self.jobs.waiting().filter(|object| !self.hydrations.contains_key(&object.id));
        jobs.extend(waiting.map(|object| status(object, JobState::Queued)));
        jobs.extend(self.jobs.failed.iter().cloned());
        jobs.sort_by_key(|job| job.id);
        jobs
    }

    /// True if a job has this name.
    pub(super) fn is_job(&self, name: &str) -> bool {
        self.hydrations.values().any(|hydration| hydration.name == name)
            || self.jobs.waiting().any(|object| object.name == name)
            || self.checkpoints.attached.iter().any(|attached| attached.object.name == name)
    }

    /// The jobs that need an object.
    pub(super) fn jobs_over(&self, id: ObjectId) -> Vec<ObjectId> {
        let running = self.hydrations.iter().filter(|(_, h)| h.needs().any(|below| below == id));
        let waiting = self.jobs.waiting().filter(|object| needs(object).any(|below| below == id));
        running.map(|(view, _)| *view).chain(waiting.map(|object| object.id)).collect()
    }

    /// Begins what waits, as far as there is room. What nobody waits for any more is given up.
    pub(super) fn admit(&mut self, now: i64) {
        if self.recovering() || self.stopping {
            return;
        }
        let left = |queued: &Queued| queued.reply.as_ref().is_some_and(Reply::is_closed);
        let left = self.jobs.queue.iter().filter(|queued| left(queued));
        for job in left.map(|queued| queued.new.object.id).collect::<Vec<_>>() {
            self.give_up(job);
        }
        while !self.disk.is_full() && self.has_room(now) {
            let Some(Queued { new, reply }) = self.jobs.queue.pop_front() else { return };
            self.jobs.started_at = now;
            let view = new.object.id;
            match self.hydrations.remove(&view) {
                Some(hydration) => self.resume(hydration, new),
                None => self.begin_job(new, reply),
            }
        }
    }

    fn has_room(&self, now: i64) -> bool {
        // One whose source cannot be reached takes nothing, for as long as that lasts.
        let reads = |h: &&super::hydrate::Hydration| h.is_admitted() && !h.is_cut_off();
        let running = self.hydrations.values().filter(reads).count();
        let memory = self.resident < self.shared.config.memory_limit / 10 * 7;
        match running {
            0 => true,
            1 => memory && !self.under_pressure() && self.shared.config.jobs > 1,
            _ => {
                running < self.shared.config.jobs
                    && memory
                    && !self.under_pressure()
                    && now.saturating_sub(self.jobs.started_at) >= START_EVERY_US
            }
        }
    }

    /// A job has failed or was given up: it is forgotten, and then who waits for it hears why.
    pub(super) fn end_job(&mut self, object: &Object, reply: Option<Reply>, report: Report) {
        let given_up = report.code == SqlState::QUERY_CANCELED;
        if reply.is_none() && !given_up {
            tracing::error!(view = object.name, %report, "a view could not be filled");
            self.jobs.failed.push(status(object, JobState::Failed(report.to_string())));
            let over = self.jobs.failed.len().saturating_sub(FAILED_KEPT);
            self.jobs.failed.drain(..over);
        }
        let replies = reply.map(|reply| (reply, Err(report))).into_iter().collect();
        self.jobs.endings.push(Ending { view: object.id, replies });
        self.last_post_at = 0;
    }

    /// CANCEL JOB.
    pub(super) fn cancel_job(&mut self, job: ObjectId, reply: Reply) {
        if self.give_up(job) {
            let replies = vec![(reply, Ok(()))];
            self.jobs.endings.push(Ending { view: job, replies });
            return;
        }
        let message = format!("job {job} does not exist");
        let report = Report::new(SqlState::UNDEFINED_OBJECT, message);
        let report = report.hint("SHOW JOBS lists the views that are being filled.");
        // A client that has gone needs no answer.
        drop(reply.send(Err(report)));
    }

    /// Ends a job, if it is one: nothing of its view is left.
    pub(super) fn give_up(&mut self, job: ObjectId) -> bool {
        let is = |object: &Object| object.id == job;
        if let Some(at) = self.jobs.failed.iter().position(|failed| failed.id == job) {
            self.jobs.failed.remove(at);
            return true;
        }
        if let Some(at) = self.jobs.connecting.iter().position(is) {
            let object = self.jobs.connecting.remove(at);
            self.end_job(&object, None, cancelled());
            return true;
        }
        let queued = self.jobs.queue.iter().position(|queued| is(&queued.new.object));
        let queued = queued.and_then(|at| self.jobs.queue.remove(at));
        if self.hydrations.contains_key(&job) {
            self.abort_hydration(job, cancelled());
            return true;
        }
        let attached = self.checkpoints.attached.iter().position(|attached| attached.view == job);
        if let Some(at) = attached {
            let attached = self.checkpoints.attached.remove(at);
            self.unpublish(job);
            self.end_job(&attached.object, attached.reply, cancelled());
            return true;
        }
        match queued {
            Some(Queued { new, reply }) => {
                self.end_job(&new.object, reply, cancelled());
                true
            }
            None => false,
        }
    }

    /// Commits the ends of jobs, with the tables that they leave. No commit is under way.
    pub(super) fn commit_endings(&mut self) -> Result<(), ServerError> {
        let mut ops = Vec::new();
        let mut then = Then::default();
        for Ending { view, replies } in std::mem::take(&mut self.jobs.endings) {
            ops.extend(forget(view));
            then.answers.extend(replies);
        }
        let tables = std::mem::take(&mut self.checkpoints.orphans);
        self.commit_catalog(ops, tables, then)
    }

    /// True if [`Coordinator::commit_endings`] has something to do.
    pub(super) fn has_endings(&self) -> bool {
        !self.jobs.endings.is_empty()
    }

    /// The server ends: jobs go on when it is started again, but their sessions hear no more of them.
    pub(super) fn leave_jobs(&mut self) {
        let queued = self.jobs.queue.iter_mut().filter_map(|queued| queued.reply.take());
        let running =
            self.hydrations.values_mut().filter_map(super::hydrate::Hydration::take_reply);
        for reply in queued.chain(running) {
            let report = super::shutting_down();
            let report = report.detail("The view goes on being filled when the server is started.");
            // A client that has gone needs no answer.
            drop(reply.send(Err(report.hint("CANCEL JOB gives it up."))));
        }
    }
}

/// Of a job that reads nothing now.
fn status(object: &Object, state: JobState) -> JobStatus {
    let (id, view, kind) = (object.id, object.name.clone(), object.object_kind());
    let (needs, owner) = (needs(object).collect(), object.access.owner);
    JobStatus { id, view, owner, kind, state, read: 0, total: None, kept: 0, needs }
}

/// What a statement is told whose job was given up.
pub(super) fn cancelled() -> Report {
    Report::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}
