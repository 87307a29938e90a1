//! Random queries of the supported grammar, as SQL text.

use millrace_types::SqlType;
use rand::Rng;
use rand::rngs::StdRng;

use super::lookup::LOOKED_UP;

/// What a query reads.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) columns: Vec<(String, SqlType)>,
    /// Rows are never retracted: windows are over `ts`.
    pub(super) append_only: bool,
}

/// A query and what it is made of.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) text: String,
    /// A row that is late for one window counts in no other: the batch answer leaves it out.
    pub(super) one_window: bool,
    /// The end of a row's window, over the columns of the query.
    pub(super) closes: Option<String>,
    /// `EMIT ON WINDOW CLOSE`.
    pub(super) emits: bool,
    /// The temporal join that the text names.
    pub(super) lookup: Option<String>,
}

impl Query {
    pub(super) fn new(text: String) -> Query {
        Query { text, one_window: false, closes: None, emits: false, lookup: None }
    }

    fn closing(text: String, closes: String) -> Query {
        Query { closes: Some(closes), ..Query::new(text) }
    }

    /// The query of the view.
    pub(super) fn view(&self) -> String {
        match &self.lookup {
            Some(rows) => self.text.replace(LOOKED_UP, rows),
            None => self.text.clone(),
        }
    }

    /// The query whose answer is the view's content, at a time and after a watermark.
    pub(super) fn at(&self, now: i64, closed: Option<i64>) -> String {
        let time = |time: i64| {
            format!("(TIMESTAMPTZ '1970-01-01 00:00:00+00' + INTERVAL '{time} microseconds')")
        };
        let text = self.text.replace("now()", &time(now));
        match (&self.closes, closed) {
            (Some(closes), Some(closed)) if self.emits => {
                format!("SELECT * FROM ({text}) AS q WHERE {closes} <= {}", time(closed))
            }
            _ if self.emits => format!("SELECT * FROM ({text}) AS q WHERE false"),
            _ => text,
        }
    }
}

const COMPARED: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

/// A random query over a join of some inputs.
pub(super) fn joined(inputs: &[Input], random: &mut StdRng) -> Query {
    if random.random_ratio(1, 4)
        && let Some(query) = super::timed::joined(inputs, random)
    {
        return query;
    }
    query(&super::join::join(inputs, random), random)
}

/// Builds one query.
pub(super) struct Writer<'a> {
    pub(super) input: &'a Input,
    pub(super) random: &'a mut StdRng,
}

/// A grouping of an input that has a row for most of its rows, and changes them.
pub(super) fn changing(input: &Input, random: &mut StdRng) -> Query {
    Query::new(Writer { input, random }.groups())
}

/// A random query over an input.
pub(super) fn query(input: &Input, random: &mut StdRng) -> Query {
    let mut writer = Writer { input, random };
    if input.append_only {
        match writer.random.random_range(0..21) {
            19 => writer.of_windows(),
            0 => Query::new(writer.rows(&input.name)),
            1 => Query::new(writer.distinct()),
            2 | 3 => Query::new(writer.groups()),
            4 => Query::new(writer.global()),
            5 | 6 => Query { one_window: true, ..writer.tumbling() },
            7 | 8 => writer.hopping(),
            9 => Query::new(writer.copied()),
            11 => Query { one_window: true, ..writer.calendar() },
            12 => writer.cumulating(),
            10 => Query { one_window: true, ..writer.binned() },
            13 => Query { one_window: true, ..Query::new(writer.best_of_windows()) },
            14 | 15 => Query::new(writer.ranked()),
            16 | 17 => Query::new(writer.windowed()),
            18 => Query { one_window: true, ..writer.sessions("ts") },
            _ => Query::new(writer.union()),
        }
    } else {
        let time = writer.column(|t| *t == SqlType::TimestampTz);
        let taken = input.columns.iter().any(|(name, _)| name.starts_with("window_"));
        let is_table = !input.name.contains(' ') && !taken;
        if let Some(time) = time.filter(|_| is_table && writer.chance(2)) {
            return Query { closes: None, ..writer.sessions(&time) };
        }
        match writer.random.random_range(0..10) {
            0 => Query::new(writer.rows(&input.name)),
            1 => Query::new(writer.distinct()),
            2 => Query::new(writer.global()),
            3 => Query::new(writer.union()),
            4 | 5 => Query::new(writer.ranked()),
            6 | 7 => Query::new(writer.windowed()),
            _ => Query::new(writer.groups()),
        }
    }
}

