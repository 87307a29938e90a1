//! Texts as bytes of an encoding, and bytes as texts: `convert_from`, `convert_to`, `convert`.
//!
//! A text is UTF-8. The encodings are UTF-8, those of one byte a character ([`tables`]) and SQL_ASCII, which
//! says nothing about its bytes; those of several bytes are known by name and refused.

mod tables;

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use millrace_types::{Report, SqlState};

use super::bounded::check_total;
use super::cast::external;
use super::invoke::{over_columns, text, texts};
use super::no_function;

/// One of these functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    From,
    To,
    Both,
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Convert {
    which: Which,
    signature: Signature,
}

pub(super) fn all() -> Vec<Convert> {
    let signature = || Signature::user_defined(Volatility::Immutable);
    [Which::From, Which::To, Which::Both]
        .map(|which| Convert { which, signature: signature() })
        .into()
}

impl ScalarUDFImpl for Convert {
    fn name(&self) -> &'static str {
        match self.which {
            Which::From => "convert_from",
            Which::To => "convert_to",
            Which::Both => "convert",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.which == Which::From { DataType::Utf8 } else { DataType::Binary })
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |found: &DataType| found.is_string() || found.is_null();
        let names = if self.which == Which::Both { 2 } else { 1 };
        let value = if self.which == Which::To { DataType::Utf8 } else { DataType::Binary };
        match types {
            [given, encodings @ ..]
                if (*given == value || is_text(given))
                    && encodings.len() == names
                    && encodings.iter().all(is_text) =>
            {
                Ok(std::iter::once(value).chain(encodings.iter().map(|_| DataType::Utf8)).collect())
            }
            _ => Err(no_function(self.name(), types)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        over_columns(&args.args, |columns| match (self.which, columns) {
            (Which::From, [values, names]) => decoded(values, names),
            (Which::To, [values, names]) => encoded(values, names),
            (Which::Both, [values, from, to]) => converted(values, from, to),
            _ => Err(no_function(self.name(), &[])),
        })
    }
}

fn decoded(values: &ArrayRef, names: &ArrayRef) -> Result<ArrayRef> {
    let (values, names) = (values.as_binary::<i32>(), texts(names)?);
    let (mut result, mut total) = (StringBuilder::new(), 0);
    let mut last = Last::new("source ");
    for row in 0..values.len() {
        let Some(name) = text(&names, row).filter(|_| values.is_valid(row)) else {
            result.append_null();
            continue;
        };
        let text = last.named(name).and_then(|encoding| encoding.read(values.value(row)));
        let text = text.map_err(external)?;
        total += text.len();
        check_total(total)?;
        result.append_value(text);
    }
    Ok(Arc::new(result.finish()))
}

fn encoded(values: &ArrayRef, names: &ArrayRef) -> Result<ArrayRef> {
    let (values, names) = (texts(values)?, texts(names)?);
    let mut result = BinaryBuilder::new();
    let mut last = Last::new("destination ");
    for row in 0..values.len() {
        match (text(&values, row), text(&names, row)) {
            (Some(value), Some(name)) => {
                let bytes = last.named(name).and_then(|encoding| encoding.written(value));
                result.append_value(bytes.map_err(external)?);
            }
            _ => result.append_null(),
        }
    }
    Ok(Arc::new(result.finish()))
}

fn converted(values: &ArrayRef, from: &ArrayRef, to: &ArrayRef) -> Result<ArrayRef> {
    let (values, from, to) = (values.as_binary::<i32>(), texts(from)?, texts(to)?);
    let (mut result, mut total) = (BinaryBuilder::new(), 0);
    let (mut source, mut destination) = (Last::new("source "), Last::new("destination "));
    for row in 0..values.len() {
        let names = text(&from, row).zip(text(&to, row)).filter(|_| values.is_valid(row));
        let Some((from, to)) = names else {
            result.append_null();
            continue;
        };
        let value = values.value(row);
        let bytes = (|| {
            let (from, to) = (source.named(from)?, destination.named(to)?);
            // Bytes of no encoding stay as they are.
            if from.name == to.name || from.name == ASCII || to.name == ASCII {
                let checked = if from.name == ASCII { to } else { from };
                checked.length(value)?;
                return Ok(value.to_vec());
            }
            to.written(&from.read(value)?)
        })();
        let bytes = bytes.map_err(external)?;
        total += bytes.len();
        check_total(total)?;
        result.append_value(bytes);
    }
    Ok(Arc::new(result.finish()))
}

const UTF8: &str = "UTF8";
const ASCII: &str = "SQL_ASCII";

/// The encoding that was named last, so that a column is not looked up for each row.
pub(super) struct Last {
    name: String,
    encoding: Option<Encoding>,
    /// What it is, in the error for a name that no encoding has.
    role: &'static str,
}

impl Last {
    pub(super) fn new(role: &'static str) -> Last {
        Last { name: String::new(), encoding: None, role }
    }

