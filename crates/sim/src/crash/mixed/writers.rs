//! Writers of tables, each with rows of its own that it knows exactly: what was acknowledged is there, and what was
//! sent as the connection broke is there wholly or not at all. A writer looks after each new connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::SinkExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;
use tokio_postgres::{Client, Error};

use super::super::lives::{Lives, is_end};
use super::WRITERS;
use super::readers::Seen;
use super::schema::{ACCOUNTS, SENSORS};
use crate::server::rows;
use crate::tpch;

/// Above this many rows it takes some away.
const ROWS_MAX: usize = 400;
const KINDS: [&str; 4] = ["red", "green", "blue", "a, \"b\""];

/// All rows of a writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Own {
    /// Of `events`: amount and kind by id.
    events: BTreeMap<i64, (i64, usize)>,
    /// Of `sensors`: the factor by id.
    sensors: BTreeMap<i64, i64>,
    /// How many of `transfers`.
    transfers: i64,
}

/// See the module's documentation.
pub(super) struct Writer {
    id: i64,
    random: StdRng,
    next: i64,
    own: Own,
    /// What it would be if the last change happened, of which nobody has heard.
    doubtful: Option<Own>,
}

/// How a change is sent.
enum Change {
    Text(String),
    /// Statements of a transaction, one by one.
    Steps(Vec<String>),
    Copy(String),
    /// A COPY whose client goes away in its midst.
    Left(String),
}

impl Writer {
    pub(super) fn new(id: i64, seed: u64) -> Writer {
        let random = StdRng::seed_from_u64(seed ^ (0x7772 + id.unsigned_abs()));
        Writer { id, random, next: 0, own: Own::default(), doubtful: None }
    }

    /// Works until told to stop, over lost connections; rests after half of the changes.
    pub(super) async fn work(mut self, mut lives: Lives, seen: Arc<Seen>, rest_ms: u64) -> Writer {
        while let Some(client) = lives.connect().await {
            if !self.settle(&client).await {
                continue;
            }
            while lives.go_on() {
                match self.change(&client).await {
                    true => drop(seen.acknowledged.fetch_add(1, Ordering::SeqCst)),
                    false => break,
                }
                if self.random.random_bool(0.5) {
                    sleep(Duration::from_millis(self.random.random_range(0..=rest_ms))).await;
                }
            }
        }
        self
    }

    /// Looks whether its rows are what they must be, and what became of the last change. False if the server went.
    pub(super) async fn settle(&mut self, client: &Client) -> bool {
        let Ok(found) = self.read(client).await else { return false };
        if let Some(doubtful) = self.doubtful.take()
            && doubtful == found
        {
            self.own = doubtful;
        }
        self.assert_own(&found);
        true
    }

    fn assert_own(&self, found: &Own) {
        if *found == self.own {
            return;
        }
        let ids: BTreeSet<_> = found.events.keys().chain(self.own.events.keys()).collect();
        let pair = |id: &i64| (found.events.get(id).copied(), self.own.events.get(id).copied());
        let other = ids.into_iter().filter(|id| pair(id).0 != pair(id).1);
        let events: Vec<String> = other
            .take(10)
            .map(|id| format!("{id}: {:?}, not {:?}", pair(id).0, pair(id).1))
            .collect();
        let (found, own) =
            ((&found.sensors, found.transfers), (&self.own.sensors, self.own.transfers));
        panic!("writer {}: {events:?}, {found:?}, not {own:?}", self.id);
    }

    async fn read(&self, client: &Client) -> Result<Own, Error> {
        let id = self.id;
        let sql = format!("SELECT id, amount, kind FROM events WHERE writer = {id}");
        let mut own = Own::default();
        let number = |text: &Option<String>| -> i64 {
            text.as_deref().and_then(|text| text.parse().ok()).expect("a number")
        };
        for row in rows(client, &sql).await? {
            let kind = KINDS.iter().position(|kind| row[2].as_deref() == Some(*kind));
            own.events.insert(number(&row[0]), (number(&row[1]), kind.expect("a kind")));
        }
        let sql = format!("SELECT id, factor FROM sensors WHERE id % {WRITERS} = {id}");
        let sensors = rows(client, &sql).await?;
        own.sensors = sensors.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
        let sql = format!("SELECT count(*) FROM transfers WHERE writer = {id}");
        own.transfers = number(&rows(client, &sql).await?[0][0]);
        Ok(own)
    }

    /// One change, and now and then a look at what it gave; false if the connection is no more.
    async fn change(&mut self, client: &Client) -> bool {
        let mut own = self.own.clone();
        let change = self.random_change(&mut own);
        if let Change::Left(lines) = &change {
            leave(client, lines).await;
            return false;
        }
        match send(client, &change).await {
            Ok(()) => self.own = own,
            // Another writer had the accounts.
            Err(error) if is_conflict(&error) => {
                return client.batch_execute("ROLLBACK").await.is_ok();
            }
            Err(error) => {
                assert!(is_end(&error), "a change is refused: {error:?}");
                self.doubtful = Some(own);
                return false;
            }
        }
        !self.random.random_ratio(1, 8) || self.look(client).await
    }

    /// What has been acknowledged is seen, in a view over views too.
    async fn look(&self, client: &Client) -> bool {
        let sql = format!(
            "SELECT coalesce(sum(n), 0)::bigint, coalesce(sum(total), 0)::bigint FROM sums WHERE writer = {}",
            self.id
        );
        match rows(client, &sql).await {
            Ok(_) if self.own.events.is_empty() => true,
            Ok(found) => {
                let total: i64 = self.own.events.values().map(|(amount, _)| amount).sum();
                let wanted = [self.own.events.len().to_string(), total.to_string()].map(Some);
                assert_eq!(found, [wanted], "writer {} sees what it has written", self.id);
                true
            }
            Err(error) => {
                assert!(is_end(&error), "{sql}: {error:?}");
                false
            }
        }
    }

