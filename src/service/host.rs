//! The host of a service: an IP address, or the name of a host.
//!
//! The name goes out as the target of SRV, MX and CNAME records, where clients take it for the name of a host (RFC 952,
//! RFC 1123 §2.1). What cannot be one is refused here: it is nearly always a list, a URL, an address with a port or other
//! text that is meant for another program, and no client finds anything by it. Octets that names of hosts do not have
//! can still be given, with the escapes of master files (RFC 1035 §5.1).

use super::{Host, with_a_labels};
use crate::wire_name::MAX_LABEL_OCTETS;
use hickory_proto::rr::Name;
use std::net::IpAddr;

/// Why a text is neither an IP address nor the name of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Two dots in a row, or a dot at the beginning.
    #[error("it has an empty label")]
    EmptyLabel,
    /// A label that is longer than a label may be (RFC 1035 §2.3.4).
    #[error("it has a label of more than 63 octets")]
    LongLabel,
    /// A name that is longer than a name may be (RFC 1035 §2.3.4).
    #[error("it has more than 255 octets")]
    LongName,
    /// A backslash that begins no escape of RFC 1035 §5.1, or one before a letter, which needs none.
    #[error("it has a backslash that begins no escape, such as \\. or \\046")]
    BadEscape,
    /// A URL in the place of a host.
    #[error("it is a URL; only its host belongs here")]
    Url,
    /// Several hosts in one value.
    #[error("it is a list; each host needs a key of its own")]
    List,
    /// The zone id of a link-local address (RFC 4007 §11).
    #[error("it has a zone id, which means nothing on other hosts")]
    ZoneId,
    /// A blank, as in the data of a whole record.
    #[error("it has a blank; only the name or address belongs here")]
    Blank,
    /// A port behind the host.
    #[error("the port belongs into the field \"port\"")]
    Port,
    /// A control character, as itself or by an escape.
    #[error("it has a control character")]
    Control,
    /// A character that names of hosts do not have.
    #[error("it has the character {0:?}, which names of hosts do not have")]
    Character(char),
    /// The last label is a number, as in "ends in a number" of the URL standard of WHATWG (§3.5): programs take such a name
    /// for an IPv4 address.
    #[error("its last label is a number, as in an IPv4 address, but it is no address")]
    Number,
    /// A label beyond ASCII that has no A-label (UTS #46).
    #[error("it has a label beyond ASCII that IDNA does not allow")]
    Idna,
}

impl Host {
    /// Reads the text of a host; an empty text is no host, and a dot is the root.
    ///
    /// Labels beyond ASCII become A-labels, as those of keys do.
    ///
    /// # Errors
    /// The text is neither an address nor the name of a host.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Ok(Self::None);
        }
        match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V4(v4)) => Ok(Self::V4(v4)),
            Ok(IpAddr::V6(v6)) => Ok(Self::V6(v6)),
            Err(_) => host_name(text).map(|name| Self::Name(Box::new(name))),
        }
    }
}

/// The absolute name of a text that is no address.
fn host_name(text: &str) -> Result<Name, HostError> {
    if text == "." {
        return Ok(Name::root());
    }
    let text = with_a_labels(text).ok_or(HostError::Idna)?;
    let labels = labels(text.strip_suffix('.').unwrap_or(&text)).map_err(|error| match error {
        HostError::Character(_) => misplaced(&text).unwrap_or(error),
        error => error,
    })?;
    if labels.iter().any(Vec::is_empty) {
        return Err(HostError::EmptyLabel);
    }
    if labels.iter().any(|label| label.len() > MAX_LABEL_OCTETS) {
        return Err(HostError::LongLabel);
    }
    if labels.last().is_some_and(|last| is_number(last)) {
        return Err(HostError::Number);
    }
    let mut name = Name::from_labels(labels.iter().map(Vec::as_slice)).map_err(|_| HostError::LongName)?;
    name.set_fqdn(true);
    Ok(name)
}

/// The labels of a text, without the escapes.
fn labels(text: &str) -> Result<Vec<Vec<u8>>, HostError> {
    let (mut labels, mut label) = (Vec::new(), Vec::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '.' => labels.push(std::mem::take(&mut label)),
            '\\' => label.push(escaped(&mut chars)?),
            '*' if label.is_empty() && matches!(chars.clone().next(), None | Some('.')) => label.push(b'*'),
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') => {
                label.extend(u8::try_from(c));
            }
            c if c.is_control() => return Err(HostError::Control),
            c => return Err(HostError::Character(c)),
        }
    }
    labels.push(label);
    Ok(labels)
}

/// The octet of an escape, whose backslash was read: `\DDD` (decimal), or `\X` for a character that is no letter.
fn escaped(chars: &mut std::str::Chars<'_>) -> Result<u8, HostError> {
    let first = chars.next().ok_or(HostError::BadEscape)?;
    let octet = match first.to_digit(10) {
        None => u8::try_from(first).ok().filter(|octet| octet.is_ascii() && !octet.is_ascii_alphabetic()),
        Some(hundreds) => {
            let mut digit = || chars.next().and_then(|c| c.to_digit(10));
            let number = digit().zip(digit()).map(|(tens, ones)| 100 * hundreds + 10 * tens + ones);
            number.and_then(|number| u8::try_from(number).ok())
        }
    };
    match octet.ok_or(HostError::BadEscape)? {
        octet if octet.is_ascii_control() => Err(HostError::Control),
        octet => Ok(octet),
    }
}

