//! Golden plans: statements and what EXPLAIN shows for them, in `golden/*.txt`; `REWRITE=1`
//! rewrites. Every plan also goes through its stored form.
//!
//! A file is a list of cases: a statement, a line of dashes, what is shown, an empty line. The
//! statements of a file build on each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millrace_plan::{ViewPlan, decode_plan, encode_plan};
use millrace_types::{ObjectId, Report, TableId};

use super::{InputInfo, explain, plan};
use crate::ast::Statement;
use crate::binder::{Binder, CatalogTables, Connectors, bind_source};
use crate::catalog::{Catalog, Kind, MaterializedView, Object};
use crate::parse;
use crate::session::{Settings, session_state};

/// A catalog that statements are run against.
#[derive(Default)]
struct Database {
    catalog: Catalog,
}

impl Database {
    fn add(&mut self, name: &str, kind: Kind) {
        let before = u32::try_from(self.catalog.objects().count()).unwrap();
        let id = ObjectId(before + 1);
        let object = Object {
            id,
            name: name.to_owned(),
            kind,
            sql: String::new(),
            access: crate::Access::default(),
        };
        self.catalog = self.catalog.with(object);
    }

    /// Runs a statement; what it shows.
    fn run(&mut self, text: &str) -> Result<String, Report> {
        match parse(text)?.remove(0) {
            Statement::CreateSource(create) => {
                let source =
                    bind_source(&create, &Connectors { names: &["kafka"], columns: &|_, _| None })?;
                self.add(&create.name.name, Kind::Source(source));
                Ok("CREATE SOURCE".to_owned())
            }
            Statement::CreateView(create) => {
                let state = session_state(&Settings::default());
                let tables = CatalogTables(&self.catalog);
                let view = Binder::new(&self.catalog, &tables, &state).bind_view(&create, text)?;
                self.add(&create.name.name, Kind::View(view));
                Ok("CREATE VIEW".to_owned())
            }
            Statement::CreateMaterializedView(create) => {
                let plan = self.plan(text)?;
                let names = |id: ObjectId| self.catalog.get(id).expect("is there").name.clone();
                let shown = explain(&plan, &names);
                let view = MaterializedView {
                    plan,
                    allowed_lateness_us: 0,
                    content: TableId(1),
                    late: TableId(2),
                    errors: TableId(3),
                    state: Vec::new(),
                    depends_on: Vec::new(),
                    options: BTreeMap::new(),
                };
                self.add(&create.name.name, Kind::MaterializedView(view));
                Ok(shown)
            }
            other => panic!("not a statement of these tests: {other:?}"),
        }
    }

    fn plan(&self, text: &str) -> Result<ViewPlan, Report> {
        let state = session_state(&Settings::default());
        let tables = CatalogTables(&self.catalog);
        let Statement::CreateMaterializedView(create) = parse(text)?.remove(0) else {
            panic!("not a view: {text}");
        };
        let binder = Binder::new(&self.catalog, &tables, &state);
        let bound = binder.bind_materialized_view(&create, text)?;
        let options = bound.stream_options();
        let inputs = |id| InputInfo::of(self.catalog.get(id).expect("is there")).expect("a table");
        let plan = plan(bound.plan, &state, &inputs, &options)?;
        let stored = encode_plan(&plan).expect("the plan can be stored");
        let read = decode_plan(&stored, &state.task_ctx()).expect("the plan can be read");
        assert_eq!(format!("{plan:#?}"), format!("{read:#?}"), "{text}");
        Ok(plan)
    }
}

fn shown(report: &Report) -> String {
    let mut shown = format!("ERROR {}: {}", report.code, report.message);
    for (word, line) in [("DETAIL", &report.detail), ("HINT", &report.hint)] {
        if let Some(line) = line {
            shown.push_str(&format!("\n{word}: {line}"));
        }
    }
    shown
}

fn check(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap();
    let mut database = Database::default();
    let mut result = String::new();
    for case in text.split("\n\n").map(str::trim).filter(|case| !case.is_empty()) {
        let statement = case.split("\n----").next().unwrap();
        let outcome = database.run(statement).unwrap_or_else(|report| shown(&report));
        result.push_str(&format!("{statement}\n----\n{outcome}\n\n"));
    }
    let result = format!("{}\n", result.trim_end());
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(file, &result).unwrap();
        return true;
    }
    let differs = text.lines().zip(result.lines()).find(|(old, new)| old != new);
    if let Some((old, new)) = differs {
        println!("{}:\n- {old}\n+ {new}", file.display());
    }
    text == result
}

#[test]
fn plans_are_golden() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stream/golden");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files.collect();
    assert!(!files.is_empty());
    let wrong: Vec<&PathBuf> = files.iter().filter(|file| !check(file)).collect();
    assert!(wrong.is_empty(), "REWRITE=1 rewrites {wrong:?}");
}
