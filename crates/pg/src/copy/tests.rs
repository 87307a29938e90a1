//! What is written reads back, and what is damaged is refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::BytesMut;
use millrace_types::input::Zone;
use millrace_types::{Report, SqlState, SqlType};

use super::{CopyForm, Writer, read_binary};
use crate::encode::Column;

fn written(form: CopyForm, arrays: &[ArrayRef]) -> Vec<Vec<u8>> {
    let zone = Zone::Utc;
    let columns: Vec<Column> =
        arrays.iter().map(|array| Column::new(array, zone).unwrap()).collect();
    let fields = arrays.iter().enumerate();
    let fields = fields.map(|(at, a)| Field::new(format!("c,{at}"), a.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let (mut writer, mut messages) = (Writer::new(form), Vec::new());
    let mut out = BytesMut::new();
    if writer.header(&schema, &mut out) {
        messages.push(out.split().to_vec());
    }
    for row in 0..arrays[0].len() {
        writer.row(&columns, row, &mut out).unwrap();
        messages.push(out.split().to_vec());
    }
    if writer.end(&mut out) {
        messages.push(out.split().to_vec());
    }
    messages
}

fn two() -> [ArrayRef; 2] {
    let texts = StringArray::from(vec![Some("a\tb\\"), None, Some("")]);
    [Arc::new(Int32Array::from(vec![Some(1), None, Some(-3)])), Arc::new(texts)]
}

fn text(message: &[u8]) -> &str {
    std::str::from_utf8(message).unwrap()
}

#[test]
fn text_escapes_what_would_be_read_otherwise() {
    let form = CopyForm::Text { delimiter: b'\t', null: "\\N".into(), header: true };
    let messages = written(form, &two());
    let lines: Vec<&str> = messages.iter().map(|m| text(m)).collect();
    assert_eq!(lines, ["c,0\tc,1\n", "1\ta\\tb\\\\\n", "\\N\t\\N\n", "-3\t\n"]);
    let form = CopyForm::Text { delimiter: b'|', null: String::new(), header: false };
    let bar: ArrayRef = Arc::new(StringArray::from(vec!["a|b\nc"]));
    assert_eq!(text(&written(form, &[bar])[0]), "a\\|b\\nc\n");
}

#[test]
fn csv_quotes_what_it_must_and_what_it_is_told() {
    let csv = |forced: Vec<bool>| CopyForm::Csv {
        delimiter: b',',
        quote: b'"',
        escape: b'"',
        null: String::new(),
        header: true,
        forced,
    };
    let messages = written(csv(vec![true, false]), &two());
    let lines: Vec<&str> = messages.iter().map(|m| text(m)).collect();
    assert_eq!(lines, ["\"c,0\",\"c,1\"\n", "\"1\",a\tb\\\n", ",\n", "\"-3\",\"\"\n"]);
    let odd: ArrayRef = Arc::new(StringArray::from(vec!["\\.", "say \"x\"", "a\r"]));
    let messages = written(csv(Vec::new()), &[odd]);
    let lines: Vec<&str> = messages.iter().skip(1).map(|m| text(m)).collect();
    assert_eq!(lines, ["\"\\.\"\n", "\"say \"\"x\"\"\"\n", "\"a\r\"\n"]);
}

fn columns() -> [(String, SqlType); 2] {
    [("id".into(), SqlType::Integer), ("name".into(), SqlType::Text)]
}

fn read(data: &[u8]) -> Result<Vec<ArrayRef>, Report> {
    read_binary(data, "t", &columns())
}

#[test]
fn what_was_written_in_binary_reads_back() {
    let messages = written(CopyForm::Binary, &two());
    assert_eq!(messages.len(), 4, "head and first row are one message");
    let found = read(&messages.concat()).unwrap();
    assert_eq!(found, two());
    let none = read(&written(CopyForm::Binary, &two().map(|a| a.slice(0, 0))).concat()).unwrap();
    assert_eq!(none[1].data_type(), &DataType::Utf8);
    assert!(none.iter().all(|column| column.is_empty()));
}

#[test]
fn every_shortening_of_binary_data_is_an_error_and_no_panic() {
    let data = written(CopyForm::Binary, &two()).concat();
    for end in 0..data.len() - 2 {
        let whole_rows = read(&data[..end]);
        if let Ok(rows) = whole_rows {
            // Data may end behind any row; the trailer is not needed.
            assert!(rows[0].len() <= 3, "{end} bytes");
        }
    }
    assert!(read(&data[..10]).is_err() && read(&data[..25]).is_err());
}

#[test]
fn damaged_binary_data_says_where() {
    let data = written(CopyForm::Binary, &two()).concat();
    let failure = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut data = data.clone();
        change(&mut data);
        let report = read(&data).unwrap_err();
        (report.code, report.message, report.context.unwrap_or_default().into_string())
    };
    let (code, message, _) = failure(&|data| data[0] = b'p');
    assert_eq!(
        (code, message.as_str()),
        (SqlState::BAD_COPY_FILE_FORMAT, "COPY file signature not recognized")
    );
    let (_, message, _) = failure(&|data| data[11] = 1);
    assert_eq!(message, "unrecognized critical flags in COPY file header");
    let (_, message, context) = failure(&|data| data[20] = 3);
    assert_eq!(
        (message.as_str(), context.as_str()),
        ("row field count is 3, expected 2", "COPY t, line 1")
    );
    let (code, _, context) = failure(&|data| {
        data[24] = 3;
        data.remove(25);
    });
    assert_eq!(
        (code, context.as_str()),
        (SqlState::INVALID_BINARY_REPRESENTATION, "COPY t, line 1, column id")
    );
    let (_, message, _) = failure(&|data| data.push(0));
    assert_eq!(message, "received copy data after EOF marker");
}
