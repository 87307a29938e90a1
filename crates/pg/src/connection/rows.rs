//! The rows of a result on their way to the client, batch by batch.
//!
//! Nothing is collected: a batch is encoded from where the last Execute stopped, what is encoded
//! leaves when there is enough of it or when the stream has nothing ready, and the next batch is
//! only asked for when the client has taken what went before.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::{BufMut, BytesMut};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState};

use super::Interrupts;
use crate::copy::Writer;
use crate::encode::{Column, Format};
use crate::failure::Failure;
use crate::portal::PortalRows;
use crate::report::report_of;
use crate::session::{ENDLESS, command_tag};
use crate::wire::Wire;

/// A result, as far as it has not been sent.
pub(crate) struct Rows {
    stream: Option<SendableRecordBatchStream>,
    verb: &'static str,
    /// How many have been sent, over all messages that asked for some.
    sent: usize,
    columns: usize,
    form: Form,
    batch: Batch,
    /// Others may fetch them too.
    shared: Option<Arc<PortalRows>>,
    /// What of the batch was not sent waits for others, too: see [`PortalRows::give_back`].
    given_back: Option<u64>,
}

/// The messages that rows become.
enum Form {
    /// DataRow, each column in its format.
    Data(Vec<Format>),
    /// CopyData.
    Copy(Writer),
}

/// The batch that is being sent.
#[derive(Default)]
struct Batch {
    columns: Vec<Column>,
    /// The first row not sent.
    next: usize,
    rows: usize,
    /// As it came, if it may have to go back.
    whole: Option<RecordBatch>,
}

impl Rows {
    pub(crate) fn new(
        stream: SendableRecordBatchStream,
        verb: &'static str,
        formats: Vec<Format>,
    ) -> Rows {
        let (columns, form) = (formats.len(), Form::Data(formats));
        let (stream, batch) = (Some(stream), Batch::default());
        Rows { stream, verb, sent: 0, columns, form, batch, shared: None, given_back: None }
    }

    /// Rows that have begun and that others may fetch too.
    pub(crate) fn shared(rows: &Arc<PortalRows>, verb: &'static str, formats: Vec<Format>) -> Rows {
        let next = |rows: Arc<PortalRows>| async move {
            let batch = rows.next(usize::MAX, None).await?;
            Some((batch, rows))
        };
        let stream = futures::stream::unfold(Arc::clone(rows), next);
        let stream = RecordBatchStreamAdapter::new(Arc::clone(rows.schema()), stream);
        let shared = Some(Arc::clone(rows));
        Rows { shared, ..Rows::new(Box::pin(stream), verb, formats) }
    }

    /// Rows that have not been sent are the next for others.
    async fn give_back(&mut self) {
        let Batch { next, rows, whole, .. } = &self.batch;
        if let (Some(shared), Some(whole)) = (&self.shared, whole)
            && next < rows
        {
            let rest = whole.slice(*next, rows - next);
            self.given_back = Some(shared.give_back(rest).await);
        }
    }

    /// Goes on with them, unless others have taken some.
    async fn reclaim(&mut self) {
        if let (Some(shared), Some(asked)) = (&self.shared, self.given_back.take())
            && !shared.reclaim(asked).await
        {
            self.batch = Batch::default();
        }
    }

    /// Rows that are the data of a COPY.
    pub(crate) fn copied(stream: SendableRecordBatchStream, writer: Writer) -> Rows {
        let (columns, form) = (stream.schema().fields().len(), Form::Copy(writer));
        let rows = Rows::new(stream, "COPY", Vec::new());
        Rows { columns, form, ..rows }
    }

    /// Appends what a COPY has after its last row.
    pub(crate) fn finish(&mut self, out: &mut BytesMut) -> Result<(), Report> {
        match &mut self.form {
            Form::Data(_) => Ok(()),
            Form::Copy(writer) => message(b'd', out, |out| Ok(writer.end(out))),
        }
    }

    /// True if they go on until the client has enough.
    pub(crate) fn is_endless(&self) -> bool {
        self.verb == ENDLESS
    }

