//! psql's commands that describe what there is, run by psql itself against a server: what it prints is kept in
//! `psql/expected.txt`, which `REWRITE=1` writes anew.
//!
//! Sizes and numbers of sessions differ from run to run and are taken out.

use std::path::PathBuf;

use tokio::process::Command;

use crate::server::Server;

/// Commands whose whole output is compared.
const SHOWN: [&str; 61] = [
    "\\l",
    "\\l+",
    "\\dn",
    "\\dn+",
    "\\dt",
    "\\dt+",
    "\\dt acc*",
    "\\dt millrace.*",
    "\\dv",
    "\\dv+",
    "\\dm",
    "\\dm+",
    "\\di",
    "\\di+",
    "\\ds",
    "\\dE",
    "\\dP",
    "\\df",
    "\\df pg_catalog.lpad",
    "\\da pg_catalog.bool_and",
    "\\dT",
    "\\dT pg_catalog.int4",
    "\\dD",
    "\\du",
    "\\du+",
    "\\dg",
    "\\dp",
    "\\z",
    "\\ddp",
    "\\drds",
    "\\dx",
    "\\d",
    "\\d+",
    "\\d accounts",
    "\\d+ accounts",
    "\\d lines",
    "\\d accounts_pkey",
    "\\d+ accounts_owner",
    "\\d ticks",
    "\\d+ ticks",
    "\\d rich",
    "\\d+ rich",
    "\\d by_owner",
    "\\d+ by_owner",
    "\\d by_total",
    "\\d millrace.settings",
    "\\d nosuch",
    "\\sv rich",
    "\\dd",
    "\\db",
    "\\dA",
    "\\dL",
    "\\des",
    "\\det",
    "\\deu",
    "\\dew",
    "\\dRp",
    "\\dRs",
    "\\dX",
    "\\dy",
    "\\dconfig search_path",
];

/// Commands that list much of PostgreSQL's own: they give rows and no error.
const LONG: [&str; 20] = [
    "\\dC",
    "\\doS",
    "\\daS",
    "\\dS",
    "\\dAc",
    "\\dAf",
    "\\dAo",
    "\\dAp",
    "\\dF",
    "\\dFd",
    "\\dFp",
    "\\dFt",
    "\\dcS",
    "\\dOS",
    "\\dT *",
    "\\df *",
    "\\dconfig *",
    "\\db+",
    "\\dA+",
    "\\d pg_catalog.pg_class",
];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/psql").join(name)
}

/// What psql prints, its errors too; cells with a line between them where widths may differ.
pub(crate) async fn psql(server: &Server, options: &[&str]) -> String {
    let address = (*server.address().borrow()).expect("the server listens");
    let output = Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-U", "root", "-d", "dev", "-p"])
        .arg(address.port().to_string())
        .args(options)
        .env("PGCONNECT_TIMEOUT", "30")
        .output()
        .await
        .expect("psql is installed (postgresql-client)");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    text.into_owned()
}

/// Sizes in words are as they come.
fn without_sizes(text: &str) -> String {
    let units = ["bytes", "kB", "MB", "GB"];
    let cell = |cell: &str| {
        let mut words = cell.split(' ');
        let is_size = words.next().is_some_and(|word| word.parse::<u64>().is_ok())
            && words.next().is_some_and(|word| units.contains(&word))
            && words.next().is_none();
        if is_size { "SIZE".to_owned() } else { cell.to_owned() }
    };
    let line = |line: &str| line.split('|').map(cell).collect::<Vec<_>>().join("|");
    let lines: Vec<String> = text.lines().map(line).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_describes_what_there_is() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let schema = file("schema.sql");
    let schema = schema.to_string_lossy();
    let said = psql(&server, &["-q", "-v", "ON_ERROR_STOP=1", "-f", &schema]).await;
    assert_eq!(said, "");
    let mut shown = String::new();
    for command in SHOWN {
        let is_list = command.ends_with('+');
        let options: &[&str] = if is_list { &["-A", "-c", command] } else { &["-c", command] };
        let printed = psql(&server, options).await;
        assert!(!printed.contains("ERROR:"), "{command}\n{printed}");
        shown += &format!("=== {command}\n{}\n", without_sizes(&printed).trim_end());
    }
    for command in LONG {
        let printed = psql(&server, &["-At", "-c", command]).await;
        assert!(!printed.contains("ERROR:"), "{command}\n{printed}");
        assert!(printed.lines().count() > 0, "{command} shows nothing");
    }
    server.stop().await;
    compare(&shown);
}

/// Other versions of psql print other things: with them only errors are looked for.
fn compare(shown: &str) {
    let version = std::process::Command::new("psql").arg("--version").output();
    let version = version.expect("psql is installed").stdout;
    if !String::from_utf8_lossy(&version).contains(" 15.") {
        return;
    }
    let expected = file("expected.txt");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(&expected, shown).expect("the golden file can be written");
        return;
    }
    let wanted = std::fs::read_to_string(&expected).expect("REWRITE=1 writes the golden file");
    let differs = shown.lines().zip(wanted.lines()).find(|(shown, wanted)| shown != wanted);
    assert!(shown == wanted, "{differs:?}\n{shown}");
}
