//! The functions that ask who may do what: `has_table_privilege`, `pg_has_role` and the like.
//!
//! Roles and relations are named by their numbers or by their names; without a role the user is meant.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility};
use millrace_types::{Report, SqlState};

use super::functions::{Body, Client, array, function, oids, texts};
use super::{On, PUBLIC, Relations, Role, named};

/// All of them for one session.
pub(super) fn all(client: &Client, relations: &Arc<dyn Relations>) -> Vec<ScalarUDF> {
    let of_relation = ["has_table_privilege", "has_any_column_privilege"];
    let of_relation = of_relation.map(|name| asks(name, client, relations, 0, Kind::Relation));
    let mut all = Vec::from(of_relation);
    all.push(asks("has_column_privilege", client, relations, 1, Kind::Relation));
    all.push(asks("has_schema_privilege", client, relations, 0, Kind::Schema));
    all.push(asks("has_database_privilege", client, relations, 0, Kind::Database));
    all.push(has_role(client, relations));
    all.push(user_by_id(relations));
    all
}

/// What a function asks about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Relation,
    Schema,
    Database,
}

fn refused(code: SqlState, message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Report::new(code, message)))
}

/// Values as numbers where they are numbers, or as names.
enum Named {
    Numbers(Vec<Option<u32>>),
    Names(StringArray),
}

impl Named {
    fn of(args: &[ColumnarValue], at: usize, rows: usize) -> DfResult<Named> {
        let is_number = args.get(at).is_some_and(|value| value.data_type().is_integer());
        match is_number {
            true => Ok(Named::Numbers(oids(&args[at..], rows)?)),
            false => Ok(Named::Names(texts(args, at, rows)?)),
        }
    }

    /// The name or number in a row; None for NULL.
    fn at(&self, row: usize) -> Option<Result<u32, &str>> {
        match self {
            Named::Numbers(numbers) => numbers[row].map(Ok),
            Named::Names(names) => names.is_valid(row).then(|| match names.value(row).parse() {
                Ok(number) => Ok(number),
                Err(_) => Err(names.value(row)),
            }),
        }
    }
}

fn role_of(roles: &[Role], named: Result<u32, &str>) -> DfResult<u32> {
    match named {
        Ok(number) => Ok(number),
        Err(name) => {
            let found = roles.iter().find(|role| role.name == name);
            let missing = || format!("role \"{name}\" does not exist");
            let found = found.ok_or_else(|| refused(SqlState::UNDEFINED_OBJECT, missing()))?;
            Ok(found.oid)
        }
    }
}

/// What the object of a row is; None if there is none of that number.
fn on(relations: &dyn Relations, kind: Kind, named: Result<u32, &str>) -> DfResult<Option<On>> {
    match (kind, named) {
        (Kind::Relation, Ok(number)) => Ok(Some(On::Relation(number))),
        (Kind::Relation, Err(text)) => {
            let all = relations.relations();
            let found = named::find(&all, text);
            let missing = || format!("relation \"{text}\" does not exist");
            let found = found.ok_or_else(|| refused(SqlState::UNDEFINED_TABLE, missing()))?;
            Ok(Some(On::Relation(found.oid)))
        }
        (Kind::Schema, Err(PUBLIC)) => Ok(Some(On::Schema)),
        (Kind::Schema, Ok(number)) if number == super::live::PUBLIC_OID => Ok(Some(On::Schema)),
        (Kind::Schema, _) => Ok(Some(On::SystemSchema)),
        (Kind::Database, _) => Ok(Some(On::Database)),
    }
}

