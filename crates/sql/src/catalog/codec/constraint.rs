//! Constraints as bytes.

use millrace_types::ObjectId;
use prost::Message;

use super::CatalogError;
use crate::catalog::{Check, Constraints, ReferenceAction, References, Unique};

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConstraintsMessage {
    #[prost(string, optional, tag = "1")]
    key_name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    checks: Vec<CheckMessage>,
    #[prost(message, repeated, tag = "3")]
    references: Vec<ReferencesMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct CheckMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(uint64, repeated, tag = "3")]
    columns: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ReferencesMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, repeated, tag = "2")]
    columns: Vec<u64>,
    #[prost(uint32, tag = "3")]
    table: u32,
    #[prost(uint64, repeated, tag = "4")]
    to: Vec<u64>,
    #[prost(uint32, tag = "5")]
    on_delete: u32,
    #[prost(uint32, tag = "6")]
    on_update: u32,
}

pub(super) fn places(columns: &[usize]) -> Vec<u64> {
    columns.iter().map(|column| *column as u64).collect()
}

pub(super) fn unique_number(unique: Option<Unique>) -> u32 {
    match unique {
        None => 0,
        Some(Unique::Index) => 1,
        Some(Unique::Constraint) => 2,
    }
}

pub(super) fn unique_of(number: u32) -> Result<Option<Unique>, CatalogError> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Unique::Index)),
        2 => Ok(Some(Unique::Constraint)),
        _ => Err(CatalogError::Damaged("what makes an index unique")),
    }
}

fn action_number(action: ReferenceAction) -> u32 {
    match action {
        ReferenceAction::Nothing => 0,
        ReferenceAction::Restrict => 1,
        ReferenceAction::Cascade => 2,
        ReferenceAction::SetNull => 3,
        ReferenceAction::SetDefault => 4,
    }
}

fn action_of(number: u32) -> Result<ReferenceAction, CatalogError> {
    let found = ReferenceAction::ALL.into_iter().find(|action| action_number(*action) == number);
    found.ok_or(CatalogError::Damaged("an action of a foreign key"))
}

/// None if there is nothing to store.
pub(super) fn message(constraints: &Constraints) -> Option<ConstraintsMessage> {
    let check = |check: &Check| CheckMessage {
        name: check.name.clone(),
        text: check.text.clone(),
        columns: places(&check.columns),
    };
    let reference = |reference: &References| ReferencesMessage {
        name: reference.name.clone(),
        columns: places(&reference.columns),
        table: reference.table.0,
        to: places(&reference.to),
        on_delete: action_number(reference.on_delete),
        on_update: action_number(reference.on_update),
    };
    (!constraints.is_empty()).then(|| ConstraintsMessage {
        key_name: constraints.key_name.clone(),
        checks: constraints.checks.iter().map(check).collect(),
        references: constraints.references.iter().map(reference).collect(),
    })
}

/// The constraints of a table with so many columns.
pub(super) fn constraints_of(
    message: Option<ConstraintsMessage>,
    width: usize,
) -> Result<Constraints, CatalogError> {
    let message = message.unwrap_or_default();
    let check = |check: CheckMessage| -> Result<Check, CatalogError> {
        let columns = columns_of(&check.columns, width)?;
        Ok(Check { name: check.name, text: check.text, columns })
    };
    let reference = |reference: ReferencesMessage| -> Result<References, CatalogError> {
        Ok(References {
            columns: columns_of(&reference.columns, width)?,
            table: ObjectId(reference.table),
            // Those of another table, whose width is not known here.
            to: columns_of(&reference.to, usize::MAX)?,
            on_delete: action_of(reference.on_delete)?,
            on_update: action_of(reference.on_update)?,
            name: reference.name,
        })
    };
    Ok(Constraints {
        key_name: message.key_name,
        checks: message.checks.into_iter().map(check).collect::<Result<_, _>>()?,
        references: message.references.into_iter().map(reference).collect::<Result<_, _>>()?,
    })
}

fn columns_of(columns: &[u64], width: usize) -> Result<Vec<usize>, CatalogError> {
    let place = |place: &u64| {
        let place = usize::try_from(*place).ok().filter(|place| *place < width);
        place.ok_or(CatalogError::Damaged("a column of a constraint"))
    };
    columns.iter().map(place).collect()
}
