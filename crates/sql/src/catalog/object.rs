//! What an object of the catalog is.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millrace_plan::{Leaf, LeafKind, Meta, Node, Upsert, ViewPlan};
use millrace_types::{
    DELETED_COLUMN, OFFSET_COLUMN, ObjectId, PARTITION_COLUMN, PartitionId, SqlType, TableId,
    is_hidden,
};

use super::{Access, Constraints, Unique};
use crate::ast::{IdentityKind, ObjectKind};
use crate::names::SYSTEM_SCHEMA;

/// One object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Never used twice.
    pub id: ObjectId,
    /// Folded, without a schema.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its CREATE statement; what is confidential in it is masked ([`crate::masked`]).
    pub sql: String,
    /// Whose it is, and who else may use it.
    pub access: Access,
}

/// What an object is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Where changes enter.
    Source(Source),
    /// Rows that statements change.
    Table(Table),
    /// A macro.
    View(View),
    /// A maintained query.
    MaterializedView(MaterializedView),
    /// The rows of a table or a materialized view in another order.
    Index(Index),
    /// Where changes leave.
    Sink(Sink),
}

/// A second access path: all rows of what it is on, stored by some columns and then by its key. It is
/// kept like a view that shows them all.
#[derive(Clone, Debug)]
pub struct Index {
    /// The table or materialized view.
    pub on: ObjectId,
    /// Its columns, leading first.
    pub columns: Vec<usize>,
    /// Rows differ in its columns, unless one of them is NULL.
    pub unique: Option<Unique>,
    /// How its rows are kept.
    pub stored: MaterializedView,
}

impl Index {
    /// An index that is not stored yet.
    pub fn new(on: &Object, columns: Vec<usize>) -> Option<Index> {
        let below = on.stored()?;
        let meta = below.plan.root.meta().clone();
        let all = (0..meta.schema.fields().len()).collect();
        let mut sort = columns.clone();
        sort.extend(below.plan.sort.iter().filter(|column| !columns.contains(column)));
        let root = Node::Leaf(Leaf { kind: LeafKind::View(on.id), columns: all, meta });
        let stored = MaterializedView {
            depends_on: vec![on.id],
            ..stored(ViewPlan { root, sort, retention: None })
        };
        Some(Index { on: on.id, columns, unique: None, stored })
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its columns in order.
    pub columns: Vec<TableColumn>,
    /// The columns of the primary key; empty: rows are told apart by a hidden column.
    pub key: Vec<usize>,
    /// What else its rows have to meet.
    pub constraints: Constraints,
    /// What fills it; none: statements do.
    pub feed: Option<Box<Source>>,
    /// How its rows are kept: like a view whose only leaf is where the changes enter.
    pub stored: MaterializedView,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// The most characters that statements store in it: `varchar(n)`.
    pub length: Option<u32>,
    /// It is never NULL.
    pub not_null: bool,
    /// The text of the expression for rows that do not say.
    pub default: Option<String>,
    /// The numbers that it takes.
    pub identity: Option<Identity>,
}

/// The numbers that a column takes, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// How they come into the column.
    pub kind: IdentityKind,
    /// The number of its sequence, which the coordinator gives: that of no other object.
    pub sequence: ObjectId,
    /// The name of its sequence, which the coordinator gives.
    pub name: String,
    /// The first number.
    pub start: i64,
    /// From one number to the next; never 0.
    pub increment: i64,
    /// The least number.
    pub least: i64,
    /// The greatest number.
    pub greatest: i64,
    /// Behind the last number comes the first one again.
    pub cycles: bool,
}

/// The hidden key of a table without a primary key.
pub const ROW_ID_COLUMN: &str = "_key_row";

