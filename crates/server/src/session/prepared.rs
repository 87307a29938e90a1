//! Prepared statements: PREPARE, EXECUTE, DEALLOCATE.
//!
//! Those of SQL and those of the protocol have their names in common, as in PostgreSQL: EXECUTE runs either,
//! DEALLOCATE lets go of either. A statement is planned each time it runs.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use futures::StreamExt;
use millrace_pg::catalog::PreparedRow;
use millrace_pg::session::{Outcome, Prepared, Statement as Text};
use millrace_sql::ast::{Expression, Name, PrepareStatement, Statement};
use millrace_types::{Report, SqlState, SqlType};

use super::show::positioned;
use super::{Conn, parse_one, report_of};

/// A statement that waits for values.
#[derive(Clone)]
pub(super) struct PreparedStatement {
    text: Text,
    parameters: Vec<DataType>,
    columns: Option<SchemaRef>,
    /// The whole PREPARE; None: the connection has the statement too.
    from_sql: Option<String>,
    /// When it was prepared, microseconds since 1970.
    at: i64,
    /// How many times it was planned for values.
    pub(super) plans: i64,
}

impl PreparedStatement {
    /// As `pg_prepared_statements` shows it.
    pub(super) fn row(&self, name: &str) -> PreparedRow {
        let types = |schema: &SchemaRef| {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        PreparedRow {
            name: name.to_owned(),
            statement: self.from_sql.as_ref().unwrap_or(&self.text.text).clone(),
            at: self.at,
            parameters: self.parameters.clone(),
            columns: self.columns.as_ref().map(types),
            from_sql: self.from_sql.is_some(),
            plans: self.plans,
        }
    }
}

impl Conn {
    pub(super) async fn prepare_named(
        &mut self,
        prepare: &PrepareStatement,
        whole: &str,
    ) -> Result<(), Report> {
        let name = &prepare.name;
        self.check_unused(&name.name).map_err(|report| positioned(report, name))?;
        let text = Text { text: prepare.text.clone(), offset: prepare.offset };
        let hints: Vec<_> = prepare.types.iter().map(|known| Some(known.arrow())).collect();
        let known = self.prepare_statement(&text, &hints).await;
        let Prepared { mut parameters, columns } = known.map_err(|report| within(report, &text))?;
        // Types of parameters that do not occur.
        parameters.extend(hints.into_iter().skip(parameters.len()).flatten());
        let (from_sql, at) = (Some(whole.to_owned()), self.shared.clock.now());
        let statement = PreparedStatement { text, parameters, columns, from_sql, at, plans: 0 };
        self.named.prepared.lock().insert(name.name.clone(), statement);
        Ok(())
    }

    /// A statement that the protocol has prepared.
    pub(super) fn keep_prepared(
        &mut self,
        name: &str,
        statement: &Text,
        known: Prepared,
    ) -> Result<(), Report> {
        self.check_unused(name)?;
        let Prepared { parameters, columns } = known;
        let (text, at) = (statement.clone(), self.shared.clock.now());
        let statement =
            PreparedStatement { text, parameters, columns, from_sql: None, at, plans: 0 };
        self.named.prepared.lock().insert(name.to_owned(), statement);
        Ok(())
    }

    fn check_unused(&self, name: &str) -> Result<(), Report> {
        match self.named.prepared.lock().contains_key(name) {
            false => Ok(()),
            true => {
                let message = format!("prepared statement \"{name}\" already exists");
                Err(Report::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message))
            }
        }
    }

    fn named(&self, name: &Name) -> Result<PreparedStatement, Report> {
        let found = self.named.prepared.lock().get(&name.name).cloned();
        found.ok_or_else(|| positioned(missing(&name.name), name))
    }

