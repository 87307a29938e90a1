//! Types as SQL writes them, and the types that they are.

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Expr, Ident, StructBracketKind,
    StructField, TimezoneInfo,
};
use millrace_types::{NUMERIC_PRECISION, Report, SqlState, SqlType};

use crate::error::elsewhere;
use crate::names::{Quoted, fold};
use crate::parser::parse_expression;

/// Arrays and records in each other, at most.
const DEPTH_MAX: usize = 16;

const SERIAL: &str = "It is a column of CREATE TABLE that takes numbers: use integer or bigint.";

/// The greatest length of a text that can be said.
const LENGTH_MAX: u32 = 10_485_760;

/// The type of a column; lengths of text and digits of seconds are not kept.
pub(crate) fn column_type(written: &DataType) -> Result<SqlType, Report> {
    type_within(written, DEPTH_MAX)
}

/// How many characters `varchar(n)` takes.
pub(crate) fn text_length(written: &DataType) -> Result<Option<u32>, Report> {
    let (DataType::Varchar(length)
    | DataType::CharacterVarying(length)
    | DataType::CharVarying(length)) = written
    else {
        return Ok(None);
    };
    let Some(CharacterLength::IntegerLength { length, .. }) = length else { return Ok(None) };
    let refused = |message: &str| Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
    match u32::try_from(*length) {
        Ok(0) => refused("length for type varchar must be at least 1"),
        Ok(length) if length <= LENGTH_MAX => Ok(Some(length)),
        _ => refused("length for type varchar cannot exceed 10485760"),
    }
}

fn type_within(written: &DataType, depth: usize) -> Result<SqlType, Report> {
    let inner = |written: &DataType| match depth.checked_sub(1) {
        Some(depth) => type_within(written, depth),
        None => {
            let message =
                format!("a type of more than {DEPTH_MAX} arrays and records in each other");
            Err(Report::new(SqlState::STATEMENT_TOO_COMPLEX, message))
        }
    };
    Ok(match written {
        DataType::Boolean | DataType::Bool => SqlType::Boolean,
        DataType::SmallInt(_) | DataType::Int2(_) => SqlType::SmallInt,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => SqlType::Integer,
        DataType::BigInt(_) | DataType::Int8(_) => SqlType::BigInt,
        DataType::Numeric(digits) | DataType::Decimal(digits) | DataType::Dec(digits) => {
            SqlType::Numeric(digits_of(digits)?)
        }
        DataType::Real | DataType::Float4 => SqlType::Real,
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => SqlType::Real,
        DataType::Float(_)
        | DataType::Float8
        | DataType::Double(ExactNumberInfo::None)
        | DataType::DoublePrecision => SqlType::Double,
        DataType::Text
        | DataType::Varchar(_)
        | DataType::CharacterVarying(_)
        | DataType::CharVarying(_)
        | DataType::String(None) => SqlType::Text,
        DataType::Char(_) | DataType::Character(_) => return Err(not_yet("character(n)", "text")),
        DataType::Bytea => SqlType::Bytea,
        DataType::Date => SqlType::Date,
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Time,
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            SqlType::Timestamp
        }
        DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            SqlType::TimestampTz
        }
        DataType::Interval { fields: None, precision: None } => SqlType::Interval,
        DataType::Array(
            ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => SqlType::Array(Box::new(inner(element)?)),
        DataType::Struct(fields, _) => {
            let field = |field: &StructField| {
                let name = field.field_name.as_ref().map(fold);
                let name = name.ok_or_else(|| Report::unsupported("a field without a name"))?;
                Ok((name, inner(&field.field_type)?))
            };
            SqlType::Struct(fields.iter().map(field).collect::<Result<_, Report>>()?)
        }
        DataType::JSON | DataType::JSONB => SqlType::Jsonb,
        DataType::Uuid => SqlType::Uuid,
        DataType::Custom(name, _) => return custom(name),
        other => return Err(unknown(&other.to_string())),
    })
}

/// A type that there is not; one of other databases has a hint.
fn unknown(name: &str) -> Report {
    match elsewhere::data_type(name) {
        Some(hint) => undefined(&name.to_ascii_lowercase()).hint(hint),
        None => Report::unsupported(format!("type {name}")),
    }
}

fn undefined(name: &str) -> Report {
    let message = format!("type {} does not exist", Quoted(name));
    Report::new(SqlState::UNDEFINED_OBJECT, message)
}

/// A type as it may be written.
pub(crate) fn written(sql_type: &SqlType) -> Result<DataType, Report> {
    Ok(match sql_type {
        SqlType::Struct(fields) => {
            let field = |(name, sql_type): &(String, SqlType)| {
                let field_name = Some(Ident::with_quote('"', name));
                Ok(StructField { field_name, field_type: written(sql_type)?, options: None })
            };
            let fields = fields.iter().map(field).collect::<Result<_, Report>>()?;
            DataType::Struct(fields, StructBracketKind::AngleBrackets)
        }
        SqlType::Array(element) => {
            let element = Box::new(written(element)?);
            DataType::Array(ArrayElemTypeDef::SquareBracket(element, None))
        }
        other => match parse_expression(&format!("CAST(NULL AS {})", other.name()))? {
            Expr::Cast { data_type, .. } => data_type,
            _ => return Err(Report::unsupported(format!("type {}", other.name()))),
        },
    })
}

