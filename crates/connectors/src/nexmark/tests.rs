//! Generated events: that they repeat, how they are distributed, what is refused.

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, FieldRef, Int64Type, TimestampMicrosecondType};

use super::*;
use crate::{Encoding, Format};

fn definition(options: &[(&str, &str)]) -> Definition {
    let options: BTreeMap<String, String> =
        options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let columns: Vec<FieldRef> = columns(&options)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, types)| Arc::new(Field::new(name, types[0].arrow(), true)))
        .collect();
    Definition {
        connector: "nexmark".to_owned(),
        options,
        columns,
        include: Vec::new(),
        format: Format::Plain,
        encoding: Encoding::Json,
        key: Vec::new(),
        identity: None,
        anchors: Vec::new(),
        clock: Arc::new(|| 0),
    }
}

fn source(options: &[(&str, &str)]) -> Box<dyn Connector> {
    crate::connect(&definition(options)).unwrap()
}

fn read(source: &dyn Connector, span: Span, rows: usize, columns: &Columns) -> RecordBatch {
    let mut reader = source.reader_of(&[span], columns).unwrap();
    let limits = Limits { rows, bytes: usize::MAX, wait: Duration::ZERO };
    let (mut batches, mut at) = (Vec::new(), span.from);
    while let Some(chunk) = reader.poll(limits).unwrap().into_iter().next() {
        assert_eq!(chunk.from, at);
        at = chunk.to;
        batches.push(chunk.rows);
    }
    concat_batches(&source.schema(), &batches).unwrap()
}

const ONE_SPLIT: (&str, &str) = ("nexmark.split.num", "1");
const EVENTS: (&str, &str) = ("nexmark.event.num", "100000");

fn all(table: &str) -> RecordBatch {
    let source = source(&[(TYPE, table), EVENTS, ONE_SPLIT]);
    read(&*source, Span { partition: PartitionId(0), from: 0, to: None }, 8192, &Columns::all())
}

fn numbers<'a>(rows: &'a RecordBatch, name: &str) -> &'a [i64] {
    rows.column_by_name(name).unwrap().as_primitive::<Int64Type>().values()
}

#[test]
fn a_range_read_again_gives_the_same_rows() {
    for table in ["Person", "Auction", "Bid"] {
        let whole = all(table);
        let source = source(&[(TYPE, table), EVENTS, ONE_SPLIT]);
        let span = Span { partition: PartitionId(0), from: 777, to: Some(1900) };
        let middle = read(&*source, span, 333, &Columns::all());
        assert_eq!(middle, whole.slice(777, 1900 - 777));
    }
}

#[test]
fn splits_share_the_rows_out() {
    let whole = all("Auction");
    let source = source(&[(TYPE, "Auction"), EVENTS, ("nexmark.split.num", "7")]);
    let ends: i64 = source.extents(Duration::ZERO).unwrap().iter().map(|extent| extent.end).sum();
    assert_eq!(ends, 6000);
    let mut ids = Vec::new();
    for span in source.start(Duration::ZERO).unwrap() {
        ids.extend_from_slice(numbers(&read(&*source, span, 512, &Columns::all()), "id"));
    }
    ids.sort_unstable();
    assert_eq!(ids, numbers(&whole, "id"));
}

#[test]
fn a_column_that_is_not_wanted_is_blank_and_the_others_are_the_same() {
    let whole = all("Bid");
    let source = source(&[(TYPE, "Bid"), EVENTS, ONE_SPLIT]);
    let span = Span { partition: PartitionId(0), from: 0, to: None };
    let some = read(&*source, span, 8192, &Columns::some([0, 5]));
    assert_eq!(numbers(&some, "auction"), numbers(&whole, "auction"));
    assert_eq!(some.column(5), whole.column(5));
    assert!(numbers(&some, "price").iter().all(|price| *price == 0));
    assert!(some.column(6).as_string::<i32>().iter().all(|extra| extra == Some("")));
}

