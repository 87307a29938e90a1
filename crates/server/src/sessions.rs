//! The sessions that are open and what they do, for `pg_stat_activity`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_pg::catalog::{Activity, Signal};
use millrace_pg::session::Ender;
use millrace_sql::RoleId;
use parking_lot::Mutex;

use crate::shared::Shared;

/// Bytes of a statement that are shown, as PostgreSQL's default is.
const QUERY_BYTES_MAX: usize = 1024;

/// All sessions.
#[derive(Default)]
pub struct Sessions {
    /// When the server began, microseconds since 1970.
    pub began: i64,
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Entry>>,
}

/// One of them.
struct Entry {
    process: i32,
    /// None until the client is known.
    ender: Option<Ender>,
    role: RoleId,
    application: String,
    address: IpAddr,
    began: i64,
    query_began: Option<i64>,
    changed: i64,
    state: &'static str,
    query: String,
}

impl Sessions {
    /// None yet, on a server that begins now.
    pub fn new(began: i64) -> Sessions {
        Sessions { began, ..Sessions::default() }
    }

    /// Ends what a session runs, or the session; false if there is none with this number.
    pub fn signal(&self, process: i32, signal: Signal) -> bool {
        let open = self.open.lock();
        let mut enders = open.values().filter(|entry| entry.process == process);
        let Some(ender) = enders.find_map(|entry| entry.ender.as_ref()) else { return false };
        match signal {
            Signal::Cancel => ender.cancel(),
            Signal::Terminate => ender.terminate(),
        }
        true
    }

    /// All of them; `role` gives the number and the name of a role.
    pub fn read(&self, role: impl Fn(RoleId) -> (u32, String)) -> Vec<Activity> {
        let open = self.open.lock();
        let activity = |entry: &Entry| {
            let (number, name) = role(entry.role);
            Activity {
                process: entry.process,
                role: number,
                role_name: name,
                application: entry.application.clone(),
                address: Some(entry.address.to_string()),
                began: entry.began,
                query_began: entry.query_began,
                changed: entry.changed,
                state: entry.state.to_owned(),
                query: entry.query.clone(),
            }
        };
        open.values().map(activity).collect()
    }
}

/// A session's place in the list, given back when it is dropped.
pub struct OpenSession {
    shared: Arc<Shared>,
    id: u64,
}

impl OpenSession {
    /// A session begins.
    pub fn open(shared: &Arc<Shared>, role: RoleId, address: IpAddr) -> OpenSession {
        let now = shared.clock.now();
        let id = shared.sessions.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            process: 0,
            ender: None,
            role,
            application: String::new(),
            address,
            began: now,
            query_began: None,
            changed: now,
            state: "idle",
            query: String::new(),
        };
        shared.sessions.open.lock().insert(id, entry);
        OpenSession { shared: Arc::clone(shared), id }
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.shared.sessions.open.lock().get_mut(&self.id) {
            change(entry);
        }
    }

    /// The client was told this number.
    pub fn known_as(&self, process: i32, ender: Ender) {
        self.change(|entry| (entry.process, entry.ender) = (process, Some(ender)));
    }

    /// A statement begins.
    pub fn begin(&self, query: &str, application: String) {
        let now = self.shared.clock.now();
        let query = shown(query);
        self.change(|entry| {
            (entry.state, entry.query, entry.application) = ("active", query, application);
            (entry.query_began, entry.changed) = (Some(now), now);
        });
    }

    /// The client has its answer.
    pub fn rest(&self, state: &'static str) {
        let now = self.shared.clock.now();
        self.change(|entry| {
            if entry.state != state {
                (entry.state, entry.changed) = (state, now);
            }
        });
    }
}

/// As much of a statement as is shown: passwords and secrets are nobody's to read.
fn shown(query: &str) -> String {
    let begin = cut(query).to_ascii_uppercase();
    let first = begin.split_whitespace().next().unwrap_or_default();
    if begin.contains("PASSWORD") || begin.contains("SECRET") {
        return format!("{first} ...");
    }
    // A comment may follow at once.
    match first.starts_with("CREATE") || first.starts_with("ALTER") {
        true => cut(&millrace_sql::masked(query)).to_owned(),
        false => cut(query).to_owned(),
    }
}

fn cut(query: &str) -> &str {
    &query[..query.floor_char_boundary(QUERY_BYTES_MAX)]
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.shared.sessions.open.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_show_no_passwords_and_no_secrets() {
        for (query, wanted) in [
            ("CREATE USER a PASSWORD 'x'", "CREATE ..."),
            ("create/**/user a password 'x'", "CREATE/**/USER ..."),
            ("CREATE SECRET s AS 'x'", "CREATE ..."),
            ("SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(shown(query), wanted);
        }
        assert_eq!(shown(&"ä".repeat(2000)).len(), QUERY_BYTES_MAX);
    }
}
