//! Hidden columns: kept with a row so that every stream has a key, never shown by `SELECT *`.

/// The source partition that a row came from, `Int32`, never NULL.
pub const PARTITION_COLUMN: &str = "_partition";
/// The row's offset in its partition, `Int64`, never NULL.
pub const OFFSET_COLUMN: &str = "_offset";

/// True for a column that the planner added and that users do not see.
///
/// User columns may not begin with an underscore followed by one of these words; the binder
/// refuses them.
pub fn is_hidden(name: &str) -> bool {
    name == PARTITION_COLUMN || name == OFFSET_COLUMN || name.starts_with("_key_")
}