/// `name([role,] object [, column], privilege)`; `more` arguments stand after the object.
fn asks(
    name: &'static str,
    client: &Client,
    relations: &Arc<dyn Relations>,
    more: usize,
    kind: Kind,
) -> ScalarUDF {
    let (relations, user) = (Arc::clone(relations), client.user.clone());
    let body: Body = Arc::new(move |args, rows| {
        let roles = relations.roles();
        let first = usize::from(args.len() > 2 + more);
        let asked = (first > 0).then(|| Named::of(args, 0, rows)).transpose()?;
        let objects = Named::of(args, first, rows)?;
        let privileges = texts(args, first + 1 + more, rows)?;
        let row = |row: usize| -> DfResult<Option<bool>> {
            let role = match &asked {
                Some(asked) => asked.at(row),
                None => Some(Err(user.as_str())),
            };
            let (Some(role), Some(object)) = (role, objects.at(row)) else { return Ok(None) };
            if privileges.is_null(row) {
                return Ok(None);
            }
            let (role, object) = (role_of(&roles, role)?, on(relations.as_ref(), kind, object)?);
            let Some(object) = object else { return Ok(None) };
            let mut any = Some(false);
            for privilege in privileges.value(row).split(',') {
                let privilege = privilege.trim().to_ascii_uppercase();
                match relations.allows(role, object, &privilege) {
                    Some(allowed) => any = any.map(|any| any || allowed),
                    None => any = None,
                }
            }
            Ok(any)
        };
        array((0..rows).map(row).collect::<DfResult<BooleanArray>>()?)
    });
    function(name, Volatility::Stable, DataType::Boolean, body)
}

/// `pg_has_role([user,] role, privilege)`
fn has_role(client: &Client, relations: &Arc<dyn Relations>) -> ScalarUDF {
    let (relations, user) = (Arc::clone(relations), client.user.clone());
    let body: Body = Arc::new(move |args, rows| {
        let roles = relations.roles();
        let first = usize::from(args.len() > 2);
        let asked = (first > 0).then(|| Named::of(args, 0, rows)).transpose()?;
        let groups = Named::of(args, first, rows)?;
        let privileges = texts(args, first + 1, rows)?;
        let row = |row: usize| -> DfResult<Option<bool>> {
            let role = match &asked {
                Some(asked) => asked.at(row),
                None => Some(Err(user.as_str())),
            };
            let (Some(role), Some(group)) = (role, groups.at(row)) else { return Ok(None) };
            let (role, group) = (role_of(&roles, role)?, role_of(&roles, group)?);
            let usage = !privileges.is_null(row)
                && privileges.value(row).trim().eq_ignore_ascii_case("usage");
            Ok(Some(is_member(&roles, role, group, usage)))
        };
        array((0..rows).map(row).collect::<DfResult<BooleanArray>>()?)
    });
    function("pg_has_role", Volatility::Stable, DataType::Boolean, body)
}

/// True if a role can become another one, or, with `usage`, has its rights without doing so.
fn is_member(roles: &[Role], role: u32, group: u32, usage: bool) -> bool {
    let find = |oid: u32| roles.iter().find(|role| role.oid == oid);
    if find(role).is_some_and(|role| role.superuser) {
        return true;
    }
    let (mut found, mut at) = (vec![role], 0);
    while let Some(one) = found.get(at).copied().and_then(find) {
        if one.oid == group {
            return true;
        }
        if one.inherits || !usage {
            let new: Vec<u32> = one.member_of.iter().map(|(group, _)| *group).collect();
            let new = new.into_iter().filter(|group| !found.contains(group)).collect::<Vec<_>>();
            found.extend(new);
        }
        at += 1;
    }
    found.contains(&group)
}

fn user_by_id(relations: &Arc<dyn Relations>) -> ScalarUDF {
    let relations = Arc::clone(relations);
    let body: Body = Arc::new(move |args, rows| {
        let roles = relations.roles();
        let name = |oid: Option<u32>| {
            let found = roles.iter().find(|role| Some(role.oid) == oid);
            let unknown = || format!("unknown (OID={})", oid.unwrap_or_default());
            oid.map(|_| found.map_or_else(unknown, |role| role.name.clone()))
        };
        array(oids(args, rows)?.into_iter().map(name).collect::<StringArray>())
    });
    function("pg_get_userbyid", Volatility::Stable, DataType::Utf8, body)
}

/// A column of lists of texts.
pub(super) fn list(values: &[Option<Vec<String>>]) -> ArrayRef {
    let mut builder = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for value in values {
        match value {
            Some(texts) => {
                texts.iter().for_each(|text| builder.values().append_value(text));
                builder.append(true);
            }
            None => builder.append(false),
        }
    }
    Arc::new(builder.finish())
}
