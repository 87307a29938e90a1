//! Reading one JSON text from left to right, strictly by RFC 8259.
//!
//! A cursor hands out tokens as slices of the message; nothing is copied until a value is stored.
//! Numbers are taken apart while they are scanned, so that most need no second look.
//!
//! Invariants: 1. the text is UTF-8 and every slice ends at an ASCII byte, so slicing cannot fail.
//! 2. a token is only given out when it is well formed: what is skipped is checked like the rest.

/// Objects and arrays may be nested this deep.
const DEPTH_MAX: usize = 128;
/// Digits that a `u64` always holds.
const DIGITS_MAX: u32 = 19;

/// Text that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was expected.
    pub wanted: &'static str,
    /// The byte where it was, from 1.
    pub at: usize,
}

/// A number as it stands in the text: `mantissa * 10^power`.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    /// The number as it is written.
    pub text: &'a str,
    /// A minus stands before it.
    pub negative: bool,
    /// Its first nineteen digits.
    pub mantissa: u64,
    /// What ten is raised to.
    pub power: i32,
    /// All digits are in the mantissa.
    pub exact: bool,
}

/// A value that is not NULL.
#[derive(Clone, Copy, Debug)]
pub enum Token<'a> {
    /// A number.
    Number(Number<'a>),
    /// A string without its quotes and escapes.
    Text(&'a str),
    /// `true` or `false`.
    Boolean(bool),
    /// An object or an array, as it stands in the text.
    Nested(&'a str),
}

impl<'a> Token<'a> {
    /// What PostgreSQL's input function would be given.
    pub fn text(self) -> &'a str {
        match self {
            Token::Number(number) => number.text,
            Token::Text(text) | Token::Nested(text) => text,
            Token::Boolean(true) => "true",
            Token::Boolean(false) => "false",
        }
    }
}

/// A place in a message.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a text.
    pub fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// The next byte.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    /// Skips one byte if it is this one.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The failure to find something here.
    ///
    /// # Errors
    /// Always.
    pub fn expected<T>(&self, what: &'static str) -> Result<T, Malformed> {
        Err(Malformed { wanted: what, at: self.at + 1 })
    }

    /// Skips blanks.
    #[inline]
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Skips `"key"` if it stands here with exactly these bytes between the quotes.
    #[inline]
    pub fn take_key(&mut self, key: &[u8]) -> bool {
        let rest = &self.bytes()[self.at.min(self.text.len())..];
        let end = key.len() + 1;
        let found = rest.first() == Some(&b'"')
            && rest.get(1..end) == Some(key)
            && rest.get(end) == Some(&b'"');
        if found {
            self.at += end + 1;
        }
        found
    }

    /// The text between the quotes of a string, and whether it holds escapes.
    ///
    /// # Errors
    /// What is not JSON.
    pub fn string(&mut self) -> Result<(&'a str, bool), Malformed> {
        if !self.take(b'"') {
            return self.expected("a string");
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((&self.text[start..self.at - 1], escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                Some(0..=0x1f) => return self.expected("no control character in a string"),
                Some(_) => self.at += 1,
                None => return self.expected("the end of a string"),
            }
        }
    }

    /// Skips what follows a backslash.
    fn escape(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let first = self.hex4(self.at + 1)?;
                self.at += 5;
                if (0xDC00..=0xDFFF).contains(&first) {
                    return self.expected("the first half of a surrogate pair");
                }
                if (0xD800..=0xDBFF).contains(&first) {
                    let second = match self.bytes().get(self.at..self.at + 2) {
                        Some(b"\\u") => self.hex4(self.at + 2)?,
                        _ => return self.expected("the second half of a surrogate pair"),
                    };
                    if !(0xDC00..=0xDFFF).contains(&second) {
                        return self.expected("the second half of a surrogate pair");
                    }
                    self.at += 6;
                }
            }
            _ => return self.expected("an escape"),
        }
        Ok(())
    }

    fn hex4(&self, at: usize) -> Result<u32, Malformed> {
        let digits = self.bytes().get(at..at + 4).unwrap_or_default();
        if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return self.expected("four hexadecimal digits");
        }
        Ok(digits.iter().fold(0, |value, digit| {
            value * 16 + char::from(*digit).to_digit(16).unwrap_or_default()
        }))
    }

    /// Skips digits, adding them to the mantissa; how many there were, and how many were added.
    #[inline]
    fn digits(&mut self, number: &mut Number<'a>, used: &mut u32) -> (usize, usize) {
        let start = self.at;
        let mut added = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            self.at += 1;
            if *used < DIGITS_MAX {
                number.mantissa = number.mantissa * 10 + u64::from(digit - b'0');
                *used += u32::from(number.mantissa != 0);
                added += 1;
            } else {
                number.exact &= digit == b'0';
            }
        }
        (self.at - start, added)
    }

    /// Reads a number.
    ///
    /// # Errors
    /// What is not JSON.
    pub fn number(&mut self) -> Result<Number<'a>, Malformed> {
        let start = self.at;
        let negative = self.take(b'-');
        let mut number = Number { text: "", negative, mantissa: 0, power: 0, exact: true };
        let mut used = 0;
        let leading_zero = self.peek() == Some(b'0');
        let (whole, added) = self.digits(&mut number, &mut used);
        if whole == 0 || (leading_zero && whole > 1) {
            return self.expected("a number");
        }
        number.power = i32::try_from(whole - added).unwrap_or(i32::MAX);
        if self.take(b'.') {
            let (places, added) = self.digits(&mut number, &mut used);
            if places == 0 {
                return self.expected("a digit after the point");
            }
            // Digits that no longer fit are worth less than the mantissa's last one.
            number.power = number.power.saturating_sub(i32::try_from(added).unwrap_or(i32::MAX));
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            let exponent = self.exponent()?;
            number.power = number.power.saturating_add(exponent);
        }
        number.text = &self.text[start..self.at];
        Ok(number)
    }

    fn exponent(&mut self) -> Result<i32, Malformed> {
        let negative = self.peek() == Some(b'-');
        if negative || self.peek() == Some(b'+') {
            self.at += 1;
        }
        let start = self.at;
        let mut exponent = 0_i32;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            self.at += 1;
            exponent = exponent.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
        }
        match self.at == start {
            true => self.expected("the digits of an exponent"),
            false => Ok(if negative { -exponent } else { exponent }),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<(), Malformed> {
        if !self.bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.expected("a value");
        }
        self.at += word.len();
        Ok(())
    }

    /// Skips `null` if it begins here.
    ///
    /// # Errors
    /// What is not JSON.
    #[inline]
    pub fn take_null(&mut self) -> Result<bool, Malformed> {
        match self.peek() {
            Some(b'n') => self.literal("null").map(|()| true),
            _ => Ok(false),
        }
    }

    /// The value that begins here; `scratch` holds a string that had escapes. NULL is no token.
    ///
    /// # Errors
    /// What is not JSON.
    #[inline]
    pub fn token<'t>(&mut self, scratch: &'t mut String) -> Result<Token<'t>, Malformed>
    where
        'a: 't,
    {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number().map(Token::Number),
            Some(b'"') => {
                let (raw, escaped) = self.string()?;
                if escaped {
                    unescape(raw, scratch);
                    return Ok(Token::Text(scratch));
                }
                Ok(Token::Text(raw))
            }
            Some(b't') => self.literal("true").map(|()| Token::Boolean(true)),
            Some(b'f') => self.literal("false").map(|()| Token::Boolean(false)),
            _ => {
                let start = self.at;
                self.skip_value(0)?;
                Ok(Token::Nested(&self.text[start..self.at]))
            }
        }
    }

    /// Skips a value of any kind; gives it as it stands in the text.
    ///
    /// # Errors
    /// What is not JSON.
    pub fn slice(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        self.skip_value(0)?;
        Ok(&self.text[start..self.at])
    }

    /// Checks that a value may be nested this deep.
    ///
    /// # Errors
    /// It may not.
    pub fn enter(&self, depth: usize) -> Result<(), Malformed> {
        if depth > DEPTH_MAX { self.expected("less deep nesting") } else { Ok(()) }
    }

    /// Skips a value of any kind.
    ///
    /// # Errors
    /// What is not JSON.
    pub fn skip_value(&mut self, depth: usize) -> Result<(), Malformed> {
        self.enter(depth)?;
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'[') => self.skip_members(b']', depth, false),
            Some(b'{') => self.skip_members(b'}', depth, true),
            _ => self.expected("a value"),
        }
    }

    fn skip_members(&mut self, close: u8, depth: usize, keys: bool) -> Result<(), Malformed> {
        self.at += 1;
        self.skip_space();
        if self.take(close) {
            return Ok(());
        }
        loop {
            if keys {
                self.string()?;
                self.colon()?;
            }
            self.skip_value(depth + 1)?;
            if !self.goes_on(close)? {
                return Ok(());
            }
        }
    }

    /// Skips the colon between a key and its value.
    ///
    /// # Errors
    /// What is not JSON.
    #[inline]
    pub fn colon(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        if !self.take(b':') {
            return self.expected("a colon");
        }
        self.skip_space();
        Ok(())
    }

    /// After a member: true over a comma, false over the closing bracket.
    ///
    /// # Errors
    /// What is not JSON.
    #[inline]
    pub fn goes_on(&mut self, close: u8) -> Result<bool, Malformed> {
        self.skip_space();
        if self.take(b',') {
            self.skip_space();
            return Ok(true);
        }
        match self.take(close) {
            true => Ok(false),
            false if close == b']' => self.expected("a comma or ]"),
            false => self.expected("a comma or }"),
        }
    }

    /// Nothing but space may follow.
    ///
    /// # Errors
    /// What is not JSON.
    pub fn end(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.expected("nothing after the value"),
        }
    }
}

/// A string without its escapes; `raw` has been scanned by [`Cursor::string`].
pub fn unescape(raw: &str, out: &mut String) {
    out.clear();
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        let mut length = 2;
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{c}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let unit = |from: usize| {
                    let digits = rest.get(from..from + 4).unwrap_or_default();
                    u16::from_str_radix(digits, 16).unwrap_or_default()
                };
                let units = [unit(at + 2), unit(at + 8)];
                let pair = (0xD800..=0xDBFF).contains(&units[0]);
                length = if pair { 12 } else { 6 };
                out.extend(
                    char::decode_utf16(units.into_iter().take(1 + usize::from(pair))).flatten(),
                );
            }
            other => out.push(char::from(other)),
        }
        rest = &rest[at + length..];
    }
    out.push_str(rest);
}
