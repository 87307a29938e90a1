//! The oracle: a maintained view equals its query over the rows so far.
//!
//! A case is random but for its seed: a source with columns of all types, one or two views over it
//! from the supported grammar, rows cut into epochs, a number of workers, and moments at which the
//! dataflow stops and goes on from its last checkpoint with another number of workers. After every
//! epoch the sum of the view's changes is compared with DataFusion's batch answer for the same
//! query. A twin with one worker that never stops, and in half of the cases never lets state go, must
//! give the same changes in every epoch, and one that nobody follows the same content.
//!
//! `MILLRACE_SEED=n` runs one case. `MILLRACE_ORACLE_SECONDS=n` runs fresh ones for that long, or
//! those from `MILLRACE_ORACLE_FROM`: it says every ten seconds how many pairs of a query and its
//! script were equal and where to go on, keeps going after a failure, ends a case that does not end, and
//! says at the end how often each thing was reached. A failure prints the seed and the queries ([`fresh`]).
//!
//! Invariants: 1. no weight of a view's content is negative after an epoch. 2. the standard run
//! reaches every function and every kind of step ([`coverage`]).

mod batch;
mod case;
mod content;
mod cost;
mod coverage;
mod data;
mod endless;
mod fresh;
mod join;
mod lookup;
mod negative;
mod newest;
mod over;
mod patterns;
mod postgres;
mod query;
mod ranked;
mod running;
pub(crate) mod scalar;
mod shown;
mod sql;
mod timed;
mod unclean;

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::case::Case;
use self::coverage::Coverage;

/// Cases of a run without a time of its own.
const CASES: u64 = 1500;
/// Up to which seed cases are looked through for what those have not reached.
const SOUGHT: u64 = 10_000;

/// Runs one case and says how many queries it kept; panics, with the seed and the queries printed,
/// if it finds a difference.
fn run(seed: u64, coverage: &mut Coverage) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let mut story = Story { seed, text: String::new() };
    let case = Case::random(&mut random);
    story.text = case.describe();
    case.run(&mut random, coverage);
    case.queries()
}

/// Runs further cases that are made of something which was not reached, until nothing lacks.
///
/// # Panics
/// As [`run`] does, and with what lacks at the end.
fn seek(coverage: &mut Coverage) {
    let sql = sql::Sql::new(true);
    let mut never = coverage.never(sql.state());
    for seed in CASES..SOUGHT {
        if never.is_empty() {
            return;
        }
        let mut made_of = Coverage::default();
        Case::random(&mut StdRng::seed_from_u64(seed)).count(&mut made_of);
        if made_of.reached(&never) {
            run(seed, coverage);
            never = coverage.never(sql.state());
        }
    }
    coverage.check(sql.state());
}

/// Prints what was run if it panics.
struct Story {
    seed: u64,
    text: String,
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("MILLRACE_SEED={} failed:\n{}", self.seed, self.text);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

#[test]
fn a_view_equals_its_query_over_the_rows_so_far() {
    let mut coverage = Coverage::default();
    if let Some(seed) = number("MILLRACE_SEED") {
        run(seed, &mut coverage);
    } else if let Some(seconds) = number("MILLRACE_ORACLE_SECONDS") {
        fresh::run_for(seconds, number("MILLRACE_ORACLE_FROM"), &mut coverage);
        eprintln!("reached: {}", coverage.say());
        eprintln!("not reached: {:?}", coverage.never(sql::Sql::new(true).state()));
    } else {
        (0..CASES).for_each(|seed| {
            run(seed, &mut coverage);
        });
        seek(&mut coverage);
    }
}
