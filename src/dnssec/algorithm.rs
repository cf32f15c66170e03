//! The algorithms that this program signs with (RFC 8624 §3.1).

/// A DNSSEC algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// RSA with SHA-1 (RFC 3110); not to be used for new zones (RFC 9905).
    RsaSha1 = 5,
    /// RSA with SHA-1 under the number that announces NSEC3 (RFC 5155 §2); not to be used for new zones either.
    RsaSha1Nsec3 = 7,
    /// RSA with SHA-256 (RFC 5702).
    RsaSha256 = 8,
    /// RSA with SHA-512 (RFC 5702).
    RsaSha512 = 10,
    /// ECDSA over P-256 with SHA-256 (RFC 6605).
    EcdsaP256 = 13,
    /// ECDSA over P-384 with SHA-384 (RFC 6605).
    EcdsaP384 = 14,
    /// Ed25519 (RFC 8080).
    Ed25519 = 15,
}

/// Each algorithm with its mnemonic, in the spelling of the tools of BIND and ldns.
const ALGORITHMS: [(Algorithm, &str); 7] = [
    (Algorithm::RsaSha1, "RSASHA1"),
    (Algorithm::RsaSha1Nsec3, "NSEC3RSASHA1"),
    (Algorithm::RsaSha256, "RSASHA256"),
    (Algorithm::RsaSha512, "RSASHA512"),
    (Algorithm::EcdsaP256, "ECDSAP256SHA256"),
    (Algorithm::EcdsaP384, "ECDSAP384SHA384"),
    (Algorithm::Ed25519, "ED25519"),
];

impl Algorithm {
    /// The algorithm with a number; `None` if this program does not sign with it.
    pub fn from_number(number: u8) -> Option<Self> {
        ALGORITHMS.into_iter().map(|(algorithm, _)| algorithm).find(|algorithm| algorithm.number() == number)
    }

    /// The algorithm with a mnemonic or a number, in any letter case.
    pub fn from_text(text: &str) -> Option<Self> {
        let named = ALGORITHMS.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        named.map(|(algorithm, _)| algorithm).or_else(|| text.parse().ok().and_then(Self::from_number))
    }

    /// The number of the algorithm (RFC 4034 appendix A.1).
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The mnemonic of the algorithm.
    pub fn name(self) -> &'static str {
        ALGORITHMS.into_iter().find(|(algorithm, _)| *algorithm == self).map_or("", |(_, name)| name)
    }

    /// Whether the algorithm uses SHA-1, which validators begin to refuse (RFC 9905).
    pub fn is_sha1(self) -> bool {
        matches!(self, Self::RsaSha1 | Self::RsaSha1Nsec3)
    }
}
