//! Look-ups by key, the short way: `SELECT columns FROM t WHERE key = value`.
//!
//! A query whose plan is no more than that reads the one key itself: DataFusion would optimize, plan and run it for ten
//! times as long as the reading takes. What a client has prepared and is a look-up stays bound until the catalog
//! changes. All else, and a look-up by other columns than the whole key, goes the way of all queries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Cast, Expr, FetchType, LogicalPlan, Operator, TableScan};
use millrace_pg::session::Outcome;
use millrace_sql::{Bound, Catalog};
use millrace_storage::{Scan, Snapshot};
use millrace_types::Report;
use millrace_types::input::Zone;

use super::rows::batch_rows;
use super::tables::QueryTables;
use super::{Conn, report_of};
use crate::queries::Running;
use crate::serving::Values;

/// Texts that stay bound.
const KEPT_MAX: usize = 256;

/// The look-ups that a session has prepared, by their texts.
#[derive(Default)]
pub(super) struct Prepared {
    /// What they are bound to, and in which zone times were read.
    of: Option<(Arc<Catalog>, Zone)>,
    bound: BTreeMap<String, Arc<Bound>>,
}

impl Prepared {
    /// Keeps a query that was bound, if it is a look-up.
    pub(super) fn keep(&mut self, of: (&Arc<Catalog>, Zone), text: &str, bound: &Bound) {
        if !self.is_of(of) || self.bound.len() >= KEPT_MAX {
            (self.of, self.bound) = (Some((Arc::clone(of.0), of.1)), BTreeMap::new());
        }
        if Lookup::of(&bound.plan).is_some() {
            self.bound.insert(text.to_owned(), Arc::new(bound.clone()));
        }
    }

    /// The query of a text for values of these types, if it has been kept.
    pub(super) fn of(
        &self,
        of: (&Arc<Catalog>, Zone),
        text: &str,
        values: &[ScalarValue],
    ) -> Option<Arc<Bound>> {
        let bound = self.bound.get(text).filter(|_| self.is_of(of))?;
        let fits = |(value, wanted): (&ScalarValue, &DataType)| value.data_type() == *wanted;
        let fit = values.len() == bound.parameters.len()
            && values.iter().zip(&bound.parameters).all(fits);
        fit.then(|| Arc::clone(bound))
    }

    fn is_of(&self, (catalog, zone): (&Arc<Catalog>, Zone)) -> bool {
        self.of.as_ref().is_some_and(|(known, of)| Arc::ptr_eq(known, catalog) && *of == zone)
    }
}

impl Conn {
    /// The result of a text that has been prepared and is a look-up; None if it is to be bound.
    pub(super) async fn look_up(
        &mut self,
        running: &Running,
        text: &str,
        parameters: &[ScalarValue],
    ) -> Result<Option<Outcome>, Report> {
        let catalog = self.shared.catalog();
        let of = (&catalog, self.settings.lock().zone());
        let Some(bound) = self.lookups.of(of, text, parameters) else { return Ok(None) };
        // What the transaction has changed stands for the tables.
        if self.given.is_some() || self.uncommitted.has_changes() {
            return Ok(None);
        }
        let tables = self.tables()?;
        tables.open_again(&bound.depends_on)?;
        self.check_reads(&bound, None)?;
        self.pin_well(&tables).await?;
        match Reading::of(&bound, &tables, parameters)? {
            Some(reading) => reading.outcome(running).await.map(Some),
            None => Ok(None),
        }
    }
}

/// A query that is a look-up: columns of the rows in which some columns equal some values.
struct Lookup<'a> {
    scan: &'a TableScan,
    /// The columns of the table that are shown.
    columns: Vec<usize>,
    /// Column and value.
    equal: Vec<(usize, &'a Expr)>,
    limit: Option<usize>,
}

impl<'a> Lookup<'a> {
    /// None for all other queries.
    fn of(plan: &'a LogicalPlan) -> Option<Lookup<'a>> {
        let (limit, plan) = match plan {
            LogicalPlan::Limit(limit) if limit.skip.is_none() => match limit.get_fetch_type() {
                Ok(FetchType::Literal(fetch)) => (fetch, limit.input.as_ref()),
                _ => return None,
            },
            other => (None, other),
        };
        let LogicalPlan::Projection(projection) = plan else { return None };
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return None };
        let scan = match filter.input.as_ref() {
            LogicalPlan::TableScan(scan) => scan,
            LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
                LogicalPlan::TableScan(scan) => scan,
                _ => return None,
            },
            _ => return None,
        };
        if scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return None;
        }
        let columns = projection.expr.iter().map(|expr| column_of(unnamed(expr), scan));
        let columns = columns.collect::<Option<_>>()?;
        let mut equal = Vec::new();
        equalities(&filter.predicate, scan, &mut equal)?;
        Some(Lookup { scan, columns, equal, limit })
    }

    /// What the columns must equal; None if the same column must equal two values, or one that cannot be told.
    /// Nothing equals NULL.
    fn values(&self, parameters: &[ScalarValue]) -> Option<Values> {
        let mut values = Values::new();
        for (column, value) in &self.equal {
            let value = value_of(value, parameters)?;
            let wanted = self.scan.source.schema().field(*column).data_type().clone();
            if value.data_type() != wanted && !value.is_null() {
                return None;
            }
            let value = if value.is_null() { ScalarValue::try_from(&wanted).ok()? } else { value };
            if values.insert(*column, value.to_array().ok()?).is_some() {
                return None;
            }
        }
        Some(values)
    }
}

