//! Numbers of sequences: `nextval`, `currval`, `lastval`, `setval`, `pg_get_serial_sequence`.
//!
//! Who may insert into the table that a sequence belongs to, or change it, may take its numbers.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use millrace_types::{Report, SqlState};

use super::functions::{Body, Client, argument, array, function, texts};
use super::model::{On, Relations, Sequence};
use super::{PUBLIC, named};

/// The functions, for a session.
pub(super) fn all(client: &Client, relations: &Arc<dyn Relations>) -> Vec<ScalarUDF> {
    vec![
        nextval(client, relations),
        currval(client, relations),
        lastval(client),
        setval(client, relations),
        serial_sequence(relations),
    ]
}

fn external(report: Report) -> DataFusionError {
    DataFusionError::External(Box::new(report))
}

/// The last part of a name, folded unless it stands in quotes.
fn last_part(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_prefix(PUBLIC).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_ascii_lowercase(),
    }
}

/// The sequences that a function is asked for, by names or numbers.
fn wanted(
    args: &[ColumnarValue],
    rows: usize,
    relations: &dyn Relations,
) -> DfResult<Vec<Option<Sequence>>> {
    let all = relations.sequences();
    let is_text = args.first().is_none_or(|arg| arg.data_type() == DataType::Utf8);
    if is_text {
        let found = texts(args, 0, rows)?;
        let found = found.iter().map(|name| name.map(|name| by_name(&all, relations, name)));
        return found.map(Option::transpose).collect();
    }
    let numbers = argument(args, 0, rows, &DataType::Int64)?;
    let one = |number: i64| {
        let found = all.iter().find(|one| i64::from(one.oid) == number).cloned();
        found.ok_or_else(|| {
            let message = format!("could not open relation with OID {number}");
            external(Report::new(SqlState::UNDEFINED_TABLE, message))
        })
    };
    numbers.as_primitive::<Int64Type>().iter().map(|number| number.map(one).transpose()).collect()
}

fn by_name(all: &[Sequence], relations: &dyn Relations, name: &str) -> DfResult<Sequence> {
    let last = last_part(name);
    if let Some(found) = all.iter().find(|one| one.name == last) {
        return Ok(found.clone());
    }
    let is_other = relations.relations().iter().any(|one| one.name == last);
    Err(external(match is_other {
        true => {
            let message = format!("\"{last}\" is not a sequence");
            Report::new(SqlState::WRONG_OBJECT_TYPE, message)
        }
        false => {
            let message = format!("relation \"{last}\" does not exist");
            Report::new(SqlState::UNDEFINED_TABLE, message)
                .hint("Columns of type SERIAL and identity columns have sequences.")
        }
    }))
}

/// An error unless the role of the session may take numbers of a sequence, or see them.
fn check(
    client: &Client,
    relations: &dyn Relations,
    sequence: &Sequence,
    rights: &[&str],
) -> DfResult<()> {
    let role = relations.roles().into_iter().find(|role| role.name == client.user);
    let on = On::Relation(sequence.table);
    let may = |right: &&str| {
        role.as_ref().is_some_and(|role| relations.allows(role.oid, on, right) == Some(true))
    };
    match rights.iter().any(may) {
        true => Ok(()),
        false => {
            let message = format!("permission denied for sequence {}", sequence.name);
            let hint = "GRANT INSERT ON its table lets a role take numbers.";
            Err(external(Report::new(SqlState::INSUFFICIENT_PRIVILEGE, message).hint(hint)))
        }
    }
}

/// `nextval(sequence)`: a number for each row.
fn nextval(client: &Client, relations: &Arc<dyn Relations>) -> ScalarUDF {
    let (client, relations) = (client.clone(), Arc::clone(relations));
    let body: Body = Arc::new(move |args, rows| {
        let wanted = wanted(args, rows, relations.as_ref())?;
        let mut numbers = Vec::with_capacity(rows);
        // Rows that ask for the same sequence take its numbers together.
        for run in wanted.chunk_by(|a, b| a.as_ref().map(|a| a.oid) == b.as_ref().map(|b| b.oid)) {
            let Some(Some(sequence)) = run.first() else {
                numbers.extend(run.iter().map(|_| None));
                continue;
            };
            check(&client, relations.as_ref(), sequence, &["INSERT", "UPDATE"])?;
            let taken = relations.numbers(sequence.oid, run.len()).map_err(external)?;
            taken.last().iter().for_each(|last| client.lists.took(sequence.oid, **last));
            numbers.extend(taken.into_iter().map(Some));
        }
        array(Int64Array::from(numbers))
    });
    function("nextval", Volatility::Volatile, DataType::Int64, body)
}

