//! The loop of every fuzzer: seeds, a time, a watchdog, a bound on memory.
//!
//! It knows only the standard library, because crates below `sim` take it into their tests by its path. Input
//! n of a run is made from seed + n alone, so that one number repeats it: `MILLRACE_SEED=...` runs that input first.
//! `MILLRACE_FUZZ_SECONDS` is the time of each fuzzer.
//!
//! Invariants: 1. an input that panics, takes longer than [`LIMIT`], or makes the process grow by [`GROWTH_MAX`]
//! bytes ends the run and names its seed; the latter two end the process, since nothing else ends a loop. 2. before
//! an input runs its seed stands in a file below the system's directory for temporary ones, for what ends the process itself.

#![allow(dead_code, reason = "each fuzzer takes what it needs")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long one input may take, in a debug build on a busy machine; a round of the server is one.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// By how many bytes the process may grow; other tests run in it.
pub(crate) const GROWTH_MAX: u64 = 3 << 30;
/// The time of a fuzzer that nobody has set.
const SECONDS: u64 = 8;
/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(200);

/// Random numbers from a seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x6a09_e667_f3bc_c908);
        random.number();
        random
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.number() % end).expect("it is below a usize")
    }

    /// True once in `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.number().to_le_bytes()[0]
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, of: &'a [&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// Changes some bytes: flips, cuts, doubles, puts in, numbers at their ends.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let until = (at + self.below(16)).min(bytes.len());
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..until)),
                2 => {
                    let again = bytes[at..until].to_vec();
                    bytes.splice(at..at, again);
                }
                3 => {
                    let count = self.below(9);
                    let new = self.bytes(count);
                    bytes.splice(at..at, new);
                }
                4 => {
                    let value = *self.pick(&[&0x00, &0xff, &0x7f, &0x80, &0x01]);
                    let until = (at + [1, 2, 4, 8][self.below(4)]).min(bytes.len());
                    bytes[at..until].fill(value);
                }
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => bytes.push(self.byte()),
            }
        }
    }
}

/// What a run has done, for its last line.
pub(crate) struct Ran {
    pub(crate) inputs: u64,
    pub(crate) accepted: u64,
    pub(crate) seconds: u64,
}

/// Where a run stands, for the watchdog.
struct Standing {
    seed: AtomicU64,
    since: Mutex<Instant>,
}

/// Runs inputs until the time is over. `one` is true if the input was taken for good, so that a fuzzer whose inputs are
/// all refused at once shows itself.
pub(crate) fn fuzz(name: &str, one: impl FnMut(&mut Random) -> bool) -> Ran {
    fuzz_some(name, None, one)
}

/// The same, of so many inputs where no time was asked for: the check of a change is the same on each machine.
#[allow(clippy::disallowed_methods, reason = "how long to go on is no part of what is tested")]
pub(crate) fn fuzz_some(
    name: &str,
    count: Option<u64>,
    mut one: impl FnMut(&mut Random) -> bool,
) -> Ran {
    let begin = Instant::now();
    let asked = number("MILLRACE_FUZZ_SECONDS");
    let seconds = asked.unwrap_or(SECONDS);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let fresh = now.map_or(1, |now| now.as_secs()) * 1_000_000;
    // The check of a change runs the same inputs each time; who asks for a time wants others.
    let first = number("MILLRACE_SEED").unwrap_or(if asked.is_some() { fresh } else { 1 });
    println!("{name}: from MILLRACE_SEED={first} on");
    let standing = Standing { seed: AtomicU64::new(first), since: Mutex::new(begin) };
    let standing = Arc::new(standing);
    let (end, watchdog) = watch(name, &standing);
    let path = std::env::temp_dir().join(format!("millrace-fuzz-{}", name.replace(' ', "-")));
    let noted = File::create(&path).expect("a file for the seed");
    let (mut inputs, mut accepted) = (0, 0);
    let count = count.filter(|_| asked.is_none());
    let goes_on = |inputs| match count {
        Some(count) => inputs < count,
        None => begin.elapsed() < Duration::from_secs(seconds),
    };
    while goes_on(inputs) || inputs == 0 {
        let seed = first.wrapping_add(inputs);
        standing.seed.store(seed, Ordering::Relaxed);
        *standing.since.lock().expect("nothing panics with it") = Instant::now();
        noted.write_all_at(format!("MILLRACE_SEED={seed:020}\n").as_bytes(), 0).expect("a seed");
        let named = Named(name, seed);
        accepted += u64::from(one(&mut Random::new(seed)));
        inputs += 1;
        std::mem::forget(named);
    }
    drop(end);
    watchdog.join().expect("it only looks");
    drop(std::fs::remove_file(path));
    let ran = Ran { inputs, accepted, seconds: begin.elapsed().as_secs() };
    println!("{name}: {inputs} inputs, {accepted} of them taken, {} s", ran.seconds);
    ran
}

/// Says which input it was that panicked.
struct Named<'a>(&'a str, u64);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        println!("{}: MILLRACE_SEED={} repeats it", self.0, self.1);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[allow(clippy::disallowed_methods, reason = "a time limit in a test")]
fn watch(name: &str, standing: &Arc<Standing>) -> (Sender<()>, JoinHandle<()>) {
    let (end, ended): (Sender<()>, Receiver<()>) = channel();
    let (name, standing) = (name.to_owned(), Arc::clone(standing));
    let begin = resident_bytes();
    let look = move || {
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let seed = standing.seed.load(Ordering::Relaxed);
            let took = standing.since.lock().map_or(Duration::ZERO, |since| since.elapsed());
            let grown = resident_bytes().saturating_sub(begin);
            if took > LIMIT || grown > GROWTH_MAX {
                eprintln!("{name}: MILLRACE_SEED={seed} takes {took:?}, {grown} bytes more");
                std::process::abort();
            }
        }
    };
    let thread = std::thread::Builder::new().name("fuzz-watchdog".to_owned()).spawn(look);
    (end, thread.expect("a thread"))
}

/// The memory of this process (`VmRSS`).
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() << 10
}

/// True since a thread whose name begins with `prefix` has panicked: a server keeps panics from its other clients, and
/// would keep them from the fuzzer.
pub(crate) fn panics_of(prefix: &'static str) -> &'static AtomicBool {
    static SEEN: AtomicBool = AtomicBool::new(false);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name().is_some_and(|name| name.starts_with(prefix)) {
                SEEN.store(true, Ordering::SeqCst);
            }
            before(panic);
        }));
    });
    &SEEN
}
