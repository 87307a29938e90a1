//! ALTER: options of a source that say what becomes of what is not taken, and constraints of a table.
//!
//! They concern what is read from now on. A source that has stopped at a message goes on when it need
//! not stop any more.

use std::sync::atomic::Ordering;

use millrace_sql::{Constraints, Kind, Object};
use millrace_storage::Op;
use millrace_types::{ObjectId, Report, SqlState};

use super::checkpoint::Then;
use super::ddl::object_key;
use super::kept::stops;
use super::{Coordinator, Reply};
use crate::error::ServerError;

/// What stands before the statements that have altered an object, in its text.
const ALTERED: &str = ";\nALTER ";

impl Coordinator {
    pub(super) fn alter(
        &mut self,
        id: ObjectId,
        options: Vec<(String, String)>,
        reply: Reply,
    ) -> Result<(), ServerError> {
        let Some(mut object) = self.catalog().get(id).map(|object| Object::clone(object)) else {
            let message = "the object has been dropped";
            drop(reply.send(Err(Report::new(SqlState::UNDEFINED_OBJECT, message))));
            return Ok(());
        };
        let source = match &mut object.kind {
            Kind::Source(source) => Some(source),
            Kind::Table(table) => table.feed.as_deref_mut(),
            Kind::View(_) | Kind::MaterializedView(_) | Kind::Index(_) | Kind::Sink(_) => None,
        };
        let Some(source) = source else {
            return Err(ServerError::Catalog(format!("\"{}\" reads nothing", object.name)));
        };
        source.options.extend(options);
        let policies = crate::sources::POLICIES.iter();
        let set = policies.filter_map(|(name, _)| Some((name, source.options.get(*name)?)));
        let set: Vec<String> = set.map(|(name, value)| format!("{name} = '{value}'")).collect();
        let stops = stops(source);
        let (kind, name) = (object.object_kind().sql(), object.name.clone());
        let created = object.sql.split(ALTERED).next().unwrap_or_default();
        object.sql = format!("{created}{ALTERED}{kind} {name} SET ({})", set.join(", "));
        match object.encode() {
            Ok(bytes) => {
                if let Some(flag) = self.stops.get(&id) {
                    flag.store(stops, Ordering::SeqCst);
                }
                let catalog = Some(self.catalog().with(object));
                let then = Then { catalog, replies: vec![reply], ..Then::default() };
                self.commit_catalog(vec![Op::Put(object_key(id), bytes)], Vec::new(), then)
            }
            Err(error) => {
                drop(reply.send(Err(Report::new(SqlState::INTERNAL_ERROR, error.to_string()))));
                Ok(())
            }
        }
    }

    /// Gives a table other constraints; what its rows are was looked at while it was locked.
    pub(super) fn constrain(
        &mut self,
        id: ObjectId,
        constraints: Constraints,
        text: &str,
        reply: Reply,
    ) -> Result<(), ServerError> {
        let Some(mut object) = self.catalog().get(id).map(|object| Object::clone(object)) else {
            let message = "the object has been dropped";
            drop(reply.send(Err(Report::new(SqlState::UNDEFINED_OBJECT, message))));
            return Ok(());
        };
        if let Kind::Table(table) = &mut object.kind {
            table.constraints = constraints;
            table.own(id);
        }
        // A statement may change several constraints.
        if !object.sql.ends_with(text) {
            object.sql = format!("{};\n{text}", object.sql);
        }
        match object.encode() {
            Ok(bytes) => {
                let catalog = Some(self.catalog().with(object));
                let then = Then { catalog, replies: vec![reply], ..Then::default() };
                self.commit_catalog(vec![Op::Put(object_key(id), bytes)], Vec::new(), then)
            }
            Err(error) => {
                drop(reply.send(Err(Report::new(SqlState::INTERNAL_ERROR, error.to_string()))));
                Ok(())
            }
        }
    }
}
