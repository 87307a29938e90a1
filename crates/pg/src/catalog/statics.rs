//! The tables that describe PostgreSQL itself: its types, functions, operators.
//!
//! The rows are datafusion-pg-catalog's, taken from a PostgreSQL. It keeps numbers of objects as signed
//! integers, functions by their names and lists as text; here they get the types that clients join and
//! search by. What describes PostgreSQL's own tables, and objects that Millrace does not have, is left out:
//! those tables keep their columns and have no rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int16Builder, ListBuilder, RecordBatch, StringArray, StringBuilder,
    UInt32Array, UInt32Builder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::oid_field::OID_ALIAS_KEY;
use datafusion_pg_catalog::setup_pg_catalog;

/// Tables whose rows hold here too.
const KEPT: [&str; 20] = [
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_cast",
    "pg_collation",
    "pg_conversion",
    "pg_description",
    "pg_language",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_proc",
    "pg_range",
    "pg_tablespace",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
];

/// Tables whose columns alone hold: Millrace has no such objects.
pub(super) const EMPTY: [&str; 29] = [
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_init_privs",
    "pg_largeobject",
    "pg_largeobject_metadata",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_replication_origin",
    "pg_seclabel",
    "pg_sequence",
    "pg_shdepend",
    "pg_shseclabel",
    "pg_statistic",
    "pg_statistic_ext",
    "pg_statistic_ext_data",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config_map",
    "pg_user_mapping",
];

/// Columns of numbers of functions, which the library keeps by their names.
pub(super) const FUNCTIONS: [&str; 28] = [
    "typinput",
    "typoutput",
    "typreceive",
    "typsend",
    "typmodin",
    "typmodout",
    "typanalyze",
    "typsubscript",
    "amhandler",
    "oprcode",
    "oprrest",
    "oprjoin",
    "prosupport",
    "rngcanonical",
    "rngsubdiff",
    "conproc",
    "aggfnoid",
    "aggtransfn",
    "aggfinalfn",
    "aggcombinefn",
    "aggserialfn",
    "aggdeserialfn",
    "aggmtransfn",
    "aggminvtransfn",
    "aggmfinalfn",
    "amproc",
    "prsstart",
    "tmplinit",
];

/// Columns of lists of numbers of objects.
const OIDS: [&str; 8] = [
    "proargtypes",
    "proallargtypes",
    "protrftypes",
    "extconfig",
    "polroles",
    "partclass",
    "partcollation",
    "prattroids",
];
/// Columns of lists of small integers.
const SMALL: [&str; 5] = ["stxkeys", "prattrs", "tgattr", "partattrs", "srsubattrs"];
/// Columns of lists of texts; those whose names end in `acl` or `options` are, too.
const TEXTS: [&str; 8] = [
    "proargmodes",
    "proargnames",
    "proconfig",
    "stxkind",
    "extcondition",
    "evttags",
    "setconfig",
    "subpublications",
];

/// Functions of the library that are as PostgreSQL's.
const LIBRARY: [&str; 1] = ["parse_ident"];

/// What is taken of the library: tables with their rows, by name, and functions.
pub(super) struct Statics {
    pub(super) tables: BTreeMap<String, RecordBatch>,
    pub(super) functions: Vec<ScalarUDF>,
}

/// Reads the library's tables.
pub(super) async fn read_all(database: &str) -> DfResult<Statics> {
    let config = SessionConfig::new()
        .with_default_catalog_and_schema(database, super::PUBLIC)
        .set_str("datafusion.sql_parser.dialect", "postgres");
    let library = SessionContext::new_with_config(config);
    setup_pg_catalog(&library, database, EmptyContextProvider).map_err(|error| *error)?;
    let functions = functions(&read(&library, "pg_proc").await?)?;
    let mut all = BTreeMap::new();
    for name in KEPT.iter().chain(&["pg_type"]).chain(&EMPTY) {
        // A table that the library does not have is made elsewhere.
        let Ok(batch) = read(&library, name).await else { continue };
        let batch = match *name {
            "pg_type" => without_rows_of_tables(&batch)?,
            name if EMPTY.contains(&name) => batch.slice(0, 0),
            _ => batch,
        };
        all.insert((*name).to_owned(), converted(&batch, &functions)?);
    }
    let words = library.sql("SELECT * FROM pg_get_keywords()").await?.collect().await?;
    if let Some(first) = words.first() {
        let words = arrow::compute::concat_batches(&first.schema(), &words)?;
        all.insert("pg_get_keywords".to_owned(), converted(&words, &functions)?);
    }
    let state = library.state();
    let own = LIBRARY.iter().filter_map(|name| state.scalar_functions().get(*name));
    let functions = own.map(|function| function.as_ref().clone()).collect();
    Ok(Statics { tables: all, functions })
}

