//! The settings there are, and what they take.

use std::time::Duration;

use millrace_types::input::Zone;
use millrace_types::{Report, SqlState};

/// How a setting may be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By anybody, to anything.
    Text,
    /// By anybody, to one of a list, in any case: all of them mean the default.
    OneOf(&'static [&'static str]),
    /// By anybody, to one of a list, which is kept.
    Choice(&'static [&'static str]),
    /// By anybody, on or off.
    Switch,
    /// By anybody, a length of time, in milliseconds if it has no unit; 0 for none.
    Duration,
    /// By anybody, an amount of memory.
    Memory,
    /// How dates are written: only as they are.
    DateStyle,
    /// By anybody, a time zone.
    Zone,
    /// Only shown.
    Fixed,
}

/// The locale that there is, and others whose messages are the same.
const LOCALES: Kind =
    Kind::OneOf(&["c.utf-8", "c.utf8", "c", "posix", "en_us.utf-8", "en_us.utf8", ""]);
/// The isolation levels.
const LEVELS: Kind =
    Kind::Choice(&["read committed", "read uncommitted", "repeatable read", "serializable"]);
/// A length of time that does not end anything.
const ENDLESS: Kind = Kind::OneOf(&["0", "0s", "0ms", "0min"]);

/// Name as PostgreSQL spells it, default, kind.
pub(super) type Setting = (&'static str, &'static str, Kind);

/// All but those that clients name themselves.
pub(super) const SETTINGS: &[Setting] = &[
    ("application_name", "", Kind::Text),
    ("background_ddl", "off", Kind::Switch),
    ("block_size", "8192", Kind::Fixed),
    ("bytea_output", "hex", Kind::OneOf(&["hex"])),
    ("check_function_bodies", "on", Kind::Switch),
    ("client_connection_check_interval", "0", ENDLESS),
    ("client_encoding", "UTF8", Kind::OneOf(&["utf8", "unicode"])),
    ("client_min_messages", "notice", Kind::Text),
    ("DateStyle", "ISO, MDY", Kind::DateStyle),
    ("default_table_access_method", "heap", Kind::OneOf(&["heap"])),
    ("default_tablespace", "", Kind::OneOf(&["", "pg_default"])),
    ("default_transaction_deferrable", "off", Kind::Switch),
    ("default_transaction_isolation", "read committed", LEVELS),
    ("default_transaction_read_only", "off", Kind::Switch),
    ("enable_bitmapscan", "on", Kind::Switch),
    ("enable_hashagg", "on", Kind::Switch),
    ("enable_hashjoin", "on", Kind::Switch),
    ("enable_indexonlyscan", "on", Kind::Switch),
    ("enable_indexscan", "on", Kind::Switch),
    ("enable_material", "on", Kind::Switch),
    ("enable_mergejoin", "on", Kind::Switch),
    ("enable_nestloop", "on", Kind::Switch),
    ("enable_seqscan", "on", Kind::Switch),
    ("enable_sort", "on", Kind::Switch),
    ("escape_string_warning", "on", Kind::Switch),
    ("extra_float_digits", "1", Kind::Text),
    ("geqo", "on", Kind::Switch),
    ("idle_in_transaction_session_timeout", "0", Kind::Duration),
    ("idle_session_timeout", "0", ENDLESS),
    ("in_hot_standby", "off", Kind::Fixed),
    ("integer_datetimes", "on", Kind::Fixed),
    ("IntervalStyle", "postgres", Kind::OneOf(&["postgres"])),
    ("is_superuser", "on", Kind::Fixed),
    ("jit", "off", Kind::Text),
    ("lc_collate", "C.UTF-8", Kind::Fixed),
    ("lc_ctype", "C.UTF-8", Kind::Fixed),
    ("lc_messages", "C.UTF-8", LOCALES),
    ("lc_monetary", "C.UTF-8", LOCALES),
    ("lc_numeric", "C.UTF-8", LOCALES),
    ("lc_time", "C.UTF-8", LOCALES),
    ("lock_timeout", "0", Kind::Duration),
    ("maintenance_work_mem", "64MB", Kind::Memory),
    ("max_connections", "1000", Kind::Fixed),
    ("max_identifier_length", "63", Kind::Fixed),
    ("max_index_keys", "32", Kind::Fixed),
    ("password_encryption", "scram-sha-256", Kind::OneOf(&["scram-sha-256", "on"])),
    ("plan_cache_mode", "auto", Kind::Choice(&["auto", "force_generic_plan", "force_custom_plan"])),
    ("quote_all_identifiers", "off", Kind::Switch),
    ("role", "none", Kind::Text),
    ("row_security", "on", Kind::Text),
    ("scram_iterations", "4096", Kind::Fixed),
    ("search_path", "\"$user\", public", Kind::Text),
    ("server_encoding", "UTF8", Kind::Fixed),
    ("server_version", "16.6 (Millrace 0.1.0)", Kind::Fixed),
    ("server_version_num", "160006", Kind::Fixed),
    ("session_authorization", "root", Kind::Fixed),
    ("standard_conforming_strings", "on", Kind::OneOf(&["on", "true", "1"])),
    ("statement_timeout", "0", Kind::Duration),
    ("superuser_reserved_connections", "3", Kind::Fixed),
    ("synchronize_seqscans", "on", Kind::Switch),
    ("synchronous_commit", "on", Kind::Text),
    ("TimeZone", "UTC", Kind::Zone),
    ("transaction_deferrable", "off", Kind::Switch),
    ("transaction_isolation", "read committed", LEVELS),
    ("transaction_read_only", "off", Kind::Switch),
    ("view_errors", "error", Kind::Choice(&["error", "warn"])),
    ("work_mem", "4MB", Kind::Memory),
    ("xmloption", "content", Kind::Choice(&["content", "document"])),
];

