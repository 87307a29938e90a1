//! Options of a WITH clause, taken one by one and checked.
//!
//! Invariant: an option that nothing took is an error, so that a misspelt one is never ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use millrace_dataflow::source::SourceError;

/// The options of one source.
pub(crate) struct Options<'a> {
    connector: &'static str,
    all: &'a BTreeMap<String, String>,
    taken: BTreeSet<String>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(connector: &'static str, all: &'a BTreeMap<String, String>) -> Options<'a> {
        Options { connector, all, taken: BTreeSet::from(["connector".to_owned()]) }
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<&'a str> {
        self.taken.insert(name.to_owned());
        self.all.get(name).map(String::as_str)
    }

    pub(crate) fn required(&mut self, name: &str) -> Result<&'a str, SourceError> {
        let connector = self.connector;
        self.text(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            SourceError::Invalid(format!("connector \"{connector}\" needs the option \"{name}\""))
        })
    }

    /// An option that is parsed; `wanted` says what it should have been.
    pub(crate) fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        wanted: &str,
    ) -> Result<Option<T>, SourceError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.trim().parse().map(Some).map_err(|_| refused(name, value, wanted))
    }

    /// All options that begin with `prefix`, without it.
    pub(crate) fn with_prefix(&mut self, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let found: Vec<_> = self
            .all
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
            .collect();
        self.taken.extend(found.iter().map(|(name, _)| format!("{prefix}{name}")));
        found
    }

    /// Refuses what nothing has taken.
    pub(crate) fn finish(self, known: &[&str]) -> Result<(), SourceError> {
        match self.all.keys().find(|name| !self.taken.contains(*name)) {
            None => Ok(()),
            Some(name) => Err(SourceError::Invalid(format!(
                "connector \"{}\" has no option \"{name}\"; it has: {}",
                self.connector,
                known.join(", ")
            ))),
        }
    }
}

/// The error for a value that an option does not take.
pub(crate) fn refused(name: &str, value: impl Display, wanted: &str) -> SourceError {
    SourceError::Invalid(format!("option \"{name}\" takes {wanted}, not \"{value}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_nothing_took_is_refused_with_those_known() {
        let all = BTreeMap::from([("topc".to_owned(), "iot".to_owned())]);
        let mut options = Options::new("kafka", &all);
        let error = options.required("topic").unwrap_err().to_string();
        assert_eq!(error, "connector \"kafka\" needs the option \"topic\"");
        let error = options.finish(&["topic", "properties.*"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "connector \"kafka\" has no option \"topc\"; it has: topic, properties.*"
        );
    }
}
