//! The relations that clients' catalog queries list.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use millrace_pg::catalog::{Relation, RelationKind, Relations};
use millrace_sql::{Catalog, Kind, Object};

use super::change::quoted;
use crate::serving::{SYSTEM_SCHEMA, system_names, system_table};
use crate::shared::Shared;

/// Numbers of users' relations begin here, as in PostgreSQL.
const FIRST_USER_OID: u32 = 16_384;
/// Numbers of the server's own tables begin here.
const FIRST_SYSTEM_OID: u32 = 15_000;

/// Everything in the catalog, and the schema `millrace`.
pub(super) struct CatalogRelations(pub(super) Arc<Shared>);

impl fmt::Debug for CatalogRelations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogRelations").finish_non_exhaustive()
    }
}

impl Relations for CatalogRelations {
    fn relations(&self) -> Vec<Relation> {
        let catalog = self.0.catalog();
        let mut all: Vec<Relation> = catalog
            .objects()
            .filter(|object| !matches!(object.kind, Kind::Sink(_)))
            .map(|object| Relation {
                oid: FIRST_USER_OID + object.id.0,
                schema: "public".into(),
                name: object.name.clone(),
                kind: match object.kind {
                    Kind::Source(_) => RelationKind::Source,
                    Kind::Table(_) => RelationKind::Table,
                    Kind::View(_) => RelationKind::View,
                    Kind::MaterializedView(_) => RelationKind::MaterializedView,
                    Kind::Index(_) => RelationKind::Index,
                    // They are filtered out above.
                    Kind::Sink(_) => RelationKind::Table,
                },
                columns: match &object.kind {
                    Kind::Index(index) => Arc::new(
                        object
                            .full_schema()
                            .project(&index.columns)
                            .unwrap_or_else(|_| Schema::empty()),
                    ),
                    _ => object.visible_schema(),
                },
                definition: definition(&catalog, object),
                index: index_of(&object.kind),
            })
            .collect();
        for (oid, name) in (FIRST_SYSTEM_OID..).zip(system_names()) {
            // A table that cannot be read now is left out of the list.
            if let Ok(Some(table)) = system_table(&self.0, name) {
                all.push(Relation {
                    oid,
                    schema: SYSTEM_SCHEMA.into(),
                    name: (*name).into(),
                    kind: RelationKind::Table,
                    columns: table.schema(),
                    definition: None,
                    index: None,
                });
            }
        }
        all
    }
}

/// What an index is on, and its columns there.
fn index_of(kind: &Kind) -> Option<(u32, Vec<i16>)> {
    let Kind::Index(index) = kind else { return None };
    let columns = index.columns.iter().map(|column| i16::try_from(column + 1).unwrap_or_default());
    Some((FIRST_USER_OID + index.on.0, columns.collect()))
}

/// The query of a view, or the statement of an index as PostgreSQL writes it.
fn definition(catalog: &Catalog, object: &Object) -> Option<String> {
    match &object.kind {
        Kind::Source(_) | Kind::Table(_) | Kind::Sink(_) => None,
        Kind::View(view) => Some(view.query_text.clone()),
        Kind::MaterializedView(_) => {
            let lower = object.sql.to_ascii_lowercase();
            let at = lower.find("select").or_else(|| lower.find("with"));
            at.and_then(|at| object.sql.get(at..)).map(str::to_owned)
        }
        Kind::Index(index) => {
            let schema = object.full_schema();
            let columns = index.columns.iter().map(|column| written(schema.field(*column).name()));
            let columns = columns.collect::<Vec<_>>().join(", ");
            let (name, on) = (written(&object.name), written(&catalog.get(index.on)?.name));
            Some(format!("CREATE INDEX {name} ON public.{on} USING btree ({columns})"))
        }
    }
}

/// A name as it is written in a statement, with quotes where it needs them.
fn written(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let first = |c: char| plain(c) && !c.is_ascii_digit();
    match name.starts_with(first) && name.chars().all(plain) {
        true => name.to_owned(),
        false => quoted(name),
    }
}
