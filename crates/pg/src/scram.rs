//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as the server speaks it: what is stored of a password, and one
//! exchange with a client.
//!
//! What is stored proves that a client knows the password and cannot be used in its place, which is why
//! this is ours: pgwire's server wants the salted password, with which one could come in.
//!
//! Invariants: 1. an [`Exchange`] is used for one connection. 2. a name that nobody has takes the same
//! steps as one with another password, and gives the same salt each time ([`Verifier::mock`]).

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};

/// The name of the method, on the wire and in stored verifiers.
pub(crate) const METHOD: &str = "SCRAM-SHA-256";
/// Its name on the wire where the login is bound to the certificate.
pub(crate) const METHOD_BOUND: &str = "SCRAM-SHA-256-PLUS";
/// How a login is bound, as the client says it.
const BOUND: &str = "p=tls-server-end-point";
/// How often a password is hashed, as PostgreSQL does it.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");
/// More than anybody says; who checks a password itself has to do them all.
const ITERATIONS_MAX: u32 = 1_000_000;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 18;
const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// The system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// What is stored of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

/// Shows nothing.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// As PostgreSQL stores it: `SCRAM-SHA-256$4096:salt$stored:server`.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = |bytes: &[u8]| STANDARD.encode(bytes);
        let (salt, stored) = (base(&self.salt), base(&self.stored_key));
        write!(f, "{METHOD}${}:{salt}${stored}:{}", self.iterations, base(&self.server_key))
    }
}

impl Verifier {
    /// The verifier of a password, with a salt of its own.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn of(password: &str) -> Result<Verifier, NoRandomness> {
        Ok(Verifier::salted(password, random::<SALT_BYTES>()?.to_vec(), ITERATIONS))
    }

    /// The verifier of a password with a salt that follows from a key: the same one each time.
    pub fn keyed(password: &str, key: &[u8], user: &str) -> Verifier {
        Verifier::salted(password, Verifier::mock(key, user).salt, ITERATIONS)
    }

    /// A verifier that nobody has the password of, for a name that nobody has.
    pub fn mock(key: &[u8], user: &str) -> Verifier {
        let part = |label: &str| {
            let signed = sign(key, format!("{label}/{user}").as_bytes());
            <[u8; KEY_BYTES]>::try_from(signed.as_ref()).expect("a tag of SHA-256 is as long")
        };
        Verifier {
            iterations: ITERATIONS,
            salt: part("salt")[..SALT_BYTES].to_vec(),
            stored_key: part("stored"),
            server_key: part("server"),
        }
    }

    /// Reads what PostgreSQL or [`Verifier`] has written; None for any other text, such as a password.
    pub fn parse(text: &str) -> Option<Verifier> {
        let rest = text.strip_prefix(METHOD)?.strip_prefix('$')?;
        let (salting, keys) = rest.split_once('$')?;
        let (iterations, salt) = salting.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let iterations: NonZeroU32 = iterations.parse().ok()?;
        let key = |text: &str| STANDARD.decode(text).ok()?.try_into().ok();
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        let (stored_key, server_key) = (key(stored)?, key(server)?);
        (iterations.get() <= ITERATIONS_MAX).then_some(Verifier {
            iterations,
            salt,
            stored_key,
            server_key,
        })
    }

    /// True if this is the password. Takes as long as the hashing takes.
    pub fn accepts(&self, password: &str) -> bool {
        let found = Verifier::salted(password, self.salt.clone(), self.iterations);
        same(&found.stored_key, &self.stored_key)
    }

    fn salted(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Verifier {
        // As PostgreSQL does: what cannot be normalised is taken as it is.
        let password = stringprep::saslprep(password).unwrap_or(password.into());
        let mut salted = [0; KEY_BYTES];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut salted);
        let key = |label: &[u8]| {
            let signed = sign(&salted, label);
            <[u8; KEY_BYTES]>::try_from(signed.as_ref()).expect("a tag of SHA-256 is as long")
        };
        let stored_key = sha256(&key(b"Client Key"));
        Verifier { iterations, salt, stored_key, server_key: key(b"Server Key") }
    }
}

/// Why an exchange has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The client does not speak SCRAM as it should.
    Malformed,
    /// It does not know the password.
    Wrong,
}

