//! Reading the tokens of one statement: words of our own grammar, and sqlparser for the rest.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, ObjectName, Query, Statement as SqlStatement,
    StructBracketKind, StructField, Visit,
};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan};
use millrace_types::Report;

use super::foreign::{self, Foreign, clauses};
use super::{SqlDialect, dialect, fail, junk, locking};
use crate::ast::{Expression, Name, OptionItem};
use crate::names;
use crate::text::Text;

/// How deep expressions and subqueries may nest; the parser's stack grows as it needs.
const RECURSION_MAX: usize = 128;

/// A parser over one statement, and its text.
pub(super) struct Cursor<'a> {
    parser: Parser<'a>,
    tokens: Vec<TokenWithSpan>,
    /// What follows the tokens, for errors at their end.
    end: Option<TokenWithSpan>,
    pub(super) text: &'a Text<'a>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(
        tokens: Vec<TokenWithSpan>,
        end: Option<TokenWithSpan>,
        text: &'a Text<'a>,
    ) -> Cursor<'a> {
        dialect::bound(tokens.len());
        let parser = Parser::new(SqlDialect::of(&tokens))
            .with_recursion_limit(RECURSION_MAX)
            .with_tokens_with_locations(tokens.clone());
        Cursor { parser, tokens, end, text }
    }

    /// A parser over other tokens of the same text.
    pub(super) fn over(&self, tokens: Vec<TokenWithSpan>) -> Cursor<'a> {
        Cursor::new(tokens, self.end.clone(), self.text)
    }

    /// The next token that is not white space.
    pub(super) fn peek(&self) -> &Token {
        &self.parser.peek_token_ref().token
    }

    /// The n-th token from here in upper case, if it is a word without quotes.
    pub(super) fn word(&self, n: usize) -> Option<String> {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        }
    }

    /// True if these words come next.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(n, word)| self.word(n).as_deref() == Some(word))
    }

    /// Takes these words, all or none.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let found = self.is(words);
        if found {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        found
    }

    pub(super) fn expect(&mut self, words: &[&str]) -> Result<(), Report> {
        for word in words {
            if !self.take(&[word]) {
                return Err(self.syntax_error());
            }
        }
        Ok(())
    }

    pub(super) fn take_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn expect_token(&mut self, token: &Token) -> Result<(), Report> {
        match self.take_token(token) {
            true => Ok(()),
            false => Err(self.syntax_error()),
        }
    }

    /// Takes the next token, whatever it is.
    pub(super) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    /// True after the last token.
    pub(super) fn at_end(&self) -> bool {
        *self.peek() == Token::EOF
    }

    pub(super) fn expect_end(&self) -> Result<(), Report> {
        match self.at_end() {
            true => Ok(()),
            false => Err(self.syntax_error()),
        }
    }

    /// Takes everything that is left.
    pub(super) fn skip_to_end(&mut self) {
        while !self.at_end() {
            self.parser.advance_token();
        }
    }

    /// Where the next token stands.
    pub(super) fn here(&self) -> Option<usize> {
        let token = self.parser.peek_token_ref();
        match token.token {
            Token::EOF => Some(fail::end_position(self.end.as_ref(), self.text)),
            _ => self.text.position(token.span.start),
        }
    }

    /// The syntax error of the next token.
    pub(super) fn syntax_error(&self) -> Report {
        let next = self.parser.peek_token_ref();
        match next.token {
            Token::EOF => fail::at_end(self.end.as_ref(), self.text),
            _ => fail::at(next.span, self.text),
        }
    }

    /// An error of sqlparser as PostgreSQL would put it.
    fn refuse(&self, error: &ParserError) -> Report {
        fail::from_parser(error, self.end.as_ref(), self.text)
    }

    /// Refuses a join without its condition, where that should stand.
    fn check_joins(&self, parsed: &impl Visit) -> Result<(), Report> {
        junk::open_join(parsed).map_or(Ok(()), |end| Err(self.error_from(end)))
    }

    /// The syntax error of the first token from a place on.
    fn error_from(&self, place: Location) -> Report {
        let is_next = |token: &&TokenWithSpan| {
            token.span.start >= place && !matches!(token.token, Token::Whitespace(_))
        };
        match self.tokens.iter().find(is_next) {
            Some(token) => fail::at(token.span, self.text),
            None => fail::at_end(self.end.as_ref(), self.text),
        }
    }

    fn ask<T>(
        &mut self,
        parse: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>,
    ) -> Result<T, Report> {
        parse(&mut self.parser).map_err(|error| self.refuse(&error))
    }

    pub(super) fn identifier(&mut self) -> Result<Name, Report> {
        let ident = self.ask(|parser| parser.parse_identifier())?;
        Ok(names::name_of(&ident, self.text))
    }

    /// A name of ours, or a longer one that ends up there.
    pub(super) fn object_name(&mut self) -> Result<Name, Report> {
        let name = self.full_name()?;
        names::object_name(&name, self.text)
    }

    /// A name of ours, or of a table of the server.
    pub(super) fn relation_name(&mut self) -> Result<Name, Report> {
        let name = self.full_name()?;
        names::relation_name(&name, self.text)
    }

    /// A name with what stands before it.
    pub(super) fn full_name(&mut self) -> Result<ObjectName, Report> {
        self.ask(|parser| parser.parse_object_name(false))
    }

    pub(super) fn data_type(&mut self) -> Result<DataType, Report> {
        let mut closed = 0;
        let data_type = self.type_within(&mut closed)?;
        if closed == 0 { Ok(data_type) } else { Err(self.syntax_error()) }
    }

    /// A type; `STRUCT<name TYPE, ...>` is ours, as sqlparser has it in other dialects only. `closed` are
    /// the brackets of outer structs that `>>` has closed together with an inner one.
    fn type_within(&mut self, closed: &mut u32) -> Result<DataType, Report> {
        if !self.is(&["STRUCT"]) || self.parser.peek_nth_token(1).token != Token::Lt {
            return self.ask(Parser::parse_data_type);
        }
        self.next();
        self.next();
        let mut fields = Vec::new();
        loop {
            let field_name = Some(self.ask(|parser| parser.parse_identifier())?);
            let field_type = self.type_within(closed)?;
            fields.push(StructField { field_name, field_type, options: None });
            if *closed > 0 || !self.take_token(&Token::Comma) {
                break;
            }
        }
        if *closed > 0 {
            *closed -= 1;
        } else if self.take_token(&Token::ShiftRight) {
            *closed += 1;
        } else {
            self.expect_token(&Token::Gt)?;
        }
        let mut data_type = DataType::Struct(fields, StructBracketKind::AngleBrackets);
        while *closed == 0 && self.take_token(&Token::LBracket) {
            self.expect_token(&Token::RBracket)?;
            let element = ArrayElemTypeDef::SquareBracket(Box::new(data_type), None);
            data_type = DataType::Array(element);
        }
        Ok(data_type)
    }

    pub(super) fn expression(&mut self) -> Result<Expression, Report> {
        self.expression_by(Parser::parse_expr)
    }

    /// An expression before which `NOT NULL` may stand: one without `IS`, `NOT`, `AND` and `OR` outside of
    /// brackets.
    pub(super) fn bare_expression(&mut self) -> Result<Expression, Report> {
        self.expression_by(|parser| {
            parser.parse_subexpr(SqlDialect::PLAIN.prec_value(Precedence::Is))
        })
    }

    fn expression_by(
        &mut self,
        parse: impl FnOnce(&mut Parser<'a>) -> Result<Expr, ParserError>,
    ) -> Result<Expression, Report> {
        let first = self.parser.peek_token_ref().span;
        let position = self.here();
        let expr = self.ask(parse)?;
        let last = self.last_span();
        Ok(Expression { expr, text: self.text.between(first, last).to_owned(), position })
    }

    /// The span of the last token taken.
    fn last_span(&self) -> Span {
        let taken = self.parser.index().min(self.tokens.len());
        let last = self.tokens[..taken].iter().rev();
        let mut words = last.filter(|t| !matches!(t.token, Token::Whitespace(_)));
        words.next().map_or_else(Span::empty, |token| token.span)
    }

    /// The whole text of the statement.
    pub(super) fn statement_text(&self) -> String {
        match (self.tokens.first(), self.tokens.last()) {
            (Some(first), Some(last)) => self.text.between(first.span, last.span).to_owned(),
            _ => String::new(),
        }
    }

    /// The text of the tokens not yet taken.
    pub(super) fn rest_text(&self) -> String {
        let mut words =
            self.rest().iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
        let Some(first) = words.next() else { return String::new() };
        let last = words.next_back().unwrap_or(first);
        self.text.between(first.span, last.span).to_owned()
    }

    /// A query that takes all tokens left.
    pub(super) fn query_to_end(&mut self) -> Result<Box<Query>, Report> {
        let query = self.stored_query()?;
        self.check_joins(query.as_ref())?;
        match clauses::of_query(&query) {
            Some(clause) => Err(self.foreign(clause)),
            None => Ok(query),
        }
    }

    /// The same for what was stored before some clauses were refused.
    pub(super) fn stored_query(&mut self) -> Result<Box<Query>, Report> {
        self.ask_to_end(Parser::parse_query)
    }

    pub(super) fn foreign(&self, clause: &Foreign) -> Report {
        foreign::read(clause, &self.tokens, self.text)
    }

    /// The report for a statement that failed; in the words of another dialect if it is of one.
    pub(super) fn explained(&self, report: Report) -> Report {
        foreign::explain(report, &self.tokens, self.text)
    }

    /// A statement of sqlparser's that takes all tokens left.
    pub(super) fn statement_to_end(&mut self) -> Result<SqlStatement, Report> {
        let statement = self.ask_to_end(Parser::parse_statement)?;
        self.check_joins(&statement)?;
        if let Some(place) = junk::insert_without_into(&statement) {
            return Err(self.error_from(place));
        }
        match clauses::of_statement(&statement) {
            Some(clause) => Err(self.foreign(clause)),
            None => Ok(statement),
        }
    }

    /// Takes all tokens left, with the clauses in them that lock rows as sqlparser reads them.
    fn ask_to_end<T>(
        &mut self,
        parse: fn(&mut Parser<'a>) -> Result<T, ParserError>,
    ) -> Result<T, Report> {
        if let Some(tokens) = locking::written_out(self.rest()) {
            let mut written = Cursor::new(tokens, self.end.clone(), self.text);
            let found = written.ask(parse)?;
            written.expect_end()?;
            self.skip_to_end();
            return Ok(found);
        }
        let found = self.ask(parse)?;
        self.expect_end()?;
        Ok(found)
    }

    /// A query of the tokens up to `length` from here, and its text. sqlparser would take what we
    /// write after a query for an alias or a table hint.
    pub(super) fn query_of(&mut self, length: usize) -> Result<(Box<Query>, String), Report> {
        let start = self.parser.index();
        let mut tokens = self.tokens[start..start + length].to_vec();
        let blank = |t: &TokenWithSpan| matches!(t.token, Token::Whitespace(_));
        while tokens.last().is_some_and(blank) {
            tokens.pop();
        }
        let end = self.tokens.get(start + length).cloned().or_else(|| self.end.clone());
        let text = match (tokens.iter().find(|t| !blank(t)), tokens.last()) {
            (Some(first), Some(last)) => self.text.between(first.span, last.span).to_owned(),
            _ => return Err(self.syntax_error()),
        };
        let query = Cursor::new(tokens, end, self.text).query_to_end()?;
        while self.parser.index() < start + length {
            self.parser.next_token_no_skip();
        }
        Ok((query, text))
    }

    /// The tokens not yet taken.
    pub(super) fn rest(&self) -> &[TokenWithSpan] {
        &self.tokens[self.parser.index().min(self.tokens.len())..]
    }

    /// `( name, ... )` if it comes next.
    pub(super) fn optional_names(&mut self) -> Result<Vec<Name>, Report> {
        let mut names = Vec::new();
        if self.take_token(&Token::LParen) {
            loop {
                names.push(self.identifier()?);
                if !self.take_token(&Token::Comma) {
                    break;
                }
            }
            self.expect_token(&Token::RParen)?;
        }
        Ok(names)
    }

    /// `( dotted.name = value, ... )`
    pub(super) fn options(&mut self) -> Result<Vec<OptionItem>, Report> {
        self.expect_token(&Token::LParen)?;
        let mut options = Vec::new();
        while !self.take_token(&Token::RParen) {
            if !options.is_empty() {
                self.expect_token(&Token::Comma)?;
            }
            let name = self.dotted()?;
            self.expect_token(&Token::Eq)?;
            let value_position = self.here();
            let is_secret = self.is(&["SECRET"]) && self.is_word_at(1);
            let value = match is_secret {
                true => self.secret_name()?,
                false => self.option_value()?,
            };
            options.push(OptionItem { name, value, is_secret, value_position });
        }
        Ok(options)
    }

    /// True if the n-th token from here is a word, in quotes or not.
    fn is_word_at(&self, n: usize) -> bool {
        matches!(self.parser.peek_nth_token_ref(n).token, Token::Word(_))
    }

    /// `SECRET name`
    fn secret_name(&mut self) -> Result<String, Report> {
        self.expect(&["SECRET"])?;
        let name = self.object_name()?.name;
        if self.is(&["AS", "FILE"]) {
            let report = Report::unsupported("a secret as a file");
            let report =
                report.hint("properties.ssl.key.pem and its like take the text of a file.");
            return Err(Report { position: self.here(), ..report });
        }
        Ok(name)
    }

    fn dotted(&mut self) -> Result<Name, Report> {
        let mut name = self.identifier()?;
        while self.take_token(&Token::Period) {
            let part = self.identifier()?;
            name.name = format!("{}.{}", name.name, part.name);
        }
        Ok(name)
    }

    pub(super) fn option_value(&mut self) -> Result<String, Report> {
        let sign = if self.take_token(&Token::Minus) { "-" } else { "" };
        let value = match self.peek().clone() {
            Token::Number(number, _) => format!("{sign}{number}"),
            _ if !sign.is_empty() => return Err(self.syntax_error()),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
            Token::DollarQuotedString(text) => text.value,
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            _ => return Err(self.syntax_error()),
        };
        self.parser.advance_token();
        Ok(value)
    }
}
