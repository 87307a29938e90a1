//! A statement that calculates, and how it is ended from outside.
//!
//! Operators of a SELECT work inside one call for as long as their inputs have something: a join of everything
//! with everything never comes back by itself. So [`watched`] puts a node above each operator that makes more
//! than it reads, and above what reads, which gives its thread back at each new [`Watch::turn`], and fails once the statement has
//! been ended; and the condition of a join looks whether it has been ended for each stretch of pairs.
//!
//! Invariants: 1. rows pass as they are: a watched plan gives what the plan gives. 2. who is woken again has
//! said so itself (`poll_next` wakes before it is pending).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::Stream;
use millrace_types::Report;

/// Operators of one input that are watched.
const WATCHED: [&str; 6] = [
    "AggregateExec",
    "BoundedWindowAggExec",
    "RecursiveQueryExec",
    "SortExec",
    "UnnestExec",
    "WindowAggExec",
];

/// What is known of a statement while it calculates.
#[derive(Debug)]
pub struct Watch {
    ended: OnceLock<Report>,
    /// Grows every few milliseconds.
    turns: Arc<AtomicU64>,
    /// Bytes of rows that its operators have handed on.
    moved: AtomicUsize,
    /// Why it did not get memory that it asked for.
    refused: OnceLock<Report>,
}

impl Watch {
    /// A statement that begins; `turns` grows every few milliseconds.
    pub fn new(turns: Arc<AtomicU64>) -> Watch {
        let (ended, refused) = Default::default();
        Watch { ended, turns, moved: AtomicUsize::new(0), refused }
    }

    /// Ends the statement with an error; the first one stays.
    pub fn end(&self, report: Report) {
        // It has ended already.
        self.ended.set(report).unwrap_or_default();
    }

    /// It did not get memory that it asked for.
    pub fn refuse(&self, report: Report) {
        // The first reason is as good.
        self.refused.set(report).unwrap_or_default();
    }

    /// What is told of an error: where there is no memory, operators have words of their own.
    pub fn told(&self, error: DataFusionError) -> DataFusionError {
        match (error.find_root(), self.refused.get()) {
            (DataFusionError::ResourcesExhausted(_), Some(report)) => {
                DataFusionError::External(Box::new(report.clone()))
            }
            _ => error,
        }
    }

    /// # Errors
    /// It has been ended.
    pub fn check(&self) -> Result<()> {
        match self.ended.get() {
            None => Ok(()),
            Some(report) => Err(DataFusionError::External(Box::new(report.clone()))),
        }
    }

    /// Bytes of rows that its operators have handed on: of how much it works, about.
    pub fn moved(&self) -> usize {
        self.moved.load(Ordering::Relaxed)
    }

    /// Changes when it is time to let others on the thread.
    fn turn(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }
}

/// The plan, which ends when the statement is ended, and lets others on its threads.
///
/// # Errors
/// A program error: an operator that does not take its own inputs.
pub fn watched(plan: Arc<dyn ExecutionPlan>, watch: &Arc<Watch>) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(Watched { input: inner(plan, watch)?, watch: Arc::clone(watch) }))
}

fn inner(plan: Arc<dyn ExecutionPlan>, watch: &Arc<Watch>) -> Result<Arc<dyn ExecutionPlan>> {
    let children = plan.children().into_iter().cloned();
    let children: Vec<_> = children.map(|child| inner(child, watch)).collect::<Result<_>>()?;
    // Of what has no inputs too: some operators gather all of it before they hand anything on.
    let watches = children.len() != 1 || WATCHED.contains(&plan.name());
    let plan = match plan.downcast_ref::<HashJoinExec>() {
        Some(join) if join.filter().is_some() => {
            let filter = join.filter().map(|filter| condition(filter, watch));
            Arc::new(HashJoinExecBuilder::from(join).with_filter(filter).build()?)
        }
        _ => plan,
    };
    let plan = match plan.downcast_ref::<NestedLoopJoinExec>() {
        Some(join) => nested_loop(join, children, watch)?,
        None if children.is_empty() => plan,
        None => {
            let same = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
            plan.replace_children(children, same)?
        }
    };
    Ok(match watches {
        true => Arc::new(Watched { input: plan, watch: Arc::clone(watch) }),
        false => plan,
    })
}

fn nested_loop(
    join: &NestedLoopJoinExec,
    mut children: Vec<Arc<dyn ExecutionPlan>>,
    watch: &Arc<Watch>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let (Some(right), Some(left)) = (children.pop(), children.pop()) else {
        return datafusion::common::internal_err!("a join has two inputs");
    };
    let filter = join.filter().map(|filter| condition(filter, watch));
    let join = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
        .with_projection_ref(join.projection().clone())
        .with_filter(filter)
        .build()?;
    Ok(Arc::new(join))
}

fn condition(filter: &JoinFilter, watch: &Arc<Watch>) -> JoinFilter {
    let inner = Arc::clone(filter.expression());
    let inner = Arc::new(Condition { inner, watch: Arc::clone(watch) });
    JoinFilter::new(inner, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
}

/// The node above an operator.
#[derive(Debug)]
struct Watched {
    input: Arc<dyn ExecutionPlan>,
    watch: Arc<Watch>,
}

impl DisplayAs for Watched {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched")
    }
}

impl ExecutionPlan for Watched {
    fn name(&self) -> &'static str {
        "Watched"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(input) => Arc::new(Watched { input, watch: Arc::clone(&self.watch) }),
            None => self,
        })
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        task: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, task)?;
        let (schema, watch) = (input.schema(), Arc::clone(&self.watch));
        Ok(Box::pin(Rows { input, schema, turn: watch.turn(), watch }))
    }
}

/// The rows of an operator.
struct Rows {
    input: SendableRecordBatchStream,
    schema: SchemaRef,
    watch: Arc<Watch>,
    /// When it last let others on the thread.
    turn: u64,
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(error) = self.watch.check() {
            return Poll::Ready(Some(Err(error)));
        }
        let turn = self.watch.turn();
        if self.turn != turn {
            self.turn = turn;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.input.as_mut().poll_next(context);
        match &next {
            Poll::Ready(Some(Ok(batch))) => {
                let bytes = batch.get_array_memory_size();
                self.watch.moved.fetch_add(bytes, Ordering::Relaxed);
            }
            Poll::Ready(_) => {}
            // Whoever waits has let others on.
            Poll::Pending => self.turn = turn,
        }
        next
    }
}

impl RecordBatchStream for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The condition of a join, which may have nothing to hand on for hours.
#[derive(Debug)]
struct Condition {
    inner: Arc<dyn PhysicalExpr>,
    watch: Arc<Watch>,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Condition) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Condition {}

impl Hash for Condition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for Condition {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.watch.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(match children.pop() {
            Some(inner) => Arc::new(Condition { inner, watch: Arc::clone(&self.watch) }),
            None => self,
        })
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
