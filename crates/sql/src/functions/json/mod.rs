//! The operators and functions of `jsonb`, under PostgreSQL's names; `json` is the same type here, so
//! each has its `json_` name too.
//!
//! A call is worked out row by row over the bytes of [`millrace_types::json`]. Text where JSON is wanted
//! is read as JSON, so that a literal needs no cast.

mod build;
mod change;
mod find;
mod lists;
mod path;
mod record;
mod texts;
mod value;

use std::sync::Arc;

pub use build::rows_as_json;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};
use millrace_types::SqlType;

use super::{call, chain, no_function, udf};
use value::Arg;

/// The function that `jsonb_object_agg` ends in.
pub(crate) const OBJECT_OF: &str = "millrace_object_of";

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JsonFunction {
    /// `->`
    Field,
    /// `->>`
    FieldText,
    /// `#>`
    Path,
    /// `#>>`
    PathText,
    /// `@>`
    Contains,
    /// `<@`
    Contained,
    /// `?`
    Exists,
    /// `?|`
    ExistsAny,
    /// `?&`
    ExistsAll,
    /// `||`
    Concat,
    /// `-`
    Delete,
    /// `#-`
    DeletePath,
    TypeOf,
    ArrayLength,
    Pretty,
    StripNulls,
    Set,
    Insert,
    ToJson,
    BuildArray,
    BuildObject,
    /// An object of a list of pairs: what `jsonb_object_agg` ends in.
    ObjectOf,
    Elements,
    ElementsText,
    Keys,
    Values,
    ValuesText,
    /// A list of one object: what `jsonb_to_record` is made of.
    Record,
    /// The objects of an array.
    RecordSet,
    /// An object of texts.
    Object,
    SetLax,
    PathExists,
    PathMatch,
    PathQuery,
    PathQueryArray,
    PathQueryFirst,
    /// `@?`
    PathFound,
    /// `@@`
    PathHolds,
}

use JsonFunction as F;

const ALL: [JsonFunction; 38] = [
    F::Field,
    F::FieldText,
    F::Path,
    F::PathText,
    F::Contains,
    F::Contained,
    F::Exists,
    F::ExistsAny,
    F::ExistsAll,
    F::Concat,
    F::Delete,
    F::DeletePath,
    F::TypeOf,
    F::ArrayLength,
    F::Pretty,
    F::StripNulls,
    F::Set,
    F::Insert,
    F::ToJson,
    F::BuildArray,
    F::BuildObject,
    F::ObjectOf,
    F::Elements,
    F::ElementsText,
    F::Keys,
    F::Values,
    F::ValuesText,
    F::Record,
    F::RecordSet,
    F::Object,
    F::SetLax,
    F::PathExists,
    F::PathMatch,
    F::PathQuery,
    F::PathQueryArray,
    F::PathQueryFirst,
    F::PathFound,
    F::PathHolds,
];

