//! The lists that the catalog's tables are made of, read anew by every query.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Int16Array, Int16Builder, Int32Array, Int64Array,
    ListBuilder, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use millrace_types::{SqlType, TIME_ZONE};

use super::model::{Activity, ColumnMore, Relation, RelationKind, Relations, Role, Sequence};
use super::privileges::list;
use crate::types;

/// Schemas and their numbers in `pg_namespace`.
pub(super) const SCHEMAS: [(&str, u32); 4] = [
    ("pg_catalog", 11),
    ("public", PUBLIC_OID),
    ("information_schema", 13_000),
    ("millrace", 13_001),
];
/// The number of the schema of users' relations.
pub(super) const PUBLIC_OID: u32 = 2200;

/// What is added to the number of a key's index for that of its constraint.
pub(super) const CONSTRAINTS: u32 = 100_000_000;
/// What is added to the number of a view for that of its rule.
pub(super) const RULES: u32 = 1_200_000_000;

/// Makes a batch of what there is now.
pub(super) type Rows = fn(&dyn Relations) -> DfResult<RecordBatch>;

/// A list as a table.
#[derive(Debug)]
struct Live {
    schema: SchemaRef,
    relations: Arc<dyn Relations>,
    rows: Rows,
}

impl PartitionStream for Live {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = (self.rows)(self.relations.as_ref());
        let stream = futures::stream::once(std::future::ready(batch));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

/// The lists by their names.
pub(super) const LISTS: [(&str, Rows); 11] = [
    ("relations", relations),
    ("constraints", super::constraints::rows),
    ("columns", columns),
    ("roles", roles),
    ("members", members),
    ("schemas", schemas),
    ("comments", comments),
    ("dependencies", dependencies),
    ("activity", activity),
    ("locks", locks),
    ("sequences", sequences),
];

/// A list as a table.
pub(super) fn table(relations: &Arc<dyn Relations>, rows: Rows) -> DfResult<StreamingTable> {
    let schema = rows(&Nothing)?.schema();
    let live = Live { schema: Arc::clone(&schema), relations: Arc::clone(relations), rows };
    StreamingTable::try_new(schema, vec![Arc::new(live)])
}

/// A database without anything, whose lists have the same columns.
#[derive(Debug)]
struct Nothing;

impl Relations for Nothing {}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> DfResult<RecordBatch> {
    let field =
        |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect())?)
}

pub(super) fn oids(values: impl IntoIterator<Item = Option<u32>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<UInt32Array>())
}

pub(super) fn texts<S: AsRef<str>>(values: impl IntoIterator<Item = Option<S>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn flags(values: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<BooleanArray>())
}

pub(super) fn smalls(values: impl IntoIterator<Item = Option<i16>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int16Array>())
}

fn integers(values: impl IntoIterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Int32Array>())
}

fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let times = values.into_iter().collect::<TimestampMicrosecondArray>();
    Arc::new(times.with_timezone(TIME_ZONE))
}

pub(super) fn small_lists<'a>(values: impl IntoIterator<Item = Option<&'a [i16]>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Int16Builder::new());
    for value in values {
        lists.values().append_slice(value.unwrap_or_default());
        lists.append(value.is_some());
    }
    Arc::new(lists.finish())
}

/// The number of a schema.
pub(super) fn schema_oid(name: &str) -> Option<u32> {
    SCHEMAS.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid)
}

