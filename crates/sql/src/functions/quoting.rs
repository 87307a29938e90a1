//! `quote_literal`, `quote_nullable` and `quote_ident`: text as SQL reads it back.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::cast::show_values;
use super::invoke::over_columns;
use super::no_function;
use crate::names;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Quote {
    /// NULL stays NULL.
    Literal,
    /// NULL is the word.
    Nullable,
    /// A name.
    Ident,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Quoting {
    which: Quote,
    signature: Signature,
}

pub(super) fn all() -> Vec<Quoting> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [Quote::Literal, Quote::Nullable, Quote::Ident]
        .map(|which| Quoting { which, signature: signature() })
        .into()
}

/// Words that are names only in quotes, beside those that no table may have.
const WORDS: [&str; 77] = [
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "char",
    "character",
    "coalesce",
    "collation",
    "concurrently",
    "cross",
    "current_schema",
    "dec",
    "decimal",
    "exists",
    "extract",
    "float",
    "freeze",
    "full",
    "greatest",
    "grouping",
    "ilike",
    "inner",
    "inout",
    "int",
    "integer",
    "interval",
    "is",
    "isnull",
    "join",
    "lateral",
    "least",
    "left",
    "like",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "notnull",
    "nullif",
    "numeric",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "position",
    "precision",
    "real",
    "right",
    "row",
    "setof",
    "similar",
    "smallint",
    "substring",
    "symmetric",
    "tablesample",
    "time",
    "timestamp",
    "treat",
    "trim",
    "values",
    "varchar",
    "verbose",
    "xmlattributes",
    "xmlconcat",
    "xmlelement",
    "xmlexists",
    "xmlforest",
    "xmlnamespaces",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "xmltable",
];

/// A name, in quotes if it must stand in them.
pub(super) fn identifier(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    match is_plain && !WORDS.contains(&name) && !names::is_reserved(name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// A text in quotes.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match doubled.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

impl ScalarUDFImpl for Quoting {
    fn name(&self) -> &'static str {
        match self.which {
            Quote::Literal => "quote_literal",
            Quote::Nullable => "quote_nullable",
            Quote::Ident => "quote_ident",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [one] if one.is_string() || one.is_null() => Ok(vec![DataType::Utf8]),
            [one] if self.which != Quote::Ident => Ok(vec![one.clone()]),
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |arrays| {
            let values = arrays.first().ok_or_else(|| no_function(self.name(), &[]))?;
            let shown = |text: Option<&str>| match (self.which, text) {
                (Quote::Ident, text) => text.map(identifier),
                (_, Some(text)) => Some(literal(text)),
                (Quote::Nullable, None) => Some("NULL".to_owned()),
                (Quote::Literal, None) => None,
            };
            let quoted: StringArray = show_values(values)?.iter().map(shown).collect();
            Ok(Arc::new(quoted) as ArrayRef)
        })
    }
}
