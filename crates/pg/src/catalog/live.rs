//! The lists of relations and of their columns as tables that are read anew by every query.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int16Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use millrace_types::{SqlType, TIME_ZONE, timestamptz};

use super::privileges::list;
use super::{Relation, RelationKind, Relations, Role};
use crate::types;

/// Schemas and their numbers in `pg_namespace`.
pub(super) const SCHEMAS: [(&str, i32); 4] = [
    ("pg_catalog", 11),
    ("public", PUBLIC_OID),
    ("information_schema", 13_000),
    ("millrace", 13_001),
];
/// The number of the schema of users' relations.
pub(super) const PUBLIC_OID: i32 = 2200;

/// Makes a batch of what there is now.
type Rows = fn(&SchemaRef, &dyn Relations) -> DfResult<RecordBatch>;

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
        let batch = (self.rows)(&self.schema, self.relations.as_ref());
        let stream = futures::stream::once(std::future::ready(batch));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}

fn table(
    fields: &[(&str, DataType)],
    relations: &Arc<dyn Relations>,
    rows: Rows,
) -> DfResult<StreamingTable> {
    let fields: Vec<Field> =
        fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let live = Live { schema: Arc::clone(&schema), relations: Arc::clone(relations), rows };
    StreamingTable::try_new(schema, vec![Arc::new(live)])
}

