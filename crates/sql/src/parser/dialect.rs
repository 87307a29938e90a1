//! PostgreSQL's dialect as sqlparser has it, without labels on arguments (`json_object('a': 1)`).
//!
//! For each argument sqlparser would try a label first, parse a whole expression for it, and parse
//! the same expression again when there is none: a call nested thirty deep would take minutes. What
//! a query, an expression or a type can contain is handed on; statements we parse ourselves.
//!
//! Where sqlparser reads operators together in another way than PostgreSQL, they are read here: a sign is
//! nearer to its operand than `^`, `IS DISTINCT FROM` ends before `AND`, `~` compares before `=`.
//!
//! Where what follows a word as `extract` or `position` is wrong, sqlparser reads it once more, as a call or a column: in
//! each other they would be read twice as often with each level. The operands that it reads are counted, so that a
//! text costs no more than some times its length ([`bound`]).

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// See the module.
#[derive(Debug)]
pub(crate) struct SqlDialect {
    /// `FOR SYSTEM_TIME AS OF` may follow a table. Only where it does: as sqlparser reads it, a table has
    /// no alias named `at`, `before` or `changes` then.
    versions: bool,
}

impl SqlDialect {
    /// For tokens, and for statements that name no version of a table.
    pub(crate) const PLAIN: SqlDialect = SqlDialect { versions: false };
    const VERSIONED: SqlDialect = SqlDialect { versions: true };

    /// For the statement of some tokens.
    pub(crate) fn of(tokens: &[TokenWithSpan]) -> &'static SqlDialect {
        let names = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::SYSTEM_TIME);
        match tokens.iter().any(names) {
            true => &SqlDialect::VERSIONED,
            false => &SqlDialect::PLAIN,
        }
    }
}

/// Operands that are read at most: so many for each token, and some for a mistake a dozen levels deep.
const OPERANDS_EACH: usize = 8;
const OPERANDS_MORE: usize = 50_000;

thread_local! {
    /// What is left of them to the parser that works on this thread.
    static OPERANDS: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The next parser on this thread reads a text of so many tokens.
pub(super) fn bound(tokens: usize) {
    OPERANDS.set(tokens.saturating_mul(OPERANDS_EACH).saturating_add(OPERANDS_MORE));
}

/// True if there is one left; takes it.
fn take_operand() -> bool {
    let left = OPERANDS.get();
    OPERANDS.set(left.saturating_sub(1));
    left > 0
}

/// A sign: nearer than COLLATE, not as near as `[` and `::`.
const SIGN: u8 = 120;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

macro_rules! as_postgres {
    ($($name:ident)*) => {
        $(fn $name(&self) -> bool {
            POSTGRES.$name()
        })*
    };
}

impl Dialect for SqlDialect {
    /// Code that asks for PostgreSQL means this one too.
    fn dialect(&self) -> TypeId {
        POSTGRES.dialect()
    }

    fn supports_table_versioning(&self) -> bool {
        self.versions
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        POSTGRES.is_delimited_identifier_start(c)
    }

    fn is_identifier_start(&self, c: char) -> bool {
        POSTGRES.is_identifier_start(c)
    }

    fn is_identifier_part(&self, c: char) -> bool {
        POSTGRES.is_identifier_part(c)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        // Never a name, as in PostgreSQL: it need not be read again as one.
        let never = matches!(keyword, Keyword::CASE | Keyword::CAST | Keyword::NOT);
        never || POSTGRES.is_reserved_for_identifier(keyword)
    }

    /// A sign after an operator is the next number's: `a>-1`.
    fn is_custom_operator_part(&self, c: char) -> bool {
        POSTGRES.is_custom_operator_part(c) && !matches!(c, '+' | '-')
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::Tilde
            | Token::TildeAsterisk
            | Token::ExclamationMarkTilde
            | Token::ExclamationMarkTildeAsterisk
            | Token::DoubleTilde
            | Token::DoubleTildeAsterisk
            | Token::ExclamationMarkDoubleTilde
            | Token::ExclamationMarkDoubleTildeAsterisk => {
                Some(Ok(POSTGRES.prec_value(Precedence::PgOther)))
            }
            _ => POSTGRES.get_next_precedence(parser),
        }
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        if !take_operand() {
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        let (op, precedence) = match parser.peek_token_ref().token {
            Token::Minus => (UnaryOperator::Minus, SIGN),
            Token::Plus => (UnaryOperator::Plus, SIGN),
            Token::Tilde => (UnaryOperator::BitwiseNot, self.prec_value(Precedence::PgOther)),
            Token::AtSign => (UnaryOperator::PGAbs, self.prec_value(Precedence::PgOther)),
            Token::PGSquareRoot => {
                (UnaryOperator::PGSquareRoot, self.prec_value(Precedence::PgOther))
            }
            Token::PGCubeRoot => (UnaryOperator::PGCubeRoot, self.prec_value(Precedence::PgOther)),
            _ => return None,
        };
        parser.advance_token();
        let operand = parser.parse_subexpr(precedence);
        Some(operand.map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let distinct = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
        let same = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
        let differs = parser.parse_keywords(&distinct);
        if !differs && !parser.parse_keywords(&same) {
            return None;
        }
        let left = Box::new(expr.clone());
        Some(parser.parse_subexpr(precedence).map(|right| match differs {
            true => Expr::IsDistinctFrom(left, Box::new(right)),
            false => Expr::IsNotDistinctFrom(left, Box::new(right)),
        }))
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    as_postgres! {
        supports_insert_table_alias
        supports_unicode_string_literal
        supports_filter_during_aggregation
        supports_group_by_expr
        allow_extract_custom
        allow_extract_single_quotes
        supports_factorial_operator
        supports_bitwise_shift_operators
        supports_empty_projections
        supports_nested_comments
        supports_string_escape_constant
        supports_numeric_literal_underscores
        supports_array_typedef_with_brackets
        supports_geometric_types
        supports_notnull_operator
        supports_interval_options
        supports_select_wildcard_with_alias
        supports_comma_separated_trim
        supports_xml_expressions
    }
}
