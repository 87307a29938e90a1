//! The data of COPY: what its messages hold.
//!
//! [`Writer`] makes rows into PostgreSQL's text format, CSV or its binary format, one message a row as
//! PostgreSQL does it: clients take a message for a row. [`read_binary`] takes the binary format apart;
//! text and CSV are read where their options and errors are, as texts.

mod binary;
#[cfg(test)]
mod tests;

use arrow::datatypes::Schema;
use bytes::{BufMut, BytesMut};
use millrace_types::{Report, SqlType};

use crate::decode;
use crate::encode::{Column, Format};
pub use binary::read_binary;
use binary::{HEADER, TRAILER};

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyForm {
    /// PostgreSQL's text format.
    Text {
        /// Between columns.
        delimiter: u8,
        /// Stands for NULL.
        null: String,
        /// The first line holds the names of the columns.
        header: bool,
    },
    /// Comma separated values.
    Csv {
        /// Between columns.
        delimiter: u8,
        /// Around values that need it.
        quote: u8,
        /// Before a quote inside quotes.
        escape: u8,
        /// Stands for NULL.
        null: String,
        /// The first line holds the names of the columns.
        header: bool,
        /// For each column whether all of its values stand in quotes.
        forced: Vec<bool>,
    },
    /// PostgreSQL's binary format.
    Binary,
}

impl CopyForm {
    /// True for the binary format.
    pub(crate) fn is_binary(&self) -> bool {
        matches!(self, CopyForm::Binary)
    }
}

/// Looks whether a text is a value of a type.
///
/// # Errors
/// What is wrong with it.
pub fn check_text(text: &str, sql: &SqlType) -> Result<(), Report> {
    decode::check_text(text, sql)
}

/// Writes the data of one COPY.
pub(crate) struct Writer {
    form: CopyForm,
    /// The head of the binary format travels in the first message.
    headed: bool,
    /// The text of a value before it is escaped.
    value: BytesMut,
}

impl Writer {
    pub(crate) fn new(form: CopyForm) -> Writer {
        Writer { form, headed: false, value: BytesMut::new() }
    }

    /// Appends the line of names, if there is to be one: the body of a message.
    pub(crate) fn header(&mut self, schema: &Schema, out: &mut BytesMut) -> bool {
        let (CopyForm::Text { header, .. } | CopyForm::Csv { header, .. }) = &self.form else {
            return false;
        };
        if !header {
            return false;
        }
        let alone = schema.fields().len() == 1;
        for (at, field) in schema.fields().iter().enumerate() {
            self.separate(at, out);
            self.value.clear();
            self.value.put_slice(field.name().as_bytes());
            match &self.form {
                CopyForm::Csv { quote, escape, delimiter, null, .. } => {
                    let marks = Marks { quote: *quote, escape: *escape, delimiter: *delimiter };
                    marks.quoted(&self.value, null, alone, out);
                }
                form => escaped(&self.value, form.delimiter(), out),
            }
        }
        out.put_u8(b'\n');
        true
    }

    /// Appends a row: the body of a message.
    ///
    /// # Errors
    /// A value that PostgreSQL's type cannot hold.
    pub(crate) fn row(
        &mut self,
        columns: &[Column],
        row: usize,
        out: &mut BytesMut,
    ) -> Result<(), Report> {
        if self.form.is_binary() {
            return self.binary_row(columns, row, out);
        }
        for (at, column) in columns.iter().enumerate() {
            self.separate(at, out);
            if column.is_null(row) {
                out.put_slice(self.form.null().as_bytes());
                continue;
            }
            self.value.clear();
            column.text(row, &mut self.value)?;
            match &self.form {
                CopyForm::Csv { quote, escape, delimiter, null, forced, .. } => {
                    let marks = Marks { quote: *quote, escape: *escape, delimiter: *delimiter };
                    match forced.get(at) {
                        Some(true) => marks.in_quotes(&self.value, out),
                        _ => marks.quoted(&self.value, null, columns.len() == 1, out),
                    }
                }
                form => escaped(&self.value, form.delimiter(), out),
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn binary_row(
        &mut self,
        columns: &[Column],
        row: usize,
        out: &mut BytesMut,
    ) -> Result<(), Report> {
        if !self.headed {
            out.put_slice(&HEADER);
        }
        // The number of columns was looked at when the COPY began.
        out.put_i16(i16::try_from(columns.len()).unwrap_or(i16::MAX));
        for column in columns {
            column.put(row, Format::Binary, out)?;
        }
        self.headed = true;
        Ok(())
    }

    /// Appends what comes after the last row: the body of a message, if there is any.
    pub(crate) fn end(&mut self, out: &mut BytesMut) -> bool {
        if !self.form.is_binary() {
            return false;
        }
        if !self.headed {
            out.put_slice(&HEADER);
        }
        out.put_slice(&TRAILER);
        true
    }

    fn separate(&self, at: usize, out: &mut BytesMut) {
        if at > 0 {
            out.put_u8(self.form.delimiter());
        }
    }
}

impl CopyForm {
    fn delimiter(&self) -> u8 {
        match self {
            CopyForm::Text { delimiter, .. } | CopyForm::Csv { delimiter, .. } => *delimiter,
            CopyForm::Binary => 0,
        }
    }

    fn null(&self) -> &str {
        match self {
            CopyForm::Text { null, .. } | CopyForm::Csv { null, .. } => null,
            CopyForm::Binary => "",
        }
    }
}

/// A value of the text format.
fn escaped(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    for byte in value {
        let letter = match *byte {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            b'\\' => b'\\',
            byte if byte == delimiter => byte,
            byte => {
                out.put_u8(byte);
                continue;
            }
        };
        out.put_slice(&[b'\\', letter]);
    }
}

/// The characters of CSV.
struct Marks {
    quote: u8,
    escape: u8,
    delimiter: u8,
}

impl Marks {
    /// A value, in quotes if it would be read as something else without.
    fn quoted(&self, value: &[u8], null: &str, alone: bool, out: &mut BytesMut) {
        let special = |byte: &u8| {
            *byte == self.delimiter || *byte == self.quote || matches!(*byte, b'\n' | b'\r')
        };
        let is_end = alone && value == b"\\.";
        if value == null.as_bytes() || is_end || value.iter().any(special) {
            self.in_quotes(value, out);
        } else {
            out.put_slice(value);
        }
    }

    fn in_quotes(&self, value: &[u8], out: &mut BytesMut) {
        out.put_u8(self.quote);
        for byte in value {
            if *byte == self.quote || *byte == self.escape {
                out.put_u8(self.escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(self.quote);
    }
}
