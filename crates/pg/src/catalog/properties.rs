//! What tools ask of indexes and of partitions: `pg_index_column_has_property` and its like,
//! `pg_partition_root`, and sizes as numbers.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ScalarUDF, Volatility};
use millrace_types::{Report, SqlState, input};

use super::functions::{Body, argument, array, constant, function, oids, texts};
use super::model::{Relation, RelationKind, Relations};

/// The lists without elements that `pg_partition_tree` and `pg_partition_ancestors` give the rows of: no
/// relation is a partition, or has some.
pub(super) const PARTITIONS: [(&str, &str); 5] = [
    ("relid", "pg_partition_tree_relid"),
    ("parentrelid", "pg_partition_tree_parentrelid"),
    ("isleaf", "pg_partition_tree_isleaf"),
    ("level", "pg_partition_tree_level"),
    ("relid", "pg_partition_ancestors"),
];

pub(super) fn all(relations: &Arc<dyn Relations>) -> Vec<ScalarUDF> {
    let mut all = vec![
        of_columns(relations),
        of_indexes(relations),
        of_methods(),
        size_bytes(),
        constant("pg_partition_root", ScalarValue::UInt32(None)),
    ];
    all.extend(PARTITIONS.map(|(column, name)| {
        let element = match column {
            "isleaf" => DataType::Boolean,
            "level" => DataType::Int32,
            _ => DataType::UInt32,
        };
        let empty = ScalarValue::List(ScalarValue::new_list_nullable(&[], &element));
        constant(name, empty)
    }));
    all
}

fn index(relations: &[Relation], oid: Option<u32>) -> Option<&Relation> {
    relations.iter().find(|one| Some(one.oid) == oid && one.kind == RelationKind::Index)
}

/// `pg_index_column_has_property(index, column, property)`: all of ours ascend, with NULLs last.
fn of_columns(relations: &Arc<dyn Relations>) -> ScalarUDF {
    let relations = Arc::clone(relations);
    let body: Body = Arc::new(move |args, rows| {
        let relations = relations.relations();
        let columns = argument(args, 1, rows, &DataType::Int64)?;
        let properties = texts(args, 2, rows)?;
        let indexes = oids(args, rows)?.into_iter().zip(columns.as_primitive::<Int64Type>());
        let found = indexes.zip(&properties).map(|((oid, column), property)| {
            let index = index(&relations, oid)?.index.as_ref()?;
            let at = usize::try_from(column? - 1).ok()?;
            index.columns.get(at)?;
            Some(match property?.to_ascii_lowercase().as_str() {
                "asc" | "nulls_last" | "orderable" => true,
                "returnable" | "search_array" | "search_nulls" => true,
                "desc" | "nulls_first" | "distance_orderable" => false,
                _ => return None,
            })
        });
        array(found.collect::<BooleanArray>())
    });
    let name = "pg_index_column_has_property";
    function(name, Volatility::Stable, DataType::Boolean, body)
}

/// `pg_index_has_property(index, property)`
fn of_indexes(relations: &Arc<dyn Relations>) -> ScalarUDF {
    let relations = Arc::clone(relations);
    let body: Body = Arc::new(move |args, rows| {
        let relations = relations.relations();
        let properties = texts(args, 1, rows)?;
        let found = oids(args, rows)?.into_iter().zip(&properties).map(|(oid, property)| {
            index(&relations, oid)?;
            let known = ["clusterable", "index_scan", "bitmap_scan", "backward_scan"];
            known.contains(&property?.to_ascii_lowercase().as_str()).then_some(true)
        });
        array(found.collect::<BooleanArray>())
    });
    function("pg_index_has_property", Volatility::Stable, DataType::Boolean, body)
}

/// `pg_indexam_has_property(method, property)`, of `btree`.
fn of_methods() -> ScalarUDF {
    let body: Body = Arc::new(move |args, rows| {
        let properties = texts(args, 1, rows)?;
        let found = oids(args, rows)?.into_iter().zip(&properties).map(|(oid, property)| {
            let known = ["can_order", "can_unique", "can_multi_col", "can_exclude", "can_include"];
            let is_known = known.contains(&property?.to_ascii_lowercase().as_str());
            (oid == Some(403) && is_known).then_some(true)
        });
        array(found.collect::<BooleanArray>())
    });
    function("pg_indexam_has_property", Volatility::Stable, DataType::Boolean, body)
}

/// `pg_size_bytes('10 MB')`
fn size_bytes() -> ScalarUDF {
    let body: Body = Arc::new(|args, rows| {
        let sizes = texts(args, 0, rows)?;
        let read = sizes.iter().map(|size| size.map(bytes).transpose());
        array(read.collect::<DfResult<Int64Array>>()?)
    });
    function("pg_size_bytes", Volatility::Immutable, DataType::Int64, body)
}

#[allow(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn bytes(text: &str) -> DfResult<i64> {
    const UNITS: [&str; 6] = ["bytes", "kb", "mb", "gb", "tb", "pb"];
    let invalid = || {
        let message = format!("invalid size: \"{text}\"");
        Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
    };
    let external = |report: Report| DataFusionError::External(Box::new(report));
    let trimmed = text.trim();
    let is_digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let length = trimmed.find(|c: char| !is_digit(c)).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(length);
    let number = input::double(number).map_err(|_| external(invalid()))?;
    let unit = unit.trim().to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => Some(0),
        unit => UNITS.iter().position(|known| *known == unit),
    };
    let power = power.and_then(|power| i32::try_from(power).ok()).ok_or_else(|| {
        let hint = "Valid units are \"bytes\", \"B\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".";
        let detail = format!("Invalid size unit: \"{unit}\".");
        external(invalid().detail(detail).hint(hint))
    })?;
    let bytes = (number * 1024f64.powi(power)).round();
    match bytes.abs() < 9.2e18 {
        true => Ok(bytes as i64),
        false => {
            let message = "bigint out of range";
            Err(external(Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)))
        }
    }
}
