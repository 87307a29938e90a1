//! From the options of a CREATE SOURCE to a connector.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use millrace_dataflow::source::{Connector, SourceError};

use crate::Include;
use crate::datagen::{self, Anchor, Clock, Datagen};
use crate::kafka::{self, Kafka};
use crate::rows::Layout;

/// A source as its statement describes it, and what the server adds.
#[derive(Clone)]
pub struct Definition {
    /// `kafka` or `datagen`.
    pub connector: String,
    /// The WITH clause. `connector` may be among it.
    pub options: BTreeMap<String, String>,
    /// The columns that are read: declared, not computed, in order.
    pub columns: Vec<FieldRef>,
    /// The INCLUDE clause.
    pub include: Vec<Include>,
    /// When generated rows become due: at least one anchor for `datagen`; see [`Anchor`].
    pub anchors: Vec<Anchor>,
    /// Microseconds since 1970, for generated rows.
    pub clock: Clock,
}

/// The connectors there are.
pub fn names() -> &'static [&'static str] {
    &["kafka", "datagen"]
}

/// The options of a connector; a `*` stands for any name. None if there is no such connector.
pub fn known_options(connector: &str) -> Option<&'static [&'static str]> {
    match connector {
        "kafka" => Some(kafka::OPTIONS),
        "datagen" => Some(datagen::OPTIONS),
        _ => None,
    }
}

/// Checks a definition and makes its connector. Does not wait for a broker:
/// [`Connector::start`] does.
///
/// # Errors
/// `Invalid` with what is wrong with the definition.
pub fn connect(definition: &Definition) -> Result<Box<dyn Connector>, SourceError> {
    let layout = Arc::new(Layout::new(&definition.columns, &definition.include));
    match definition.connector.as_str() {
        "kafka" => Ok(Box::new(Kafka::new(&definition.options, layout)?)),
        "datagen" => Ok(Box::new(Datagen::new(definition, layout)?)),
        other => Err(SourceError::Invalid(format!(
            "there is no connector \"{other}\"; there are: {}",
            names().join(", ")
        ))),
    }
}