/// Whether a login is bound to the server's certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Binding<'a> {
    /// The connection has nothing to bind it to.
    NotOffered,
    /// The client did not want it.
    Declined,
    /// To this, see [`crate::endpoint`].
    To(&'a [u8]),
}

/// The exchange after the client's first message.
pub(crate) struct Exchange {
    verifier: Verifier,
    /// What the client said of channel binding and what it is bound to, which its last message repeats.
    bound: Vec<u8>,
    nonce: String,
    /// Both first messages, as they are signed.
    signed: String,
}

impl Exchange {
    /// Takes the client's first message; gives the server's.
    pub(crate) fn begin(
        verifier: Verifier,
        first: &[u8],
        server_nonce: &str,
        binding: Binding<'_>,
    ) -> Result<(Exchange, String), Refused> {
        let first = std::str::from_utf8(first).map_err(|_| Refused::Malformed)?;
        let (header, bare) = split_header(first, binding).ok_or(Refused::Malformed)?;
        let mut attributes = bare.split(',');
        let named = attributes.next().is_some_and(|name| name.starts_with("n="));
        let client_nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        let printable = |nonce: &&str| {
            !nonce.is_empty() && nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
        };
        let client_nonce = client_nonce.filter(printable).filter(|_| named);
        let nonce = format!("{}{server_nonce}", client_nonce.ok_or(Refused::Malformed)?);
        let salt = STANDARD.encode(&verifier.salt);
        let reply = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let signed = format!("{bare},{reply}");
        let mut bound = header.as_bytes().to_vec();
        if let Binding::To(endpoint) = binding {
            bound.extend_from_slice(endpoint);
        }
        Ok((Exchange { verifier, bound, nonce, signed }, reply))
    }

    /// Takes the client's last message; gives the server's, which proves that it knows the verifier.
    pub(crate) fn finish(self, last: &[u8]) -> Result<String, Refused> {
        let last = std::str::from_utf8(last).map_err(|_| Refused::Malformed)?;
        let (unproven, proof) = last.rsplit_once(",p=").ok_or(Refused::Malformed)?;
        let mut attributes = unproven.split(',');
        let binding = attributes.next().and_then(|binding| binding.strip_prefix("c="));
        let nonce = attributes.next().and_then(|nonce| nonce.strip_prefix("r="));
        if binding != Some(STANDARD.encode(&self.bound).as_str()) || nonce != Some(&self.nonce) {
            return Err(Refused::Malformed);
        }
        let proof = STANDARD.decode(proof).map_err(|_| Refused::Malformed)?;
        let proof: [u8; KEY_BYTES] = proof.try_into().map_err(|_| Refused::Malformed)?;
        let message = format!("{},{unproven}", self.signed);
        let signature = sign(&self.verifier.stored_key, message.as_bytes());
        let mut client_key = proof;
        client_key.iter_mut().zip(signature.as_ref()).for_each(|(key, byte)| *key ^= byte);
        if !same(&sha256(&client_key), &self.verifier.stored_key) {
            return Err(Refused::Wrong);
        }
        let proven = sign(&self.verifier.server_key, message.as_bytes());
        Ok(format!("v={}", STANDARD.encode(proven.as_ref())))
    }
}

/// The header on channel binding and what follows it. A client that could bind its login and believes that
/// the server cannot, though it can, talks to somebody in between.
fn split_header<'a>(first: &'a str, binding: Binding<'_>) -> Option<(&'a str, &'a str)> {
    let (said, rest) = first.split_once(',')?;
    let (authorized, bare) = rest.split_once(',')?;
    let fits = match binding {
        Binding::NotOffered => matches!(said, "n" | "y"),
        Binding::Declined => said == "n",
        Binding::To(_) => said == BOUND,
    };
    let known = fits && authorized.is_empty();
    known.then(|| (&first[..first.len() - bare.len()], bare))
}

/// A nonce for the server's first message.
///
/// # Errors
/// The system has no randomness to give.
pub(crate) fn nonce() -> Result<String, NoRandomness> {
    Ok(STANDARD.encode(random::<NONCE_BYTES>()?))
}

/// Bytes that nobody can guess.
///
/// # Errors
/// The system has no randomness to give.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