/// `currval(sequence)`: the last number that this session has got of it.
fn currval(client: &Client, relations: &Arc<dyn Relations>) -> ScalarUDF {
    let (client, relations) = (client.clone(), Arc::clone(relations));
    let body: Body = Arc::new(move |args, rows| {
        let one = |sequence: Option<Sequence>| {
            let Some(sequence) = sequence else { return Ok(None) };
            check(&client, relations.as_ref(), &sequence, &["INSERT", "UPDATE", "SELECT"])?;
            let taken = client.lists.taken(Some(sequence.oid));
            let (_, number) = taken.ok_or_else(|| {
                undefined(&format!("currval of sequence \"{}\" is", sequence.name))
            })?;
            Ok(Some(number))
        };
        let found = wanted(args, rows, relations.as_ref())?.into_iter().map(one);
        array(found.collect::<DfResult<Int64Array>>()?)
    });
    function("currval", Volatility::Volatile, DataType::Int64, body)
}

fn undefined(what: &str) -> DataFusionError {
    let message = format!("{what} not yet defined in this session");
    external(Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message))
}

/// `lastval()`: the last number that this session has got of any sequence.
fn lastval(client: &Client) -> ScalarUDF {
    let client = client.clone();
    let body: Body = Arc::new(move |_, rows| {
        let (_, number) = client.lists.taken(None).ok_or_else(|| undefined("lastval is"))?;
        array(Int64Array::from(vec![number; rows]))
    });
    function("lastval", Volatility::Volatile, DataType::Int64, body)
}

/// `setval(sequence, number [, is_called])`: the next number comes behind it, or is it.
fn setval(client: &Client, relations: &Arc<dyn Relations>) -> ScalarUDF {
    let (client, relations) = (client.clone(), Arc::clone(relations));
    let body: Body = Arc::new(move |args, rows| {
        let sequences = wanted(args, rows, relations.as_ref())?;
        let numbers = argument(args, 1, rows, &DataType::Int64)?;
        let called = match args.len() {
            2 => BooleanArray::from(vec![true; rows]),
            _ => argument(args, 2, rows, &DataType::Boolean)?.as_boolean().clone(),
        };
        let numbers = numbers.as_primitive::<Int64Type>();
        let one = |((sequence, number), called)| match (sequence, number, called) {
            (Some(sequence), Some(number), Some(called)) => {
                let sequence: Sequence = sequence;
                check(&client, relations.as_ref(), &sequence, &["UPDATE"])?;
                relations.set_number(sequence.oid, number, called).map_err(external)?;
                if called {
                    client.lists.took(sequence.oid, number);
                }
                Ok(Some(number))
            }
            _ => Ok(None),
        };
        let set = sequences.into_iter().zip(numbers).zip(&called).map(one);
        array(set.collect::<DfResult<Int64Array>>()?)
    });
    function("setval", Volatility::Volatile, DataType::Int64, body)
}

/// `pg_get_serial_sequence(table, column)`: the table's name as SQL writes it, the column's as it is.
fn serial_sequence(relations: &Arc<dyn Relations>) -> ScalarUDF {
    let relations = Arc::clone(relations);
    let body: Body = Arc::new(move |args, rows| {
        let (tables, columns) = (texts(args, 0, rows)?, texts(args, 1, rows)?);
        let all = relations.relations();
        let sequences = relations.sequences();
        let one = |(table, column): (Option<&str>, Option<&str>)| -> DfResult<Option<String>> {
            let (Some(table), Some(column)) = (table, column) else { return Ok(None) };
            let last = last_part(table);
            let found = all.iter().find(|one| one.name == last && one.schema == PUBLIC);
            let found = found.ok_or_else(|| {
                let message = format!("relation \"{last}\" does not exist");
                external(Report::new(SqlState::UNDEFINED_TABLE, message))
            })?;
            let place = found.columns.fields().iter().position(|field| field.name() == column);
            let place = place.and_then(|place| i16::try_from(place + 1).ok()).ok_or_else(|| {
                let message = format!("column \"{column}\" of relation \"{last}\" does not exist");
                external(Report::new(SqlState::UNDEFINED_COLUMN, message))
            })?;
            let of = |one: &&Sequence| one.table == found.oid && one.column == place;
            let name = sequences.iter().find(of).map(|one| named::quoted(&one.name));
            Ok(name.map(|name| format!("{PUBLIC}.{name}")))
        };
        let names = tables.iter().zip(columns.iter()).map(one);
        array(names.collect::<DfResult<StringArray>>()?)
    });
    function("pg_get_serial_sequence", Volatility::Stable, DataType::Utf8, body)
}
