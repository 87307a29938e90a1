//! `tls-server-end-point` (RFC 5929): the hash of a server's certificate, to which a client binds its login,
//! so that nobody in between can pass it on.

use ring::digest::{self, Algorithm};

/// Signatures and the hashes that they are made with, by the object identifiers of X.509. MD5 and SHA-1
/// are replaced by SHA-256, as the RFC says; others have no hash that both sides would agree on.
const SIGNATURES: [(&[u8], &Algorithm); 9] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], &digest::SHA512),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], &digest::SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], &digest::SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], &digest::SHA512),
];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The hash of a certificate (DER); None if its signature names no hash.
pub(crate) fn endpoint(certificate: &[u8]) -> Option<Vec<u8>> {
    let signature = signature(certificate)?;
    let (_, algorithm) = SIGNATURES.iter().find(|(identifier, _)| *identifier == signature)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// The identifier of the algorithm that a certificate is signed with: what is signed stands before it.
fn signature(certificate: &[u8]) -> Option<&[u8]> {
    let (parts, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(parts, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    element(algorithm, OBJECT_IDENTIFIER).map(|(identifier, _)| identifier)
}

/// The content of the first element of some DER, which has a tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, der) = der.split_first()?;
    let (&first, mut der) = der.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let digits = usize::from(first & 0x7f);
        if digits > 4 || der.len() < digits {
            return None;
        }
        let (number, rest) = der.split_at(digits);
        length = number.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        der = rest;
    }
    (found == tag).then(|| der.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate's frame around an identifier, `padding` bytes of what is signed before it.
    fn framed(identifier: &[u8], padding: usize) -> Vec<u8> {
        let sized = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82], &length[..], content].concat()
        };
        let signed = sized(SEQUENCE, &vec![7; padding]);
        let algorithm = sized(SEQUENCE, &sized(OBJECT_IDENTIFIER, identifier));
        sized(SEQUENCE, &[signed, algorithm, vec![3, 1, 0]].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        for (identifier, algorithm) in SIGNATURES {
            let certificate = framed(identifier, 300);
            let expected = digest::digest(algorithm, &certificate);
            assert_eq!(endpoint(&certificate).as_deref(), Some(expected.as_ref()));
        }
        let ed25519 = framed(&[0x2b, 0x65, 0x70], 10);
        assert_eq!(endpoint(&ed25519), None);
    }

    #[test]
    fn a_certificate_that_is_cut_has_none() {
        let whole = framed(SIGNATURES[2].0, 20);
        for end in 0..whole.len() - 1 {
            assert_eq!(endpoint(&whole[..end]), None, "{end}");
        }
    }
}