fn sign(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

fn sha256(bytes: &[u8]) -> [u8; KEY_BYTES] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 is as long")
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8; KEY_BYTES], b: &[u8; KEY_BYTES]) -> bool {
    a.iter().zip(b).fold(0, |found, (a, b)| found | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677.
    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::salted("pencil", salt, ITERATIONS);
        let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let (exchange, reply) =
            Exchange::begin(verifier, first, nonce, Binding::NotOffered).unwrap();
        assert_eq!(
            reply,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let proven = exchange.finish(last).unwrap();
        assert_eq!(proven, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_verifier_is_written_as_postgresql_writes_it_and_read_again() {
        let verifier = Verifier::of("geheim").unwrap();
        let text = verifier.to_string();
        assert!(text.starts_with("SCRAM-SHA-256$4096:"), "{text}");
        assert_eq!(Verifier::parse(&text), Some(verifier.clone()));
        assert!(verifier.accepts("geheim") && !verifier.accepts("Geheim"));
        for text in ["geheim", "SCRAM-SHA-256$", "SCRAM-SHA-256$0:YQ==$YQ==:YQ==", "md5abc"] {
            assert_eq!(Verifier::parse(text), None, "{text}");
        }
        assert!(!format!("{verifier:?}").contains('$'));
    }

    #[test]
    fn a_verifier_does_not_let_its_owner_in() {
        let verifier = Verifier::of("geheim").unwrap();
        assert!(!verifier.accepts(&verifier.to_string()));
    }

    #[test]
    fn a_name_that_nobody_has_gets_the_same_salt_each_time_and_another_than_others() {
        let mock = |key: &[u8], user| Verifier::mock(key, user).salt;
        assert_eq!(mock(b"key", "nobody"), mock(b"key", "nobody"));
        assert_ne!(mock(b"key", "nobody"), mock(b"key", "somebody"));
        assert_ne!(mock(b"key", "nobody"), mock(b"other", "nobody"));
        assert_eq!(mock(b"key", "nobody").len(), Verifier::of("x").unwrap().salt.len());
    }

    #[test]
    fn a_login_is_bound_to_the_certificate_that_the_client_has_seen() {
        let verifier = Verifier::of("x").unwrap();
        let begin = |first: &str, binding| {
            Exchange::begin(verifier.clone(), first.as_bytes(), "n", binding)
        };
        let (bound, unbound) = ("p=tls-server-end-point,,n=u,r=abc", "n,,n=u,r=abc");
        assert!(begin(bound, Binding::Declined).is_err());
        assert!(begin(unbound, Binding::To(b"seen")).is_err());
        // Somebody in between has taken the method away that binds.
        assert!(begin("y,,n=u,r=abc", Binding::Declined).is_err());
        let finish = |seen: &str| {
            let (exchange, _) = begin(bound, Binding::To(b"seen")).unwrap();
            let header = STANDARD.encode(format!("p=tls-server-end-point,,{seen}"));
            let proof = STANDARD.encode([0; KEY_BYTES]);
            exchange.finish(format!("c={header},r=abcn,p={proof}").as_bytes())
        };
        assert_eq!(finish("seen"), Err(Refused::Wrong));
        assert_eq!(finish("other"), Err(Refused::Malformed));
        assert_eq!(finish(""), Err(Refused::Malformed));
    }

    #[test]
    fn messages_that_are_cut_or_bound_to_a_channel_are_malformed() {
        let verifier = Verifier::of("x").unwrap();
        let start = |first: &str| {
            Exchange::begin(verifier.clone(), first.as_bytes(), "n", Binding::NotOffered)
        };
        let begin = |first: &str| start(first).err();
        let first = "n,,n=u,r=abc";
        assert_eq!(begin(first), None);
        for end in 0..first.len() - 3 {
            assert_eq!(begin(&first[..end]), Some(Refused::Malformed), "{end}");
        }
        assert_eq!(begin("p=tls-server-end-point,,n=u,r=abc"), Some(Refused::Malformed));
        let finish = |last: &str| {
            let (exchange, _) = start(first).unwrap();
            exchange.finish(last.as_bytes())
        };
        for last in ["", "c=biws", "c=biws,r=abcn", "c=biws,r=abc,p=", "c=eSws,r=abcn,p=AA=="] {
            assert_eq!(finish(last), Err(Refused::Malformed), "{last}");
        }
        let wrong = format!("c=biws,r=abcn,p={}", STANDARD.encode([0; KEY_BYTES]));
        assert_eq!(finish(&wrong), Err(Refused::Wrong));
    }
}
