//! The rows of a result on their way to the client, batch by batch.
//!
//! Nothing is collected: a batch is encoded from where the last Execute stopped, what is encoded
//! leaves when there is enough of it or when the stream has nothing ready, and the next batch is
//! only asked for when the client has taken what went before.

use bytes::{BufMut, BytesMut};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use millrace_types::{Report, SqlState};

use super::Interrupts;
use crate::encode::{Column, Format, Zone};
use crate::failure::Failure;
use crate::report::report_of;
use crate::session::{ENDLESS, command_tag};
use crate::wire::Wire;

/// A result, as far as it has not been sent.
pub(crate) struct Rows {
    stream: Option<SendableRecordBatchStream>,
    verb: &'static str,
    formats: Vec<Format>,
    batch: Batch,
}

/// The batch that is being sent.
#[derive(Default)]
struct Batch {
    columns: Vec<Column>,
    /// The first row not sent.
    next: usize,
    rows: usize,
}

impl Rows {
    pub(crate) fn new(
        stream: SendableRecordBatchStream,
        verb: &'static str,
        formats: Vec<Format>,
    ) -> Rows {
        Rows { stream: Some(stream), verb, formats, batch: Batch::default() }
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
        zone: &Zone,
        limit: Option<usize>,
    ) -> Result<usize, Failure> {
        let mut sent = 0;
        while limit.is_none_or(|limit| sent < limit) {
            if self.batch.next == self.batch.rows && !self.advance(wire, interrupts, zone).await? {
                break;
            }
            while self.batch.next < self.batch.rows && limit.is_none_or(|limit| sent < limit) {
                self.batch.encode(&self.formats, wire.outgoing())?;
                sent += 1;
                if wire.is_full() {
                    drain(wire, interrupts).await?;
                }
            }
        }
        Ok(sent)
    }

    /// Takes the next batch; false at the end.
    async fn advance(
        &mut self,
        wire: &mut Wire,
        interrupts: &mut Interrupts,
        zone: &Zone,
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
        if batch.num_columns() != self.formats.len() {
            let message = "a batch has another number of columns than the result";
            return Err(Report::new(SqlState::INTERNAL_ERROR, message).into());
        }
        let columns = batch
            .columns()
            .iter()
            .map(|array| Column::new(array, zone))
            .collect::<Result<_, _>>()?;
        self.batch = Batch { columns, next: 0, rows: batch.num_rows() };
        interrupts.pending()?;
        Ok(true)
    }

    /// The command tag after so many rows.
    pub(crate) fn tag(&self, rows: usize) -> String {
        command_tag(self.verb, rows)
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
    fn encode(&mut self, formats: &[Format], out: &mut BytesMut) -> Result<(), Report> {
        let start = out.len();
        let encoded = self.encode_row(formats, out);
        if encoded.is_err() {
            out.truncate(start);
        }
        encoded
    }

    fn encode_row(&mut self, formats: &[Format], out: &mut BytesMut) -> Result<(), Report> {
        let start = out.len();
        out.put_u8(b'D');
        out.put_u32(0);
        // The number of columns was checked when they were described.
        out.put_i16(i16::try_from(self.columns.len()).unwrap_or(i16::MAX));
        for (column, format) in self.columns.iter().zip(formats) {
            column.put(self.next, *format, out)?;
        }
        let length = out.len() - start - 1;
        let length = i32::try_from(length).map_err(|_| {
            Report::new(SqlState::STATEMENT_TOO_COMPLEX, "row is too large for a message")
        })?;
        out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        self.next += 1;
        Ok(())
    }
}
