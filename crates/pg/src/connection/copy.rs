//! COPY: data from the client, and data to it.
//!
//! Data for the client leaves row by row, as all rows do. Data from the client is taken in as a whole,
//! up to a limit, as the statement is one change.

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use millrace_types::{Report, SqlState};
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::response::CommandComplete;

use super::rows::{Rows, message};
use super::{Connection, received};
use crate::copy::{CopyForm, Writer};
use crate::failure::Failure;
use crate::frontend::{Copied, Request};
use crate::session::Outcome;

impl Connection {
    /// Answers a COPY whose outcome is that data travels.
    pub(super) async fn copy(&mut self, outcome: Outcome, offset: usize) -> Result<(), Failure> {
        let tag = match outcome {
            Outcome::CopyIn { columns, binary, limit } => {
                self.copy_in(columns, binary, limit).await?
            }
            Outcome::CopyOut { schema, rows, form, endless } => {
                if endless {
                    self.interrupts.lift();
                }
                self.copy_out(&schema, rows, form).await?
            }
            Outcome::Done(tag) => tag,
            Outcome::Empty | Outcome::Rows { .. } => {
                return Err(Report::unsupported("a COPY that returns rows").into());
            }
        };
        self.notices(offset)?;
        Ok(self.wire.put(&CommandComplete::new(tag))?)
    }

    /// Sends the data of a COPY; its command tag.
    async fn copy_out(
        &mut self,
        schema: &SchemaRef,
        rows: SendableRecordBatchStream,
        form: CopyForm,
    ) -> Result<String, Failure> {
        let (count, format) = (width(schema.fields().len())?, i16::from(form.is_binary()));
        let formats = vec![format; schema.fields().len()];
        self.wire.put(&CopyOutResponse::new(i8::from(form.is_binary()), count, formats))?;
        let mut writer = Writer::new(form);
        message(b'd', self.wire.outgoing(), |out| Ok(writer.header(schema, out)))?;
        let mut rows = Rows::copied(rows, writer);
        let zone = self.zone();
        let sent = rows.send(&mut self.wire, &mut self.interrupts, zone, None).await?;
        rows.finish(self.wire.outgoing())?;
        self.wire.put(&CopyDone::new())?;
        Ok(rows.tag(sent))
    }

    /// Takes the data of a COPY; its command tag.
    async fn copy_in(
        &mut self,
        columns: usize,
        binary: bool,
        limit: usize,
    ) -> Result<String, Failure> {
        let data = self.receive_copy(columns, binary, limit).await?;
        let outcome = tokio::select! {
            biased;
            failure = self.interrupts.raised() => return Err(failure),
            error = self.wire.gone() => return Err(error.into()),
            outcome = self.session.copied(&data) => outcome?,
        };
        match outcome {
            Outcome::Done(tag) => Ok(tag),
            _ => Err(Report::unsupported("a COPY that returns rows").into()),
        }
    }

    /// The next message of a COPY. A Sync that was sent right behind the statement is taken in before an
    /// interrupt is: it would be answered, and the client's next one too.
    async fn copied(&mut self, first: bool) -> Result<Request, Failure> {
        let frame = match first {
            true => tokio::select! {
                biased;
                frame = self.wire.frame(self.message_bytes_max) => received(frame)?,
                failure = self.interrupts.raised() => return Err(failure),
            },
            false => tokio::select! {
                biased;
                failure = self.interrupts.raised() => return Err(failure),
                frame = self.wire.frame(self.message_bytes_max) => received(frame)?,
            },
        };
        match frame {
            Some(frame) => Ok(Request::decode(frame)?),
            None => Err(Failure::protocol("the connection ended in a COPY".to_owned())),
        }
    }

    /// Asks for the data of a COPY and takes it in.
    async fn receive_copy(
        &mut self,
        columns: usize,
        binary: bool,
        limit: usize,
    ) -> Result<Vec<u8>, Failure> {
        let (count, formats) = (width(columns)?, vec![i16::from(binary); columns]);
        self.wire.put(&CopyInResponse::new(i8::from(binary), count, formats))?;
        self.wire.flush().await?;
        let mut data = Vec::new();
        let mut too_long = false;
        let mut first = true;
        loop {
            let request = self.copied(first).await?;
            first = false;
            match request {
                Request::Copy(Copied::Data(more)) => {
                    too_long |= data.len() + more.len() > limit;
                    if !too_long {
                        self.session.holds(more.len())?;
                        data.extend_from_slice(&more);
                    }
                }
                // What is too long is read to its end, so that the client hears why.
                Request::Copy(Copied::Done) if too_long => {
                    let message = format!("a COPY takes {} MB", limit >> 20);
                    let report = Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
                    return Err(report.hint("Send the rows in several of them.").into());
                }
                Request::Copy(Copied::Done) => return Ok(data),
                Request::Copy(Copied::Fail(reason)) => {
                    let message = format!("COPY from stdin failed: {reason}");
                    return Err(Report::new(SqlState::QUERY_CANCELED, message).into());
                }
                Request::Flush | Request::Sync => {}
                _ => {
                    let message = "unexpected message type during COPY from stdin";
                    return Err(Report::new(SqlState::PROTOCOL_VIOLATION, message).into());
                }
            }
        }
    }
}

fn width(columns: usize) -> Result<i16, Report> {
    i16::try_from(columns).map_err(|_| Report::unsupported("so many columns"))
}
