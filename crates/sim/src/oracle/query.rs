//! Random queries of the supported grammar, as SQL text.

use millrace_types::SqlType;
use rand::Rng;
use rand::rngs::StdRng;

/// What a query reads.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) columns: Vec<(String, SqlType)>,
    /// Rows are never retracted: all functions are allowed, windows are over `ts`.
    pub(super) append_only: bool,
}

/// A query and what it is made of.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) text: String,
    /// A row that is late for one window counts in no other: the batch answer leaves it out.
    pub(super) one_window: bool,
}

impl Query {
    fn new(text: String) -> Query {
        Query { text, one_window: false }
    }
}

const COMPARED: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// A random query over a join of some inputs.
pub(super) fn joined(inputs: &[Input], random: &mut StdRng) -> Query {
    query(&super::join::join(inputs, random), random)
}

/// Builds one query.
struct Writer<'a> {
    input: &'a Input,
    random: &'a mut StdRng,
}

/// A random query over an input.
pub(super) fn query(input: &Input, random: &mut StdRng) -> Query {
    let mut writer = Writer { input, random };
    if input.append_only {
        match writer.random.random_range(0..13) {
            0 => Query::new(writer.rows(&input.name)),
            1 => Query::new(writer.distinct()),
            2 | 3 => Query::new(writer.groups()),
            4 => Query::new(writer.global()),
            5 | 6 => Query { one_window: true, ..Query::new(writer.tumbling()) },
            7 | 8 => Query::new(writer.hopping()),
            9 => Query::new(writer.copied()),
            10 => Query { one_window: true, ..Query::new(writer.binned()) },
            _ => Query::new(writer.union()),
        }
    } else {
        match writer.random.random_range(0..6) {
            0 => Query::new(writer.rows(&input.name)),
            1 => Query::new(writer.distinct()),
            2 => Query::new(writer.global()),
            3 => Query::new(writer.union()),
            _ => Query::new(writer.groups()),
        }
    }
}

