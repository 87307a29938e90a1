//! The orders in which a suite runs: as it is written, with its views as early as its statements
//! permit (the views first, then what feeds them), or as late (what is there first, then the views).
//!
//! What a view shows must not depend on it. So files stay as they are easiest to read, and the
//! runner moves `CREATE MATERIALIZED VIEW`: up to what the view reads, or down to the first statement
//! that names it. What is sent to topics moves, too: sources are made over empty topics, and rows
//! come when the definitions below are done. Nothing moves over statements that could tell: DROP,
//! SHOW, EXPLAIN, SET, transactions, tables of schema `millrace`. A file whose results do depend on the
//! order, as late rows do, says so: `# views first: no, REASON` or `# views last: no, REASON`.

use std::collections::BTreeSet;

use sqllogictest::{ColumnType, Record, StatementExpect};

/// See the head of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// As it is written.
    #[default]
    Written,
    /// Views before what feeds them.
    ViewsFirst,
    /// Views after what feeds them.
    ViewsLast,
}

impl Order {
    /// False if a file says that its results depend on it.
    pub fn is_allowed(self, text: &str) -> bool {
        let refusal = match self {
            Order::Written => return true,
            Order::ViewsFirst => "# views first: no, ",
            Order::ViewsLast => "# views last: no, ",
        };
        !text.lines().any(|line| line.starts_with(refusal))
    }

    /// The records in this order.
    pub fn arrange<T: ColumnType>(self, records: Vec<Record<T>>) -> Vec<Record<T>> {
        match self {
            Order::Written => records,
            Order::ViewsFirst => views_first(feeds_last(records)),
            Order::ViewsLast => views_last(records),
        }
    }
}

/// Each view as far up as it may stand.
fn views_first<T: ColumnType>(records: Vec<Record<T>>) -> Vec<Record<T>> {
    let mut arranged: Vec<Record<T>> = Vec::new();
    for record in records {
        let Some(view) = view(&record) else {
            arranged.push(record);
            continue;
        };
        let stays = |before: &Record<T>| match sql(before) {
            Some(text) => {
                let made = created(text).is_some_and(|name| view.words.contains(&name));
                made || tells(text) || self::view(before).is_some() || view.is_named(text)
            }
            None => !is_passive(before),
        };
        let at = arranged.iter().rposition(stays).map_or(0, |at| at + 1);
        arranged.insert(at, record);
    }
    arranged
}

/// Each view just before the first statement that needs it.
fn views_last<T: ColumnType>(records: Vec<Record<T>>) -> Vec<Record<T>> {
    let mut arranged = Vec::new();
    let mut waiting: Vec<(View, Record<T>)> = Vec::new();
    for record in records {
        if let Some(view) = view(&record) {
            waiting.push((view, record));
            continue;
        }
        if let Some(text) = sql(&record) {
            let mut needed = words(text);
            // From the last one up: views are needed by views that come later.
            let mut stay: Vec<bool> = waiting.iter().map(|_| true).collect();
            for (at, (view, _)) in waiting.iter().enumerate().rev() {
                if tells(text) || needed.contains(&view.name) {
                    needed.extend(view.words.iter().cloned());
                    stay[at] = false;
                }
            }
            let mut stays = stay.into_iter();
            let (stay, go) = waiting.into_iter().partition(|_| stays.next().unwrap_or(true));
            waiting = stay;
            let go: Vec<(View, Record<T>)> = go;
            arranged.extend(go.into_iter().map(|(_, record)| record));
        }
        arranged.push(record);
    }
    arranged.extend(waiting.into_iter().map(|(_, record)| record));
    arranged
}

/// What is sent to topics comes after the definitions below it; FLUSH waits for it.
fn feeds_last<T: ColumnType>(records: Vec<Record<T>>) -> Vec<Record<T>> {
    let mut arranged = Vec::new();
    let mut feeds: Vec<Record<T>> = Vec::new();
    let mut topics = BTreeSet::new();
    let mut flush: Option<Record<T>> = None;
    for record in records {
        if let Some((topic, empty)) = feed(&record) {
            if topics.insert(topic) {
                arranged.push(empty);
            }
            feeds.push(record);
            continue;
        }
        if is_definition(&record) {
            flush = with_sql(&record, "FLUSH");
        } else if !is_passive(&record) && !matches!(record, Record::Control(_)) && !feeds.is_empty()
        {
            arranged.append(&mut feeds);
            arranged.extend(flush.clone());
        }
        arranged.push(record);
    }
    arranged.append(&mut feeds);
    arranged
}

/// A view that a record makes.
struct View {
    name: String,
    words: BTreeSet<String>,
}

impl View {
    fn is_named(&self, text: &str) -> bool {
        words(text).contains(&self.name)
    }
}

fn view<T: ColumnType>(record: &Record<T>) -> Option<View> {
    let Record::Statement { sql, expected: StatementExpect::Ok, .. } = record else { return None };
    if !sql.to_uppercase().starts_with("CREATE MATERIALIZED VIEW") {
        return None;
    }
    Some(View { name: created(sql)?, words: words(sql) })
}

