//! The client's messages.
//!
//! They are decoded here and not by pgwire, whose decoder trusts counts and lengths inside a
//! message and panics on a short one.

use bytes::{Buf, Bytes};
use millrace_types::{Report, SqlState};

use crate::wire::Frame;

/// What a client may say once it is in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run a query string.
    Query(String),
    /// Prepare a statement; 0 in `types` leaves a parameter's type open.
    Parse { name: String, query: String, types: Vec<u32> },
    /// Make a portal of a statement and values.
    Bind(Bind),
    /// Tell the columns of a statement or portal.
    Describe(Target),
    /// Run a portal; None for all rows.
    Execute { portal: String, rows: Option<usize> },
    /// Forget a statement or portal.
    Close(Target),
    /// Send what waits.
    Flush,
    /// The end of an extended query.
    Sync,
    /// Good bye.
    Terminate,
    /// Part of a COPY.
    Copy(Copied),
    /// A call by OID, which no driver has used for twenty years.
    Function,
}

/// Part of a COPY.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// Some bytes.
    Data(Bytes),
    /// That was all.
    Done,
    /// The client gives up, and says why.
    Fail(String),
}

/// A prepared statement or a portal, by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Statement(String),
    Portal(String),
}

/// A Bind message. Formats: 0 text, 1 binary; none for all text, one for all alike.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub(crate) portal: String,
    pub(crate) statement: String,
    pub(crate) parameter_formats: Vec<i16>,
    pub(crate) parameters: Vec<Option<Bytes>>,
    pub(crate) result_formats: Vec<i16>,
}

impl Request {
    /// Decodes a frame.
    ///
    /// # Errors
    /// A message that is shorter than it says, holds text that is not UTF-8, or is of no known type.
    pub(crate) fn decode(frame: Frame) -> Result<Request, Report> {
        let mut body = Body(frame.body);
        Ok(match frame.kind {
            b'Q' => Request::Query(body.text()?),
            b'P' => Request::Parse {
                name: body.text()?,
                query: body.text()?,
                types: body.list(Body::u32)?,
            },
            b'B' => Request::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                parameter_formats: body.list(Body::i16)?,
                parameters: body.list(Body::value)?,
                result_formats: body.list(Body::i16)?,
            }),
            b'D' => Request::Describe(body.target()?),
            b'E' => Request::Execute {
                portal: body.text()?,
                rows: usize::try_from(body.i32()?).ok().filter(|rows| *rows > 0),
            },
            b'C' => Request::Close(body.target()?),
            b'H' => Request::Flush,
            b'S' => Request::Sync,
            b'X' => Request::Terminate,
            b'd' => Request::Copy(Copied::Data(body.0)),
            b'c' => Request::Copy(Copied::Done),
            b'f' => Request::Copy(Copied::Fail(body.text()?)),
            b'F' => Request::Function,
            other => return Err(malformed(format!("invalid frontend message type {other}"))),
        })
    }
}

/// True for the messages after whose failure the client waits for its Sync to be answered.
pub(crate) fn is_extended(kind: u8) -> bool {
    matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H')
}

/// True for the types of message that exist.
pub(crate) fn is_known(kind: u8) -> bool {
    is_extended(kind) || matches!(kind, b'Q' | b'S' | b'X' | b'd' | b'c' | b'f' | b'F')
}

/// The rest of a message's body.
pub(crate) struct Body(pub(crate) Bytes);

impl Body {
    fn need(&self, bytes: usize) -> Result<(), Report> {
        if self.0.len() < bytes {
            return Err(malformed("insufficient data left in message"));
        }
        Ok(())
    }

    /// Text up to a zero byte.
    pub(crate) fn text(&mut self) -> Result<String, Report> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| malformed("invalid string in message"))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        match std::str::from_utf8(&text) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Report::new(
                SqlState::CHARACTER_NOT_IN_REPERTOIRE,
                "invalid byte sequence for encoding \"UTF8\"",
            )),
        }
    }

    fn i16(&mut self) -> Result<i16, Report> {
        self.need(2)?;
        Ok(self.0.get_i16())
    }

    /// Four bytes, signed.
    pub(crate) fn i32(&mut self) -> Result<i32, Report> {
        self.need(4)?;
        Ok(self.0.get_i32())
    }

    fn u32(&mut self) -> Result<u32, Report> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    /// A length and so many bytes; None for a length of -1.
    pub(crate) fn value(&mut self) -> Result<Option<Bytes>, Report> {
        let Ok(length) = usize::try_from(self.i32()?) else { return Ok(None) };
        self.need(length)?;
        Ok(Some(self.0.split_to(length)))
    }

    fn list<T>(&mut self, item: impl Fn(&mut Body) -> Result<T, Report>) -> Result<Vec<T>, Report> {
        self.need(2)?;
        let count = self.0.get_u16();
        (0..count).map(|_| item(self)).collect()
    }

    fn target(&mut self) -> Result<Target, Report> {
        self.need(1)?;
        match self.0.get_u8() {
            b'S' => Ok(Target::Statement(self.text()?)),
            b'P' => Ok(Target::Portal(self.text()?)),
            other => Err(malformed(format!("invalid message subtype {other}"))),
        }
    }
}

fn malformed(message: impl Into<String>) -> Report {
    Report::new(SqlState::PROTOCOL_VIOLATION, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: u8, body: &'static [u8]) -> Result<Request, Report> {
        let body = Bytes::from_static(body);
        Request::decode(Frame { kind, body, passed_over: false })
    }

    #[test]
    fn every_shortening_of_a_bind_is_an_error_and_no_panic() {
        const BIND: &[u8] = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";
        let Ok(Request::Bind(bind)) = decode(b'B', BIND) else { panic!("the whole decodes") };
        assert_eq!(bind.parameters, [Some(Bytes::from_static(b"ab")), None]);
        assert_eq!((bind.parameter_formats, bind.result_formats), (vec![1], vec![1]));
        for end in 0..BIND.len() {
            assert!(decode(b'B', &BIND[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_count_beyond_the_message_is_an_error() {
        assert!(decode(b'P', b"\0select 1\0\xff\xff\0\0").is_err());
        assert!(decode(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff").is_err());
    }

    #[test]
    fn text_must_be_utf8() {
        let report = decode(b'Q', b"select '\xff'\0").unwrap_err();
        assert_eq!(report.code, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
    }

    #[test]
    fn a_row_count_of_zero_means_all() {
        let all = Request::Execute { portal: String::new(), rows: None };
        assert_eq!(decode(b'E', b"\0\0\0\0\0"), Ok(all));
    }
}
