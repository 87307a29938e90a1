//! `coalesce`, `greatest`, `least` and `nullif`: DataFusion's, but numeric beside double precision is
//! double precision, not a numeric of fifteen places, and a text beside another type is a literal that takes
//! this type ([`crate::analyze`] turns other texts away).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::functions::core;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::no_function;
use super::zoned::is_zoned;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Widened {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

pub(super) fn all() -> Vec<Widened> {
    let inner = [core::coalesce(), core::greatest(), core::least(), core::nullif()];
    let signature = || Signature::user_defined(Volatility::Immutable);
    inner.into_iter().map(|inner| Widened { inner, signature: signature() }).collect()
}

/// The types, with double precision for numerics that stand beside a float, and the widest of times for all
/// of them.
pub(crate) fn widened(types: &[DataType]) -> Vec<DataType> {
    let mixed = types.iter().any(DataType::is_floating) && types.iter().any(DataType::is_decimal);
    let is_time = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32);
    let mut times = types.iter().filter(|t| is_time(t));
    let time = match times.clone().find(|t| is_zoned(t)) {
        None => times.find(|t| matches!(t, DataType::Timestamp(..))),
        zoned => zoned,
    };
    let widen = |t: &DataType| match time.filter(|_| is_time(t)) {
        Some(time) => time.clone(),
        None if mixed && t.is_numeric() => DataType::Float64,
        None => t.clone(),
    };
    types.iter().map(widen).collect()
}

/// The types, with that of the others for texts.
fn without_texts(types: &[DataType]) -> Vec<DataType> {
    let other = |found: &&DataType| !found.is_string() && !found.is_null();
    let mut others = types.iter().filter(other);
    let Some(first) = others.next() else { return types.to_vec() };
    let common = others
        .fold(first.clone(), |common, other| comparison_coercion(&common, other).unwrap_or(common));
    let taken = |found: &DataType| if found.is_string() { common.clone() } else { found.clone() };
    types.iter().map(taken).collect()
}

/// The type of uuids, if there is nothing but them and literals.
fn uuid(types: &[DataType]) -> Option<&DataType> {
    let is_uuid = |found: &DataType| matches!(found, DataType::FixedSizeBinary(_));
    let fits = |found: &DataType| is_uuid(found) || found.is_string() || found.is_null();
    types.iter().find(|found| is_uuid(found)).filter(|_| types.iter().all(fits))
}

impl ScalarUDFImpl for Widened {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        match uuid(&types) {
            Some(uuid) => Ok(Arc::new(Field::new(self.name(), uuid.clone(), true))),
            None => self.inner.inner().return_field_from_args(args),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        // The library has no way from a text to a uuid: literals become uuids in their own time.
        if let Some(uuid) = uuid(types) {
            let own = |found: &DataType| if found.is_null() { uuid } else { found }.clone();
            return Ok(types.iter().map(own).collect());
        }
        let types = widened(&without_texts(types));
        // The library knows no type for NULL beside jsonb.
        if let Some(first) = types.iter().find(|found| !found.is_null())
            && types.iter().all(|found| found == first || found.is_null())
        {
            return Ok(vec![first.clone(); types.len()]);
        }
        if self.name() != "nullif" {
            return self.inner.inner().coerce_types(&types);
        }
        match types.as_slice() {
            [left, right] => match comparison_coercion(left, right) {
                Some(common) => Ok(vec![common.clone(), common]),
                None => Err(no_function(self.name(), &types)),
            },
            _ => Err(no_function(self.name(), &types)),
        }
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, context)
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.inner().conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.inner().short_circuits()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.inner().invoke_with_args(args)
    }
}
