//! Connecting sources of the catalog, and the anchors of those whose rows are made here.
//!
//! A `datagen` source makes row n at a time that an anchor (n0, t0) fixes. Anchors are kept beside
//! the catalog: one from the creation, one more from each restart, so that every row that was ever
//! made can be made again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_connectors::datagen::Anchor;
use millrace_connectors::{Definition, Encoding, Format, Include, IncludeKind};
use millrace_dataflow::source::{Connector, SourceError};
use millrace_sql::Source;
use millrace_storage::{Op, Store};
use millrace_types::{ObjectId, PartitionId, Report, SqlState, SqlType};

use crate::clock::Clock;
use crate::coordinator::{BuiltSource, LATE_ROWS, ON_ERROR, built_source};
use crate::error::ServerError;

/// The connectors, for the binder.
pub(crate) const CONNECTORS: millrace_sql::Connectors<'static> = millrace_sql::Connectors {
    names: millrace_connectors::NAMES,
    columns: &millrace_connectors::fixed_columns,
};

/// Options of ours, which no connector knows.
const DURATIONS: [&str; 2] = ["source_idle_timeout", "max_future"];

/// Options of ours that say what becomes of what is not taken, each with its values; the first one is
/// the default. They may be changed.
pub(crate) const POLICIES: [(&str, &[&str]); 2] =
    [(ON_ERROR, &["record", "fail", "skip"]), (LATE_ROWS, &["record", "skip"])];