    fn random_change(&mut self, own: &mut Own) -> Change {
        if own.events.len() > ROWS_MAX {
            return Change::Text(self.delete(own));
        }
        match self.random.random_range(0..16) {
            0..4 => Change::Text(self.insert(own)),
            4..6 => Change::Copy(self.lines(own)),
            6 => Change::Left(self.lines(&mut own.clone())),
            7..9 => Change::Text(self.update(own)),
            9 => Change::Text(self.delete(own)),
            10 => Change::Text(self.sensor(own)),
            11 => {
                let (insert, delete) =
                    (self.insert(&mut own.clone()), self.delete(&mut own.clone()));
                Change::Text(format!("BEGIN; {insert}; {delete}; ROLLBACK"))
            }
            _ => {
                let mut steps = vec!["BEGIN".to_owned(), self.insert(own)];
                steps.extend(self.transfer(own));
                steps.extend([self.update(own), "COMMIT".to_owned()]);
                match self.random.random_bool(0.5) {
                    true => Change::Steps(steps),
                    false => Change::Text(steps.join("; ")),
                }
            }
        }
    }

    /// New rows, in the model already.
    fn rows(&mut self, own: &mut Own) -> Vec<(i64, usize, i64)> {
        let count = self.random.random_range(1..30);
        (0..count)
            .map(|_| {
                let id = self.id * 1_000_000_000 + self.next;
                self.next += 1;
                let (kind, amount) =
                    (self.random.random_range(0..KINDS.len()), self.random.random_range(0..500));
                own.events.insert(id, (amount, kind));
                (id, kind, amount)
            })
            .collect()
    }

    fn insert(&mut self, own: &mut Own) -> String {
        let rows: Vec<String> = self
            .rows(own)
            .into_iter()
            .map(|(id, kind, amount)| format!("({id}, {}, '{}', {amount})", self.id, KINDS[kind]))
            .collect();
        format!("INSERT INTO events VALUES {}", rows.join(", "))
    }

    fn lines(&mut self, own: &mut Own) -> String {
        self.rows(own)
            .into_iter()
            .map(|(id, kind, amount)| {
                let kind = KINDS[kind].replace('"', "\"\"");
                format!("{id},{},\"{kind}\",{amount}\n", self.id)
            })
            .collect()
    }

    /// A part of its rows: those that give a remainder.
    fn part(&mut self) -> (i64, i64) {
        let divisor = self.random.random_range(2..20);
        (divisor, self.random.random_range(0..divisor))
    }

    fn update(&mut self, own: &mut Own) -> String {
        let ((divisor, rest), more) = (self.part(), self.random.random_range(-9..10));
        let touched = own.events.iter_mut().filter(|(id, _)| *id % divisor == rest);
        touched.for_each(|(_, row)| row.0 += more);
        let id = self.id;
        format!(
            "UPDATE events SET amount = amount + {more} WHERE writer = {id} AND id % {divisor} = {rest}"
        )
    }

    fn delete(&mut self, own: &mut Own) -> String {
        let (divisor, rest) = self.part();
        own.events.retain(|id, _| id % divisor != rest);
        format!("DELETE FROM events WHERE writer = {} AND id % {divisor} = {rest}", self.id)
    }

    fn sensor(&mut self, own: &mut Own) -> String {
        let id = self.random.random_range(0..SENSORS) / WRITERS * WRITERS + self.id;
        if own.sensors.contains_key(&id) && self.random.random_ratio(1, 4) {
            own.sensors.remove(&id);
            return format!("DELETE FROM sensors WHERE id = {id}");
        }
        let factor = self.random.random_range(1..10);
        own.sensors.insert(id, factor);
        format!(
            "INSERT INTO sensors VALUES ({id}, 'town {}', {factor}) ON CONFLICT (id) \
             DO UPDATE SET town = excluded.town, factor = excluded.factor",
            factor % 3
        )
    }

    fn transfer(&mut self, own: &mut Own) -> Vec<String> {
        let (origin, target) =
            (self.random.random_range(1..=ACCOUNTS), self.random.random_range(1..=ACCOUNTS));
        let (id, amount) = (self.id, self.random.random_range(1..20));
        own.transfers += 1;
        vec![
            format!("UPDATE accounts SET balance = balance - {amount} WHERE id = {origin}"),
            format!("UPDATE accounts SET balance = balance + {amount} WHERE id = {target}"),
            format!("INSERT INTO transfers VALUES ({id}, {origin}, {target}, {amount})"),
        ]
    }
}

async fn send(client: &Client, change: &Change) -> Result<(), Error> {
    match change {
        Change::Text(text) => client.batch_execute(text).await,
        Change::Copy(lines) | Change::Left(lines) => {
            tpch::copy(client, "events", lines.clone()).await
        }
        Change::Steps(steps) => {
            for step in steps {
                client.batch_execute(step).await?;
            }
            Ok(())
        }
    }
}

/// Begins a COPY and goes away; nothing of it must stay.
async fn leave(client: &Client, lines: &str) {
    let statement = "COPY events FROM STDIN (FORMAT csv)";
    let Ok(sink) = client.copy_in::<_, Cursor<Vec<u8>>>(statement).await else { return };
    let mut sink = Box::pin(sink);
    drop(sink.send(Cursor::new(lines.as_bytes().to_vec())).await);
}

fn is_conflict(error: &Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code(), "40001" | "55P03" | "40P01"))
}