    /// Sends rows, `limit` at most, and gives their number.
    pub(crate) async fn send(
        &mut self,
        wire: &mut Wire,
        interrupts: &mut Interrupts,
        zone: Zone,
        limit: Option<usize>,
    ) -> Result<usize, Failure> {
        let mut sent = 0;
        self.reclaim().await;
        while limit.is_none_or(|limit| sent < limit) {
            if self.batch.next == self.batch.rows && !self.advance(wire, interrupts, zone).await? {
                break;
            }
            while self.batch.next < self.batch.rows && limit.is_none_or(|limit| sent < limit) {
                self.batch.encode(&mut self.form, wire.outgoing())?;
                sent += 1;
                if wire.is_full() {
                    drain(wire, interrupts).await?;
                }
            }
        }
        self.give_back().await;
        Ok(sent)
    }

    /// Takes the next batch; false at the end.
    async fn advance(
        &mut self,
        wire: &mut Wire,
        interrupts: &mut Interrupts,
        zone: Zone,
    ) -> Result<bool, Failure> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        let ready = match futures::poll!(stream.next()) {
            std::task::Poll::Ready(batch) => batch,
            std::task::Poll::Pending => {
                drain(wire, interrupts).await?;
                tokio::select! {
                    biased;
                    failure = interrupts.raised() => return Err(failure),
                    error = wire.gone() => return Err(error.into()),
                    batch = stream.next() => batch,
                }
            }
        };
        let Some(batch) = ready else {
            self.stream = None;
            return Ok(false);
        };
        let batch = batch.map_err(|error| report_of(&error))?;
        if batch.num_columns() != self.columns {
            let message = "a batch has another number of columns than the result";
            return Err(Report::new(SqlState::INTERNAL_ERROR, message).into());
        }
        let columns = batch
            .columns()
            .iter()
            .map(|array| Column::new(array, zone))
            .collect::<Result<_, _>>()?;
        let rows = batch.num_rows();
        let whole = self.shared.is_some().then_some(batch);
        self.batch = Batch { columns, next: 0, rows, whole };
        interrupts.pending()?;
        Ok(true)
    }

    /// So many rows have been sent.
    pub(crate) fn counted(&mut self, rows: usize) {
        self.sent += rows;
    }

    /// The command tag after so many rows: a change says how many it made, whenever they were asked for.
    pub(crate) fn tag(&self, rows: usize) -> String {
        match self.verb {
            "INSERT" | "UPDATE" | "DELETE" => command_tag(self.verb, self.sent),
            verb => command_tag(verb, rows),
        }
    }
}

/// Waits until the client has taken what waits for it. Who takes nothing can be interrupted: what
/// the statement holds is given back at once, what waits goes when the client takes it.
async fn drain(wire: &mut Wire, interrupts: &mut Interrupts) -> Result<(), Failure> {
    tokio::select! {
        biased;
        failure = interrupts.raised() => return Err(failure),
        flushed = wire.flush() => flushed?,
    }
    interrupts.pending()
}

impl Batch {
    /// Appends the next row; on an error the buffer is as it was.
    fn encode(&mut self, form: &mut Form, out: &mut BytesMut) -> Result<(), Report> {
        let row = self.next;
        match form {
            Form::Data(formats) => message(b'D', out, |out| {
                // The number of columns was checked when they were described.
                out.put_i16(i16::try_from(self.columns.len()).unwrap_or(i16::MAX));
                for (column, format) in self.columns.iter().zip(formats) {
                    column.put(row, *format, out)?;
                }
                Ok(true)
            })?,
            Form::Copy(writer) => message(b'd', out, |out| {
                writer.row(&self.columns, row, out)?;
                Ok(true)
            })?,
        }
        self.next += 1;
        Ok(())
    }
}

/// Appends a message whose body `write` appends; nothing if it says that there is none, or fails.
pub(super) fn message(
    kind: u8,
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<bool, Report>,
) -> Result<(), Report> {
    let start = out.len();
    out.put_u8(kind);
    out.put_u32(0);
    let written = write(out).and_then(|written| {
        let length = i32::try_from(out.len() - start - 1).map_err(|_| {
            Report::new(SqlState::STATEMENT_TOO_COMPLEX, "row is too large for a message")
        })?;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        Ok(written)
    });
    if !matches!(written, Ok(true)) {
        out.truncate(start);
    }
    written.map(|_| ())
}
