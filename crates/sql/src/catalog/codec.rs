//! Objects as bytes in the metadata store: one protobuf message each, with a version first.
//!
//! Invariants: 1. bytes of a newer version are refused, never guessed. 2. numbers of enumerations are
//! written out here, so that reordering a Rust enum changes nothing stored.

mod access;
mod constraint;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::{IpcSchemaEncoder, fb_to_schema};
use datafusion::execution::TaskContext;
use millrace_plan::{PlanError, decode_plan, encode_plan};
use millrace_types::{ObjectId, PartitionId, SqlType, TableId};
use prost::Message;

use crate::ast::IdentityKind;

use super::{
    Access, Identity, Include, IncludeKind, Index, Kind, MaterializedView, Object, RoleId, Sink,
    SinkFormat, Source, SourceColumn, SourceWatermark, Table, TableColumn, View,
};

use access::{AclMessage, acl_message, acl_of};
pub use access::{decode_acl, encode_acl};
use constraint::ConstraintsMessage;

/// The version that is written of objects that a server knows which knows no changes of views.
const FIRST_VERSION: u32 = 1;
/// Of sinks, and of views that keep their changes.
const CHANGES_VERSION: u32 = 2;
/// The greatest version: of tables and indexes with constraints, and of tables with columns that take numbers.
const VERSION: u32 = 3;