impl Table {
    /// A table that is not stored yet.
    pub fn new(columns: Vec<TableColumn>, key: Vec<usize>) -> Table {
        let mut fields: Vec<Field> = columns.iter().map(TableColumn::field).collect();
        if key.is_empty() {
            fields.push(Field::new(ROW_ID_COLUMN, DataType::Int64, false));
        }
        let sort = if key.is_empty() { vec![fields.len() - 1] } else { key.clone() };
        let meta = Meta {
            schema: Arc::new(Schema::new(fields)),
            key: sort.clone(),
            append_only: false,
            watermarks: Vec::new(),
        };
        let columns_read = (0..meta.schema.fields().len()).collect();
        // Its own identifier, which the coordinator gives.
        let kind = LeafKind::Source(ObjectId::default());
        let root = Node::Leaf(Leaf { kind, columns: columns_read, meta });
        let stored = stored(ViewPlan { root, sort, retention: None });
        Table { columns, key, constraints: Constraints::default(), feed: None, stored }
    }

    /// A table that a source fills, not stored yet: with a key it keeps the newest row of each, without
    /// it keeps all. `columns` are those of the source and of its INCLUDE clause.
    pub fn fed(columns: Vec<TableColumn>, key: Vec<usize>, feed: Source) -> Table {
        let input = feed.full_schema();
        let last = input.fields().len() - 1;
        let origin = (last - 1, last);
        let meta = |schema: SchemaRef, key, append_only| Meta {
            schema,
            key,
            append_only,
            watermarks: Vec::new(),
        };
        let arrived = vec![origin.0, origin.1];
        let leaf = Node::Leaf(Leaf {
            // Its own identifier, which the coordinator gives.
            kind: LeafKind::Source(ObjectId::default()),
            columns: (0..=last).collect(),
            meta: meta(Arc::clone(&input), arrived.clone(), true),
        });
        let (root, sort) = match key.is_empty() {
            true => (leaf, arrived),
            false => {
                let fields = columns.iter().map(TableColumn::field).collect::<Vec<_>>();
                let upsert = Upsert {
                    input: leaf,
                    key: key.clone(),
                    deleted: feed.deletes().then(|| last - 2),
                    origin,
                    meta: meta(Arc::new(Schema::new(fields)), key.clone(), false),
                };
                (Node::Upsert(Box::new(upsert)), key.clone())
            }
        };
        Table {
            columns,
            key,
            constraints: Constraints::default(),
            feed: Some(Box::new(feed)),
            stored: stored(ViewPlan { root, sort, retention: None }),
        }
    }

    /// Gives its leaf, and references to itself, the table's own identifier.
    pub fn own(&mut self, id: ObjectId) {
        self.constraints.own(id);
        let root = &mut self.stored.plan.root;
        let leaf = match root {
            Node::Upsert(upsert) => &mut upsert.input,
            _ => root,
        };
        if let Node::Leaf(leaf) = leaf {
            leaf.kind = LeafKind::Source(id);
        }
    }

    /// The name of the primary key of the table of this name.
    pub fn key_name(&self, table: &str) -> String {
        self.constraints.key_name.clone().unwrap_or_else(|| format!("{table}_pkey"))
    }

    /// All columns, the hidden key too.
    pub fn full_schema(&self) -> &SchemaRef {
        &self.stored.plan.root.meta().schema
    }
}

impl TableColumn {
    /// What an INSERT puts in that does not say.
    pub fn default_text(&self) -> Option<String> {
        let next = |identity: &Identity| {
            let name = identity.name.replace('\'', "''").replace('"', "\"\"");
            format!("nextval('\"{name}\"')")
        };
        self.default.clone().or_else(|| self.identity.as_ref().map(next))
    }

    fn field(&self) -> Field {
        Field::new(&self.name, self.sql_type.arrow(), !self.not_null)
    }
}

/// What keeps the rows of a plan, not stored yet.
fn stored(plan: ViewPlan) -> MaterializedView {
    MaterializedView {
        plan,
        allowed_lateness_us: 0,
        content: TableId::default(),
        late: TableId::default(),
        errors: TableId::default(),
        state: Vec::new(),
        depends_on: Vec::new(),
        options: BTreeMap::new(),
    }
}

