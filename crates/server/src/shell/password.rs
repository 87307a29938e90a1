//! Where a password comes from: PGPASSWORD, the file that libpq reads, or the terminal.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use millrace_pg::client::Login;
use termion::input::TermRead;

/// The password that is there without asking.
pub(crate) fn known(login: &Login) -> Option<String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("PGPASSWORD").or_else(|| variable("MILLRACE_PASSWORD")).or_else(|| {
        let file = std::env::var_os("PGPASSFILE")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pgpass")))?;
        from_file(&file, login)
    })
}

/// Asks whoever sits at the terminal; None if nobody does, or says nothing.
///
/// # Errors
/// The terminal cannot be read.
pub(crate) fn ask(user: &str) -> io::Result<Option<String>> {
    let (mut input, mut err) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !err.is_terminal() {
        return Ok(None);
    }
    write!(err, "Password for user {user}: ")?;
    err.flush()?;
    let password = input.read_passwd(&mut err)?;
    writeln!(err)?;
    Ok(password)
}

/// A file that others may read is not used, as with libpq.
fn from_file(file: &Path, login: &Login) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    if is_open_to_others(file) {
        let told = format!(
            "\"{}\" is not used: others may read it; chmod 0600 mends that\n",
            file.display()
        );
        // Nobody to tell, nothing to do.
        drop(io::stderr().write_all(told.as_bytes()));
        return None;
    }
    text.lines().find_map(|line| fits(line, login))
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|data| data.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}

/// The password of a line `host:port:database:user:password`, if it is for this login.
fn fits(line: &str, login: &Login) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => fields.last_mut()?.extend(characters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            other => fields.last_mut()?.push(other),
        }
    }
    let wanted = [&login.host, &login.port.to_string(), &login.database, &login.user];
    let is_wanted = |(field, wanted): (&String, &&String)| field == "*" || field == *wanted;
    let fits = fields.len() == 5 && fields.iter().zip(&wanted).all(is_wanted);
    fits.then(|| fields.swap_remove(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_pg::client::SslMode;

    fn login() -> Login {
        Login {
            host: "h".into(),
            port: 4567,
            user: "ann".into(),
            database: "dev".into(),
            password: None,
            application: String::new(),
            ssl: SslMode::Disable,
            ssl_root: None,
        }
    }

    #[test]
    fn a_line_of_the_password_file_is_for_one_login() {
        assert_eq!(fits("h:4567:dev:ann:a:b\\\\", &login()).as_deref(), Some("a:b\\"));
        assert_eq!(fits("*:*:*:ann:x", &login()).as_deref(), Some("x"));
        for other in ["#*:*:*:*:x", "h:1:dev:ann:x", "h:4567:dev:bob:x", "h:4567:dev", ""] {
            assert_eq!(fits(other, &login()), None, "{other}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_password_file_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pgpass");
        std::fs::write(&file, "*:*:*:*:secret\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o600);
        assert_eq!(from_file(&file, &login()).as_deref(), Some("secret"));
        mode(0o644);
        assert_eq!(from_file(&file, &login()), None);
    }
}
