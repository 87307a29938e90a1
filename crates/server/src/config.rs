//! Options of `millrace serve`: from the command line, `MILLRACE_*` variables and a TOML file, in
//! this order of strength.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_types::Concealed;
use serde::Deserialize;

use crate::log::LogFormat;
use crate::memory;

/// How long bad messages and late rows are kept, by default: 30 days.
const KEPT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a client over HTTP may take, by default.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// Which store keeps catalog, epoch log and manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// fjall, the default.
    Fjall,
    /// sled.
    Sled,
}

/// Options as they are written: each may be absent.
#[derive(Args, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Options {
    /// TOML file with any of these options
    #[arg(long, env = "MILLRACE_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Directory of all durable data [default: millrace-data]
    #[arg(long, env = "MILLRACE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address for Postgres clients; port 0 takes a free one [default: 127.0.0.1:4567]
    #[arg(long, env = "MILLRACE_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    #[serde(default, deserialize_with = "address_text")]
    pub listen: Option<SocketAddr>,
    /// Worker threads [default: number of cores]
    #[arg(long, env = "MILLRACE_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// Metadata store; fixed when the data directory is made [default: fjall]
    #[arg(long, env = "MILLRACE_STORE")]
    pub store: Option<StoreKind>,
    /// How long rows are gathered before they become visible together [default: 100ms]
    #[arg(long, env = "MILLRACE_EPOCH_INTERVAL", value_name = "DURATION", value_parser = duration)]
    #[serde(default, deserialize_with = "duration_text")]
    pub epoch_interval: Option<Duration>,
    /// How often state is written to disk, bounds the work of a recovery [default: 2s]
    #[arg(long, env = "MILLRACE_CHECKPOINT_INTERVAL", value_name = "DURATION", value_parser = duration)]
    #[serde(default, deserialize_with = "duration_text")]
    pub checkpoint_interval: Option<Duration>,
    /// Memory above which checkpoints are forced and readers wait [default: 70% of the machine's, or of its container's]
    #[arg(long, env = "MILLRACE_MEMORY_LIMIT", value_name = "SIZE", value_parser = size)]
    #[serde(default, deserialize_with = "size_text")]
    pub memory_limit: Option<usize>,
    /// Free disk below which writes wait or fail with 53100; 0 for none [default: 5% of the disk, 16MB to 256MB]
    #[arg(long, env = "MILLRACE_DISK_RESERVE", value_name = "SIZE", value_parser = size)]
    #[serde(default, deserialize_with = "size_text")]
    pub disk_reserve: Option<usize>,
    /// Views that are filled with history at the same time, memory permitting [default: 4]
    #[arg(long, env = "MILLRACE_JOBS", value_name = "N")]
    pub jobs: Option<usize>,
    /// Rows that millrace.source_errors and millrace.late_rows keep, each [default: 100000]
    #[arg(long, env = "MILLRACE_KEPT_ROWS", value_name = "N")]
    pub kept_rows: Option<usize>,
    /// How long they keep them [default: 720h]
    #[arg(long, env = "MILLRACE_KEPT_AGE", value_name = "DURATION", value_parser = duration)]
    #[serde(default, deserialize_with = "duration_text")]
    pub kept_age: Option<Duration>,
    /// How the log on standard error is written [default: text]
    #[arg(long, env = "MILLRACE_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Address of the console, health checks and metrics over HTTP, for example 127.0.0.1:4568; off without it; beyond loopback it asks for a user's password
    #[arg(long, env = "MILLRACE_HTTP", value_name = "ADDRESS:PORT", value_parser = address)]
    #[serde(default, deserialize_with = "address_text")]
    pub http: Option<SocketAddr>,
    /// Connections over HTTP at a time; who asks nothing makes room for others [default: 256]
    #[arg(long, env = "MILLRACE_HTTP_CONNECTIONS", value_name = "N")]
    pub http_connections: Option<usize>,
    /// How long a client over HTTP may take for a request, rest between two, or take nothing of an answer [default: 30s]
    #[arg(long, env = "MILLRACE_HTTP_TIMEOUT", value_name = "DURATION", value_parser = duration)]
    #[serde(default, deserialize_with = "duration_text")]
    pub http_timeout: Option<Duration>,
    /// Password of the user root (SCRAM-SHA-256), in place of one that ALTER USER has set
    #[arg(long, env = "MILLRACE_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Let users without a password in from beyond loopback, and anybody ask over HTTP
    #[arg(long)]
    #[serde(default)]
    pub insecure: bool,
    /// Rules of who may come in from where, as in pg_hba.conf; read again on SIGHUP
    #[arg(long, env = "MILLRACE_HBA_FILE", value_name = "FILE")]
    pub hba_file: Option<PathBuf>,
    /// Sessions at a time, three of them for superusers alone [default: 1000]
    #[arg(long, env = "MILLRACE_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,
    /// Certificate chain for TLS (PEM), read again on SIGHUP, together with --tls-key
    #[arg(long, env = "MILLRACE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key for TLS (PEM)
    #[arg(long, env = "MILLRACE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Options with defaults filled in and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of all durable data.
    pub data_dir: PathBuf,
    /// Address for Postgres clients.
    pub listen: SocketAddr,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Metadata store.
    pub store: StoreKind,
    /// Longest time that rows are gathered.
    pub epoch_interval: Duration,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// Bytes.
    pub memory_limit: usize,
    /// Bytes of the disk that are kept in reserve; None for a part of it.
    pub disk_reserve: Option<usize>,
    /// Views that are filled at the same time, at least 1.
    pub jobs: usize,
    /// Rows that the tables of bad messages and of late rows keep, each.
    pub kept_rows: usize,
    /// How long they keep them.
    pub kept_age: Duration,
    /// How the log is written.
    pub log_format: LogFormat,
    /// Address for HTTP.
    pub http: Option<SocketAddr>,
    /// Connections over HTTP at a time, at least 4.
    pub http_connections: usize,
    /// How long a client over HTTP may say nothing, or take nothing.
    pub http_timeout: Duration,
    /// Password of root.
    pub password: Option<Concealed>,
    /// Users without a password come in from beyond loopback, too.
    pub insecure: bool,
    /// Rules of who may come in.
    pub hba_file: Option<PathBuf>,
    /// Sessions at a time, at least 10.
    pub max_connections: usize,
    /// Certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// An option that cannot be served, one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// The file is not what it should be.
    #[error("{0}: {1}")]
    Parse(PathBuf, String),
    /// Anybody could come in.
    #[error(
        "refusing to listen on {0} without authentication: set MILLRACE_PASSWORD, give a user a password, or say --insecure"
    )]
    Open(SocketAddr),
    /// A value out of range.
    #[error("{0}")]
    Value(String),
}

