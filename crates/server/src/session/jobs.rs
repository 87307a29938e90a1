//! Statements that fill a view: how far they are, and CANCEL JOB.

use std::time::Duration;

use millrace_types::{ObjectId, Report, SqlState};
use tokio::time::Instant;

use super::ddl::shutting_down;
use super::{Conn, Sessions};
use crate::coordinator::{Reply, Request};
use crate::shared::{JobState, JobStatus};

/// A statement that takes longer tells how far it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often what the coordinator posts is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The shortest time between two notices.
const NOTICE_EVERY: Duration = Duration::from_secs(2);
/// The longest time without one.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Per cent between two notices.
const NOTICE_STEP: i64 = 10;

impl Sessions {
    /// What is being filled.
    pub(crate) fn jobs(&self) -> Vec<JobStatus> {
        self.shared.board.lock().jobs.clone()
    }
}

impl Conn {
    /// Asks for a view and waits until it is filled. The client is told how far it is; when the
    /// client goes or cancels, this is dropped, and the coordinator gives the view up.
    pub(super) async fn until_filled(
        &self,
        name: &str,
        request: impl FnOnce(Reply) -> Request,
    ) -> Result<(), Report> {
        let mut answer = self.send(request)?;
        let (begun, mut told) = (Instant::now(), Told::default());
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(|_| shutting_down())?,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if begun.elapsed() >= PATIENCE {
                self.tell(name, &mut told);
            }
        }
    }

    /// The job that fills what will have a name.
    pub(super) fn job(&self, name: &str) -> Option<JobStatus> {
        let is_under_way = |job: &JobStatus| !matches!(job.state, JobState::Failed(_));
        let board = self.shared.board.lock();
        board.jobs.iter().find(|job| job.view == name && is_under_way(job)).cloned()
    }

    /// Waits until no job has a name: what it fills is there, or will not be.
    pub(super) async fn until_ended(&self, name: &str) {
        while self.job(name).is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A notice on how far a job is, if it is time for one.
    fn tell(&self, name: &str, told: &mut Told) {
        let jobs = self.shared.board.lock().jobs.clone();
        let Some(job) = jobs.iter().find(|job| job.view == name) else { return };
        let (percent, now) = (job.percent(), Instant::now());
        if let Some((at, before, word)) = told.last {
            let moved = percent >= before.map(|before| before + NOTICE_STEP);
            let moved = (moved && percent != before) || word != job.word();
            let rested = now.duration_since(at);
            if rested < NOTICE_EVERY || !(moved || rested >= SILENCE_MAX) {
                return;
            }
        }
        told.last = Some((now, percent, job.word()));
        let least = self.settings.lock().get("client_min_messages").unwrap_or_default();
        if matches!(least.as_str(), "warning" | "error") {
            return;
        }
        // Nobody listens any more when the connection has ended.
        let notice = Report::new(SqlState::SUCCESSFUL_COMPLETION, progress(job));
        self.news.send(notice).unwrap_or_default();
    }

    /// CANCEL JOB.
    pub(super) async fn cancel_job(&self, job: ObjectId) -> Result<(), Report> {
        self.ask(|reply| Request::CancelJob(job, reply)).await
    }
}

/// When the last notice went out, at what per cent and state.
#[derive(Default)]
struct Told {
    last: Option<(Instant, Option<i64>, &'static str)>,
}

fn progress(job: &JobStatus) -> String {
    let JobStatus { id, view, read, .. } = job;
    match job.state {
        JobState::Queued => format!("\"{view}\" waits for other views to be filled (job {id})"),
        JobState::Running | JobState::Failed(_) => match (job.percent(), job.total) {
            (Some(percent), Some(total)) => {
                format!(
                    "\"{view}\" is filled to {percent}%: {read} of {total} rows read (job {id})"
                )
            }
            _ => format!("\"{view}\" begins to be filled (job {id})"),
        },
    }
}
