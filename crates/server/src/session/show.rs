//! SHOW and DESCRIBE.

use millrace_pg::session::Outcome;
use millrace_sql::ast::{Name, ObjectKind, Show};
use millrace_sql::{Kind, Object};
use millrace_types::{Report, SqlState, SqlType, is_hidden};

use super::Conn;
use super::rows::text_rows;
use super::settings::SessionSettings;
use crate::serving::{status_reason, status_word};

impl Conn {
    pub(super) fn show(&self, show: &Show) -> Result<Outcome, Report> {
        match show {
            Show::Sources => Ok(self.show_sources()),
            Show::Views => Ok(self.show_names(|kind| matches!(kind, Kind::View(_)))),
            Show::MaterializedViews => Ok(self.show_materialized_views()),
            Show::Tables => Ok(self.show_names(|kind| matches!(kind, Kind::Table(_)))),
            Show::Sinks => Ok(self.show_sinks()),
            Show::Jobs => Ok(self.show_jobs()),
            Show::All => Ok(self.show_all()),
            Show::Secrets => Ok(self.show_secrets()),
            Show::Create(kind, name) => self.show_create(*kind, name),
            Show::Columns(name) => self.describe(name, "SHOW"),
            Show::Parameter(name) => self.show_parameter(name),
        }
    }

    fn show_parameter(&self, name: &str) -> Result<Outcome, Report> {
        let value = self.settings.lock().get(name)?;
        let name = SessionSettings::spelled(name);
        Ok(text_rows("SHOW", &[&name], vec![vec![Some(value)]]))
    }

    fn show_all(&self) -> Outcome {
        let rows = self.settings.lock().all().into_iter();
        let rows = rows.map(|(name, value)| vec![Some(name.to_owned()), Some(value)]).collect();
        text_rows("SHOW", &["name", "setting"], rows)
    }

    /// Their names; what they stand for is never shown.
    fn show_secrets(&self) -> Outcome {
        let catalog = self.shared.catalog();
        let rows = catalog.secrets().map(|secret| vec![Some(secret.name.clone())]).collect();
        text_rows("SHOW", &["name"], rows)
    }

    fn show_names(&self, wanted: impl Fn(&Kind) -> bool) -> Outcome {
        let catalog = self.shared.catalog();
        let objects = catalog.objects();
        let objects = objects.filter(|object| wanted(&object.kind) && !object.is_of_server());
        text_rows("SHOW", &["name"], objects.map(|o| vec![Some(o.name.clone())]).collect())
    }

    fn show_sources(&self) -> Outcome {
        let catalog = self.shared.catalog();
        let board = self.shared.board.lock();
        let mut rows = Vec::new();
        for object in catalog.objects() {
            let Some(source) = object.source() else { continue };
            let status = board.sources.get(&object.id).cloned().unwrap_or_default();
            let since = status.unreachable.as_ref().map(|(at, _)| timestamp(*at));
            rows.push(vec![
                Some(object.name.clone()),
                Some(source.connector.clone()),
                Some(status_word(&status).to_owned()),
                since,
                status_reason(&status),
            ]);
        }
        text_rows("SHOW", &["name", "connector", "status", "since", "error"], rows)
    }

    fn show_sinks(&self) -> Outcome {
        let catalog = self.shared.catalog();
        let board = self.shared.board.lock();
        let mut rows = Vec::new();
        for object in catalog.objects() {
            let Kind::Sink(sink) = &object.kind else { continue };
            let status = board.sinks.get(&object.id).cloned().unwrap_or_default();
            rows.push(vec![
                Some(object.name.clone()),
                catalog.get(sink.from).map(|from| from.name.clone()),
                Some(sink.connector.clone()),
                Some(status.state.word().to_owned()),
                status.error,
            ]);
        }
        text_rows("SHOW", &["name", "from", "connector", "status", "error"], rows)
    }

    fn show_materialized_views(&self) -> Outcome {
        let catalog = self.shared.catalog();
        let board = self.shared.board.lock();
        let mut rows = Vec::new();
        for object in catalog.objects() {
            if !matches!(object.kind, Kind::MaterializedView(_)) {
                continue;
            }
            let status = board.views.get(&object.id);
            let word = match status {
                Some(status) if status.failed.is_some() => "failed",
                Some(status) if status.complete().is_some() => "running",
                _ => "recovering",
            };
            let error = status.and_then(|status| status.failed.clone());
            rows.push(vec![Some(object.name.clone()), Some(word.to_owned()), error]);
        }
        text_rows("SHOW", &["name", "status", "error"], rows)
    }

    fn show_jobs(&self) -> Outcome {
        let jobs = self.shared.board.lock().jobs.clone();
        let rows = jobs.into_iter().map(|job| {
            let id = job.id.0.to_string();
            let progress = job.percent().map(|percent| format!("{percent}%"));
            let (word, error) = (job.word().to_owned(), job.error().map(str::to_owned));
            vec![Some(id), Some(job.view), Some(word), progress, error]
        });
        text_rows("SHOW", &["job", "view", "status", "progress", "error"], rows.collect())
    }

