//! Names and numbers of objects: `'t'::regclass`, `oid::regtype::text`, `to_regclass('t')`.
//!
//! [`super::rewrite`] writes such casts as calls of PostgreSQL's input and output functions; a value of these
//! types is a number everywhere else.

use std::sync::Arc;

use arrow::array::{StringArray, UInt32Array};
use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ScalarUDF, Volatility};
use millrace_types::{Report, SqlState};

use super::functions::{Body, Shared, argument, array, function, oids, texts};
use super::live::{SCHEMAS, schema_oid};
use super::model::{Relation, Relations};
use super::{OURS, PUBLIC};

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Class,
    Type,
    Function,
    Schema,
    Role,
}

/// The types, and what their names are names of.
const TYPES: [(&str, Kind); 6] = [
    ("regclass", Kind::Class),
    ("regtype", Kind::Type),
    ("regproc", Kind::Function),
    ("regprocedure", Kind::Function),
    ("regnamespace", Kind::Schema),
    ("regrole", Kind::Role),
];

/// True for a type whose values are numbers of objects shown by their names.
pub(super) fn is_named(name: &str) -> bool {
    TYPES.iter().any(|(known, _)| *known == name)
}

/// The numbers of PostgreSQL's own tables, which other tables refer to.
const CLASSES: [(&str, u32); 64] = [
    ("pg_default_acl", 826),
    ("pg_tablespace", 1213),
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_proc", 1255),
    ("pg_class", 1259),
    ("pg_authid", 1260),
    ("pg_auth_members", 1261),
    ("pg_database", 1262),
    ("pg_foreign_server", 1417),
    ("pg_user_mapping", 1418),
    ("pg_foreign_data_wrapper", 2328),
    ("pg_shdepend", 1214),
    ("pg_shdescription", 2396),
    ("pg_aggregate", 2600),
    ("pg_am", 2601),
    ("pg_amop", 2602),
    ("pg_amproc", 2603),
    ("pg_attrdef", 2604),
    ("pg_cast", 2605),
    ("pg_constraint", 2606),
    ("pg_conversion", 2607),
    ("pg_depend", 2608),
    ("pg_description", 2609),
    ("pg_index", 2610),
    ("pg_inherits", 2611),
    ("pg_language", 2612),
    ("pg_largeobject", 2613),
    ("pg_namespace", 2615),
    ("pg_opclass", 2616),
    ("pg_operator", 2617),
    ("pg_rewrite", 2618),
    ("pg_statistic", 2619),
    ("pg_trigger", 2620),
    ("pg_opfamily", 2753),
    ("pg_db_role_setting", 2964),
    ("pg_largeobject_metadata", 2995),
    ("pg_extension", 3079),
    ("pg_foreign_table", 3118),
    ("pg_policy", 3256),
    ("pg_partitioned_table", 3350),
    ("pg_statistic_ext", 3381),
    ("pg_init_privs", 3394),
    ("pg_statistic_ext_data", 3429),
    ("pg_collation", 3456),
    ("pg_event_trigger", 3466),
    ("pg_enum", 3501),
    ("pg_range", 3541),
    ("pg_transform", 3576),
    ("pg_shseclabel", 3592),
    ("pg_seclabel", 3596),
    ("pg_ts_dict", 3600),
    ("pg_ts_parser", 3601),
    ("pg_ts_config", 3602),
    ("pg_ts_config_map", 3603),
    ("pg_ts_template", 3764),
    ("pg_replication_origin", 6000),
    ("pg_subscription", 6100),
    ("pg_subscription_rel", 6102),
    ("pg_publication", 6104),
    ("pg_publication_rel", 6106),
    ("pg_publication_namespace", 6237),
    ("pg_parameter_acl", 6243),
    ("pg_sequence", 2224),
];

/// The number of one of PostgreSQL's own tables.
pub fn class_oid(name: &str) -> Option<u32> {
    CLASSES.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid)
}

/// All functions.
pub(super) fn all(shared: &Arc<Shared>) -> Vec<ScalarUDF> {
    let mut all = Vec::new();
    for (name, kind) in TYPES {
        all.push(input(&format!("{name}in"), kind, shared, true));
        all.push(input(&format!("to_{name}"), kind, shared, false));
        all.push(output(&format!("{name}out"), kind, shared));
    }
    all
}

