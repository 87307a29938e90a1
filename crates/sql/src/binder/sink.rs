//! `CREATE SINK`: what it follows, what its messages are, and their key. What the connector makes of its
//! own options it says itself, when the server opens it.

use std::collections::BTreeMap;

use millrace_types::{Report, SqlState, is_hidden};

use super::options;
use crate::ast::{CreateSink, Name, OptionItem};
use crate::catalog::{Catalog, Kind, MaterializedView, Object, Sink, SinkFormat};
use crate::names::{Quoted, nothing_to_follow};

/// The connectors that write.
const CONNECTORS: &[&str] = &["kafka"];
/// Options of ours, which no connector knows.
const OWN: [&str; 5] = ["connector", "key", "primary_key", "force_append_only", "max_lag"];
/// How far a sink may fall behind before its changes are let go, by default: a week.
const MAX_LAG_US: i64 = 7 * 86_400_000_000;

/// Binds a sink, without the secrets that its options name; `unique` is a name that no other sink has
/// anywhere.
///
/// # Errors
/// What is wrong with what it follows, its key or its options.
pub fn bind_sink(catalog: &Catalog, create: &CreateSink, unique: String) -> Result<Sink, Report> {
    let (from, view) = followed(catalog, &create.from)?;
    let given = options::by_name(&create.options)?;
    let connector = connector(create, &given)?;
    let format = format(create)?;
    let key = key(&given, from, view, format)?;
    let max_lag_us = match given.get("max_lag") {
        Some(item) => options::interval_us(&item.value).filter(|us| *us > 0).ok_or_else(|| {
            options::invalid(item, "It is an interval without months, such as '7 days'.")
        })?,
        None => MAX_LAG_US,
    };
    let forced = match given.get("force_append_only") {
        Some(item) => match item.value.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => return Err(options::invalid(item, "Write true or false.")),
        },
        None => false,
    };
    if format == SinkFormat::Plain && !view.plan.root.meta().append_only && !forced {
        let message =
            format!("rows of {} change, which FORMAT PLAIN cannot say", Quoted(&from.name));
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        let position = create.format.as_ref().and_then(|format| format.position);
        return Err(Report { position, ..report }.hint(
            "Write FORMAT UPSERT or DEBEZIUM, or force_append_only = 'true' to leave out the rows that go.",
        ));
    }
    let own = |item: &&OptionItem| !OWN.contains(&item.name.name.as_str()) && !item.is_secret;
    let options = create.options.iter().filter(own);
    Ok(Sink {
        from: from.id,
        connector,
        options: options.map(|o| (o.name.name.clone(), o.value.clone())).collect(),
        secrets: BTreeMap::new(),
        format,
        key,
        max_lag_us,
        unique,
        schema: from.visible_schema(),
    })
}

fn followed<'a>(
    catalog: &'a Catalog,
    name: &Name,
) -> Result<(&'a Object, &'a MaterializedView), Report> {
    let at = |report: Report| Report { position: name.position, ..report };
    let object = catalog.find(&name.name).ok_or_else(|| nothing_to_follow(name))?;
    match &object.kind {
        Kind::MaterializedView(view) => Ok((object, view)),
        Kind::Table(table) => Ok((object, &table.stored)),
        Kind::Source(_) | Kind::View(_) | Kind::Index(_) | Kind::Sink(_) => {
            let kind = object.object_kind().one();
            let message = format!("cannot create a sink from {}: it is {kind}", Quoted(&name.name));
            let report = Report::new(SqlState::WRONG_OBJECT_TYPE, message);
            Err(at(report.hint("Sinks follow tables and materialized views.")))
        }
    }
}

fn connector(create: &CreateSink, given: &BTreeMap<&str, &OptionItem>) -> Result<String, Report> {
    let Some(item) = given.get("connector") else {
        let message = format!("sink {} needs the option \"connector\"", Quoted(&create.name.name));
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        let report = Report { position: create.name.position, ..report };
        return Err(report.hint("Write WITH (connector = 'kafka', ...)."));
    };
    let name = item.value.to_lowercase();
    match CONNECTORS.contains(&name.as_str()) {
        true => Ok(name),
        false => {
            let hint = format!("Sinks have the connectors {}.", CONNECTORS.join(", "));
            Err(options::invalid(item, &hint))
        }
    }
}

fn format(create: &CreateSink) -> Result<SinkFormat, Report> {
    let Some(format) = &create.format else { return Ok(SinkFormat::Plain) };
    let at = |what: String, hint: &str| {
        Err(Report { position: format.position, ..Report::unsupported(what) }.hint(hint))
    };
    if format.encode != "JSON" {
        return at(format!("ENCODE {} of a sink", format.encode), "Write ENCODE JSON.");
    }
    if let Some(item) = format.options.first() {
        return Err(options::unknown(item, &["none"]));
    }
    match SinkFormat::ALL.into_iter().find(|known| known.word() == format.format) {
        Some(found) => Ok(found),
        None => at(
            format!("FORMAT {} of a sink", format.format),
            "Write FORMAT PLAIN, UPSERT or DEBEZIUM.",
        ),
    }
}

/// The columns of the messages' key: as the option says, or the key of the view.
fn key(
    given: &BTreeMap<&str, &OptionItem>,
    from: &Object,
    view: &MaterializedView,
    format: SinkFormat,
) -> Result<Vec<String>, Report> {
    let meta = view.plan.root.meta();
    let own: Vec<&str> = meta.key.iter().map(|at| meta.schema.field(*at).name().as_str()).collect();
    let is_shown = own.iter().all(|name| !is_hidden(name)) && !own.is_empty();
    let Some(item) = given.get("key").or_else(|| given.get("primary_key")) else {
        return match format {
            SinkFormat::Plain => Ok(Vec::new()),
            SinkFormat::Upsert | SinkFormat::Debezium if is_shown => {
                Ok(own.into_iter().map(str::to_owned).collect())
            }
            SinkFormat::Debezium => Ok(Vec::new()),
            SinkFormat::Upsert => {
                let message = format!("{} has no key that its rows show", Quoted(&from.name));
                let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
                Err(report.hint("Group by the key in the view, give the table a PRIMARY KEY, or, over rows that never change, write key = 'a, b'."))
            }
        };
    };
    let schema = from.visible_schema();
    let names: Vec<String> = item.value.split(',').map(|name| name.trim().to_owned()).collect();
    if let Some(unknown) = names.iter().find(|name| schema.index_of(name).is_err()) {
        let message = format!("column {} does not exist", Quoted(unknown));
        let report = Report::new(SqlState::UNDEFINED_COLUMN, message);
        return Err(Report { position: item.value_position, ..report });
    }
    // Else an old row could go after a new one of the same key has come.
    let has_own = own.iter().all(|column| names.iter().any(|name| name == column));
    if format != SinkFormat::Plain && !meta.append_only && !has_own {
        let message = format!("the key of a sink must have the key of {}", Quoted(&from.name));
        let report = Report::new(SqlState::INVALID_OBJECT_DEFINITION, message);
        let report = Report { position: item.value_position, ..report };
        return Err(match is_shown {
            true => report.hint(format!("That is {}.", own.join(", "))),
            false => report.hint("Its rows do not show one: group by the key in the view, or give the table a PRIMARY KEY."),
        });
    }
    Ok(names)
}
