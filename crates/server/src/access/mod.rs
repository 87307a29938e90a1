//! Who may come in, and how what they may do is changed.
//!
//! [`Guard`] decides what a client must prove, by rules from a file ([`rules`]) or by the default, and
//! counts sessions. [`roles`], [`grants`] and [`secrets`] change the catalog, on the coordinator's thread
//! (`coordinator/access`).
//!
//! The default: who has a password must say it, from wherever; who has none comes in from loopback.
//!
//! Invariants: 1. a name that nobody has is answered as one with another password is, unless nobody needs
//! a password from there. 2. the rules in use are those of a file that was read whole.

pub(crate) mod comments;
pub(crate) mod grants;
pub(crate) mod roles;
mod rules;
pub(crate) mod secrets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use millrace_pg::scram::Verifier;
use millrace_pg::session::{Authentication, Login};
use millrace_pg::{Attempts, Certificate, Tls};
use millrace_sql::ast::RoleName;
use millrace_sql::{Catalog, Grantee, Role, RoleId};
use millrace_types::{Report, SqlState};
use parking_lot::{Mutex, RwLock};

use crate::config::{Config, ConfigError};
use crate::error::ServerError;
use rules::Method;
pub use rules::Rules;

/// Sessions that only superusers get.
const RESERVED: usize = 3;

/// What decides who comes in.
pub struct Guard {
    /// What salts of names that nobody has follow from.
    nonce: Vec<u8>,
    /// Of the password that root was given when the server started.
    root: Option<Verifier>,
    insecure: bool,
    connections_max: usize,
    rules_file: Option<PathBuf>,
    rules: RwLock<Option<Rules>>,
    sessions: Mutex<BTreeMap<RoleId, usize>>,
    /// Who has failed to log in.
    pub(crate) attempts: Arc<Attempts>,
    /// What clients see of this server.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

/// A place among the sessions; dropping it leaves it.
pub(crate) struct Seat {
    shared: Arc<crate::shared::Shared>,
    role: RoleId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.shared.guard.sessions.lock();
        if let Some(count) = sessions.get_mut(&self.role) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&self.role);
            }
        }
    }
}

impl Guard {
    /// How many clients there may be.
    pub(crate) fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Reads the files that the options name.
    ///
    /// # Errors
    /// A file that cannot be read or means nothing.
    pub fn new(config: &Config, nonce: Vec<u8>) -> Result<Guard, ServerError> {
        let tls = config.tls.clone().map(|(certificate, key)| Tls { certificate, key });
        let certificate = tls.map(Certificate::load).transpose();
        let certificate = certificate.map_err(|error| ServerError::Tls(error.to_string()))?;
        let rules = config.hba_file.as_ref().map(Rules::read).transpose()?;
        let root = config.password.as_ref();
        Ok(Guard {
            root: root.map(|password| Verifier::keyed(password.reveal(), &nonce, "root")),
            nonce,
            insecure: config.insecure,
            connections_max: config.max_connections,
            rules_file: config.hba_file.clone(),
            rules: RwLock::new(rules),
            sessions: Mutex::default(),
            attempts: Arc::default(),
            certificate: certificate.map(Arc::new),
        })
    }

    /// Refuses to listen beyond loopback where nobody could be asked for a password.
    ///
    /// # Errors
    /// [`ConfigError::Open`]
    pub fn check_open(&self, config: &Config, catalog: &Catalog) -> Result<(), ConfigError> {
        let asks = self.root.is_some()
            || self.insecure
            || self.rules_file.is_some()
            || catalog.roles().any(|role| role.verifier.is_some());
        let beyond = |address: &&std::net::SocketAddr| !address.ip().is_loopback();
        let open = std::iter::once(&config.listen).chain(&config.http).find(beyond);
        match open.filter(|_| !asks) {
            Some(address) => Err(ConfigError::Open(*address)),
            None => Ok(()),
        }
    }

    /// Reads the files again. What cannot be used is logged, and what was in use before stays.
    pub fn reload(&self) {
        if let Some(certificate) = &self.certificate {
            match certificate.reload() {
                Ok(()) => tracing::info!("the certificate has been read again"),
                Err(error) => tracing::error!(%error, "the certificate before it stays in use"),
            }
        }
        if let Some(file) = &self.rules_file {
            match Rules::read(file) {
                Ok(rules) => {
                    *self.rules.write() = Some(rules);
                    tracing::info!("the rules of who may come in have been read again");
                }
                Err(error) => tracing::error!(%error, "the rules before it stay in use"),
            }
        }
    }

    /// What a client must prove.
    pub fn authentication(&self, catalog: &Catalog, login: &Login, now: i64) -> Authentication {
        let role = catalog.find_role(&login.user);
        match self.method(catalog, login) {
            Ok(Method::Trust) => Authentication::Trust,
            Ok(Method::Scram) => self.asked(role, &login.user, now),
            Ok(Method::Reject) => Authentication::Reject(rules::rejected(login)),
            Err(report) => Authentication::Reject(report),
        }
    }