/// A source, or what fills a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Declared columns in order, computed ones too.
    pub columns: Vec<SourceColumn>,
    /// What is added to each row from where it came from.
    pub include: Vec<Include>,
    /// The event time and how much disorder to wait for.
    pub watermark: Option<SourceWatermark>,
    /// The connector's name, in lower case.
    pub connector: String,
    /// `WITH` without `connector`, and the options of the encoding as `encode.<name>`.
    pub options: BTreeMap<String, String>,
    /// The secrets that stand for the values of further options.
    pub secrets: BTreeMap<String, ObjectId>,
    /// The first offset of each partition, resolved once at creation.
    pub start: Vec<(PartitionId, i64)>,
    /// What tells this topic from another one of the same name, where the source knows it.
    pub identity: Option<String>,
    /// What messages mean: the word after FORMAT, in upper case.
    pub format: String,
    /// How their values are written: the word after ENCODE, in upper case.
    pub encode: String,
    /// The primary key of the table that it fills.
    pub key: Vec<String>,
}

/// A declared column of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// The text of the expression that computes it.
    pub computed: Option<String>,
    /// It is never NULL.
    pub not_null: bool,
}

/// One item of `INCLUDE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// What is included.
    pub kind: IncludeKind,
    /// The column's name.
    pub name: String,
}

/// What can be included in a row of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncludeKind {
    /// The partition, `integer`, never NULL
    Partition,
    /// The offset, `bigint`, never NULL
    Offset,
    /// The message's own time, `timestamp with time zone`
    Timestamp,
    /// The message's key, `bytea`
    Key,
    /// The message's headers, `text` that holds one JSON object
    Headers,
    /// The topic, `text`, never NULL
    Topic,
}

/// The event time of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceWatermark {
    /// The column's index in [`Source::full_schema`].
    pub column: usize,
    /// How far the watermark stays behind the greatest event time, microseconds.
    pub delay_us: i64,
}

/// A sink: the changes of a table or a materialized view leave by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// What it follows.
    pub from: ObjectId,
    /// The connector's name, in lower case.
    pub connector: String,
    /// `WITH`, without what is said here.
    pub options: BTreeMap<String, String>,
    /// The secrets that stand for the values of further options.
    pub secrets: BTreeMap<String, ObjectId>,
    /// What its messages mean.
    pub format: SinkFormat,
    /// The columns of the messages' key; none: they have no key.
    pub key: Vec<String>,
    /// How far behind it may be before changes are let go that it has not sent, microseconds.
    pub max_lag_us: i64,
    /// A name that no other sink has, on other servers either.
    pub unique: String,
    /// The columns of its messages.
    pub schema: SchemaRef,
}

/// What the messages of a sink mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFormat {
    /// A row that comes.
    Plain,
    /// The row of a key, or that it has gone.
    Upsert,
    /// A row before and after a change.
    Debezium,
}

impl SinkFormat {
    /// Every format.
    pub const ALL: [SinkFormat; 3] = [SinkFormat::Plain, SinkFormat::Upsert, SinkFormat::Debezium];

    /// As SQL writes it.
    pub fn word(self) -> &'static str {
        match self {
            SinkFormat::Plain => "PLAIN",
            SinkFormat::Upsert => "UPSERT",
            SinkFormat::Debezium => "DEBEZIUM",
        }
    }
}

/// A view: a macro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The text of its query.
    pub query_text: String,
    /// What its query names.
    pub depends_on: Vec<ObjectId>,
    /// Its columns when it was created.
    pub schema: SchemaRef,
}

/// A materialized view.
#[derive(Clone, Debug)]
pub struct MaterializedView {
    /// How it is kept up to date.
    pub plan: ViewPlan,
    /// How long after its end a window still takes rows, microseconds.
    pub allowed_lateness_us: i64,
    /// Where its rows are stored.
    pub content: TableId,
    /// Where the rows turned away are stored.
    pub late: TableId,
    /// Where its evaluation errors are stored.
    pub errors: TableId,
    /// Where its operators keep their state, in the order of the plan.
    pub state: Vec<TableId>,
    /// What its query names.
    pub depends_on: Vec<ObjectId>,
    /// `WITH (...)`
    pub options: BTreeMap<String, String>,
}

