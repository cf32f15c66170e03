//! The setting `-local`: a template for the host's own name, which may hold `{hostname}` and `{machine_id}`.

use crate::service::with_a_labels;
use crate::shown::quoted;
use hickory_proto::rr::Name;
use std::net::IpAddr;

/// The names of this host that a template can use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostIdentity {
    /// The host name, as `hostname` prints it.
    pub hostname: String,
    /// The text of /etc/machine-id, if it could be read (machine-id(5)).
    pub machine_id: Option<String>,
    /// The addresses at which the agent is asked, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

/// Why a template gives no domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template has `{machine_id}`, and the host has no machine id.
    #[error("\"{{machine_id}}\" cannot be filled in: /etc/machine-id cannot be read")]
    NoMachineId,
    /// The template has an unknown word in braces.
    #[error("\"{{{}}}\" is neither {{hostname}} nor {{machine_id}}", quoted(.0))]
    Unknown(String),
    /// The result is not a domain name.
    #[error("\"{}\" is not a domain name", quoted(.0))]
    NotAName(String),
}

/// Checks a template as far as that does not depend on the host.
pub(super) fn check(template: &str) -> Result<(), TemplateError> {
    let host = HostIdentity {
        hostname: "host".to_owned(),
        machine_id: Some("0".repeat(32)),
        ..HostIdentity::default()
    };
    expand(template, &host).map(|_| ())
}

/// Replaces the words in braces; the result is an absolute name in lower case.
pub(super) fn expand(template: &str, host: &HostIdentity) -> Result<Name, TemplateError> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (word, after) = after.split_once('}').ok_or_else(|| TemplateError::Unknown(after.to_owned()))?;
        text.push_str(before);
        match word {
            "hostname" => text.push_str(&host.hostname),
            "machine_id" => {
                text.push_str(host.machine_id.as_deref().ok_or(TemplateError::NoMachineId)?);
            }
            _ => return Err(TemplateError::Unknown(word.to_owned())),
        }
        rest = after;
    }
    text.push_str(rest);
    let name = with_a_labels(&text).and_then(|text| Name::from_ascii(text).ok());
    let mut name = name.ok_or_else(|| TemplateError::NotAName(text.clone()))?;
    if name.is_root() {
        return Err(TemplateError::NotAName(text));
    }
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in() {
        let host = HostIdentity {
            hostname: "Web7.example.org".into(),
            machine_id: Some("0123abcd".into()),
            ..HostIdentity::default()
        };
        let expand = |template: &str| expand(template, &host).map(|name| name.to_ascii());
        assert_eq!(
            expand("{hostname}.hosts.skydns.local"),
            Ok("web7.example.org.hosts.skydns.local.".into())
        );
        assert_eq!(expand("x{machine_id}.h.skydns.local."), Ok("x0123abcd.h.skydns.local.".into()));
        assert_eq!(expand("bücher.x"), Ok("xn--bcher-kva.x.".into()));
        assert_eq!(expand("{host}.x"), Err(TemplateError::Unknown("host".into())));
        assert_eq!(expand("{hostname.x"), Err(TemplateError::Unknown("hostname.x".into())));
        assert_eq!(expand("a..b"), Err(TemplateError::NotAName("a..b".into())));
        let bare = HostIdentity { hostname: "a".into(), ..HostIdentity::default() };
        assert_eq!(super::expand("{machine_id}.x", &bare), Err(TemplateError::NoMachineId));
    }
}
