//! A key's two files: `K<domain>+<algorithm>+<tag>.key` and `.private` (RFC 4034 §2, RFC 5702, BIND's
//! private key format v1.2 and v1.3).

use super::algorithm::Algorithm;
use super::key_error::KeyError;
use super::key_times::{self, KeyTimes};
use super::public_key::{PublicKey, REVOKED, SEP, ZONE_KEY};
use super::signing_key::{PrivateFields, SigningKey};
use data_encoding::BASE64;
use hickory_proto::rr::Name;

/// The contents of the two files of a key, and the base name that they share.
#[derive(Clone, Copy, Debug)]
pub struct KeyFiles<'a> {
    /// The base name, with or without directories: `Kskydns.local.+013+12345`.
    pub base: &'a str,
    /// Content of the `.key` file.
    pub public: &'a [u8],
    /// Content of the `.private` file.
    pub private: &'a [u8],
}

/// Reads the public half out of the content of a `.key` file.
///
/// # Errors
/// The first thing that is wrong.
pub fn read_public(file: &[u8]) -> Result<PublicKey, KeyError> {
    public_key(file)
}

/// A key that signs.
#[derive(Debug)]
pub struct Key {
    /// The public half.
    pub public: PublicKey,
    /// From when to when the key is used.
    pub times: KeyTimes,
    /// The private half.
    pub(super) signing: SigningKey,
}

impl KeyFiles<'_> {
    /// Reads the key, and checks its two halves against each other, the file name and the served domain.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(&self, domain: &Name) -> Result<Key, KeyError> {
        let (algorithm, tag) = self.named_numbers()?;
        let key = public_key(self.public)?;
        if key.owner != *domain {
            let (owner, domain) = (key.owner.to_ascii(), domain.to_ascii());
            return Err(KeyError::Owner { owner, domain });
        }
        for (what, found, named) in
            [("algorithm", u16::from(key.algorithm.number()), algorithm), ("key tag", key.tag(), tag)]
        {
            if found != named {
                return Err(KeyError::Misnamed { what, found, named });
            }
        }
        let text = String::from_utf8_lossy(self.private);
        let (fields, times) = private_fields(&text, key.algorithm)?;
        let signing = SigningKey::new(key.algorithm, &key.key, &fields)?;
        let mut times = times;
        if key.flags & REVOKED != 0 {
            // dnssec-revoke sets the flag in the `.key` file and may leave the times as they are.
            times.revoke = Some(0);
        }
        Ok(Key { public: key, times, signing })
    }

    /// Algorithm and key tag in the base name.
    fn named_numbers(&self) -> Result<(u16, u16), KeyError> {
        let name = self.base.rsplit('/').next().unwrap_or_default();
        let mut parts = name.strip_prefix('K').ok_or(KeyError::BaseName)?.rsplit('+');
        let (tag, algorithm, domain) = (parts.next(), parts.next(), parts.next());
        match (tag.map(str::parse), algorithm.map(str::parse), domain) {
            (Some(Ok(tag)), Some(Ok(algorithm)), Some(_)) => Ok((algorithm, tag)),
            _ => Err(KeyError::BaseName),
        }
    }
}

/// Reads the record: owner, perhaps TTL and class, DNSKEY, flags, protocol, algorithm, and base64 in any number of words.
fn public_key(file: &[u8]) -> Result<PublicKey, KeyError> {
    let text = String::from_utf8_lossy(file);
    let line = text.lines().map(|line| line.split(';').next().unwrap_or_default());
    let text: String = line.map(|line| format!("{line} ")).collect();
    let mut words = text.split(|c: char| c.is_whitespace() || c == '(' || c == ')').filter(|w| !w.is_empty());
    let owner = words.next().ok_or(KeyError::NoRecord)?;
    let mut words = words.skip_while(|word| !word.eq_ignore_ascii_case("DNSKEY"));
    words.next().ok_or(KeyError::NoRecord)?;
    let mut owner = Name::from_ascii(owner).map_err(|_| KeyError::Record("the owner"))?;
    owner.set_fqdn(true);
    let flags: u16 = number(words.next(), "the flags")?;
    let protocol: u8 = number(words.next(), "the protocol")?;
    let algorithm: u8 = number(words.next(), "the algorithm")?;
    let algorithm = Algorithm::from_number(algorithm).ok_or(KeyError::Algorithm(algorithm))?;
    if flags & !(SEP | REVOKED) != ZONE_KEY || protocol != 3 {
        return Err(KeyError::Flags(flags));
    }
    let base64: String = words.collect();
    let key = BASE64.decode(base64.as_bytes()).ok().filter(|key| !key.is_empty());
    let key = key.ok_or(KeyError::Record("the key (base64)"))?;
    Ok(PublicKey { owner: owner.to_lowercase(), flags, algorithm, key })
}

/// Reads a number of the DNSKEY record; `what` names the field in the error.
fn number<T: std::str::FromStr>(word: Option<&str>, what: &'static str) -> Result<T, KeyError> {
    word.and_then(|word| word.parse().ok()).ok_or(KeyError::Record(what))
}

