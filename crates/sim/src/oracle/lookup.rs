//! Random temporal joins: rows of the source, each with what a table or a view holds at the end of the
//! epoch in which the row comes.
//!
//! What they give is no function of the present tables, so it has a model of its own: after each epoch the
//! join of that epoch's rows with the present tables is added to what earlier epochs gave. The queries
//! above read that as a table.

use rand::Rng;
use rand::rngs::StdRng;

use super::query::{self, Input, Query, is_integer};

/// The name of the joined rows in a query.
pub(super) const LOOKED_UP: &str = "looked_up";

/// The words that make a join a temporal one.
const NOW: &str = " FOR SYSTEM_TIME AS OF PROCTIME()";

/// A query whose rows are looked up, if some input only appends and another does not.
pub(super) fn query(inputs: &[Input], random: &mut StdRng) -> Option<Query> {
    let stream = inputs.iter().find(|input| input.append_only)?;
    let tables: Vec<&Input> = inputs.iter().filter(|input| !input.append_only).collect();
    let table = tables[random.random_range(0..tables.len().max(1)).min(tables.len() - 1)];
    let integers: Vec<&String> =
        table.columns.iter().filter(|(_, t)| is_integer(t)).map(|(name, _)| name).collect();
    let key = integers.get(random.random_range(0..4)).or(integers.first())?;
    let own = ["i", "i", "i", "u"][random.random_range(0..4)];
    let mut columns = stream.columns.clone();
    let mut items: Vec<String> = columns.iter().map(|(name, _)| format!("a.{name}")).collect();
    for (at, (name, sql_type)) in table.columns.iter().take(3).enumerate() {
        columns.push((format!("x{at}"), sql_type.clone()));
        items.push(format!("b.{name} AS x{at}"));
    }
    let rest = random.random_range(0..4);
    let left = match random.random_range(0..3) {
        0 => stream.name.clone(),
        _ => format!("(SELECT * FROM {} WHERE u % 4 <> {rest})", stream.name),
    };
    let kind = ["JOIN", "LEFT JOIN"][random.random_range(0..2)];
    let more = match random.random_range(0..5) {
        0 => format!(" AND (b.{key} <> 1 OR a.u % 2 = 0)"),
        1 => format!(" AND b.{key} >= 0"),
        _ => String::new(),
    };
    let filter = match random.random_range(0..5) {
        0 => " WHERE a.u % 5 <> 2".to_owned(),
        _ => String::new(),
    };
    let items = items.join(", ");
    let rows = format!(
        "(SELECT {items} FROM {left} AS a {kind} {}{NOW} AS b ON a.{own} = b.{key}{more}{filter})",
        table.name
    );
    let input = Input { name: LOOKED_UP.to_owned(), columns, append_only: true };
    // A temporal filter would be moved below the join, whose rows would then go.
    let text = query::query(&input, random);
    (!text.text.contains("now()")).then_some(Query { lookup: Some(rows), ..text })
}
