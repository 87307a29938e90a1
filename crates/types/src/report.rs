//! What a user is told when a statement fails: PostgreSQL's error fields.

use std::fmt;

/// A five-character SQLSTATE of PostgreSQL's appendix A.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(&'static str);

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState {
            $($(#[$doc])* pub const $name: SqlState = SqlState($code);)*

            /// The constant for five characters that were stored or sent, if Millrace uses it.
            pub fn from_code(code: &str) -> Option<SqlState> {
                match code { $($code => Some(SqlState::$name),)* _ => None }
            }
        }
    };
}

states! {
    /// Everything went well.
    SUCCESSFUL_COMPLETION = "00000";
    /// A warning without a class of its own.
    WARNING = "01000";
    /// The peer broke the wire protocol.
    PROTOCOL_VIOLATION = "08P01";
    /// The construct is PostgreSQL's or the dialect's, but not there yet.
    FEATURE_NOT_SUPPORTED = "0A000";
    /// A part of a text that cannot be.
    SUBSTRING_ERROR = "22011";
    /// A text is too long for its type.
    STRING_DATA_RIGHT_TRUNCATION = "22001";
    /// A value is out of its type's range.
    NUMERIC_VALUE_OUT_OF_RANGE = "22003";
    /// A date or time is out of range.
    DATETIME_FIELD_OVERFLOW = "22008";
    /// An offset of a time zone is out of range.
    INVALID_TIME_ZONE_DISPLACEMENT = "22009";
    /// An interval is too long.
    INTERVAL_FIELD_OVERFLOW = "22015";
    /// NULL where a value is needed.
    NULL_VALUE_NOT_ALLOWED = "22004";
    /// LIMIT with a negative number.
    INVALID_ROW_COUNT_IN_LIMIT = "2201W";
    /// OFFSET with a negative number.
    INVALID_ROW_COUNT_IN_OFFSET = "2201X";
    /// A bound of a window frame that cannot be.
    INVALID_FRAME_OFFSET = "22013";
    /// Buckets that are none.
    INVALID_ARGUMENT_FOR_NTILE = "22014";
    /// A row of a window that cannot be.
    INVALID_ARGUMENT_FOR_NTH_VALUE = "22016";
    /// A regular expression that is none.
    INVALID_REGULAR_EXPRESSION = "2201B";
    /// A place in an array, or in bytes, that is none; arrays that do not go together.
    ARRAY_SUBSCRIPT_ERROR = "2202E";
    /// A place in an array of JSON that is none.
    JSON_SUBSCRIPT = "22033";
    /// A method of numbers on something else in JSON.
    NON_NUMERIC_JSON_ITEM = "22036";
    /// One value of JSON is wanted, and there are none or many.
    SINGLETON_JSON_ITEM_REQUIRED = "22038";
    /// An array of JSON is wanted.
    JSON_ARRAY_NOT_FOUND = "22039";
    /// A member of an object of JSON is not there.
    JSON_MEMBER_NOT_FOUND = "2203A";
    /// A number of JSON is wanted.
    JSON_NUMBER_NOT_FOUND = "2203B";
    /// An object of JSON is wanted.
    JSON_OBJECT_NOT_FOUND = "2203C";
    /// A number that has no logarithm.
    INVALID_ARGUMENT_FOR_LOGARITHM = "2201E";
    /// A number that has no such power or root.
    INVALID_ARGUMENT_FOR_POWER = "2201F";
    /// Buckets that no value could be in.
    INVALID_ARGUMENT_FOR_WIDTH_BUCKET = "2201G";
    /// Division by zero.
    DIVISION_BY_ZERO = "22012";
    /// A server cannot be reached.
    CONNECTION_FAILURE = "08006";
    /// An argument has a value that the function does not take.
    INVALID_PARAMETER_VALUE = "22023";
    /// A date or time is not written as one.
    INVALID_DATETIME_FORMAT = "22007";
    /// A pattern has an escape that means nothing there.
    INVALID_USE_OF_ESCAPE_CHARACTER = "2200C";
    /// A pattern ends in its escape character.
    INVALID_ESCAPE_SEQUENCE = "22025";
    /// Text is not the representation of the wanted type.
    INVALID_TEXT_REPRESENTATION = "22P02";
    /// A character that no text can hold.
    UNTRANSLATABLE_CHARACTER = "22P05";
    /// Bytes of a parameter are not the binary form of its type.
    INVALID_BINARY_REPRESENTATION = "22P03";
    /// Bytes that are not text in the client's encoding.
    CHARACTER_NOT_IN_REPERTOIRE = "22021";
    /// A data error without a class of its own.
    DATA_EXCEPTION = "22000";
    /// More rows than there may be.
    CARDINALITY_VIOLATION = "21000";
    /// Another session holds a lock.
    LOCK_NOT_AVAILABLE = "55P03";
    /// Sessions wait for each other.
    DEADLOCK_DETECTED = "40P01";
    /// The savepoint does not exist.
    INVALID_SAVEPOINT = "3B001";
    /// No transaction is open.
    NO_ACTIVE_SQL_TRANSACTION = "25P01";
    /// Data of a COPY that cannot be read.
    BAD_COPY_FILE_FORMAT = "22P04";
    /// NULL where the column does not take it.
    NOT_NULL_VIOLATION = "23502";
    /// Duplicate key.
    UNIQUE_VIOLATION = "23505";
    /// A row refers to one that is not there.
    FOREIGN_KEY_VIOLATION = "23503";
    /// A row fails a condition of its table.
    CHECK_VIOLATION = "23514";
    /// The transaction has failed; only ROLLBACK is taken.
    IN_FAILED_SQL_TRANSACTION = "25P02";
    /// The transaction only reads.
    READ_ONLY_SQL_TRANSACTION = "25006";
    /// The statement cannot run inside a transaction block.
    ACTIVE_SQL_TRANSACTION = "25001";
    /// Authorization failed.
    INVALID_AUTHORIZATION = "28000";
    /// Wrong password.
    INVALID_PASSWORD = "28P01";
    /// The user may not do this.
    INSUFFICIENT_PRIVILEGE = "42501";
    /// A grant that cannot be.
    INVALID_GRANT_OPERATION = "0LP01";
    /// The object is in use by this very session.
    OBJECT_IN_USE = "55006";
    /// Other objects depend on the one to drop.
    DEPENDENT_OBJECTS_STILL_EXIST = "2BP01";
    /// The prepared statement does not exist.
    INVALID_SQL_STATEMENT_NAME = "26000";
    /// The portal or cursor does not exist.
    INVALID_CURSOR_NAME = "34000";
    /// The database does not exist.
    INVALID_CATALOG_NAME = "3D000";
    /// The schema does not exist.
    INVALID_SCHEMA_NAME = "3F000";
    /// A concurrent change won; try again.
    SERIALIZATION_FAILURE = "40001";
    /// Syntax error.
    SYNTAX_ERROR = "42601";
    /// Unknown column.
    UNDEFINED_COLUMN = "42703";
    /// Unknown function or operator for these types.
    UNDEFINED_FUNCTION = "42883";
    /// Unknown table, view or source.
    UNDEFINED_TABLE = "42P01";
    /// Unknown setting, type or other object.
    UNDEFINED_OBJECT = "42704";
    /// A window that cannot be what its definition says.
    WINDOWING_ERROR = "42P20";
    /// A parameter `$n` that nothing types.
    UNDEFINED_PARAMETER = "42P02";
    /// The name fits several columns.
    AMBIGUOUS_COLUMN = "42702";
    /// A column is named twice.
    DUPLICATE_COLUMN = "42701";
    /// The relation exists already.
    DUPLICATE_TABLE = "42P07";
    /// A name, alias or option is given twice.
    DUPLICATE_OBJECT = "42710";
    /// A table name or alias is given twice in one FROM.
    DUPLICATE_ALIAS = "42712";
    /// The type does not fit.
    DATATYPE_MISMATCH = "42804";
    /// The type of an expression cannot be determined.
    INDETERMINATE_DATATYPE = "42P18";
    /// A column is neither grouped nor aggregated.
    GROUPING_ERROR = "42803";
    /// An object is of the wrong kind for the statement.
    WRONG_OBJECT_TYPE = "42809";
    /// A cast between these types does not exist.
    CANNOT_COERCE = "42846";
    /// A definition contradicts itself.
    INVALID_OBJECT_DEFINITION = "42P17";
    /// A foreign key to what is not unique.
    INVALID_FOREIGN_KEY = "42830";
    /// A value for a column that always takes numbers.
    GENERATED_ALWAYS = "428C9";
    /// A sequence has no number left.
    SEQUENCE_LIMIT_EXCEEDED = "2200H";
    /// A table that cannot be.
    INVALID_TABLE_DEFINITION = "42P16";
    /// A column reference that is not allowed where it stands.
    INVALID_COLUMN_REFERENCE = "42P10";
    /// A name that may not be used.
    RESERVED_NAME = "42939";
    /// No room on the disk.
    DISK_FULL = "53100";
    /// The client was silent in a transaction for too long.
    IDLE_IN_TRANSACTION_TIMEOUT = "25P03";
    /// The memory budget does not allow it.
    OUT_OF_MEMORY = "53200";
    /// Too many connections.
    TOO_MANY_CONNECTIONS = "53300";
    /// A prepared statement of that name exists.
    DUPLICATE_PREPARED_STATEMENT = "42P05";
    /// A portal or cursor of that name exists.
    DUPLICATE_CURSOR = "42P03";
    /// Too large or too deep a statement.
    STATEMENT_TOO_COMPLEX = "54001";
    /// The statement asks for more than one statement may have.
    PROGRAM_LIMIT_EXCEEDED = "54000";
    /// The object is not in the state that the statement needs.
    OBJECT_NOT_IN_PREREQUISITE_STATE = "55000";
    /// Cancelled by the user.
    QUERY_CANCELED = "57014";
    /// The server is ending.
    ADMIN_SHUTDOWN = "57P01";
    /// Not answering yet: recovery or catching up.
    CANNOT_CONNECT_NOW = "57P03";
    /// The disk failed.
    IO_ERROR = "58030";
    /// A source cannot be reached or has lost data.
    FOREIGN_DATA_ERROR = "HV000";
    /// A stored file is damaged.
    DATA_CORRUPTED = "XX001";
    /// A program error.
    INTERNAL_ERROR = "XX000";
}