/// The decoded fields and the times of a `.private` file.
fn private_fields(text: &str, algorithm: Algorithm) -> Result<(PrivateFields<'_>, KeyTimes), KeyError> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':')).map(|(n, v)| (n.trim(), v.trim()));
    match lines.next() {
        Some(("Private-key-format", "v1.2" | "v1.3")) => {}
        _ => return Err(KeyError::Format),
    }
    let found = match lines.next() {
        Some(("Algorithm", found)) => found.split(' ').next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    if found != algorithm.number().to_string() {
        return Err(KeyError::PrivateAlgorithm { found, expected: algorithm.number() });
    }
    let (mut fields, mut times) = (PrivateFields::new(), KeyTimes::default());
    for (name, value) in lines {
        if let Some(time) = times.field_mut(name) {
            let (name, value) = (name.to_owned(), value.to_owned());
            *time = Some(key_times::parse(&value).ok_or(KeyError::Time { name, value })?);
        } else if PRIVATE_KEY_FIELDS.contains(&name) {
            let octets = BASE64.decode(value.as_bytes()).ok().filter(|octets| !octets.is_empty());
            fields.insert(name, octets.ok_or_else(|| KeyError::Base64(name.to_owned()))?);
        }
    }
    Ok((fields, times))
}

/// Fields that hold the private half. Other fields, such as `Created`, are passed over.
const PRIVATE_KEY_FIELDS: [&str; 9] = [
    "Modulus",
    "PublicExponent",
    "PrivateExponent",
    "Prime1",
    "Prime2",
    "Exponent1",
    "Exponent2",
    "Coefficient",
    "PrivateKey",
];

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "keys/Kskydns.test.+005+51945";
    const PUBLIC: &str = include_str!("../../tests/vectors/dnssec-key/Kskydns.test.+005+51945.key");
    const PRIVATE: &str = include_str!("../../tests/vectors/dnssec-key/Kskydns.test.+005+51945.private");

    fn check(base: &str, public: &str, private: &str, domain: &str) -> Result<PublicKey, KeyError> {
        let files = KeyFiles { base, public: public.as_bytes(), private: private.as_bytes() };
        files.read(&Name::from_ascii(domain).expect("a name")).map(|key| key.public)
    }

    #[test]
    fn the_key_of_skydns_is_in_order() {
        let key = check(BASE, PUBLIC, PRIVATE, "skydns.test.").expect("a key");
        assert_eq!((key.flags, key.algorithm, key.tag()), (256, Algorithm::RsaSha1, 51945));
        let spread =
            PUBLIC.replacen("IN DNSKEY", "; a comment\n 3600 IN DNSKEY", 1).replacen(" Aw", " (\n Aw ", 1);
        assert_eq!(check(BASE, &format!("{spread} )"), PRIVATE, "SKYDNS.test."), Ok(key));
    }

    /// A key by dnssec-keygen whose private number begins with an octet of zero, which BIND leaves out.
    #[test]
    fn a_short_private_number_is_a_number() {
        let public = "short.test. IN DNSKEY 257 3 13 mURGvcH88os+CEid33yU2BmpJkzUGAP4+U9J8leGHQjqMiokUEvuPocX \
                      kp/GVQlBc3ca77ko3+RJpZrbLLBUXQ==\n";
        let private = "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n\
                       PrivateKey: pvyPkzFRDNvCTp6rZM4UqXwgMq1IenEHkyii8Y6PKQ==\n";
        let key = check("Kshort.test.+013+11420", public, private, "short.test.").expect("a key");
        assert_eq!(key.tag(), 11420);
    }

    #[test]
    fn errors_name_the_file() {
        let error = |base: &str, public: &str, private: &str, domain: &str| {
            check(base, public, private, domain).expect_err("wrong").to_string()
        };
        let other = |public: &str| error(BASE, public, PRIVATE, "skydns.test.");
        let private = |private: &str| error(BASE, PUBLIC, private, "skydns.test.");
        let cases = [
            (error("x", PUBLIC, PRIVATE, "skydns.test."), "not of the form"),
            (
                error(BASE, PUBLIC, PRIVATE, "other.test."),
                ".key: it is a key of skydns.test., not of other.test.",
            ),
            (
                error("K.+005+1", PUBLIC, PRIVATE, "skydns.test."),
                "its key tag is 51945, the file name says 1",
            ),
            (
                error("K.+008+51945", PUBLIC, PRIVATE, "skydns.test."),
                "its algorithm is 5, the file name says 8",
            ),
            (other(""), "there is no DNSKEY record"),
            (other("x. IN A 1.2.3.4"), "there is no DNSKEY record"),
            (other("skydns.test. IN DNSKEY 256 3 3 AAAA"), "algorithm 3 is not supported"),
            (
                other("skydns.test. IN DNSKEY 256 3 5 A*"),
                "the key (base64) of the DNSKEY record cannot be read",
            ),
            (other("skydns.test. IN DNSKEY x 3 5 AAAA"), "the flags of the DNSKEY record cannot be read"),
            (private(""), ".private: it does not begin with"),
            (private("Private-key-format: v2.0\n"), ".private: it does not begin with"),
            (
                private("Private-key-format: v1.3\nAlgorithm: 8 (X)\n"),
                "its algorithm is 8, that of .key is 5",
            ),
            (
                private(&PRIVATE.replacen("Modulus: ", "Modulus: *", 1)),
                ".private: field Modulus is not base64",
            ),
        ];
        for (error, message) in cases {
            assert!(error.contains(message), "{error}");
        }
    }
}