impl Writer<'_> {
    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.random.random_range(0..from.len())]
    }

    fn chance(&mut self, of_ten: u32) -> bool {
        self.random.random_ratio(of_ten, 10)
    }

    /// A column of one of some types.
    fn column(&mut self, fits: impl Fn(&SqlType) -> bool) -> Option<String> {
        let fitting: Vec<String> =
            self.input.columns.iter().filter(|(_, t)| fits(t)).map(|(n, _)| n.clone()).collect();
        if fitting.is_empty() { None } else { Some(self.pick(&fitting).clone()) }
    }

    fn number(&mut self) -> String {
        self.column(is_number).unwrap_or_else(|| "(1 + 0)".into())
    }

    /// A scalar expression of any type.
    fn scalar(&mut self) -> String {
        let number = self.number();
        let integer = self.column(is_integer).unwrap_or_else(|| "(7 + 0)".into());
        match self.random.random_range(0..9) {
            0 => number,
            1 => format!("{number} + 1"),
            2 => format!("-{integer} * 2"),
            3 => format!("coalesce({number}, 0)"),
            4 => format!("100 / nullif({integer}, 0)"),
            5 => {
                let condition = self.condition();
                format!("CASE WHEN {condition} THEN {integer} ELSE 5 END")
            }
            6 => match self.column(|t| *t == SqlType::Text) {
                Some(text) => format!("upper({text}) || '-x'"),
                None => format!("abs({integer})"),
            },
            7 => match self.column(|t| *t == SqlType::TimestampTz) {
                Some(time) => format!("date_trunc('minute', {time})"),
                None => format!("{integer} IS NULL"),
            },
            _ => self.column(|_| true).expect("there are columns"),
        }
    }

    fn condition(&mut self) -> String {
        let integer = self.column(is_integer).unwrap_or_else(|| "(1 + 0)".into());
        let number = self.number();
        let compared = *self.pick(&COMPARED);
        match self.random.random_range(0..7) {
            0 => format!("{number} {compared} 1"),
            1 => format!("{integer} IS NOT NULL"),
            2 => match self.column(|t| *t == SqlType::Boolean) {
                Some(flag) => flag,
                None => format!("{number} IS NULL"),
            },
            3 => match self.column(|t| *t == SqlType::Text) {
                Some(text) => format!("{text} {compared} 'sensor-2'"),
                None => format!("NOT ({integer} {compared} 2)"),
            },
            4 => format!("10 / nullif({integer}, 0) {compared} 2"),
            5 => format!("({number} {compared} 0 OR {integer} IN (0, 1, 2))"),
            _ => format!("{integer} {compared} {number}"),
        }
    }

    fn filter(&mut self) -> String {
        if self.chance(4) { format!(" WHERE {}", self.condition()) } else { String::new() }
    }

    /// Items with the names `c0`, `c1`, ...
    fn named(items: &[String]) -> String {
        let named = items.iter().enumerate().map(|(i, item)| format!("{item} AS c{i}"));
        named.collect::<Vec<_>>().join(", ")
    }

    fn rows(&mut self, from: &str) -> String {
        let items: Vec<String> =
            (0..self.random.random_range(1..5)).map(|_| self.scalar()).collect();
        format!("SELECT {} FROM {from}{}", Self::named(&items), self.filter())
    }

    fn key(&mut self) -> String {
        match self.random.random_range(0..6) {
            0 => {
                let integer = self.column(is_integer).unwrap_or_else(|| "(3 + 0)".into());
                format!("{integer} % 3")
            }
            1 => self.column(|t| *t == SqlType::Text).unwrap_or_else(|| "'k'".into()),
            2 => self.column(|t| *t == SqlType::Boolean).unwrap_or_else(|| "true".into()),
            3 => self.column(|t| *t == SqlType::Double).unwrap_or_else(|| "0.5".into()),
            _ => self.column(is_integer).unwrap_or_else(|| "(4 + 0)".into()),
        }
    }

    fn distinct(&mut self) -> String {
        let keys = self.keys(1);
        format!("SELECT DISTINCT {} FROM {}{}", Self::named(&keys), self.input.name, self.filter())
    }

    /// Different keys, at least some.
    fn keys(&mut self, least: usize) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..self.random.random_range(least..=2.max(least)) {
            let key = self.key();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    fn call(&mut self) -> String {
        let number = self.number();
        let flag = self.column(|t| *t == SqlType::Boolean);
        let order = self.column(|t| is_number(t) && *t != SqlType::BigInt);
        let order = order.unwrap_or_else(|| "i".into());
        let any = self.column(|_| true).expect("there are columns");
        let functions = if self.input.append_only { 14 } else { 10 };
        let call = match self.random.random_range(0..functions) {
            0 => "count(*)".into(),
            1 => format!("count({any})"),
            2 => format!("sum({number})"),
            3 => format!("avg({number})"),
            4 => format!("var_pop({number})"),
            5 => format!("var_samp({number})"),
            6 => format!("stddev_pop({number})"),
            7 => format!("stddev_samp({number})"),
            8 => format!("bool_and({})", flag.unwrap_or_else(|| format!("{number} > 0"))),
            9 => format!("bool_or({})", flag.unwrap_or_else(|| format!("{number} > 0"))),
            10 => format!("min({any})"),
            11 => format!("max({any})"),
            12 => format!("first_value({any} ORDER BY {order}, u)"),
            _ => format!("last_value({any} ORDER BY {order} DESC, u)"),
        };
        if self.chance(2) {
            let condition = self.condition();
            return format!("{call} FILTER (WHERE {condition})");
        }
        call
    }

    fn calls(&mut self) -> Vec<String> {
        (0..self.random.random_range(1..5)).map(|_| self.call()).collect()
    }

    fn having(&mut self) -> String {
        match self.random.random_range(0..8) {
            0 => " HAVING count(*) > 2".into(),
            // Groups come and go.
            2 => " HAVING count(*) % 3 <> 0".into(),
            3 => " HAVING count(*) < 4".into(),
            1 => format!(" HAVING sum({}) IS NOT NULL", self.number()),
            _ => String::new(),
        }
    }

    /// Groups of `from` by keys and some bounds of windows.
    fn grouped(&mut self, from: &str, bounds: &[&str], least: usize) -> String {
        let mut keys: Vec<String> = bounds.iter().map(|b| (*b).to_owned()).collect();
        keys.extend(self.keys(least));
        let items: Vec<String> = keys.iter().cloned().chain(self.calls()).collect();
        let (filter, having) = (self.filter(), self.having());
        let group = keys.join(", ");
        format!("SELECT {} FROM {from}{filter} GROUP BY {group}{having}", Self::named(&items))
    }

    fn groups(&mut self) -> String {
        let name = self.input.name.clone();
        self.grouped(&name, &[], 1)
    }

    fn global(&mut self) -> String {
        let calls = self.calls();
        let (filter, having) = (self.filter(), self.having());
        format!("SELECT {} FROM {}{filter}{having}", Self::named(&calls), self.input.name)
    }

    fn tumbling(&mut self) -> String {
        let size = self.random.random_range(1..12);
        let offset = if self.chance(3) { ", INTERVAL '700 milliseconds'" } else { "" };
        let name = &self.input.name;
        let from = format!("TUMBLE({name}, ts, INTERVAL '{size} seconds'{offset})");
        let bounds = *self.pick(&[&["window_start", "window_end"][..], &["window_end"]]);
        self.grouped(&from, bounds, 0)
    }

    fn hop_table(&mut self) -> String {
        let (slide, size) = *self.pick(&[(2, 4), (2, 5), (3, 9), (5, 5), (4, 6), (7, 3)]);
        let name = &self.input.name;
        format!("HOP({name}, ts, INTERVAL '{slide} seconds', INTERVAL '{size} seconds')")
    }

    fn hopping(&mut self) -> String {
        let from = self.hop_table();
        let bounds = *self.pick(&[&["window_start", "window_end"][..], &["window_start"]]);
        self.grouped(&from, bounds, 0)
    }

    /// Hopping windows where panes do not serve.
    fn copied(&mut self) -> String {
        let from = self.hop_table();
        if self.chance(5) {
            let row = self.scalar();
            return format!("SELECT window_start, window_end, {row} AS c2 FROM {from}");
        }
        self.grouped(&from, &["date_trunc('minute', window_end)"], 0)
    }

    fn binned(&mut self) -> String {
        let size = self.random.random_range(1..9);
        let bin = *self.pick(&["bin", "trunc"]);
        let bound = match bin {
            "bin" => format!("date_bin(INTERVAL '{size} seconds', ts, TIMESTAMPTZ '2024-01-01')"),
            _ => "date_trunc('second', ts)".into(),
        };
        let name = self.input.name.clone();
        self.grouped(&name, &[&bound], 0)
    }

    fn union(&mut self) -> String {
        let mut arms = Vec::new();
        for arm in 0..2 {
            let integer = self.column(is_integer).unwrap_or_else(|| "(6 + 0)".into());
            let name = self.input.name.clone();
            let filter = self.filter();
            arms.push(match self.random.random_range(0..3) {
                0 if arm == 1 => format!(
                    "SELECT count(*) AS k, 'all' AS v FROM {name}{filter} GROUP BY {integer}"
                ),
                _ => format!("SELECT {integer}::bigint AS k, 'arm {arm}' AS v FROM {name}{filter}"),
            });
        }
        let union = arms.join(" UNION ALL ");
        match self.random.random_range(0..2) {
            0 => union,
            _ => format!(
                "SELECT v, count(*) AS n, sum(k) AS total FROM ({union}) AS both GROUP BY v"
            ),
        }
    }
}

pub(super) fn is_integer(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)
}

pub(super) fn is_number(sql_type: &SqlType) -> bool {
    is_integer(sql_type) || matches!(sql_type, SqlType::Numeric(_) | SqlType::Double)
}
