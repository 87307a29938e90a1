//! The extended protocol: prepared statements, portals, suspended results.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState};
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    BindComplete, CloseComplete, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};

use super::{Connection, Rows, unknown_statement};
use crate::decode;
use crate::encode::Format;
use crate::failure::Failure;
use crate::frontend::{Bind, Request, Target};
use crate::portal::PortalRows;
use crate::report::CHANGED_COLUMNS;
use crate::session::{self, BoundPortal, ENDLESS, Outcome, Statement};
use crate::types;

/// A prepared statement.
#[derive(Clone)]
pub(super) struct Prepared {
    /// None if the query string holds nothing.
    statement: Option<Statement>,
    /// For each parameter the type that the client was told or declared, and the one wanted.
    parameters: Vec<(u32, DataType)>,
    columns: Option<SchemaRef>,
}

/// A statement with its values.
pub(super) struct Portal {
    bound: Bound,
    state: State,
}

/// What a portal runs and how its rows are written.
struct Bound {
    statement: Option<Statement>,
    columns: Option<SchemaRef>,
    formats: Vec<Format>,
    /// Its rows, if FETCH and MOVE may read them too.
    shared: Option<Arc<PortalRows>>,
}

impl Portal {
    /// A statement has closed it.
    fn is_closed(&self) -> bool {
        self.bound.shared.as_ref().is_some_and(|rows| rows.is_closed())
    }
}

impl Bound {
    /// Characters of the query string before the statement.
    fn offset(&self) -> usize {
        self.statement.as_ref().map_or(0, |statement| statement.offset)
    }
}

/// How far a portal is.
enum State {
    Bound(Vec<ScalarValue>),
    Rows(Box<Rows>),
    Finished,
}

/// A failure and the offset of its statement in the query string.
type Failed = (Failure, usize);

impl Connection {
    /// Answers a message of an extended query.
    pub(super) async fn extended(&mut self, request: Request) -> Result<(), Failed> {
        let whole = |result: Result<(), Failure>| result.map_err(|failure| (failure, 0));
        match request {
            Request::Parse { name, query, types } => self.parse(name, &query, &types).await,
            Request::Bind(bind) => whole(self.bind(bind)),
            Request::Describe(target) => whole(self.describe(&target)),
            Request::Execute { portal, rows } => self.run_portal(&portal, rows).await,
            Request::Close(target) => whole(self.close(&target)),
            Request::Query(_)
            | Request::Flush
            | Request::Sync
            | Request::Terminate
            | Request::Copy(_)
            | Request::Function => Ok(()),
        }
    }