/// An expression without its other name.
fn unnamed(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unnamed(&alias.expr),
        other => other,
    }
}

/// The place of a column in the table.
fn column_of(expr: &Expr, scan: &TableScan) -> Option<usize> {
    let Expr::Column(column) = expr else { return None };
    scan.source.schema().index_of(&column.name).ok()
}

/// The parts of a conjunction; None if one is no equality of a column and a constant.
fn equalities<'a>(
    condition: &'a Expr,
    scan: &TableScan,
    equal: &mut Vec<(usize, &'a Expr)>,
) -> Option<()> {
    let Expr::BinaryExpr(binary) = condition else { return None };
    match binary.op {
        Operator::And => {
            equalities(&binary.left, scan, equal)?;
            equalities(&binary.right, scan, equal)
        }
        Operator::Eq => {
            let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
            let found = match (column_of(left, scan), column_of(right, scan)) {
                (Some(column), None) => (column, right),
                (None, Some(column)) => (column, left),
                _ => return None,
            };
            is_constant(found.1).then(|| equal.push(found))
        }
        _ => None,
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(Cast { expr, field }) => {
            field.data_type().is_signed_integer() && is_constant(expr)
        }
        _ => false,
    }
}

/// The value of a constant; None where a cast is more than an integer that becomes a wider one.
fn value_of(expr: &Expr, parameters: &[ScalarValue]) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Placeholder(placeholder) => {
            let number: usize = placeholder.id.strip_prefix('$')?.parse().ok()?;
            parameters.get(number.checked_sub(1)?).cloned()
        }
        Expr::Cast(Cast { expr, field }) => {
            let (value, wanted) = (value_of(expr, parameters)?, field.data_type());
            let widens = value.data_type().is_signed_integer()
                && wanted.is_signed_integer()
                && value.data_type().primitive_width() <= wanted.primitive_width();
            widens.then(|| value.cast_to(wanted).ok()).flatten()
        }
        _ => None,
    }
}

/// What a look-up reads: from where, and how many rows at most.
pub(super) struct Reading {
    snapshot: Arc<Snapshot>,
    scan: Scan,
    limit: Option<usize>,
    /// The result's columns.
    shown: SchemaRef,
    /// Where each column of the result is among those that are read.
    places: Vec<usize>,
}

impl Reading {
    /// What is read for a query over tables that are pinned; None if it is no look-up of a whole key.
    pub(super) fn of(
        bound: &Bound,
        tables: &QueryTables,
        parameters: &[ScalarValue],
    ) -> Result<Option<Reading>, Report> {
        let Some(lookup) = Lookup::of(&bound.plan) else { return Ok(None) };
        let [id] = bound.depends_on.as_slice() else { return Ok(None) };
        let Some(provider) = tables.view(*id, lookup.scan.table_name.table()) else {
            return Ok(None);
        };
        let Some(values) = lookup.values(parameters) else { return Ok(None) };
        let read: Vec<usize> =
            lookup.columns.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let places = lookup.columns.iter().filter_map(|column| read.binary_search(column).ok());
        let places = places.collect();
        let found = provider.one_key(&values, read).map_err(|error| report_of(&error))?;
        let limit = lookup.limit;
        Ok(found.map(|(snapshot, scan)| Reading {
            snapshot,
            scan,
            limit,
            shown: Arc::clone(&bound.columns),
            places,
        }))
    }

    /// Reads, on the threads of statements: a file may have to be read.
    pub(super) async fn outcome(self, running: &Running) -> Result<Outcome, Report> {
        running.was_a_lookup();
        let rows = running.run(async move { self.rows() }).await?;
        Ok(batch_rows("SELECT", rows))
    }

    /// The rows, in one batch.
    fn rows(self) -> Result<RecordBatch, Report> {
        let columns = self.scan.columns.clone().unwrap_or_default();
        let mut batches = Vec::new();
        for batch in self.snapshot.scan(self.scan) {
            batches.push(batch.map_err(|error| error.report())?);
        }
        let failed = |error| report_of(&datafusion::error::DataFusionError::from(error));
        let stored = Arc::new(self.snapshot.schema().project(&columns).map_err(failed)?);
        let mut rows = concat_batches(&stored, &batches).map_err(failed)?;
        if let Some(limit) = self.limit.filter(|limit| *limit < rows.num_rows()) {
            rows = rows.slice(0, limit);
        }
        let shown = self.places.iter().map(|place| Arc::clone(rows.column(*place))).collect();
        RecordBatch::try_new(self.shown, shown).map_err(failed)
    }
}
