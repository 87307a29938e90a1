//! Random queries that rank rows: `ORDER BY ... LIMIT`, numbered rows, `DISTINCT ON`.

use millrace_types::SqlType;
use rand::Rng;

use super::query::Writer;

impl Writer<'_> {
    /// The first rows in some way, or groups of them.
    pub(super) fn ranked(&mut self) -> String {
        let letter = self.letter();
        let rows = match self.random.random_range(0..6) {
            0 | 1 => self.top(),
            2 => self.distinct_on(),
            _ => self.numbered(),
        };
        match self.random.random_range(0..6) {
            0 => format!("SELECT {letter}0, count(*) AS n FROM ({rows}) AS q GROUP BY {letter}0"),
            1 => {
                let other = self.top();
                format!(
                    "SELECT v, count(*) AS n FROM (SELECT 'a' AS v FROM ({rows}) AS p UNION ALL \
                     SELECT 'b' AS v FROM ({other}) AS q) AS r GROUP BY v"
                )
            }
            _ => rows,
        }
    }

    /// Some keys of an ORDER BY, none twice.
    pub(super) fn order(&mut self, least: usize) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..self.random.random_range(least..=2) {
            let key = match self.chance(3) {
                true => {
                    let integer = self.integer();
                    format!("{integer} % 3")
                }
                false => self.any(),
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.into_iter().map(|key| format!("{key}{}", self.direction())).collect()
    }

    pub(super) fn direction(&mut self) -> &'static str {
        let all: [&str; 5] = ["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"];
        all[self.random.random_range(0..all.len())]
    }

    /// A letter with which no column begins: an ORDER BY then means what it names.
    pub(super) fn letter(&self) -> &'static str {
        let begins = |letter: &&str| {
            let mut names = self.input.columns.iter().map(|(name, _)| name.rsplit('.').next());
            names.any(|name| name.is_some_and(|name| name.starts_with(*letter)))
        };
        ["c", "e", "g", "h"].into_iter().find(|letter| !begins(letter)).expect("few letters")
    }

    /// Items with the names `c0`, `c1`, ..., or with another letter.
    pub(super) fn lettered(&self, items: &[String]) -> String {
        let letter = self.letter();
        let named = items.iter().enumerate().map(|(i, item)| format!("{item} AS {letter}{i}"));
        named.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn some_items(&mut self) -> Vec<String> {
        (0..self.random.random_range(1..4)).map(|_| self.scalar()).collect()
    }

    fn top(&mut self) -> String {
        let items = self.some_items();
        let items = self.lettered(&items);
        let (filter, order) = (self.filter(), self.order(1).join(", "));
        let limit = *self.pick(&[1, 1, 2, 3, 7, 40]);
        let offset = *self.pick(&["", "", " OFFSET 1", " OFFSET 4"]);
        let name = &self.input.name;
        let rows = format!("SELECT {items} FROM {name}{filter} ORDER BY {order}");
        match self.chance(3) {
            true => format!("{rows}{offset} FETCH FIRST {limit} ROWS WITH TIES"),
            false => format!("{rows} LIMIT {limit}{offset}"),
        }
    }

    /// The columns that rows are divided by.
    pub(super) fn partition(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..self.random.random_range(0..3) {
            let key = match self.random.random_range(0..7) {
                4..7 => self.column(|t| *t == SqlType::TimestampTz),
                0 => self.column(|t| *t == SqlType::Text),
                1 => self.column(|t| *t == SqlType::Boolean),
                2 => Some(format!("{} % 3", self.integer())),
                _ => self.column(|t| matches!(t, SqlType::Integer)),
            };
            keys.extend(key.filter(|key| !keys.contains(key)));
        }
        keys
    }

    /// What stands behind OVER.
    pub(super) fn over(&self, partition: &[String], order: &[String]) -> String {
        self.framed(partition, order, "")
    }

    /// The same with a frame.
    pub(super) fn framed(&self, partition: &[String], order: &[String], frame: &str) -> String {
        let mut parts = Vec::new();
        if !partition.is_empty() {
            parts.push(format!("PARTITION BY {}", partition.join(", ")));
        }
        if !order.is_empty() {
            parts.push(format!("ORDER BY {}", order.join(", ")));
        }
        format!("({}{frame})", parts.join(" "))
    }

    /// Rows whose number is in a range, with the number or without.
    fn numbered(&mut self) -> String {
        let (letter, items) = (self.letter(), self.some_items());
        let (partition, order) = (self.partition(), self.order(0));
        let over = self.over(&partition, &order);
        let (filter, name) = (self.filter(), self.input.name.clone());
        let function = *self.pick(&["row_number", "row_number", "rank"]);
        let inner = format!(
            "SELECT {}, {function}() OVER {over} AS r FROM {name}{filter}",
            self.lettered(&items)
        );
        let range = *self.pick(&[
            "r <= 1",
            "r = 1",
            "r < 4",
            "r <= 2",
            "3 >= r",
            "r BETWEEN 2 AND 5",
            "r = 2",
            "r <= 30 AND r > 1",
        ]);
        let mut shown: Vec<String> = (0..items.len()).map(|at| format!("{letter}{at}")).collect();
        if self.chance(5) {
            shown.push(format!("r::bigint AS {letter}{}", items.len()));
        }
        let more =
            if self.chance(3) { format!(" AND {letter}0 IS NOT NULL") } else { String::new() };
        format!("SELECT {} FROM ({inner}) AS q WHERE {range}{more}", shown.join(", "))
    }

    /// The groups of each window, ranked.
    pub(super) fn best_of_windows(&mut self) -> String {
        let size = self.random.random_range(1..9);
        let (key, direction, filter) = (self.integer(), self.direction(), self.filter());
        let name = &self.input.name;
        let groups = format!(
            "SELECT window_start AS w, {key} AS k, count(*) AS n FROM TUMBLE({name}, ts, \
             INTERVAL '{size} seconds'){filter} GROUP BY window_start, {key}"
        );
        let over = format!("OVER (PARTITION BY w ORDER BY n{direction})");
        match self.random.random_range(0..3) {
            0 => format!(
                "SELECT w AS c0, k AS c1, (rank() {over})::bigint AS c2, sum(n) {over} AS c3 FROM \
                 ({groups}) AS g"
            ),
            last => format!(
                "SELECT w AS c0, k AS c1, n AS c2 FROM (SELECT *, row_number() {over} AS r FROM \
                 ({groups}) AS g) AS q WHERE r <= {last}"
            ),
        }
    }

    fn distinct_on(&mut self) -> String {
        let items = self.some_items();
        let items = self.lettered(&items);
        let mut keys = self.partition();
        if keys.is_empty() {
            keys.push(self.any());
        }
        let on = keys.join(", ");
        let order = self.order(0).into_iter();
        let order: Vec<String> =
            order.filter(|order| !keys.iter().any(|key| order.starts_with(key.as_str()))).collect();
        let (filter, name) = (self.filter(), self.input.name.clone());
        let sorted = match self.chance(8) {
            true => {
                let keys = keys.iter().map(|key| format!("{key}{}", self.direction()));
                let all: Vec<String> = keys.collect::<Vec<_>>().into_iter().chain(order).collect();
                format!(" ORDER BY {}", all.join(", "))
            }
            false => String::new(),
        };
        format!("SELECT DISTINCT ON ({on}) {items} FROM {name}{filter}{sorted}")
    }
}