    fn show_create(&self, kind: ObjectKind, name: &Name) -> Result<Outcome, Report> {
        let object = self.object(name)?;
        if object.object_kind() != kind {
            let message = format!("\"{}\" is not {}", name.name, kind.one());
            return Err(positioned(Report::new(SqlState::WRONG_OBJECT_TYPE, message), name));
        }
        let row = vec![Some(object.name.clone()), Some(object.sql.clone())];
        Ok(text_rows("SHOW", &["name", "create_sql"], vec![row]))
    }

    pub(super) fn describe(&self, name: &Name, verb: &'static str) -> Result<Outcome, Report> {
        let object = self.object(name)?;
        let schema = object.full_schema();
        let computed = |column: &str| match &object.kind {
            Kind::Source(source) => {
                let found = source.columns.iter().find(|c| c.name == column);
                found.and_then(|c| c.computed.clone())
            }
            Kind::Table(_)
            | Kind::View(_)
            | Kind::MaterializedView(_)
            | Kind::Index(_)
            | Kind::Sink(_) => None,
        };
        let default = |column: &str| match &object.kind {
            Kind::Table(table) => {
                let found = table.columns.iter().find(|c| c.name == column);
                found.and_then(millrace_sql::TableColumn::default_text)
            }
            Kind::Source(_)
            | Kind::View(_)
            | Kind::MaterializedView(_)
            | Kind::Index(_)
            | Kind::Sink(_) => None,
        };
        let in_key = |at: usize| match &object.kind {
            Kind::Table(table) => table.key.contains(&at),
            Kind::Sink(sink) => sink.key.contains(schema.field(at).name()),
            Kind::Source(_) | Kind::View(_) | Kind::MaterializedView(_) | Kind::Index(_) => false,
        };
        let watermark = match &object.kind {
            Kind::Source(source) => source.watermark.as_ref().map(|w| (w.column, w.delay_us)),
            Kind::Table(_)
            | Kind::View(_)
            | Kind::MaterializedView(_)
            | Kind::Index(_)
            | Kind::Sink(_) => None,
        };
        let mut rows = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            if is_hidden(field.name()) {
                continue;
            }
            let sql_type = SqlType::of_arrow(field.data_type());
            let mut notes = Vec::new();
            notes.extend(computed(field.name()).map(|text| format!("computed as {text}")));
            let key = if matches!(object.kind, Kind::Sink(_)) { "key" } else { "primary key" };
            notes.extend(in_key(at).then(|| key.to_owned()));
            notes.extend(default(field.name()).map(|text| format!("default {text}")));
            notes.extend(
                watermark
                    .filter(|(column, _)| *column == at)
                    .map(|(_, delay)| format!("event time, watermark {} s behind", seconds(delay))),
            );
            rows.push(vec![
                Some(field.name().clone()),
                sql_type.map(|t| t.name()),
                Some(if field.is_nullable() { "yes" } else { "no" }.to_owned()),
                (!notes.is_empty()).then(|| notes.join("; ")),
            ]);
        }
        Ok(text_rows(verb, &["name", "type", "nullable", "notes"], rows))
    }

    /// REFRESH: a view is up to date without it.
    pub(super) fn refresh(&mut self, name: &Name) -> Result<(), Report> {
        let object = self.object(name)?;
        if !matches!(object.kind, Kind::MaterializedView(_)) {
            let message = format!("\"{}\" is not a materialized view", name.name);
            return Err(positioned(Report::new(SqlState::WRONG_OBJECT_TYPE, message), name));
        }
        self.notice(format!("materialized view \"{}\" is always up to date", name.name));
        Ok(())
    }

    /// The object that a name means.
    pub(super) fn object(&self, name: &Name) -> Result<std::sync::Arc<Object>, Report> {
        let catalog = self.shared.catalog();
        let missing = || {
            let message = format!("relation \"{}\" does not exist", name.name);
            positioned(Report::new(SqlState::UNDEFINED_TABLE, message), name)
        };
        catalog.find(&name.name).cloned().ok_or_else(missing)
    }
}

/// The report with the position of a name.
pub(super) fn positioned(report: Report, name: &Name) -> Report {
    match name.position {
        Some(position) => report.at(position),
        None => report,
    }
}

fn seconds(micros: i64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Microseconds since 1970 as PostgreSQL writes a timestamptz in UTC.
pub(super) fn timestamp(micros: i64) -> String {
    use arrow::array::TimestampMicrosecondArray;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let array = TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC");
    let format = FormatOptions::new().with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.6f+00"));
    let formatter = ArrayFormatter::try_new(&array, &format);
    formatter.map(|formatter| formatter.value(0).to_string()).unwrap_or_default()
}
