//! SQL: from text to statements, to logical plans, to the plans of maintained views; and the catalog.
//!
//! The folders follow the path of a statement: [`parser`] gives an [`ast`], [`binder`] resolves names
//! and types against the [`catalog`] and gives a DataFusion logical plan, [`stream`] turns that plan
//! into a [`millrace_plan::ViewPlan`]. [`functions`] are the functions that PostgreSQL types
//! differently from DataFusion, the rules of `analyze` put those in that have no name, [`session`] puts all of it into a DataFusion session, [`error`] turns
//! every failure into PostgreSQL's.

mod analyze;
pub mod ast;
pub mod binder;
pub mod catalog;
mod equalities;
pub mod error;
mod extremes;
mod frames;
pub mod functions;
mod guard;
mod names;
mod nearest;
mod orders;
pub mod parser;
mod regular;
pub mod session;
mod shared_parts;
pub mod stream;
mod text;
mod typenames;
mod watch;
mod windows;

pub use analyze::depends_on_zone;
pub use binder::{
    Binder, Bound, BoundConstraints, BoundView, CatalogTable, CatalogTables, ChangeKind,
    ChangePlan, Conflict, Connectors, EXCLUDED, FindColumns, FixedColumns, LockWait, Parameters,
    Returning, RowLock, TableLookup, bind_constraints, bind_index, bind_secrets, bind_sink,
    bind_source, bind_table, has_row_locks, plan_change, query_of_rows, row_locks, rows_of_table,
    source_to_infer, view_zone, without_rows,
};
pub use catalog::{
    Access, Acl, Catalog, CatalogError, Check, Commented, Constraints, Grantee, Identity, Include,
    IncludeKind, Index, Kind, MaterializedView, Object, Privilege, Privileges, ROOT, ROW_ID_COLUMN,
    ReferenceAction, References, Role, RoleId, Secret, Sink, SinkFormat, Source, SourceColumn,
    SourceWatermark, Table, TableColumn, Unique, View, decode_acl, encode_acl, is_confidential,
};
pub use datafusion::sql::sqlparser;
pub use functions::{bound_results, rows_as_json};
pub use names::{CHANGED, SYSTEM_SCHEMA, fold as folded, nothing_to_follow};
pub use parser::{masked, parse, renamed, split, view_query};
pub use session::{Settings, session_state};
pub use watch::{Watch, watched};
