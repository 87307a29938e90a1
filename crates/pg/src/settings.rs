//! PostgreSQL's settings that clients ask for, with the value for where the session has none.

/// The settings that a client is told at the start and whenever they change (GUC_REPORT).
pub(crate) const REPORTED: [(&str, &str); 14] = [
    ("server_version", concat!("16.6 (Millrace ", env!("CARGO_PKG_VERSION"), ")")),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("default_transaction_read_only", "off"),
    ("in_hot_standby", "off"),
    ("is_superuser", "on"),
    ("session_authorization", ""),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("scram_iterations", "4096"),
];

/// Others that drivers and tools read.
const OTHERS: [(&str, &str); 19] = [
    ("server_version_num", "160006"),
    ("search_path", "\"$user\", public"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("client_min_messages", "notice"),
    ("transaction_isolation", "read committed"),
    ("default_transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("max_connections", "1000"),
    ("superuser_reserved_connections", "3"),
    ("lc_collate", "C.UTF-8"),
    ("lc_ctype", "C.UTF-8"),
    ("jit", "off"),
    ("escape_string_warning", "on"),
];

/// PostgreSQL's default for a setting, by name in any case; None for a setting that clients do not
/// ask for.
pub fn default_setting(name: &str) -> Option<&'static str> {
    REPORTED
        .iter()
        .chain(&OTHERS)
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

/// What `version()` gives; clients look for the word and the number.
pub(crate) fn version() -> String {
    format!("PostgreSQL {}", default_setting("server_version").unwrap_or_default())
}
