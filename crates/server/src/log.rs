//! The log, on standard error: lines for people, or an object of JSON on each line for programs.

use std::fmt;
use std::io::IsTerminal;

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::ConfigError;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// An object with `timestamp`, `level`, `target`, `message` and the event's fields.
    Json,
}

/// Sends the log to standard error; `MILLRACE_LOG` says what is of interest.
///
/// # Errors
/// A filter that cannot be read.
pub fn start(format: LogFormat) -> Result<(), ConfigError> {
    let wanted = std::env::var("MILLRACE_LOG");
    let wanted = wanted.as_deref().unwrap_or("info,fjall=warn,lsm_tree=warn");
    let filter = tracing_subscriber::EnvFilter::try_new(wanted)
        .map_err(|error| ConfigError::Value(format!("MILLRACE_LOG: {error}")))?;
    let colour = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour);
    let layer = layer.with_writer(std::io::stderr);
    // A test may have set one already.
    match format {
        LogFormat::Text => drop(layer.try_init()),
        LogFormat::Json => drop(layer.with_ansi(false).event_format(Json).try_init()),
    }
    Ok(())
}

/// Writes an event as one object.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let about = event.metadata();
        let mut fields = Fields(Map::new());
        fields.set("timestamp", time);
        fields.set("level", about.level().as_str());
        fields.set("target", about.target());
        event.record(&mut fields);
        writeln!(writer, "{}", Value::Object(fields.0))
    }
}

/// The members of the object.
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_line_of_the_json_log_is_one_object_with_the_fields_of_its_event() {
        let lines = Lines::default();
        let into = lines.clone();
        let log =
            tracing_subscriber::fmt().event_format(Json).with_writer(move || into.clone()).finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(source = "s\"1\n", offset = 7, whole = true, "it has stopped");
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found["level"], "WARN");
        assert_eq!(found["message"], "it has stopped");
        assert_eq!((&found["source"], &found["offset"]), (&"s\"1\n".into(), &7.into()));
        assert_eq!(found["whole"], true);
        assert!(found["timestamp"].as_str().unwrap().ends_with('Z'), "{found}");
    }
}