/// `regclassin(name)`: the number of a name, or the number itself.
fn input(name: &str, kind: Kind, shared: &Arc<Shared>, must_exist: bool) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        if args.first().is_some_and(|value| value.data_type().is_integer()) {
            return array(oids(args, rows)?.into_iter().collect::<UInt32Array>());
        }
        let numbers = texts(args, 0, rows)?;
        let numbers = numbers.iter().map(|name| match name {
            None => Ok(None),
            Some(name) => match number(&shared, kind, name.trim()) {
                None if must_exist => Err(missing(kind, name)),
                found => Ok(found),
            },
        });
        array(numbers.collect::<DfResult<UInt32Array>>()?)
    });
    function(name, Volatility::Stable, DataType::UInt32, body)
}

/// `regclassout(number)`: the name of a number.
fn output(name: &str, kind: Kind, shared: &Arc<Shared>) -> ScalarUDF {
    let shared = Arc::clone(shared);
    let body: Body = Arc::new(move |args, rows| {
        // A list is one of numbers, which stay what they are.
        let numbers = argument(args, 0, rows, &DataType::UInt32)?;
        let numbers = arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt32Type>(&numbers);
        let shown = numbers.iter().map(|oid| Some(shown(&shared, kind, oid?)));
        array(shown.collect::<StringArray>())
    });
    function(name, Volatility::Stable, DataType::Utf8, body)
}

fn number(shared: &Shared, kind: Kind, name: &str) -> Option<u32> {
    if name == "-" {
        return Some(0);
    }
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    match kind {
        Kind::Class => find(&shared.relations(), name).map(|relation| relation.oid),
        Kind::Type => shared.known.type_named(name),
        Kind::Function => shared.known.function_named(name),
        Kind::Schema => schema_oid(&bare(name)),
        Kind::Role => {
            let name = bare(name);
            shared.roles().into_iter().find(|role| role.name == name).map(|role| role.oid)
        }
    }
}

fn shown(shared: &Shared, kind: Kind, oid: u32) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let found = match kind {
        Kind::Class => shared.relations().iter().find(|one| one.oid == oid).map(shown_relation),
        Kind::Type => Some(shared.known.type_shown(oid, None)).filter(|name| name != "???"),
        Kind::Function => shared.known.function_shown(oid).map(str::to_owned),
        Kind::Schema => {
            SCHEMAS.iter().find(|(_, number)| *number == oid).map(|(name, _)| (*name).to_owned())
        }
        Kind::Role => {
            let roles = shared.roles();
            roles.iter().find(|role| role.oid == oid).map(|role| quoted(&role.name))
        }
    };
    found.unwrap_or_else(|| oid.to_string())
}

/// A relation's name, with its schema where that is not looked into by itself.
fn shown_relation(relation: &Relation) -> String {
    let name = quoted(&relation.name);
    match relation.schema == PUBLIC || relation.schema == OURS[0] {
        true => name,
        false => format!("{}.{name}", relation.schema),
    }
}

fn missing(kind: Kind, name: &str) -> DataFusionError {
    let (code, what) = match kind {
        Kind::Class => (SqlState::UNDEFINED_TABLE, "relation"),
        Kind::Type => (SqlState::UNDEFINED_OBJECT, "type"),
        Kind::Function => (SqlState::UNDEFINED_FUNCTION, "function"),
        Kind::Schema => (SqlState::INVALID_SCHEMA_NAME, "schema"),
        Kind::Role => (SqlState::UNDEFINED_OBJECT, "role"),
    };
    let report = Report::new(code, format!("{what} \"{name}\" does not exist"));
    DataFusionError::External(Box::new(report))
}

/// The relation of a name as SQL writes it, with a schema or without.
pub(super) fn find<'r>(relations: &'r [Relation], name: &str) -> Option<&'r Relation> {
    let parts = parts(name);
    let of = |schema: &str, name: &str| {
        relations.iter().find(|one| one.name == name && one.schema == schema)
    };
    match parts.as_slice() {
        [name] => of(OURS[0], name).or_else(|| of(PUBLIC, name)),
        [schema, name] | [_, schema, name] => of(schema, name),
        _ => None,
    }
}

fn bare(name: &str) -> String {
    parts(name).pop().unwrap_or_default()
}

/// The parts of a dotted name, folded where they stand without quotes.
fn parts(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted, mut was_quoted) =
        (Vec::new(), String::new(), false, false);
    let mut characters = name.trim().chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                part.push('"');
            }
            '"' => (quoted, was_quoted) = (!quoted, true),
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            c if quoted => part.push(c),
            c => part.push(c.to_ascii_lowercase()),
        }
    }
    if !part.is_empty() || was_quoted {
        parts.push(part);
    }
    parts
}

/// A name as it is written in a statement, with quotes where it needs them.
pub(super) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let first = |c: char| plain(c) && !c.is_ascii_digit();
    match name.starts_with(first) && name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
