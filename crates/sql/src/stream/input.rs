//! What the planner must know of the tables that a view reads.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::TableSource;
use millrace_plan::{LeafKind, Meta, Watermark};
use millrace_types::{OFFSET_COLUMN, ObjectId, PARTITION_COLUMN};

use crate::binder::CatalogTable;
use crate::catalog::{Kind, Object};

/// A source or a materialized view, as an input of another view.
#[derive(Clone, Debug)]
pub struct InputInfo {
    /// What it is.
    pub kind: LeafKind,
    /// All columns, hidden ones too, in the order in which plans count them.
    pub schema: SchemaRef,
    /// The columns that identify a row.
    pub key: Vec<usize>,
    /// True if no row is ever retracted.
    pub append_only: bool,
    /// The columns bounded by a watermark; the first of an append-only input is its event time.
    pub watermarks: Vec<Watermark>,
}

impl InputInfo {
    /// An object of the catalog; None for a view, which is a macro.
    pub fn of(object: &Object) -> Option<InputInfo> {
        match &object.kind {
            Kind::Source(source) => {
                let event_time = source.watermark.map(|watermark| watermark.column);
                Some(InputInfo::source(object.id, source.full_schema(), event_time))
            }
            Kind::MaterializedView(view) => Some(InputInfo::view(object.id, view.plan.root.meta())),
            Kind::Table(table) => Some(InputInfo::view(object.id, table.stored.plan.root.meta())),
            Kind::View(_) | Kind::Index(_) | Kind::Sink(_) => None,
        }
    }

    /// A source with all its columns; `event_time` is the column of `WATERMARK FOR`.
    pub fn source(id: ObjectId, schema: SchemaRef, event_time: Option<usize>) -> InputInfo {
        let origin = [PARTITION_COLUMN, OFFSET_COLUMN];
        let key = origin.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        // Rows below the watermark do not come any more: one microsecond less than it.
        let watermark = |column| Watermark { column, shift: 1, sources: vec![id] };
        let watermarks = event_time.map(watermark).into_iter().collect();
        InputInfo { kind: LeafKind::Source(id), schema, key, append_only: true, watermarks }
    }

    /// A materialized view, by what its plan says of the root.
    pub fn view(id: ObjectId, root: &Meta) -> InputInfo {
        InputInfo {
            kind: LeafKind::View(id),
            schema: Arc::clone(&root.schema),
            key: root.key.clone(),
            append_only: root.append_only,
            watermarks: root.watermarks.clone(),
        }
    }
}

/// The object that a scan reads; None for a table that is not of our catalog.
pub(super) fn object_of(source: &dyn TableSource) -> Option<ObjectId> {
    source.downcast_ref::<CatalogTable>().map(|table| table.object)
}
