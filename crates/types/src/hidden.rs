//! Hidden columns: kept with a row so that every stream has a key, never shown by `SELECT *`.

/// The source partition that a row came from, `Int32`, never NULL.
pub const PARTITION_COLUMN: &str = "_partition";
/// The row's offset in its partition, `Int64`, never NULL.
pub const OFFSET_COLUMN: &str = "_offset";

/// Where messages change rows: this one takes its key's row away, `Boolean`, never NULL.
pub const DELETED_COLUMN: &str = "_deleted";

/// True for a column that the planner added and that users do not see.
///
/// User columns may not begin with an underscore followed by one of these words; the binder
/// refuses them.
pub fn is_hidden(name: &str) -> bool {
    [PARTITION_COLUMN, OFFSET_COLUMN, DELETED_COLUMN].contains(&name) || name.starts_with("_key_")
}