/// One that clients name themselves has a dot.
pub(super) fn is_own(name: &str) -> bool {
    name.contains('.')
}

/// The setting of a name.
///
/// # Errors
/// There is none.
pub(super) fn find(name: &str) -> Result<&'static Setting, Report> {
    let canonical = match name.to_ascii_lowercase().as_str() {
        "timezone" | "time zone" => "TimeZone".to_owned(),
        "names" => "client_encoding".to_owned(),
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        other => other.to_owned(),
    };
    let known = SETTINGS.iter().find(|(n, ..)| n.eq_ignore_ascii_case(&canonical));
    known.ok_or_else(|| unknown(name))
}

pub(super) fn unknown(name: &str) -> Report {
    let message = format!("unrecognized configuration parameter \"{name}\"");
    Report::new(SqlState::UNDEFINED_OBJECT, message)
}

fn invalid(name: &str, value: &str) -> Report {
    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
    Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// What is kept of a value; None if it is the only one there is.
///
/// # Errors
/// The setting does not take it.
pub(super) fn checked(setting: &Setting, value: &str) -> Result<Option<String>, Report> {
    let (name, default, kind) = setting;
    let mut folded = value.to_ascii_lowercase();
    // Drivers write it with hyphens and in quotes.
    if *name == "client_encoding" {
        folded.retain(|letter| letter.is_ascii_alphanumeric());
    }
    match kind {
        Kind::Text => Ok(Some(value.to_owned())),
        Kind::Switch => switch(value).map(|on| Some(on.to_owned())).ok_or_else(|| {
            let message = format!("parameter \"{name}\" requires a Boolean value");
            Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
        }),
        Kind::Duration if duration(value).is_some() => Ok(Some(value.to_owned())),
        Kind::Duration => Err(invalid(name, value)
            .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\" and \"h\".")),
        Kind::Memory if is_memory(value) => Ok(Some(value.to_owned())),
        Kind::Memory => Err(invalid(name, value)
            .hint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\" and \"TB\".")),
        Kind::DateStyle => date_style(name, value).map(|()| None),
        Kind::Zone => match Zone::setting(value) {
            Some(zone) => Ok(Some(zone)),
            None => Err(invalid(name, value)
                .hint("SELECT name FROM pg_timezone_names lists the time zones.")),
        },
        Kind::Choice(list) if list.contains(&folded.as_str()) => Ok(Some(folded)),
        Kind::OneOf(list) if list.contains(&folded.as_str()) => Ok(None),
        Kind::OneOf(_) | Kind::Fixed if value.eq_ignore_ascii_case(default) => Ok(None),
        Kind::OneOf(list) | Kind::Choice(list) => {
            Err(invalid(name, value).hint(format!("Available values: {}.", list.join(", "))))
        }
        Kind::Fixed => {
            let message = format!("parameter \"{name}\" cannot be changed");
            Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message))
        }
    }
}

/// A Boolean as PostgreSQL's settings take it.
fn switch(value: &str) -> Option<&'static str> {
    match value.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" | "1" => Some("on"),
        "off" | "false" | "no" | "0" => Some("off"),
        _ => None,
    }
}

/// A length of time as PostgreSQL's settings take it.
pub(super) fn duration(value: &str) -> Option<Duration> {
    match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => crate::config::duration(&format!("{value}ms")).ok(),
        false => crate::config::duration(value).ok(),
    }
}

/// True for an amount of memory as PostgreSQL's settings take it.
fn is_memory(value: &str) -> bool {
    let unit = value.trim_start_matches(|digit: char| digit.is_ascii_digit());
    unit.len() < value.len() && matches!(unit.trim(), "" | "B" | "kB" | "MB" | "GB" | "TB")
}

/// Takes the style that there is, and nothing that would have dates read or written otherwise.
fn date_style(name: &str, value: &str) -> Result<(), Report> {
    let words = value.split([',', ' ']).filter(|word| !word.is_empty());
    for word in words {
        match word.to_ascii_lowercase().as_str() {
            "iso" | "mdy" | "us" | "noneuro" | "noneuropean" | "default" => {}
            "sql" | "postgres" | "german" | "dmy" | "euro" | "european" | "ymd" => {
                return Err(invalid(name, value)
                    .detail(format!("\"{word}\" is not supported yet."))
                    .hint("Dates are written and read as \"ISO, MDY\" says."));
            }
            _ => {
                let detail = format!("Unrecognized key word: \"{word}\".");
                return Err(invalid(name, value).detail(detail));
            }
        }
    }
    Ok(())
}
