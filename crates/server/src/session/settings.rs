//! Settings of a session: what SET, SHOW and RESET know.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_types::{Report, SqlState};
use parking_lot::{Mutex, MutexGuard};

/// How a setting may be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By anybody, to anything.
    Text,
    /// By anybody, to one of a list, folded.
    OneOf(&'static [&'static str]),
    /// By anybody, on or off.
    Switch,
    /// By anybody, a length of time, in milliseconds if it has no unit; 0 for none.
    Duration,
    /// Only shown.
    Fixed,
}

/// Name as PostgreSQL spells it, default, kind.
const SETTINGS: &[(&str, &str, Kind)] = &[
    ("application_name", "", Kind::Text),
    ("background_ddl", "off", Kind::Switch),
    ("bytea_output", "hex", Kind::OneOf(&["hex"])),
    ("client_encoding", "UTF8", Kind::OneOf(&["utf8", "unicode", "utf-8"])),
    ("client_min_messages", "notice", Kind::Text),
    ("DateStyle", "ISO, MDY", Kind::Text),
    ("default_table_access_method", "heap", Kind::OneOf(&["heap"])),
    ("default_transaction_isolation", "read committed", Kind::Text),
    ("default_transaction_read_only", "off", Kind::Switch),
    ("extra_float_digits", "1", Kind::Text),
    ("idle_in_transaction_session_timeout", "0", Kind::Duration),
    ("integer_datetimes", "on", Kind::Fixed),
    ("IntervalStyle", "postgres", Kind::OneOf(&["postgres"])),
    ("is_superuser", "on", Kind::Fixed),
    ("jit", "off", Kind::Text),
    ("lock_timeout", "0", Kind::Duration),
    ("max_identifier_length", "63", Kind::Fixed),
    ("max_index_keys", "32", Kind::Fixed),
    ("role", "none", Kind::Text),
    ("row_security", "on", Kind::Text),
    ("search_path", "\"$user\", public", Kind::Text),
    ("server_encoding", "UTF8", Kind::Fixed),
    ("server_version", "16.6 (Millrace 0.1.0)", Kind::Fixed),
    ("server_version_num", "160006", Kind::Fixed),
    ("session_authorization", "root", Kind::Fixed),
    ("standard_conforming_strings", "on", Kind::OneOf(&["on", "true", "1"])),
    ("statement_timeout", "0", Kind::Duration),
    ("superuser_reserved_connections", "3", Kind::Fixed),
    ("synchronous_commit", "on", Kind::Text),
    ("TimeZone", "UTC", Kind::OneOf(&["utc", "gmt", "etc/utc", "z", "+00:00", "0", "default"])),
    ("transaction_isolation", "read committed", Kind::Text),
    ("transaction_read_only", "off", Kind::Switch),
    ("view_errors", "error", Kind::OneOf(&["error", "warn"])),
];

/// Whether the transaction under way only reads.
const READ_ONLY: &str = "transaction_read_only";
/// Whether a transaction only reads of which nothing else is said.
const DEFAULT_READ_ONLY: &str = "default_transaction_read_only";

/// The settings that a session has changed.
///
/// A transaction that is rolled back takes its changes along, and its end those that were LOCAL.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionSettings {
    changed: BTreeMap<&'static str, String>,
    /// What the client asked for when it came in: RESET goes back to it.
    initial: BTreeMap<&'static str, String>,
    transaction: Option<Begun>,
    /// The user's name, and whether they are a superuser.
    identity: Option<(String, bool)>,
}

/// What a transaction has to put back.
#[derive(Clone, Debug)]
struct Begun {
    /// The settings before it.
    before: BTreeMap<&'static str, String>,
    /// What settings that were changed for it alone are after it.
    after: BTreeMap<&'static str, Option<String>>,
    /// It has read or changed something.
    used: bool,
}

/// The settings of one session, which its statements and the functions in them share.
#[derive(Debug, Default)]
pub(super) struct SharedSettings(Mutex<SessionSettings>);

impl SharedSettings {
    /// The settings, to look at or change.
    pub(super) fn lock(&self) -> MutexGuard<'_, SessionSettings> {
        self.0.lock()
    }
}

impl millrace_pg::catalog::Settings for SharedSettings {
    fn get(&self, name: &str) -> Option<String> {
        self.lock().get(name).ok()
    }

    fn all(&self) -> Vec<(String, String, String)> {
        let settings = self.lock();
        let row = |(name, start, _): &(&'static str, &str, Kind)| {
            ((*name).to_owned(), settings.value(name, start), (*start).to_owned())
        };
        SETTINGS.iter().map(row).collect()
    }

    fn set(&self, name: &str, value: &str) -> Result<(), Report> {
        self.lock().set(name, &[value.to_owned()])
    }
}

