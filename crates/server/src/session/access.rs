//! Statements about roles, rights and secrets, the session's part: what takes time is done here, the
//! coordinator decides and commits.

use std::sync::Arc;

use millrace_pg::scram::Verifier;
use millrace_sql::ast::{Access, AlterRole, RoleOptions};
use millrace_types::{Concealed, Report, SqlState, input};
use parking_lot::Mutex;

use super::Conn;
use crate::access::roles::{Memberships, Wanted};
use crate::access::{comments, grants, roles, secrets};
use crate::coordinator::{Draft, Request};

impl Conn {
    pub(super) async fn change_access(&mut self, access: Access) -> Result<(), Report> {
        let who = self.who()?;
        match access {
            Access::CreateRole { name, if_not_exists, options } => {
                let wanted = wanted(options)?;
                self.change_rights(move |draft| {
                    let there = roles::create(draft, who, &name, if_not_exists, &wanted)?;
                    Ok(there_already(there, "role", &name.name))
                })
                .await
            }
            Access::AlterRole(name, AlterRole::Options(options)) => {
                let wanted = wanted(options)?;
                self.change_rights(move |draft| roles::alter(draft, who, &name, &wanted).map(none))
                    .await
            }
            Access::AlterRole(name, AlterRole::Rename(to)) => {
                self.change_rights(move |draft| roles::rename(draft, who, &name, &to).map(none))
                    .await
            }
            Access::DropRole { names, if_exists } => {
                self.change_rights(move |draft| {
                    Ok(missing("role", roles::drop(draft, who, &names, if_exists)?))
                })
                .await
            }
            Access::Membership { groups, members, admin, revokes } => {
                let wanted = Memberships { groups, members, admin, revokes };
                self.change_rights(move |draft| roles::grant(draft, who, &wanted)).await
            }
            Access::Grant(grant) => {
                self.change_rights(move |draft| grants::grant(draft, who, &grant)).await
            }
            Access::Owner { kind, name, to, if_exists } => {
                if if_exists && self.shared.catalog().find(&name.name).is_none() {
                    self.notices.push(skipped("relation", &name.name, "does not exist"));
                    return Ok(());
                }
                self.change_rights(move |draft| {
                    grants::give(draft, who, (kind, &name), &to).map(none)
                })
                .await
            }
            Access::Reassign(from, to) => {
                self.change_rights(move |draft| grants::reassign(draft, who, &from, &to).map(none))
                    .await
            }
            Access::Comment(on, text) => {
                self.change_rights(move |draft| comments::comment(draft, who, &on, text).map(none))
                    .await
            }
            Access::CreateSecret(wanted) => {
                self.change_rights(move |draft| {
                    let there = secrets::create(draft, who, &wanted)?;
                    Ok(there_already(there, "secret", &wanted.name.name))
                })
                .await
            }
            Access::DropSecret { names, if_exists } => {
                self.change_rights(move |draft| {
                    Ok(missing("secret", secrets::drop(draft, who, &names, if_exists)?))
                })
                .await
            }
        }
    }

    /// Has the coordinator change the catalog; what the change has to say becomes notices.
    async fn change_rights(
        &mut self,
        change: impl FnOnce(&mut Draft) -> Result<Vec<Report>, Report> + Send + 'static,
    ) -> Result<(), Report> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let says = Arc::clone(&said);
        let alteration = Box::new(move |draft: &mut Draft| {
            *says.lock() = change(draft)?;
            Ok(())
        });
        self.ask(|reply| Request::Access(alteration, reply)).await?;
        self.notices.append(&mut said.lock());
        Ok(())
    }
}

fn none((): ()) -> Vec<Report> {
    Vec::new()
}

fn skipped(kind: &str, name: &str, why: &str) -> Report {
    let message = format!("{kind} \"{name}\" {why}, skipping");
    Report::new(SqlState::SUCCESSFUL_COMPLETION, message)
}

fn there_already(there: bool, kind: &str, name: &str) -> Vec<Report> {
    there.then(|| skipped(kind, name, "already exists")).into_iter().collect()
}

fn missing(kind: &str, names: Vec<String>) -> Vec<Report> {
    names.iter().map(|name| skipped(kind, name, "does not exist")).collect()
}

/// What is said of a role, with what proves its password in the place of that.
fn wanted(mut options: RoleOptions) -> Result<Wanted, Report> {
    let password = options.password.take();
    let verifier = password.clone().map(|password| password.map(|p| verifier(&p)).transpose());
    let until = options.valid_until.take();
    let valid_until = until.map(|(text, position)| until_of(&text, position)).transpose()?;
    // That something was said of it, not what.
    options.password = password.map(|_| None);
    Ok(Wanted { options, verifier: verifier.transpose()?, valid_until })
}

/// What is stored of a password; what PostgreSQL has stored of one is taken as it is.
fn verifier(password: &Concealed) -> Result<Concealed, Report> {
    let text = password.reveal();
    if let Some(verifier) = Verifier::parse(text) {
        return Ok(Concealed::new(verifier.to_string()));
    }
    let is_md5 = text
        .strip_prefix("md5")
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_md5 {
        let report = Report::unsupported("a password as an MD5 hash");
        return Err(report.hint("Write the password, or its SCRAM-SHA-256 verifier."));
    }
    if text.is_empty() {
        let message = "a password must not be empty";
        let report = Report::new(SqlState::INVALID_PARAMETER_VALUE, message);
        return Err(report.hint("PASSWORD NULL takes a password away."));
    }
    let verifier = Verifier::of(text);
    let verifier =
        verifier.map_err(|error| Report::new(SqlState::INTERNAL_ERROR, error.to_string()))?;
    Ok(Concealed::new(verifier.to_string()))
}

/// Until when a password counts; None is for ever.
fn until_of(text: &str, position: Option<usize>) -> Result<Option<i64>, Report> {
    if text.trim().eq_ignore_ascii_case("infinity") {
        return Ok(None);
    }
    let until = input::timestamptz(text).map_err(|report| Report { position, ..report })?;
    Ok(Some(until))
}