/// One row a relation.
fn relations(live: &dyn Relations) -> DfResult<RecordBatch> {
    let (all, roles) = (live.relations(), live.roles());
    let owner = |relation: &Relation| {
        let found = roles.iter().find(|role| role.oid == relation.owner)?;
        Some(found.name.clone())
    };
    let indexed: Vec<u32> = all.iter().filter_map(|one| Some(one.index.as_ref()?.on)).collect();
    let acl: Vec<_> = all.iter().map(|relation| relation.acl.clone()).collect();
    let width = |one: &Relation| i16::try_from(one.index.as_ref()?.columns.len()).ok();
    let key = |one: &Relation| (!one.key.is_empty()).then(|| super::constraints::key_name(one));
    let rows = all.iter().map(|one| one.rows.map_or(-1.0, |rows| rows as f32));
    batch(vec![
        ("oid", oids(all.iter().map(|one| Some(one.oid)))),
        ("namespace", oids(all.iter().map(|one| schema_oid(&one.schema)))),
        ("schema", texts(all.iter().map(|one| Some(&one.schema)))),
        ("name", texts(all.iter().map(|one| Some(&one.name)))),
        ("kind", texts(all.iter().map(|one| Some(letter(one.kind))))),
        ("columns", smalls(all.iter().map(|one| i16::try_from(one.columns.fields().len()).ok()))),
        ("definition", texts(all.iter().map(|one| one.definition.as_ref()))),
        ("index_on", oids(all.iter().map(|one| Some(one.index.as_ref()?.on)))),
        (
            "index_keys",
            small_lists(all.iter().map(|one| Some(one.index.as_ref()?.columns.as_slice()))),
        ),
        ("index_width", smalls(all.iter().map(width))),
        ("is_key", flags(all.iter().map(|one| one.index.as_ref().is_some_and(|i| i.primary)))),
        ("is_unique", flags(all.iter().map(|one| one.index.as_ref().is_some_and(|i| i.unique)))),
        ("checks", smalls(all.iter().map(|one| Some(super::constraints::checks(one))))),
        ("has_index", flags(all.iter().map(|one| indexed.contains(&one.oid)))),
        ("key_name", texts(all.iter().map(key))),
        ("key", small_lists(all.iter().map(|one| Some(one.key.as_slice())))),
        ("key_index", oids(all.iter().map(|one| Some(key_index(one.oid))))),
        ("owner", oids(all.iter().map(|one| Some(one.owner)))),
        ("owner_name", texts(all.iter().map(owner))),
        ("acl", list(&acl)),
        ("takes_rows", flags(all.iter().map(|one| one.kind == RelationKind::Table))),
        ("tuples", Arc::new(rows.map(Some).collect::<Float32Array>())),
        ("live_rows", Arc::new(all.iter().map(|one| one.rows).collect::<Int64Array>())),
    ])
}

/// The number of the index of a relation's primary key.
pub(super) fn key_index(oid: u32) -> u32 {
    1_000_000_000 + oid % 100_000_000
}

/// One row a column: where it is, its type in the forms that the catalogs want.
fn columns(live: &dyn Relations) -> DfResult<RecordBatch> {
    let relations = live.relations();
    let none = ColumnMore::default();
    let mut all: Vec<(&Relation, usize, &Field, &ColumnMore)> = Vec::new();
    for relation in &relations {
        for (at, field) in relation.columns.fields().iter().enumerate() {
            all.push((relation, at, field, relation.more.get(at).unwrap_or(&none)));
        }
    }
    let type_oid = |one: &(&Relation, usize, &Field, &ColumnMore)| match one.3.length {
        Some(_) => types::VARCHAR,
        None => types::oid(one.2.data_type()),
    };
    let modifier = |one: &(&Relation, usize, &Field, &ColumnMore)| match one.3.length {
        Some(length) => i32::try_from(length + 4).ok(),
        None => Some(types::modifier(one.2.data_type())),
    };
    let type_name = |one: &(&Relation, usize, &Field, &ColumnMore)| match one.3.length {
        Some(_) => "character varying".to_owned(),
        None => type_name(one.2.data_type()),
    };
    let length = |one: &(&Relation, usize, &Field, &ColumnMore)| i32::try_from(one.3.length?).ok();
    batch(vec![
        ("relation", oids(all.iter().map(|one| Some(one.0.oid)))),
        ("kind", texts(all.iter().map(|one| Some(letter(one.0.kind))))),
        ("schema", texts(all.iter().map(|one| Some(&one.0.schema)))),
        ("table_name", texts(all.iter().map(|one| Some(&one.0.name)))),
        ("name", texts(all.iter().map(|one| Some(one.2.name())))),
        ("number", smalls(all.iter().map(|one| i16::try_from(one.1 + 1).ok()))),
        ("nullable", flags(all.iter().map(|one| one.2.is_nullable()))),
        ("type_oid", oids(all.iter().map(|one| Some(type_oid(one))))),
        ("modifier", integers(all.iter().map(modifier))),
        ("width", smalls(all.iter().map(|one| Some(types::width(type_oid(one)))))),
        ("type_name", texts(all.iter().map(|one| Some(type_name(one))))),
        ("length", integers(all.iter().map(length))),
        ("precision", integers(all.iter().map(|one| Some(digits(one.2)?.0)))),
        ("scale", integers(all.iter().map(|one| Some(digits(one.2)?.1)))),
        ("default_text", texts(all.iter().map(|one| one.3.default.as_ref()))),
        ("computed", flags(all.iter().map(|one| one.3.computed))),
        ("identity", texts(all.iter().map(|one| Some(one.3.identity.unwrap_or_default())))),
        ("is_stored", flags(all.iter().map(|one| one.0.kind == RelationKind::Table))),
    ])
}

