//! The functions on the session, the system and the catalog that PostgreSQL has and DataFusion not.
//!
//! Here are those on the session and constants; what objects are made of is in [`super::describe`], names and
//! numbers of objects in [`super::named`], who may do what in [`super::privileges`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int32Builder, ListArray, ListBuilder,
    StringArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};
use datafusion::catalog::TableProvider;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use millrace_types::{Report, SqlState, TIME_ZONE};

use super::constraints::key_name;
use super::known::Known;
use super::live::key_index as live_key_index;
use super::model::{
    Activity, Comment, IndexOf, Lock, On, Relation, RelationKind, Role, Sequence, SessionLists,
    Signal,
};
use super::{
    AdvisoryLocks, PUBLIC, Relations, Tables, advisory, describe, grants, named, privileges,
    properties, sequences, signals, sleep,
};
use crate::settings;

/// Whose session asks.
#[derive(Clone, Debug)]
pub struct Client {
    /// The name of the role whose rights count.
    pub user: String,
    /// The name of the user that came in.
    pub session_user: String,
    /// The database's name.
    pub database: String,
    /// The number of its process, as it was told.
    pub process: i32,
    /// Its settings.
    pub settings: Arc<dyn Settings>,
    /// Its prepared statements and cursors.
    pub lists: Arc<dyn SessionLists>,
}

/// The settings of a session, for `current_setting` and `set_config`.
pub trait Settings: fmt::Debug + Send + Sync {
    /// A setting's value; None where the session has none, then PostgreSQL's default counts.
    fn get(&self, name: &str) -> Option<String>;

    /// All of them: name, value, and the value at the start.
    fn all(&self) -> Vec<(String, String, String)>;

    /// Changes a setting; `local` for the transaction alone.
    ///
    /// # Errors
    /// There is no such setting, or it does not take the value.
    fn set(&self, name: &str, value: &str, local: bool) -> Result<(), Report>;
}

/// Computes a call's result.
pub(super) type Body =
    Arc<dyn Fn(&[ColumnarValue], usize) -> DfResult<ColumnarValue> + Send + Sync>;

/// A function of any arguments.
struct Function {
    name: String,
    signature: Signature,
    returns: DataType,
    body: Body,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.body, &other.body)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        (self.body)(&args.args, args.number_rows)
    }
}

pub(super) fn function(
    name: &str,
    volatility: Volatility,
    returns: DataType,
    body: Body,
) -> ScalarUDF {
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(any, volatility);
    ScalarUDF::new_from_impl(Function { name: name.to_owned(), signature, returns, body })
}

