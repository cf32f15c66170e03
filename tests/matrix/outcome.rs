//! What a client makes of an answer, in words that all clients have.

use super::message::{Record, Reply};
use std::collections::BTreeSet;
use std::fmt;

/// What a client heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The data asked for, without those that lead there.
    Data(BTreeSet<String>),
    /// The name does not exist.
    NoName,
    /// The name has no such data.
    NoData,
    /// Either of the two: not every client says which.
    Nothing,
    /// A failure, as the client says it.
    Failure(String),
    /// The client cannot ask that.
    NotAsked,
}

impl Outcome {
    /// What a reply says to a client that asked for a type.
    pub fn of(reply: Option<&Reply>, rtype: u16) -> Self {
        let Some(reply) = reply else { return Self::Failure("no reply".to_owned()) };
        let data: BTreeSet<_> =
            reply.answers.iter().filter(|record| record.rtype == rtype).map(Record::text).collect();
        match reply.rcode {
            0 if data.is_empty() => Self::NoData,
            0 => Self::Data(data),
            3 => Self::NoName,
            rcode => Self::Failure(format!("rcode {rcode}")),
        }
    }

    /// What a client printed: `data X|Y`, `noname`, `nodata`, `nothing`, `notasked`, or a failure.
    pub fn read(text: &str) -> Self {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("data", "") => Self::Nothing,
            ("data", data) => Self::Data(data.split('|').map(canonical).collect()),
            ("noname", _) => Self::NoName,
            ("nodata", _) => Self::NoData,
            ("nothing", _) => Self::Nothing,
            ("notasked", _) => Self::NotAsked,
            _ => Self::Failure(text.to_owned()),
        }
    }

    /// Whether a client that heard this was told what `self` says.
    pub fn allows(&self, heard: &Self) -> bool {
        match (self, heard) {
            (_, Self::NotAsked) | (Self::Failure(_), Self::Failure(_)) => true,
            (Self::NoName | Self::NoData, Self::Nothing) => true,
            (expected, heard) => expected == heard,
        }
    }
}

/// Addresses in their usual form, names in lower case and without a dot at the end.
fn canonical(text: &str) -> String {
    match text.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) if text.contains(' ') || !text.contains('.') => text.trim_end_matches('.').to_owned(),
        Err(_) => text.trim_end_matches('.').to_ascii_lowercase(),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) if data.len() > 6 => write!(f, "{} records", data.len()),
            Self::Data(data) => {
                let shown: Vec<_> =
                    data.iter().map(|text| text.chars().take(60).collect::<String>()).collect();
                write!(f, "{}", shown.join(", "))
            }
            Self::NoName => write!(f, "NXDOMAIN"),
            Self::NoData => write!(f, "NODATA"),
            Self::Nothing => write!(f, "nothing"),
            Self::Failure(text) => write!(f, "failure ({text})"),
            Self::NotAsked => write!(f, "not asked"),
        }
    }
}