impl Config {
    /// How long bad messages and late rows are kept, microseconds.
    pub fn kept_age_us(&self) -> i64 {
        crate::clock::micros(self.kept_age)
    }
}

impl Options {
    /// Fills in the file and the defaults, and checks.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Options::default(),
        };
        let (http_connections, http_timeout) = self.http_limits(&file)?;
        let listen = self.listen.or(file.listen).unwrap_or(([127, 0, 0, 1], 4567).into());
        // An empty password would let anybody in.
        let password = self.password.or(file.password).filter(|password| !password.is_empty());
        let insecure = self.insecure || file.insecure;
        let http = self.http.or(file.http);
        let max_connections = self.max_connections.or(file.max_connections).unwrap_or(1_000);
        if !(10..=100_000).contains(&max_connections) {
            return Err(ConfigError::Value("max-connections must be 10 to 100000".into()));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.workers.or(file.workers).unwrap_or(cores);
        if !(1..=256).contains(&workers) {
            return Err(ConfigError::Value(format!("workers must be 1 to 256, not {workers}")));
        }
        let epoch = self.epoch_interval.or(file.epoch_interval);
        let epoch_interval = epoch.unwrap_or(Duration::from_millis(100));
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&epoch_interval) {
            return Err(ConfigError::Value("epoch-interval must be 1ms to 60s".into()));
        }
        let checkpoint = self.checkpoint_interval.or(file.checkpoint_interval);
        let memory_limit = self.memory_limit.or(file.memory_limit).unwrap_or_else(most_memory);
        if memory_limit < 64 << 20 {
            return Err(ConfigError::Value("memory-limit must be at least 64MB".into()));
        }
        let tls = self.tls_cert.or(file.tls_cert).zip(self.tls_key.or(file.tls_key));
        for file in tls.iter().flat_map(|(certificate, key)| [certificate, key]) {
            std::fs::File::open(file).map_err(|e| ConfigError::Read(file.clone(), e))?;
        }
        Ok(Config {
            data_dir: self.data_dir.or(file.data_dir).unwrap_or("millrace-data".into()),
            listen,
            workers,
            store: self.store.or(file.store).unwrap_or(StoreKind::Fjall),
            epoch_interval,
            checkpoint_interval: checkpoint.unwrap_or(Duration::from_secs(2)),
            memory_limit,
            disk_reserve: self.disk_reserve.or(file.disk_reserve),
            jobs: self.jobs.or(file.jobs).unwrap_or(4).max(1),
            kept_rows: self.kept_rows.or(file.kept_rows).unwrap_or(100_000),
            kept_age: self.kept_age.or(file.kept_age).unwrap_or(KEPT_AGE),
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
            http,
            http_connections,
            http_timeout,
            password: password.map(Concealed::new),
            insecure,
            hba_file: self.hba_file.or(file.hba_file),
            max_connections,
            tls,
        })
    }
}

