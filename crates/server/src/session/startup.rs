//! What a client asks for when it comes in: settings by name, and those of its `options`.

use millrace_types::{Report, SqlState};

use super::Conn;

/// Settings that a client sends for its machine, not because somebody asked for it.
const OF_MACHINES: [&str; 3] = ["timezone", "client_encoding", "datestyle"];

impl Conn {
    /// Takes what the client asks for.
    ///
    /// # Errors
    /// A setting that does not exist, or does not take the value.
    pub(super) fn begin_with(&mut self, options: Vec<(String, String)>) -> Result<(), Report> {
        for (_, text) in options.iter().filter(|(name, _)| name == "options") {
            for (name, value) in switches(text)? {
                self.begin_with_one(&name, value)?;
            }
        }
        // What the protocol may say one day begins with `_pq_.`
        let is_setting = |name: &str| name != "options" && !name.starts_with("_pq_.");
        for (name, value) in options.into_iter().filter(|(name, _)| is_setting(name)) {
            self.begin_with_one(&name, value)?;
        }
        self.settings.lock().settle();
        Ok(())
    }

    fn begin_with_one(&mut self, name: &str, value: String) -> Result<(), Report> {
        let values = [value];
        self.check_set(name, &values)?;
        let set = self.settings.lock().set(name, &values);
        let Err(report) = set else { return Ok(()) };
        let of_machine = OF_MACHINES.iter().any(|known| known.eq_ignore_ascii_case(name));
        if report.code != SqlState::INVALID_PARAMETER_VALUE || !of_machine {
            return Err(report);
        }
        let counts = self.settings.lock().get(name)?;
        let message = format!("\"{name}\" is \"{counts}\": \"{}\" is not supported yet", values[0]);
        self.notices.push(Report::new(SqlState::WARNING, message));
        Ok(())
    }
}

/// The settings of `-c name=value`, `-cname=value` and `--name=value`, as PostgreSQL reads them.
fn switches(text: &str) -> Result<Vec<(String, String)>, Report> {
    let mut found = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("--") {
            Some(long) => long.to_owned(),
            None if word == "-c" => words.next().unwrap_or_default(),
            None => match word.strip_prefix("-c") {
                Some(joined) => joined.to_owned(),
                None => return Err(invalid(&word)),
            },
        };
        let Some((name, value)) = pair.split_once('=') else {
            let message = format!("-c {pair} requires a value");
            return Err(Report::new(SqlState::SYNTAX_ERROR, message));
        };
        found.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(found)
}

fn invalid(word: &str) -> Report {
    let message = format!("invalid command-line argument for server process: {word}");
    Report::new(SqlState::SYNTAX_ERROR, message).hint("Options are -c name=value and --name=value.")
}

/// The words of a text; a backslash takes away the meaning of what follows it.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            letter if letter.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_postgresql_reads_them() {
        let read = |text| switches(text).map_err(|report| report.code);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let timeout = || pair("statement_timeout", "3s");
        assert_eq!(read(" -c statement_timeout=3s"), Ok(vec![timeout()]));
        assert_eq!(read("-cstatement_timeout=3s"), Ok(vec![timeout()]));
        assert_eq!(
            read("--statement-timeout=3s -c search_path=a,\\ b\\\\"),
            Ok(vec![timeout(), pair("search_path", "a, b\\")])
        );
        assert_eq!(read(""), Ok(Vec::new()));
        assert_eq!(read("-c statement_timeout"), Err(SqlState::SYNTAX_ERROR));
        assert_eq!(read("-c"), Err(SqlState::SYNTAX_ERROR));
        assert_eq!(read("geqo"), Err(SqlState::SYNTAX_ERROR));
    }
}