    async fn parse(&mut self, name: String, query: &str, types: &[u32]) -> Result<(), Failed> {
        let whole = |report: Report| (Failure::Statement(report), 0);
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(whole(Report::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message)));
        }
        let mut statements = self.session.split(query).map_err(whole)?;
        statements.retain(|statement| !statement.text.is_empty());
        if statements.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(whole(Report::new(SqlState::SYNTAX_ERROR, message)));
        }
        let prepared = match statements.pop() {
            None => Prepared { statement: None, parameters: Vec::new(), columns: None },
            Some(statement) => {
                let offset = statement.offset;
                self.prepare(statement, types).await.map_err(|failure| (failure, offset))?
            }
        };
        if let Some(statement) = prepared.statement.as_ref().filter(|_| !name.is_empty()) {
            let parameters = prepared.parameters.iter().map(|(_, wanted)| wanted.clone());
            let columns = prepared.columns.clone();
            let known = session::Prepared { parameters: parameters.collect(), columns };
            self.session.keep(&name, statement, known).map_err(whole)?;
        }
        self.statements.insert(name, prepared);
        self.wire.put(&ParseComplete::new()).map_err(|error| (error.into(), 0))
    }

    async fn prepare(&mut self, statement: Statement, oids: &[u32]) -> Result<Prepared, Failure> {
        let hints: Vec<Option<DataType>> = oids.iter().map(|oid| types::hint(*oid)).collect();
        self.interrupts.begin(self.session.statement_timeout());
        let known = tokio::select! {
            biased;
            failure = self.interrupts.raised() => return Err(failure),
            error = self.wire.gone() => return Err(error.into()),
            known = self.session.prepare(&statement, &hints) => known?,
        };
        let declared = |at: usize| oids.get(at).copied().filter(|oid| types::is_declared(*oid));
        let parameters = known
            .parameters
            .into_iter()
            .enumerate()
            .map(|(at, wanted)| (declared(at).unwrap_or_else(|| types::oid(&wanted)), wanted))
            .collect();
        Ok(Prepared { statement: Some(statement), parameters, columns: known.columns })
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Failure> {
        let prepared = self
            .statements
            .get(&bind.statement)
            .ok_or_else(|| unknown_statement(&bind.statement))?;
        let taken = self.portals.get(&bind.portal).is_some_and(|portal| !portal.is_closed());
        if !bind.portal.is_empty() && taken {
            let message = format!("portal \"{}\" already exists", bind.portal);
            return Err(Report::new(SqlState::DUPLICATE_CURSOR, message).into());
        }
        let values = values(prepared, &bind, self.zone())?;
        let width = prepared.columns.as_ref().map_or(0, |schema| schema.fields().len());
        let formats = formats(&bind.result_formats, width, || {
            format!(
                "bind message has {} result formats but query has {width} columns",
                bind.result_formats.len()
            )
        })?;
        let (statement, columns) = (prepared.statement.clone(), prepared.columns.clone());
        let mut bound = Bound { statement, columns, formats, shared: None };
        if !bind.portal.is_empty()
            && let (Some(statement), Some(columns)) = (&bound.statement, &bound.columns)
        {
            let rows = Arc::new(PortalRows::new(Arc::clone(columns)));
            let (statement, values) = (statement.clone(), values.clone());
            let portal = BoundPortal { statement, values, rows: Arc::clone(&rows) };
            self.session.bound(&bind.portal, portal)?;
            bound.shared = Some(rows);
        }
        if !bind.statement.is_empty() {
            self.session.used(&bind.statement);
        }
        let portal = Portal { bound, state: State::Bound(values) };
        self.portals.insert(bind.portal, portal);
        Ok(self.wire.put(&BindComplete::new())?)
    }

    fn describe(&mut self, target: &Target) -> Result<(), Failure> {
        let (columns, formats) = match target {
            Target::Statement(name) => {
                let prepared = self.statements.get(name).ok_or_else(|| unknown_statement(name))?;
                let oids = prepared.parameters.iter().map(|(oid, _)| *oid).collect();
                self.wire.put(&ParameterDescription::new(oids))?;
                (&prepared.columns, [Format::Text].as_slice())
            }
            Target::Portal(name) if self.portals.get(name).is_none_or(Portal::is_closed) => {
                // A cursor that a statement has declared.
                let schema = self.session.cursor(name).ok_or_else(|| unknown_portal(name))?;
                self.wire.put(&types::describe(&schema, &[Format::Text])?)?;
                return Ok(());
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| unknown_portal(name))?;
                (&portal.bound.columns, portal.bound.formats.as_slice())
            }
        };
        match columns {
            Some(schema) => self.wire.put(&types::describe(schema, formats)?)?,
            None => self.wire.put(&NoData::new())?,
        }
        Ok(())
    }

    async fn run_portal(&mut self, name: &str, limit: Option<usize>) -> Result<(), Failed> {
        // While it runs the portal is not in the map: if it fails it is gone.
        let portal = self.portals.remove(name).filter(|portal| !portal.is_closed());
        let Some(mut portal) = portal else {
            return Err((unknown_portal(name).into(), 0));
        };
        let offset = portal.bound.offset();
        match self.advance(name, &mut portal, limit).await {
            Ok(()) => {
                self.portals.insert(name.to_owned(), portal);
                Ok(())
            }
            Err(failure) => {
                self.session.unbound(name);
                Err((failure, offset))
            }
        }
    }

    async fn advance(
        &mut self,
        name: &str,
        portal: &mut Portal,
        limit: Option<usize>,
    ) -> Result<(), Failure> {
        self.interrupts.begin(self.session.statement_timeout());
        let mut rows = match std::mem::replace(&mut portal.state, State::Finished) {
            State::Rows(rows) => *rows,
            State::Bound(values) => match self.begin(&portal.bound, values).await? {
                Some(rows) => rows,
                None => return Ok(()),
            },
            State::Finished => {
                let message = format!("portal \"{name}\" cannot be run");
                return Err(Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into());
            }
        };
        if rows.is_endless() {
            self.interrupts.lift();
        }
        let zone = self.zone();
        let sent = rows.send(&mut self.wire, &mut self.interrupts, zone, limit).await?;
        rows.counted(sent);
        self.notices(portal.bound.offset())?;
        if limit == Some(sent) {
            self.wire.put(&PortalSuspended::new())?;
        } else {
            self.wire.put(&CommandComplete::new(rows.tag(sent)))?;
        }
        // A result that is over can be asked again; it gives no rows then.
        portal.state = State::Rows(Box::new(rows));
        Ok(())
    }

    /// Runs the statement; its rows, or None if it is answered already.
    async fn begin(
        &mut self,
        bound: &Bound,
        values: Vec<ScalarValue>,
    ) -> Result<Option<Rows>, Failure> {
        let Some(statement) = &bound.statement else {
            self.wire.put(&EmptyQueryResponse::new())?;
            return Ok(None);
        };
        if let Some(shared) = bound.shared.as_ref().filter(|shared| shared.is_begun()) {
            // FETCH was first.
            let verb = if shared.is_endless() { ENDLESS } else { "SELECT" };
            return Ok(Some(Rows::shared(shared, verb, bound.formats.clone())));
        }
        self.session.gather(false);
        match self.execute(statement, values).await? {
            Outcome::Empty => self.wire.put(&EmptyQueryResponse::new())?,
            Outcome::Done(tag) => {
                self.notices(statement.offset)?;
                self.wire.put(&CommandComplete::new(tag))?;
            }
            outcome @ (Outcome::CopyIn { .. } | Outcome::CopyOut { .. }) => {
                let offset = statement.offset;
                self.copy(outcome, offset).await?;
            }
            Outcome::Rows { schema, rows, verb } => {
                unchanged(bound.columns.as_ref(), &schema)?;
                if let Some(shared) = &bound.shared {
                    shared.begin(rows, verb == ENDLESS).await;
                    return Ok(Some(Rows::shared(shared, verb, bound.formats.clone())));
                }
                return Ok(Some(Rows::new(rows, verb, bound.formats.clone())));
            }
        }
        Ok(None)
    }

    fn close(&mut self, target: &Target) -> Result<(), Failure> {
        match target {
            Target::Statement(name) => {
                self.statements.remove(name);
                self.session.forget(name);
            }
            Target::Portal(name) => {
                self.portals.remove(name);
                self.session.unbound(name);
            }
        }
        Ok(self.wire.put(&CloseComplete::new())?)
    }
}