/// Options as the connector takes them.
fn connector_options(source: &Source) -> BTreeMap<String, String> {
    let policy = |name: &String| POLICIES.iter().any(|(policy, _)| policy == name);
    let own = |name: &String| DURATIONS.contains(&name.as_str()) || policy(name);
    source.options.iter().filter(|(n, _)| !own(n)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// Checks the options of ours.
///
/// # Errors
/// A value that is no duration, or none of those that an option has.
pub(crate) fn check_options(source: &Source) -> Result<(), Report> {
    for name in DURATIONS {
        if let Some(value) = source.options.get(name)
            && let Err(reason) = crate::config::duration(value)
        {
            let message = format!("invalid value for option \"{name}\": {reason}");
            return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .hint("Write a number with a unit, for example '5s' or '1h'."));
        }
    }
    let policies = POLICIES.iter().filter_map(|(name, _)| source.options.get_key_value(*name));
    policies.into_iter().try_for_each(|(name, value)| check_policy(name, value))
}

/// Checks the value of an option that may be changed.
///
/// # Errors
/// Another option, or a value that it does not have.
pub(crate) fn check_policy(name: &str, value: &str) -> Result<(), Report> {
    let invalid = |message| Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let Some((_, values)) = POLICIES.iter().find(|(policy, _)| *policy == name) else {
        let names = POLICIES.map(|(policy, _)| policy).join(" and ");
        let message = format!("option \"{name}\" cannot be changed");
        return Err(invalid(message).hint(format!("Options that can be changed are {names}.")));
    };
    if values.contains(&value) {
        return Ok(());
    }
    let message = format!("invalid value for option \"{name}\": \"{value}\"");
    let values: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    Err(invalid(message).hint(format!("Write one of {}.", values.join(", "))))
}

/// Connects a source; does not wait for a broker.
///
/// # Errors
/// Options that the connector does not take.
pub(crate) fn connect(
    anchors: Vec<Anchor>,
    clock: &Clock,
    source: &Source,
) -> Result<Arc<dyn Connector>, SourceError> {
    let connected = millrace_connectors::connect(&definition(anchors, clock, source)?);
    let hide = |error| without_secrets(error, &source.options, &source.secrets);
    connected.map(Arc::from).map_err(hide)
}

/// The error without the values of secrets and of confidential options, which it may repeat.
pub(crate) fn without_secrets(
    error: SourceError,
    options: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, ObjectId>,
) -> SourceError {
    let hidden = |(name, _): &(&String, &String)| {
        secrets.contains_key(*name) || millrace_sql::is_confidential(name)
    };
    let values = options.iter().filter(hidden).map(|(_, value)| value);
    let values: Vec<&String> = values.filter(|value| !value.is_empty()).collect();
    let masked = |reason: String| {
        values.iter().fold(reason, |reason, value| reason.replace(value.as_str(), "********"))
    };
    match error {
        SourceError::Unreachable(reason) => SourceError::Unreachable(masked(reason)),
        SourceError::Gone(reason) => SourceError::Gone(masked(reason)),
        SourceError::Invalid(reason) => SourceError::Invalid(masked(reason)),
    }
}

/// How long a source may take to answer at CREATE.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// The columns that the messages of a source without columns seem to have.
///
/// # Errors
/// A topic that cannot be read, or that tells nothing.
pub(crate) fn infer(
    clock: &Clock,
    source: &Source,
    timeout: Duration,
) -> Result<Vec<(String, SqlType)>, SourceError> {
    let found = millrace_connectors::infer(&definition(Vec::new(), clock, source)?, timeout);
    found.map_err(|error| without_secrets(error, &source.options, &source.secrets))
}

fn definition(
    anchors: Vec<Anchor>,
    clock: &Clock,
    source: &Source,
) -> Result<Definition, SourceError> {
    let include = source.include.iter().filter_map(|include| {
        let kind = IncludeKind::parse(include.kind.word())?;
        Some(Include { kind, name: include.name.clone() })
    });
    Ok(Definition {
        connector: source.connector.clone(),
        options: connector_options(source),
        columns: source.physical_fields().into_iter().map(Arc::new).collect(),
        include: include.collect(),
        format: Format::parse(&source.format).ok_or_else(|| unknown(&source.format))?,
        encoding: Encoding::parse(&source.encode).ok_or_else(|| unknown(&source.encode))?,
        key: source.key.clone(),
        identity: source.identity.clone(),
        anchors,
        clock: clock.shared(),
    })
}

fn unknown(word: &str) -> SourceError {
    SourceError::Invalid(format!("{word} is no format that the connector has"))
}

/// What a view is filled from.
#[derive(Default)]
pub struct Connected {
    pub(crate) sources: BTreeMap<ObjectId, Arc<BuiltSource>>,
    pub(crate) ends: BTreeMap<ObjectId, BTreeMap<PartitionId, i64>>,
    /// Where the source no longer holds all from its start on: the first offset that is there.
    pub(crate) gone: Vec<(ObjectId, PartitionId, i64)>,
}

/// Connects sources and asks for what they hold.
///
/// # Errors
/// Those of a source that does not answer.
pub(crate) fn connect_all(
    shared: &crate::shared::Shared,
    sources: BTreeMap<ObjectId, Source>,
) -> Result<Connected, ServerError> {
    let mut all = Connected::default();
    for (id, source) in sources {
        let mut built = built_source(&shared.store, &shared.clock, id, &source)?;
        let extents = built.connector.extents(CONNECT_TIMEOUT)?;
        for extent in &extents {
            let start = built.starts.entry(extent.partition).or_default();
            if extent.first > *start {
                *start = extent.first;
                all.gone.push((id, extent.partition, extent.first));
            }
        }
        let ends = extents.iter().map(|extent| (extent.partition, extent.end));
        all.ends.insert(id, ends.collect());
        all.sources.insert(id, Arc::new(built));
    }
    Ok(all)
}

fn anchors_key(source: ObjectId) -> Vec<u8> {
    let mut key = b"anchors/".to_vec();
    key.extend(source.0.to_be_bytes());
    key
}

/// The stored anchors of a source; none for one that makes no rows.
///
/// # Errors
/// A record that is damaged.
pub(crate) fn anchors(store: &Store, source: ObjectId) -> Result<Vec<Anchor>, ServerError> {
    let bytes = store.get(&anchors_key(source))?.unwrap_or_default();
    let damaged = || ServerError::Catalog(format!("the anchors of source {source} are damaged"));
    if bytes.len() % 16 != 0 {
        return Err(damaged());
    }
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).map_err(|_| damaged());
    let anchor =
        |bytes: &[u8]| Ok(Anchor { first: number(&bytes[..8])?, at: number(&bytes[8..])? });
    bytes.chunks_exact(16).map(anchor).collect()
}

/// The change of the catalog that stores anchors.
pub(crate) fn anchors_op(source: ObjectId, anchors: &[Anchor]) -> Op {
    let mut bytes = Vec::with_capacity(anchors.len() * 16);
    for anchor in anchors {
        bytes.extend(anchor.first.to_le_bytes());
        bytes.extend(anchor.at.to_le_bytes());
    }
    Op::Put(anchors_key(source), bytes)
}

/// The change of the catalog that forgets them.
pub(crate) fn forget_anchors(source: ObjectId) -> Op {
    Op::Delete(anchors_key(source))
}
