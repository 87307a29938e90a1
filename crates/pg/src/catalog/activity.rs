//! `pg_stat_activity` as a session sees it: what others ask, who is no superuser does not see.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use millrace_types::TIME_ZONE;

use super::functions::Client;
use super::model::{Activity, Relations};

/// What stands for what is not shown.
const HIDDEN: &str = "<insufficient privilege>";

/// The table; for nobody it has its columns alone.
pub(super) fn table(relations: &dyn Relations, client: Option<&Client>) -> DfResult<RecordBatch> {
    let superuser = |client: &Client| {
        relations.roles().iter().any(|role| role.name == client.user && role.superuser)
    };
    let (all, sees_all) = match client {
        Some(client) => (relations.activity(), superuser(client)),
        None => (Vec::new(), false),
    };
    let own = client.map(|client| client.session_user.as_str());
    let shown = |one: &Activity| sees_all || own == Some(one.role_name.as_str());
    let text = |value: &dyn Fn(&Activity) -> Option<String>| -> ArrayRef {
        Arc::new(all.iter().map(value).collect::<StringArray>())
    };
    let oid = |value: &dyn Fn(&Activity) -> u32| -> ArrayRef {
        Arc::new(all.iter().map(|one| Some(value(one))).collect::<UInt32Array>())
    };
    let time = |value: &dyn Fn(&Activity) -> Option<i64>| -> ArrayRef {
        let times = all.iter().map(value).collect::<TimestampMicrosecondArray>();
        Arc::new(times.with_timezone(TIME_ZONE))
    };
    let null = |data_type: &DataType| new_null_array(data_type, all.len());
    let locks = relations.locks();
    let waiting = locks.iter().filter(|lock| lock.waits_since.is_some()).map(|lock| lock.process);
    let waiting: Vec<i32> = waiting.collect();
    let waits = |one: &Activity| {
        let event = match waiting.contains(&one.process) {
            true => Some(("Lock", "relation")),
            false => (one.state != "active").then_some(("Client", "ClientRead")),
        };
        event.filter(|_| shown(one))
    };
    let process: ArrayRef =
        Arc::new(all.iter().map(|one| Some(one.process)).collect::<Int32Array>());
    let if_shown = |value: fn(&Activity) -> String| text(&|one| shown(one).then(|| value(one)));
    let query = text(&|one| Some(if shown(one) { one.query.clone() } else { HIDDEN.to_owned() }));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("datid", oid(&|_| 5)),
        ("datname", text(&|_| Some("dev".to_owned()))),
        ("pid", process),
        ("leader_pid", null(&DataType::Int32)),
        ("usesysid", oid(&|one| one.role)),
        ("usename", text(&|one| Some(one.role_name.clone()))),
        ("application_name", text(&|one| Some(one.application.clone()))),
        ("client_addr", text(&|one| one.address.clone().filter(|_| shown(one)))),
        ("client_hostname", null(&DataType::Utf8)),
        ("client_port", null(&DataType::Int32)),
        ("backend_start", time(&|one| Some(one.began).filter(|_| shown(one)))),
        ("xact_start", time(&|_| None)),
        ("query_start", time(&|one| one.query_began.filter(|_| shown(one)))),
        ("state_change", time(&|one| Some(one.changed).filter(|_| shown(one)))),
        ("wait_event_type", text(&|one| Some(waits(one)?.0.to_owned()))),
        ("wait_event", text(&|one| Some(waits(one)?.1.to_owned()))),
        ("state", if_shown(|one| one.state.clone())),
        ("backend_xid", null(&DataType::UInt32)),
        ("backend_xmin", null(&DataType::UInt32)),
        ("query_id", null(&DataType::Int64)),
        ("query", query),
        ("backend_type", text(&|_| Some("client backend".to_owned()))),
    ];
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
