//! `pg_cancel_backend` and `pg_terminate_backend`: who may end what others run.
//!
//! A superuser, or a session of the same user, as in PostgreSQL.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ScalarUDF, Volatility};
use millrace_types::{Report, SqlState};

use super::functions::{Body, Client, argument, array, function};
use super::model::{Relations, Signal};

/// Both functions, for a session.
pub(super) fn all(client: &Client, relations: &Arc<dyn Relations>) -> Vec<ScalarUDF> {
    let both = [("pg_cancel_backend", Signal::Cancel), ("pg_terminate_backend", Signal::Terminate)];
    both.map(|(name, signal)| {
        let (client, relations) = (client.clone(), Arc::clone(relations));
        let body: Body = Arc::new(move |args, rows| {
            let processes = argument(args, 0, rows, &DataType::Int32)?;
            let sent = |process: Option<i32>| {
                process
                    .map(|process| send(&client, relations.as_ref(), process, signal))
                    .transpose()
            };
            let sent = processes.as_primitive::<Int32Type>().iter().map(sent);
            array(sent.collect::<DfResult<BooleanArray>>()?)
        });
        function(name, Volatility::Volatile, DataType::Boolean, body)
    })
    .into()
}

/// False if there is no such session.
fn send(
    client: &Client,
    relations: &dyn Relations,
    process: i32,
    signal: Signal,
) -> DfResult<bool> {
    let activity = relations.activity();
    let Some(other) = activity.iter().find(|one| one.process == process) else { return Ok(false) };
    let mut roles = relations.roles().into_iter();
    let superuser = roles.any(|role| role.name == client.user && role.superuser);
    if !superuser && other.role_name != client.user {
        let what = match signal {
            Signal::Cancel => "cancel query",
            Signal::Terminate => "terminate process",
        };
        let message = format!("permission denied to {what}");
        let report = Report::new(SqlState::INSUFFICIENT_PRIVILEGE, message);
        let detail = "Only a superuser, or the user whose session it is, may do it.";
        return Err(DataFusionError::External(Box::new(report.detail(detail))));
    }
    Ok(relations.signal(process, signal))
}
