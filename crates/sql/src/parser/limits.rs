//! How complex a statement may be: as much as the stacks of all threads hold ([`STACK_BYTES`]), through
//! parsing, planning, storing and running it.
//!
//! Without brackets, an expression gets one level deeper with each term of a chain: `a + b + c`, `x OR y
//! OR z`. So the tokens of a chain are counted, before anything has been built of them. What stands in
//! brackets is bounded by the parser.
//!
//! [`STACK_BYTES`]: millrace_types::STACK_BYTES

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use millrace_types::{Report, SqlState};

/// Tokens between two commas or clauses, with those before the brackets around them.
const CHAIN_MAX: usize = 4_000;
/// An arithmetic operator counts as so many: the time that a long sum takes to plan grows with its cube.
const ARITHMETIC: usize = 12;
/// Queries and joins of one statement, which may stand in each other.
const QUERIES_MAX: usize = 1_000;
/// Arrays and records in each other that are parsed: a type is read without a look at the stack.
const TYPES_MAX: usize = 64;
/// Calls in each other of what is planned as something that has its argument twice: time and memory double.
const DOUBLED_MAX: usize = 16;
/// Functions of this kind for all arguments but the last; what BETWEEN compares is one, too.
const DOUBLING: [&str; 3] = ["COALESCE", "NVL", "IFNULL"];
/// Functions of this kind for each argument.
const DOUBLING_ALL: [&str; 4] = ["ARRAY_CAT", "ARRAY_CONCAT", "LIST_CAT", "LIST_CONCAT"];

/// Bytes of a query string: what is built of it takes many times as much.
const BYTES_MAX: usize = 16 << 20;

/// Begin another chain.
const CLAUSES: [&str; 12] = [
    "WHEN", "THEN", "ELSE", "SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "ON", "VALUES",
    "SET",
];
/// Stand between queries.
const QUERIES: [&str; 5] = ["SELECT", "JOIN", "UNION", "INTERSECT", "EXCEPT"];

/// # Errors
/// `54000` for a text that is too long to be looked at.
pub(super) fn check_length(text: &str) -> Result<(), Report> {
    if text.len() <= BYTES_MAX {
        return Ok(());
    }
    let message = format!("a statement may have {} MB, this one has more", BYTES_MAX >> 20);
    let report = Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
    Err(report.hint("COPY takes many rows; large values go into parameters."))
}

/// # Errors
/// `54001` for what is too complex.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), Report> {
    let too_complex = |message| Err(Report::new(SqlState::STATEMENT_TOO_COMPLEX, message));
    let (chain, queries) = sizes(tokens);
    if types_within(tokens) > TYPES_MAX {
        return too_complex("a type with too many arrays and records in each other");
    }
    if chain > CHAIN_MAX {
        let report = Report::new(
            SqlState::STATEMENT_TOO_COMPLEX,
            "an expression with too many operators in a row",
        );
        return Err(report.hint("Write x IN (a, b, c) in place of x = a OR x = b OR x = c, and put large constants into a table."));
    }
    if doubled(tokens) > DOUBLED_MAX {
        let report = Report::new(
            SqlState::STATEMENT_TOO_COMPLEX,
            "coalesce, array_cat or BETWEEN too deep in each other",
        );
        return Err(report.hint("Give coalesce all its arguments at once: coalesce(a, b, c)."));
    }
    if queries > QUERIES_MAX {
        return too_complex("a statement with too many queries and joins");
    }
    Ok(())
}