impl SqlState {
    /// The five characters.
    pub fn code(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An error or notice as PostgreSQL's protocol shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What happened, for programs.
    pub code: SqlState,
    /// What happened, for people: one line, no full stop, lower case first.
    pub message: String,
    /// More facts, as a sentence.
    pub detail: Option<String>,
    /// What to do about it, as a sentence.
    pub hint: Option<String>,
    /// Where in what the statement worked on, for example the line of a COPY.
    pub context: Option<Box<str>>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
    /// What it is about, for programs.
    pub about: Option<Box<About>>,
}

/// The names of what an error is about, where PostgreSQL sends them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The schema of the table.
    pub schema: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// Its column.
    pub column: Option<String>,
    /// The constraint that a row violates.
    pub constraint: Option<String>,
}

impl Report {
    /// A report with a code and a message only.
    pub fn new(code: SqlState, message: impl Into<String>) -> Report {
        Report {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            position: None,
            about: None,
        }
    }

    /// The report for a construct that is not there yet.
    pub fn unsupported(what: impl fmt::Display) -> Report {
        Report::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{what} is not supported yet"))
    }

    /// The same with a detail sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Report {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a hint sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Report {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a line that says where in its data the statement was.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Report {
        self.context = Some(context.into().into_boxed_str());
        self
    }

    /// The same with the names of what it is about.
    #[must_use]
    pub fn about(mut self, about: About) -> Report {
        self.about = Some(Box::new(about));
        self
    }

    /// The same with a position in characters from 1.
    #[must_use]
    pub fn at(mut self, position: usize) -> Report {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}
