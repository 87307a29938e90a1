//! Roles, grants, owners and secrets: changed here, one after the other, each in one commit.
//!
//! A session says what is to change as a function of the catalog ([`Alteration`]), which runs on the
//! coordinator's thread: so what it has looked at is still so when it is committed.

use std::collections::BTreeMap;

use millrace_sql::{
    Access, Catalog, Commented, Kind, Object, Role, RoleId, Secret, Source, decode_acl, encode_acl,
};
use millrace_storage::{Commit, Op, Pair, Store};
use millrace_types::{ObjectId, Report, SqlState};

use super::checkpoint::Then;
use super::ddl::object_key;
use super::{Coordinator, Reply};
use crate::error::ServerError;
use crate::shared::{JobState, JobStatus};

/// Keys of roles begin with this.
const ROLE_PREFIX: &[u8] = b"role/";
/// Keys of secrets begin with this.
const SECRET_PREFIX: &[u8] = b"secret/";
/// Keys of comments begin with this.
const COMMENT_PREFIX: &[u8] = b"comment/";
/// The key of who may make objects.
const SCHEMA_KEY: &[u8] = b"schema/public";
/// The key of what salts of names that nobody has follow from.
const NONCE_KEY: &[u8] = b"login-nonce";
/// Its bytes.
const NONCE_BYTES: usize = 32;

/// What is to change; an error changes nothing.
pub type Alteration = Box<dyn FnOnce(&mut Draft) -> Result<(), Report> + Send>;

/// The catalog as it will be.
pub struct Draft {
    catalog: Catalog,
    /// Views that are being filled.
    jobs: Vec<JobStatus>,
    /// The names of tables that are about to be there.
    filled: Vec<String>,
    ops: Vec<Op>,
    next: u32,
}

impl Draft {
    /// The catalog as it is so far.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Views that are being filled.
    pub fn jobs(&self) -> &[JobStatus] {
        &self.jobs
    }

    /// True for the name of what is not in the catalog yet and will be.
    pub fn is_promised(&self, name: &str) -> bool {
        let job = |job: &JobStatus| !matches!(job.state, JobState::Failed(_)) && job.view == name;
        self.jobs.iter().any(job) || self.filled.iter().any(|filled| filled == name)
    }

    /// A number that nothing has had before.
    pub fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Adds a role, or another version of one.
    pub fn put_role(&mut self, role: Role) {
        self.ops.push(Op::Put(key(ROLE_PREFIX, role.id.0), role.encode()));
        self.catalog.put_role(role);
    }

    /// Takes a role away, and its memberships.
    pub fn remove_role(&mut self, id: RoleId) {
        let members: Vec<Role> = self
            .catalog
            .roles()
            .filter(|role| role.member_of.contains_key(&id))
            .map(|role| role.as_ref().clone())
            .collect();
        for mut role in members {
            role.member_of.remove(&id);
            self.put_role(role);
        }
        self.ops.push(Op::Delete(key(ROLE_PREFIX, id.0)));
        self.catalog.remove_role(id);
    }

    /// Another version of an object.
    ///
    /// # Errors
    /// It cannot be stored: a program error.
    pub fn put_object(&mut self, object: Object) -> Result<(), Report> {
        let bytes = object
            .encode()
            .map_err(|error| Report::new(SqlState::INTERNAL_ERROR, error.to_string()))?;
        self.ops.push(Op::Put(object_key(object.id), bytes));
        self.catalog = self.catalog.with(object);
        Ok(())
    }

    /// Other names or definitions for some objects.
    ///
    /// # Errors
    /// One of them cannot be stored: a program error.
    pub fn redefine(&mut self, objects: Vec<Object>) -> Result<(), Report> {
        objects.into_iter().try_for_each(|object| self.put_object(object))?;
        self.catalog.redefined();
        Ok(())
    }

    /// Adds a secret, or another version of one.
    pub fn put_secret(&mut self, secret: Secret) {
        self.ops.push(Op::Put(key(SECRET_PREFIX, secret.id.0), secret.encode()));
        self.catalog.put_secret(secret);
    }

    /// Takes a secret away.
    pub fn remove_secret(&mut self, id: ObjectId) {
        self.ops.push(Op::Delete(key(SECRET_PREFIX, id.0)));
        self.catalog.remove_secret(id);
    }

    /// Keeps a comment, or takes it away.
    pub fn put_comment(&mut self, on: Commented, text: Option<String>) {
        let key = [COMMENT_PREFIX, &on.key()].concat();
        self.ops.push(match &text {
            Some(text) => Op::Put(key, text.clone().into_bytes()),
            None => Op::Delete(key),
        });
        self.catalog.put_comment(on, text);
    }

    /// Changes who may make objects.
    pub fn set_schema(&mut self, schema: Access) {
        self.ops.push(Op::Put(SCHEMA_KEY.to_vec(), encode_acl(&schema)));
        self.catalog.set_schema(schema);
    }
}

fn key(prefix: &[u8], id: u32) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend(id.to_be_bytes());
    key
}

