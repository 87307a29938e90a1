//! What the clients share: where the server is, and how results are told.

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use serde_json::{Value, json};

pub type Tested = Result<(), Box<dyn Error + Send + Sync>>;

/// An environment variable that the tests set.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// How to reach the server.
pub fn config() -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .host(variable("MILLRACE_HOST"))
        .port(variable("MILLRACE_PORT").parse().expect("a port"))
        .dbname("dev")
        .user(variable("MILLRACE_USER"))
        .password(variable("MILLRACE_PASSWORD"));
    config
}

fn tell(line: &Value) {
    println!("{line}");
}

/// Has the server killed and started again at the same address.
pub fn restart() {
    tell(&json!({"restart": true}));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("an answer");
}

/// What the driver has nothing of.
pub fn absent(feature: &str, note: &str) {
    tell(&json!({"feature": feature, "result": "-", "note": note}));
}

/// An error and what caused it.
fn told(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", told(cause)),
        None => error.to_string(),
    }
}

/// Runs a test; one that fails or panics has failed.
pub async fn test(feature: &str, test: impl Future<Output = Tested>) {
    let outcome = match AssertUnwindSafe(test).catch_unwind().await {
        Ok(Ok(())) => return tell(&json!({"feature": feature, "result": "yes"})),
        Ok(Err(error)) => told(error.as_ref()),
        Err(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic".to_owned()),
    };
    let note = outcome.split('\n').next().unwrap_or_default();
    tell(&json!({"feature": feature, "result": "no", "note": note}));
}
