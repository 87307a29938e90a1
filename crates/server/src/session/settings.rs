//! Settings of a session: what SET, SHOW and RESET know.

mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_types::input::Zone;
use millrace_types::{Report, SqlState};
use parking_lot::{Mutex, MutexGuard};

use known::{SETTINGS, Setting, checked, duration, find, is_own, unknown};

/// Whether the transaction under way only reads.
const READ_ONLY: &str = "transaction_read_only";
/// Whether a transaction only reads of which nothing else is said.
const DEFAULT_READ_ONLY: &str = "default_transaction_read_only";
/// The isolation level of the transaction under way.
const ISOLATION: &str = "transaction_isolation";
/// That of a transaction of which nothing else is said.
const DEFAULT_ISOLATION: &str = "default_transaction_isolation";

/// Values by name.
type Values = BTreeMap<String, String>;

/// The settings that a session has changed.
///
/// A transaction that is rolled back takes its changes along, and its end those that were LOCAL.
#[derive(Clone, Debug, Default)]
pub(super) struct SessionSettings {
    changed: Values,
    /// What the client asked for when it came in: RESET goes back to it.
    initial: Values,
    /// Names with a dot that were set once: they stay, empty if nothing else.
    own: BTreeSet<String>,
    transaction: Option<Begun>,
    /// The user's name, and whether they are a superuser.
    identity: Option<(String, bool)>,
    /// How many clients there may be.
    connections_max: usize,
}

/// What a transaction has to put back.
#[derive(Clone, Debug)]
struct Begun {
    /// The settings before it.
    before: Values,
    /// What settings that were changed for it alone are after it.
    after: BTreeMap<String, Option<String>>,
    /// It has read or changed something.
    used: bool,
}

/// The settings as they were at a savepoint.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptSettings {
    changed: Values,
    after: BTreeMap<String, Option<String>>,
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
        let row = |(name, start, _): &Setting| {
            ((*name).to_owned(), settings.value(name, start), (*start).to_owned())
        };
        SETTINGS.iter().map(row).collect()
    }

    fn set(&self, name: &str, value: &str, local: bool) -> Result<(), Report> {
        let (mut settings, values) = (self.lock(), [value.to_owned()]);
        match local {
            // Outside a transaction it ends with the statement.
            true if settings.transaction.is_none() => canonical(name).map(drop),
            true => settings.set_local(name, &values),
            false => settings.set(name, &values),
        }
    }
}

/// The name as PostgreSQL spells it; a name with a dot is anybody's.
fn canonical(name: &str) -> Result<String, Report> {
    match is_own(name) {
        true => Ok(name.to_ascii_lowercase()),
        false => find(name).map(|(name, ..)| (*name).to_owned()),
    }
}

impl SessionSettings {
    /// The value of a setting.
    ///
    /// # Errors
    /// An unknown name.
    pub(super) fn get(&self, name: &str) -> Result<String, Report> {
        if is_own(name) {
            let own = name.to_ascii_lowercase();
            return match self.own.contains(&own) {
                true => Ok(self.value(&own, "")),
                false => Err(unknown(name)),
            };
        }
        let (name, default, _) = find(name)?;
        Ok(self.value(name, default))
    }

    /// The name of a setting as it is shown.
    pub(super) fn spelled(name: &str) -> String {
        canonical(name).unwrap_or_else(|_| name.to_owned())
    }

    fn value(&self, name: &str, default: &str) -> String {
        match (name, &self.identity) {
            ("session_authorization", Some((user, _))) => return user.clone(),
            ("is_superuser", Some((_, superuser))) => {
                return if *superuser { "on" } else { "off" }.to_owned();
            }
            (ISOLATION, _) => return self.isolation(),
            ("max_connections", _) => return self.connections_max.to_string(),
            _ => {}
        }
        match self.changed.get(name).or_else(|| self.initial.get(name)) {
            Some(value) => value.clone(),
            None if name == READ_ONLY => self.value(DEFAULT_READ_ONLY, default),
            None => default.to_owned(),
        }
    }

