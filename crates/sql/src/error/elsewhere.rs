//! Names that other databases give to functions, columns, tables and types, and what to write here. They
//! are unknown here as any other name; only the hint tells more.

/// Names, in lower case, and the hint for them.
type Names = (&'static [&'static str], &'static str);

const FUNCTIONS: &[Names] = &[
    (&["getdate", "sysdatetime", "sysdate", "systimestamp"], "Write now()."),
    (&["getutcdate", "sysutcdatetime", "utc_timestamp"], "Write now() AT TIME ZONE 'UTC'."),
    (&["curdate", "today"], "Write current_date."),
    (&["curtime"], "Write now()::time."),
    (&["mz_now"], "Write now()."),
    (&["unix_timestamp", "tounixtimestamp"], "Write extract(epoch FROM time)."),
    (&["from_unixtime"], "Write to_timestamp(seconds)."),
    (&["str_to_date", "todate", "todatetime"], "Write to_timestamp(text, 'template'), or a cast."),
    (&["date_add", "dateadd", "adddate"], "Write time + INTERVAL '1 day'."),
    (&["date_sub", "subdate"], "Write time - INTERVAL '1 day'."),
    (
        &["datediff", "timestampdiff"],
        "Write the difference of two times, extract(epoch FROM a - b).",
    ),
    (&["add_months"], "Write time + INTERVAL '1 month'."),
    (&["group_concat", "listagg", "wm_concat"], "Write string_agg(value, ', ')."),
    (&["collect_list", "collect_set", "grouparray"], "Write array_agg(value)."),
    (&["if", "iif", "decode"], "Write CASE WHEN condition THEN value ELSE other END."),
    (&["isnull"], "Write coalesce(value, other)."),
    (&["len", "datalength"], "Write length(value), or octet_length(value)."),
    (&["charindex", "instr", "locate"], "Write strpos(text, part)."),
    (&["ucase"], "Write upper(value)."),
    (&["lcase"], "Write lower(value)."),
    (&["to_number", "toint32", "toint64"], "Write a cast: value::numeric."),
    (&["rand"], "Write random()."),
    (&["newid", "uuid", "uuid_generate_v4", "sys_guid"], "Write gen_random_uuid()."),
    (&["last_insert_id", "scope_identity"], "Write INSERT ... RETURNING key, or lastval()."),
    (&["found_rows"], "The command tag says how many rows there were."),
    (&["explode", "flatten"], "Write unnest(array) in FROM."),
    (&["argmax", "max_by"], "Write first_value(x ORDER BY y DESC)."),
    (&["argmin", "min_by"], "Write first_value(x ORDER BY y)."),
    (&["countif"], "Write count(*) FILTER (WHERE condition)."),
    (&["sumif"], "Write sum(value) FILTER (WHERE condition)."),
    (
        &["json_extract", "json_value", "get_json_object", "json_query"],
        "Write value -> 'key', or ->>.",
    ),
    (&["tumble", "tumble_start", "tumble_end"], TUMBLE),
    (
        &["hop", "hop_start", "hop_end", "session", "session_start", "session_end", "cumulate"],
        TUMBLE,
    ),
    (&["get_lock"], "Write SELECT pg_advisory_lock(number)."),
    (&["pg_notify"], "Write the row into a table: SUBSCRIBE TO it shows it to others."),
    (&["pg_sleep", "sleep"], "Let the client wait."),
    (
        &["to_tsvector", "to_tsquery", "plainto_tsquery"],
        "Write LIKE, or ~ for regular expressions.",
    ),
];

const COLUMNS: &[Names] = &[
    (&["rownum"], "Write LIMIT count, or row_number() OVER (ORDER BY ...)."),
    (&["rowid", "ctid"], "Name a row by its key."),
    (&["sysdate", "systimestamp", "getdate"], "Write now()."),
];

const RELATIONS: &[Names] = &[
    (&["dual", "sysibm.sysdummy1"], "Leave FROM out: SELECT 1."),
    (&["sqlite_master", "sqlite_schema", "user_tables", "all_tables"], TABLES),
    (&["information_schema.processlist"], "Write pg_stat_activity."),
];

const TYPES: &[Names] = &[
    (&["datetime", "datetime2", "smalldatetime", "timestamp_ntz"], "Use timestamp."),
    (&["datetimeoffset", "timestamp_ltz"], "Use timestamptz."),
    (&["tinyint", "int1", "uint8", "year"], "Use smallint."),
    (&["mediumint", "int32", "uint16"], "Use integer."),
    (&["int64", "uint32", "long", "signed"], "Use bigint."),
    (&["unsigned", "uint64", "number", "bignumeric", "hugeint"], "Use bigint or numeric."),
    (&["float32"], "Use real."),
    (&["float64", "binary_double"], "Use double precision."),
    (&["nvarchar", "nchar", "varchar2", "nvarchar2", "ntext", "clob", "nclob"], "Use text."),
    (&["tinytext", "mediumtext", "longtext", "sysname"], "Use text."),
    (&["enum", "set"], "Use text."),
    (&["blob", "tinyblob", "mediumblob", "longblob", "binary", "varbinary", "bytes"], "Use bytea."),
    (&["image", "raw", "rowversion"], "Use bytea."),
    (&["uniqueidentifier", "guid"], "Use uuid."),
    (&["variant", "object", "map", "super"], "Use jsonb."),
    (&["row"], "Use STRUCT<name type, ...>."),
    (&["geometry", "geography"], "Use double precision for each coordinate."),
];

const TUMBLE: &str = "Write FROM TUMBLE(table, time, INTERVAL '1 minute') GROUP BY window_start; there are HOP, SESSION and CUMULATE, too.";
const TABLES: &str = "Write information_schema.tables.";

fn hint(names: &[Names], name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let found = names.iter().find(|(known, _)| known.contains(&name.as_str()))?;
    Some(found.1)
}

/// What to write for a function of this name.
pub(super) fn function(name: &str) -> Option<&'static str> {
    hint(FUNCTIONS, name)
}

/// What to write for a column of this name.
pub(super) fn column(name: &str) -> Option<&'static str> {
    hint(COLUMNS, name)
}

/// What to write for a table of this name.
pub(crate) fn relation(name: &str) -> Option<&'static str> {
    hint(RELATIONS, name)
}

/// What to write for a type; its name may have more words behind it.
pub(crate) fn data_type(name: &str) -> Option<&'static str> {
    let words = name.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut hints = words.filter(|word| !word.is_empty()).filter_map(|word| hint(TYPES, word));
    hints.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_types_with_their_lengths() {
        assert_eq!(function("GETDATE"), Some("Write now()."));
        assert_eq!(data_type("NVARCHAR(10)"), Some("Use text."));
        assert_eq!(data_type("INT UNSIGNED"), Some("Use bigint or numeric."));
        assert_eq!((relation("t"), column("id")), (None, None));
    }
}
