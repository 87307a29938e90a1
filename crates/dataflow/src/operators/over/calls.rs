//! The window functions themselves: DataFusion's, over the rows of one partition in order.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows as Encoded, SortField};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::windows::create_window_expr;
use millrace_plan::{OverCall, sliding};

use crate::chain::guarded;
use crate::failure::Failure;
use crate::graph::OverSpec;
use crate::natives;
use crate::operator::Error;

/// What the functions say of one row, as bytes that are equal iff it is the same.
pub(super) type Said = Box<[u8]>;

/// See the head of the file.
pub(super) struct Calls {
    input: SchemaRef,
    output: SchemaRef,
    calls: Vec<Arc<dyn WindowExpr>>,
    converter: RowConverter,
}

impl Calls {
    /// # Errors
    /// A function that does not take its arguments or its frame.
    pub(super) fn new(spec: &OverSpec) -> Result<Calls, Error> {
        let input = Arc::clone(&spec.input.schema);
        let calls = spec.calls.iter().map(|call| expression(call, spec, &input));
        let calls = calls.collect::<Result<_, DataFusionError>>()?;
        let fields = spec.calls.iter().map(|call| call.output.data_type().clone());
        let converter = RowConverter::new(fields.map(SortField::new).collect())?;
        Ok(Calls { input, output: Arc::clone(&spec.output), calls, converter })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// The rows of a partition, as the functions take them.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn rows(&self, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::clone(&self.input), columns)
    }

    /// What one of them says of the rows of a partition, or why it says nothing.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn evaluate(
        &self,
        number: usize,
        rows: &RecordBatch,
    ) -> Result<Result<ArrayRef, Failure>, Error> {
        let wanted = self.output.field(self.input.fields().len() + number).data_type();
        let call = &self.calls[number];
        let found = guarded(|| call.evaluate(rows))
            .and_then(|found| found.map_err(|error| Failure::of(&error, Some(wanted))));
        match found {
            Ok(column) if column.data_type() == wanted => Ok(Ok(column)),
            Ok(column) => Ok(Ok(cast(&column, wanted)?)),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// The columns of results as bytes.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn encode(&self, results: &[ArrayRef]) -> Result<Encoded, ArrowError> {
        self.converter.convert_columns(results)
    }

    /// The columns of what was said.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn columns<'a>(
        &self,
        said: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, Error> {
        let parser = self.converter.parser();
        let columns = self.converter.convert_rows(said.map(|said| parser.parse(said)))?;
        Ok(columns.into_iter().map(natives::zeroed).collect())
    }
}

fn expression(
    call: &OverCall,
    spec: &OverSpec,
    input: &SchemaRef,
) -> Result<Arc<dyn WindowExpr>, DataFusionError> {
    let column =
        |at: usize| -> Arc<dyn PhysicalExpr> { Arc::new(Column::new(input.field(at).name(), at)) };
    let args: Vec<Arc<dyn PhysicalExpr>> = call.args.iter().map(|arg| Arc::clone(&arg.0)).collect();
    let group: Vec<Arc<dyn PhysicalExpr>> = spec.group.iter().map(|at| column(*at)).collect();
    let order = spec.order.iter().take(call.order).map(|order| {
        let options = SortOptions { descending: order.descending, nulls_first: order.nulls_first };
        PhysicalSortExpr::new(column(order.column), options)
    });
    create_window_expr(
        &sliding(&call.function, &call.frame),
        call.output.name().clone(),
        &args,
        &group,
        &order.collect::<Vec<_>>(),
        Arc::new(call.frame.clone()),
        Arc::clone(input),
        call.ignore_nulls,
        call.distinct,
        call.filter.map(column),
    )
}
