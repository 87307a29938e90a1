//! The console's files: compressed, kept by browsers, no larger than promised, and those of the sources.

use std::path::{Path, PathBuf};

use super::{ask, started};

const GZIP: (&str, &str) = ("Accept-Encoding", "gzip, deflate");

/// Bytes that the overview may take on the way to a browser.
const OVERVIEW_BYTES_MAX: usize = 100_000;

fn console() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/console")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_small_and_browsers_may_keep_it() {
    let mut server = started(&[]).await;
    let page = ask(&server, "GET /", &[], "").await;
    assert_eq!((page.status, page.header("content-encoding")), (200, None), "{}", page.head);
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    let mut names: Vec<String> = text
        .split("/assets/")
        .skip(1)
        .map(|rest| rest.split('"').next().expect("a name").to_owned())
        .collect();
    assert!(names.len() >= 2, "{text}");
    // The charts' library comes with the first chart.
    let dist = std::fs::read_dir(console().join("dist")).unwrap();
    let files = dist.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let chart = files.filter(|name| name.starts_with("uPlot") && name.ends_with(".js.gz"));
    names.extend(chart.map(|name| name.trim_end_matches(".gz").to_owned()));
    let mut bytes = ask(&server, "GET /", &[GZIP], "").await.body.len();
    for name in &names {
        let path = format!("GET /assets/{name}");
        let packed = ask(&server, &path, &[GZIP], "").await;
        assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
        assert!(packed.header("cache-control").is_some_and(|keep| keep.contains("immutable")));
        let plain = ask(&server, &path, &[], "").await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
        assert!(plain.body.len() > packed.body.len(), "{name}");
        bytes += packed.body.len();
    }
    assert!(bytes < OVERVIEW_BYTES_MAX, "the overview takes {bytes} bytes");
    for path in ["/assets/index.html", "/assets/other.js", "/assets/..%2findex.html", "/other"] {
        assert_eq!(ask(&server, &format!("GET {path}"), &[GZIP], "").await.status, 404, "{path}");
    }
    server.stop().await;
}

/// Files below a directory, sorted.
fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[test]
fn the_bundle_is_that_of_the_sources() {
    let root = console();
    let mut files = walk(&root.join("src"));
    files.extend(["build.mjs", "package-lock.json", "package.json"].map(|name| root.join(name)));
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for file in &files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
        add(format!("{name}\n").as_bytes());
        add(&std::fs::read(file).unwrap());
    }
    let built = std::fs::read_to_string(root.join("dist/sources")).unwrap();
    assert_eq!(
        format!("{hash:016x}"),
        built.trim(),
        "run scripts/console and commit what it writes"
    );
}
