//! Why the files of a key are refused.

/// What is wrong with the files of a key; the text names the file by its ending.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The base name is not of the form that the tools of BIND and ldns use.
    #[error("the name is not of the form K<domain>+<algorithm>+<tag>")]
    BaseName,
    /// The `.key` file has no DNSKEY record.
    #[error(".key: there is no DNSKEY record")]
    NoRecord,
    /// A field of the DNSKEY record cannot be read.
    #[error(".key: {0} of the DNSKEY record cannot be read")]
    Record(&'static str),
    /// An algorithm that this program does not sign with.
    #[error(".key: algorithm {0} is not supported")]
    Algorithm(u8),
    /// A key of another zone.
    #[error(".key: it is a key of {owner}, not of {domain}")]
    Owner {
        /// The zone of the key.
        owner: String,
        /// The zone that is served.
        domain: String,
    },
    /// The file name gives another algorithm or key tag than the record.
    #[error(".key: its {what} is {found}, the file name says {named}")]
    Misnamed {
        /// Which of the two: "key tag" or "algorithm".
        what: &'static str,
        /// The number of the record.
        found: u16,
        /// The number in the file name.
        named: u16,
    },
    /// The `.private` file is not of a known format.
    #[error(".private: it does not begin with \"Private-key-format: v1.2\" or v1.3")]
    Format,
    /// The private half has another algorithm.
    #[error(".private: its algorithm is {found}, that of .key is {expected}")]
    PrivateAlgorithm {
        /// The algorithm in the `.private` file; empty if there is none.
        found: String,
        /// The algorithm of the public half.
        expected: u8,
    },
    /// A field of the private half is not base64.
    #[error(".private: field {0} is not base64")]
    Base64(String),
    /// A field of the private half is missing.
    #[error(".private: field {0} is missing")]
    MissingField(&'static str),
    /// A time in the `.private` file cannot be read.
    #[error(".private: {name}: \"{value}\" is not a time of the form YYYYMMDDHHMMSS")]
    Time {
        /// Name of the field.
        name: String,
        /// Value of the field.
        value: String,
    },
    /// The two halves are of different keys, or the private one is damaged.
    #[error(".private: it does not belong to .key, or is damaged")]
    Mismatch,
    /// An RSA key that is too short, with its bits.
    #[error(".key: an RSA key of {0} bits is too short, 512 are the least")]
    TooShort(usize),
    /// A key that must not sign a zone.
    #[error(".key: flags {0} are not those of a zone key, 256 or 257")]
    Flags(u16),
}