fn type_name(data_type: &DataType) -> String {
    match SqlType::of_arrow(data_type) {
        _ if *data_type == DataType::UInt32 => "oid".to_owned(),
        Some(SqlType::Numeric(_)) => "numeric".to_owned(),
        Some(SqlType::Array(_)) => "ARRAY".to_owned(),
        Some(SqlType::Struct(_)) | None => "record".to_owned(),
        Some(sql) => sql.name(),
    }
}

/// One row a role.
fn roles(live: &dyn Relations) -> DfResult<RecordBatch> {
    let roles = live.roles();
    let flag = |value: fn(&Role) -> bool| flags(roles.iter().map(value));
    batch(vec![
        ("oid", oids(roles.iter().map(|role| Some(role.oid)))),
        ("name", texts(roles.iter().map(|role| Some(&role.name)))),
        ("superuser", flag(|role| role.superuser)),
        ("inherits", flag(|role| role.inherits)),
        ("creates_roles", flag(|role| role.creates_roles)),
        ("login", flag(|role| role.login)),
        ("connections", integers(roles.iter().map(|role| Some(role.connections_max)))),
        ("valid_until", times(roles.iter().map(|role| role.valid_until))),
        ("defaults", list(&roles.iter().map(|role| role.defaults.clone()).collect::<Vec<_>>())),
    ])
}

/// One row a membership.
fn members(live: &dyn Relations) -> DfResult<RecordBatch> {
    let roles = live.roles();
    let all = roles
        .iter()
        .flat_map(|role| role.member_of.iter().map(|(group, admin)| (*group, role.oid, *admin)));
    let all: Vec<(u32, u32, bool)> = all.collect();
    let oid = |(group, member, _): &(u32, u32, bool)| {
        Some(1_500_000_000 + group % 20_000 * 20_000 + member % 20_000)
    };
    batch(vec![
        ("oid", oids(all.iter().map(oid))),
        ("role", oids(all.iter().map(|one| Some(one.0)))),
        ("member", oids(all.iter().map(|one| Some(one.1)))),
        ("admin", flags(all.iter().map(|one| one.2))),
    ])
}

/// One row a schema.
fn schemas(live: &dyn Relations) -> DfResult<RecordBatch> {
    let acl = SCHEMAS.iter().map(|(_, oid)| (*oid == PUBLIC_OID).then(|| live.schema_acl()));
    batch(vec![
        ("oid", oids(SCHEMAS.iter().map(|(_, oid)| Some(*oid)))),
        ("name", texts(SCHEMAS.iter().map(|(name, _)| Some(*name)))),
        ("acl", list(&acl.collect::<Vec<_>>())),
    ])
}

/// One row a comment.
fn comments(live: &dyn Relations) -> DfResult<RecordBatch> {
    let all = live.comments();
    batch(vec![
        ("class", oids(all.iter().map(|one| Some(one.class)))),
        ("object", oids(all.iter().map(|one| Some(one.object)))),
        ("number", integers(all.iter().map(|one| Some(one.column)))),
        ("comment", texts(all.iter().map(|one| Some(&one.text)))),
    ])
}

