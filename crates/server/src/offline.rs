//! What the binary does with data directories beside serving from them: `check`, `backup`, `restore`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use millrace_pg::client::{Login, SslMode};
use millrace_storage::Checked;

use crate::config;
use crate::error::ServerError;

/// `millrace backup`
#[derive(Args)]
pub struct BackupOptions {
    /// Directory to make; on the machine that the server runs on
    pub to: PathBuf,
    /// The running server
    #[arg(long, env = "MILLRACE_LISTEN", value_name = "ADDRESS:PORT", value_parser = config::address,
          default_value = "127.0.0.1:4567")]
    pub server: SocketAddr,
    /// A superuser
    #[arg(long, default_value = "root")]
    pub user: String,
    /// The user's password
    #[arg(long, env = "MILLRACE_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub password: Option<String>,
}

/// Verifies a data directory that no server has open, and says what it found.
///
/// # Errors
/// The first damage; what keeps it from being looked at.
pub fn check(dir: &Path) -> Result<(), ServerError> {
    let checked = millrace_storage::check(dir)?;
    say(&summary(dir, &checked))?;
    for name in &checked.unnamed {
        say(&format!("segments/{name}: named by nothing, the next start removes it"))?;
    }
    let count = checked.damage.len();
    for damage in &checked.damage {
        say(&damage.to_string())?;
    }
    if count > 0 {
        return Err(ServerError::Unsound(dir.display().to_string(), count));
    }
    crate::coordinator::catalog_of(&checked.catalog)?;
    say("sound")
}

fn summary(dir: &Path, checked: &Checked) -> String {
    let Checked { checkpoint, epochs, segments, runs, blocks, bytes, .. } = checked;
    format!(
        "{}: checkpoint {checkpoint}, {epochs} logged epochs after it, {segments} segments, {runs} runs, {blocks} blocks, {bytes} bytes",
        dir.display()
    )
}

/// Asks a running server for a backup.
///
/// # Errors
/// The server's.
pub fn backup(options: &BackupOptions) -> Result<(), ServerError> {
    let to = std::path::absolute(&options.to)?;
    let path = to.display().to_string().replace('\'', "''");
    let statement = format!("BACKUP TO '{path}'");
    let login = Login {
        host: options.server.ip().to_string(),
        port: options.server.port(),
        user: options.user.clone(),
        database: "dev".into(),
        password: options.password.clone(),
        application: "millrace backup".into(),
        ssl: SslMode::Prefer,
        ssl_root: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(millrace_pg::client::run(&login, &statement));
    for notice in answer.map_err(ServerError::Report)? {
        say(&notice)?;
    }
    Ok(())
}

/// Makes a data directory of a backup.
///
/// # Errors
/// A backup that is damaged; a directory that is not empty.
pub fn restore(backup: &Path, to: &Path) -> Result<(), ServerError> {
    let checked = millrace_storage::check(backup)?;
    if let Some(damage) = checked.damage.into_iter().next() {
        return Err(damage.into());
    }
    millrace_storage::restore(backup, to)?;
    say(&format!("{} can be served from", to.display()))
}

fn say(line: &str) -> Result<(), ServerError> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
