//! COPY TO STDOUT: the rows of a query, of a subscription or of a whole relation, as data.

use arrow::datatypes::Schema;
use millrace_pg::copy::CopyForm;
use millrace_pg::session::{ENDLESS, Outcome};
use millrace_sql::ast::{CopyFormat, CopyHeader, CopyOptions, CopyRows, CopyTo, Name, Statement};
use millrace_types::{Report, SqlState};

use super::change::quoted;
use super::show::positioned;
use super::Conn;

impl Conn {
    pub(super) async fn copy_to(&mut self, copy: CopyTo) -> Result<Outcome, Report> {
        let CopyTo { rows, options, text } = copy;
        let named = matches!(&rows, CopyRows::Relation { columns, .. } if !columns.is_empty());
        let outcome = match rows {
            CopyRows::Relation { relation, columns } => {
                self.whole(&relation, &columns).await.map_err(|report| at(report, &relation))?
            }
            CopyRows::Query(query) => self.query(*query, &text, Vec::new()).await?,
            CopyRows::Subscribe(subscribe) => self.subscribe(&subscribe).await?,
        };
        let Outcome::Rows { schema, rows, verb } = outcome else {
            return Err(Report::new(SqlState::INTERNAL_ERROR, "a copied query gives no rows"));
        };
        let form = form(options, &schema, named)?;
        Ok(Outcome::CopyOut { schema, rows, form, endless: verb == ENDLESS })
    }

    /// The rows of a relation, with these columns.
    async fn whole(&mut self, relation: &Name, columns: &[Name]) -> Result<Outcome, Report> {
        let shown = match columns {
            [] => "*".to_owned(),
            columns => columns.iter().map(|name| quoted(&name.name)).collect::<Vec<_>>().join(", "),
        };
        let text = format!("SELECT {shown} FROM {}", relation.name);
        match millrace_sql::parse(&text)?.pop() {
            Some(Statement::Query(query)) => self.query(*query, &text, Vec::new()).await,
            _ => Err(Report::new(SqlState::INTERNAL_ERROR, "a copy is no query")),
        }
    }
}

/// A report on the query that stands for a relation points at its name.
fn at(report: Report, relation: &Name) -> Report {
    match report.position {
        Some(_) => positioned(report, relation),
        None => report,
    }
}

fn form(options: CopyOptions, schema: &Schema, named: bool) -> Result<CopyForm, Report> {
    let CopyOptions { delimiter, quote, escape, .. } = options;
    let header = options.header != CopyHeader::Absent;
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let forced = options.force_quote.among(&names).map_err(|name| {
        let column = &name.name;
        let (code, message) = match named {
            true => (
                SqlState::INVALID_COLUMN_REFERENCE,
                format!("FORCE_QUOTE column \"{column}\" not referenced by COPY"),
            ),
            false => (SqlState::UNDEFINED_COLUMN, format!("column \"{column}\" does not exist")),
        };
        positioned(Report::new(code, message), name)
    })?;
    let null = options.null;
    Ok(match options.format {
        CopyFormat::Text => CopyForm::Text { delimiter, null, header },
        CopyFormat::Csv => CopyForm::Csv { delimiter, quote, escape, null, header, forced },
        CopyFormat::Binary => CopyForm::Binary,
    })
}
