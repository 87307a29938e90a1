//! What is known of PostgreSQL's types and functions by their numbers: names, signatures.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::UInt32Type;
use datafusion::common::Result as DfResult;

use super::statics::{column, texts};

/// A type.
#[derive(Debug)]
struct TypeRow {
    name: String,
    /// The number of the type of its elements, of an array.
    element: u32,
}

/// A function.
#[derive(Debug)]
struct FunctionRow {
    name: String,
    result: u32,
    returns_set: bool,
    arguments: Vec<u32>,
    /// How many of the last arguments may be left out.
    defaults: usize,
    names: Vec<String>,
}

/// Types and functions.
#[derive(Debug)]
pub(super) struct Known {
    types: BTreeMap<u32, TypeRow>,
    by_name: BTreeMap<String, u32>,
    functions: BTreeMap<u32, FunctionRow>,
    functions_by_name: BTreeMap<String, u32>,
}

/// SQL's names of types that PostgreSQL has other names for.
const SQL_NAMES: [(&str, &str); 15] = [
    ("bool", "boolean"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("varchar", "character varying"),
    ("bpchar", "character"),
    ("bit", "bit"),
    ("varbit", "bit varying"),
    ("time", "time without time zone"),
    ("timetz", "time with time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("char", "\"char\""),
];

fn oids(batch: &RecordBatch, name: &str) -> DfResult<UInt32Array> {
    Ok(column(batch, name)?.as_primitive::<UInt32Type>().clone())
}

impl Known {
    /// Reads `pg_type` and `pg_proc`.
    pub(super) fn new(types: &RecordBatch, functions: &RecordBatch) -> DfResult<Known> {
        let mut known = Known {
            types: BTreeMap::new(),
            by_name: BTreeMap::new(),
            functions: BTreeMap::new(),
            functions_by_name: BTreeMap::new(),
        };
        known.read_types(types)?;
        known.read_functions(functions)?;
        Ok(known)
    }

    fn read_types(&mut self, batch: &RecordBatch) -> DfResult<()> {
        let (numbers, elements) = (oids(batch, "oid")?, oids(batch, "typelem")?);
        let names = texts(&column(batch, "typname")?)?;
        for row in 0..batch.num_rows() {
            let name = names.value(row).to_owned();
            // `name` and `point` have elements and are no arrays.
            let element = if name.starts_with('_') { elements.value(row) } else { 0 };
            self.by_name.entry(name.clone()).or_insert(numbers.value(row));
            self.types.insert(numbers.value(row), TypeRow { name, element });
        }
        Ok(())
    }

    fn read_functions(&mut self, batch: &RecordBatch) -> DfResult<()> {
        let (numbers, results) = (oids(batch, "oid")?, oids(batch, "prorettype")?);
        let names = texts(&column(batch, "proname")?)?;
        let sets = column(batch, "proretset")?;
        let defaults = texts(&column(batch, "pronargdefaults")?)?;
        let (arguments, argument_names) =
            (column(batch, "proargtypes")?, column(batch, "proargnames")?);
        let (arguments, argument_names) =
            (arguments.as_list::<i32>(), argument_names.as_list::<i32>());
        for row in 0..batch.num_rows() {
            let of_row = arguments.value(row);
            let named = argument_names.value(row);
            let name = names.value(row).to_owned();
            self.functions_by_name.entry(name.clone()).or_insert(numbers.value(row));
            let function = FunctionRow {
                name,
                result: results.value(row),
                returns_set: sets.as_boolean().value(row),
                arguments: of_row.as_primitive::<UInt32Type>().values().to_vec(),
                defaults: defaults.value(row).parse().unwrap_or(0),
                names: named.as_string::<i32>().iter().flatten().map(str::to_owned).collect(),
            };
            self.functions.insert(numbers.value(row), function);
        }
        Ok(())
    }

    /// The number of a type, by any of its names.
    pub(super) fn type_named(&self, name: &str) -> Option<u32> {
        let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"');
        let folded = name.to_ascii_lowercase();
        if let Some(element) = folded.strip_suffix("[]") {
            let element = self.type_named(element)?;
            let array = |(oid, row): (&u32, &TypeRow)| (row.element == element).then_some(*oid);
            return self.types.iter().find_map(array);
        }
        let bare = folded.split('(').next().unwrap_or(&folded).trim();
        let rest = folded.split_once(')').map_or("", |(_, rest)| rest);
        let full = format!("{bare}{rest}");
        let sql = SQL_NAMES.iter().find(|(_, sql)| *sql == full).map(|(own, _)| *own);
        let short = match full.as_str() {
            "int" => Some("int4"),
            "decimal" => Some("numeric"),
            "float" => Some("float8"),
            _ => None,
        };
        self.by_name.get(sql.or(short).unwrap_or(&full)).copied()
    }

    /// The name of a type as SQL writes it, with its modifier.
    pub(super) fn type_shown(&self, oid: u32, modifier: Option<i32>) -> String {
        if oid == 0 {
            return "-".to_owned();
        }
        let Some(row) = self.types.get(&oid) else { return "???".to_owned() };
        if row.element != 0 {
            return format!("{}[]", self.type_shown(row.element, modifier));
        }
        let sql = SQL_NAMES.iter().find(|(own, _)| *own == row.name);
        let name = sql.map_or(row.name.as_str(), |(_, sql)| *sql);
        match modifier.filter(|modifier| *modifier >= 0) {
            Some(modifier) => modified(name, &row.name, modifier),
            // Without a length, `character` would be of length 1.
            None if row.name == "bpchar" && modifier.is_some() => "bpchar".to_owned(),
            None => name.to_owned(),
        }
    }

    /// The number of a function by its name, arguments behind it or not.
    pub(super) fn function_named(&self, name: &str) -> Option<u32> {
        let name = name.split('(').next()?.trim().trim_start_matches("pg_catalog.");
        self.functions_by_name.get(name.trim_matches('"')).copied()
    }

    /// The name of a function.
    pub(super) fn function_shown(&self, oid: u32) -> Option<&str> {
        self.functions.get(&oid).map(|function| function.name.as_str())
    }

    /// What a function gives.
    pub(super) fn result_of(&self, oid: u32) -> Option<String> {
        let function = self.functions.get(&oid)?;
        let shown = self.type_shown(function.result, None);
        Some(if function.returns_set { format!("SETOF {shown}") } else { shown })
    }

    /// What a function takes, with `DEFAULT` where an argument may be left out.
    pub(super) fn arguments_of(&self, oid: u32, with_defaults: bool) -> Option<String> {
        let function = self.functions.get(&oid)?;
        let count = function.arguments.len();
        let shown = function.arguments.iter().enumerate().map(|(at, argument)| {
            let name = function.names.get(at).filter(|name| !name.is_empty());
            let name = name.map(|name| format!("{name} ")).unwrap_or_default();
            let may_lack = with_defaults && at + function.defaults >= count;
            let end = if may_lack { " DEFAULT ..." } else { "" };
            format!("{name}{}{end}", self.type_shown(*argument, None))
        });
        Some(shown.collect::<Vec<_>>().join(", "))
    }
}

/// A type with what its modifier says.
fn modified(name: &str, own: &str, modifier: i32) -> String {
    match own {
        "numeric" => {
            let packed = modifier - 4;
            // The scale is 11 bits with a sign.
            let scale = ((packed & 0x7ff) ^ 1024) - 1024;
            format!("numeric({},{scale})", (packed >> 16) & 0xffff)
        }
        "varchar" | "bpchar" => format!("{name}({})", modifier - 4),
        "bit" | "varbit" => format!("{name}({modifier})"),
        "time" | "timetz" | "timestamp" | "timestamptz" => {
            let (first, rest) = name.split_once(' ').unwrap_or((name, ""));
            format!("{first}({modifier}) {rest}")
        }
        "interval" if modifier & 0xffff != 0xffff => format!("interval({})", modifier & 0xffff),
        _ => name.to_owned(),
    }
}