    fn method(&self, catalog: &Catalog, login: &Login) -> Result<Method, Report> {
        if let Some(rules) = &*self.rules.read() {
            let member = |group: &str| {
                let (role, group) = (catalog.find_role(&login.user), catalog.find_role(group));
                role.zip(group)
                    .is_some_and(|(role, group)| catalog.rights_of(role.id).contains(&group.id))
            };
            return rules.method(login, &member);
        }
        let has_password = |role: &Arc<Role>| self.verifier(role).is_some();
        let open = login.peer.is_loopback() || self.insecure;
        let trusted = match catalog.find_role(&login.user) {
            Some(role) => !has_password(role),
            // Who could come in as root may be told which names there are.
            None => catalog.role(RoleId::ROOT).is_none_or(|root| !has_password(root)),
        };
        let trusted = trusted && open && self.root.is_none();
        Ok(if trusted { Method::Trust } else { Method::Scram })
    }

    /// What proves the password of a role.
    fn verifier(&self, role: &Role) -> Option<Verifier> {
        match (&self.root, role.id) {
            (Some(verifier), RoleId::ROOT) => Some(verifier.clone()),
            _ => role.verifier.as_ref().and_then(|text| Verifier::parse(text.reveal())),
        }
    }

    fn asked(&self, role: Option<&Arc<Role>>, user: &str, now: i64) -> Authentication {
        let verifier = role.and_then(|role| Some((role, self.verifier(role)?)));
        match verifier {
            Some((role, verifier)) if role.valid_until.is_none_or(|until| now < until) => {
                Authentication::Password(Box::new(verifier))
            }
            Some((_, verifier)) => Authentication::Nobody(Box::new(verifier)),
            None => Authentication::Nobody(Box::new(Verifier::mock(&self.nonce, user))),
        }
    }

    /// True if this is the user's password, and the user may come in. Takes as long for names that nobody
    /// has.
    pub fn accepts(&self, catalog: &Catalog, user: &str, password: &str, now: i64) -> bool {
        let role = catalog.find_role(user);
        let login = role.is_some_and(|role| role.login);
        match self.asked(role, user, now) {
            Authentication::Password(verifier) => verifier.accepts(password) && login,
            Authentication::Nobody(verifier) => {
                // The time that it takes is the answer's.
                verifier.accepts(password);
                false
            }
            Authentication::Trust | Authentication::Reject(_) => false,
        }
    }

    /// A place among the sessions for a user who has shown who they are.
    ///
    /// # Errors
    /// Nobody has that name, it may not log in, or there are too many sessions.
    pub(crate) fn seat(
        &self,
        shared: &Arc<crate::shared::Shared>,
        user: &str,
    ) -> Result<(RoleId, Seat), Report> {
        let catalog = shared.catalog();
        let refused = |message: String| Err(Report::new(SqlState::INVALID_AUTHORIZATION, message));
        let Some(role) = catalog.find_role(user) else {
            return refused(format!("role \"{user}\" does not exist"));
        };
        if !role.login {
            return refused(format!("role \"{user}\" is not permitted to log in"));
        }
        let full = |message: String| Err(Report::new(SqlState::TOO_MANY_CONNECTIONS, message));
        let mut sessions = self.sessions.lock();
        let all: usize = sessions.values().sum();
        if all >= self.connections_max {
            return full("sorry, too many clients already".to_owned());
        }
        if !role.superuser && all + RESERVED >= self.connections_max {
            let message = "remaining connection slots are reserved for superusers";
            return full(message.to_owned());
        }
        let own = sessions.entry(role.id).or_default();
        let most = role.connections_max.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        if !role.superuser && most.is_some_and(|most| *own >= most) {
            return full(format!("too many connections for role \"{user}\""));
        }
        *own += 1;
        Ok((role.id, Seat { shared: Arc::clone(shared), role: role.id }))
    }
}

/// Whose session asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    /// Whose rights count.
    pub(crate) current: RoleId,
    /// Who came in.
    pub(crate) session: RoleId,
}

/// The role of a name, or everybody.
///
/// # Errors
/// There is none.
pub(crate) fn grantee(catalog: &Catalog, who: Who, name: &RoleName) -> Result<Grantee, Report> {
    match name {
        RoleName::Public => Ok(None),
        RoleName::Current => Ok(Some(who.current)),
        RoleName::Session => Ok(Some(who.session)),
        RoleName::Named(name) => match catalog.find_role(&name.name) {
            Some(role) => Ok(Some(role.id)),
            None => Err(unknown(&name.name, name.position)),
        },
    }
}

/// The role of a name.
///
/// # Errors
/// There is none, or everybody is meant.
pub(crate) fn role(catalog: &Catalog, who: Who, name: &RoleName) -> Result<Role, Report> {
    let found = grantee(catalog, who, name)?.and_then(|id| catalog.role(id));
    found.map(|role| role.as_ref().clone()).ok_or_else(|| unknown("public", None))
}

pub(crate) fn unknown(name: &str, position: Option<usize>) -> Report {
    let report = Report::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"));
    Report { position, ..report }
}

/// The refusal of what a role may not do.
pub(crate) fn denied(what: impl std::fmt::Display) -> Report {
    Report::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied {what}"))
}

/// The name of a role, for messages.
pub(crate) fn name_of(catalog: &Catalog, id: RoleId) -> String {
    catalog.role(id).map_or_else(|| id.0.to_string(), |role| role.name.clone())
}

#[cfg(test)]
mod tests;