/// `pg_type` without PostgreSQL's own domains and the types of the rows of its tables, and their arrays.
fn without_rows_of_tables(types: &RecordBatch) -> DfResult<RecordBatch> {
    let kinds = texts(&column(types, "typtype")?)?;
    let (oids, elements) = (numbers(&column(types, "oid")?)?, numbers(&column(types, "typelem")?)?);
    let left_out = |row: usize| matches!(kinds.value(row), "c" | "d" | "e");
    let gone: Vec<u32> =
        (0..types.num_rows()).filter(|row| left_out(*row)).map(|row| oids.value(row)).collect();
    let kept = (0..types.num_rows())
        .map(|row| Some(!left_out(row) && !gone.contains(&elements.value(row))));
    let kept = kept.collect::<arrow::array::BooleanArray>();
    Ok(arrow::compute::filter_record_batch(types, &kept)?)
}

async fn read(library: &SessionContext, name: &str) -> DfResult<RecordBatch> {
    let table = library.table(format!("pg_catalog.{name}")).await?;
    let schema = Arc::new(table.schema().as_arrow().clone());
    let batches = table.collect().await?;
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    Ok(arrow::compute::concat_batches(&schema, &batches)?)
}

/// The numbers of functions by their names; of several of a name the first.
fn functions(procs: &RecordBatch) -> DfResult<BTreeMap<String, u32>> {
    let oids = numbers(&column(procs, "oid")?)?;
    let names = texts(&column(procs, "proname")?)?;
    let mut found = BTreeMap::new();
    for row in 0..names.len() {
        found.entry(names.value(row).to_owned()).or_insert(oids.value(row));
    }
    Ok(found)
}

pub(super) fn column(batch: &RecordBatch, name: &str) -> DfResult<ArrayRef> {
    let found = batch.column_by_name(name).cloned();
    found.ok_or_else(|| DataFusionError::Internal(format!("no column {name}")))
}

fn numbers(array: &ArrayRef) -> DfResult<UInt32Array> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let array = cast_with_options(array, &DataType::UInt32, &options)?;
    Ok(arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(&array).clone())
}

/// What each value looks like.
pub(super) fn texts(array: &ArrayRef) -> DfResult<StringArray> {
    let shown = ArrayFormatter::try_new(array.as_ref(), &FormatOptions::default())?;
    let text = |row: usize| match array.is_null(row) {
        true => Ok(None),
        false => shown.value(row).try_to_string().map(Some),
    };
    Ok((0..array.len()).map(text).collect::<Result<StringArray, _>>()?)
}

fn converted(batch: &RecordBatch, functions: &BTreeMap<String, u32>) -> DfResult<RecordBatch> {
    let schema = batch.schema();
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let array = converted_column(field, array, functions)?;
        // The library's rows are a later version's.
        let name = if field.name() == "colllocale" { "colliculocale" } else { field.name() };
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

fn converted_column(
    field: &Field,
    array: &ArrayRef,
    functions: &BTreeMap<String, u32>,
) -> DfResult<ArrayRef> {
    let name = field.name().as_str();
    if FUNCTIONS.contains(&name) {
        let names = texts(array)?;
        let number = |name: Option<&str>| {
            let plain = name?.split('(').next()?;
            Some(functions.get(plain).copied().unwrap_or_else(|| plain.parse().unwrap_or(0)))
        };
        return Ok(Arc::new(names.iter().map(number).collect::<UInt32Array>()));
    }
    let is_oid = field.metadata().contains_key(OID_ALIAS_KEY) || name == "oid";
    if is_oid && array.data_type().is_integer() {
        return Ok(Arc::new(numbers(array)?));
    }
    let items = || Ok::<_, DataFusionError>(split(&texts(array)?));
    if OIDS.contains(&name) {
        let mut list = ListBuilder::new(UInt32Builder::new());
        append(&mut list, &items()?, |values, item| values.append_option(item.parse().ok()));
        return Ok(Arc::new(list.finish()));
    }
    if SMALL.contains(&name) {
        let mut list = ListBuilder::new(Int16Builder::new());
        append(&mut list, &items()?, |values, item| values.append_option(item.parse().ok()));
        return Ok(Arc::new(list.finish()));
    }
    if TEXTS.contains(&name) || name.ends_with("acl") || name.ends_with("options") {
        let mut list = ListBuilder::new(StringBuilder::new());
        append(&mut list, &items()?, |values, item| values.append_value(item));
        return Ok(Arc::new(list.finish()));
    }
    Ok(match array.data_type() {
        known if millrace_types::SqlType::of_arrow(known).is_some() => Arc::clone(array),
        _ => Arc::new(texts(array)?),
    })
}

/// The items of lists that are shown as `[a, b]`, `{a,b}` or `a b`.
fn split(lists: &StringArray) -> Vec<Option<Vec<String>>> {
    let items = |list: &str| {
        let inside = list.trim_matches(['[', ']', '{', '}']);
        let items = inside.split([',', ' ']).filter(|item| !item.is_empty());
        items.map(|item| item.trim_matches('"').to_owned()).collect()
    };
    lists.iter().map(|list| list.map(items)).collect()
}

fn append<B: arrow::array::ArrayBuilder>(
    list: &mut ListBuilder<B>,
    rows: &[Option<Vec<String>>],
    add: impl Fn(&mut B, &str),
) {
    for row in rows {
        for item in row.iter().flatten() {
            add(list.values(), item);
        }
        list.append(row.is_some());
    }
}