impl JsonFunction {
    /// PostgreSQL's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            F::Field => "jsonb_object_field",
            F::FieldText => "jsonb_object_field_text",
            F::Path => "jsonb_extract_path",
            F::PathText => "jsonb_extract_path_text",
            F::Contains => "jsonb_contains",
            F::Contained => "jsonb_contained",
            F::Exists => "jsonb_exists",
            F::ExistsAny => "jsonb_exists_any",
            F::ExistsAll => "jsonb_exists_all",
            F::Concat => "jsonb_concat",
            F::Delete => "jsonb_delete",
            F::DeletePath => "jsonb_delete_path",
            F::TypeOf => "jsonb_typeof",
            F::ArrayLength => "jsonb_array_length",
            F::Pretty => "jsonb_pretty",
            F::StripNulls => "jsonb_strip_nulls",
            F::Set => "jsonb_set",
            F::Insert => "jsonb_insert",
            F::ToJson => "to_jsonb",
            F::BuildArray => "jsonb_build_array",
            F::BuildObject => "jsonb_build_object",
            F::ObjectOf => OBJECT_OF,
            F::Elements => "jsonb_array_elements",
            F::ElementsText => "jsonb_array_elements_text",
            F::Keys => "jsonb_object_keys",
            F::Values => "millrace_member_values",
            F::ValuesText => "millrace_member_texts",
            F::Record => "millrace_record",
            F::RecordSet => "millrace_recordset",
            F::Object => "jsonb_object",
            F::SetLax => "jsonb_set_lax",
            F::PathExists => "jsonb_path_exists",
            F::PathMatch => "jsonb_path_match",
            F::PathQuery => "jsonb_path_query",
            F::PathQueryArray => "jsonb_path_query_array",
            F::PathQueryFirst => "jsonb_path_query_first",
            F::PathFound => "jsonb_path_exists_opr",
            F::PathHolds => "jsonb_path_match_opr",
        }
    }

    /// The same with `json_`, and what else PostgreSQL calls it.
    fn aliases(self) -> Vec<String> {
        match self {
            F::ToJson => vec!["to_json".into(), "row_to_json".into(), "array_to_json".into()],
            F::ObjectOf | F::Values | F::ValuesText | F::Record | F::RecordSet => Vec::new(),
            _ if self.is_path() => Vec::new(),
            _ => vec![self.name().replacen("jsonb_", "json_", 1)],
        }
    }

    /// True for those that take an SQL/JSON path.
    fn is_path(self) -> bool {
        matches!(
            self,
            F::PathExists
                | F::PathMatch
                | F::PathQuery
                | F::PathQueryArray
                | F::PathQueryFirst
                | F::PathFound
                | F::PathHolds
        )
    }

    /// How the operator is written, where it is one.
    fn operator(self) -> Option<&'static str> {
        Some(match self {
            F::Field => "->",
            F::FieldText => "->>",
            F::Contains => "@>",
            F::Contained => "<@",
            F::Exists => "?",
            F::ExistsAny => "?|",
            F::ExistsAll => "?&",
            F::Concat => "||",
            F::Delete => "-",
            F::DeletePath => "#-",
            F::PathFound => "@?",
            F::PathHolds => "@@",
            _ => return None,
        })
    }

    fn result(self) -> DataType {
        let list =
            |element: DataType| DataType::List(Arc::new(Field::new_list_field(element, true)));
        match self {
            F::FieldText | F::PathText | F::TypeOf | F::Pretty => DataType::Utf8,
            F::Contains | F::Contained | F::Exists | F::ExistsAny | F::ExistsAll => {
                DataType::Boolean
            }
            F::PathExists | F::PathMatch | F::PathFound | F::PathHolds => DataType::Boolean,
            F::ArrayLength => DataType::Int32,
            F::Elements | F::Values | F::PathQuery | F::Record | F::RecordSet => {
                list(SqlType::Jsonb.arrow())
            }
            F::ElementsText | F::Keys | F::ValuesText => list(DataType::Utf8),
            _ => SqlType::Jsonb.arrow(),
        }
    }

    /// How many arguments it takes.
    fn takes(self, count: usize) -> bool {
        match self {
            F::TypeOf
            | F::ArrayLength
            | F::Pretty
            | F::StripNulls
            | F::ToJson
            | F::ObjectOf
            | F::Elements
            | F::ElementsText
            | F::Keys
            | F::Values
            | F::ValuesText
            | F::Record
            | F::RecordSet => count == 1,
            F::Object => count == 1 || count == 2,
            F::SetLax => (3..=5).contains(&count),
            F::Set | F::Insert => count == 3 || count == 4,
            F::Path | F::PathText => count >= 2,
            F::PathFound | F::PathHolds => count == 2,
            _ if self.is_path() => (2..=4).contains(&count),
            F::BuildArray => true,
            F::BuildObject => count.is_multiple_of(2),
            _ => count == 2,
        }
    }
}

/// Our functions of JSON.
pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let calls = ALL.into_iter().map(|which| udf(JsonCall::new(which)));
    calls.chain([udf(record::MemberAs::new())])
}

