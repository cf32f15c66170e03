//! The public half of a key, and the RDATA of the DNSKEY, CDNSKEY, DS and CDS records that announce it.

use super::algorithm::Algorithm;
use hickory_proto::rr::Name;
use ring::digest::{SHA256, SHA384, digest};

/// Flag of a DNSKEY that signs a zone (RFC 4034 §2.1.1).
pub(super) const ZONE_KEY: u16 = 0x0100;
/// Flag of a secure entry point: a KSK, or a CSK.
pub(super) const SEP: u16 = 0x0001;
/// Flag of a key that must not be trusted any more (RFC 5011 §2.1).
pub(super) const REVOKED: u16 = 0x0080;

/// The public half of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The zone, absolute.
    pub owner: Name,
    /// Flags of the DNSKEY: 256 for a ZSK, 257 for a KSK or a CSK.
    pub flags: u16,
    /// The algorithm that the key is made for.
    pub algorithm: Algorithm,
    /// The key in the form that DNSKEY has for its algorithm (RFC 3110 §2, RFC 6605 §4, RFC 8080 §3).
    pub key: Vec<u8>,
}

/// The digests that a DS record can have (RFC 8624 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DsDigest {
    /// SHA-256.
    Sha256 = 2,
    /// SHA-384.
    Sha384 = 4,
}

impl PublicKey {
    /// RDATA of the DNSKEY, and of the CDNSKEY (RFC 4034 §2.1, RFC 7344 §3.2).
    pub fn rdata(&self) -> Vec<u8> {
        let mut rdata = self.flags.to_be_bytes().to_vec();
        rdata.extend([3, self.algorithm.number()]);
        rdata.extend_from_slice(&self.key);
        rdata
    }

    /// Key tag (RFC 4034 appendix B).
    pub fn tag(&self) -> u16 {
        let rdata = self.rdata();
        let octet = |octet: Option<&u8>| octet.copied().map_or(0, u32::from);
        let pairs = rdata.chunks(2).map(|pair| (octet(pair.first()) << 8) + octet(pair.get(1)));
        let sum = pairs.fold(0, u32::wrapping_add);
        let [.., high, low] = sum.wrapping_add(sum >> 16).to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Whether the key is a secure entry point, which a DS of the parent zone names.
    pub fn is_sep(&self) -> bool {
        self.flags & SEP != 0
    }

    /// The same key with the REVOKE flag set, and so with another tag (RFC 5011 §2.1).
    pub fn revoked(&self) -> Self {
        Self { flags: self.flags | REVOKED, ..self.clone() }
    }

    /// RDATA of the DS, and of the CDS (RFC 4034 §5.1).
    pub fn ds(&self, digest_type: DsDigest) -> Vec<u8> {
        let mut content = super::canonical::name_octets(&self.owner);
        content.extend(self.rdata());
        let digested = match digest_type {
            DsDigest::Sha256 => digest(&SHA256, &content),
            DsDigest::Sha384 => digest(&SHA384, &content),
        };
        let mut rdata = self.tag().to_be_bytes().to_vec();
        rdata.extend([self.algorithm.number(), digest_type as u8]);
        rdata.extend_from_slice(digested.as_ref());
        rdata
    }
}