/// Reads roles, secrets and rights into a catalog.
///
/// # Errors
/// What cannot be decoded.
pub(super) fn load(pairs: &[Pair], catalog: &mut Catalog) -> Result<(), ServerError> {
    let damaged = |error: millrace_sql::CatalogError| ServerError::Catalog(error.to_string());
    let below =
        |prefix: &'static [u8]| pairs.iter().filter(move |(key, _)| key.starts_with(prefix));
    for (_, bytes) in below(ROLE_PREFIX) {
        catalog.put_role(Role::decode(bytes).map_err(damaged)?);
    }
    for (_, bytes) in below(SECRET_PREFIX) {
        catalog.put_secret(Secret::decode(bytes).map_err(damaged)?);
    }
    for (key, bytes) in below(COMMENT_PREFIX) {
        let damaged = |what: &str| ServerError::Catalog(format!("damaged comment: {what}"));
        let on = key.get(COMMENT_PREFIX.len()..).and_then(Commented::of_key);
        let text = String::from_utf8(bytes.clone());
        let text = text.map_err(|_| damaged("its text"))?;
        catalog.put_comment(on.ok_or_else(|| damaged("its key"))?, Some(text));
    }
    if let Some((_, bytes)) = below(SCHEMA_KEY).next() {
        catalog.set_schema(decode_acl(bytes).map_err(damaged)?);
    }
    Ok(())
}

/// What salts of names that nobody has follow from: the same over restarts, as those of users are. It is
/// made when the server has none.
///
/// # Errors
/// A store that cannot be read or written.
pub fn login_nonce(store: &Store) -> Result<Vec<u8>, ServerError> {
    if let Some(nonce) = store.get(NONCE_KEY)? {
        return Ok(nonce);
    }
    let nonce = millrace_pg::scram::random::<NONCE_BYTES>();
    let nonce = nonce.map_err(|error| std::io::Error::other(error.to_string()))?.to_vec();
    let ops = vec![Op::Put(NONCE_KEY.to_vec(), nonce.clone())];
    store.commit(Commit { ops, ..Commit::default() })?;
    Ok(nonce)
}

/// The values of secrets, by the options that name them.
///
/// # Errors
/// One that is gone: a damaged catalog, as none is dropped before what uses it.
pub(crate) fn secret_values(
    store: &Store,
    secrets: &BTreeMap<String, ObjectId>,
) -> Result<BTreeMap<String, String>, ServerError> {
    let value = |(option, id): (&String, &ObjectId)| {
        let bytes = store.get(&key(SECRET_PREFIX, id.0))?;
        let gone = || ServerError::Catalog(format!("the secret of option \"{option}\" is gone"));
        let secret = Secret::decode(&bytes.ok_or_else(gone)?);
        let secret = secret.map_err(|error| ServerError::Catalog(error.to_string()))?;
        Ok((option.clone(), secret.value.reveal().to_owned()))
    };
    secrets.iter().map(value).collect()
}

/// A source whose options have the values of the secrets that they name: for who connects it, and for
/// nobody else.
///
/// # Errors
/// As for [`secret_values`].
pub(crate) fn revealed(store: &Store, source: &Source) -> Result<Source, ServerError> {
    let mut source = source.clone();
    source.options.extend(secret_values(store, &source.secrets)?);
    Ok(source)
}

impl Coordinator {
    /// Runs an alteration and commits it. No commit is under way.
    pub(super) fn change_access(
        &mut self,
        alteration: Alteration,
        reply: Reply,
    ) -> Result<(), ServerError> {
        let mut draft = Draft {
            catalog: (*self.catalog()).clone(),
            jobs: self.jobs(),
            filled: self.filled_names().map(str::to_owned).collect(),
            ops: Vec::new(),
            next: self.ddl.next_object,
        };
        if let Err(report) = alteration(&mut draft) {
            drop(reply.send(Err(report)));
            return Ok(());
        }
        self.ddl.next_object = draft.next;
        let mut ops = draft.ops;
        if ops.is_empty() {
            drop(reply.send(Ok(())));
            return Ok(());
        }
        ops.push(self.ids_op());
        let then = Then { catalog: Some(draft.catalog), replies: vec![reply], ..Then::default() };
        self.commit_catalog(ops, Vec::new(), then)
    }

    /// An error if what a new object stands on has gone since its statement was looked at: its owner, or
    /// a secret that it names. Gives it what its owner grants by default.
    pub(super) fn admit_owner(&self, object: &mut Object) -> Option<Report> {
        let catalog = self.catalog();
        let Some(owner) = catalog.role(object.access.owner) else {
            let message = "the role of this session has been dropped";
            return Some(Report::new(SqlState::UNDEFINED_OBJECT, message));
        };
        if object.secrets().any(|id| catalog.secret(id).is_none()) {
            let message = "a secret that the statement names has been dropped";
            return Some(Report::new(SqlState::UNDEFINED_OBJECT, message));
        }
        // Rights on an index are those on what it is on.
        if !matches!(object.kind, Kind::Index(_)) {
            object.access.acl = owner.defaults.clone();
        }
        object.sql = millrace_sql::masked(&object.sql);
        None
    }
}