/// A member of an object as a value of a type.
///
/// # Errors
/// A type that has no values of its own.
pub(crate) fn member_as(object: Expr, key: &str, to: &DataType) -> Result<Expr> {
    let zero = ScalarValue::new_default(to)?;
    Ok(call(udf(record::MemberAs::new()), vec![object, lit(key), lit(zero)]))
}

/// A call of one.
pub(crate) fn json(which: JsonFunction, args: Vec<Expr>) -> Expr {
    call(udf(JsonCall::new(which)), args)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonCall {
    which: JsonFunction,
    aliases: Vec<String>,
    signature: Signature,
}

impl JsonCall {
    fn new(which: JsonFunction) -> JsonCall {
        let signature = match which {
            F::BuildArray | F::BuildObject => Signature::one_of(
                vec![
                    datafusion::logical_expr::TypeSignature::VariadicAny,
                    datafusion::logical_expr::TypeSignature::Nullary,
                ],
                Volatility::Immutable,
            ),
            _ => Signature::variadic_any(Volatility::Immutable),
        };
        JsonCall { which, aliases: which.aliases(), signature }
    }
}

impl ScalarUDFImpl for JsonCall {
    fn name(&self) -> &'static str {
        self.which.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(match (self.which.operator(), args.as_array()) {
            (Some(operator), Some(args)) => chain::operator(self.name(), operator, args),
            _ => chain::call(self.name(), args),
        })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let any = matches!(self.which, F::ToJson | F::BuildArray | F::BuildObject | F::ObjectOf);
        let first = types.first().is_none_or(|first| any || value::is_json(first));
        let first = match self.which {
            F::Object => types.iter().all(is_texts),
            _ => first,
        };
        match self.which.takes(types.len()) && first {
            true => Ok(self.which.result()),
            false => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let arrays: Vec<ArrayRef> =
            args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<Result<_>>()?;
        let result = apply(self.which, &arrays, rows)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}

/// True for what is an array of texts, of any number of dimensions, or a literal of one.
fn is_texts(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) => is_texts(field.data_type()),
        other => other.is_string() || other.is_null(),
    }
}

fn apply(which: JsonFunction, arrays: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    match which {
        F::Object => return texts::apply(arrays, rows),
        F::ToJson | F::BuildArray | F::BuildObject | F::ObjectOf => {
            return build::apply(which, arrays, rows);
        }
        _ => {}
    }
    let args: Vec<Arg> = arrays
        .iter()
        .enumerate()
        .map(|(at, array)| Arg::new(array, wanted(which, at)))
        .collect::<Result<_>>()?;
    // A NULL among the arguments gives NULL; but the new value of `jsonb_set_lax` may be one, and so may be what
    // it says of that.
    let decides = |at: usize| which != F::SetLax || !matches!(at, 2 | 4);
    let decisive = arrays.iter().enumerate().filter(|(at, _)| decides(*at));
    let nulls: Vec<_> = decisive.filter_map(|(_, array)| array.logical_nulls()).collect();
    let has_null = |row: usize| nulls.iter().any(|nulls| nulls.is_null(row));
    let present = (0..rows).map(|row| (!has_null(row)).then_some(row));
    match which {
        F::Concat | F::Delete | F::DeletePath | F::StripNulls | F::Set | F::Insert => {
            change::apply(which, &args, present)
        }
        F::SetLax => change::set_lax(&args, arrays, present),
        F::Record | F::RecordSet => lists::records(which, &args, present),
        F::Elements | F::ElementsText | F::Keys | F::Values | F::ValuesText => {
            lists::apply(which, &args, present)
        }
        _ if which.is_path() => path::apply(which, &args, present),
        _ => find::apply(which, &args, present),
    }
}

/// What an argument is read as.
fn wanted(which: JsonFunction, at: usize) -> value::Wanted {
    match (which, at) {
        (_, 0) => value::Wanted::Json,
        (F::Contains | F::Contained | F::Concat, 1) | (F::Set | F::Insert | F::SetLax, 2) => {
            value::Wanted::Json
        }
        (_, 2) if which.is_path() => value::Wanted::Json,
        _ => value::Wanted::AsItIs,
    }
}
