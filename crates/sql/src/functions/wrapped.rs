//! DataFusion's functions that fail where PostgreSQL's do: arguments that [`domain`] does not allow, results that
//! are too large for it or for [`bounded`]. What else is asked of them they answer themselves.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::bounded::{self, Length};
use super::domain::{self, Domain};

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Check {
    Domain(Domain),
    Length(Length),
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Wrapped {
    inner: Arc<ScalarUDF>,
    check: Check,
}

pub(super) fn all() -> Vec<Wrapped> {
    let partial = domain::all().into_iter();
    let partial = partial.map(|(inner, domain)| Wrapped { inner, check: Check::Domain(domain) });
    let long = bounded::all().into_iter();
    let long = long.map(|(inner, length)| Wrapped { inner, check: Check::Length(length) });
    partial.chain(long).collect()
}

impl ScalarUDFImpl for Wrapped {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.inner().return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.inner().return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.inner().coerce_types(types)
    }

    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.inner().simplify(args, context)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.inner().output_ordering(inputs)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let inner = self.inner.inner().as_ref();
        match self.check {
            Check::Domain(domain) => {
                domain::check(domain, &args)?;
                domain::call(domain, inner, args)
            }
            Check::Length(length) => {
                bounded::check(length, self.name(), &args)?;
                inner.invoke_with_args(args)
            }
        }
    }
}
