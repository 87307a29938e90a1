//! Random topics against a map: content, changes and recovery with another number of workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use millrace_plan::{Leaf, LeafKind, Meta, Node, Upsert, ViewPlan};
use millrace_types::{Delta, Epoch, ObjectId};

use crate::driver::{Driver, Store};

/// Key, value (none: deleted), partition, offset.
type Message = (i64, Option<i64>, i32, i64);
type Content = BTreeMap<(String, i64), i64>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("value", DataType::Int64, true),
        Field::new("key", DataType::Utf8, false),
        Field::new("deleted", DataType::Boolean, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
    ]))
}

fn plan() -> ViewPlan {
    let input = schema();
    let meta = |schema: &SchemaRef, key: Vec<usize>, append_only| Meta {
        schema: schema.clone(),
        key,
        append_only,
        watermarks: Vec::new(),
    };
    let leaf = Leaf {
        kind: LeafKind::Source(ObjectId(1)),
        columns: (0..5).collect(),
        meta: meta(&input, vec![3, 4], true),
    };
    let output = Arc::new(input.project(&[0, 1]).unwrap());
    let upsert = Upsert {
        input: Node::Leaf(leaf),
        key: vec![1],
        deleted: Some(2),
        origin: (3, 4),
        meta: meta(&output, vec![1], false),
    };
    ViewPlan { root: Node::Upsert(Box::new(upsert)), sort: vec![1], retention: None }
}

fn delta(messages: &[Message]) -> Delta {
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(messages.iter().map(|m| m.1).collect::<Int64Array>()),
        Arc::new(StringArray::from_iter_values(messages.iter().map(|m| format!("k{}", m.0)))),
        Arc::new(messages.iter().map(|m| Some(m.1.is_none())).collect::<BooleanArray>()),
        Arc::new(messages.iter().map(|m| Some(m.2)).collect::<Int32Array>()),
        Arc::new(messages.iter().map(|m| Some(m.3)).collect::<Int64Array>()),
    ];
    Delta::constant(RecordBatch::try_new(schema(), columns).unwrap(), 1)
}

/// Adds what left to what is there; rows that replace one need not say so unless `followed`.
fn take(content: &mut Content, deltas: &[Delta], followed: bool) {
    for delta in deltas {
        let values = delta.rows.column(0).as_primitive::<Int64Type>();
        let keys = delta.rows.column(1).as_string::<i32>();
        for row in 0..delta.len() {
            let (key, weight) = (keys.value(row).to_owned(), delta.weights.value(row));
            if !followed && weight > 0 {
                content.retain(|(other, _), _| *other != key);
            }
            let at = (key, values.value(row));
            let count = content.entry(at.clone()).or_default();
            *count += weight;
            assert!((0..=1).contains(count), "{at:?} is there {count} times");
            if *count == 0 {
                content.remove(&at);
            }
        }
    }
}

fn run(driver: &mut Driver, epoch: u64, messages: &[Message]) -> Vec<Delta> {
    let ts = Epoch(epoch).ts();
    driver.push(0, 0, &delta(messages), ts).unwrap();
    driver.finish(ts, &BTreeMap::new()).unwrap().deltas
}

#[test]
fn the_newest_message_of_each_key_is_there_over_stops_and_changes_of_workers() {
    for seed in 0..60u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let number = |value: u64| i64::try_from(value).unwrap();
        let followed = seed % 2 == 0;
        let (plan, mut store) = (plan(), Store::default());
        let mut driver = Driver::new(&plan, 1 + usize::try_from(seed % 3).unwrap()).unwrap();
        driver.follow(followed);
        let (mut model, mut content, mut kept) = (BTreeMap::new(), Content::new(), Content::new());
        let mut model_kept = BTreeMap::new();
        let mut offset = 0;
        for epoch in 1..20 {
            let mut messages: Vec<Message> = Vec::new();
            for _ in 0..random(12) {
                offset += 1;
                let key = number(random(6));
                let value = (random(3) > 0).then(|| number(random(3)));
                messages.push((key, value, i32::try_from(key % 2).unwrap(), offset));
            }
            for (key, value, ..) in &messages {
                match value {
                    Some(value) => model.insert(format!("k{key}"), *value),
                    None => model.remove(&format!("k{key}")),
                };
            }
            // Their order within the epoch does not count.
            messages.sort_by_key(|message| message.3.wrapping_mul(7) % 5);
            take(&mut content, &run(&mut driver, epoch, &messages), followed);
            let wanted: Content = model.iter().map(|(k, v)| ((k.clone(), *v), 1)).collect();
            assert_eq!(content, wanted, "seed {seed}, epoch {epoch}");
            match random(4) {
                0 => {
                    driver.checkpoint(&mut store).unwrap();
                    (kept, model_kept) = (content.clone(), model.clone());
                }
                1 => {
                    let workers = 1 + usize::try_from(random(4)).unwrap();
                    driver = Driver::recover(&plan, workers, &store).unwrap();
                    driver.follow(followed);
                    (content, model) = (kept.clone(), model_kept.clone());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_row_that_says_what_is_there_sends_nothing() {
    let mut driver = Driver::new(&plan(), 1).unwrap();
    assert_eq!(run(&mut driver, 1, &[(1, Some(5), 0, 1)]).len(), 1);
    assert!(run(&mut driver, 2, &[(1, Some(5), 0, 2)]).is_empty());
    assert!(run(&mut driver, 3, &[(2, None, 0, 3)]).is_empty(), "a key that never was");
    // Gone and there again within one time.
    assert!(run(&mut driver, 4, &[(1, None, 0, 4), (1, Some(5), 0, 5)]).is_empty());
}

#[test]
fn of_one_message_the_row_counts_and_not_the_deletion() {
    let mut driver = Driver::new(&plan(), 1).unwrap();
    for messages in [[(1, Some(7), 0, 1), (1, None, 0, 1)], [(2, None, 0, 2), (2, Some(7), 0, 2)]] {
        let epoch = u64::try_from(messages[0].3).unwrap();
        let deltas = run(&mut driver, epoch, &messages);
        assert_eq!(deltas.iter().map(Delta::len).sum::<usize>(), 1);
        assert_eq!(deltas[0].weights.value(0), 1);
    }
}

#[test]
fn a_change_costs_the_same_however_many_keys_there_are() {
    let touched = |keys: i64| {
        let mut driver = Driver::new(&plan(), 1).unwrap();
        let all: Vec<Message> = (0..keys).map(|key| (key, Some(0), 0, key)).collect();
        run(&mut driver, 1, &all);
        driver.discard().unwrap();
        let before = driver.touched();
        let some: Vec<Message> = (0..100).map(|key| (key, Some(1), 0, keys + key)).collect();
        run(&mut driver, 2, &some);
        driver.discard().unwrap();
        driver.touched() - before
    };
    assert_eq!(touched(1_000), touched(100_000));
}
