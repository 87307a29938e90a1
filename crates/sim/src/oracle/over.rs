//! Random queries with window functions.

use millrace_types::SqlType;
use rand::Rng;

use super::query::{Query, Writer, is_integer};

impl Writer<'_> {
    /// Rows beside what window functions say of them, or groups of that.
    pub(super) fn windowed(&mut self) -> String {
        let letter = self.letter();
        let mut items = self.some_items();
        let from = items.len();
        for _ in 0..self.random.random_range(1..4) {
            items.push(self.over_call());
        }
        let named = self.lettered(&items);
        let (filter, name) = (self.filter(), self.input.name.clone());
        let rows = format!("SELECT {named} FROM {name}{filter}");
        match self.random.random_range(0..6) {
            0 => format!(
                "SELECT {letter}{from}, count(*) AS n FROM ({rows}) AS q GROUP BY {letter}{from}"
            ),
            1 => format!("SELECT {letter}0 FROM ({rows}) AS q WHERE {letter}{from} IS NOT NULL"),
            2 => self.best(),
            _ => rows,
        }
    }

    /// First rows and window functions of the rows of each window.
    pub(super) fn of_windows(&mut self) -> Query {
        let (size, name) = (self.random.random_range(1..12), self.input.name.clone());
        let from = format!("TUMBLE({name}, ts, INTERVAL '{size} seconds')");
        let (key, number) = (self.integer(), self.number());
        let bounds = ["window_end", "window_start, window_end"][self.random.random_range(0..2)];
        let partition = match self.chance(5) {
            true => bounds.to_owned(),
            false => format!("{bounds}, {key}"),
        };
        let over = format!("(PARTITION BY {partition} ORDER BY u, {number})");
        let item = self.scalar();
        // The batch engine does not take a key twice.
        let number = if number == "u" { "b".to_owned() } else { number };
        let text = match self.random.random_range(0..3) {
            0 => format!(
                "SELECT window_end AS c0, u AS c1, sum({number}) OVER {over} AS c2, {item} AS c3 \
                 FROM {from}"
            ),
            1 => format!(
                "SELECT c0, c1, c2 FROM (SELECT window_end AS c0, u AS c1, {item} AS c2, \
                 row_number() OVER {over} AS r FROM {from}) AS q WHERE r <= 2"
            ),
            _ => format!(
                "SELECT DISTINCT ON (window_end) window_end AS c0, {item} AS c1 FROM {from} \
                 ORDER BY window_end, {number} DESC, u"
            ),
        };
        let closes = Some("c0".to_owned());
        Query { one_window: true, closes, ..Query::new(text) }
    }

    /// A filter on a rank, or on a number beside another function.
    fn best(&mut self) -> String {
        let (letter, mut items) = (self.letter(), self.some_items());
        let shown: Vec<String> = (0..items.len()).map(|at| format!("{letter}{at}")).collect();
        let function = *self.pick(&["rank", "dense_rank", "row_number"]);
        let (partition, order) = (self.partition(), self.order(1));
        let over = self.over(&partition, &order);
        items.push(self.over_call());
        let named = self.lettered(&items);
        let (filter, name) = (self.filter(), self.input.name.clone());
        let last = items.len() - 1;
        format!(
            "SELECT {}, {letter}{last} FROM (SELECT {named}, {function}() OVER {over} AS r FROM \
             {name}{filter}) AS q WHERE r <= 2",
            shown.join(", ")
        )
    }

    /// A call with all that belongs to it.
    fn over_call(&mut self) -> String {
        match self.random.random_range(0..4) {
            0 => self.ranking(),
            1 => self.shifting(),
            2 => self.picking(),
            _ => self.adding(),
        }
    }

    fn ranking(&mut self) -> String {
        let (partition, order) = (self.partition(), self.order(0));
        let over = self.over(&partition, &order);
        match self.random.random_range(0..6) {
            0 => format!("(row_number() OVER {over})::bigint"),
            1 => format!("(rank() OVER {over})::bigint"),
            2 => format!("(dense_rank() OVER {over})::bigint"),
            3 => format!("percent_rank() OVER {over}"),
            4 => format!("cume_dist() OVER {over}"),
            _ => format!("(ntile({}) OVER {over})::bigint", self.random.random_range(1..5)),
        }
    }

    fn shifting(&mut self) -> String {
        let (partition, order) = (self.partition(), self.order(0));
        let over = self.over(&partition, &order);
        let (any, integer) = (self.any(), self.integer());
        let by = self.random.random_range(0..4);
        match self.random.random_range(0..4) {
            0 => format!("lag({any}) OVER {over}"),
            1 => format!("lead({any}) OVER {over}"),
            2 => format!("lag({integer}, {by}, 7) OVER {over}"),
            _ => format!("lead({any}, {by}) OVER {over}"),
        }
    }

    fn bounds(&mut self, of: &str) -> String {
        let units = ["1 PRECEDING", "2 PRECEDING", "CURRENT ROW", "1 FOLLOWING", "3 FOLLOWING"];
        let from = self.random.random_range(0..=units.len());
        let start = match from {
            0 => "UNBOUNDED PRECEDING",
            // A frame that ends before it begins is an error.
            from => match units[from - 1] {
                "2 PRECEDING" => "1 PRECEDING",
                "1 PRECEDING" => "2 PRECEDING",
                other => other,
            },
        };
        let last = from.clamp(3, 5);
        let end = match self.random.random_range(0..4) {
            0 => "UNBOUNDED FOLLOWING",
            _ => units[self.random.random_range(last - 1..units.len())],
        };
        format!(" {of} BETWEEN {start} AND {end}")
    }

    /// Values of the first, last or second row of a frame. Where peers share a frame, the value is in
    /// the order.
    fn picking(&mut self) -> String {
        let (partition, mut order) = (self.partition(), self.order(1));
        let any = self.any();
        let frame = match self.random.random_range(0..3) {
            0 => self.bounds("ROWS"),
            1 => {
                order = vec![any.clone()];
                self.bounds("GROUPS")
            }
            _ => {
                order = vec![format!("{any}{}", self.direction())];
                String::new()
            }
        };
        let over = self.framed(&partition, &order, &frame);
        match self.random.random_range(0..3) {
            0 => format!("first_value({any}) OVER {over}"),
            1 => format!("last_value({any}) OVER {over}"),
            _ => format!("nth_value({any}, 2) OVER {over}"),
        }
    }

    /// Aggregates over frames.
    fn adding(&mut self) -> String {
        let (partition, mut order) = (self.partition(), self.order(1));
        let (any, number) = (self.any(), self.number());
        let frame = match self.random.random_range(0..6) {
            0 | 1 => self.bounds("ROWS"),
            2 => self.bounds("GROUPS"),
            3 => match self.column(is_integer) {
                Some(integer) => {
                    order = vec![format!("{integer}{}", self.direction())];
                    self.bounds("RANGE")
                }
                None => String::new(),
            },
            4 => match self.column(|t| *t == SqlType::TimestampTz) {
                Some(time) => {
                    order = vec![time];
                    " RANGE BETWEEN INTERVAL '3 seconds' PRECEDING AND CURRENT ROW".into()
                }
                None => String::new(),
            },
            _ => {
                order.truncate(self.random.random_range(0..2));
                String::new()
            }
        };
        let over = self.framed(&partition, &order, &frame);
        let text = self.column(|t| *t == SqlType::Text).filter(|_| frame.starts_with(" ROWS"));
        let call = match self.random.random_range(0..10) {
            // The order in which peers are in a frame is nobody's.
            8 if text.is_some() => format!("string_agg({}, ',')", text.unwrap_or_default()),
            8 | 9 => format!("median({})", self.integer()),
            0 => "count(*)".to_owned(),
            1 => format!("count({any})"),
            2 => format!("min({any})"),
            3 => format!("max({any})"),
            4 => format!("avg({number})"),
            5 => format!("stddev_samp({})", self.integer()),
            _ => format!("sum({number})"),
        };
        let filter = match self.chance(2) {
            true => format!(" FILTER (WHERE {})", self.condition()),
            false => String::new(),
        };
        format!("{call}{filter} OVER {over}")
    }
}