/// One row for each relation that a view reads.
fn dependencies(live: &dyn Relations) -> DfResult<RecordBatch> {
    let relations = live.relations();
    let all = relations
        .iter()
        .filter(|one| one.definition.is_some() && one.index.is_none())
        .flat_map(|one| one.depends_on.iter().map(|below| (one.oid, *below)));
    let all: Vec<(u32, u32)> = all.collect();
    batch(vec![
        ("view", oids(all.iter().map(|one| Some(one.0)))),
        ("below", oids(all.iter().map(|one| Some(one.1)))),
    ])
}

/// One row a session.
fn activity(live: &dyn Relations) -> DfResult<RecordBatch> {
    let all = live.activity();
    let text = |value: fn(&Activity) -> Option<String>| texts(all.iter().map(value));
    batch(vec![
        ("pid", integers(all.iter().map(|one| Some(one.process)))),
        ("role", oids(all.iter().map(|one| Some(one.role)))),
        ("role_name", text(|one| Some(one.role_name.clone()))),
        ("application", text(|one| Some(one.application.clone()))),
        ("address", text(|one| one.address.clone())),
        ("began", times(all.iter().map(|one| Some(one.began)))),
        ("query_began", times(all.iter().map(|one| one.query_began))),
        ("changed", times(all.iter().map(|one| Some(one.changed)))),
        ("state", text(|one| Some(one.state.clone()))),
        ("query", text(|one| Some(one.query.clone()))),
    ])
}

/// One row a lock.
fn locks(live: &dyn Relations) -> DfResult<RecordBatch> {
    let all = live.locks();
    batch(vec![
        ("pid", integers(all.iter().map(|one| Some(one.process)))),
        ("relation", oids(all.iter().map(|one| Some(one.relation)))),
        ("granted", flags(all.iter().map(|one| one.waits_since.is_none()))),
        ("waits_since", times(all.iter().map(|one| one.waits_since))),
    ])
}

/// One row a sequence.
fn sequences(live: &dyn Relations) -> DfResult<RecordBatch> {
    let all = live.sequences();
    let number = |value: fn(&Sequence) -> Option<i64>| -> ArrayRef {
        Arc::new(all.iter().map(value).collect::<Int64Array>())
    };
    batch(vec![
        ("oid", oids(all.iter().map(|one| Some(one.oid)))),
        ("name", texts(all.iter().map(|one| Some(&one.name)))),
        ("relation", oids(all.iter().map(|one| Some(one.table)))),
        ("number", smalls(all.iter().map(|one| Some(one.column)))),
        ("is_identity", flags(all.iter().map(|one| one.identity))),
        ("owner", oids(all.iter().map(|one| Some(one.owner)))),
        ("type_oid", oids(all.iter().map(|one| Some(types::oid(&one.data_type))))),
        ("type_name", texts(all.iter().map(|one| Some(type_name(&one.data_type))))),
        ("start", number(|one| Some(one.start))),
        ("increment", number(|one| Some(one.increment))),
        ("least", number(|one| Some(one.least))),
        ("greatest", number(|one| Some(one.greatest))),
        ("cycles", flags(all.iter().map(|one| one.cycles))),
        ("last", number(|one| one.last)),
    ])
}

/// Precision, in bits or digits, and scale.
fn digits(field: &Field) -> Option<(i32, i32)> {
    match SqlType::of_arrow(field.data_type())? {
        SqlType::SmallInt => Some((16, 0)),
        SqlType::Integer => Some((32, 0)),
        SqlType::BigInt if *field.data_type() == DataType::Int64 => Some((64, 0)),
        SqlType::Numeric(Some((precision, scale))) => {
            Some((i32::from(precision), i32::from(scale)))
        }
        _ => None,
    }
}

/// The letter of `relkind`.
fn letter(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Source | RelationKind::Table => "r",
        RelationKind::View => "v",
        RelationKind::MaterializedView => "m",
        RelationKind::Index => "i",
        RelationKind::Sequence => "S",
    }
}