pub(super) fn constant(name: &str, value: ScalarValue) -> ScalarUDF {
    let returns = value.data_type();
    let body: Body = Arc::new(move |_, _| Ok(ColumnarValue::Scalar(value.clone())));
    function(name, Volatility::Stable, returns, body)
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

/// What functions of all sessions look into.
#[derive(Debug)]
pub(super) struct Shared {
    relations: Arc<dyn Relations>,
    pub(super) known: Known,
    /// Functions of datafusion-pg-catalog.
    library: Vec<ScalarUDF>,
    /// The catalog's own tables.
    system: OnceLock<Vec<Relation>>,
}

impl Shared {
    pub(super) fn new(
        relations: Arc<dyn Relations>,
        known: Known,
        library: Vec<ScalarUDF>,
    ) -> Shared {
        Shared { relations, known, library, system: OnceLock::new() }
    }

    /// Has the catalog list itself.
    pub(super) fn set_system(&self, pg_catalog: &Tables, information_schema: &Tables) {
        let mut free = 12_000..;
        let schemas = [("pg_catalog", pg_catalog), ("information_schema", information_schema)];
        let named = schemas.into_iter().flat_map(|(schema, tables)| {
            tables.iter().map(move |(name, table)| (schema, name, table))
        });
        let relation = |(schema, name, table): (&str, &String, &Arc<dyn TableProvider>)| {
            let known = (schema == "pg_catalog").then(|| named::class_oid(name)).flatten();
            Relation {
                oid: known.unwrap_or_else(|| free.next().unwrap_or_default()),
                schema: schema.to_owned(),
                name: name.clone(),
                kind: if known.is_some() { RelationKind::Table } else { RelationKind::View },
                columns: table.schema(),
                more: Vec::new(),
                key: Vec::new(),
                constraints: Vec::new(),
                definition: None,
                depends_on: Vec::new(),
                owner: 10,
                acl: Some(vec!["root=arwd/root".to_owned(), "=r/root".to_owned()]),
                index: None,
                rows: None,
                bytes: 0,
            }
        };
        // Set once, by the catalog when it is made.
        drop(self.system.set(named.map(relation).collect()));
    }
}

/// The index of a table's primary key.
fn key_index(table: &Relation) -> Relation {
    let quoted = |at: &i16| {
        let at = usize::try_from(*at - 1).unwrap_or_default();
        named::quoted(table.columns.fields().get(at).map_or("", |field| field.name()))
    };
    let columns = table.key.iter().map(quoted).collect::<Vec<_>>().join(", ");
    let name = key_name(table);
    let (index, on) = (named::quoted(&name), named::quoted(&table.name));
    let at = table.key.iter().filter_map(|at| usize::try_from(at - 1).ok()).collect::<Vec<_>>();
    Relation {
        oid: live_key_index(table.oid),
        name,
        kind: RelationKind::Index,
        columns: table.columns.project(&at).map_or_else(|_| table.columns.clone(), Arc::new),
        more: Vec::new(),
        key: Vec::new(),
        constraints: Vec::new(),
        definition: Some(format!(
            "CREATE UNIQUE INDEX {index} ON {}.{on} USING btree ({columns})",
            table.schema
        )),
        depends_on: Vec::new(),
        acl: None,
        index: Some(IndexOf {
            on: table.oid,
            columns: table.key.clone(),
            primary: true,
            unique: true,
        }),
        bytes: 0,
        ..table.clone()
    }
}

impl Relations for Shared {
    fn relations(&self) -> Vec<Relation> {
        let mut all = self.relations.relations();
        let keys: Vec<Relation> =
            all.iter().filter(|one| !one.key.is_empty()).map(key_index).collect();
        all.extend(keys);
        all.extend(self.system.get().into_iter().flatten().cloned());
        all
    }

    fn roles(&self) -> Vec<Role> {
        self.relations.roles()
    }

    fn comments(&self) -> Vec<Comment> {
        self.relations.comments()
    }

    fn advisory_locks(&self) -> Arc<AdvisoryLocks> {
        self.relations.advisory_locks()
    }

    fn activity(&self) -> Vec<Activity> {
        self.relations.activity()
    }

    fn locks(&self) -> Vec<Lock> {
        self.relations.locks()
    }

    fn signal(&self, process: i32, signal: Signal) -> bool {
        self.relations.signal(process, signal)
    }

    fn schema_acl(&self) -> Vec<String> {
        self.relations.schema_acl()
    }

    fn sequences(&self) -> Vec<Sequence> {
        self.relations.sequences()
    }

    fn numbers(&self, sequence: u32, count: usize) -> Result<Vec<i64>, Report> {
        self.relations.numbers(sequence, count)
    }

    fn set_number(&self, sequence: u32, number: i64, behind: bool) -> Result<(), Report> {
        self.relations.set_number(sequence, number, behind)
    }

    fn allows(&self, role: u32, on: On, privilege: &str) -> Option<bool> {
        self.relations.allows(role, on, privilege)
    }

    fn now(&self) -> i64 {
        self.relations.now()
    }

    fn began(&self) -> i64 {
        self.relations.began()
    }
}

/// Functions that give NULL as text.
const NULLS: [&str; 16] = [
    "pg_get_triggerdef",
    "pg_get_functiondef",
    "pg_get_function_sqlbody",
    "pg_get_function_arg_default",
    "pg_get_partkeydef",
    "pg_get_statisticsobjdef",
    "pg_get_statisticsobjdef_columns",
    "pg_get_statisticsobjdef_expressions",
    "inet_server_addr",
    "inet_client_addr",
    "pg_current_logfile",
    "pg_get_partition_constraintdef",
    "pg_collation_actual_version",
    "pg_database_collation_actual_version",
    "pg_relation_filepath",
    "pg_last_wal_receive_lsn",
];

/// Functions that give an empty text: those that PostgreSQL has give nothing (`void`).
const EMPTY: [&str; 2] = ["pg_tablespace_location", "pg_stat_clear_snapshot"];

/// Functions that give 0.
const ZEROS: [&str; 5] = [
    "pg_stat_get_numscans",
    "pg_tablespace_size",
    "pg_stat_get_blocks_fetched",
    "pg_stat_get_blocks_hit",
    "pg_stat_get_dead_tuples",
];

/// Functions that are true: everybody may call everything, and sees it.
const TRUE: [&str; 17] = [
    "has_function_privilege",
    "has_sequence_privilege",
    "has_type_privilege",
    "has_language_privilege",
    "has_tablespace_privilege",
    "has_foreign_data_wrapper_privilege",
    "has_server_privilege",
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
];
/// More of them.
const TRUE_TOO: [&str; 3] =
    ["pg_ts_parser_is_visible", "pg_ts_template_is_visible", "pg_relation_is_publishable"];

/// Functions that are false.
const FALSE: [&str; 5] = [
    "pg_is_in_recovery",
    "pg_is_other_temp_schema",
    "pg_is_wal_replay_paused",
    "row_security_active",
    "pg_jit_available",
];

/// All of them for one session.
pub(super) fn all(client: &Client, shared: &Arc<Shared>) -> Vec<ScalarUDF> {
    let none = ScalarValue::UInt32(Some(0));
    let began = ScalarValue::TimestampMicrosecond(Some(shared.began()), Some(TIME_ZONE.into()));
    let mut all = vec![
        constant("version", text(&settings::version())),
        constant("current_user", text(&client.user)),
        constant("session_user", text(&client.session_user)),
        constant("user", text(&client.user)),
        constant("current_role", text(&client.user)),
        constant("current_database", text(&client.database)),
        constant("current_catalog", text(&client.database)),
        constant("current_schema", text(PUBLIC)),
        constant("pg_encoding_to_char", text("UTF8")),
        constant("getdatabaseencoding", text("UTF8")),
        constant("pg_char_to_encoding", ScalarValue::Int32(Some(6))),
        constant("pg_client_encoding", text("UTF8")),
        constant("pg_my_temp_schema", none),
        constant("pg_encoding_max_length", ScalarValue::Int32(Some(4))),
        constant("pg_trigger_depth", ScalarValue::Int32(Some(0))),
        constant("pg_notification_queue_usage", ScalarValue::Float64(Some(0.0))),
        constant("txid_current_if_assigned", ScalarValue::Int64(None)),
        constant("pg_get_replica_identity_index", ScalarValue::UInt32(None)),
        constant("txid_current", ScalarValue::Int64(Some(1))),
        constant("pg_backend_pid", ScalarValue::Int32(Some(client.process))),
        constant("pg_postmaster_start_time", began.clone()),
        constant("pg_conf_load_time", began),
        constant("inet_server_port", ScalarValue::Int32(None)),
        constant("inet_client_port", ScalarValue::Int32(None)),
        current_schemas(),
        expanded(),
        size_pretty(),
        current_setting(client),
        set_config(client),
        visible(shared),
        blocking(shared),
    ];
    all.extend(shared.library.iter().cloned());
    all.extend(describe::all(shared));
    all.extend(named::all(shared));
    let relations: Arc<dyn Relations> = Arc::clone(shared) as Arc<dyn Relations>;
    all.extend(privileges::all(client, &relations));
    all.extend(signals::all(client, &relations));
    all.extend(sequences::all(client, &relations));
    all.extend(sleep::all(&relations));
    all.extend(advisory::all(client.process, &relations.advisory_locks()));
    all.extend(grants::all(&relations));
    all.extend(properties::all(&relations));
    all.extend(NULLS.map(|name| constant(name, ScalarValue::Utf8(None))));
    all.extend(EMPTY.map(|name| constant(name, text(""))));
    all.extend(ZEROS.map(|name| constant(name, ScalarValue::Int64(Some(0)))));
    all.extend(TRUE.map(|name| constant(name, ScalarValue::Boolean(Some(true)))));
    all.extend(TRUE_TOO.map(|name| constant(name, ScalarValue::Boolean(Some(true)))));
    all.extend(FALSE.map(|name| constant(name, ScalarValue::Boolean(Some(false)))));
    all
}

/// The list that `_pg_expandarray` gives the rows of.
pub(super) const EXPANDED: &str = "_pg_expandarray_list";

/// The elements of an array with their places, counted from 1: a list of `(x, n)`.
fn expanded() -> ScalarUDF {
    let fields = Fields::from(vec![
        Field::new("x", DataType::Int16, true),
        Field::new("n", DataType::Int32, true),
    ]);
    let item = DataType::Struct(fields.clone());
    let body: Body = Arc::new(move |args, rows| {
        let wanted = DataType::new_list(DataType::Int16, true);
        let lists = argument(args, 0, rows, &wanted)?;
        let lists = lists.as_list::<i32>();
        let numbers = (0..rows).flat_map(|row| 1..=lists.value_length(row));
        let numbers: ArrayRef = Arc::new(numbers.collect::<Int32Array>());
        let from = usize::try_from(lists.value_offsets()[0]).unwrap_or_default();
        let values = lists.values().slice(from, numbers.len());
        let pairs = StructArray::try_new(fields.clone(), vec![values, numbers], None)?;
        let offsets = OffsetBuffer::from_lengths(
            (0..rows).map(|row| usize::try_from(lists.value_length(row)).unwrap_or_default()),
        );
        let field = Arc::new(Field::new_list_field(pairs.data_type().clone(), true));
        array(ListArray::try_new(field, offsets, Arc::new(pairs), lists.nulls().cloned())?)
    });
    function(EXPANDED, Volatility::Immutable, DataType::new_list(item, true), body)
}

/// `current_schemas(with_implicit)`
fn current_schemas() -> ScalarUDF {
    let body: Body = Arc::new(|args, rows| {
        let implicit = argument(args, 0, rows, &DataType::Boolean)?;
        let named = |schemas: &[&str]| Some(schemas.iter().map(|one| (*one).to_owned()).collect());
        let schemas = |implicit: Option<bool>| match implicit? {
            true => named(&["pg_catalog", PUBLIC]),
            false => named(&[PUBLIC]),
        };
        let all: Vec<Option<Vec<String>>> = implicit.as_boolean().iter().map(schemas).collect();
        Ok(ColumnarValue::Array(privileges::list(&all)))
    });
    function("current_schemas", Volatility::Stable, DataType::new_list(DataType::Utf8, true), body)
}

/// `pg_blocking_pids(pid)`: the sessions that a session waits for.
fn blocking(shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let (processes, locks) = (argument(args, 0, rows, &DataType::Int32)?, shared.locks());
        let mut lists = ListBuilder::new(Int32Builder::new());
        for process in processes.as_primitive::<Int32Type>() {
            let own = |lock: &&Lock| Some(lock.process) == process && lock.waits_since.is_some();
            for own in locks.iter().filter(own) {
                // Who holds the lock, or came before.
                let first = |other: &&Lock| {
                    other.relation == own.relation && other.waits_since < own.waits_since
                };
                locks.iter().filter(first).for_each(|one| lists.values().append_value(one.process));
            }
            lists.append(process.is_some());
        }
        array(lists.finish())
    });
    let list = DataType::new_list(DataType::Int32, true);
    function("pg_blocking_pids", Volatility::Volatile, list, body)
}