fn find(name: &str) -> Result<&'static (&'static str, &'static str, Kind), Report> {
    let canonical = match name.to_ascii_lowercase().as_str() {
        "timezone" | "time zone" => "TimeZone".to_owned(),
        "names" => "client_encoding".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        other => other.to_owned(),
    };
    let known = SETTINGS.iter().find(|(n, ..)| n.eq_ignore_ascii_case(&canonical));
    let message = || format!("unrecognized configuration parameter \"{name}\"");
    known.ok_or_else(|| Report::new(SqlState::UNDEFINED_OBJECT, message()))
}

/// A Boolean as PostgreSQL's settings take it.
fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some(true),
        "off" | "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A length of time as PostgreSQL's settings take it.
fn duration(value: &str) -> Option<Duration> {
    match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => crate::config::duration(&format!("{value}ms")).ok(),
        false => crate::config::duration(value).ok(),
    }
}

impl SessionSettings {
    /// The value of a setting.
    ///
    /// # Errors
    /// An unknown name.
    pub(super) fn get(&self, name: &str) -> Result<String, Report> {
        let (name, default, _) = find(name)?;
        Ok(self.value(name, default))
    }

    fn value(&self, name: &'static str, default: &str) -> String {
        match (name, &self.identity) {
            ("session_authorization", Some((user, _))) => return user.clone(),
            ("is_superuser", Some((_, superuser))) => {
                return if *superuser { "on" } else { "off" }.to_owned();
            }
            _ => {}
        }
        match self.changed.get(name).or_else(|| self.initial.get(name)) {
            Some(value) => value.clone(),
            None if name == READ_ONLY => self.value(DEFAULT_READ_ONLY, default),
            None => default.to_owned(),
        }
    }

    /// What has been set so far is what the session begins with.
    pub(super) fn settle(&mut self) {
        self.initial = std::mem::take(&mut self.changed);
    }

    /// Whose settings these are.
    pub(super) fn identify(&mut self, user: String, superuser: bool) {
        self.identity = Some((user, superuser));
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        if self.transaction.is_none() {
            let (before, after) = (self.changed.clone(), BTreeMap::new());
            self.transaction = Some(Begun { before, after, used: false });
            let default = self.value(DEFAULT_READ_ONLY, "off");
            self.changed.insert(READ_ONLY, default);
        }
    }

    /// The transaction, if there is one, has ended.
    pub(super) fn end(&mut self, committed: bool) {
        let Some(begun) = self.transaction.take() else { return };
        if !committed {
            self.changed = begun.before;
        }
        for (name, value) in begun.after {
            match value {
                Some(value) => drop(self.changed.insert(name, value)),
                None => drop(self.changed.remove(name)),
            }
        }
        self.changed.remove(READ_ONLY);
    }

    /// The transaction reads or changes something.
    pub(super) fn used(&mut self) {
        if let Some(begun) = &mut self.transaction {
            begun.used = true;
        }
    }

    /// True if nothing may be changed now.
    pub(super) fn is_read_only(&self) -> bool {
        self.value(READ_ONLY, "off") == "on"
    }

    /// Changes a setting until the transaction ends.
    ///
    /// # Errors
    /// As for [`SessionSettings::set`].
    pub(super) fn set_local(&mut self, name: &str, values: &[String]) -> Result<(), Report> {
        if name.contains('.') {
            return Ok(());
        }
        let known = find(name)?.0;
        let before = self.changed.get(known).cloned();
        self.set(name, values)?;
        if let Some(begun) = &mut self.transaction {
            begun.after.entry(known).or_insert(before);
        }
        Ok(())
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// An unknown name, one that cannot be changed, or a value that it does not take.
    pub(super) fn set(&mut self, name: &str, values: &[String]) -> Result<(), Report> {
        // Extensions and drivers set names of their own, with a dot: they are kept nowhere.
        if name.contains('.') {
            return Ok(());
        }
        let (name, default, kind) = find(name)?;
        let value = values.join(", ");
        if let Some(begun) = &mut self.transaction {
            begun.after.remove(name);
        }
        match kind {
            Kind::Text => drop(self.changed.insert(name, value)),
            Kind::Duration => {
                duration(&value).ok_or_else(|| {
                    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
                    Report::new(SqlState::INVALID_PARAMETER_VALUE, message).hint(
                        "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\" and \"h\".",
                    )
                })?;
                self.changed.insert(name, value);
            }
            Kind::Switch => {
                let on = switch(&value).ok_or_else(|| {
                    let message = format!("parameter \"{name}\" requires a Boolean value");
                    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
                })?;
                if *name == READ_ONLY && !self.changes_mode(on)? {
                    return Ok(());
                }
                self.changed.insert(name, if on { "on" } else { "off" }.to_owned());
            }
            Kind::OneOf(list) if list.contains(&value.to_ascii_lowercase().as_str()) => {
                if *name == "view_errors" {
                    self.changed.insert(name, value.to_ascii_lowercase());
                }
            }
            Kind::OneOf(_) | Kind::Fixed if value.eq_ignore_ascii_case(default) => {}
            Kind::OneOf(list) => {
                let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
                return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
                    .hint(format!("Available values: {}.", list.join(", "))));
            }
            Kind::Fixed => {
                let message = format!("parameter \"{name}\" cannot be changed");
                return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
        }
        Ok(())
    }

    /// True if there is a transaction whose mode a statement changes.
    ///
    /// # Errors
    /// It has begun to read, and would begin to write.
    fn changes_mode(&self, read_only: bool) -> Result<bool, Report> {
        let Some(begun) = &self.transaction else { return Ok(false) };
        if begun.used && !read_only && self.is_read_only() {
            let message = "transaction read-write mode must be set before any query";
            return Err(Report::new(SqlState::ACTIVE_SQL_TRANSACTION, message));
        }
        Ok(true)
    }

    /// Takes a change back; None takes all back.
    ///
    /// # Errors
    /// An unknown name.
    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<(), Report> {
        match name {
            Some(name) => drop(self.changed.remove(find(name)?.0)),
            // As in PostgreSQL a role stays.
            None => self.changed.retain(|name, _| matches!(*name, READ_ONLY | "role")),
        }
        Ok(())
    }

    /// A setting that is a length of time; None for none.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let value = self.get(name).ok()?;
        duration(&value).filter(|length| !length.is_zero())
    }

