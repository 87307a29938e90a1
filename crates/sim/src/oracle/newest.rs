//! A table that a topic fills: the newest row of each key of the source, or none if that deletes it.
//!
//! It has no query: what it holds is told here epoch by epoch, as the topic's reader would say it.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use millrace_plan::{Meta, Node, Upsert, ViewPlan};
use millrace_types::{OFFSET_COLUMN, PARTITION_COLUMN};

use super::data;
use super::sql::{SOURCE, Sql};

/// The table's name.
pub(super) const NEWEST: &str = "k";
/// The column that is its key, NULL among its values.
const KEY: usize = 1;
/// The column of the source that says whether a row deletes its key.
const DELETES: &str = "f";

/// The plan of the table.
pub(super) fn plan(sql: &Sql) -> ViewPlan {
    let columns: Vec<&str> = data::columns().iter().map(|(name, _)| *name).collect();
    let shown = columns.join(", ");
    let text = format!("SELECT {shown}, coalesce({DELETES}, false) AS deleted FROM {SOURCE}");
    let input = sql.plan(&text, 0).expect("a projection of the source").root;
    let from = input.meta();
    let [partition, offset, ..] = from.key.as_slice() else { panic!("key {:?}", from.key) };
    let fields = from.schema.fields().iter().take(columns.len()).cloned();
    let schema: SchemaRef =
        SchemaRef::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    let meta = Meta { schema, key: vec![KEY], append_only: false, watermarks: Vec::new() };
    let upsert = Upsert {
        key: vec![KEY],
        deleted: Some(from.schema.index_of("deleted").expect("it was asked for")),
        origin: (*partition, *offset),
        meta,
        input,
    };
    ViewPlan { root: Node::Upsert(Box::new(upsert)), sort: vec![KEY], retention: None }
}

/// Where a message stands, and its row if it does not delete.
type Message = ((i64, i32), Option<RecordBatch>);

/// What the table holds.
pub(super) struct Newest {
    schema: SchemaRef,
    rows: BTreeMap<Option<i32>, RecordBatch>,
}

impl Newest {
    /// Without rows; `source` is the full schema of the source.
    pub(super) fn new(source: &SchemaRef) -> Newest {
        let shown: Vec<usize> = (0..data::columns().len()).collect();
        let schema = SchemaRef::new(source.project(&shown).expect("the first columns"));
        Newest { schema, rows: BTreeMap::new() }
    }

    /// Takes the rows of an epoch.
    pub(super) fn epoch(&mut self, partitions: &[RecordBatch]) {
        let mut newest: BTreeMap<Option<i32>, Message> = BTreeMap::new();
        for rows in partitions {
            let column = |name: &str| rows.column_by_name(name).expect("a column of the source");
            let keys = rows.column(KEY).as_primitive::<Int32Type>();
            let deletes = column(DELETES).as_boolean();
            let partitions = column(PARTITION_COLUMN).as_primitive::<Int32Type>();
            let offsets = column(OFFSET_COLUMN).as_primitive::<Int64Type>();
            for row in 0..rows.num_rows() {
                let key = keys.is_valid(row).then(|| keys.value(row));
                let at = (offsets.value(row), partitions.value(row));
                let deleted = deletes.is_valid(row) && deletes.value(row);
                let shown = rows.slice(row, 1).columns()[..self.schema.fields().len()].to_vec();
                let shown = RecordBatch::try_new(self.schema.clone(), shown).expect("its columns");
                if newest.get(&key).is_none_or(|(before, _)| *before < at) {
                    newest.insert(key, (at, (!deleted).then_some(shown)));
                }
            }
        }
        for (key, (_, row)) in newest {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }

    /// All rows.
    pub(super) fn held(&self) -> RecordBatch {
        concat_batches(&self.schema, self.rows.values()).expect("rows of one schema")
    }
}