/// An argument as an array of a type.
pub(super) fn argument(
    args: &[ColumnarValue],
    at: usize,
    rows: usize,
    wanted: &DataType,
) -> DfResult<ArrayRef> {
    let missing = || {
        DataFusionError::External(Box::new(Report::new(
            SqlState::UNDEFINED_FUNCTION,
            "function does not exist with so few arguments",
        )))
    };
    args.get(at).ok_or_else(missing)?.cast_to(wanted, None)?.into_array(rows)
}

pub(super) fn texts(args: &[ColumnarValue], at: usize, rows: usize) -> DfResult<StringArray> {
    Ok(argument(args, at, rows, &DataType::Utf8)?.as_string::<i32>().clone())
}

/// The relation numbers of an argument; text that is a number counts.
pub(super) fn oids(args: &[ColumnarValue], rows: usize) -> DfResult<Vec<Option<u32>>> {
    let array = argument(args, 0, rows, &DataType::Int64)?;
    Ok(array.as_primitive::<Int64Type>().iter().map(|oid| u32::try_from(oid?).ok()).collect())
}

pub(super) fn array(array: impl Array + 'static) -> DfResult<ColumnarValue> {
    Ok(ColumnarValue::Array(Arc::new(array)))
}

fn current_setting(client: &Client) -> ScalarUDF {
    let settings = Arc::clone(&client.settings);
    let body: Body = Arc::new(move |args, rows| {
        let names = texts(args, 0, rows)?;
        let missing_ok = match args.get(1) {
            Some(_) => {
                let ok = argument(args, 1, rows, &DataType::Boolean)?;
                let ok = ok.as_boolean();
                !ok.is_empty() && ok.is_valid(0) && ok.value(0)
            }
            None => false,
        };
        let value = |name: &str| match settings.get(name) {
            Some(value) => Ok(Some(value)),
            None => match settings::default_setting(name) {
                Some(value) => Ok(Some(value.to_owned())),
                None if missing_ok => Ok(None),
                None => Err(DataFusionError::External(Box::new(Report::new(
                    SqlState::UNDEFINED_OBJECT,
                    format!("unrecognized configuration parameter \"{name}\""),
                )))),
            },
        };
        let values = names.iter().map(|name| name.map_or(Ok(None), value));
        array(values.collect::<DfResult<StringArray>>()?)
    });
    // A prepared statement must see the value of the time when it runs.
    function("current_setting", Volatility::Volatile, DataType::Utf8, body)
}

