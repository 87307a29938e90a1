//! The shell at a pseudo-terminal, which `script` of util-linux makes; passed over where there is none.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

use super::server;
use crate::server::{Server, program};
use crate::wait;

/// A shell that somebody sits at.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    async fn open(server: &Server) -> Option<Terminal> {
        let found = Command::new("script").arg("--version").output().await;
        found.ok().filter(|output| output.status.success())?;
        let address = (*server.address().borrow()).unwrap();
        // `script` may end with a status of its own; Ctrl-C is not for the shell around.
        let program = program("millrace");
        let command = format!(
            "trap : INT; '{}' sql --server {address}; echo \"it ended with $?\"",
            program.display()
        );
        let mut child = Command::new("script")
            .args(["-qfc", &command, "/dev/null"])
            .env("HOME", server.data_dir())
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut screen = child.stdout.take()?;
        let keyboard = child.stdin.take()?;
        let shown = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&shown);
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes).await {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Some(Terminal { child, keyboard, shown })
    }

    async fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).await.unwrap();
        self.keyboard.flush().await.unwrap();
    }

    /// Waits until something is shown that was not there before; forgets all up to it.
    async fn shows(&self, part: &str) {
        let shown = Arc::clone(&self.shown);
        let what = format!("the terminal shows {part:?}");
        wait::until(&what, wait::PATIENCE, || async {
            let mut shown = shown.lock().unwrap();
            let at = shown.find(part)?;
            shown.drain(..at + part.len());
            Some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_statements_are_edited_completed_cancelled_and_remembered() {
    let mut server = server().await;
    let Some(mut terminal) = Terminal::open(&server).await else { return };
    terminal.shows("dev=> ").await;
    // A statement over two lines, a name that is completed, a letter that is taken back.
    terminal.press("CREATE TABLE readings (id INT);\r").await;
    terminal.shows("CREATE TABLE\r\n").await;
    terminal.press("SELECTT\x7f count(*)\r").await;
    terminal.shows("dev-> ").await;
    terminal.press("FROM readi\t;\r").await;
    terminal.shows("(1 row)").await;
    // Ctrl-C takes away what is typed, and cancels what runs.
    terminal.shows("dev=> ").await;
    terminal.press("nonsense\x03").await;
    terminal.shows("^C").await;
    let endless = "SELECT 'begun'; SELECT count(*) FROM generate_series(1, 100000) a, \
                   generate_series(1, 100000) b, generate_series(1, 100000) c WHERE a + b + c = 0;\r";
    terminal.press(endless).await;
    terminal.shows("(1 row)").await;
    terminal.press("\x03").await;
    terminal.shows("57014").await;
    terminal.shows("dev=> ").await;
    terminal.press("SELECT 41 + 1 AS answer;\r").await;
    terminal.shows(" answer").await;
    terminal.shows("42").await;
    // Ctrl-C gives up a COPY at once.
    terminal.shows("dev=> ").await;
    terminal.press("COPY readings FROM STDIN;\r").await;
    terminal.shows("Ctrl-C gives up").await;
    terminal.press("1\r2").await;
    terminal.press("\x03").await;
    terminal.shows("canceled by user").await;
    // What is pasted at once, a COPY and its data, is read as it stands there.
    terminal.shows("dev=> ").await;
    terminal.press("COPY readings FROM STDIN;\r7\r\\.\r").await;
    terminal.shows("COPY 1").await;
    terminal.shows("dev=> ").await;
    terminal.press("SELECT 41 + 1 AS answer;\r").await;
    terminal.shows("42").await;
    // Up brings the statement back.
    terminal.shows("dev=> ").await;
    terminal.press("\x1b[A\r").await;
    terminal.shows("42").await;
    terminal.press("\\q\r").await;
    terminal.shows("it ended with 0").await;
    terminal.child.wait().await.unwrap();
    let history = std::fs::read_to_string(server.data_dir().join(".millrace_history")).unwrap();
    assert!(history.contains("SELECT count(*)\\nFROM readings ;"), "{history}");
    server.stop().await;
}