/// Why stored bytes are no object, or an object cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The bytes are of a newer program.
    #[error("catalog object of version {found}, this program knows up to {VERSION}")]
    Version {
        /// Their version.
        found: u32,
    },
    /// The bytes are no message.
    #[error("damaged catalog object: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The message lacks something or holds a number without a meaning.
    #[error("damaged catalog object: {0}")]
    Damaged(&'static str),
    /// The plan of a view.
    #[error("plan of a materialized view: {0}")]
    Plan(#[from] PlanError),
}

impl Object {
    /// This object for the metadata store.
    ///
    /// # Errors
    /// A plan that cannot be stored.
    pub fn encode(&self) -> Result<Vec<u8>, CatalogError> {
        let mut message = ObjectMessage {
            version: self.version(),
            id: self.id.0,
            name: self.name.clone(),
            sql: self.sql.clone(),
            owner: self.access.owner.0,
            acl: Some(acl_message(&self.access.acl)),
            ..ObjectMessage::default()
        };
        match &self.kind {
            Kind::Source(source) => message.source = Some(source_message(source)),
            Kind::Table(table) => message.table = Some(table_message(table)?),
            Kind::View(view) => message.view = Some(view_message(view)),
            Kind::MaterializedView(view) => {
                message.materialized = Some(materialized_message(view)?)
            }
            Kind::Index(index) => {
                message.index = Some(IndexMessage {
                    on: index.on.0,
                    columns: constraint::places(&index.columns),
                    unique: constraint::unique_number(index.unique),
                    stored: Some(materialized_message(&index.stored)?),
                })
            }
            Kind::Sink(sink) => message.sink = Some(sink_message(sink)),
        }
        Ok(message.encode_to_vec())
    }

    fn version(&self) -> u32 {
        let keeps_changes = |view: &MaterializedView| view.retain_history_us() > 0;
        let is_constrained = match &self.kind {
            Kind::Table(table) => !table.constraints.is_empty(),
            Kind::Index(index) => index.unique.is_some(),
            _ => false,
        };
        let is_sink = matches!(self.kind, Kind::Sink(_));
        let takes_numbers = match &self.kind {
            Kind::Table(table) => table.columns.iter().any(|column| column.identity.is_some()),
            _ => false,
        };
        match is_sink || self.stored().is_some_and(keeps_changes) {
            _ if is_constrained || takes_numbers => VERSION,
            true => CHANGES_VERSION,
            false => FIRST_VERSION,
        }
    }

    /// An object from the metadata store.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub fn decode(bytes: &[u8], functions: &TaskContext) -> Result<Object, CatalogError> {
        let message = ObjectMessage::decode(bytes)?;
        if message.version > VERSION {
            return Err(CatalogError::Version { found: message.version });
        }
        let (source, view, table) = (message.source, message.view, message.table);
        let sink = message.sink;
        let kind = match (source, view, message.materialized, table, message.index) {
            (None, None, None, None, None) => {
                let sink = sink.ok_or(CatalogError::Damaged("no kind"))?;
                Kind::Sink(sink_of(sink)?)
            }
            (Some(source), None, None, None, None) => Kind::Source(source_of(source)?),
            (None, Some(view), None, None, None) => Kind::View(view_of(view)?),
            (None, None, Some(view), None, None) => {
                Kind::MaterializedView(materialized_of(view, functions)?)
            }
            (None, None, None, Some(table), None) => Kind::Table(table_of(table, functions)?),
            (None, None, None, None, Some(index)) => Kind::Index(index_of(index, functions)?),
            _ => return Err(CatalogError::Damaged("not exactly one kind")),
        };
        let acl = message.acl.map(acl_of).unwrap_or_default();
        Ok(Object {
            id: ObjectId(message.id),
            name: message.name,
            kind,
            // Those of older versions were stored as they were written.
            sql: crate::masked(&message.sql),
            access: Access { owner: RoleId(message.owner), acl },
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMessage {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(uint32, tag = "2")]
    id: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    sql: String,
    #[prost(message, optional, tag = "5")]
    source: Option<SourceMessage>,
    #[prost(message, optional, tag = "6")]
    view: Option<ViewMessage>,
    #[prost(message, optional, tag = "7")]
    materialized: Option<MaterializedMessage>,
    #[prost(message, optional, tag = "8")]
    table: Option<TableMessage>,
    #[prost(message, optional, tag = "9")]
    index: Option<IndexMessage>,
    /// 0 is root.
    #[prost(uint32, tag = "20")]
    owner: u32,
    #[prost(message, optional, tag = "21")]
    acl: Option<AclMessage>,
    #[prost(message, optional, tag = "10")]
    sink: Option<SinkMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct SinkMessage {
    #[prost(uint32, tag = "1")]
    from: u32,
    #[prost(string, tag = "2")]
    connector: String,
    #[prost(btree_map = "string, string", tag = "3")]
    options: BTreeMap<String, String>,
    #[prost(string, tag = "4")]
    format: String,
    #[prost(string, repeated, tag = "5")]
    key: Vec<String>,
    #[prost(sint64, tag = "6")]
    max_lag_us: i64,
    #[prost(string, tag = "7")]
    unique: String,
    /// An Arrow schema as IPC writes it.
    #[prost(bytes = "vec", tag = "8")]
    schema: Vec<u8>,
    #[prost(btree_map = "string, uint32", tag = "9")]
    secrets: BTreeMap<String, u32>,
}

#[derive(Clone, PartialEq, Message)]
struct IndexMessage {
    #[prost(uint32, tag = "1")]
    on: u32,
    #[prost(uint64, repeated, tag = "2")]
    columns: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    stored: Option<MaterializedMessage>,
    /// 1: unique, 2: as a constraint of the table.
    #[prost(uint32, tag = "4")]
    unique: u32,
}

#[derive(Clone, PartialEq, Message)]
struct TableMessage {
    #[prost(message, repeated, tag = "1")]
    columns: Vec<TableColumnMessage>,
    #[prost(uint64, repeated, tag = "2")]
    key: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    stored: Option<MaterializedMessage>,
    #[prost(message, optional, tag = "4")]
    feed: Option<SourceMessage>,
    #[prost(message, optional, tag = "20")]
    constraints: Option<ConstraintsMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct TableColumnMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    sql_type: Option<TypeMessage>,
    #[prost(bool, tag = "3")]
    not_null: bool,
    #[prost(string, optional, tag = "4")]
    default: Option<String>,
    #[prost(uint32, optional, tag = "5")]
    length: Option<u32>,
    #[prost(message, optional, tag = "6")]
    identity: Option<IdentityMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct IdentityMessage {
    /// 1 serial, 2 by default, 3 always.
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    sequence: u32,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(sint64, tag = "4")]
    start: i64,
    #[prost(sint64, tag = "5")]
    increment: i64,
    #[prost(sint64, tag = "6")]
    least: i64,
    #[prost(sint64, tag = "7")]
    greatest: i64,
    #[prost(bool, tag = "8")]
    cycles: bool,
}

/// Numbers of how a column takes numbers.
const IDENTITIES: [(u32, IdentityKind); 3] =
    [(1, IdentityKind::Serial), (2, IdentityKind::ByDefault), (3, IdentityKind::Always)];

fn identity_message(identity: &Identity) -> IdentityMessage {
    let kind = IDENTITIES.iter().find(|(_, kind)| *kind == identity.kind);
    IdentityMessage {
        kind: kind.map(|(number, _)| *number).unwrap_or_default(),
        sequence: identity.sequence.0,
        name: identity.name.clone(),
        start: identity.start,
        increment: identity.increment,
        least: identity.least,
        greatest: identity.greatest,
        cycles: identity.cycles,
    }
}

fn identity_of(message: IdentityMessage) -> Result<Identity, CatalogError> {
    let kind = IDENTITIES.iter().find(|(number, _)| *number == message.kind);
    if message.increment == 0 {
        return Err(CatalogError::Damaged("an increment of 0"));
    }
    Ok(Identity {
        kind: kind.ok_or(CatalogError::Damaged("how a column takes numbers"))?.1,
        sequence: ObjectId(message.sequence),
        name: message.name,
        start: message.start,
        increment: message.increment,
        least: message.least,
        greatest: message.greatest,
        cycles: message.cycles,
    })
}

#[derive(Clone, PartialEq, Message)]
struct SourceMessage {
    #[prost(message, repeated, tag = "1")]
    columns: Vec<ColumnMessage>,
    #[prost(message, repeated, tag = "2")]
    include: Vec<IncludeMessage>,
    #[prost(message, optional, tag = "3")]
    watermark: Option<WatermarkMessage>,
    #[prost(string, tag = "4")]
    connector: String,
    #[prost(btree_map = "string, string", tag = "5")]
    options: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "6")]
    start: Vec<StartMessage>,
    /// Empty is PLAIN.
    #[prost(string, tag = "7")]
    format: String,
    /// Empty is JSON.
    #[prost(string, tag = "8")]
    encode: String,
    #[prost(string, repeated, tag = "9")]
    key: Vec<String>,
    #[prost(string, optional, tag = "10")]
    identity: Option<String>,
    /// By option the number of the secret that is its value.
    #[prost(btree_map = "string, uint32", tag = "20")]
    secrets: BTreeMap<String, u32>,
}

#[derive(Clone, PartialEq, Message)]
struct ColumnMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    sql_type: Option<TypeMessage>,
    #[prost(string, optional, tag = "3")]
    computed: Option<String>,
    #[prost(bool, tag = "4")]
    not_null: bool,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, optional, tag = "2")]
    precision: Option<u32>,
    #[prost(sint32, tag = "3")]
    scale: i32,
    #[prost(message, optional, boxed, tag = "4")]
    element: Option<Box<TypeMessage>>,
    #[prost(message, repeated, tag = "5")]
    fields: Vec<FieldMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    sql_type: Option<TypeMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct IncludeMessage {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct WatermarkMessage {
    #[prost(uint64, tag = "1")]
    column: u64,
    #[prost(sint64, tag = "2")]
    delay_us: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StartMessage {
    #[prost(sint32, tag = "1")]
    partition: i32,
    #[prost(sint64, tag = "2")]
    offset: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ViewMessage {
    #[prost(string, tag = "1")]
    query_text: String,
    #[prost(uint32, repeated, tag = "2")]
    depends_on: Vec<u32>,
    /// An Arrow schema as IPC writes it.
    #[prost(bytes = "vec", tag = "3")]
    schema: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct MaterializedMessage {
    #[prost(bytes = "vec", tag = "1")]
    plan: Vec<u8>,
    #[prost(sint64, tag = "2")]
    allowed_lateness_us: i64,
    #[prost(uint64, tag = "3")]
    content: u64,
    #[prost(uint64, tag = "4")]
    late: u64,
    #[prost(uint64, tag = "5")]
    errors: u64,
    #[prost(uint64, repeated, tag = "6")]
    state: Vec<u64>,
    #[prost(uint32, repeated, tag = "7")]
    depends_on: Vec<u32>,
    #[prost(btree_map = "string, string", tag = "8")]
    options: BTreeMap<String, String>,
}

fn table_message(table: &Table) -> Result<TableMessage, CatalogError> {
    let column = |column: &TableColumn| TableColumnMessage {
        name: column.name.clone(),
        sql_type: Some(type_message(&column.sql_type)),
        not_null: column.not_null,
        default: column.default.clone(),
        length: column.length,
        identity: column.identity.as_ref().map(identity_message),
    };
    Ok(TableMessage {
        columns: table.columns.iter().map(column).collect(),
        key: table.key.iter().map(|column| *column as u64).collect(),
        stored: Some(materialized_message(&table.stored)?),
        feed: table.feed.as_deref().map(source_message),
        constraints: constraint::message(&table.constraints),
    })
}

fn index_of(message: IndexMessage, functions: &TaskContext) -> Result<Index, CatalogError> {
    let column = |column: u64| {
        usize::try_from(column).map_err(|_| CatalogError::Damaged("a column of an index"))
    };
    let columns = message.columns.into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let stored = message.stored.ok_or(CatalogError::Damaged("an index without its plan"))?;
    let stored = materialized_of(stored, functions)?;
    let unique = constraint::unique_of(message.unique)?;
    Ok(Index { on: ObjectId(message.on), columns, unique, stored })
}

fn table_of(message: TableMessage, functions: &TaskContext) -> Result<Table, CatalogError> {
    let column = |column: TableColumnMessage| -> Result<TableColumn, CatalogError> {
        let sql_type = column.sql_type.ok_or(CatalogError::Damaged("a column without type"))?;
        Ok(TableColumn {
            name: column.name,
            sql_type: type_of(&sql_type)?,
            length: column.length,
            not_null: column.not_null,
            default: column.default,
            identity: column.identity.map(identity_of).transpose()?,
        })
    };
    let columns = message.columns.into_iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let key = |place: u64| {
        let place = usize::try_from(place).ok().filter(|place| *place < columns.len());
        place.ok_or(CatalogError::Damaged("a key column"))
    };
    let key = message.key.into_iter().map(key).collect::<Result<_, _>>()?;
    let stored = message.stored.ok_or(CatalogError::Damaged("a table without plan"))?;
    let feed = message.feed.map(source_of).transpose()?.map(Box::new);
    let constraints = constraint::constraints_of(message.constraints, columns.len())?;
    Ok(Table { columns, key, constraints, feed, stored: materialized_of(stored, functions)? })
}

fn source_message(source: &Source) -> SourceMessage {
    let column = |column: &SourceColumn| ColumnMessage {
        name: column.name.clone(),
        sql_type: Some(type_message(&column.sql_type)),
        computed: column.computed.clone(),
        not_null: column.not_null,
    };
    let include = |include: &Include| IncludeMessage {
        kind: include_number(include.kind),
        name: include.name.clone(),
    };
    SourceMessage {
        columns: source.columns.iter().map(column).collect(),
        include: source.include.iter().map(include).collect(),
        watermark: source.watermark.map(|watermark| WatermarkMessage {
            column: watermark.column as u64,
            delay_us: watermark.delay_us,
        }),
        connector: source.connector.clone(),
        options: source.options.clone(),
        start: source
            .start
            .iter()
            .map(|(partition, offset)| StartMessage { partition: partition.0, offset: *offset })
            .collect(),
        identity: source.identity.clone(),
        format: source.format.clone(),
        encode: source.encode.clone(),
        key: source.key.clone(),
        secrets: source.secrets.iter().map(|(option, id)| (option.clone(), id.0)).collect(),
    }
}

fn source_of(message: SourceMessage) -> Result<Source, CatalogError> {
    let column = |column: ColumnMessage| -> Result<SourceColumn, CatalogError> {
        let sql_type = column.sql_type.ok_or(CatalogError::Damaged("a column without type"))?;
        Ok(SourceColumn {
            name: column.name,
            sql_type: type_of(&sql_type)?,
            computed: column.computed,
            not_null: column.not_null,
        })
    };
    let include = |include: IncludeMessage| -> Result<Include, CatalogError> {
        let known = |kind: &IncludeKind| include_number(*kind) == include.kind;
        let kind = IncludeKind::ALL.into_iter().find(known);
        let kind = kind.ok_or(CatalogError::Damaged("an unknown kind of INCLUDE"))?;
        Ok(Include { kind, name: include.name })
    };
    let watermark = |watermark: WatermarkMessage| -> Result<SourceWatermark, CatalogError> {
        let column = usize::try_from(watermark.column);
        let column = column.map_err(|_| CatalogError::Damaged("a watermark's column"))?;
        Ok(SourceWatermark { column, delay_us: watermark.delay_us })
    };
    Ok(Source {
        columns: message.columns.into_iter().map(column).collect::<Result<_, _>>()?,
        include: message.include.into_iter().map(include).collect::<Result<_, _>>()?,
        watermark: message.watermark.map(watermark).transpose()?,
        connector: message.connector,
        options: message.options,
        start: message.start.iter().map(|s| (PartitionId(s.partition), s.offset)).collect(),
        identity: message.identity,
        format: given(message.format, "PLAIN"),
        encode: given(message.encode, "JSON"),
        key: message.key,
        secrets: message.secrets.into_iter().map(|(o, id)| (o, ObjectId(id))).collect(),
    })
}

fn given(word: String, otherwise: &str) -> String {
    if word.is_empty() { otherwise.to_owned() } else { word }
}

fn include_number(kind: IncludeKind) -> u32 {
    match kind {
        IncludeKind::Partition => 1,
        IncludeKind::Offset => 2,
        IncludeKind::Timestamp => 3,
        IncludeKind::Key => 4,
        IncludeKind::Headers => 5,
        IncludeKind::Topic => 6,
    }
}

fn type_message(sql_type: &SqlType) -> TypeMessage {
    let plain = |kind| TypeMessage { kind, ..TypeMessage::default() };
    match sql_type {
        SqlType::Boolean => plain(1),
        SqlType::SmallInt => plain(2),
        SqlType::Integer => plain(3),
        SqlType::BigInt => plain(4),
        SqlType::Numeric(None) => plain(5),
        SqlType::Numeric(Some((precision, scale))) => TypeMessage {
            precision: Some(u32::from(*precision)),
            scale: i32::from(*scale),
            ..plain(5)
        },
        SqlType::Real => plain(6),
        SqlType::Double => plain(7),
        SqlType::Text => plain(8),
        SqlType::Bytea => plain(9),
        SqlType::Date => plain(10),
        SqlType::Time => plain(11),
        SqlType::Timestamp => plain(12),
        SqlType::TimestampTz => plain(13),
        SqlType::Interval => plain(14),
        SqlType::Struct(fields) => {
            let field = |(name, sql_type): &(String, SqlType)| FieldMessage {
                name: name.clone(),
                sql_type: Some(type_message(sql_type)),
            };
            TypeMessage { fields: fields.iter().map(field).collect(), ..plain(18) }
        }
        SqlType::Jsonb => plain(16),
        SqlType::Uuid => plain(17),
        SqlType::Array(element) => {
            TypeMessage { element: Some(Box::new(type_message(element))), ..plain(15) }
        }
    }
}

fn type_of(message: &TypeMessage) -> Result<SqlType, CatalogError> {
    Ok(match message.kind {
        1 => SqlType::Boolean,
        2 => SqlType::SmallInt,
        3 => SqlType::Integer,
        4 => SqlType::BigInt,
        5 => SqlType::Numeric(message.precision.map(|p| numeric(p, message.scale)).transpose()?),
        6 => SqlType::Real,
        7 => SqlType::Double,
        8 => SqlType::Text,
        9 => SqlType::Bytea,
        10 => SqlType::Date,
        11 => SqlType::Time,
        12 => SqlType::Timestamp,
        13 => SqlType::TimestampTz,
        14 => SqlType::Interval,
        15 => match &message.element {
            Some(element) => SqlType::Array(Box::new(type_of(element)?)),
            None => return Err(CatalogError::Damaged("an array without element type")),
        },
        16 => SqlType::Jsonb,
        17 => SqlType::Uuid,
        18 => {
            let field = |field: &FieldMessage| match &field.sql_type {
                Some(sql_type) => Ok((field.name.clone(), type_of(sql_type)?)),
                None => Err(CatalogError::Damaged("a field without type")),
            };
            SqlType::Struct(message.fields.iter().map(field).collect::<Result<_, _>>()?)
        }
        _ => return Err(CatalogError::Damaged("an unknown type")),
    })
}

fn numeric(precision: u32, scale: i32) -> Result<(u8, i8), CatalogError> {
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) => Ok((precision, scale)),
        _ => Err(CatalogError::Damaged("precision and scale")),
    }
}

fn view_message(view: &View) -> ViewMessage {
    ViewMessage {
        query_text: view.query_text.clone(),
        depends_on: view.depends_on.iter().map(|id| id.0).collect(),
        schema: IpcSchemaEncoder::new().schema_to_fb(&view.schema).finished_data().to_vec(),
    }
}

fn schema_of(bytes: &[u8]) -> Result<SchemaRef, CatalogError> {
    let stored = arrow::ipc::root_as_schema(bytes);
    let stored = stored.map_err(|_| CatalogError::Damaged("a view's schema"))?;
    Ok(Arc::new(fb_to_schema(stored)))
}

fn sink_message(sink: &Sink) -> SinkMessage {
    SinkMessage {
        from: sink.from.0,
        connector: sink.connector.clone(),
        options: sink.options.clone(),
        format: sink.format.word().to_owned(),
        key: sink.key.clone(),
        max_lag_us: sink.max_lag_us,
        unique: sink.unique.clone(),
        schema: IpcSchemaEncoder::new().schema_to_fb(&sink.schema).finished_data().to_vec(),
        secrets: sink.secrets.iter().map(|(option, id)| (option.clone(), id.0)).collect(),
    }
}

fn sink_of(message: SinkMessage) -> Result<Sink, CatalogError> {
    let format = SinkFormat::ALL.into_iter().find(|format| format.word() == message.format);
    Ok(Sink {
        from: ObjectId(message.from),
        connector: message.connector,
        options: message.options,
        format: format.ok_or(CatalogError::Damaged("the format of a sink"))?,
        key: message.key,
        max_lag_us: message.max_lag_us,
        unique: message.unique,
        schema: schema_of(&message.schema)?,
        secrets: message.secrets.into_iter().map(|(o, id)| (o, ObjectId(id))).collect(),
    })
}

fn view_of(message: ViewMessage) -> Result<View, CatalogError> {
    let schema = schema_of(&message.schema)?;
    Ok(View {
        query_text: message.query_text,
        depends_on: message.depends_on.into_iter().map(ObjectId).collect(),
        schema,
    })
}

fn materialized_message(view: &MaterializedView) -> Result<MaterializedMessage, CatalogError> {
    let plan = encode_plan(&view.plan)?;
    Ok(MaterializedMessage {
        plan,
        allowed_lateness_us: view.allowed_lateness_us,
        content: view.content.0,
        late: view.late.0,
        errors: view.errors.0,
        state: view.state.iter().map(|table| table.0).collect(),
        depends_on: view.depends_on.iter().map(|id| id.0).collect(),
        options: view.options.clone(),
    })
}

fn materialized_of(
    message: MaterializedMessage,
    functions: &TaskContext,
) -> Result<MaterializedView, CatalogError> {
    let plan = decode_plan(&message.plan, functions);
    Ok(MaterializedView {
        plan: plan?,
        allowed_lateness_us: message.allowed_lateness_us,
        content: TableId(message.content),
        late: TableId(message.late),
        errors: TableId(message.errors),
        state: message.state.into_iter().map(TableId).collect(),
        depends_on: message.depends_on.into_iter().map(ObjectId).collect(),
        options: message.options,
    })
}
