//! Secrets are used, and shown nowhere.

use super::refusal;
use crate::server::{Server, rows};

#[tokio::test(flavor = "multi_thread")]
async fn values_of_secrets_and_inline_passwords_are_in_no_error_and_no_log() {
    let mut server = Server::new(&["--workers", "1"]);
    server.start().await;
    let root = server.connect().await;
    root.batch_execute("CREATE SECRET s AS 'elderberry'").await.unwrap();
    // Nothing listens there: CREATE SOURCE fails, and says with what it had to do.
    let source = |option: &str| {
        format!(
            "CREATE SOURCE k (id BIGINT) WITH (connector = 'kafka', topic = 't', \
             properties.bootstrap.server = '127.0.0.1:1', {option}) FORMAT PLAIN ENCODE JSON"
        )
    };
    for option in [
        "properties.sasl.password = secret s",
        "properties.sasl.password = 'elderberry'",
        "properties.security.protocol = secret s",
        "properties.ssl.key.pem = 'elderberry'",
        "properties.no.such = secret s",
    ] {
        let error = root.simple_query(&source(option)).await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(!shown.contains("elderberry"), "{option}: {shown}");
    }
    for query in
        ["SHOW SECRETS", "SELECT * FROM millrace.settings", "SHOW ALL", "SELECT * FROM pg_roles"]
    {
        let shown = format!("{:?}", rows(&root, query).await.unwrap());
        assert!(!shown.contains("elderberry"), "{query}: {shown}");
    }
    let names = rows(&root, "SELECT rolname, rolpassword FROM pg_authid").await.unwrap();
    assert_eq!(names, [[Some("root".to_owned()), None]]);
    assert_eq!(refusal(root.simple_query("SHOW CREATE SECRET s").await).0, "42601");
    server.stop().await;
    assert!(!server.logged("elderberry"), "a secret is in the log");
}