impl Connection {
    /// Without an open transaction no portal stays.
    pub(super) fn end_portals(&mut self) {
        for (name, portal) in std::mem::take(&mut self.portals) {
            // The name of one that is closed may be another cursor's.
            if portal.bound.shared.is_some() && !portal.is_closed() {
                self.session.unbound(&name);
            }
        }
    }
}

fn unknown_portal(name: &str) -> Report {
    let message = format!("portal \"{name}\" does not exist");
    Report::new(SqlState::INVALID_CURSOR_NAME, message)
}

/// The client has been told columns; a view that was made anew since may have others.
fn unchanged(described: Option<&SchemaRef>, schema: &SchemaRef) -> Result<(), Report> {
    let oids = |schema: &SchemaRef| -> Vec<u32> {
        schema.fields().iter().map(|field| types::oid(field.data_type())).collect()
    };
    if described.map(oids).as_ref() != Some(&oids(schema)) {
        return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, CHANGED_COLUMNS));
    }
    Ok(())
}

fn values(prepared: &Prepared, bind: &Bind, zone: Zone) -> Result<Vec<ScalarValue>, Report> {
    let (given, wanted) = (bind.parameters.len(), prepared.parameters.len());
    if given != wanted {
        let message = format!(
            "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
            bind.statement
        );
        return Err(Report::new(SqlState::PROTOCOL_VIOLATION, message));
    }
    let formats = formats(&bind.parameter_formats, wanted, || {
        format!(
            "bind message has {} parameter formats but {wanted} parameters",
            bind.parameter_formats.len()
        )
    })?;
    let given = bind.parameters.iter().zip(&prepared.parameters).zip(formats);
    given
        .enumerate()
        .map(|(at, ((value, (oid, wanted)), format))| {
            decode::parameter(value.as_deref(), format, (*oid, wanted), zone)
                .map_err(|report| decode::of_parameter(report, at + 1))
        })
        .collect()
}

/// Spreads format codes over so many columns.
fn formats(
    codes: &[i16],
    width: usize,
    mismatch: impl Fn() -> String,
) -> Result<Vec<Format>, Report> {
    let format = |code: &i16| match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => {
            let message = format!("unsupported format code: {other}");
            Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message))
        }
    };
    match codes {
        [] => Ok(vec![Format::Text; width]),
        [one] => Ok(vec![format(one)?; width]),
        codes if codes.len() == width => codes.iter().map(format).collect(),
        _ => Err(Report::new(SqlState::PROTOCOL_VIOLATION, mismatch())),
    }
}
