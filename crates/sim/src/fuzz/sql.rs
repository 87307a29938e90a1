//! Changed statements through the parser, the binder and the planner of views, in this process.
//!
//! Each file of the suites gives a catalog, made by its own statements. What is refused is refused with a
//! SQLSTATE other than `XX000`, which is for mistakes of ours, and a position within the text; what is planned is
//! the same after it was stored and read.

use std::collections::BTreeMap;

use datafusion::execution::SessionState;
use millrace_plan::{decode_plan, encode_plan};
use millrace_sql::ast::{CreateMaterializedView, Explained, Statement};
use millrace_sql::stream::{self, InputInfo, ViewOptions};
use millrace_sql::{
    Access, Binder, Bound, Catalog, CatalogTables, Connectors, Kind, MaterializedView, Object,
    Parameters, Settings, bind_index, bind_source, bind_table, masked, parse, plan_change,
    session_state, split,
};
use millrace_types::{ObjectId, Report, STACK_BYTES, SqlState, TableId};

use super::run::{Random, fuzz_some};
use super::statements::Corpus;

/// Inputs of a check, the same each time.
const INPUTS: u64 = 4_000;

const CONNECTORS: Connectors<'static> =
    Connectors { names: &["datagen", "kafka", "nexmark"], columns: &|_, _| None };

/// A catalog that statements change.
#[derive(Clone, Default)]
struct Database {
    catalog: Catalog,
    last: u32,
}

impl Database {
    fn add(&mut self, name: &str, make: impl FnOnce(ObjectId) -> Kind) {
        if self.catalog.find(name).is_some() {
            return;
        }
        self.last += 1;
        let id = ObjectId(self.last);
        let (sql, access) = (String::new(), Access::default());
        let object = Object { id, name: name.to_owned(), kind: make(id), sql, access };
        self.catalog = self.catalog.with(object);
    }

    /// Takes a query string; how many statements were taken for good.
    fn run(&mut self, text: &str, state: &SessionState) -> Result<(), Report> {
        masked(text);
        split(text)?;
        for statement in parse(text)? {
            self.statement(&statement, text, state)?;
        }
        Ok(())
    }