    /// # Errors
    /// `22023` for a name that no encoding has, `0A000` for an encoding of several bytes.
    pub(super) fn named(&mut self, name: &str) -> Result<&Encoding, Report> {
        if self.name != name || self.encoding.is_none() {
            self.encoding = Some(Encoding::named(name, self.role)?);
            name.clone_into(&mut self.name);
        }
        self.encoding.as_ref().ok_or_else(|| Report::unsupported("this encoding"))
    }
}

/// An encoding of texts.
pub(super) struct Encoding {
    name: &'static str,
    /// The characters of the bytes; None where more bytes than one may be a character.
    characters: Option<Vec<char>>,
}

/// Encodings that have several names, and those of several bytes, by their names without signs.
const NAMES: [(&str, &str); 74] = [
    ("utf8", UTF8),
    ("unicode", UTF8),
    ("sqlascii", ASCII),
    ("latin1", "LATIN1"),
    ("iso88591", "LATIN1"),
    ("latin2", "LATIN2"),
    ("iso88592", "LATIN2"),
    ("latin3", "LATIN3"),
    ("iso88593", "LATIN3"),
    ("latin4", "LATIN4"),
    ("iso88594", "LATIN4"),
    ("latin5", "LATIN5"),
    ("iso88599", "LATIN5"),
    ("latin6", "LATIN6"),
    ("iso885910", "LATIN6"),
    ("latin7", "LATIN7"),
    ("iso885913", "LATIN7"),
    ("latin8", "LATIN8"),
    ("iso885914", "LATIN8"),
    ("latin9", "LATIN9"),
    ("iso885915", "LATIN9"),
    ("latin10", "LATIN10"),
    ("iso885916", "LATIN10"),
    ("iso88595", "ISO_8859_5"),
    ("iso88596", "ISO_8859_6"),
    ("iso88597", "ISO_8859_7"),
    ("iso88598", "ISO_8859_8"),
    ("koi8", "KOI8R"),
    ("koi8r", "KOI8R"),
    ("koi8u", "KOI8U"),
    ("win866", "WIN866"),
    ("windows866", "WIN866"),
    ("alt", "WIN866"),
    ("win874", "WIN874"),
    ("windows874", "WIN874"),
    ("win1250", "WIN1250"),
    ("windows1250", "WIN1250"),
    ("win1251", "WIN1251"),
    ("windows1251", "WIN1251"),
    ("win", "WIN1251"),
    ("win1252", "WIN1252"),
    ("windows1252", "WIN1252"),
    ("win1253", "WIN1253"),
    ("windows1253", "WIN1253"),
    ("win1254", "WIN1254"),
    ("windows1254", "WIN1254"),
    ("win1255", "WIN1255"),
    ("windows1255", "WIN1255"),
    ("win1256", "WIN1256"),
    ("windows1256", "WIN1256"),
    ("win1257", "WIN1257"),
    ("windows1257", "WIN1257"),
    ("win1258", "WIN1258"),
    ("windows1258", "WIN1258"),
    ("abc", "WIN1258"),
    ("tcvn", "WIN1258"),
    ("tcvn5712", "WIN1258"),
    ("vscii", "WIN1258"),
    ("big5", "BIG5"),
    ("win950", "BIG5"),
    ("euccn", "EUC_CN"),
    ("eucjp", "EUC_JP"),
    ("eucjis2004", "EUC_JIS_2004"),
    ("euckr", "EUC_KR"),
    ("euctw", "EUC_TW"),
    ("gb18030", "GB18030"),
    ("gbk", "GBK"),
    ("win936", "GBK"),
    ("johab", "JOHAB"),
    ("muleinternal", "MULE_INTERNAL"),
    ("sjis", "SJIS"),
    ("shiftjis", "SJIS"),
    ("shiftjis2004", "SHIFT_JIS_2004"),
    ("uhc", "UHC"),
];

impl Encoding {
    fn named(name: &str, role: &str) -> Result<Encoding, Report> {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        let plain: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
        let Some((_, known)) = NAMES.iter().find(|(alias, _)| *alias == plain) else {
            let message = format!("invalid {role}encoding name \"{name}\"");
            return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, message));
        };
        let characters = tables::table(known);
        match characters.is_some() || [UTF8, ASCII].contains(known) {
            true => Ok(Encoding { name: known, characters }),
            false => {
                let hint = "UTF8, SQL_ASCII and the encodings of one byte a character are there.";
                Err(Report::unsupported(format!("the encoding {known}")).hint(hint))
            }
        }
    }

    /// Bytes as a text.
    fn read(&self, bytes: &[u8]) -> Result<String, Report> {
        let Some(characters) = &self.characters else {
            let utf8 = Encoding { name: UTF8, characters: None };
            utf8.length(bytes)?;
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        };
        self.length(bytes)?;
        let character = |byte: &u8| match characters.get(usize::from(*byte)) {
            Some('\0') | None => Err(no_equivalent(&[*byte], self.name, UTF8)),
            Some(character) => Ok(*character),
        };
        bytes.iter().map(character).collect()
    }

    /// A text as bytes.
    fn written(&self, text: &str) -> Result<Vec<u8>, Report> {
        let Some(characters) = &self.characters else { return Ok(text.as_bytes().to_vec()) };
        let byte = |character: char| {
            let number = u32::from(character);
            let same =
                usize::try_from(number).ok().filter(|at| characters.get(*at) == Some(&character));
            let at = same.or_else(|| characters.iter().position(|known| *known == character));
            at.and_then(|at| u8::try_from(at).ok()).ok_or_else(|| {
                let mut bytes = [0; 4];
                no_equivalent(character.encode_utf8(&mut bytes).as_bytes(), UTF8, self.name)
            })
        };
        text.chars().map(byte).collect()
    }

    /// How many characters some bytes are.
    ///
    /// # Errors
    /// `22021` for bytes that are none.
    pub(super) fn length(&self, bytes: &[u8]) -> Result<usize, Report> {
        if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
            let until = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), |_| at);
            if self.name != UTF8 || until >= at {
                return Err(invalid(&[0], self.name));
            }
        }
        if self.name != UTF8 {
            return Ok(bytes.len());
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.chars().count()),
            Err(error) => {
                let rest = &bytes[error.valid_up_to()..];
                let wanted = match rest.first() {
                    Some(0xc0..=0xdf) => 2,
                    Some(0xe0..=0xef) => 3,
                    Some(0xf0..=0xf7) => 4,
                    _ => 1,
                };
                Err(invalid(&rest[..wanted.min(rest.len())], self.name))
            }
        }
    }
}

fn listed(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let space = if text.is_empty() { "" } else { " " };
        // A text takes all that is written to it.
        write!(text, "{space}0x{byte:02x}").unwrap_or_default();
    }
    text
}

fn invalid(bytes: &[u8], name: &str) -> Report {
    let message = format!("invalid byte sequence for encoding \"{name}\": {}", listed(bytes));
    Report::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, message)
}

fn no_equivalent(bytes: &[u8], from: &str, to: &str) -> Report {
    let message = format!(
        "character with byte sequence {} in encoding \"{from}\" has no equivalent in encoding \"{to}\"",
        listed(bytes)
    );
    Report::new(SqlState::UNTRANSLATABLE_CHARACTER, message)
}
