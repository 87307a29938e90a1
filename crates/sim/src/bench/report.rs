//! Figures: as a table for people, as one JSON object for machines.

use std::io::Write;

use serde_json::{Map, Value};

/// One measured figure.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

/// The figures of a measure in the order in which they came.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.to_owned(), value, unit });
    }

    /// Prints to standard output.
    pub(crate) fn print(&self, json: bool) {
        let text = if json { self.json() } else { self.table() };
        drop(writeln!(std::io::stdout(), "{text}"));
    }

    fn table(&self) -> String {
        let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
        let line = |figure: &Figure| {
            format!("{:width$}  {:>14} {}", figure.name, shown(figure.value), figure.unit)
        };
        self.figures.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// `{"name (unit)": value}` with the words of a name joined by underscores.
    fn json(&self) -> String {
        let member = |figure: &Figure| {
            let words = format!("{} {}", figure.name, figure.unit);
            let word = |c: char| c.is_alphanumeric();
            let name: Vec<_> = words.split(|c| !word(c)).filter(|w| !w.is_empty()).collect();
            (name.join("_").to_lowercase(), Value::from(figure.value))
        };
        Value::Object(self.figures.iter().map(member).collect::<Map<_, _>>()).to_string()
    }
}

fn shown(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 1000.0 => 0,
        v if v >= 10.0 => 1,
        _ => 3,
    };
    format!("{value:.places$}")
}

/// A line about what happens.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The value below which this share of the values lies; 0 without values.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil().max(1.0);
    let index = (0..values.len()).take_while(|index| ((index + 1) as f64) < place).count();
    values.get(index).or(values.last()).copied().unwrap_or(0.0)
}