/// The name that a CREATE statement makes.
fn created(sql: &str) -> Option<String> {
    const BEFORE: [&str; 8] =
        ["CREATE", "MATERIALIZED", "VIEW", "TABLE", "SOURCE", "IF", "NOT", "EXISTS"];
    let mut words = sql.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
    words.next().filter(|first| first.eq_ignore_ascii_case("CREATE"))?;
    let name = words.find(|word| !BEFORE.contains(&word.to_uppercase().as_str()))?;
    Some(name.to_lowercase())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn words(sql: &str) -> BTreeSet<String> {
    sql.split(|c: char| !is_word(c)).map(str::to_lowercase).collect()
}

fn sql<T: ColumnType>(record: &Record<T>) -> Option<&str> {
    match record {
        Record::Statement { sql, .. } | Record::Query { sql, .. } => Some(sql),
        _ => None,
    }
}

fn with_sql<T: ColumnType>(record: &Record<T>, text: &str) -> Option<Record<T>> {
    let mut record = record.clone();
    let Record::Statement { sql, .. } = &mut record else { return None };
    text.clone_into(sql);
    Some(record)
}

/// True for a statement whose result may tell when a view was made.
fn tells(sql: &str) -> bool {
    const FIRST: [&str; 15] = [
        "DROP",
        "SHOW",
        "EXPLAIN",
        "DESCRIBE",
        "SET",
        "RESET",
        "BEGIN",
        "START",
        "COMMIT",
        "END",
        "ROLLBACK",
        "ABORT",
        "SAVEPOINT",
        "RELEASE",
        "ALTER",
    ];
    let first = sql.split(|c: char| !is_word(c)).next().unwrap_or_default().to_uppercase();
    FIRST.contains(&first.as_str()) || sql.contains("millrace.") || sql.contains("pg_c")
}

/// True for what says nothing and does nothing.
fn is_passive<T: ColumnType>(record: &Record<T>) -> bool {
    matches!(
        record,
        Record::Comment(_) | Record::Newline | Record::System { .. } | Record::Subtest { .. }
    )
}

/// True for what is the same whether or not there are rows in the topics.
fn is_definition<T: ColumnType>(record: &Record<T>) -> bool {
    let Record::Statement { sql, expected: StatementExpect::Ok, .. } = record else { return false };
    created(sql).is_some() && !sql.contains("schema.infer") && !sql.contains("scan.startup")
}

/// The topic that a record sends rows to, and the record without rows: it makes the topic.
fn feed<T: ColumnType>(record: &Record<T>) -> Option<(String, Record<T>)> {
    let mut empty = record.clone();
    let Record::System { command, .. } = &mut empty else { return None };
    let mut words = command.split_whitespace().map(str::to_owned);
    let program = words.next().filter(|word| word == "$__PRODUCE__")?;
    let (topic, partitions) = (words.next()?, words.next()?);
    *command = format!("{program} {topic} {partitions} </dev/null");
    Some((topic, empty))
}

#[cfg(test)]
mod tests {
    use sqllogictest::DefaultColumnType;

    use super::*;

    const SUITE: &str = "\
statement ok
CREATE TABLE t (a INT)

statement ok
CREATE TABLE u (a INT)

statement ok
INSERT INTO t VALUES (1)

statement ok
CREATE MATERIALIZED VIEW v AS SELECT a FROM t

statement ok
CREATE MATERIALIZED VIEW w AS SELECT a FROM v

statement ok
INSERT INTO u VALUES (2)

query I
SELECT a FROM u
----
2

query I
SELECT a FROM w
----
1

statement ok
DROP MATERIALIZED VIEW w
";

    fn order(order: Order, suite: &str) -> Vec<String> {
        let records = sqllogictest::parse::<DefaultColumnType>(suite).unwrap();
        let arranged = order.arrange(records);
        let shown = arranged.iter().filter_map(|record| match record {
            Record::System { command, .. } => {
                Some(command.lines().next().unwrap_or_default().to_owned())
            }
            _ => sql(record).map(str::to_owned),
        });
        shown.map(|text| text.split(" AS ").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn views_move_up_to_what_they_read() {
        assert_eq!(
            order(Order::ViewsFirst, SUITE)[1..5],
            [
                "CREATE MATERIALIZED VIEW v",
                "CREATE MATERIALIZED VIEW w",
                "CREATE TABLE u (a INT)",
                "INSERT INTO t VALUES (1)",
            ]
        );
    }

    #[test]
    fn views_move_down_to_what_reads_them() {
        assert_eq!(
            order(Order::ViewsLast, SUITE)[2..],
            [
                "INSERT INTO t VALUES (1)",
                "INSERT INTO u VALUES (2)",
                "SELECT a FROM u",
                "CREATE MATERIALIZED VIEW v",
                "CREATE MATERIALIZED VIEW w",
                "SELECT a FROM w",
                "DROP MATERIALIZED VIEW w",
            ]
        );
    }

    #[test]
    fn rows_of_topics_come_after_the_definitions() {
        let suite = "\
system ok
$__PRODUCE__ $__TOPIC__ 2 <<'EOF'
0 {}
EOF

statement ok
CREATE SOURCE s (a INT) WITH (connector = 'kafka')

statement ok
CREATE MATERIALIZED VIEW v AS SELECT a FROM s

query I
SELECT a FROM v
----
";
        assert_eq!(
            order(Order::ViewsFirst, suite),
            [
                "$__PRODUCE__ $__TOPIC__ 2 </dev/null",
                "CREATE SOURCE s (a INT) WITH (connector = 'kafka')",
                "CREATE MATERIALIZED VIEW v",
                "$__PRODUCE__ $__TOPIC__ 2 <<'EOF'",
                "FLUSH",
                "SELECT a FROM v",
            ]
        );
    }
}
