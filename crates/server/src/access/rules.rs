//! The rules of who may come in from where, in the form of PostgreSQL's `pg_hba.conf`, kept simple.
//!
//! ```text
//! # TYPE    DATABASE  USER        ADDRESS         METHOD
//! host      all       root        127.0.0.1/32    trust
//! hostssl   dev       +analysts   10.0.0.0/8      scram-sha-256
//! host      all       all         all             reject
//! ```
//!
//! The first line that fits decides; where none fits nobody comes in. A line that means nothing makes the
//! whole file unusable.

use std::net::IpAddr;
use std::path::PathBuf;

use millrace_pg::session::Login;
use millrace_types::{Report, SqlState};

use crate::config::ConfigError;

/// What a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Nothing.
    Trust,
    /// The password.
    Scram,
    /// It lets nobody in.
    Reject,
}

/// Addresses from one on that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn has(self, peer: IpAddr) -> bool {
        let same =
            |a: u128, b: u128, width: u32| self.bits == 0 || (a ^ b) >> (width - self.bits) == 0;
        match (self.address, peer) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => {
                same(u128::from(own.to_bits()), u128::from(peer.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(peer)) => same(own.to_bits(), peer.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn parse(text: &str) -> Result<Network, String> {
        let wrong =
            || format!("\"{text}\" is no address, no network such as 10.0.0.0/8, and not all");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        if bits > width {
            return Err(wrong());
        }
        Ok(Network { address, bits })
    }
}

/// Names of a rule; an empty list stands for all.
type Names = Vec<String>;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Only encrypted connections, or only others.
    encrypted: Option<bool>,
    databases: Names,
    users: Names,
    /// None is all.
    network: Option<Network>,
    method: Method,
}

/// The rules of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or a line of it means nothing.
    pub fn read(file: &PathBuf) -> Result<Rules, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Read(file.clone(), error))?;
        Rules::parse(&text).map_err(|reason| ConfigError::Parse(file.clone(), reason))
    }

    fn parse(text: &str) -> Result<Rules, String> {
        let mut rules = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words.is_empty() {
                let rule = rule(&words).map_err(|reason| format!("line {number}: {reason}"))?;
                rules.extend(rule);
            }
        }
        Ok(Rules(rules))
    }

    /// What the first rule that fits asks for; `member` says whether the user is in a group.
    ///
    /// # Errors
    /// No rule fits.
    pub(super) fn method(
        &self,
        login: &Login,
        member: &dyn Fn(&str) -> bool,
    ) -> Result<Method, Report> {
        let named = |names: &Names, name: &str| names.is_empty() || names.iter().any(|n| n == name);
        let user = |name: &String| match name.strip_prefix('+') {
            Some(group) => member(group),
            None => *name == login.user,
        };
        let fits = |rule: &&Rule| {
            rule.encrypted.is_none_or(|encrypted| encrypted == login.encrypted)
                && named(&rule.databases, &login.database)
                && (rule.users.is_empty() || rule.users.iter().any(user))
                && rule.network.is_none_or(|network| network.has(login.peer))
        };
        let found = self.0.iter().find(fits).map(|rule| rule.method);
        found.ok_or_else(|| {
            let message = format!("no rule lets in {}", described(login));
            Report::new(SqlState::INVALID_AUTHORIZATION, message)
        })
    }
}

/// The report for who meets a rule that rejects.
pub(super) fn rejected(login: &Login) -> Report {
    let message = format!("a rule rejects {}", described(login));
    Report::new(SqlState::INVALID_AUTHORIZATION, message)
}

fn described(login: &Login) -> String {
    let Login { user, database, peer, .. } = login;
    let encryption = if login.encrypted { "encrypted" } else { "not encrypted" };
    format!("user \"{user}\" to database \"{database}\" from {peer}, {encryption}")
}