    fn statement(
        &mut self,
        one: &Statement,
        text: &str,
        state: &SessionState,
    ) -> Result<(), Report> {
        match one {
            Statement::CreateSource(create) => {
                let source = bind_source(create, &CONNECTORS)?;
                self.add(&create.name.name, |_| Kind::Source(source));
            }
            Statement::CreateTable(create) => {
                let mut table = bind_table(create, &CONNECTORS)?;
                self.add(&create.name.name, |id| {
                    table.own(id);
                    Kind::Table(table)
                });
            }
            Statement::CreateView(create) => {
                let tables = CatalogTables(&self.catalog);
                let view = Binder::new(&self.catalog, &tables, state).bind_view(create, text)?;
                self.add(&create.name.name, |_| Kind::View(view));
            }
            Statement::CreateMaterializedView(create) => self.materialize(create, text, state)?,
            Statement::CreateIndex(create) => {
                let (name, index) = bind_index(&self.catalog, create)?;
                self.add(&name, |_| Kind::Index(index));
            }
            Statement::Change(change) => drop(plan_change(&self.catalog, change)?),
            Statement::Query(query) => {
                let tables = CatalogTables(&self.catalog);
                let binder = Binder::new(&self.catalog, &tables, state);
                binder.bind_query(query, text, &Parameters::typed(&[]))?;
                let bound = binder.bind_query(query, text, &Parameters::none())?;
                self.plan(bound, &ViewOptions::default(), state)?;
            }
            Statement::Explain(explain) => match &explain.inner {
                Explained::Statement(inner) => self.statement(inner, text, state)?,
                Explained::MaterializedView(_) => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn materialize(
        &mut self,
        create: &CreateMaterializedView,
        text: &str,
        state: &SessionState,
    ) -> Result<(), Report> {
        let tables = CatalogTables(&self.catalog);
        let binder = Binder::new(&self.catalog, &tables, state);
        let view = binder.bind_materialized_view(create, text)?;
        let options = view.stream_options();
        let inputs = |id| InputInfo::of(self.catalog.get(id).expect("it was named")).expect("rows");
        let plan = stream::plan(view.plan, state, &inputs, &options)?;
        let names = |id: ObjectId| self.catalog.get(id).expect("it was named").name.clone();
        stream::explain(&plan, &names);
        // One that is too deep to be stored is refused.
        let Ok(stored) = encode_plan(&plan) else { return Ok(()) };
        let read = decode_plan(&stored, &state.task_ctx()).expect("the plan can be read");
        assert_eq!(format!("{plan:?}"), format!("{read:?}"), "{text}");
        let view = MaterializedView {
            plan,
            allowed_lateness_us: view.allowed_lateness_us,
            content: TableId(1),
            late: TableId(2),
            errors: TableId(3),
            state: Vec::new(),
            depends_on: view.depends_on,
            options: BTreeMap::new(),
        };
        self.add(&create.name.name, |_| Kind::MaterializedView(view));
        Ok(())
    }

    /// A query as if it were a view's.
    fn plan(
        &self,
        bound: Bound,
        options: &ViewOptions,
        state: &SessionState,
    ) -> Result<(), Report> {
        let inputs = |id| InputInfo::of(self.catalog.get(id).expect("it was named")).expect("rows");
        stream::plan(bound.plan, state, &inputs, options).map(drop)
    }
}

/// A catalog as a file of the suites makes it.
fn database(statements: &[String], state: &SessionState) -> Database {
    let mut database = Database::default();
    for statement in statements {
        if statement.trim_start().to_ascii_uppercase().starts_with("CREATE") {
            // Some of them are there to be refused.
            drop(database.run(statement, state));
        }
    }
    database
}

/// What is wrong with how a statement was refused.
fn complaint(text: &str, report: &Report) -> Option<String> {
    let beyond = report.position.is_some_and(|at| at == 0 || at > text.chars().count() + 1);
    let wrong = report.code == SqlState::INTERNAL_ERROR || beyond || report.message.is_empty();
    wrong.then(|| format!("{text}\n{report:?}"))
}

fn statements_are_planned_or_refused(random: &mut Random, known: &mut Known) -> bool {
    let file = random.below(known.corpus.files());
    let statements = known.corpus.of(file);
    let state = &known.state;
    let database = known.databases.entry(file).or_insert_with(|| database(statements, state));
    let text = known.corpus.changed(file, random);
    if known.shown {
        println!("{text}");
    }
    match database.clone().run(&text, state) {
        Ok(()) => true,
        Err(report) => {
            if let Some(complaint) = complaint(&text, &report) {
                panic!("{complaint}");
            }
            false
        }
    }
}

/// What is made once.
struct Known {
    corpus: Corpus,
    state: SessionState,
    databases: BTreeMap<usize, Database>,
    /// `MILLRACE_FUZZ_SHOW`: each input is shown before it runs.
    shown: bool,
}

#[test]
fn changed_statements_are_planned_or_refused() {
    let all = || {
        let state = session_state(&Settings { target_partitions: 1, ..Settings::default() });
        let shown = std::env::var_os("MILLRACE_FUZZ_SHOW").is_some();
        let corpus = Corpus::read();
        let mut known = Known { corpus, state, databases: BTreeMap::new(), shown };
        fuzz_some("sql", Some(INPUTS), |random| {
            statements_are_planned_or_refused(random, &mut known)
        })
    };
    // The server's threads have this much.
    let thread = std::thread::Builder::new().name("fuzz-sql".to_owned()).stack_size(STACK_BYTES);
    let ran = thread.spawn(all).expect("a thread").join().expect("no input panics");
    assert!(ran.inputs < 200 || ran.accepted > ran.inputs / 50, "nearly all is refused");
}