impl Writer<'_> {
    pub(super) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.random.random_range(0..from.len())]
    }

    pub(super) fn chance(&mut self, of_ten: u32) -> bool {
        self.random.random_ratio(of_ten, 10)
    }

    /// A column of one of some types.
    pub(super) fn column(&mut self, fits: impl Fn(&SqlType) -> bool) -> Option<String> {
        let fitting: Vec<String> =
            self.input.columns.iter().filter(|(_, t)| fits(t)).map(|(n, _)| n.clone()).collect();
        if fitting.is_empty() { None } else { Some(self.pick(&fitting).clone()) }
    }

    pub(super) fn number(&mut self) -> String {
        self.column(is_number).unwrap_or_else(|| "(1 + 0)".into())
    }

    pub(super) fn integer(&mut self) -> String {
        self.column(is_integer).unwrap_or_else(|| "(7 + 0)".into())
    }

    /// A scalar expression of any type.
    pub(super) fn scalar(&mut self) -> String {
        let number = self.number();
        let integer = self.column(is_integer).unwrap_or_else(|| "(7 + 0)".into());
        match self.random.random_range(0..54) {
            9.. => self.function(),
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

    pub(super) fn condition(&mut self) -> String {
        let integer = self.column(is_integer).unwrap_or_else(|| "(1 + 0)".into());
        let number = self.number();
        let compared = *self.pick(&COMPARED);
        match self.random.random_range(0..10) {
            6 => format!("({}) IS NOT NULL", self.function()),
            7 => format!("{integer} IS DISTINCT FROM 2"),
            8 => format!("{number} IS NOT DISTINCT FROM 0"),
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

    pub(super) fn filter(&mut self) -> String {
        let mut parts = Vec::new();
        if self.chance(4) {
            parts.push(self.condition());
        }
        if let Some(time) = self.column(|t| *t == SqlType::TimestampTz).filter(|_| self.chance(2)) {
            parts.push(self.temporal(&time));
        }
        match parts.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", parts.join(" AND ")),
        }
    }

    /// A condition that becomes true or false as time passes.
    fn temporal(&mut self, time: &str) -> String {
        let (length, more) = (self.random.random_range(1..15), self.random.random_range(0..5));
        let back = format!("now() - INTERVAL '{length} seconds'");
        match self.random.random_range(0..9) {
            0 => format!("{time} > {back}"),
            1 => format!("{back} <= {time}"),
            2 => format!("{time} + INTERVAL '{length} seconds' > now()"),
            3 => format!("{time} BETWEEN {back} AND now() + INTERVAL '{more} seconds'"),
            4 => format!("now() - {time} <= INTERVAL '{length} seconds'"),
            5 => format!("{time} <= now()"),
            6 => format!("{time} < {back}"),
            7 => format!("{time} - now() > INTERVAL '-{length} seconds'"),
            _ => format!("{time} > {back} AND {time} <= now() AND now() > {time} + INTERVAL '1 s'"),
        }
    }

    /// Items with the names `c0`, `c1`, ...
    pub(super) fn named(items: &[String]) -> String {
        let named = items.iter().enumerate().map(|(i, item)| format!("{item} AS c{i}"));
        named.collect::<Vec<_>>().join(", ")
    }

    fn rows(&mut self, from: &str) -> String {
        let items: Vec<String> =
            (0..self.random.random_range(1..5)).map(|_| self.scalar()).collect();
        format!("SELECT {} FROM {from}{}", Self::named(&items), self.filter())
    }

    fn key(&mut self) -> String {
        match self.random.random_range(0..8) {
            4 => self.column(is_part).unwrap_or_else(|| "'[]'".into()),
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

    /// A call of any class, some with a filter.
    fn call(&mut self) -> String {
        let call = match self.random.random_range(0..10) {
            0..5 => self.linear(),
            5 => self.distinct_call(),
            6 | 7 => self.ordered(),
            _ => self.rebuilt(),
        };
        // DataFusion's last_value fails where the filter leaves nothing of a batch.
        let call = match self.chance(2) && !call.starts_with("last_value(") {
            true => format!("{call} FILTER (WHERE {})", self.condition()),
            false => call,
        };
        // DataFusion's are unsigned, and have no negative.
        if call.starts_with("approx_distinct(") || call.starts_with("regr_count(") {
            return format!("({call})::bigint");
        }
        // A digest of many values depends on the order in which they came.
        if call.starts_with("approx_median(") || call.starts_with("approx_percentile") {
            return format!("CASE WHEN count(*) < 50 THEN {call} END");
        }
        // The library adds floats up in the order of the rows: their last digits are nobody's.
        let adds = ["corr(", "covar_", "regr_"].iter().any(|name| call.starts_with(name));
        if adds { format!("floor(({call}) * 1000 + 0.3217)") } else { call }
    }

    fn linear(&mut self) -> String {
        let number = self.number();
        let flag = self.column(|t| *t == SqlType::Boolean);
        let any = self.any();
        match self.random.random_range(0..10) {
            0 => "count(*)".into(),
            1 => format!("count({any})"),
            2 => format!("sum({number})"),
            3 => format!("avg({number})"),
            4 => format!("var_pop({number})"),
            5 => format!("var_samp({number})"),
            6 => format!("stddev_pop({number})"),
            7 => format!("stddev_samp({number})"),
            8 => format!("bool_and({})", flag.unwrap_or_else(|| format!("{number} > 0"))),
            _ => format!("bool_or({})", flag.unwrap_or_else(|| format!("{number} > 0"))),
        }
    }

    fn distinct_call(&mut self) -> String {
        let number = self.number();
        let number = if self.chance(5) { format!("{} % 4", self.integer()) } else { number };
        let any = self.any();
        let which = ["sum", "avg", "var_pop", "var_samp", "stddev_pop", "stddev_samp", "min"];
        match self.random.random_range(0..3) {
            0 => format!("count(DISTINCT {any})"),
            1 => format!("count(DISTINCT {number})"),
            _ => format!("{}(DISTINCT {number})", self.pick(&which)),
        }
    }

    /// One distinct value behind several filters.
    fn distinct_calls(&mut self) -> Vec<String> {
        let value = self.integer();
        let value = if self.chance(2) { format!("{value} % 4") } else { value };
        let mut calls = Vec::new();
        for _ in 0..self.random.random_range(2..4) {
            let name = *self.pick(&["count", "sum", "avg"]);
            let filter = self.condition();
            calls.push(format!("{name}(DISTINCT {value}) FILTER (WHERE {filter})"));
        }
        calls
    }

    /// The value is in the order too: rows that tie are then equal.
    fn ordered(&mut self) -> String {
        let order = self.column(|t| is_number(t) && *t != SqlType::BigInt);
        let order = order.unwrap_or_else(|| self.any());
        let any = self.any();
        let descending = *self.pick(&["", " DESC", " DESC NULLS LAST", " NULLS FIRST"]);
        match self.random.random_range(0..4) {
            0 => format!("min({any})"),
            1 => format!("max({any})"),
            2 => format!("first_value({any} ORDER BY {})", keys(&order, descending, &any)),
            _ => format!("last_value({any} ORDER BY {})", keys(&order, descending, &any)),
        }
    }

    /// Calls that are run again. Floats are small and few: they add up nearly the same in any order.
    fn rebuilt(&mut self) -> String {
        let integer = self.column(is_integer).unwrap_or_else(|| "(7 + 0)".into());
        let other = self.column(is_integer).unwrap_or_else(|| "(7 + 0)".into());
        let text = self.column(|t| *t == SqlType::Text).unwrap_or_else(|| "'t'".into());
        let descending = *self.pick(&["", " DESC"]);
        let any = self.any();
        let pair = format!("{integer} % 5, {other} % 4");
        let measures = ["corr", "covar_pop", "covar_samp", "regr_avgx", "regr_avgy", "regr_count"];
        let lines = ["regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy"];
        let bits = ["bit_and", "bit_or", "bit_xor"];
        match self.random.random_range(0..23) {
            21 => format!("mode() WITHIN GROUP (ORDER BY {any}{descending})"),
            22 => format!("percentile_disc(0.6) WITHIN GROUP (ORDER BY {any}{descending})"),
            0 => format!("any_value(abs({integer}) * 0)"),
            1 => format!("approx_distinct({integer})"),
            2 => format!("approx_median({integer} % 3)"),
            3 => format!("approx_percentile_cont(0.5) WITHIN GROUP (ORDER BY {integer} % 3)"),
            4 => format!(
                "approx_percentile_cont_with_weight(1, 0.5) WITHIN GROUP (ORDER BY {integer} % 3)"
            ),
            5 => format!("array_agg({integer} ORDER BY {})", keys(&any, descending, &integer)),
            6 => format!("array_agg(DISTINCT {text} ORDER BY {text}{descending})"),
            7 => format!("string_agg({text}, '; ' ORDER BY {})", keys(&any, descending, &text)),
            8 => format!("nth_value({text}, 2 ORDER BY {})", keys(&any, descending, &text)),
            9 => format!("median({})", self.number()),
            10 => format!("percentile_cont(0.3) WITHIN GROUP (ORDER BY {integer}{descending})"),
            11 => format!("{}(DISTINCT {integer})", self.pick(&bits)),
            12 => format!("{}({integer})", self.pick(&bits)),
            13 | 14 => format!("{}({pair})", self.pick(&measures)),
            _ => format!("{}({pair})", self.pick(&lines)),
        }
    }

    /// A column of a type that has a least and a greatest value in PostgreSQL.
    pub(super) fn any(&mut self) -> String {
        self.column(|t| !is_part(t)).unwrap_or_else(|| "(9 + 0)".into())
    }

    /// At most one asks for an order that DataFusion has to keep: it does not take several orders.
    fn calls(&mut self) -> Vec<String> {
        let strict = |call: &String| {
            call.contains("ORDER BY") && !call.contains("_value(") || call.contains("nth_value(")
        };
        let mut calls: Vec<String> = Vec::new();
        if self.chance(8) {
            calls.extend(self.distinct_calls());
        }
        for _ in 0..self.random.random_range(1..5) {
            let call = self.call();
            if !strict(&call) || !calls.iter().any(strict) {
                calls.push(call);
            }
        }
        calls
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
        let own = &keys[bounds.len()..];
        let shared: String = bounds.iter().map(|bound| format!("{bound}, ")).collect();
        let named = |key: &String| {
            !["'k'", "true", "0.5", "'[]'"].contains(&key.as_str()) && !key.contains('+')
        };
        let form = if own.iter().all(named) { self.random.random_range(0..12) } else { 3 };
        let group = match form {
            0 if !own.is_empty() => format!("{shared}ROLLUP ({})", own.join(", ")),
            1 if !own.is_empty() => format!("{shared}CUBE ({})", own.join(", ")),
            2 => {
                let (all, first) = (own.join(", "), own.first().cloned().unwrap_or_default());
                let empty = if self.chance(5) { ", ()" } else { "" };
                format!("{shared}GROUPING SETS (({all}), ({first}), ({first}){empty})")
            }
            _ => keys.join(", "),
        };
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

    fn tumbling(&mut self) -> Query {
        let size = self.random.random_range(1..12);
        let offset = if self.chance(3) { ", INTERVAL '700 milliseconds'" } else { "" };
        let name = &self.input.name;
        let from = format!("TUMBLE({name}, ts, INTERVAL '{size} seconds'{offset})");
        self.by_bounds(&from)
    }

    /// Windows that follow the calendar; midnight is near, in London.
    fn calendar(&mut self) -> Query {
        let zones = ["Europe/London", "Africa/Abidjan", "Asia/Kolkata", "America/New_York"];
        let size = *self.pick(&["1 day", "1 day", "3 days", "1 month"]);
        let (zone, name) = (*self.pick(&zones), &self.input.name);
        let from = format!("TUMBLE({name}, ts, INTERVAL '{size}', '{zone}')");
        match self.chance(2) {
            true => Query::new(self.grouped(&from, &["window_start"], 0)),
            false => self.by_bounds(&from),
        }
    }

    fn cumulating(&mut self) -> Query {
        let (step, size) = *self.pick(&[(2, 6), (3, 3), (1, 5), (4, 12)]);
        let name = &self.input.name;
        let from =
            format!("CUMULATE({name}, ts, INTERVAL '{step} seconds', INTERVAL '{size} seconds')");
        match self.random.random_range(0..6) {
            0 => Query::new(self.grouped(&from, &["window_start"], 0)),
            1 => {
                let row = self.scalar();
                let row = format!("SELECT window_start, window_end, {row} AS c2 FROM {from}");
                Query::new(row)
            }
            _ => self.by_bounds(&from),
        }
    }

    /// Sessions by a column of times.
    fn sessions(&mut self, time: &str) -> Query {
        let gap = *self.pick(&["500 milliseconds", "1 second", "2 seconds", "5 seconds"]);
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..self.random.random_range(0..3) {
            keys.extend(self.column(|t| is_integer(t) || *t == SqlType::Text));
        }
        keys.dedup();
        let by = match keys.is_empty() {
            true => String::new(),
            false => format!(" PARTITION BY {}", keys.join(", ")),
        };
        let from = format!("SESSION({}{by}, {time}, INTERVAL '{gap}')", self.input.name);
        if self.chance(2) {
            let row = self.scalar();
            let row = ["window_start".to_owned(), "window_end".to_owned(), row];
            let text = format!("SELECT {} FROM {from}", Self::named(&row));
            return Query::closing(text, "c1".into());
        }
        let mut group = vec!["window_start", "window_end"];
        group.extend(keys.first().map(String::as_str));
        Query::closing(self.grouped(&from, &group, 0), "c1".into())
    }

    /// Groups by a window's bounds, or by its end alone.
    fn by_bounds(&mut self, from: &str) -> Query {
        let (bounds, end) =
            *self.pick(&[(&["window_start", "window_end"][..], "c1"), (&["window_end"], "c0")]);
        Query::closing(self.grouped(from, bounds, 0), end.into())
    }

    fn hop_table(&mut self) -> (String, i64) {
        let (slide, size) = *self.pick(&[(2, 4), (2, 5), (3, 9), (5, 5), (4, 6), (7, 3)]);
        let name = &self.input.name;
        let hop = format!("HOP({name}, ts, INTERVAL '{slide} seconds', INTERVAL '{size} seconds')");
        (hop, size)
    }

    fn hopping(&mut self) -> Query {
        let (from, size) = self.hop_table();
        let bounds = *self.pick(&[&["window_start", "window_end"][..], &["window_start"]]);
        Query::closing(self.grouped(&from, bounds, 0), format!("c0 + INTERVAL '{size} seconds'"))
    }

    /// Hopping windows where panes do not serve.
    fn copied(&mut self) -> String {
        let (from, _) = self.hop_table();
        if self.chance(5) {
            let row = self.scalar();
            return format!("SELECT window_start, window_end, {row} AS c2 FROM {from}");
        }
        self.grouped(&from, &["date_trunc('minute', window_end)"], 0)
    }

    fn binned(&mut self) -> Query {
        let bin = *self.pick(&["bin", "trunc"]);
        let size = if bin == "bin" { self.random.random_range(1..9) } else { 1 };
        let bound = match bin {
            "bin" => format!("date_bin(INTERVAL '{size} seconds', ts, TIMESTAMPTZ '2024-01-01')"),
            _ => "date_trunc('second', ts)".into(),
        };
        let name = self.input.name.clone();
        let text = self.grouped(&name, &[&bound], 0);
        Query::closing(text, format!("c0 + INTERVAL '{size} seconds'"))
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
        let all = if self.chance(7) { " ALL" } else { "" };
        let union = arms.join(&format!(" UNION{all} "));
        match self.random.random_range(0..2) {
            0 => union,
            _ => format!(
                "SELECT v, count(*) AS n, sum(k) AS total FROM ({union}) AS both GROUP BY v"
            ),
        }
    }
}

/// An order in which rows that tie have one value.
fn keys(order: &str, descending: &str, value: &str) -> String {
    format!("{order}{descending}, {value}")
}

/// True for what has parts, or an order that window functions do not take.
fn is_part(sql_type: &SqlType) -> bool {
    use SqlType as T;
    !is_number(sql_type)
        && !matches!(sql_type, T::Boolean | T::Text | T::Date | T::Timestamp | T::TimestampTz)
}

pub(super) fn is_integer(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)
}

pub(super) fn is_number(sql_type: &SqlType) -> bool {
    is_integer(sql_type) || matches!(sql_type, SqlType::Numeric(_) | SqlType::Double)
}