impl Options {
    /// How many connections there may be over HTTP, and how long they may take.
    fn http_limits(&self, file: &Options) -> Result<(usize, Duration), ConfigError> {
        let connections = self.http_connections.or(file.http_connections).unwrap_or(256);
        if !(4..=100_000).contains(&connections) {
            return Err(ConfigError::Value("http-connections must be 4 to 100000".into()));
        }
        let timeout = self.http_timeout.or(file.http_timeout).unwrap_or(HTTP_TIMEOUT);
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&timeout) {
            return Err(ConfigError::Value("http-timeout must be 100ms to 1h".into()));
        }
        Ok((connections, timeout))
    }
}

fn read(path: &PathBuf) -> Result<Options, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Read(path.clone(), e))?;
    toml::from_str(&text).map_err(|e| ConfigError::Parse(path.clone(), e.message().to_owned()))
}

/// 70% of the memory that the process can have; a gigabyte where the kernel does not say.
fn most_memory() -> usize {
    memory::most().map_or(1 << 30, |most| most / 10 * 7)
}

/// `100ms`, `5s`, `2m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.trim().parse().map_err(|_| format!("`{text}` is not a duration"))?;
    let unit = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit `{other}`, use us, ms, s, m or h")),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| format!("`{text}` is out of range"))
}

/// `127.0.0.1:4567`, `[::1]:4567`, `localhost:4567`.
///
/// # Errors
/// Text that is no address, for the user.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("`{text}`: {error}"))?;
    found.next().ok_or_else(|| format!("`{text}` has no address"))
}

/// `512MB`, `2GB`, `100000`.
pub fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.trim().parse().map_err(|_| format!("`{text}` is not a size"))?;
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        other => return Err(format!("unknown unit `{other}`, use kB, MB or GB")),
    };
    let bytes = number.checked_mul(unit).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("`{text}` is out of range"))
}

fn duration_text<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let text: Option<String> = Option::deserialize(d)?;
    text.map(|text| duration(&text).map_err(serde::de::Error::custom)).transpose()
}

fn address_text<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    let text: Option<String> = Option::deserialize(d)?;
    text.map(|text| address(&text).map_err(serde::de::Error::custom)).transpose()
}

fn size_text<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    let text: Option<String> = Option::deserialize(d)?;
    text.map(|text| size(&text).map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_their_units() {
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert!(duration("fast").is_err() && duration("3d").is_err());
        assert_eq!(size("2GB"), Ok(2 << 30));
        assert_eq!(size("300mb"), Ok(300 << 20));
        assert!(size("much").is_err() && size("1PB").is_err());
        assert!(address("localhost:1").unwrap().ip().is_loopback());
        assert!(address("localhost").is_err() && address("127.0.0.1:x").is_err());
    }

    #[test]
    fn the_command_line_is_stronger_than_the_file() {
        let file = tempfile_with("workers = 3\nepoch-interval = \"20ms\"\n");
        let options =
            Options { config: Some(file.clone()), workers: Some(2), ..Options::default() };
        let config = options.resolve().unwrap();
        assert_eq!((config.workers, config.epoch_interval), (2, Duration::from_millis(20)));
        std::fs::write(&file, "worker = 3\n").unwrap();
        let options = Options { config: Some(file.clone()), ..Options::default() };
        let error = options.resolve().unwrap_err().to_string();
        assert!(error.contains("unknown field `worker`"), "{error}");
        std::fs::remove_file(file).unwrap();
    }

    fn tempfile_with(text: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("millrace-config-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }
}