/// The rule of a line; None for one about sockets of the file system, which there are none of.
fn rule(words: &[&str]) -> Result<Option<Rule>, String> {
    let encrypted = match words[0] {
        "local" => return Ok(None),
        "host" => None,
        "hostssl" => Some(true),
        "hostnossl" => Some(false),
        other => return Err(format!("\"{other}\" is not host, hostssl, hostnossl or local")),
    };
    let [_, databases, users, address, method] = words else {
        let hint = "write TYPE DATABASE USER ADDRESS METHOD, and the network as 10.0.0.0/8";
        return Err(format!("{} words; {hint}", words.len()));
    };
    let method = match *method {
        "trust" => Method::Trust,
        "scram-sha-256" => Method::Scram,
        "reject" => Method::Reject,
        other => return Err(format!("\"{other}\" is not trust, scram-sha-256 or reject")),
    };
    let network = match *address {
        "all" => None,
        address => Some(Network::parse(address)?),
    };
    Ok(Some(Rule {
        encrypted,
        databases: names(databases)?,
        users: names(users)?,
        network,
        method,
    }))
}

/// Names with commas between them; `all` alone is an empty list.
fn names(text: &str) -> Result<Names, String> {
    let mut names = Names::new();
    for name in text.split(',') {
        match name {
            "all" => return Ok(Names::new()),
            "" => return Err(format!("\"{text}\" has an empty name")),
            "sameuser" | "samerole" | "samegroup" | "replication" => {
                return Err(format!("\"{name}\" is not supported"));
            }
            _ if name.starts_with(['@', '/']) => {
                return Err(format!("\"{name}\" is not supported"));
            }
            name => names.push(name.trim_matches('"').to_owned()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, peer: &str, encrypted: bool) -> Login {
        let (user, database) = (user.to_owned(), "dev".to_owned());
        Login { user, database, peer: peer.parse().unwrap(), encrypted, options: Vec::new() }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = Rules::parse(
            "# comment\n\
             local all all trust\n\
             host all root 127.0.0.1/32 trust # loopback\n\
             host all bad,worse all reject\n\
             hostssl dev +staff 10.1.0.0/16 scram-sha-256\n\
             host other all all trust\n\
             hostnossl all all 2001:db8::/32 scram-sha-256\n",
        )
        .unwrap();
        let staff = |group: &str| group == "staff";
        let nobody = |_: &str| false;
        let method =
            |login: Login, member: &dyn Fn(&str) -> bool| rules.method(&login, member).ok();
        assert_eq!(method(login("root", "127.0.0.1", false), &nobody), Some(Method::Trust));
        assert_eq!(method(login("root", "127.0.0.2", false), &nobody), None);
        assert_eq!(method(login("worse", "127.0.0.1", true), &staff), Some(Method::Reject));
        assert_eq!(method(login("ann", "10.1.2.3", true), &staff), Some(Method::Scram));
        assert_eq!(method(login("ann", "10.1.2.3", false), &staff), None);
        assert_eq!(method(login("ann", "10.1.2.3", true), &nobody), None);
        assert_eq!(method(login("ann", "10.2.2.3", true), &staff), None);
        assert_eq!(method(login("ann", "2001:db8:1::1", false), &nobody), Some(Method::Scram));
        assert_eq!(method(login("ann", "2001:db9::1", false), &nobody), None);
    }

    #[test]
    fn a_line_that_means_nothing_is_an_error_with_its_number() {
        for (text, found) in [
            ("\nhosts all all all trust", "line 2: \"hosts\" is not host"),
            ("host all all trust", "line 1: 4 words"),
            ("host all all 10.0.0.0 255.0.0.0 trust", "line 1: 6 words"),
            ("host all all 10.0.0.0/33 trust", "is no address"),
            ("host all all example.org trust", "is no address"),
            ("host all all all md5", "\"md5\" is not trust"),
            ("host sameuser all all trust", "\"sameuser\" is not supported"),
            ("host all a,,b all trust", "empty name"),
        ] {
            let error = Rules::parse(text).unwrap_err();
            assert!(error.contains(found), "{text}: {error}");
        }
    }
}