fn not_yet(name: &str, instead: &str) -> Report {
    Report::unsupported(format!("type {name}")).hint(format!("Use {instead}."))
}

/// Types by the names that they have in `pg_type`.
const CATALOG: [&str; 17] = [
    "bool",
    "bytea",
    "date",
    "float4",
    "float8",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "numeric",
    "text",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar",
];

/// Names that only PostgreSQL has; those of its catalog are what clients cast to.
fn custom(name: &datafusion::sql::sqlparser::ast::ObjectName) -> Result<SqlType, Report> {
    let last = name.0.last().and_then(|part| part.as_ident()).map(fold).unwrap_or_default();
    Ok(match last.as_str() {
        "name" | "char" | "bpchar" => SqlType::Text,
        // In quotes they are names of the catalog.
        _ if CATALOG.contains(&last.as_str()) => {
            match parse_expression(&format!("CAST(NULL AS {last})"))? {
                Expr::Cast { data_type, .. } => return column_type(&data_type),
                _ => return Err(undefined(&last)),
            }
        }
        "oid" | "xid" => SqlType::BigInt,
        "serial" | "bigserial" | "smallserial" | "serial2" | "serial4" | "serial8" => {
            return Err(Report::unsupported(format!("type {last}")).hint(SERIAL));
        }
        "money" | "inet" | "cidr" | "macaddr" | "xml" | "timetz" | "hstore" | "point" => {
            return Err(not_yet(&last, "text"));
        }
        _ => {
            let parts = name.0.iter().filter_map(|part| part.as_ident()).map(fold);
            let name = parts.collect::<Vec<_>>().join(".");
            let hint = elsewhere::data_type(&name).map(str::to_owned);
            return Err(Report { hint, ..undefined(&name) });
        }
    })
}

fn digits_of(digits: &ExactNumberInfo) -> Result<Option<(u8, i8)>, Report> {
    let (precision, scale) = match digits {
        ExactNumberInfo::None => return Ok(None),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let wrong = |message: String| Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
    if !(1..=1000).contains(&precision) {
        return Err(wrong(format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    let narrow = u8::try_from(precision).ok().filter(|p| *p <= NUMERIC_PRECISION);
    let Some(narrow) = narrow else {
        let what = format!("NUMERIC precision above {NUMERIC_PRECISION}");
        return Err(Report::unsupported(what));
    };
    let scale = i8::try_from(scale).ok().filter(|s| *s >= 0 && s.unsigned_abs() <= narrow);
    match scale {
        Some(scale) => Ok(Some((narrow, scale))),
        None => Err(wrong(format!("NUMERIC scale must be between 0 and precision {precision}"))),
    }
}

/// The type of a cast. What a cast would have to change, and does not, is refused.
fn cast_type(written: &DataType) -> Result<SqlType, Report> {
    let length = match written {
        DataType::Varchar(Some(length))
        | DataType::CharacterVarying(Some(length))
        | DataType::CharVarying(Some(length)) => Some(length),
        _ => None,
    };
    if let Some(CharacterLength::IntegerLength { length, .. }) = length {
        let report = Report::unsupported(format!("a cast to character varying({length})"));
        return Err(report.hint(format!("Use left(value, {length}).")));
    }
    if let DataType::Timestamp(Some(places), _) | DataType::Time(Some(places), _) = written
        && *places != 6
    {
        let report = Report::unsupported(format!("a cast to {written}"));
        return Err(report.hint("Use date_trunc() to drop digits of a second."));
    }
    column_type(written)
}

/// True for `oid`, the type of numbers of objects in the catalog. No stored column has it.
fn is_number(written: &DataType) -> bool {
    match written {
        DataType::Custom(name, _) => match name.0.as_slice() {
            [part] => part.as_ident().is_some_and(|ident| fold(ident) == "oid"),
            _ => false,
        },
        _ => false,
    }
}

/// Gives DataFusion our types: microseconds, unconstrained numeric, plain text.
#[derive(Debug)]
pub(crate) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, written: &DataType) -> Result<Option<FieldRef>> {
        if is_number(written) {
            return Ok(Some(Arc::new(Field::new("", ArrowType::UInt32, true))));
        }
        if let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) = written
            && is_number(element)
        {
            let list = ArrowType::new_list(ArrowType::UInt32, true);
            return Ok(Some(Arc::new(Field::new("", list, true))));
        }
        match cast_type(written) {
            Ok(sql_type) => Ok(Some(Arc::new(Field::new("", sql_type.arrow(), true)))),
            Err(report) => Err(DataFusionError::External(Box::new(report))),
        }
    }
}

/// True for a type that a stored column can have.
pub(crate) fn is_storable(data_type: &ArrowType) -> bool {
    SqlType::of_arrow(data_type).is_some()
}
