//! Tables that plans scan: those of the catalog, and whoever else knows some.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::logical_expr::TableSource;
use millrace_types::ObjectId;

use crate::ast::ObjectKind;
use crate::catalog::{Catalog, Kind};
use crate::names::{SYSTEM_SCHEMA, of_server};

/// Finds what a name in FROM means, views apart.
pub trait TableLookup {
    /// The table of a name: one part for a user's object, `schema.name` for a system table. Its
    /// schema has the hidden columns too; the binder hides them.
    fn table(&self, reference: &TableReference) -> Option<Arc<dyn TableSource>>;
}

/// A source or materialized view as the input of a maintained view. It cannot be executed.
#[derive(Clone, Debug)]
pub struct CatalogTable {
    /// The object.
    pub object: ObjectId,
    /// What it is.
    pub kind: ObjectKind,
    /// All its columns, hidden ones too.
    pub schema: SchemaRef,
    /// `FOR SYSTEM_TIME AS OF PROCTIME()`: the rows of a join are looked up in it.
    pub looked_up: bool,
}

impl TableSource for CatalogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The catalog as the tables of maintained views.
pub struct CatalogTables<'a>(pub &'a Catalog);

impl TableLookup for CatalogTables<'_> {
    fn table(&self, reference: &TableReference) -> Option<Arc<dyn TableSource>> {
        let object = match reference {
            TableReference::Bare { table } => self.0.find(table)?,
            TableReference::Partial { schema, table } if &**schema == SYSTEM_SCHEMA => {
                self.0.find(&of_server(table))?
            }
            _ => return None,
        };
        match object.kind {
            Kind::View(_) | Kind::Index(_) | Kind::Sink(_) => None,
            Kind::Source(_) | Kind::Table(_) | Kind::MaterializedView(_) => {
                Some(Arc::new(CatalogTable {
                    object: object.id,
                    kind: object.object_kind(),
                    schema: object.full_schema(),
                    looked_up: false,
                }))
            }
        }
    }
}