#[test]
fn proportions_and_hot_ones_are_those_of_the_public_generator() {
    let (people, auctions, bids) = (all("Person"), all("Auction"), all("Bid"));
    let counts = [people.num_rows(), auctions.num_rows(), bids.num_rows()];
    assert_eq!(counts, [2_000, 6_000, 92_000]);

    let share = |hits: usize, of: &RecordBatch| hits * 100 / of.num_rows();
    let hot = numbers(&bids, "auction").iter().filter(|id| (**id - 1000) % 100 == 0).count();
    assert!((48..=53).contains(&share(hot, &bids)), "{hot}");
    let hot = numbers(&bids, "bidder").iter().filter(|id| (**id - 1000) % 100 == 1).count();
    assert!((73..=78).contains(&share(hot, &bids)), "{hot}");
    let hot = numbers(&auctions, "seller").iter().filter(|id| (**id - 1000) % 100 == 0).count();
    assert!((73..=78).contains(&share(hot, &auctions)), "{hot}");

    let prices = numbers(&bids, "price");
    assert!(prices.iter().all(|price| (100..=100_000_000).contains(price)));
    let low = prices.iter().filter(|price| **price < 1000).count();
    assert!((15..=18).contains(&share(low, &bids)), "a sixth is below 1000: {low}");

    let length = |rows: &RecordBatch| {
        let bytes = rows.column_by_name("extra").unwrap().as_string::<i32>().values().len();
        bytes / rows.num_rows()
    };
    assert!((66..=70).contains(&length(&bids)), "{}", length(&bids));
    let channels = bids.column_by_name("channel").unwrap();
    let hot = channels.as_string::<i32>().iter().flatten();
    let hot = hot.filter(|channel| !channel.starts_with("channel-")).count();
    assert!((73..=77).contains(&share(hot, &bids)), "{hot}");
    let distinct: std::collections::BTreeSet<_> = channels.as_string::<i32>().iter().collect();
    assert!((8_500..=9_500).contains(&distinct.len()), "{} channels", distinct.len());
}

#[test]
fn nobody_bids_before_the_auction_is_known_and_auctions_expire_later() {
    let (auctions, bids) = (all("Auction"), all("Bid"));
    let newest = numbers(&auctions, "id").iter().max().copied().unwrap();
    assert!(numbers(&bids, "auction").iter().all(|id| (1000..=newest + 10).contains(id)));
    let time = |name: &str| {
        let column = auctions.column_by_name(name).unwrap();
        column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
    };
    assert!(time("date_time").iter().zip(time("expires")).all(|(begun, end)| *begun < end));
}

#[test]
fn an_endless_generator_goes_on_and_a_rate_holds_it_back() {
    let source = source(&[(TYPE, "Bid"), ONE_SPLIT]);
    assert_eq!(source.extents(Duration::ZERO).unwrap()[0].end, 0);
    let span = Span { partition: PartitionId(0), from: 1 << 40, to: None };
    let mut reader = source.reader(&[span]).unwrap();
    let limits = Limits { rows: 10, bytes: usize::MAX, wait: Duration::ZERO };
    assert_eq!(reader.poll(limits).unwrap()[0].rows.num_rows(), 10);

    let now = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let clock = now.clone();
    let mut definition =
        definition(&[(TYPE, "Bid"), ONE_SPLIT, ("nexmark.events.per.second", "100")]);
    definition.clock = Arc::new(move || clock.load(std::sync::atomic::Ordering::Relaxed));
    let source = crate::connect(&definition).unwrap();
    let mut reader = source.reader(&[Span { from: 5, ..span }]).unwrap();
    assert!(reader.poll(limits).unwrap().is_empty());
    now.store(100_000, std::sync::atomic::Ordering::Relaxed);
    let chunk = reader.poll(limits).unwrap().remove(0);
    assert_eq!((chunk.from, chunk.to), (5, 11), "of ten events four are others");
}

#[test]
fn wrong_options_are_told_by_name() {
    for (option, wanted) in [
        (
            (TYPE, "bids"),
            "option \"nexmark.table.type\" takes Person, Auction or Bid, not \"bids\"",
        ),
        (
            ("nexmark.split.num", "0"),
            "option \"nexmark.split.num\" takes a whole number from 1 to 256, not \"0\"",
        ),
        (("nexmark.evnt.num", "1"), "connector \"nexmark\" has no option \"nexmark.evnt.num\""),
    ] {
        let error = crate::connect(&definition(&[(TYPE, "Bid"), option])).err().expect(wanted);
        assert!(error.to_string().starts_with(wanted), "{error}");
    }
}