/// One row a relation: `oid, namespace, schema, name, kind, columns, definition`.
pub(super) fn relations(relations: &Arc<dyn Relations>) -> DfResult<StreamingTable> {
    let fields = [
        ("oid", DataType::Int32),
        ("namespace", DataType::Int32),
        ("schema", DataType::Utf8),
        ("name", DataType::Utf8),
        ("kind", DataType::Utf8),
        ("columns", DataType::Int16),
        ("definition", DataType::Utf8),
        ("index_on", DataType::Int32),
        ("index_keys", DataType::Utf8),
        ("index_width", DataType::Int16),
        ("has_index", DataType::Boolean),
        ("owner", DataType::Int32),
        ("owner_name", DataType::Utf8),
        ("acl", texts()),
    ];
    table(&fields, relations, |schema, live| {
        let (relations, roles) = (&live.relations(), live.roles());
        let owner = |relation: &Relation| {
            let found = roles.iter().find(|role| role.oid == relation.owner)?;
            Some(found.name.clone())
        };
        let acl: Vec<_> = relations.iter().map(|relation| relation.acl.clone()).collect();
        let keys = |relation: &Relation| {
            let (_, keys) = relation.index.as_ref()?;
            Some(keys.iter().map(i16::to_string).collect::<Vec<_>>().join(" "))
        };
        let on = |relation: &Relation| relation.index.as_ref().map(|(on, _)| *on);
        let width = |relation: &Relation| i16::try_from(relation.index.as_ref()?.1.len()).ok();
        let indexed: Vec<u32> = relations.iter().filter_map(on).collect();
        let namespace = |relation: &Relation| {
            SCHEMAS.iter().find(|(name, _)| *name == relation.schema).map(|(_, oid)| *oid)
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(relations.iter().map(|one| number(one.oid)).collect::<Int32Array>()),
            Arc::new(relations.iter().map(namespace).collect::<Int32Array>()),
            Arc::new(
                relations.iter().map(|one| Some(one.schema.as_str())).collect::<StringArray>(),
            ),
            Arc::new(relations.iter().map(|one| Some(one.name.as_str())).collect::<StringArray>()),
            Arc::new(relations.iter().map(|one| Some(letter(one.kind))).collect::<StringArray>()),
            Arc::new(
                relations
                    .iter()
                    .map(|one| i16::try_from(one.columns.fields().len()).ok())
                    .collect::<Int16Array>(),
            ),
            Arc::new(
                relations.iter().map(|one| one.definition.as_deref()).collect::<StringArray>(),
            ),
            Arc::new(relations.iter().map(|one| number(on(one)?)).collect::<Int32Array>()),
            Arc::new(relations.iter().map(keys).collect::<StringArray>()),
            Arc::new(relations.iter().map(width).collect::<Int16Array>()),
            Arc::new(
                relations
                    .iter()
                    .map(|one| Some(indexed.contains(&one.oid)))
                    .collect::<BooleanArray>(),
            ),
            Arc::new(relations.iter().map(|one| number(one.owner)).collect::<Int32Array>()),
            Arc::new(relations.iter().map(owner).collect::<StringArray>()),
            list(&acl),
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    })
}

/// One row a column: where it is, its type in the forms that the catalogs want.
pub(super) fn columns(relations: &Arc<dyn Relations>) -> DfResult<StreamingTable> {
    let fields = [
        ("relation", DataType::Int32),
        ("schema", DataType::Utf8),
        ("table_name", DataType::Utf8),
        ("name", DataType::Utf8),
        ("number", DataType::Int16),
        ("nullable", DataType::Boolean),
        ("type_oid", DataType::Int32),
        ("modifier", DataType::Int32),
        ("width", DataType::Int16),
        ("type_name", DataType::Utf8),
        ("precision", DataType::Int32),
        ("scale", DataType::Int32),
    ];
    table(&fields, relations, |schema, live| {
        let relations = &live.relations();
        let mut all: Vec<(&Relation, usize, &Field)> = Vec::new();
        for relation in relations {
            let fields = relation.columns.fields().iter().enumerate();
            all.extend(fields.map(|(at, field)| (relation, at, field.as_ref())));
        }
        let text = |value: fn(&(&Relation, usize, &Field)) -> String| -> ArrayRef {
            Arc::new(all.iter().map(|one| Some(value(one))).collect::<StringArray>())
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(all.iter().map(|(one, _, _)| number(one.oid)).collect::<Int32Array>()),
            text(|(one, _, _)| one.schema.clone()),
            text(|(one, _, _)| one.name.clone()),
            text(|(_, _, field)| field.name().clone()),
            Arc::new(
                all.iter().map(|(_, at, _)| i16::try_from(at + 1).ok()).collect::<Int16Array>(),
            ),
            Arc::new(
                all.iter().map(|(.., field)| Some(field.is_nullable())).collect::<BooleanArray>(),
            ),
            Arc::new(
                all.iter()
                    .map(|(.., field)| number(types::oid(field.data_type())))
                    .collect::<Int32Array>(),
            ),
            Arc::new(
                all.iter()
                    .map(|(.., field)| Some(types::modifier(field.data_type())))
                    .collect::<Int32Array>(),
            ),
            Arc::new(
                all.iter()
                    .map(|(.., field)| Some(types::width(types::oid(field.data_type()))))
                    .collect::<Int16Array>(),
            ),
            text(|(.., field)| match SqlType::of_arrow(field.data_type()) {
                Some(SqlType::Numeric(_)) => "numeric".to_owned(),
                Some(SqlType::Array(_)) => "ARRAY".to_owned(),
                Some(SqlType::Struct(_)) => "record".to_owned(),
                Some(sql) => sql.name(),
                None => "record".to_owned(),
            }),
            Arc::new(all.iter().map(|(.., field)| Some(digits(field)?.0)).collect::<Int32Array>()),
            Arc::new(all.iter().map(|(.., field)| Some(digits(field)?.1)).collect::<Int32Array>()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    })
}

/// One row a role.
pub(super) fn roles(relations: &Arc<dyn Relations>) -> DfResult<StreamingTable> {
    let fields = [
        ("oid", DataType::Int32),
        ("name", DataType::Utf8),
        ("superuser", DataType::Boolean),
        ("inherits", DataType::Boolean),
        ("creates_roles", DataType::Boolean),
        ("login", DataType::Boolean),
        ("connections", DataType::Int32),
        ("valid_until", timestamptz()),
        ("defaults", texts()),
    ];
    table(&fields, relations, |schema, live| {
        let roles = live.roles();
        let flag = |value: fn(&Role) -> bool| -> ArrayRef {
            Arc::new(roles.iter().map(|role| Some(value(role))).collect::<BooleanArray>())
        };
        let until = roles.iter().map(|role| role.valid_until);
        let until = until.collect::<TimestampMicrosecondArray>().with_timezone(TIME_ZONE);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(roles.iter().map(|role| number(role.oid)).collect::<Int32Array>()),
            Arc::new(roles.iter().map(|role| Some(&role.name)).collect::<StringArray>()),
            flag(|role| role.superuser),
            flag(|role| role.inherits),
            flag(|role| role.creates_roles),
            flag(|role| role.login),
            Arc::new(roles.iter().map(|role| Some(role.connections_max)).collect::<Int32Array>()),
            Arc::new(until),
            list(&roles.iter().map(|role| role.defaults.clone()).collect::<Vec<_>>()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    })
}

/// One row a membership.
pub(super) fn members(relations: &Arc<dyn Relations>) -> DfResult<StreamingTable> {
    let fields =
        [("role", DataType::Int32), ("member", DataType::Int32), ("admin", DataType::Boolean)];
    table(&fields, relations, |schema, live| {
        let roles = live.roles();
        let all = roles.iter().flat_map(|role| {
            role.member_of.iter().map(|(group, admin)| (*group, role.oid, *admin))
        });
        let all: Vec<(u32, u32, bool)> = all.collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(all.iter().map(|one| number(one.0)).collect::<Int32Array>()),
            Arc::new(all.iter().map(|one| number(one.1)).collect::<Int32Array>()),
            Arc::new(all.iter().map(|one| Some(one.2)).collect::<BooleanArray>()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    })
}

/// One row: what is granted in the schema of users' relations.
pub(super) fn schema_acl(relations: &Arc<dyn Relations>) -> DfResult<StreamingTable> {
    table(&[("namespace", DataType::Int32), ("acl", texts())], relations, |schema, live| {
        let oid: ArrayRef = Arc::new(Int32Array::from(vec![PUBLIC_OID]));
        let acl = list(&[Some(live.schema_acl())]);
        Ok(RecordBatch::try_new(Arc::clone(schema), vec![oid, acl])?)
    })
}

fn texts() -> DataType {
    DataType::new_list(DataType::Utf8, true)
}

/// Precision, in bits or digits, and scale.
fn digits(field: &Field) -> Option<(i32, i32)> {
    match SqlType::of_arrow(field.data_type())? {
        SqlType::SmallInt => Some((16, 0)),
        SqlType::Integer => Some((32, 0)),
        SqlType::BigInt => Some((64, 0)),
        SqlType::Numeric(Some((precision, scale))) => {
            Some((i32::from(precision), i32::from(scale)))
        }
        _ => None,
    }
}

fn number(oid: u32) -> Option<i32> {
    i32::try_from(oid).ok()
}

/// The letter of `relkind`.
fn letter(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Source | RelationKind::Table => "r",
        RelationKind::View => "v",
        RelationKind::MaterializedView => "m",
        RelationKind::Index => "i",
    }
}
