//! `pg_catalog` and `information_schema`: what clients ask to find out what there is.
//!
//! Three parts: 1. what describes this database is SQL ([`tables`], [`information_schema`]) over lists that
//! are read anew by every query ([`live`]) and come from [`Relations`]; 2. what describes PostgreSQL itself
//! (types, functions, operators) is datafusion-pg-catalog's ([`statics`]); 3. what a session knows of itself
//! is made for it ([`Catalog::table`]). Queries on them go the way of all queries; only what stands in them
//! that no other query has is written out before ([`rewrite`]).
//!
//! Invariants: 1. the number of an object is the same in every session and after a restart, because it
//! comes with the object. 2. numbers are unsigned in Arrow, and nothing else is: so they are `oid` on the wire.

mod activity;
mod advisory;
mod constraints;
mod describe;
mod emptied;
mod functions;
mod grants;
mod information_schema;
mod known;
mod live;
mod model;
mod named;
mod own;
mod planned;
mod privileges;
mod properties;
mod rewrite;
mod sequences;
mod signals;
mod sleep;
mod statics;
mod subqueries;
mod tables;
mod zones;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::Result as DfResult;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;

pub use advisory::AdvisoryLocks;
use functions::Shared;
pub use functions::{Client, Settings};
use known::Known;
pub use model::{
    Activity, ColumnMore, Comment, ConstraintKind, ConstraintOf, CursorRow, IndexOf, Lock, On,
    PreparedRow, Relation, RelationKind, Relations, Role, Sequence, SessionLists, Signal,
};
pub use named::class_oid;
pub use rewrite::rewrite;
use statics::Statics;

/// The schema that users' relations are in.
pub const PUBLIC: &str = "public";
/// The owner of the database and its schemas.
const OWNER: &str = "root";
/// The schemas that are made here.
const OURS: [&str; 2] = ["pg_catalog", "information_schema"];

/// Tables by their names.
type Tables = BTreeMap<String, Arc<dyn TableProvider>>;

/// The catalog schemas, shared by all sessions.
#[derive(Debug)]
pub struct Catalog {
    shared: Arc<Shared>,
    pg_catalog: Tables,
    information_schema: Tables,
}

impl Catalog {
    /// Makes the schemas over what there is in one database.
    ///
    /// # Errors
    /// The tables that come with datafusion-pg-catalog cannot be read.
    pub async fn new(database: &str, relations: Arc<dyn Relations>) -> DfResult<Catalog> {
        let Statics { tables: statics, functions } = statics::read_all(database).await?;
        let batch = |name: &str| {
            let missing = || DataFusionError::Internal(format!("no table {name}"));
            statics.get(name).ok_or_else(missing)
        };
        let known = Known::new(batch("pg_type")?, batch("pg_proc")?)?;
        let shared = Arc::new(Shared::new(relations, known, functions));
        let all: Arc<dyn Relations> = Arc::clone(&shared) as Arc<dyn Relations>;
        let planned = planned::tables(database, &all, &statics).await?;
        let (mut pg_catalog, information_schema) = planned;
        for (name, batch) in statics {
            if let Entry::Vacant(vacant) = pg_catalog.entry(name) {
                vacant.insert(in_memory(batch)?);
            }
        }
        pg_catalog.insert("pg_timezone_names".into(), in_memory(zones::names()?)?);
        let settings = in_memory(settings(&Vec::new())?)?;
        pg_catalog.insert("pg_settings".into(), settings);
        let activity = in_memory(activity::table(shared.as_ref(), None)?)?;
        pg_catalog.insert("pg_stat_activity".into(), activity);
        let prepared = in_memory(own::prepared(&[])?)?;
        pg_catalog.insert("pg_prepared_statements".into(), prepared);
        pg_catalog.insert("pg_cursors".into(), in_memory(own::cursors(&[])?)?);
        shared.set_system(&pg_catalog, &information_schema);
        Ok(Catalog { shared, pg_catalog, information_schema })
    }

    /// A table of the catalog for one session; without a schema one of `pg_catalog`.
    ///
    /// # Errors
    /// What cannot be made into a table.
    pub fn table(
        &self,
        schema: Option<&str>,
        name: &str,
        client: &Client,
    ) -> DfResult<Option<Arc<dyn TableProvider>>> {
        match schema {
            None | Some("pg_catalog") if name == "pg_settings" => {
                in_memory(settings(&client.settings.all())?).map(Some)
            }
            None | Some("pg_catalog") if name == "pg_stat_activity" => {
                in_memory(activity::table(self.shared.as_ref(), Some(client))?).map(Some)
            }
            None | Some("pg_catalog") if name == "pg_prepared_statements" => {
                in_memory(own::prepared(&client.lists.prepared())?).map(Some)
            }
            None | Some("pg_catalog") if name == "pg_cursors" => {
                in_memory(own::cursors(&client.lists.cursors())?).map(Some)
            }
            None | Some("pg_catalog") => Ok(self.pg_catalog.get(name).cloned()),
            Some("information_schema") => Ok(self.information_schema.get(name).cloned()),
            Some(_) => Ok(None),
        }
    }

    /// The functions on the session, the system and the catalog that any query may call.
    pub fn functions(&self, client: &Client) -> Vec<ScalarUDF> {
        functions::all(client, &self.shared)
    }
}

fn in_memory(batch: RecordBatch) -> DfResult<Arc<dyn TableProvider>> {
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

/// The columns of `pg_settings`.
const SETTING_COLUMNS: [&str; 15] = [
    "name",
    "setting",
    "unit",
    "category",
    "short_desc",
    "extra_desc",
    "context",
    "vartype",
    "source",
    "min_val",
    "max_val",
    "enumvals",
    "boot_val",
    "reset_val",
    "sourcefile",
];

/// `pg_settings` of a session: name, value and the value at the start of each.
fn settings(all: &[(String, String, String)]) -> DfResult<RecordBatch> {
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for column in SETTING_COLUMNS {
        let value = |(name, value, start): &(String, String, String)| match column {
            "name" => Some(name.clone()),
            "setting" => Some(value.clone()),
            "boot_val" | "reset_val" => Some(start.clone()),
            "category" => Some("Millrace".to_owned()),
            "context" => Some("user".to_owned()),
            "vartype" => {
                Some(if matches!(start.as_str(), "on" | "off") { "bool" } else { "string" }.into())
            }
            "source" => Some(if value == start { "default" } else { "session" }.into()),
            _ => None,
        };
        fields.push(Field::new(column, DataType::Utf8, true));
        arrays.push(Arc::new(all.iter().map(value).collect::<StringArray>()));
    }
    fields.push(Field::new("sourceline", DataType::Int32, true));
    arrays.push(arrow::array::new_null_array(&DataType::Int32, all.len()));
    fields.push(Field::new("pending_restart", DataType::Boolean, true));
    arrays.push(Arc::new(arrow::array::BooleanArray::from(vec![false; all.len()])));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
