//! From the options of a CREATE SOURCE to a connector.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::FieldRef;
use millrace_dataflow::sink::Sink;
use millrace_dataflow::source::{Connector, SourceError};
use millrace_types::SqlType;

use crate::datagen::{self, Anchor, Clock, Datagen};
use crate::envelope::SinkShape;
use crate::kafka::{self, Kafka, KafkaSink};
use crate::nexmark::{self, Nexmark};
use crate::rows::Layout;
use crate::{Encoding, Format, Include};

/// A source as its statement describes it, and what the server adds.
#[derive(Clone)]
pub struct Definition {
    /// One of [`NAMES`].
    pub connector: String,
    /// The WITH clause. `connector` may be among it.
    pub options: BTreeMap<String, String>,
    /// The columns that are read: declared, not computed, in order.
    pub columns: Vec<FieldRef>,
    /// The INCLUDE clause.
    pub include: Vec<Include>,
    /// What messages mean.
    pub format: Format,
    /// How their values are written.
    pub encoding: Encoding,
    /// The columns that identify a row, where messages change rows: of `columns`, or the one that
    /// INCLUDE key gives.
    pub key: Vec<String>,
    /// What [`Connector::identity`] said when the source was made.
    pub identity: Option<String>,
    /// When generated rows become due: at least one anchor for `datagen`; see [`Anchor`].
    pub anchors: Vec<Anchor>,
    /// Microseconds since 1970, for generated rows.
    pub clock: Clock,
}

/// The connectors there are.
pub const NAMES: &[&str] = &["kafka", "datagen", "nexmark"];

/// The options of a connector; a `*` stands for any name. None if there is no such connector.
pub fn known_options(connector: &str) -> Option<&'static [&'static str]> {
    match connector {
        "kafka" => Some(kafka::OPTIONS),
        "datagen" => Some(datagen::OPTIONS),
        "nexmark" => Some(nexmark::OPTIONS),
        _ => None,
    }
}

/// The columns that the messages of a source seem to have: those of its topic's first ones.
///
/// # Errors
/// `Invalid` for a connector without messages and a topic without objects.
pub fn infer(
    definition: &Definition,
    timeout: Duration,
) -> Result<Vec<(String, SqlType)>, SourceError> {
    match definition.connector.as_str() {
        "kafka" => Kafka::new(definition)?.infer(timeout),
        other => Err(SourceError::Invalid(format!("connector \"{other}\" has its own columns"))),
    }
}

/// The columns that a connector itself decides, each with the types that it can have, the usual one
/// first; None if the statement declares them.
pub fn fixed_columns(
    connector: &str,
    options: &BTreeMap<String, String>,
) -> Option<Vec<(String, Vec<SqlType>)>> {
    match connector {
        "nexmark" => nexmark::columns(options),
        _ => None,
    }
}

/// Checks a definition and makes its connector. Does not wait for a broker:
/// [`Connector::start`] does.
///
/// # Errors
/// `Invalid` with what is wrong with the definition.
pub fn connect(definition: &Definition) -> Result<Box<dyn Connector>, SourceError> {
    let layout = || Arc::new(Layout::new(&definition.columns, &definition.include));
    match definition.connector.as_str() {
        "kafka" => Ok(Box::new(Kafka::new(definition)?)),
        "datagen" => Ok(Box::new(Datagen::new(definition, layout())?)),
        "nexmark" => Ok(Box::new(Nexmark::new(definition, layout())?)),
        other => Err(SourceError::Invalid(format!(
            "there is no connector \"{other}\"; there are: {}",
            NAMES.join(", ")
        ))),
    }
}

/// Checks a sink's options and makes it; `unique` is its name among all sinks of all servers. Does not
/// wait for a broker: [`Sink::check`] does.
///
/// # Errors
/// `Invalid` with what is wrong.
pub fn sink(
    connector: &str,
    options: &BTreeMap<String, String>,
    unique: &str,
    shape: SinkShape,
) -> Result<Box<dyn Sink>, SourceError> {
    match connector {
        "kafka" => Ok(Box::new(KafkaSink::new(options, unique, shape)?)),
        other => Err(SourceError::Invalid(format!("there is no sink for connector \"{other}\""))),
    }
}
