//! `WITH (name = value)`: options of ours, each known by name.

use std::collections::BTreeMap;

use millrace_types::{Report, SqlState};

use crate::ast::OptionItem;
use crate::catalog::is_confidential;
use crate::names::Quoted;

/// The options by name.
///
/// # Errors
/// A name given twice.
pub(crate) fn by_name(items: &[OptionItem]) -> Result<BTreeMap<&str, &OptionItem>, Report> {
    let mut options = BTreeMap::new();
    for item in items {
        if options.insert(item.name.name.as_str(), item).is_some() {
            let message = format!("option {} specified more than once", Quoted(&item.name.name));
            let report = Report::new(SqlState::DUPLICATE_OBJECT, message);
            return Err(Report { position: item.name.position, ..report });
        }
    }
    Ok(options)
}

/// The error for an option that nobody knows.
pub(crate) fn unknown(item: &OptionItem, known: &[&str]) -> Report {
    let message = format!("unrecognized option {}", Quoted(&item.name.name));
    let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let report = report.hint(format!("Known options are {}.", known.join(", ")));
    Report { position: item.name.position, ..report }
}

/// The error for a value that an option does not take.
pub(crate) fn invalid(item: &OptionItem, hint: &str) -> Report {
    let name = Quoted(&item.name.name);
    let message = match is_confidential(&item.name.name) || item.is_secret {
        true => format!("invalid value for option {name}"),
        false => format!("invalid value for option {name}: {}", Quoted(&item.value)),
    };
    let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message).hint(hint);
    Report { position: item.value_position, ..report }
}

/// The microseconds of an interval without months, such as `1 hour`. None for anything else.
pub(crate) fn interval_us(text: &str) -> Option<i64> {
    let value = millrace_types::input::interval(text).ok()?;
    if value.months != 0 {
        return None;
    }
    let days = i64::from(value.days) * 86_400_000_000;
    days.checked_add(value.nanoseconds / 1_000)
}
