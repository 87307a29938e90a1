//! One case: what it is, and how it is run and compared.

use std::collections::BTreeSet;
use std::fmt::Write;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use millrace_plan::{LeafKind, ViewPlan};
use millrace_sql::stream::{ViewOptions, explain};
use millrace_types::{OFFSET_COLUMN, ObjectId, PARTITION_COLUMN, Report, SqlType};
use rand::Rng;
use rand::rngs::StdRng;

use super::batch::Batch;
use super::content::{self, Counted};
use super::coverage::Coverage;
use super::data::{self, EpochRows, Rows, SECOND, TableRows, Times};
use super::lookup::{self, LOOKED_UP};
use super::newest::{self, NEWEST, Newest};
use super::postgres::ZONES;
use super::query::{self, Input, Query};
use super::running::{Running, Said, Unfollowed, visible};
use super::shown;
use super::sql::{SOURCE, SOURCE_ID, Sql, TABLE, TABLE_ID};
use super::unclean::without_clean_up;

/// A source and a table, views over them, and how they are fed.
pub(super) struct Case {
    sql: Sql,
    times: Times,
    queries: Vec<(String, Query)>,
    plans: Vec<(ObjectId, ViewPlan)>,
    lateness: i64,
}

/// What is known while a case runs.
struct Told {
    rows: Vec<RecordBatch>,
    /// What the table holds.
    table: RecordBatch,
    /// What the table of the newest rows holds.
    newest: Newest,
    contents: Vec<Counted>,
    late: BTreeSet<(i32, i64)>,
    /// By view: the rows of its temporal join so far.
    looked_up: Vec<Vec<RecordBatch>>,
}

impl Case {
    /// A random case.
    pub(super) fn random(random: &mut StdRng) -> Case {
        let times = [Times::Free, Times::InOrder, Times::InOrder, Times::Late];
        let times = times[random.random_range(0..times.len())];
        let zone = if random.random_ratio(1, 4) { ZONES[random.random_range(0..3)] } else { "UTC" };
        let sql = Sql::new(times != Times::Free || random.random()).in_zone(zone);
        let lateness = if random.random_ratio(1, 3) { 3 * SECOND } else { 0 };
        let mut case = Case { sql, times, queries: Vec::new(), plans: Vec::new(), lateness };
        let columns = data::columns().into_iter().map(|(n, t)| (n.to_owned(), t)).collect();
        let source = Input { name: SOURCE.into(), columns, append_only: true };
        let table = Input { name: TABLE.into(), append_only: false, ..source.clone() };
        // The last one takes part in every join.
        let mut inputs = if random.random() { vec![source, table] } else { vec![table, source] };
        if random.random_ratio(1, 5) {
            case.keep(NEWEST.into(), Query::new(String::new()), newest::plan(&case.sql));
            inputs.insert(random.random_range(0..2), case.input());
        }
        for ratio in [10, 5, 3] {
            if !random.random_ratio(ratio, 10) {
                break;
            }
            let looked_up = random.random_ratio(1, 6).then(|| lookup::query(&inputs, random));
            let query = match inputs.as_slice() {
                _ if looked_up.as_ref().is_some_and(Option::is_some) => {
                    looked_up.flatten().expect("it has just been seen")
                }
                // What changes is what a view above has to follow.
                [_, base] if base.append_only && random.random_ratio(2, 5) => {
                    query::changing(base, random)
                }
                [.., last] if !random.random_ratio(2, 5) => query::query(last, random),
                _ => query::joined(&inputs, random),
            };
            let query = case.emitting(query, random);
            let retains = random.random_ratio(1, 4);
            let retention = retains.then(|| random.random_range(1..10));
            case.add(query, retention);
            inputs.push(case.input());
        }
        case
    }

    /// The query with `EMIT ON WINDOW CLOSE`, sometimes and where rows become final.
    fn emitting(&self, query: Query, random: &mut StdRng) -> Query {
        let closes = query.closes.is_some() && !query.text.contains("now()");
        let emits = closes && self.sql.has_event_time() && random.random_ratio(2, 5);
        Query { emits, ..query }
    }

    fn add(&mut self, mut query: Query, retention: Option<i64>) {
        let name = format!("v{}", self.plans.len() + 1);
        let mut options = ViewOptions {
            allowed_lateness_us: self.lateness,
            emit_on_window_close: query.emits,
            retention_us: retention.map(|seconds| seconds * SECOND),
        };
        let text = query.view();
        let mut plan = self.sql.plan_with(&text, &options);
        let begins = |plan: &Result<ViewPlan, Report>, with: &str| {
            plan.as_ref().is_err_and(|report| report.message.starts_with(with))
        };
        // Rows that are looked up are bounded only if there is one for each row.
        if query.lookup.is_some() && begins(&plan, "EMIT ON WINDOW CLOSE needs") {
            (options.emit_on_window_close, query.emits) = (false, false);
            plan = self.sql.plan_with(&text, &options);
        }
        if begins(&plan, "retention needs") {
            options.retention_us = None;
            plan = self.sql.plan_with(&text, &options);
        }
        let plan = plan.unwrap_or_else(|report| {
            let below =
                self.queries.iter().map(|(name, query)| format!("{name}: {}", query.view()));
            let below = below.collect::<Vec<_>>().join("\n");
            panic!("{report:?}\n{text}\nover\n{below}")
        });
        self.keep(name, query, plan);
    }

