//! The private half of a key, which never leaves this module: only signatures do.
//!
//! ring signs, but for keys that it does not support: RSA with SHA-1 or of less than 2,048 bits.

use super::algorithm::Algorithm;
use super::key_error::KeyError;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use std::collections::HashMap;
use std::fmt;

/// Minimum length of an RSA key that ring signs with, in bits.
const MIN_RING_RSA_BITS: usize = 2048;
/// Minimum length of an RSA key, in bits (RFC 3110 §4.1, RFC 5702 §2).
const MIN_RSA_BITS: usize = 512;

/// A signing key failed, or a key could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot sign")]
pub struct SignError;

/// The private half of a key.
pub(super) struct SigningKey {
    private: PrivateKey,
    random: SystemRandom,
}

/// The private half in the form of the library that signs with it.
enum PrivateKey {
    /// With the octets of a signature. The nonce of a signature is derived from the key, the message and random octets, so
    /// that neither a weak random number generator nor a fault repeats a nonce.
    Ecdsa(EcdsaKeyPair, usize),
    Ed25519(Ed25519KeyPair),
    Rsa(Algorithm, Box<RsaKeyPair>),
    /// A key that ring does not sign with: for SHA-1, of less than 2,048 bits, or with an uncommon public exponent.
    RsaWithoutRing(Algorithm, Box<RsaPrivateKey>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// Decoded fields of a `.private` file by BIND's names.
pub(super) type PrivateFields<'a> = HashMap<&'a str, Vec<u8>>;

impl SigningKey {
    /// The private half out of the fields of a `.private` file.
    ///
    /// # Errors
    /// A field is missing, or the fields do not belong to the public half.
    pub(super) fn new(
        algorithm: Algorithm,
        public: &[u8],
        fields: &PrivateFields<'_>,
    ) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let private = match algorithm {
            Algorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, public, fields, &random)?,
            Algorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, public, fields, &random)?,
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_and_public_key(field(fields, "PrivateKey")?, public);
                PrivateKey::Ed25519(pair.map_err(|_| KeyError::Mismatch)?)
            }
            Algorithm::RsaSha1 | Algorithm::RsaSha1Nsec3 | Algorithm::RsaSha256 | Algorithm::RsaSha512 => {
                rsa(algorithm, public, fields)?
            }
        };
        Ok(Self { private, random })
    }

    /// Octets of a signature.
    pub(super) fn signature_len(&self) -> usize {
        match &self.private {
            PrivateKey::Ecdsa(_, len) => *len,
            PrivateKey::Ed25519(_) => 64,
            PrivateKey::Rsa(_, pair) => pair.public().modulus_len(),
            PrivateKey::RsaWithoutRing(_, key) => key.size(),
        }
    }

    /// A signature over a message, in the form that RRSIG has for the algorithm.
    ///
    /// # Errors
    /// The crypto library failed, or the system has no random octets.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.private {
            PrivateKey::Ecdsa(pair, _) => {
                let signature = pair.sign(&self.random, message).map_err(|_| SignError)?;
                Ok(signature.as_ref().to_vec())
            }
            PrivateKey::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            PrivateKey::Rsa(algorithm, pair) => {
                let encoding =
                    if *algorithm == Algorithm::RsaSha512 { &RSA_PKCS1_SHA512 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &self.random, message, &mut signature).map_err(|_| SignError)?;
                Ok(signature)
            }
            PrivateKey::RsaWithoutRing(algorithm, key) => {
                let (hash, prefix) = digest_info(*algorithm);
                let hashed = digest(hash, message);
                let padding = Pkcs1v15Sign {
                    hash_len: Some(hash.output_len()),
                    prefix: prefix.to_vec().into_boxed_slice(),
                };
                // `sign_with_rng` blinds, so that the time that it takes reveals nothing of the key.
                key.sign_with_rng(&mut rsa::rand_core::OsRng, padding, hashed.as_ref()).map_err(|_| SignError)
            }
        }
    }
}

