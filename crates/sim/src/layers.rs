//! The shape of the workspace, checked: which crate may know which, and where libraries may be used.
//!
//! A crate depends only on crates of lower layers, development dependencies included. The layers and
//! the reasons are in `docs/architecture.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Crates by layer; those on one line never see each other.
const LAYERS: &[&[&str]] = &[
    &["types"],
    &["plan", "storage"],
    &["sql", "dataflow"],
    &["connectors"],
    &["pg"],
    &["server"],
    &["sim"],
];

/// Crates that only the named ones may depend on.
const RESERVED: &[(&str, &[&str])] = &[
    ("millrace-connectors", &["server"]),
    ("millrace-pg", &["server"]),
    ("millrace-server", &[]),
    ("millrace-sim", &[]),
    ("timely", &["dataflow"]),
    ("rdkafka", &["connectors", "sim"]),
    ("arrow-json", &["connectors", "sim"]),
    ("pgwire", &["pg"]),
    ("postgres-protocol", &["pg"]),
    ("termion", &["server"]),
    ("arrow-pg", &["pg"]),
    ("datafusion-pg-catalog", &["pg"]),
    ("fjall", &["storage"]),
    ("sled", &["storage"]),
    // sql: its tests run DataFusion.
    ("tokio", &["sql", "pg", "server", "sim"]),
    ("axum", &["server"]),
    ("hyper", &["server"]),
    ("hyper-util", &["server"]),
    ("clap", &["server", "sim"]),
    // Keepalive of what each listens to.
    ("socket2", &["pg"]),
];

/// Names that say nothing; a crate or module with one of them has no idea of its own.
const EMPTY_NAMES: &[&str] = &["common", "utils", "util", "core", "helpers", "misc"];

/// Lines of a source file, its tests not counted.
const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Crate name (without the prefix) to the names of all its dependencies, of any kind.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let mut names = Vec::new();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            if let Some(table) = manifest.get(section).and_then(toml::Value::as_table) {
                names.extend(table.keys().cloned());
            }
        }
        all.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), names);
    }
    all
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn sources() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("crates"), &mut found);
    assert!(found.len() > 20, "the sources are where they were");
    found
}

/// A source's path from `crates/` on, with slashes.
fn short(path: &Path) -> String {
    let short = path.strip_prefix(root().join("crates")).unwrap();
    short.to_str().unwrap().replace('\\', "/")
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn crates_depend_only_on_lower_layers() {
    let mut wrong = Vec::new();
    for (name, dependencies) in dependencies() {
        let Some(own) = layer(&name) else {
            wrong.push(format!("{name} has no layer"));
            continue;
        };
        for dependency in &dependencies {
            let Some(lower) = dependency.strip_prefix("millrace-") else { continue };
            if layer(lower).is_none_or(|lower| lower >= own) {
                wrong.push(format!("{name} -> {lower}"));
            }
        }
    }
    assert_none("dependencies against the direction", &wrong);
}

#[test]
fn libraries_stay_with_their_owners() {
    let mut wrong = Vec::new();
    for (name, dependencies) in dependencies() {
        for (library, owners) in RESERVED {
            if dependencies.iter().any(|d| d == library) && !owners.contains(&name.as_str()) {
                wrong.push(format!("{name} -> {library}"));
            }
        }
    }
    assert_none("libraries outside the crates that own them", &wrong);
}

#[test]
fn timely_is_known_only_to_the_runtime() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = short(&path);
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains("timely::") && !name.starts_with("dataflow/src/runtime") && name != own() {
            wrong.push(name);
        }
    }
    assert_none("timely outside dataflow::runtime", &wrong);
}

#[test]
fn every_source_begins_with_what_it_is() {
    let mut wrong = Vec::new();
    for path in sources() {
        if !std::fs::read_to_string(&path).unwrap().starts_with("//! ") {
            wrong.push(short(&path));
        }
    }
    assert_none("sources without a head", &wrong);
}

#[test]
fn sources_are_short_enough_to_read() {
    let mut wrong = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines", short(&path)));
        }
    }
    assert_none("sources that should be split by idea", &wrong);
}

#[test]
fn names_of_crates_and_modules_say_something() {
    let empty = |name: &str| EMPTY_NAMES.contains(&name);
    let mut wrong: Vec<String> = dependencies().into_keys().filter(|name| empty(name)).collect();
    for path in sources() {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        let folder = path.parent().and_then(Path::file_name).and_then(|f| f.to_str()).unwrap();
        if empty(stem) || empty(folder) {
            wrong.push(short(&path));
        }
    }
    assert_none("names without an idea", &wrong);
}

/// This file, which names what it looks for.
fn own() -> String {
    short(&root().join("crates/sim/src/layers.rs"))
}