    /// Every setting with its value, by name.
    pub(super) fn all(&self) -> Vec<(&'static str, String)> {
        let value =
            |(name, default, _): &(&'static str, &str, Kind)| (*name, self.value(name, default));
        SETTINGS.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_change_and_go_back() {
        let mut settings = SessionSettings::default();
        settings.set("Application_Name", &["psql".into()]).unwrap();
        assert_eq!(settings.get("application_name").unwrap(), "psql");
        settings.reset(Some("application_name")).unwrap();
        assert_eq!(settings.get("application_name").unwrap(), "");
        settings.set("time zone", &["UTC".into()]).unwrap();
    }

    #[test]
    fn a_transaction_puts_back_what_it_set_for_itself_and_all_if_it_fails() {
        let mut settings = SessionSettings::default();
        let get = |settings: &SessionSettings, name| settings.get(name).unwrap();
        settings.set("application_name", &["before".into()]).unwrap();
        settings.begin();
        settings.set_local("application_name", &["local".into()]).unwrap();
        settings.set("statement_timeout", &["5s".into()]).unwrap();
        assert_eq!(get(&settings, "application_name"), "local");
        settings.end(true);
        assert_eq!(get(&settings, "application_name"), "before");
        assert_eq!(get(&settings, "statement_timeout"), "5s");
        settings.begin();
        settings.set("application_name", &["gone".into()]).unwrap();
        settings.set("transaction_read_only", &["on".into()]).unwrap();
        assert!(settings.is_read_only());
        settings.end(false);
        assert_eq!(get(&settings, "application_name"), "before");
        assert!(!settings.is_read_only());
    }

    #[test]
    fn a_transaction_that_has_begun_to_read_does_not_begin_to_write() {
        let mut settings = SessionSettings::default();
        settings.set("default_transaction_read_only", &["on".into()]).unwrap();
        assert!(settings.is_read_only());
        settings.begin();
        settings.set("transaction_read_only", &["off".into()]).unwrap();
        assert!(!settings.is_read_only());
        settings.set("transaction_read_only", &["on".into()]).unwrap();
        settings.used();
        let refused = settings.set("transaction_read_only", &["off".into()]).unwrap_err();
        assert_eq!(refused.code, SqlState::ACTIVE_SQL_TRANSACTION);
        settings.end(true);
        // Outside a transaction there is none to set.
        settings.set("default_transaction_read_only", &["off".into()]).unwrap();
        settings.set("transaction_read_only", &["on".into()]).unwrap();
        assert!(!settings.is_read_only());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let mut settings = SessionSettings::default();
        let code = |result: Result<(), Report>| result.unwrap_err().code;
        assert_eq!(code(settings.set("no_such", &[])), SqlState::UNDEFINED_OBJECT);
        let zone = settings.set("timezone", &["Europe/Helsinki".into()]);
        assert_eq!(code(zone), SqlState::INVALID_PARAMETER_VALUE);
        let version = settings.set("server_version", &["9".into()]);
        assert_eq!(code(version), SqlState::FEATURE_NOT_SUPPORTED);
        settings.set("view_errors", &["WARN".into()]).unwrap();
        assert_eq!(settings.get("view_errors").unwrap(), "warn");
    }
}