    /// The isolation level that holds: a transaction that only reads has any, as all of it reads one epoch.
    fn isolation(&self) -> String {
        let wanted = match self.changed.get(ISOLATION) {
            Some(wanted) => wanted.clone(),
            None => self.value(DEFAULT_ISOLATION, "read committed"),
        };
        match self.is_read_only() || wanted.starts_with("read ") {
            true => wanted,
            false => "read committed".to_owned(),
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

    /// How many clients there may be.
    pub(super) fn limit(&mut self, connections_max: usize) {
        self.connections_max = connections_max;
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        if self.transaction.is_none() {
            let (before, after) = (self.changed.clone(), BTreeMap::new());
            self.transaction = Some(Begun { before, after, used: false });
            let default = self.value(DEFAULT_READ_ONLY, "off");
            self.changed.insert(READ_ONLY.to_owned(), default);
        }
    }

    /// The transaction, if there is one, has ended.
    pub(super) fn end(&mut self, committed: bool) {
        let Some(begun) = self.transaction.take() else { return };
        if !committed {
            self.changed = begun.before;
        }
        for (name, value) in begun.after.into_iter().filter(|_| committed) {
            match value {
                Some(value) => drop(self.changed.insert(name, value)),
                None => drop(self.changed.remove(&name)),
            }
        }
        self.changed.remove(READ_ONLY);
        self.changed.remove(ISOLATION);
    }

    /// What a savepoint keeps.
    pub(super) fn kept(&self) -> KeptSettings {
        let after = self.transaction.as_ref().map(|begun| begun.after.clone());
        KeptSettings { changed: self.changed.clone(), after: after.unwrap_or_default() }
    }

    /// Back to a savepoint.
    pub(super) fn back_to(&mut self, kept: KeptSettings) {
        self.changed = kept.changed;
        if let Some(begun) = &mut self.transaction {
            begun.after = kept.after;
        }
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
        let known = canonical(name)?;
        // What it is after the transaction has been known since it became LOCAL.
        let after = self.transaction.as_ref().and_then(|begun| begun.after.get(&known).cloned());
        let after = after.unwrap_or_else(|| self.changed.get(&known).cloned());
        self.set(name, values)?;
        if let Some(begun) = &mut self.transaction {
            begun.after.insert(known, after);
        }
        Ok(())
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// An unknown name, one that cannot be changed, or a value that it does not take.
    pub(super) fn set(&mut self, name: &str, values: &[String]) -> Result<(), Report> {
        let (name, value) = (canonical(name)?, values.join(", "));
        if let Some(begun) = &mut self.transaction {
            begun.after.remove(&name);
        }
        if is_own(&name) {
            self.own.insert(name.clone());
            self.changed.insert(name, value);
            return Ok(());
        }
        let Some(value) = checked(find(&name)?, &value)? else { return Ok(()) };
        let holds = match name.as_str() {
            READ_ONLY => self.changes_mode(value == "on")?,
            ISOLATION => self.transaction.is_some(),
            _ => true,
        };
        if holds {
            self.changed.insert(name, value);
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
        let wanted = name.map(canonical).transpose()?;
        // As in PostgreSQL a role stays.
        let stays = |name: &String| match &wanted {
            Some(wanted) => name != wanted,
            None => matches!(name.as_str(), READ_ONLY | ISOLATION | "role"),
        };
        self.changed.retain(|name, _| stays(name));
        if let Some(begun) = &mut self.transaction {
            begun.after.retain(|name, _| stays(name));
        }
        Ok(())
    }

    /// A setting that is a length of time; None for none.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let value = self.get(name).ok()?;
        duration(&value).filter(|length| !length.is_zero())
    }

    /// The zone of the session's clock.
    pub(super) fn zone(&self) -> Zone {
        self.get("TimeZone").ok().and_then(|name| Zone::of(&name).ok()).unwrap_or_default()
    }

    /// Every setting with its value, by name.
    pub(super) fn all(&self) -> Vec<(&'static str, String)> {
        let value = |(name, default, _): &Setting| (*name, self.value(name, default));
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
        settings.set_local("application_name", &["local again".into()]).unwrap();
        settings.end(true);
        assert_eq!(get(&settings, "application_name"), "before");
        assert_eq!(get(&settings, "statement_timeout"), "5s");
        settings.begin();
        settings.set_local("statement_timeout", &["6s".into()]).unwrap();
        settings.reset(Some("statement_timeout")).unwrap();
        settings.end(true);
        assert_eq!(get(&settings, "statement_timeout"), "0");
        settings.set("statement_timeout", &["5s".into()]).unwrap();
        settings.begin();
        settings.set("application_name", &["gone".into()]).unwrap();
        settings.set_local("application_name", &["local".into()]).unwrap();
        settings.end(false);
        assert_eq!(get(&settings, "application_name"), "before");
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
    fn a_name_with_a_dot_is_kept_and_stays_known() {
        let mut settings = SessionSettings::default();
        assert_eq!(settings.get("my.x").unwrap_err().code, SqlState::UNDEFINED_OBJECT);
        settings.set("my.x", &["before".into()]).unwrap();
        settings.begin();
        settings.set_local("My.X", &["local".into()]).unwrap();
        let kept = settings.kept();
        settings.set("my.x", &["later".into()]).unwrap();
        settings.back_to(kept);
        assert_eq!(settings.get("MY.x").unwrap(), "local");
        settings.end(true);
        assert_eq!(settings.get("my.x").unwrap(), "before");
        settings.reset(Some("my.x")).unwrap();
        assert_eq!(settings.get("my.x").unwrap(), "");
    }

    #[test]
    fn the_isolation_that_is_shown_is_the_one_that_holds() {
        let mut settings = SessionSettings::default();
        settings.set("default_transaction_isolation", &["Serializable".into()]).unwrap();
        assert_eq!(settings.get("transaction_isolation").unwrap(), "read committed");
        settings.begin();
        settings.set("transaction_read_only", &["on".into()]).unwrap();
        assert_eq!(settings.get("transaction_isolation").unwrap(), "serializable");
        settings.set("transaction_isolation", &["repeatable read".into()]).unwrap();
        assert_eq!(settings.get("transaction_isolation").unwrap(), "repeatable read");
        settings.end(true);
        assert_eq!(settings.get("transaction_isolation").unwrap(), "read committed");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let mut settings = SessionSettings::default();
        let code = |result: Result<(), Report>| result.unwrap_err().code;
        assert_eq!(code(settings.set("no_such", &[])), SqlState::UNDEFINED_OBJECT);
        let date = |settings: &mut SessionSettings, style: &str| {
            settings.set("datestyle", &[style.to_owned()]).map_err(|report| report.code)
        };
        assert_eq!(date(&mut settings, "nonsense"), Err(SqlState::INVALID_PARAMETER_VALUE));
        assert_eq!(date(&mut settings, "SQL, DMY"), Err(SqlState::INVALID_PARAMETER_VALUE));
        assert_eq!(date(&mut settings, "iso,MDY"), Ok(()));
        settings.set("timezone", &["europe/helsinki".into()]).unwrap();
        assert_eq!(settings.get("TimeZone").unwrap(), "Europe/Helsinki");
        assert_eq!(settings.zone(), Zone::of("Europe/Helsinki").unwrap());
        let zone = settings.set("timezone", &["Nowhere/Else".into()]);
        assert_eq!(code(zone), SqlState::INVALID_PARAMETER_VALUE);
        let version = settings.set("server_version", &["9".into()]);
        assert_eq!(code(version), SqlState::FEATURE_NOT_SUPPORTED);
        settings.set("view_errors", &["WARN".into()]).unwrap();
        assert_eq!(settings.get("view_errors").unwrap(), "warn");
    }
}
