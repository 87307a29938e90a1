//! `millrace-bench`: what the server costs, next to what its parts cost alone.
//!
//! Each measure starts the server it needs, and the parts it is compared with run in processes of
//! their own, so that CPU time and memory belong to one thing. `scripts/bench` builds everything
//! optimised and starts a broker. Figures go to standard output, what happens to standard error.

mod fan_out;
mod freshness;
mod lookups;
mod many;
mod nexmark;
mod outward;
mod process;
mod report;
mod sensor;
mod soak;
mod state;
mod topic;
mod tpch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_sim::server::program;

use self::report::Report;
use self::topic::{Compression, Load};

type Failure = Box<dyn std::error::Error>;

/// Measures Millrace.
#[derive(Parser)]
struct Arguments {
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// The broker
    #[arg(long, global = true, env = "MILLRACE_TEST_KAFKA", value_name = "HOST:PORT")]
    broker: Option<String>,
    /// Options for `millrace serve`, as one argument: --serve="--workers 1"
    #[arg(long, global = true, default_value = "", allow_hyphen_values = true)]
    serve: String,
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Make a topic and fill it with readings
    Produce {
        /// The topic; an old one of this name is deleted
        topic: String,
        #[command(flatten)]
        load: Load,
    },
    /// The sensor job: a bare consumer, with decoding, and the server over the same topic
    Sensor {
        #[command(flatten)]
        load: Load,
        /// How often each is measured; the median counts
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Another `millrace` that is measured in turns, such as that of an earlier commit
        #[arg(long, value_name = "PROGRAM")]
        against: Option<PathBuf>,
    },
    /// The sensor job with many sensors against the same with few
    Cardinality {
        #[command(flatten)]
        load: Load,
        /// The many
        #[arg(long, default_value_t = 1_000_000)]
        many: u64,
        /// How often each is measured; the median counts
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// From produced to visible in SELECT at a steady rate
    Freshness {
        /// Readings per second
        #[arg(long, default_value_t = 50_000)]
        rate: u64,
        /// Seconds that are measured
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Sensors, one after the other
        #[arg(long, default_value_t = 10_000)]
        sensors: u64,
    },
    /// Bytes written per changed row with few and with many keys
    Written {
        /// Readings per second while it is measured
        #[arg(long, default_value_t = 20_000)]
        rate: u64,
        /// Seconds that are measured
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// What a history and a sink of the sensor view cost at a steady rate
    Outward {
        /// Readings per second
        #[arg(long, default_value_t = 50_000)]
        rate: u64,
        /// Seconds that are measured
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// Six hours of a large view, aggregated
    Range {
        /// Rows of the view
        #[arg(long, default_value_t = 10_000_000)]
        rows: u64,
        /// Sensors, each with a row a minute: the fewer, the longer the history and the less of it
        /// are six hours
        #[arg(long, default_value_t = 10_000)]
        sensors: u64,
    },
    /// One sensor's last windows while readings come in
    Point {
        #[command(flatten)]
        load: Load,
    },
    /// Start on an empty directory, and again with a filled view
    Start {
        /// Rows of the view
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
    },
    /// More state than memory, for an hour: memory, rate, what is counted, recovery
    Soak(soak::Soak),
    /// Nexmark's queries, each in a server of its own, without a broker
    Nexmark(nexmark::Nexmark),
    /// TPC-H's queries over tables whose rows come and go, without a broker
    Tpch(tpch::Tpch),
    /// Look-ups by key, connecting, a million rows to psql, without a broker
    Lookups(lookups::Lookups),
    /// Many small views on one source, without a broker
    ManyViews(many::Many),
    /// One row that joins with very many, without a broker
    FanOut(fan_out::FanOut),
    /// Both JSON decoders, without a broker
    Decode {
        /// Messages
        #[arg(long, default_value_t = 5_000_000)]
        messages: u64,
    },
}

/// What every measure needs to know.
#[derive(Clone)]
struct Setting {
    broker: String,
    serve: Vec<String>,
    program: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(report) => {
            report.print(arguments.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            report::say(&format!("millrace-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let broker = || arguments.broker.clone().ok_or("which broker? --broker or scripts/bench");
    let serve = arguments.serve.split_whitespace().map(str::to_owned).collect();
    let alone = Setting { broker: String::new(), serve, program: program("millrace") };
    match &arguments.measure {
        Measure::Nexmark(nexmark) => nexmark::measure(&alone, nexmark).await,
        Measure::Tpch(tpch) => tpch::measure(&alone, tpch).await,
        Measure::FanOut(fan) => fan_out::measure(&alone, fan).await,
        Measure::Lookups(lookups) => lookups::measure(&alone, lookups).await,
        Measure::ManyViews(many) => many::measure(&alone, many).await,
        Measure::Decode { messages } => sensor::decode(*messages).await,
        measure => over_kafka(&Setting { broker: broker()?, ..alone }, measure).await,
    }
}

/// The measures that read from a broker.
async fn over_kafka(setting: &Setting, measure: &Measure) -> Result<Report, Failure> {
    match measure {
        Measure::Produce { topic, load } => topic::fill(&setting.broker, topic, load).await,
        Measure::Sensor { load, runs, against } => {
            sensor::measure(setting, load, (*runs).max(1), against.as_deref()).await
        }
        Measure::Cardinality { load, many, runs } => {
            sensor::cardinality(setting, load, *many, (*runs).max(1)).await
        }
        Measure::Freshness { rate, seconds, sensors } => {
            freshness::measure(setting, *rate, *seconds, *sensors).await
        }
        Measure::Written { rate, seconds } => state::written(setting, *rate, *seconds).await,
        Measure::Outward { rate, seconds } => outward::measure(setting, *rate, *seconds).await,
        Measure::Range { rows, sensors } => state::range(setting, *rows, *sensors).await,
        Measure::Point { load } => state::point(setting, load).await,
        Measure::Start { rows } => state::start(setting, *rows).await,
        Measure::Soak(soak) => soak::measure(setting, soak).await,
        _ => Err("it needs no broker".into()),
    }
}

impl Default for Load {
    fn default() -> Load {
        Load {
            messages: 5_000_000,
            sensors: 10_000,
            partitions: 4,
            compression: Compression::Lz4,
            per_second: 100_000,
            seed: 42,
        }
    }
}
