//! Binding and planning with the real binder: a source, and views over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use millrace_plan::ViewPlan;
use millrace_sql::ast::Statement;
use millrace_sql::stream::{self, InputInfo, ViewOptions};
use millrace_sql::{
    Access, Binder, Catalog, CatalogTables, Kind, MaterializedView, Object, Parameters, Settings,
    Source, SourceColumn, SourceWatermark, Table, TableColumn, TableLookup, parse, session_state,
};
use millrace_types::input::Zone;
use millrace_types::{ObjectId, Report, SqlType, TableId};

use super::data;

/// The source's name.
pub(super) const SOURCE: &str = "s";
/// The source.
pub(super) const SOURCE_ID: ObjectId = ObjectId(1);

/// The table's name.
pub(super) const TABLE: &str = "w";
/// The table, of the same columns as the source.
pub(super) const TABLE_ID: ObjectId = ObjectId(2);

/// A catalog with the source and the table, and with views as they are added.
pub(super) struct Sql {
    catalog: Catalog,
    state: SessionState,
    event_time: bool,
}

/// Tables for the batch answer.
pub(super) struct Tables(pub(super) BTreeMap<String, Arc<dyn TableSource>>);

impl TableLookup for Tables {
    fn table(&self, reference: &TableReference) -> Option<Arc<dyn TableSource>> {
        self.0.get(reference.table()).cloned()
    }
}

impl Sql {
    /// With the source and the table; the source may have an event time.
    pub(super) fn new(event_time: bool) -> Sql {
        let column = |(name, sql_type): (&str, _)| SourceColumn {
            name: name.into(),
            sql_type,
            computed: None,
            not_null: false,
        };
        let columns: Vec<SourceColumn> = data::columns().into_iter().map(column).collect();
        let time = columns.iter().position(|column| column.sql_type == SqlType::TimestampTz);
        let watermark = SourceWatermark { column: time.expect("it has a time"), delay_us: 0 };
        let source = Source {
            columns,
            include: Vec::new(),
            watermark: event_time.then_some(watermark),
            connector: "datagen".into(),
            options: BTreeMap::new(),
            secrets: BTreeMap::new(),
            start: Vec::new(),
            identity: None,
            format: "PLAIN".to_owned(),
            encode: "JSON".to_owned(),
            key: Vec::new(),
        };
        let object = Object {
            id: SOURCE_ID,
            name: SOURCE.into(),
            kind: Kind::Source(source),
            sql: String::new(),
            access: Access::default(),
        };
        let column = |(name, sql_type): (&str, _)| TableColumn {
            name: name.into(),
            sql_type,
            length: None,
            not_null: false,
            default: None,
            identity: None,
        };
        let mut table = Table::new(data::columns().into_iter().map(column).collect(), Vec::new());
        table.own(TABLE_ID);
        let kind = Kind::Table(table);
        let table = Object {
            id: TABLE_ID,
            name: TABLE.into(),
            kind,
            sql: String::new(),
            access: Access::default(),
        };
        let state = session_state(&Settings { target_partitions: 1, ..Settings::default() });
        Sql { catalog: Catalog::new().with(object).with(table), state, event_time }
    }

    /// The same for a session in a time zone.
    pub(super) fn in_zone(mut self, name: &str) -> Sql {
        let zone = Zone::of(name).expect("it is one");
        self.state = session_state(&Settings { target_partitions: 1, zone, ..Settings::default() });
        self
    }

    /// True if the source has an event time.
    pub(super) fn has_event_time(&self) -> bool {
        self.event_time
    }

    /// The session, for the batch answer.
    pub(super) fn state(&self) -> &SessionState {
        &self.state
    }

    /// The full schema of the source.
    pub(super) fn source_schema(&self) -> SchemaRef {
        self.catalog.get(SOURCE_ID).expect("made with it").full_schema()
    }

    /// The full schema of the table.
    pub(super) fn table_schema(&self) -> SchemaRef {
        self.catalog.get(TABLE_ID).expect("made with it").full_schema()
    }

    /// The logical plan of a query over some tables.
    pub(super) fn bind(&self, text: &str, tables: &dyn TableLookup) -> Result<LogicalPlan, Report> {
        let statement = parse(text)?.remove(0);
        let Statement::Query(query) = statement else { panic!("not a query: {text}") };
        let binder = Binder::new(&self.catalog, tables, &self.state);
        Ok(binder.bind_query(&query, text, &Parameters::none())?.plan)
    }

    /// The plan of a maintained view.
    pub(super) fn plan(&self, text: &str, allowed_lateness_us: i64) -> Result<ViewPlan, Report> {
        self.plan_with(text, &ViewOptions { allowed_lateness_us, ..ViewOptions::default() })
    }

    /// The same with all options.
    pub(super) fn plan_with(&self, text: &str, options: &ViewOptions) -> Result<ViewPlan, Report> {
        let logical = self.bind(text, &CatalogTables(&self.catalog))?;
        let input = |id: ObjectId| {
            let object = self.catalog.get(id).expect("the binder named it");
            match &object.kind {
                Kind::MaterializedView(view) => InputInfo::view(id, view.plan.root.meta()),
                Kind::Source(source) => {
                    let time = source.watermark.map(|watermark| watermark.column);
                    let time = time.filter(|_| self.event_time);
                    InputInfo::source(id, object.full_schema(), time)
                }
                Kind::Table(table) => InputInfo::view(id, table.stored.plan.root.meta()),
                Kind::View(_) | Kind::Index(_) | Kind::Sink(_) => panic!("no query reads it"),
            }
        };
        stream::plan(logical, &self.state, &input, options)
    }

    /// Adds a view for others to read.
    pub(super) fn add(&mut self, id: ObjectId, name: &str, plan: &ViewPlan) {
        let view = MaterializedView {
            plan: plan.clone(),
            allowed_lateness_us: 0,
            content: TableId(0),
            late: TableId(0),
            errors: TableId(0),
            state: Vec::new(),
            depends_on: vec![SOURCE_ID],
            options: BTreeMap::new(),
        };
        let kind = Kind::MaterializedView(view);
        let object =
            Object { id, name: name.into(), kind, sql: String::new(), access: Access::default() };
        self.catalog = self.catalog.with(object);
    }
}
