//! Generated rows: that they repeat, what the options do and which ones are refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, FieldRef, Float64Type, Int64Type, TimestampMicrosecondType};

use super::*;
use crate::{Encoding, Format};

const START: i64 = 1_700_000_000_000_000;

struct World {
    now: Arc<AtomicI64>,
    definition: Definition,
}

fn world(columns: &[(&str, millrace_types::SqlType)], options: &[(&str, &str)]) -> World {
    let now = Arc::new(AtomicI64::new(START));
    let clock = now.clone();
    let columns: Vec<FieldRef> =
        columns.iter().map(|(n, t)| Arc::new(Field::new(*n, t.arrow(), true))).collect();
    let options: BTreeMap<_, _> =
        options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    World {
        now,
        definition: Definition {
            connector: "datagen".to_owned(),
            options,
            columns,
            include: Vec::new(),
            format: Format::Plain,
            encoding: Encoding::Json,
            key: Vec::new(),
            identity: None,
            anchors: vec![Anchor { first: 0, at: START }],
            clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        },
    }
}

fn read(source: &dyn Connector, span: Span, rows: usize) -> (RecordBatch, bool) {
    let mut reader = source.reader(&[span]).unwrap();
    let limits = Limits { rows, bytes: usize::MAX, wait: Duration::ZERO };
    let (mut batches, mut at, mut at_end) = (Vec::new(), span.from, false);
    loop {
        let chunks = reader.poll(limits).unwrap();
        let Some(chunk) = chunks.into_iter().next() else { break };
        assert_eq!(chunk.from, at);
        (at, at_end) = (chunk.to, chunk.at_end);
        batches.push(chunk.rows);
    }
    (concat_batches(&source.schema(), &batches).unwrap(), at_end)
}

fn sensor_columns() -> Vec<(&'static str, millrace_types::SqlType)> {
    use millrace_types::SqlType::*;
    vec![("id", BigInt), ("value", Double), ("ts", TimestampTz)]
}

#[test]
fn rows_are_a_function_of_their_number_and_the_anchors() {
    let mut world = world(&sensor_columns(), &[("rows.per.second", "1000")]);
    let all = Span { partition: PARTITION, from: 0, to: None };
    world.now.store(START + 2_500_000, Ordering::Relaxed);
    let source = crate::connect(&world.definition).unwrap();
    let (rows, at_end) = read(&*source, all, 700);
    assert_eq!(rows.num_rows(), 2501);
    assert!(at_end);

    // The server is away for a minute and starts again.
    let anchor = restart_anchor(&world.definition.anchors, 1000, 2501, START + 60_000_000);
    world.definition.anchors.push(anchor);
    world.now.store(START + 61_000_000, Ordering::Relaxed);
    let source = crate::connect(&world.definition).unwrap();
    let (again, at_end) = read(&*source, Span { to: Some(2501), ..all }, 333);
    assert_eq!(again, rows);
    assert!(!at_end);
    let (more, _) = read(&*source, Span { from: 2501, ..all }, 5000);
    assert_eq!(more.num_rows(), 1001);
    let times = more.column(2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(0), START + 60_000_000);
    assert_eq!(more.column(4).as_primitive::<Int64Type>().value(0), 2501);
    assert_eq!(source.extents(Duration::ZERO).unwrap()[0].end, 3502);
}

#[test]
fn columns_without_options_make_sensible_readings() {
    let world = world(&sensor_columns(), &[("fields.id.end", "5"), ("fields.value.max", "40")]);
    world.now.store(START + 100_000_000, Ordering::Relaxed);
    let source = crate::connect(&world.definition).unwrap();
    let (rows, _) = read(&*source, Span { partition: PARTITION, from: 0, to: Some(1000) }, 1000);
    let ids = rows.column(0).as_primitive::<Int64Type>().values();
    assert_eq!(ids[..6], [1, 2, 3, 4, 5, 1]);
    let values = rows.column(1).as_primitive::<Float64Type>().values();
    assert!(values.iter().all(|value| (0.0..=40.0).contains(value)));
    // One sensor moves little from one reading to the next, sensors differ from each other.
    assert!((0..990).all(|n| (values[n] - values[n + 5]).abs() < 4.0));
    assert!((0..4).any(|n| (values[n] - values[n + 1]).abs() > 4.0));
}

#[test]
fn options_shape_the_values_and_wrong_ones_are_told() {
    use millrace_types::SqlType::*;
    let columns = [("a", Integer), ("t", Text), ("b", Boolean), ("n", Numeric(None)), ("d", Date)];
    let options = [
        ("fields.a.kind", "random"),
        ("fields.a.min", "-3"),
        ("fields.a.max", "3"),
        ("fields.t.length", "20"),
        ("fields.a.seed", "7"),
    ];
    let world_of = |more: &[(&str, &str)]| world(&columns, &[&options[..], more].concat());
    let source = crate::connect(&world_of(&[]).definition).unwrap();
    let (rows, _) = read(&*source, Span { partition: PARTITION, from: 0, to: Some(1) }, 10);
    assert_eq!(rows.column(1).as_string::<i32>().value(0).len(), 20);
    let generator = &generators_of(&world_of(&[]))[0];
    let numbers: Vec<i64> = (0..1000).collect();
    let values = generator.rows(&numbers, &numbers);
    let mut seen: Vec<i32> = values.as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (-3..=3).collect::<Vec<_>>());
    for (option, wanted) in [
        (
            ("fields.a.kind", "wave"),
            "option \"fields.a.kind\" takes sequence, random, sensor or now, not \"wave\"",
        ),
        (
            ("fields.t.kind", "sensor"),
            "option \"fields.t.kind\": a column of type text cannot be a sensor",
        ),
        (
            ("fields.x.kind", "now"),
            "connector \"datagen\" has no option \"fields.x.kind\"; it has: ",
        ),
        (
            ("rows.per.second", "0"),
            "option \"rows.per.second\" takes a whole number from 1 to 10000000, not \"0\"",
        ),
        (("fields.a.max", "-9"), "option \"fields.a.max\" takes -3 or more, not \"-9\""),
    ] {
        let error = crate::connect(&world_of(&[option]).definition).err().expect(wanted);
        assert!(error.to_string().starts_with(wanted), "{error}");
    }
}

fn generators_of(world: &World) -> Vec<Generator> {
    let layout = Layout::new(&world.definition.columns, &[]);
    let mut options = Options::new("datagen", &world.definition.options);
    field::generators(&mut options, &layout.columns).unwrap()
}
