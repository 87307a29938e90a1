//! Bytes of small records: variable-length integers between a version byte and a CRC-32.
//!
//! Written out by hand, so that the bytes on disk are decided here and not by a derive.
//!
//! Invariants: 1. a record whose checksum or version is wrong is never decoded ([`Reader::open`]).
//! 2. decoding never panics and never allocates by a length it has not checked ([`Reader::count`]).

/// Why bytes are not a record.
pub(crate) type Decoded<T> = std::result::Result<T, &'static str>;

const CRC_BYTES: usize = 4;
const SHORT: &str = "record is too short";

/// Builds one record.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(version: u8) -> Writer {
        Writer(vec![version])
    }

    /// A number in groups of seven bits, lowest first.
    pub(crate) fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    /// A signed number, folded so that small magnitudes stay short.
    pub(crate) fn i64(&mut self, value: i64) {
        self.u64(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub(crate) fn optional(&mut self, value: Option<i64>) {
        self.bool(value.is_some());
        if let Some(value) = value {
            self.i64(value);
        }
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let crc = crc32fast::hash(&self.0);
        self.0.extend_from_slice(&crc.to_le_bytes());
        self.0
    }
}

/// Reads one record.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn open(bytes: &'a [u8], version: u8) -> Decoded<Reader<'a>> {
        let body = bytes.len().checked_sub(CRC_BYTES).ok_or(SHORT)?;
        let (body, crc) = bytes.split_at(body);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Err("checksum does not match");
        }
        match body.split_first() {
            Some((found, rest)) if *found == version => Ok(Reader(rest)),
            Some(_) => Err("record has an unknown version"),
            None => Err(SHORT),
        }
    }

    fn byte(&mut self) -> Decoded<u8> {
        let (first, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits.leading_zeros() < shift {
                return Err("number is too large");
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("number is too long")
    }

    pub(crate) fn u32(&mut self) -> Decoded<u32> {
        u32::try_from(self.u64()?).map_err(|_| "number is too large")
    }

    pub(crate) fn i64(&mut self) -> Decoded<i64> {
        let folded = self.u64()?;
        Ok((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    pub(crate) fn i32(&mut self) -> Decoded<i32> {
        i32::try_from(self.i64()?).map_err(|_| "number is too large")
    }

    pub(crate) fn bool(&mut self) -> Decoded<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("flag is neither 0 nor 1"),
        }
    }

    pub(crate) fn optional(&mut self) -> Decoded<Option<i64>> {
        if self.bool()? { self.i64().map(Some) } else { Ok(None) }
    }

    /// A number of elements that follow, each at least one byte long.
    pub(crate) fn count(&mut self) -> Decoded<usize> {
        let count = usize::try_from(self.u64()?).map_err(|_| "count is too large")?;
        if count > self.0.len() { Err("count is larger than the record") } else { Ok(count) }
    }

    pub(crate) fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let count = self.count()?;
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn finish(self) -> Decoded<()> {
        if self.0.is_empty() { Ok(()) } else { Err("record is too long") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_at_both_ends_of_their_range() {
        let numbers = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN];
        let mut writer = Writer::new(1);
        for number in numbers {
            writer.i64(number);
        }
        writer.u64(u64::MAX);
        writer.bytes(b"key");
        let bytes = writer.finish();
        let mut reader = Reader::open(&bytes, 1).unwrap();
        for number in numbers {
            assert_eq!(reader.i64(), Ok(number));
        }
        assert_eq!(reader.u64(), Ok(u64::MAX));
        assert_eq!(reader.bytes(), Ok(b"key".as_slice()));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut writer = Writer::new(1);
        writer.u64(300);
        let bytes = writer.finish();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Reader::open(&bad, 1).is_err(), "bit {bit}");
        }
    }
}
