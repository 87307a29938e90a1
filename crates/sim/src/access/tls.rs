//! Certificates: verified by libpq against an authority made here, and replaced while the server runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{psql, texts};
use crate::server::Server;
use crate::wait;

/// Runs openssl in a directory.
fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority and a certificate of localhost that it has signed; the authority's file.
fn authority(directory: &Path, name: &str) -> PathBuf {
    let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
    let make = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"];
    let subject = format!("/CN=authority {name}");
    openssl(directory, &[&make[..], &["-subj", &subject, "-keyout", &key, "-out", &pem]].concat());
    let ask = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
    openssl(directory, &[&ask[..], &["-keyout", "server.key", "-out", "server.csr"]].concat());
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let sign = ["x509", "-req", "-in", "server.csr", "-days", "30", "-CAcreateserial"];
    let by = ["-CA", &pem, "-CAkey", &key, "-extfile", "names", "-out", "server.pem"];
    openssl(directory, &[&sign[..], &by[..]].concat());
    directory.join(pem)
}

/// What psql says that checks the server's certificate by an authority, and the host's name.
async fn verified(server: &Server, authority: &Path, host: &str) -> Result<String, String> {
    let target = format!("host={host} hostaddr=127.0.0.1 dbname=dev user=root");
    let options = ["-d", &target, "-c", "SELECT 'in'"];
    let authority = authority.to_str().unwrap();
    let environment = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", authority)];
    let output = psql(server, &options, &environment).await;
    let (out, err) = texts(&output);
    if output.status.success() { Ok(out) } else { Err(err) }
}

/// What `millrace sql` says that checks the certificate in some way.
async fn by_shell(
    server: &Server,
    authority: Option<&Path>,
    host: &str,
    ssl: &str,
) -> Result<String, String> {
    let port = (*server.address().borrow()).unwrap().port();
    let root = authority.into_iter().flat_map(|path| ["--ssl-root".as_ref(), path.as_os_str()]);
    let output = tokio::process::Command::new(crate::server::program("millrace"))
        .args(["sql", "--server", &format!("{host}:{port}"), "--ssl", ssl])
        .args(root)
        .args(["--format", "csv", "-c", "SELECT 'in' AS who"])
        .output()
        .await
        .expect("the program runs");
    let (out, err) = texts(&output);
    if output.status.success() { Ok(out) } else { Err(err) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_verifies_the_certificate_as_far_as_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let first = authority(path, "first");
    let (certificate, key) = (path.join("server.pem"), path.join("server.key"));
    let arguments =
        ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut server = Server::new(&arguments);
    server.start().await;
    let inside = Ok("who\nin\n".to_owned());
    assert_eq!(by_shell(&server, Some(&first), "localhost", "verify-full").await, inside);
    assert_eq!(by_shell(&server, Some(&first), "127.0.0.1", "verify-ca").await, inside);
    assert_eq!(by_shell(&server, None, "127.0.0.1", "require").await, inside);
    assert_eq!(by_shell(&server, Some(&first), "127.0.0.1", "require").await, inside);
    let other = by_shell(&server, Some(&first), "127.0.0.1", "verify-full").await.unwrap_err();
    assert!(other.contains("no encrypted connection"), "{other}");
    let unknown = authority(path, "second");
    // Authorities that are named are looked at in every mode.
    for ssl in ["verify-full", "verify-ca", "require", "prefer"] {
        let unknown = by_shell(&server, Some(&unknown), "localhost", ssl).await.unwrap_err();
        assert!(unknown.contains("no encrypted connection"), "{ssl}: {unknown}");
    }
    let system = Some(Path::new("system"));
    let anybody = by_shell(&server, system, "localhost", "verify-ca").await.unwrap_err();
    assert!(anybody.contains("verify-full"), "{anybody}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libpq_verifies_the_certificate_and_sighup_replaces_it_unless_it_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let first = authority(path, "first");
    let (certificate, key) = (path.join("server.pem"), path.join("server.key"));
    let arguments =
        ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let mut server = Server::new(&arguments).expecting("the certificate before it stays in use");
    server.start().await;
    assert_eq!(verified(&server, &first, "localhost").await, Ok("in\n".to_owned()));
    let other = verified(&server, &first, "example.org").await.unwrap_err();
    assert!(other.contains("does not match host name"), "{other}");

    // A new authority and a new certificate: who trusts the first one only is not served any more.
    let second = authority(path, "second");
    assert!(verified(&server, &second, "localhost").await.is_err());
    server.hang_up().await;
    wait::until("the new certificate is in use", wait::PATIENCE, || async {
        verified(&server, &second, "localhost").await.ok()
    })
    .await;
    let old = verified(&server, &first, "localhost").await.unwrap_err();
    assert!(old.contains("certificate verify failed"), "{old}");

    // A certificate without its key, then half a file: the second one stays.
    for (broken, content) in
        [(&key, None), (&certificate, Some("-----BEGIN CERTIFICATE-----\nAAAA\n"))]
    {
        match content {
            Some(content) => std::fs::write(broken, content).unwrap(),
            None => openssl(path, &["genrsa", "-out", key.to_str().unwrap(), "2048"]),
        }
        let told = |server: &Server| server.log_tail(1_000).matches("stays in use").count();
        let before = told(&server);
        server.hang_up().await;
        wait::until("the broken file is told of", wait::PATIENCE, || async {
            (told(&server) > before).then_some(())
        })
        .await;
        assert_eq!(verified(&server, &second, "localhost").await, Ok("in\n".to_owned()));
    }
    server.stop().await;
    assert!(server.try_start().await.is_err(), "a broken certificate keeps a server from starting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_can_be_bound_to_the_certificate_and_is_not_without_encryption() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority(directory.path(), "first");
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let arguments = ["--tls-cert", &certificate, "--tls-key", &key, "--password", "geheim"];
    let mut server = Server::new(&arguments).expecting("login failed");
    server.start().await;
    let authority = authority.to_str().unwrap();
    let login = async |mode: &str, binding: &str, password: &str| {
        let target = format!(
            "host=localhost hostaddr=127.0.0.1 dbname=dev user=root channel_binding={binding}"
        );
        let environment =
            [("PGSSLMODE", mode), ("PGSSLROOTCERT", authority), ("PGPASSWORD", password)];
        let output = psql(&server, &["-d", &target, "-c", "SELECT 'in'"], &environment).await;
        let (out, err) = texts(&output);
        if output.status.success() { Ok(out) } else { Err(err) }
    };
    for binding in ["require", "prefer", "disable"] {
        assert_eq!(login("verify-full", binding, "geheim").await, Ok("in\n".to_owned()));
    }
    let wrong = login("verify-full", "require", "other").await.unwrap_err();
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert_eq!(login("disable", "prefer", "geheim").await, Ok("in\n".to_owned()));
    let plain = login("disable", "require", "geheim").await.unwrap_err();
    assert!(plain.contains("channel binding"), "{plain}");
    server.stop().await;
}