    /// The statement of a name that EXECUTE may run: not another EXECUTE, and so on.
    fn executable(&self, name: &Name) -> Result<PreparedStatement, Report> {
        let found = self.named(name)?;
        match found.text.text.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("EXECUTE")) {
            true => {
                let report = Report::unsupported("EXECUTE of a statement that is an EXECUTE");
                Err(positioned(report, name))
            }
            false => Ok(found),
        }
    }

    /// What is known of an EXECUTE before it runs.
    pub(super) async fn prepare_execute(&mut self, name: &Name) -> Result<Prepared, Report> {
        let PreparedStatement { text, parameters, .. } = self.executable(name)?;
        let hints: Vec<_> = parameters.into_iter().map(Some).collect();
        let known = Box::pin(self.prepare_statement(&text, &hints)).await;
        // Its positions count in a text that is not the one that was sent.
        let known = known.map_err(|report| Report { position: None, ..report })?;
        Ok(Prepared { parameters: Vec::new(), columns: known.columns })
    }

    pub(super) async fn execute_named(
        &mut self,
        name: &Name,
        arguments: &[Expression],
    ) -> Result<Outcome, Report> {
        let PreparedStatement { text, parameters, .. } = self.executable(name)?;
        let (given, wanted) = (arguments.len(), parameters.len());
        if given != wanted {
            let message =
                format!("wrong number of parameters for prepared statement \"{}\"", name.name);
            let detail = format!("Expected {wanted} parameters but got {given}.");
            let report = Report::new(SqlState::SYNTAX_ERROR, message).detail(detail);
            return Err(positioned(report, name));
        }
        let values = self.values_of(arguments, &parameters).await?;
        self.named.planned(&name.name);
        let outcome = Box::pin(self.statement(&text.text, values)).await;
        // Its positions count in a text that is not the one that was sent.
        outcome.map_err(|report| Report { position: None, ..report })
    }

    /// Constants as values of some types.
    async fn values_of(
        &mut self,
        arguments: &[Expression],
        types: &[DataType],
    ) -> Result<Vec<ScalarValue>, Report> {
        let mut values = Vec::with_capacity(types.len());
        for (argument, wanted) in arguments.iter().zip(types) {
            let pointed = |report: Report| Report { position: argument.position, ..report };
            let name = SqlType::of_arrow(wanted).unwrap_or(SqlType::Text).name();
            let sql = format!("SELECT CAST(({}) AS {name})", argument.text);
            let value = self.value(&sql).await.map_err(pointed)?;
            values.push(value.cast_to(wanted).map_err(|error| pointed(report_of(&error)))?);
        }
        Ok(values)
    }

    /// The one value of a query without tables.
    async fn value(&mut self, sql: &str) -> Result<ScalarValue, Report> {
        let constant = || Report::unsupported("an EXECUTE with anything but constants");
        let Some(Statement::Query(query)) = parse_one(sql)? else { return Err(constant()) };
        let Outcome::Rows { mut rows, .. } = self.query(*query, sql, Vec::new()).await? else {
            return Err(constant());
        };
        let batch = rows.next().await.ok_or_else(constant)?;
        let batch = batch.map_err(|error| report_of(&error))?;
        ScalarValue::try_from_array(batch.column(0), 0).map_err(|error| report_of(&error))
    }

    /// `DEALLOCATE name`, or all of them.
    pub(super) fn deallocate(&mut self, name: Option<&str>) -> Result<(), Report> {
        let mut prepared = self.named.prepared.lock();
        let gone = match name {
            None => std::mem::take(&mut *prepared),
            Some(name) => {
                let gone = prepared.remove_entry(name).ok_or_else(|| missing(name))?;
                std::iter::once(gone).collect()
            }
        };
        drop(prepared);
        let by_protocol = gone.into_iter().filter(|(_, statement)| statement.from_sql.is_none());
        self.deallocated.extend(by_protocol.map(|(name, _)| name));
        Ok(())
    }
}

/// An error of a statement that begins further on in the text.
fn within(report: Report, text: &Text) -> Report {
    Report { position: report.position.map(|position| position + text.offset), ..report }
}

fn missing(name: &str) -> Report {
    let message = format!("prepared statement \"{name}\" does not exist");
    Report::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
}
