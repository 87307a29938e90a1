//! The relations that clients' catalog queries list.

use std::fmt;
use std::sync::Arc;

use millrace_pg::catalog::{Relation, RelationKind, Relations};
use millrace_sql::Kind;

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
            .map(|object| Relation {
                oid: FIRST_USER_OID + object.id.0,
                schema: "public".into(),
                name: object.name.clone(),
                kind: match object.kind {
                    Kind::Source(_) => RelationKind::Source,
                    Kind::Table(_) => RelationKind::Table,
                    Kind::View(_) => RelationKind::View,
                    Kind::MaterializedView(_) => RelationKind::MaterializedView,
                },
                columns: object.visible_schema(),
                definition: definition(&object.kind, &object.sql),
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
                });
            }
        }
        all
    }
}

/// The query of a view.
fn definition(kind: &Kind, sql: &str) -> Option<String> {
    match kind {
        Kind::Source(_) | Kind::Table(_) => None,
        Kind::View(view) => Some(view.query_text.clone()),
        Kind::MaterializedView(_) => {
            let lower = sql.to_ascii_lowercase();
            let at = lower.find("select").or_else(|| lower.find("with"));
            at.and_then(|at| sql.get(at..)).map(str::to_owned)
        }
    }
}
