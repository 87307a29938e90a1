//! `pg_catalog` and `information_schema`: what clients ask to find out what there is.
//!
//! The tables that describe the user's relations are ours: SQL views ([`tables`]) over two live
//! lists ([`live`]) that come from [`Relations`], so that every session sees the same numbers. The
//! tables that describe PostgreSQL itself (types, functions, operators) are datafusion-pg-catalog's,
//! and so are most of the rules that bring clients' queries into a form that DataFusion plans
//! ([`rewrite`]).
//!
//! Invariants: 1. the number of a relation is the same in every session and after a restart, because
//! it comes with the relation; 2. only catalog queries ([`is_catalog_query`]) go through
//! [`rewrite`], which prints and parses statements anew.

mod functions;
mod live;
mod privileges;
mod rewrite;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableFunction, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::oid_type_planner::PgOidTypePlanner;
use datafusion_pg_catalog::setup_pg_catalog;

pub use functions::{Client, Settings};
pub use rewrite::{is_catalog_query, rewrite};

/// The schema that users' relations are in.
pub const PUBLIC: &str = "public";
/// The owner of the database and its schemas.
const OWNER: &str = "root";

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// A source; clients see a table.
    Source,
    /// A table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// An index.
    Index,
}

/// A relation as clients see it.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its number in `pg_class`, never another's; below 16384 for the system's own.
    pub oid: u32,
    /// `public` or `millrace`.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// The columns that users see.
    pub columns: SchemaRef,
    /// The SELECT of a view, the statement of an index.
    pub definition: Option<String>,
    /// The number of the role that owns it.
    pub owner: u32,
    /// What others may do, an entry each as PostgreSQL writes it; None: nothing was ever granted.
    pub acl: Option<Vec<String>>,
    /// Of an index: the number of what it is on, and its columns there, counted from 1.
    pub index: Option<(u32, Vec<i16>)>,
}

/// A role as clients see it.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its number; 10 is root.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// It may do everything.
    pub superuser: bool,
    /// It has the rights of what it is a member of.
    pub inherits: bool,
    /// It may make roles.
    pub creates_roles: bool,
    /// It may come in.
    pub login: bool,
    /// The most sessions at a time, -1 for as many as the server has.
    pub connections_max: i32,
    /// Until when its password counts, microseconds since 1970.
    pub valid_until: Option<i64>,
    /// The numbers of the roles that it is a member of, and whether it may make others members.
    pub member_of: Vec<(u32, bool)>,
    /// What others may do with relations that it makes, an entry each.
    pub defaults: Option<Vec<String>>,
}

/// What a right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The relation of a number.
    Relation(u32),
    /// The schema of users' relations.
    Schema,
    /// Another schema.
    SystemSchema,
    /// The database.
    Database,
}

/// The relations that there are, now, and who may use them.
pub trait Relations: fmt::Debug + Send + Sync {
    /// All of them.
    fn relations(&self) -> Vec<Relation>;

    /// All roles.
    fn roles(&self) -> Vec<Role>;

    /// What others than its owner may do in the schema of users' relations, an entry each.
    fn schema_acl(&self) -> Vec<String>;

    /// True if a role, by its number, may do something, which is named in upper case; None if there is
    /// no such role or relation.
    fn allows(&self, role: u32, on: On, privilege: &str) -> Option<bool>;
}

/// The catalog schemas, shared by all sessions.
#[derive(Debug)]
pub struct Catalog {
    relations: Arc<dyn Relations>,
    pg_catalog: Arc<dyn SchemaProvider>,
    information_schema: Arc<dyn SchemaProvider>,
    functions: Vec<Arc<ScalarUDF>>,
    table_functions: Vec<Arc<TableFunction>>,
}

impl Catalog {
    /// Makes the schemas over the relations of one database.
    ///
    /// # Errors
    /// The tables that come with datafusion-pg-catalog cannot be read.
    pub async fn new(database: &str, relations: Arc<dyn Relations>) -> DfResult<Catalog> {
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(database, PUBLIC)
            .set_str("datafusion.sql_parser.dialect", "postgres");
        let plain = SessionContext::new_with_config(config.clone());
        let library = SessionContext::new_with_config(config.clone());
        setup_pg_catalog(&library, database, EmptyContextProvider).map_err(|error| *error)?;
        let theirs = library
            .catalog(database)
            .and_then(|catalog| catalog.schema("pg_catalog"))
            .ok_or_else(|| DataFusionError::Internal("pg_catalog was not installed".into()))?;
        let views = tables::views(config, database, &relations).await?;
        let known = plain.state();
        let state = library.state();
        let functions = state
            .scalar_functions()
            .iter()
            .filter(|(name, _)| !known.scalar_functions().contains_key(*name))
            .map(|(_, function)| Arc::clone(function))
            .collect();
        Ok(Catalog {
            pg_catalog: Arc::new(Views { views: views.pg_catalog, below: Some(theirs) }),
            information_schema: Arc::new(Views { views: views.information_schema, below: None }),
            functions,
            table_functions: state.table_functions().values().cloned().collect(),
            relations,
        })
    }

    /// The schema `pg_catalog` or `information_schema`, for a catalog provider of one's own.
    pub fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            "pg_catalog" => Some(Arc::clone(&self.pg_catalog)),
            "information_schema" => Some(Arc::clone(&self.information_schema)),
            _ => None,
        }
    }

    /// Adds schemas, functions and type names to a context, for the queries that [`rewrite`] gives.
    ///
    /// # Errors
    /// The context's default catalog takes no schemas.
    pub fn install(&self, context: &SessionContext, client: &Client) -> DfResult<()> {
        let default = context.state().config_options().catalog.default_catalog.clone();
        let catalog = context
            .catalog(&default)
            .ok_or_else(|| DataFusionError::Internal(format!("no catalog {default}")))?;
        for name in ["pg_catalog", "information_schema"] {
            if let Some(schema) = self.schema(name) {
                catalog.register_schema(name, schema)?;
            }
        }
        for function in &self.functions {
            context.register_udf(function.as_ref().clone());
        }
        for function in self.functions(client) {
            context.register_udf(function);
        }
        for function in &self.table_functions {
            context.register_udtf(function.name(), Arc::clone(function.function()));
        }
        let state = context.state_ref();
        let planned = SessionStateBuilder::new_from_existing(state.read().clone())
            .with_type_planner(Arc::new(PgOidTypePlanner))
            .build();
        *state.write() = planned;
        Ok(())
    }

    /// The functions on the session and the system that any query may call: `version()`,
    /// `current_setting()` and the like.
    pub fn functions(&self, client: &Client) -> Vec<ScalarUDF> {
        functions::all(client, &self.relations)
    }
}

/// A schema of views, over tables that come from elsewhere.
#[derive(Debug)]
struct Views {
    views: BTreeMap<String, Arc<dyn TableProvider>>,
    below: Option<Arc<dyn SchemaProvider>>,
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.below.iter().flat_map(|below| below.table_names()).collect();
        names.extend(self.views.keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    async fn table(&self, name: &str) -> DfResult<Option<Arc<dyn TableProvider>>> {
        match (self.views.get(name), &self.below) {
            (Some(view), _) => Ok(Some(Arc::clone(view))),
            (None, Some(below)) => below.table(name).await,
            (None, None) => Ok(None),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.views.contains_key(name)
            || self.below.as_ref().is_some_and(|below| below.table_exist(name))
    }
}

#[cfg(test)]
pub(crate) mod tests;