    fn keep(&mut self, name: String, query: Query, plan: ViewPlan) {
        let id = ObjectId(TABLE_ID.0 + 1 + u32::try_from(self.plans.len()).expect("few views"));
        self.sql.add(id, &name, &plan);
        self.queries.push((name, query));
        self.plans.push((id, plan));
    }

    /// The last view as the input of another.
    fn input(&self) -> Input {
        let (_, plan) = self.plans.last().expect("a view was added");
        let schema = &plan.root.meta().schema;
        let fields = schema.fields().iter().take(visible(plan));
        let column = |field: &arrow::datatypes::FieldRef| {
            let sql_type = SqlType::of_arrow(field.data_type()).expect("a view has SQL types");
            (field.name().clone(), sql_type)
        };
        let name = self.queries[self.plans.len() - 1].0.clone();
        Input { name, columns: fields.map(column).collect(), append_only: false }
    }

    /// How many queries it keeps.
    pub(super) fn queries(&self) -> usize {
        self.queries.len()
    }

    /// For a reader who looks for the difference.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("times {:?}, lateness {} us\n", self.times, self.lateness);
        for ((name, query), (_, plan)) in self.queries.iter().zip(&self.plans) {
            let explained = explain(plan, &|id| format!("object {id}"));
            let emits = if query.emits { " EMIT ON WINDOW CLOSE" } else { "" };
            writeln!(text, "{name}: {}{emits}\n{explained}", query.view())
                .expect("a String takes it");
        }
        text
    }

    /// Counts what it is made of.
    pub(super) fn count(&self, coverage: &mut Coverage) {
        self.plans.iter().for_each(|(_, plan)| coverage.plan(plan));
        self.queries.iter().for_each(|(_, query)| coverage.text(&query.view()));
    }

    /// Runs it to its end.
    pub(super) fn run(&self, random: &mut StdRng, coverage: &mut Coverage) {
        self.count(coverage);
        self.plans.iter().for_each(|(_, plan)| shown::each_operator_once(plan));
        let mut source = Rows::new(self.sql.source_schema(), self.times, random);
        let mut table = TableRows::new(self.sql.source_schema(), self.sql.table_schema(), random);
        let mut running = Running::new(&self.plans, random.random_range(1..=4));
        // One worker that never lets state go, or does.
        let plain = |(id, plan): &(ObjectId, ViewPlan)| (*id, without_clean_up(plan));
        let plain: Vec<(ObjectId, ViewPlan)> = self.plans.iter().map(plain).collect();
        let keeps_all = random.random_bool(0.5);
        let mut twin = Running::new(if keeps_all { &plain } else { &self.plans }, 1);
        // Its operators work in small pieces.
        twin.set_fuel(random.random_range(1..8));
        let mut unfollowed = Unfollowed::new(&self.plans, random.random_range(1..=4));
        let mut told = Told {
            rows: Vec::new(),
            table: table.held(),
            newest: Newest::new(&self.sql.source_schema()),
            contents: vec![Counted::new(); self.plans.len()],
            late: BTreeSet::new(),
            looked_up: vec![Vec::new(); self.plans.len()],
        };
        let mut log: Vec<(u64, EpochRows, Vec<Said>)> = Vec::new();
        for number in 1..random.random_range(4..9) {
            let mut rows = source.epoch(number, random);
            rows.table = table.epoch(number, random);
            told.table = table.held();
            told.newest.epoch(&rows.partitions);
            // How many rows an operator gives before they are added up depends on its pieces.
            let all = (running.epoch(number, &rows), twin.epoch(number, &rows));
            let (Some(said), Some(twins)) = all else {
                coverage.hit("ended early by too many rows");
                return;
            };
            assert_eq!(
                said, twins,
                "epoch {number}: one worker says otherwise (keeps all state: {keeps_all})"
            );
            told.rows.extend(rows.partitions.iter().cloned());
            for (content, said) in told.contents.iter_mut().zip(&said) {
                said.changes.iter().for_each(|(row, w)| content::change(content, row.clone(), *w));
                self.check_late(said, rows.watermark);
                told.late.extend(said.late.iter().map(|late| (late.partition, late.offset)));
            }
            if number % 2 == 1 {
                twin.put_away();
            }
            let Some(content) = unfollowed.epoch(number, &rows) else { return };
            assert_eq!(
                told.contents.last(),
                Some(&content),
                "epoch {number}: the content is another if nobody follows it"
            );
            self.compare(&mut told, &rows, number, coverage);
            log.push((number, rows, said));
            if random.random_ratio(1, 3) {
                running.checkpoint();
                log.clear();
                if number % 2 == 0 && running.let_go() {
                    coverage.hit("state let go of");
                }
            }
            if random.random_ratio(1, 3) {
                coverage.hit("stops");
                running = running.stopped(random.random_range(1..=4));
                for (number, rows, said) in &log {
                    let Some(again) = running.epoch(*number, rows) else { return };
                    assert_eq!(again, *said, "epoch {number} said again");
                }
            }
        }
        if !told.late.is_empty() {
            coverage.hit("late rows");
        }
    }

    fn check_late(&self, said: &Said, watermark: Option<i64>) {
        assert!(self.times == Times::Late || said.late.is_empty(), "nothing is late");
        for late in &said.late {
            assert_eq!(Some(late.watermark), watermark);
            assert!(late.window_end + self.lateness <= late.watermark, "not late: {late:?}");
            assert!(late.event_time.is_none_or(|time| time < late.window_end), "{late:?}");
        }
    }

    /// True if a row that was turned away counts nowhere: only the first view reads the source, and
    /// each row is in one of its windows.
    fn leaves_late_rows_out(&self) -> bool {
        let reads = |plan: &ViewPlan| {
            plan.root.leaves().iter().any(|leaf| leaf.kind == LeafKind::Source(SOURCE_ID))
        };
        self.queries[0].1.one_window && !self.plans.iter().skip(1).any(|(_, plan)| reads(plan))
    }

    /// Compares each view with the batch answer, where late rows do not make that impossible.
    fn compare(&self, told: &mut Told, at: &EpochRows, number: u64, coverage: &mut Coverage) {
        if !told.late.is_empty() && !self.leaves_late_rows_out() {
            return;
        }
        let mut batch = Batch::new();
        let all: Vec<RecordBatch> =
            told.rows.iter().map(|rows| without(rows, &told.late)).collect();
        batch.set(SOURCE, &self.sql.source_schema(), all.clone());
        batch.set(TABLE, &self.sql.table_schema(), vec![told.table.clone()]);
        let present: Vec<RecordBatch> =
            at.partitions.iter().map(|rows| without(rows, &told.late)).collect();
        let each = self.queries.iter().zip(&self.plans).zip(&told.contents);
        let each = each.zip(&mut told.looked_up);
        for ((((name, query), (_, plan)), content), looked_up) in each {
            if let Some(rows) = &query.lookup {
                let schema = self.sql.source_schema();
                batch.set(SOURCE, &schema, present.clone());
                let found = batch.answer(&self.sql, &format!("SELECT * FROM {rows} AS l"));
                batch.set(SOURCE, &schema, all.clone());
                let (schema, found) = found;
                looked_up.extend(found);
                batch.set(LOOKED_UP, &schema, looked_up.clone());
            }
            if name == NEWEST {
                let held = told.newest.held();
                let rows = content::rows(&held, held.num_columns());
                content::assert_same(content, &rows, &format!("{name} after epoch {number}"));
                batch.set(name, &held.schema(), vec![held]);
                continue;
            }
            let closed = at.watermark.map(|watermark| watermark - self.lateness);
            let (schema, answer) = batch.answer(&self.sql, &query.at(at.now, closed));
            let columns = schema.fields().len();
            assert_eq!(columns, visible(plan), "columns of {name}");
            let rows: Vec<_> =
                answer.iter().flat_map(|rows| content::rows(rows, columns)).collect();
            // An input without rows may make a global aggregation's row that no epoch has asked for.
            content::assert_same(content, &rows, &format!("{name} after epoch {number}"));
            batch.set(name, &schema, answer);
        }
        coverage.hit("compared");
        if !told.late.is_empty() {
            coverage.hit("compared without late rows");
        }
    }
}

/// The rows that were not turned away.
fn without(rows: &RecordBatch, late: &BTreeSet<(i32, i64)>) -> RecordBatch {
    let column = |name| rows.column_by_name(name).expect("a source has it");
    let partitions = column(PARTITION_COLUMN).as_primitive::<Int32Type>();
    let offsets = column(OFFSET_COLUMN).as_primitive::<Int64Type>();
    let origin = partitions.values().iter().zip(offsets.values());
    let keep: BooleanArray = origin.map(|(p, o)| Some(!late.contains(&(*p, *o)))).collect();
    filter_record_batch(rows, &keep).expect("a mask of its length")
}