/// The longest chain, and how many queries and joins the statement with most of them has.
fn sizes(tokens: &[TokenWithSpan]) -> (usize, usize) {
    let (mut longest, mut most, mut queries) = (0, 0, 0);
    // By open bracket how long the chain around it is, and the length of all.
    let (mut open, mut length) = (vec![0_usize], 0_usize);
    for token in tokens {
        let word = match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        };
        let begins = matches!(token.token, Token::Comma) || CLAUSES.contains(&word.as_str());
        match &token.token {
            Token::Whitespace(_) => continue,
            Token::SemiColon => (open, length, queries) = (vec![0], 0, 0),
            Token::LParen | Token::LBracket => open.push(0),
            _ if word == "CASE" => open.push(0),
            Token::RParen | Token::RBracket => length -= closed(&mut open),
            _ if word == "END" => length -= closed(&mut open),
            _ => {}
        }
        let more = match &token.token {
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod => ARITHMETIC,
            _ => 1,
        };
        let chain = open.last_mut().expect("the outermost one stays");
        length = if begins { length - std::mem::take(chain) } else { length + more };
        *chain += if begins { 0 } else { more };
        queries += usize::from(QUERIES.contains(&word.as_str()));
        (longest, most) = (longest.max(length), most.max(queries));
    }
    (longest, most)
}

/// Closes a bracket; the length of the chain inside.
fn closed(open: &mut Vec<usize>) -> usize {
    if open.len() > 1 { open.pop().unwrap_or_default() } else { 0 }
}

/// What stands in a bracket: how many that double are in each other.
#[derive(Default)]
struct Bracket {
    /// It holds the arguments of one of [`DOUBLING`], or of [`DOUBLING_ALL`].
    doubles: (bool, bool),
    /// In arguments that have ended.
    earlier: Option<usize>,
    /// In the last one.
    current: usize,
    /// In the bracket that was closed last, until the next operand.
    last: usize,
}

impl Bracket {
    fn depth(&self) -> usize {
        let (most, alone) = (self.earlier.unwrap_or(0), self.earlier.is_none());
        match self.doubles {
            (true, _) if !alone => self.current.max(most + 1),
            (_, true) => self.current.max(most) + 1,
            _ => self.current.max(most),
        }
    }
}

/// The most that double in each other.
fn doubled(tokens: &[TokenWithSpan]) -> usize {
    let mut open = vec![Bracket::default()];
    let (mut most, mut named) = (0, (false, false));
    for token in tokens {
        let word = match &token.token {
            Token::Whitespace(_) => continue,
            Token::Word(word) => word.value.to_ascii_uppercase(),
            _ => String::new(),
        };
        let depth = match &token.token {
            Token::RParen if open.len() > 1 => open.pop().map(|closed| closed.depth()),
            _ => None,
        };
        let around = open.last_mut().expect("the outermost one stays");
        if let Some(depth) = depth {
            (around.current, around.last) = (around.current.max(depth), depth);
        }
        match (&token.token, word.as_str()) {
            (_, "BETWEEN") => around.current = around.current.max(around.last + 1),
            (_, "AND" | "OR") => around.last = 0,
            (Token::Comma, _) => {
                around.earlier = around.earlier.max(Some(around.current));
                (around.current, around.last) = (0, 0);
            }
            (Token::LParen, _) => open.push(Bracket { doubles: named, ..Bracket::default() }),
            (Token::SemiColon, _) => open = vec![Bracket::default()],
            _ => {}
        }
        most = most.max(open.last().map_or(0, Bracket::depth));
        named = (DOUBLING.contains(&word.as_str()), DOUBLING_ALL.contains(&word.as_str()));
    }
    most
}

/// The most brackets `[]` in a row, or words STRUCT that are open at a time.
fn types_within(tokens: &[TokenWithSpan]) -> usize {
    let (mut most, mut arrays, mut records) = (0, 0_usize, 0_usize);
    let mut named = false;
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            continue;
        }
        arrays = match token.token {
            Token::LBracket | Token::RBracket => arrays + 1,
            _ => 0,
        };
        records = match token.token {
            Token::Lt if named => records + 1,
            Token::Gt => records.saturating_sub(1),
            Token::ShiftRight => records.saturating_sub(2),
            Token::SemiColon => 0,
            _ => records,
        };
        let is_record = |word: &str| word.eq_ignore_ascii_case("struct");
        named = matches!(&token.token, Token::Word(word) if is_record(&word.value));
        most = most.max(arrays / 2).max(records);
    }
    most
}