/// What is often written in the place of a host, and is recognised by a character that names of hosts do not have.
fn misplaced(text: &str) -> Option<HostError> {
    let port = || {
        let (host, port) = text.rsplit_once(':')?;
        let is_whole = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        (is_whole && !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit())).then_some(())
    };
    if text.contains("://") {
        Some(HostError::Url)
    } else if text.contains([',', ';']) {
        Some(HostError::List)
    } else if text.contains(char::is_whitespace) {
        Some(HostError::Blank)
    } else if text.contains('%') && text.contains(':') {
        Some(HostError::ZoneId)
    } else {
        port().map(|()| HostError::Port)
    }
}

/// Whether programs take a label for a number: digits, or `0x` and hexadecimal digits.
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
        label => label.iter().all(u8::is_ascii_digit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        match Host::parse(text) {
            Ok(Host::Name(name)) => name.to_ascii(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn addresses_and_names_of_hosts_are_read() {
        assert_eq!(Host::parse(""), Ok(Host::None));
        assert_eq!(Host::parse("192.0.2.1"), Ok(Host::V4([192, 0, 2, 1].into())));
        assert_eq!(Host::parse("::ffff:192.0.2.1"), Ok(Host::V4([192, 0, 2, 1].into())));
        assert!(matches!(Host::parse("2001:db8::1"), Ok(Host::V6(_))));
        for (text, read) in [
            ("www.Example.com", "www.Example.com."),
            ("server1.", "server1."),
            (".", "."),
            ("_sip._udp.example.org", "_sip._udp.example.org."),
            ("r3---sn-x.example", "r3---sn-x.example."),
            ("x.*.y", "x.*.y."),
            ("*", "*."),
            ("4.rails.skydns.local", "4.rails.skydns.local."),
            ("10.in-addr.arpa", "10.in-addr.arpa."),
            ("Www.Bücher.example", "www.xn--bcher-kva.example."),
            ("_sip.例え。jp", "_sip.xn--r8jz45g.jp."),
            ("example.1a", "example.1a."),
            ("x.0xg", "x.0xg."),
        ] {
            assert_eq!(name(text), read, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_the_name_of_a_host_is_refused_with_its_reason() {
        for (text, error) in [
            ("a b", HostError::Blank),
            ("ü b", HostError::Blank),
            ("ü\u{a0}b", HostError::Blank),
            ("bücher.example,a", HostError::List),
            ("ü／b", HostError::Character('/')),
            ("a.１", HostError::Number),
            ("ü\u{202e}b", HostError::Idna),
            (" a", HostError::Blank),
            ("10 60 5060 one.example.", HostError::Blank),
            ("192.0.2.1, 192.0.2.2", HostError::List),
            ("a.example;b.example", HostError::List),
            ("http://a.example/x", HostError::Url),
            ("a.example/x", HostError::Character('/')),
            ("a.example:80", HostError::Port),
            ("192.0.2.1:80", HostError::Port),
            ("[2001:db8::1]:80", HostError::Port),
            ("[2001:db8::1]", HostError::Character('[')),
            ("2001:db8::g", HostError::Character(':')),
            ("2001:db8::1:99999", HostError::Character(':')),
            ("a.example:", HostError::Character(':')),
            ("fe80::1%eth0", HostError::ZoneId),
            ("a%b", HostError::Character('%')),
            ("root@a.example", HostError::Character('@')),
            ("{hostname}.example", HostError::Character('{')),
            ("web*.example", HostError::Character('*')),
            ("*x.example", HostError::Character('*')),
            ("192.0.2.256", HostError::Number),
            ("192.0.2.1.", HostError::Number),
            ("192.0.2.01", HostError::Number),
            ("1.2.3", HostError::Number),
            ("1", HostError::Number),
            ("a.0x7F", HostError::Number),
            ("a.0x", HostError::Number),
            (r"a.\049", HostError::Number),
            ("a\tb", HostError::Control),
            ("a\nb", HostError::Control),
            ("a\u{7f}b", HostError::Control),
            ("a..b", HostError::EmptyLabel),
            (".a", HostError::EmptyLabel),
            ("..", HostError::EmptyLabel),
        ] {
            assert_eq!(Host::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn octets_that_names_of_hosts_do_not_have_take_an_escape() {
        let labels = |text: &str| match Host::parse(text) {
            Ok(Host::Name(name)) => name.iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect(),
            other => vec![format!("{text}: {other:?}")],
        };
        assert_eq!(labels(r"a\.b.\104i.org"), ["a.b", "hi", "org"]);
        assert_eq!(labels(r"My\ Printer\044\@home.example"), ["My Printer,@home", "example"]);
        assert_eq!(labels(r"1\0470.2.0.192.in-addr.arpa.")[..2], ["1/0", "2"]);
        for wrong in [r"a\", r"\12", r"\256.a", r"\\server\share"] {
            assert_eq!(Host::parse(wrong), Err(HostError::BadEscape), "{wrong}");
        }
        assert_eq!(Host::parse(r"a\000b"), Err(HostError::Control));
    }

    #[test]
    fn what_no_message_can_carry_is_refused() {
        assert_eq!(Host::parse(&format!("{}.org", "x".repeat(64))), Err(HostError::LongLabel));
        assert_eq!(Host::parse(&vec!["abcdefg"; 33].join(".")), Err(HostError::LongName));
        assert!(Host::parse(&vec!["abcdefg"; 31].join(".")).is_ok());
    }
}
