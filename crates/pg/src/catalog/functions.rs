//! The functions on the session, the system and the catalog that PostgreSQL has and DataFusion not.
//!
//! Most are constants: Millrace has no comments to tell of. Who may do what is in [`super::privileges`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use millrace_types::{Report, SqlState};

use super::{PUBLIC, Relations};
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
    /// Its settings.
    pub settings: Arc<dyn Settings>,
}

/// The settings of a session, for `current_setting` and `set_config`.
pub trait Settings: fmt::Debug + Send + Sync {
    /// A setting's value; None where the session has none, then PostgreSQL's default counts.
    fn get(&self, name: &str) -> Option<String>;

    /// Changes a setting.
    ///
    /// # Errors
    /// There is no such setting, or it does not take the value.
    fn set(&self, name: &str, value: &str) -> Result<(), Report>;
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

fn constant(name: &str, value: ScalarValue) -> ScalarUDF {
    let returns = value.data_type();
    let body: Body = Arc::new(move |_, _| Ok(ColumnarValue::Scalar(value.clone())));
    function(name, Volatility::Stable, returns, body)
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

/// Functions that give NULL as text.
const NULLS: [&str; 10] = [
    "obj_description",
    "col_description",
    "shobj_description",
    "pg_get_expr",
    "pg_get_ruledef",
    "pg_get_triggerdef",
    "pg_get_serial_sequence",
    "pg_get_functiondef",
    "inet_server_addr",
    "inet_client_addr",
];

/// Functions that give an empty text.
const EMPTY: [&str; 5] = [
    "pg_get_function_result",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_tablespace_location",
    "pg_advisory_unlock_all",
];

/// Functions that give 0.
const ZEROS: [&str; 5] = [
    "pg_table_size",
    "pg_indexes_size",
    "pg_relation_size",
    "pg_total_relation_size",
    "pg_database_size",
];

/// Functions that are true: everybody may call everything, and sees it.
const TRUE: [&str; 11] = [
    "has_function_privilege",
    "has_sequence_privilege",
    "has_type_privilege",
    "has_language_privilege",
    "has_tablespace_privilege",
    "pg_type_is_visible",
    "pg_function_is_visible",
    "pg_collation_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_relation_is_publishable",
];

/// Functions that are false.
const FALSE: [&str; 2] = ["pg_is_in_recovery", "pg_is_other_temp_schema"];

/// All of them for one session.
pub(super) fn all(client: &Client, relations: &Arc<dyn Relations>) -> Vec<ScalarUDF> {
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
        constant("pg_client_encoding", text("UTF8")),
        constant("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        constant("txid_current", ScalarValue::Int64(Some(1))),
        size_pretty(),
        current_setting(client),
        set_config(client),
        visible(relations),
        definition("pg_get_viewdef", relations),
        definition("pg_get_indexdef", relations),
        to_regclass(relations),
    ];
    all.extend(super::privileges::all(client, relations));
    all.extend(NULLS.map(|name| constant(name, ScalarValue::Utf8(None))));
    all.extend(EMPTY.map(|name| constant(name, text(""))));
    all.extend(ZEROS.map(|name| constant(name, ScalarValue::Int64(Some(0)))));
    all.extend(TRUE.map(|name| constant(name, ScalarValue::Boolean(Some(true)))));
    all.extend(FALSE.map(|name| constant(name, ScalarValue::Boolean(Some(false)))));
    all
}

/// An argument as an array of a type.
fn argument(
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
            Some(_) => argument(args, 1, rows, &DataType::Boolean)?.as_boolean().value(0),
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
        for (name, value) in names.iter().zip(&values) {
            let (Some(name), Some(value)) = (name, value) else { continue };
            settings
                .set(name, value)
                .map_err(|report| DataFusionError::External(Box::new(report)))?;
        }
        array(values)
    });
    function("set_config", Volatility::Volatile, DataType::Utf8, body)
}

/// True for relations that can be named without their schema.
fn visible(relations: &Arc<dyn Relations>) -> ScalarUDF {
    let relations = Arc::clone(relations);
    let body: Body = Arc::new(move |args, rows| {
        let hidden: Vec<u32> = relations
            .relations()
            .into_iter()
            .filter(|relation| relation.schema != PUBLIC)
            .map(|relation| relation.oid)
            .collect();
        let visible = oids(args, rows)?.into_iter().map(|oid| Some(!hidden.contains(&oid?)));
        array(visible.collect::<BooleanArray>())
    });
    function("pg_table_is_visible", Volatility::Stable, DataType::Boolean, body)
}

/// What a view or an index is made of.
fn definition(name: &'static str, relations: &Arc<dyn Relations>) -> ScalarUDF {
    let relations = Arc::clone(relations);
    let body: Body = Arc::new(move |args, rows| {
        let relations = relations.relations();
        let definition = |oid: Option<u32>| {
            let relation = relations.iter().find(|relation| Some(relation.oid) == oid)?;
            relation.definition.clone()
        };
        array(oids(args, rows)?.into_iter().map(definition).collect::<StringArray>())
    });
    function(name, Volatility::Stable, DataType::Utf8, body)
}

fn to_regclass(relations: &Arc<dyn Relations>) -> ScalarUDF {
    let relations = Arc::clone(relations);
    let body: Body = Arc::new(move |args, rows| {
        let relations = relations.relations();
        let find = |name: Option<&str>| {
            let (schema, name) = name?.rsplit_once('.').unwrap_or((PUBLIC, name?));
            let name = name.trim_matches('"');
            let found = relations.iter().find(|one| one.name == name && one.schema == schema)?;
            i32::try_from(found.oid).ok()
        };
        array(texts(args, 0, rows)?.iter().map(find).collect::<Int32Array>())
    });
    function("to_regclass", Volatility::Stable, DataType::Int32, body)
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