fn set_config(client: &Client) -> ScalarUDF {
    let settings = Arc::clone(&client.settings);
    let body: Body = Arc::new(move |args, rows| {
        let (names, values) = (texts(args, 0, rows)?, texts(args, 1, rows)?);
        let local = match args.get(2) {
            Some(_) => argument(args, 2, rows, &DataType::Boolean)?,
            None => Arc::new(BooleanArray::from(vec![false; rows])),
        };
        let pairs = names.iter().zip(&values).zip(local.as_boolean());
        for ((name, value), local) in pairs {
            let (Some(name), Some(value)) = (name, value) else { continue };
            settings
                .set(name, value, local == Some(true))
                .map_err(|report| DataFusionError::External(Box::new(report)))?;
        }
        array(values)
    });
    function("set_config", Volatility::Volatile, DataType::Utf8, body)
}

/// True for relations that can be named without their schema.
fn visible(shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        let relations = shared.relations();
        let seen = |oid: u32| {
            let found = relations.iter().find(|relation| relation.oid == oid)?;
            Some(found.schema == PUBLIC || found.schema == "pg_catalog")
        };
        let visible = oids(args, rows)?.into_iter().map(|oid| seen(oid?));
        array(visible.collect::<BooleanArray>())
    });
    function("pg_table_is_visible", Volatility::Stable, DataType::Boolean, body)
}

fn size_pretty() -> ScalarUDF {
    let body: Body = Arc::new(|args, rows| {
        let sizes = argument(args, 0, rows, &DataType::Int64)?;
        let sizes = sizes.as_primitive::<Int64Type>();
        array(sizes.iter().map(|size| size.map(pretty)).collect::<StringArray>())
    });
    function("pg_size_pretty", Volatility::Immutable, DataType::Utf8, body)
}

/// A size in the greatest unit of which there are at least ten.
fn pretty(size: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut value = i128::from(size);
    let mut unit = 0;
    while value.abs() >= 10 * 1024 && unit + 1 < UNITS.len() {
        value = (value + 512 * value.signum()) / 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS[unit])
}
