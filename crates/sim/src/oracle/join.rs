//! Random joins, as inputs of the other queries: what stands behind FROM, and its columns.
//!
//! Sides of a source are thinned out, so that a cross join stays small.

use millrace_types::SqlType;
use rand::Rng;
use rand::rngs::StdRng;

use super::query::{Input, is_integer, is_number};

/// Builds one join.
struct Joined<'a> {
    inputs: &'a [Input],
    random: &'a mut StdRng,
}

/// One side: its text and its columns, with their table's name.
struct Side {
    text: String,
    columns: Vec<(String, SqlType)>,
}

/// A column's name without its table's.
fn bare(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, name)| name)
}

/// A random join of some of the inputs, of which the last takes part; it may be joined with itself.
pub(super) fn join(inputs: &[Input], random: &mut StdRng) -> Input {
    let mut joined = Joined { inputs, random };
    match joined.random.random_range(0..15) {
        13 | 14 => joined.each(),
        12 => joined.merged(),
        11 => joined.series(),
        0 | 1 => joined.existing(),
        10 => joined.nearest(),
        2 => joined.listed(),
        3 => joined.combined(),
        4 | 5 => joined.valued(),
        _ => joined.paired(),
    }
}

impl Joined<'_> {
    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.random.random_range(0..from.len())]
    }

    /// The last input or any.
    fn side(&mut self, alias: &str, last: bool) -> Side {
        let any = self.random.random_range(0..self.inputs.len());
        let input = self.inputs[if last { self.inputs.len() - 1 } else { any }].clone();
        let name = match input.append_only {
            true => {
                let rest = self.random.random_range(0..6);
                format!("(SELECT * FROM {} WHERE u % 6 = {rest})", input.name)
            }
            false => self.thinned(&input),
        };
        let columns = input
            .columns
            .iter()
            .map(|(name, sql_type)| (format!("{alias}.{name}"), sql_type.clone()));
        Side { text: format!("{name} AS {alias}"), columns: columns.collect() }
    }

    /// A view, or those of its rows that fit at the moment: they come and go.
    fn thinned(&mut self, view: &Input) -> String {
        let changing: Vec<&String> =
            view.columns.iter().filter(|(_, t)| is_integer(t)).map(|(name, _)| name).collect();
        if changing.is_empty() || self.random.random() {
            return view.name.clone();
        }
        let column = *self.pick(&changing);
        format!("(SELECT * FROM {} WHERE coalesce({column}, 0) % 3 <> 1)", view.name)
    }

    /// Two sides, one of which is the last input.
    fn sides(&mut self) -> (Side, Side) {
        let last = self.random.random();
        (self.side("a", last), self.side("b", !last))
    }

    fn column(&mut self, of: &Side, fits: impl Fn(&SqlType) -> bool) -> Option<String> {
        let fitting: Vec<&String> =
            of.columns.iter().filter(|(_, t)| fits(t)).map(|(name, _)| name).collect();
        if fitting.is_empty() { None } else { Some((*self.pick(&fitting)).clone()) }
    }

    /// A column of each side that can be compared.
    fn comparable(&mut self, left: &Side, right: &Side) -> (String, String) {
        let classes: [fn(&SqlType) -> bool; 4] = [
            |t| *t == SqlType::Text,
            is_integer,
            |t| *t == SqlType::Boolean,
            |t| is_number(t) && *t != SqlType::Double,
        ];
        let first = self.random.random_range(0..classes.len());
        for class in (0..classes.len()).map(|at| classes[(first + at) % classes.len()]) {
            if let (Some(left), Some(right)) = (self.column(left, class), self.column(right, class))
            {
                return (left, right);
            }
        }
        ("(1 + 0)".into(), "(1 + 0)".into())
    }

    fn equal(&mut self, left: &Side, right: &Side) -> String {
        let (one, other) = self.comparable(left, right);
        match self.random.random_range(0..5) {
            0 => format!("({one} IS NOT DISTINCT FROM {other})"),
            _ => format!("{one} = {other}"),
        }
    }

    /// What is no equality of two columns.
    fn residual(&mut self, left: &Side, right: &Side) -> String {
        let (one, other) = self.comparable(left, right);
        let numbers = (self.column(left, is_integer), self.column(right, is_integer));
        let compared = *self.pick(&["<", "<=", "<>", ">"]);
        match (self.random.random_range(0..5), numbers) {
            (0, (Some(left), _)) => format!("{left} {compared} 1"),
            (1, (_, Some(right))) => format!("{right} {compared} 1"),
            (2, (Some(left), Some(right))) => {
                format!("10 / nullif({left} - {right}, 0) {compared} 2")
            }
            (3, (Some(left), Some(right))) => format!("({left} = 0 OR {right} IS NULL)"),
            _ => format!("{one} {compared} {other}"),
        }
    }

    fn condition(&mut self, left: &Side, right: &Side) -> String {
        let mut parts = Vec::new();
        for _ in 0..[0, 1, 1, 1, 2][self.random.random_range(0..5)] {
            parts.push(self.equal(left, right));
        }
        if parts.is_empty() || self.random.random_ratio(2, 5) {
            parts.push(self.residual(left, right));
        }
        parts.join(" AND ")
    }

    fn paired(&mut self) -> Input {
        let (left, right) = self.sides();
        let kind = *self.pick(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS"]);
        let name = match kind {
            "CROSS" => format!("{} CROSS JOIN {}", left.text, right.text),
            kind => {
                let condition = self.condition(&left, &right);
                format!("{} {kind} {} ON {condition}", left.text, right.text)
            }
        };
        let columns = left.columns.into_iter().chain(right.columns).collect();
        Input { name, columns, append_only: false }
    }

    /// Sides whose equal columns become one.
    fn merged(&mut self) -> Input {
        let (left, right) = self.sides();
        let of_right: Vec<(&str, &SqlType)> =
            right.columns.iter().map(|(n, t)| (bare(n), t)).collect();
        let fits = |t: &SqlType| is_integer(t) || matches!(t, SqlType::Text | SqlType::Boolean);
        let shared = left.columns.iter().map(|(name, t)| (bare(name), t));
        let shared = shared.filter(|(name, t)| fits(t) && of_right.contains(&(*name, *t)));
        let mut shared: Vec<(String, SqlType)> =
            shared.map(|(name, t)| (name.to_owned(), t.clone())).collect();
        let kind = *self.pick(&["", "LEFT ", "RIGHT ", "FULL "]);
        while shared.len() > self.random.random_range(1..3) {
            shared.swap_remove(self.random.random_range(0..shared.len()));
        }
        let names: Vec<&str> = shared.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        let others = (self.column(&left, is_integer), self.column(&right, is_integer));
        match (names.as_str(), others) {
            ("", _) => self.paired(),
            (_, (Some(one), Some(other))) if self.random.random() => {
                let (a, b) = (&left.text, &right.text);
                let name = format!(
                    "(SELECT {names}, {one} AS one FROM {a}) AS a NATURAL {kind}JOIN \
                     (SELECT {names}, {other} AS other FROM {b}) AS b"
                );
                shared.push(("a.one".into(), SqlType::BigInt));
                shared.push(("b.other".into(), SqlType::BigInt));
                Input { name, columns: shared, append_only: false }
            }
            _ => {
                let name = format!("{} {kind}JOIN {} USING ({names})", left.text, right.text);
                let columns = shared.into_iter().chain(left.columns).chain(right.columns);
                Input { name, columns: columns.collect(), append_only: false }
            }
        }
    }

    /// Rows beside a series of numbers, its bounds constant or of each row.
    fn series(&mut self) -> Input {
        let last = self.random.random();
        let left = self.side("a", last);
        let number = self.column(&left, is_integer).unwrap_or_else(|| "(5 + 0)".into());
        let from = &left.text;
        let mut columns = left.columns;
        let last = self.random.random_range(1..5);
        let name = match self.random.random_range(0..5) {
            4 => format!(
                "{from} LEFT JOIN generate_series(1, {number} % {last}) WITH ORDINALITY AS b (j, k) ON true"
            ),
            0 => format!("{from} JOIN generate_series(0, {last}) AS b (k) ON {number} % 4 = b.k"),
            1 => format!("{from} CROSS JOIN generate_series({last}, 1, -2) AS b (k)"),
            2 => format!("{from}, generate_series(1, {number} % {last}) AS b (k)"),
            _ => format!(
                "{from} CROSS JOIN LATERAL generate_series({number} % 3, {last}, 2) AS b (k)"
            ),
        };
        columns.push(("b.k".into(), SqlType::BigInt));
        Input { name, columns, append_only: false }
    }

    /// The row that is nearest in time, or in whatever else has an order.
    fn nearest(&mut self) -> Input {
        let (left, right) = self.sides();
        let mut types: [fn(&SqlType) -> bool; 4] = [
            |t| *t == SqlType::TimestampTz,
            |t| *t == SqlType::BigInt,
            |t| *t == SqlType::Integer,
            |t| *t == SqlType::Text,
        ];
        let first = self.random.random_range(0..6usize);
        types.rotate_left(first.saturating_sub(2));
        let times = types
            .into_iter()
            .find_map(|fits| Some((self.column(&left, fits)?, self.column(&right, fits)?)));
        let (one, other) = times.unwrap_or_else(|| ("a.zero".into(), "b.zero".into()));
        if one == "a.zero" {
            return self.paired();
        }
        let (key, other_key) = self.comparable(&left, &right);
        let equal = match key.starts_with('(') {
            true => "true".to_owned(),
            false => format!("{key} = {other_key}"),
        };
        let op = *self.pick(&[">=", ">=", ">", "<=", "<"]);
        let times = match self.random.random() {
            true => format!("{one} {op} {other}"),
            false => {
                let swapped = [(">=", "<="), (">", "<"), ("<=", ">="), ("<", ">")];
                let op = swapped.into_iter().find(|(known, _)| *known == op).expect("one of four");
                format!("{other} {} {one}", op.1)
            }
        };
        let (a, b) = (left.text, right.text);
        let name = match (self.random.random_range(0..3), equal.as_str()) {
            (0, "true") => format!("{a} ASOF JOIN {b} MATCH_CONDITION ({times})"),
            (0, equal) => format!("{a} ASOF JOIN {b} MATCH_CONDITION ({times}) ON {equal}"),
            (1, "true") => format!("{a} ASOF LEFT JOIN {b} ON {times}"),
            (1, equal) => format!("{a} ASOF LEFT JOIN {b} ON {equal} AND {times}"),
            (_, "true") => format!("{a} ASOF JOIN {b} ON {times}"),
            (_, equal) => format!("{a} ASOF JOIN {b} ON {times} AND {equal}"),
        };
        let columns = left.columns.into_iter().chain(right.columns).collect();
        Input { name, columns, append_only: false }
    }

    fn existing(&mut self) -> Input {
        let (left, right) = self.sides();
        let not = *self.pick(&["", "NOT "]);
        let condition = self.condition(&left, &right);
        let (text, other) = (&left.text, &right.text);
        let exists = format!("{not}EXISTS (SELECT 1 FROM {other} WHERE {condition})");
        let name = format!("(SELECT a.* FROM {text} WHERE {exists}) AS a");
        Input { name, columns: left.columns, append_only: false }
    }

    fn listed(&mut self) -> Input {
        let (left, right) = self.sides();
        let not = *self.pick(&["", "NOT "]);
        let (one, other) = self.comparable(&left, &right);
        let list = format!("SELECT {other} FROM {}", right.text);
        let name = format!("(SELECT a.* FROM {} WHERE {one} {not}IN ({list})) AS a", left.text);
        Input { name, columns: left.columns, append_only: false }
    }

    /// A subquery as a value, in the select list or in a condition beside others.
    fn valued(&mut self) -> Input {
        let last = &self.inputs[self.inputs.len() - 1];
        if !last.append_only && self.random.random_ratio(1, 6) {
            return self.within(&last.clone());
        }
        let (left, right) = self.sides();
        let (value, sql_type) = self.subquery(&left, &right);
        let from = &left.text;
        if sql_type == SqlType::Boolean && self.random.random() {
            let other = self.residual(&left, &left);
            let not = *self.pick(&["", "NOT "]);
            let name = format!("(SELECT a.* FROM {from} WHERE {not}({value}) OR {other}) AS a");
            return Input { name, columns: left.columns, append_only: false };
        }
        let name = format!("(SELECT a.*, {value} AS q FROM {from}) AS a");
        let mut columns = left.columns;
        columns.push(("a.q".into(), sql_type));
        Input { name, columns, append_only: false }
    }

    /// A list out of the table that stands outside, under the same name.
    fn within(&mut self, table: &Input) -> Input {
        let name = &table.name;
        let named = |(column, t): &(String, SqlType)| (format!("{name}.{column}"), t.clone());
        let columns: Vec<(String, SqlType)> = table.columns.iter().map(named).collect();
        let side = Side { text: name.clone(), columns };
        let (x, y) = self.comparable(&side, &side);
        let number = self.column(&side, is_integer).unwrap_or_else(|| "(5 + 0)".into());
        let asked = *self.pick(&["IN", "NOT IN", "= ANY", "<= ALL", "<> ALL"]);
        let list = format!("SELECT {y} FROM {name} WHERE {number} % 3 <> 0");
        let text = format!("(SELECT {name}.*, {x} {asked} ({list}) AS q FROM {name}) AS a");
        let named = |(column, t): &(String, SqlType)| (format!("a.{column}"), t.clone());
        let mut columns: Vec<(String, SqlType)> = table.columns.iter().map(named).collect();
        columns.push(("a.q".into(), SqlType::Boolean));
        Input { name: text, columns, append_only: false }
    }

    /// A subquery over the right side that gives one value for each row of the left one, or none.
    fn subquery(&mut self, left: &Side, right: &Side) -> (String, SqlType) {
        let (one, other) = self.comparable(left, right);
        let (x, y) = self.comparable(left, right);
        let from = &right.text;
        let number = self.column(right, is_integer).unwrap_or_else(|| "(5 + 0)".into());
        let filter = match self.random.random_range(0..3) {
            0 => String::new(),
            _ => format!(" WHERE {one} = {other}"),
        };
        let compared = *self.pick(&["=", "<>", "<", "<=", ">", ">="]);
        let quantifier = *self.pick(&["ANY", "ALL"]);
        let not = *self.pick(&["", "NOT "]);
        match self.random.random_range(0..10) {
            8 => {
                let ranked = format!(
                    "SELECT rank() OVER(ORDER BY {number})::bigint AS n FROM {from}{filter}"
                );
                (format!("(SELECT max(n) FROM ({ranked}) AS r)"), SqlType::BigInt)
            }
            9 => {
                let ranked = format!("SELECT count(*) OVER() AS n FROM {from}{filter}");
                let one = *self.pick(&["1", "2", "3"]);
                (format!("{one} {not}IN ({ranked})"), SqlType::Boolean)
            }
            0 => (format!("(SELECT count(*) FROM {from}{filter})"), SqlType::BigInt),
            1 => (format!("(SELECT max({number})::bigint FROM {from}{filter})"), SqlType::BigInt),
            2 => {
                let first = format!("{number} IS NULL, {number}");
                let value = format!("({number})::bigint AS first FROM {from}{filter}");
                (format!("(SELECT {value} ORDER BY {first} LIMIT 1)"), SqlType::BigInt)
            }
            // No row but those that equal the value from outside: there is one group at most.
            3 => {
                let value = format!("count(*) FROM {from} WHERE {one} = {other}");
                (format!("(SELECT {value} GROUP BY {other})"), SqlType::BigInt)
            }
            4 | 5 => {
                let list = format!("SELECT {y} FROM {from}{filter}");
                (format!("{x} {not}IN ({list})"), SqlType::Boolean)
            }
            6 => {
                let list = format!("SELECT {y} FROM {from}{filter}");
                (format!("{x} {compared} {quantifier} ({list})"), SqlType::Boolean)
            }
            _ => {
                let rows = match self.random.random_range(0..6) {
                    0 => format!("SELECT 1 FROM {from}{filter} OFFSET 1"),
                    1 => format!("SELECT max({number}) FROM {from}{filter} HAVING count(*) <> 1"),
                    _ => format!("SELECT 1 FROM {from}{filter}"),
                };
                (format!("{not}EXISTS ({rows})"), SqlType::Boolean)
            }
        }
    }

    /// A subquery in FROM over the right side, for each row of the left one: it tells its rows apart, by
    /// nothing that ties decide. (So PostgreSQL is asked, too: ` OVER ` and `LIMIT ` are not written.)
    fn each(&mut self) -> Input {
        let (left, right) = self.sides();
        let equal = self.equal(&left, &right);
        let own = match self.random.random_range(0..3) {
            0 => format!(" AND {}", self.residual(&right, &right)),
            _ => String::new(),
        };
        let (a, b) = (&left.text, &right.text);
        let value = self.column(&right, is_integer).unwrap_or_else(|| "(5 + 0)".into());
        let order = self.column(&right, is_integer).unwrap_or_else(|| "(6 + 0)".into());
        let from = format!("FROM {b} WHERE {equal}{own}");
        let (skipped, taken) = (self.random.random_range(0..2), self.random.random_range(1..4));
        let rows = match self.random.random_range(0..9) {
            0 => format!("SELECT {value} AS v, rank() OVER(ORDER BY {order})::bigint AS n {from}"),
            1 => format!("SELECT {value} AS v, count(*) OVER() AS n {from}"),
            2 => format!(
                "SELECT {value} AS v, sum({order}) OVER(PARTITION BY {value})::bigint AS n {from}"
            ),
            3 => format!(
                "SELECT {value} AS v, 1::bigint AS n {from} ORDER BY v LIMIT({taken}) OFFSET {skipped}"
            ),
            4 => format!("SELECT DISTINCT {value} AS v, 1::bigint AS n {from}"),
            5 => format!("SELECT {value} AS v, count(*) AS n {from} GROUP BY {value}"),
            6 => format!(
                "SELECT v, dense_rank() OVER(ORDER BY n)::bigint AS n FROM (SELECT {value} AS v, count(*) AS n \
                 {from} GROUP BY {value}) AS g"
            ),
            7 => {
                let (one, other) = self.comparable(&left, &right);
                let whole = format!("SELECT max({value}) AS v, count(*) AS n FROM {b}");
                format!("SELECT v, n FROM ({whole} WHERE {one} = {other}{own}) AS g")
            }
            _ => format!(
                "SELECT v, n FROM (SELECT {value} AS v, rank() OVER(ORDER BY {order})::bigint AS n {from}) AS g \
                 WHERE n <= {taken}"
            ),
        };
        let (join, on) = *self.pick(&[
            ("CROSS JOIN", ""),
            ("LEFT JOIN", " ON true"),
            ("LEFT JOIN", " ON q.n = 1"),
            ("JOIN", " ON q.n > 0"),
        ]);
        let name = format!("{a} {join} LATERAL ({rows}) AS q{on}");
        let mut columns = left.columns;
        columns.push(("q.n".into(), SqlType::BigInt));
        columns.push(("q.v::bigint".into(), SqlType::BigInt));
        Input { name, columns, append_only: false }
    }

    /// INTERSECT and EXCEPT: NULLs are equal.
    fn combined(&mut self) -> Input {
        let (left, right) = self.sides();
        let mut pairs = vec![self.comparable(&left, &right)];
        if self.random.random() {
            pairs.push(self.comparable(&left, &right));
        }
        let list = |of: &dyn Fn(&(String, String)) -> String| {
            let items = pairs.iter().enumerate().map(|(at, pair)| format!("{} AS k{at}", of(pair)));
            items.collect::<Vec<_>>().join(", ")
        };
        let (one, other) = (list(&|pair| pair.0.clone()), list(&|pair| pair.1.clone()));
        let word = *self.pick(&["INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]);
        let (a, b) = (&left.text, &right.text);
        let name = format!("(SELECT {one} FROM {a} {word} SELECT {other} FROM {b}) AS c");
        let typed = pairs.iter().enumerate().filter_map(|(at, pair)| {
            let same = |columns: &[(String, SqlType)], name: &String| {
                columns.iter().find(|(known, _)| known == name).map(|(_, t)| t.clone())
            };
            let types = (same(&left.columns, &pair.0)?, same(&right.columns, &pair.1)?);
            (types.0 == types.1).then(|| (format!("c.k{at}"), types.0))
        });
        let mut columns: Vec<(String, SqlType)> = typed.collect();
        if columns.is_empty() {
            columns.push(("(c.k0 IS NULL)".into(), SqlType::Boolean));
        }
        Input { name, columns, append_only: false }
    }
}