impl MaterializedView {
    /// How long its changes are kept, microseconds; 0 if it does not say.
    pub fn retain_history_us(&self) -> i64 {
        let text = self.options.get("retain_history");
        text.and_then(|text| crate::binder::interval_us(text)).unwrap_or_default()
    }
}

impl Object {
    /// What it depends on directly.
    pub fn depends_on(&self) -> &[ObjectId] {
        match &self.kind {
            Kind::Source(_) | Kind::Table(_) => &[],
            Kind::View(view) => &view.depends_on,
            Kind::MaterializedView(view) => &view.depends_on,
            Kind::Index(index) => &index.stored.depends_on,
            Kind::Sink(sink) => std::slice::from_ref(&sink.from),
        }
    }

    /// True for a table of the server itself: it has another schema than those of users.
    pub fn is_of_server(&self) -> bool {
        self.server_name().is_some()
    }

    /// The name in schema `millrace` of a table of the server itself.
    pub fn server_name(&self) -> Option<&str> {
        self.name.strip_prefix(SYSTEM_SCHEMA)?.strip_prefix('.')
    }

    /// Its kind as statements name it.
    pub fn object_kind(&self) -> ObjectKind {
        match &self.kind {
            Kind::Source(_) => ObjectKind::Source,
            Kind::Table(_) => ObjectKind::Table,
            Kind::View(_) => ObjectKind::View,
            Kind::MaterializedView(_) => ObjectKind::MaterializedView,
            Kind::Index(_) => ObjectKind::Index,
            Kind::Sink(_) => ObjectKind::Sink,
        }
    }

    /// What it reads from outside, if it does.
    pub fn source(&self) -> Option<&Source> {
        match &self.kind {
            Kind::Source(source) => Some(source),
            Kind::Table(table) => table.feed.as_deref(),
            Kind::View(_) | Kind::MaterializedView(_) | Kind::Index(_) | Kind::Sink(_) => None,
        }
    }

    /// The secrets that its options name.
    pub fn secrets(&self) -> impl Iterator<Item = ObjectId> {
        let of_sink = match &self.kind {
            Kind::Sink(sink) => Some(&sink.secrets),
            _ => None,
        };
        let all = self.source().map(|source| &source.secrets).into_iter().chain(of_sink);
        all.flat_map(|secrets| secrets.values().copied())
    }

    /// How its rows are stored, if it keeps any.
    pub fn stored(&self) -> Option<&MaterializedView> {
        match &self.kind {
            Kind::MaterializedView(view) => Some(view),
            Kind::Table(table) => Some(&table.stored),
            Kind::Index(index) => Some(&index.stored),
            Kind::Source(_) | Kind::View(_) | Kind::Sink(_) => None,
        }
    }

    /// As [`Object::stored`].
    pub fn stored_mut(&mut self) -> Option<&mut MaterializedView> {
        match &mut self.kind {
            Kind::MaterializedView(view) => Some(view),
            Kind::Table(table) => Some(&mut table.stored),
            Kind::Index(index) => Some(&mut index.stored),
            Kind::Source(_) | Kind::View(_) | Kind::Sink(_) => None,
        }
    }

    /// All its columns, hidden ones too.
    pub fn full_schema(&self) -> SchemaRef {
        match &self.kind {
            Kind::Table(table) => Arc::clone(table.full_schema()),
            Kind::Source(source) => source.full_schema(),
            Kind::View(view) => Arc::clone(&view.schema),
            Kind::MaterializedView(view) => Arc::clone(&view.plan.root.meta().schema),
            Kind::Index(index) => Arc::clone(&index.stored.plan.root.meta().schema),
            Kind::Sink(sink) => Arc::clone(&sink.schema),
        }
    }