fn field<'f>(fields: &'f PrivateFields<'_>, name: &'static str) -> Result<&'f [u8], KeyError> {
    fields.get(name).map(Vec::as_slice).ok_or(KeyError::MissingField(name))
}

/// A key pair for ECDSA; `public` is the point of the DNSKEY.
fn ecdsa(
    ecdsa: &'static EcdsaSigningAlgorithm,
    public: &[u8],
    fields: &PrivateFields<'_>,
    random: &SystemRandom,
) -> Result<PrivateKey, KeyError> {
    // DNSKEY leaves out the octet that says "uncompressed" (RFC 6605 §4).
    let point = [&[4], public].concat();
    // BIND leaves out zero octets at the front, which one key of 256 has.
    let secret = strip_zeros(field(fields, "PrivateKey")?);
    let zeros = (public.len() / 2).checked_sub(secret.len()).ok_or(KeyError::Mismatch)?;
    let secret = [vec![0; zeros].as_slice(), secret].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(ecdsa, &secret, &point, random);
    // A signature consists of two numbers of the same length as the two of the point.
    pair.map(|pair| PrivateKey::Ecdsa(pair, public.len())).map_err(|_| KeyError::Mismatch)
}

/// A key pair for RSA; `public` is the key of the DNSKEY.
fn rsa(algorithm: Algorithm, public: &[u8], fields: &PrivateFields<'_>) -> Result<PrivateKey, KeyError> {
    let (e, n) = rsa_public(public).ok_or(KeyError::Record("the RSA key"))?;
    let number = |octets: &[u8]| BigUint::from_bytes_be(octets);
    let (modulus, exponent) = (number(field(fields, "Modulus")?), number(field(fields, "PublicExponent")?));
    if (modulus, exponent) != (number(n), number(e)) {
        return Err(KeyError::Mismatch);
    }
    let n = strip_zeros(n);
    let bits = number(n).bits();
    if bits < MIN_RSA_BITS {
        return Err(KeyError::TooShort(bits));
    }
    let [d, p, q] = [field(fields, "PrivateExponent")?, field(fields, "Prime1")?, field(fields, "Prime2")?];
    if bits >= MIN_RING_RSA_BITS && !algorithm.is_sha1() {
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n, e: strip_zeros(e) },
            d: strip_zeros(d),
            p: strip_zeros(p),
            q: strip_zeros(q),
            dP: strip_zeros(field(fields, "Exponent1")?),
            dQ: strip_zeros(field(fields, "Exponent2")?),
            qInv: strip_zeros(field(fields, "Coefficient")?),
        };
        // ring refuses some keys, such as those with an uncommon public exponent; the other library takes them.
        if let Ok(pair) = RsaKeyPair::from_components(&components) {
            return Ok(PrivateKey::Rsa(algorithm, Box::new(pair)));
        }
    }
    let primes = vec![number(p), number(q)];
    let key = RsaPrivateKey::from_components(number(n), number(e), number(d), primes);
    key.map(|key| PrivateKey::RsaWithoutRing(algorithm, Box::new(key))).map_err(|_| KeyError::Mismatch)
}

/// Exponent and modulus of the key of a DNSKEY (RFC 3110 §2).
fn rsa_public(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match key {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [len, rest @ ..] => (usize::from(*len), rest),
        [] => return None,
    };
    rest.split_at_checked(len).filter(|(e, n)| !e.is_empty() && !n.is_empty())
}

/// A number without zero octets at the front.
fn strip_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    &number[zeros..]
}

/// The hash function of an RSA algorithm, and the DER prefix of the hash in a signature (RFC 8017 §9.2 note 1).
fn digest_info(algorithm: Algorithm) -> (&'static ring::digest::Algorithm, &'static [u8]) {
    match algorithm {
        Algorithm::RsaSha512 => {
            (&SHA512, b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40")
        }
        Algorithm::RsaSha256 => {
            (&SHA256, b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20")
        }
        _ => (&SHA1_FOR_LEGACY_USE_ONLY, b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14"),
    }
}
