//! New keys, as files that the tools of BIND and ldns read.

use super::algorithm::Algorithm;
use super::key_times;
use super::public_key::PublicKey;
use super::signing_key::{PrivateFields, SignError, SigningKey};
use data_encoding::BASE64;
use hickory_proto::rr::Name;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair,
};

/// The contents of the two files of a new key.
#[derive(Debug)]
pub struct NewKey {
    /// The base name of the two files: `Kskydns.local.+013+12345`.
    pub base: String,
    /// Content of the `.key` file.
    pub public: String,
    /// Content of the `.private` file, which is a secret.
    pub private: String,
}

/// Tag of an octet string in DER. In ring's PKCS #8 documents the private key lies behind this tag and its length.
const DER_OCTET_STRING: u8 = 4;

impl NewKey {
    /// Makes a key that is published in its zone and signs from `now` on, in seconds of Unix time.
    ///
    /// `flags` are those of the DNSKEY: 257 for a CSK or KSK, 256 for a ZSK.
    ///
    /// # Errors
    /// The system has no random octets, or the algorithm is RSA.
    pub fn generate(owner: &Name, algorithm: Algorithm, flags: u16, now: u64) -> Result<Self, SignError> {
        let random = SystemRandom::new();
        let (secret, key) = match algorithm {
            Algorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, 32, &random)?,
            Algorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, 48, &random)?,
            Algorithm::Ed25519 => {
                let mut seed = vec![0; 32];
                random.fill(&mut seed).map_err(|_| SignError)?;
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| SignError)?;
                (seed, pair.public_key().as_ref().to_vec())
            }
            _ => return Err(SignError),
        };
        // The key is read back before anybody relies on its files.
        let fields = PrivateFields::from([("PrivateKey", secret.clone())]);
        SigningKey::new(algorithm, &key, &fields).map_err(|_| SignError)?;
        let mut owner = owner.to_lowercase();
        owner.set_fqdn(true);
        let public = PublicKey { owner, flags, algorithm, key };
        Ok(Self::files(&public, &secret, now))
    }

    fn files(public: &PublicKey, secret: &[u8], now: u64) -> Self {
        let PublicKey { owner, flags, algorithm, key } = public;
        let (number, name, time, tag) =
            (algorithm.number(), algorithm.name(), key_times::write(now), public.tag());
        let kind = if public.is_sep() { "key-signing" } else { "zone-signing" };
        Self {
            base: format!("K{}+{number:03}+{tag:05}", owner.to_ascii()),
            public: format!(
                "; This is a {kind} key, keyid {tag}, for {owner}\n; Created: {time}\n; Publish: {time}\n\
                 ; Activate: {time}\n{owner} IN DNSKEY {flags} 3 {number} {}\n",
                BASE64.encode(key)
            ),
            private: format!(
                "Private-key-format: v1.3\nAlgorithm: {number} ({name})\nPrivateKey: {}\n\
                 Created: {time}\nPublish: {time}\nActivate: {time}\n",
                BASE64.encode(secret)
            ),
        }
    }
}

/// Private and public half of a new key pair; `len` is the number of octets of the private half.
fn ecdsa(
    algorithm: &'static EcdsaSigningAlgorithm,
    len: u8,
    random: &SystemRandom,
) -> Result<(Vec<u8>, Vec<u8>), SignError> {
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, random).map_err(|_| SignError)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), random).map_err(|_| SignError)?;
    let document = document.as_ref();
    let size = usize::from(len);
    let start =
        document.windows(2).position(|octets| octets == [DER_OCTET_STRING, len]).ok_or(SignError)? + 2;
    let secret = document.get(start..start + size).ok_or(SignError)?.to_vec();
    // DNSKEY leaves out the octet that says "uncompressed" (RFC 6605 §4).
    Ok((secret, pair.public_key().as_ref()[1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::super::KeyFiles;
    use super::*;

    #[test]
    fn new_keys_can_be_read() {
        let zone = Name::from_ascii("Skydns.Test").expect("a name");
        for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519] {
            let new = NewKey::generate(&zone, algorithm, 257, 1_769_949_296).expect("a key");
            let files =
                KeyFiles { base: &new.base, public: new.public.as_bytes(), private: new.private.as_bytes() };
            let key = files.read(&Name::from_ascii("skydns.test.").expect("a name")).expect("a key");
            assert_eq!((key.public.algorithm, key.public.is_sep()), (algorithm, true));
            assert_eq!(key.times.activate, Some(1_769_949_296));
            assert!(new.base.starts_with(&format!("Kskydns.test.+{:03}+", algorithm.number())));
        }
        assert_eq!(NewKey::generate(&zone, Algorithm::RsaSha256, 257, 0).err(), Some(SignError));
    }
}