    /// The columns that `SELECT *` and DESCRIBE show.
    pub fn visible_schema(&self) -> SchemaRef {
        visible(&self.full_schema())
    }
}

/// A schema without its hidden columns.
pub(crate) fn visible(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().filter(|field| !is_hidden(field.name()));
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

impl Source {
    /// The columns that the connector decodes: declared and not computed, in order.
    pub fn physical_fields(&self) -> Vec<Field> {
        self.columns.iter().filter(|c| c.computed.is_none()).map(SourceColumn::field).collect()
    }

    /// True if messages can take rows away.
    pub fn deletes(&self) -> bool {
        self.format == "UPSERT" || self.format == "DEBEZIUM"
    }

    /// The columns of a connector's chunk: physical ones, `INCLUDE`, `_deleted` where messages can take
    /// rows away, `_partition`, `_offset`.
    pub fn chunk_schema(&self) -> SchemaRef {
        let mut fields = self.physical_fields();
        fields.iter_mut().for_each(|field| self.open(field));
        fields.extend(self.added_fields());
        Arc::new(Schema::new(fields))
    }

    /// A row that is taken away has nothing but its key.
    fn open(&self, field: &mut Field) {
        if self.deletes() && !self.key.contains(field.name()) {
            field.set_nullable(true);
        }
    }

    /// The columns that the planner sees: all declared ones in order, then as in a chunk.
    pub fn full_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.columns.iter().map(SourceColumn::field).collect();
        fields.iter_mut().for_each(|field| self.open(field));
        fields.extend(self.added_fields());
        Arc::new(Schema::new(fields))
    }

    fn added_fields(&self) -> impl Iterator<Item = Field> {
        let deleted = self.deletes().then(|| Field::new(DELETED_COLUMN, DataType::Boolean, false));
        let hidden = [
            Field::new(PARTITION_COLUMN, DataType::Int32, false),
            Field::new(OFFSET_COLUMN, DataType::Int64, false),
        ];
        self.include.iter().map(Include::field).chain(deleted).chain(hidden)
    }
}

impl SourceColumn {
    fn field(&self) -> Field {
        Field::new(&self.name, self.sql_type.arrow(), !self.not_null)
    }
}

impl Include {
    fn field(&self) -> Field {
        Field::new(&self.name, self.kind.sql_type().arrow(), self.kind.nullable())
    }
}

impl IncludeKind {
    /// Every kind.
    pub const ALL: [IncludeKind; 6] = [
        IncludeKind::Partition,
        IncludeKind::Offset,
        IncludeKind::Timestamp,
        IncludeKind::Key,
        IncludeKind::Headers,
        IncludeKind::Topic,
    ];

    /// As SQL writes it.
    pub fn word(self) -> &'static str {
        match self {
            IncludeKind::Partition => "partition",
            IncludeKind::Offset => "offset",
            IncludeKind::Timestamp => "timestamp",
            IncludeKind::Key => "key",
            IncludeKind::Headers => "headers",
            IncludeKind::Topic => "topic",
        }
    }

    /// The kind of a word in lower case.
    pub fn from_word(word: &str) -> Option<IncludeKind> {
        IncludeKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The type of its column.
    pub fn sql_type(self) -> SqlType {
        match self {
            IncludeKind::Partition => SqlType::Integer,
            IncludeKind::Offset => SqlType::BigInt,
            IncludeKind::Timestamp => SqlType::TimestampTz,
            IncludeKind::Key => SqlType::Bytea,
            IncludeKind::Headers | IncludeKind::Topic => SqlType::Text,
        }
    }

    pub(crate) fn nullable(self) -> bool {
        match self {
            IncludeKind::Partition | IncludeKind::Offset | IncludeKind::Topic => false,
            IncludeKind::Timestamp | IncludeKind::Key | IncludeKind::Headers => true,
        }
    }
}
