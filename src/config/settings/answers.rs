//! Settings of the answers for the domain.

use super::{DefaultValue, Setting, TakesEffect, non_empty, positive};
use crate::answer::Flatten;
use crate::config::domains;
use crate::config::input::{SettingError, SettingInput};
use crate::config::spec::{DEFAULT_MIN_TTL, DEFAULT_PRIORITY, DEFAULT_TTL, MAX_TTL_SETTING, Spec};
use crate::config::zones::{self, ZoneList};
use hickory_proto::rr::Name;

pub(super) const ANSWER_SETTINGS: &[Setting] = &[
    Setting {
        name: "domain",
        variables: &["SKYDNS_DOMAIN"],
        keys: &["domain"],
        takes: Some("NAME,…"),
        summary: "domains to answer for",
        details: "The agent answers for these names and for all names below them. A name belongs to the longest domain that it \
                  is in, so one domain may be below another. A prefix, such as `10.0.0.0/8`, means the reverse zones of its \
                  addresses. With `.` the agent answers for the names that the store has, and forwards all others; such a \
                  domain cannot be signed. The first domain counts where there can be one only.",
        default: DefaultValue::Value("skydns.local"),
        example: "site.example,10.0.0.0/8",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            let mut zones = domains::zones(&input.list()?)?.into_iter();
            spec.domain = zones.next().unwrap_or_else(|| Spec::default().domain);
            spec.other_domains = zones.collect();
            Ok(())
        },
    },
    Setting {
        name: "exact",
        variables: &["SKYDNS_EXACT"],
        keys: &["exact"],
        takes: Some("NAME,…|all"),
        summary: "domains in which a name has only what is meant for it",
        details: "In such a domain a name has its own key, the leaf keys directly below it, and those whose `targetstrip` leads to \
                  it; not all keys below it, as in SkyDNS. `*` in a key is a wildcard of DNS, and in a question a label like \
                  any other. This is what external-dns and others mean that write SkyDNS's keys.",
        default: DefaultValue::Unset("none"),
        example: "all",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| ZoneList::read(input).map(|zones| spec.exact = zones),
    },
    Setting {
        name: "fallthrough",
        variables: &["SKYDNS_FALLTHROUGH"],
        keys: &["fallthrough"],
        takes: Some("NAME,…|all"),
        summary: "domains whose missing names are asked upstream",
        details: "A name that such a domain does not have is forwarded, where it would be denied: to the servers of a stub zone \
                  if there is one, else to the upstreams. What the domain has stays its own. A signed domain cannot fall \
                  through.",
        default: DefaultValue::Unset("none"),
        example: "site.example",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, origin| {
            spec.fallthrough = ZoneList::read(input)?;
            spec.fallthrough_origin = origin.clone();
            Ok(())
        },
    },
    Setting {
        name: "auto-ptr",
        variables: &["SKYDNS_AUTO_PTR"],
        keys: &["auto_ptr"],
        takes: Some("NAME,…|all"),
        summary: "domains whose services have PTR records at their addresses",
        details: "The address of a service leads to the name that SRV gives the service. Keys below `/arpa` come first; an \
                  address has at most 16 names unless more are made by hand. Addresses in a reverse zone of `-domain` that \
                  no service has are denied, all others are forwarded.",
        default: DefaultValue::Unset("none"),
        example: "all",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| ZoneList::read(input).map(|zones| spec.auto_ptr = zones),
    },
    Setting {
        name: "zones",
        variables: &["SKYDNS_ZONES"],
        keys: &["zones"],
        takes: Some("JSON"),
        summary: "settings of single domains, as a JSON object",
        details: "Each field is a domain, with an object of `mode` (`subtree` or `exact`), `fallthrough`, `auto_ptr`, `ttl`, `min_ttl`, \
                  `hostmaster`, `local`, `hold_deletions` and `hold_mass_deletion`. What a domain does not set, the setting of the site does.",
        default: DefaultValue::Unset("none"),
        example: r#"{"site.example": {"mode": "exact", "ttl": 60}}"#,
        takes_effect: TakesEffect::Reload,
        set: |spec, input, origin| {
            spec.zones = zones::read(input)?;
            spec.zones_origin = origin.clone();
            Ok(())
        },
    },
    Setting {
        name: "local",
        variables: &["SKYDNS_LOCAL"],
        keys: &["local"],
        takes: Some("NAME"),
        summary: "name that `local.dns.<domain>` leads to on this host",
        details: "In the name, `{hostname}` becomes the name of the host, and `{machine_id}` becomes the text of \
                  `/etc/machine-id`. With `{hostname}.hosts.skydns.local`, one setting for the whole site gives every \
                  host its own name.",
        default: DefaultValue::Unset("none"),
        example: "{hostname}.hosts.skydns.local",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, origin| {
            spec.local = non_empty(input.text()?);
            spec.local
                .iter()
                .try_for_each(|template| crate::config::local::check(template))
                .map_err(SettingError::Template)?;
            spec.local_origin = origin.clone();
            Ok(())
        },
    },
    Setting {
        name: "ttl",
        variables: &["SKYDNS_TTL"],
        keys: &["ttl"],
        takes: Some("SECONDS"),
        summary: "TTL of services that give none, in seconds",
        details: "0 means the default.",
        default: DefaultValue::Value("3600"),
        example: "600",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.ttl = positive(input.integer(0, MAX_TTL_SETTING)?, DEFAULT_TTL);
            Ok(())
        },
    },
    Setting {
        name: "min-ttl",
        variables: &["SKYDNS_MIN_TTL"],
        keys: &["min_ttl"],
        takes: Some("SECONDS"),
        summary: "TTL of negative answers, in seconds",
        details: "0 means the default.",
        default: DefaultValue::Value("30"),
        example: "60",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.min_ttl = positive(input.integer(0, MAX_TTL_SETTING)?, DEFAULT_MIN_TTL);
            Ok(())
        },
    },
    Setting {
        name: "hold-deletions",
        variables: &["SKYDNS_HOLD_DELETIONS"],
        keys: &["hold_deletions"],
        takes: Some("DURATION"),
        summary: "how long a deletion waits that leaves a name without data",
        details: "Some programs change a name by deleting its key before they put another one. A deletion that leaves a name, or \
                  one type of it, without data waits for this time, so that no resolver keeps a denial of it. What is put \
                  counts at once. 0 turns this off; the most is `60s`.",
        default: DefaultValue::Value("100ms"),
        example: "250ms",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| zones::hold_deletions(input).map(|hold| spec.hold_deletions = hold),
    },
    Setting {
        name: "hold-mass-deletion",
        variables: &["SKYDNS_HOLD_MASS_DELETION"],
        keys: &["hold_mass_deletion"],
        takes: Some("SHARE,TIME"),
        summary: "share of names whose loss at once is held back, and how long",
        details: "A domain that loses more than this share of its names within 10 s, and at least 20 names, serves the lost ones on \
                  for this time, with a TTL of at most 30 s and an extended error (3, Stale Answer). Names whose leases end \
                  are counted apart. `skydns accept` lets a host's names go at once, and a put of the key `accept` below the \
                  prefix those of all hosts. The most is `24h`.",
        default: DefaultValue::Unset("off"),
        example: "30%,5m",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| zones::hold_mass_deletion(input).map(|hold| spec.hold_mass_deletion = hold),
    },
    Setting {
        name: "priority",
        variables: &["SKYDNS_PRIORITY"],
        keys: &["priority"],
        takes: Some("N"),
        summary: "SRV priority and MX preference of services that give none",
        details: "The number is 0 to 65535; 0 means the default.",
        default: DefaultValue::Value("10"),
        example: "20",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.priority = positive(input.integer(0, 65_535)?, DEFAULT_PRIORITY);
            Ok(())
        },
    },
    Setting {
        name: "round-robin",
        variables: &["SKYDNS_ROUND_ROBIN"],
        keys: &["round_robin"],
        takes: None,
        summary: "shuffle the records of each type in answers",
        details: "Every order is equally likely. PTR records are never shuffled. If this is switched off, records are in the \
                  order of their keys.",
        default: DefaultValue::Value("true"),
        example: "false",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.round_robin = value),
    },
    Setting {
        name: "flatten",
        variables: &["SKYDNS_FLATTEN"],
        keys: &["flatten"],
        takes: Some("auto|always|never"),
        summary: "which names have a CNAME, if services lead to other names",
        details: "With `auto`, a name whose only host is a name has a CNAME; a name with more hosts has addresses only, also \
                  those of the names that it leads to. With `always`, no name has a CNAME: for sites with caching resolvers \
                  in front of the agent. With `never`, a name has a CNAME beside its addresses, as in SkyDNS, which many \
                  programs cannot read; a signed domain takes this as `auto`.",
        default: DefaultValue::Value("auto"),
        example: "always",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.flatten = match input.text()? {
                "auto" => Flatten::Auto,
                "always" => Flatten::Always,
                "never" => Flatten::Never,
                found => {
                    let expected = "auto, always or never";
                    return Err(SettingError::Choice { found: found.to_owned(), expected });
                }
            };
            Ok(())
        },
    },
    Setting {
        name: "hostmaster",
        variables: &["SKYDNS_HOSTMASTER"],
        keys: &["hostmaster"],
        takes: Some("MAIL"),
        summary: "mail address in the SOA record",
        details: "The address may be written with `@`, or as in a zone file: with a dot in the place of the `@`, and `\\.` for \
                  each dot before it.",
        default: DefaultValue::Unset("`hostmaster.<domain>`"),
        example: "hostmaster@example.org",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.hostmaster = mailbox(input.text()?)?;
            Ok(())
        },
    },
    Setting {
        name: "hide-identity",
        variables: &["SKYDNS_HIDE_IDENTITY"],
        keys: &["hide_identity"],
        takes: None,
        summary: "hide the version and the host name from queries of class CH",
        details: "Such queries ask for names like `version.bind` and `hostname.bind`.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.hide_identity = value),
    },
];

/// A mail address as a name: the `@` becomes a dot, and dots before it are escaped (RFC 1035 §8). A text without `@` is such
/// a name already.
pub(in crate::config) fn mailbox(mail: &str) -> Result<Option<Name>, SettingError> {
    let Some((local, domain)) = mail.split_once('@') else {
        return SettingInput::Text(mail).name();
    };
    if local.is_empty() || domain.is_empty() || domain.contains('@') {
        return Err(SettingError::Name(mail.to_owned()));
    }
    let mut name = String::with_capacity(mail.len() + 2);
    let mut characters = local.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => name.push_str("\\."),
            // What is escaped already stays as it is.
            '\\' => name.extend(['\\'].into_iter().chain(characters.next())),
            other => name.push(other),
        }
    }
    name.push('.');
    name.push_str(domain);
    SettingInput::Text(&name).name().map_err(|_| SettingError::Name(mail.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_a_local_part_are_escaped() {
        for (mail, labels) in [
            ("hostmaster@example.org", &[b"hostmaster".as_slice(), b"example", b"org"][..]),
            ("first.last@example.org", &[b"first.last", b"example", b"org"]),
            ("a.b.c@org", &[b"a.b.c", b"org"]),
            ("first\\.last@example.org.", &[b"first.last", b"example", b"org"]),
            ("first\\.last.example.org", &[b"first.last", b"example", b"org"]),
            ("hostmaster.example.org", &[b"hostmaster", b"example", b"org"]),
        ] {
            let name = mailbox(mail).expect(mail).expect("a name");
            assert!(name.is_fqdn() && name.iter().eq(labels.iter().copied()), "{mail}: {name}");
        }
        for mail in ["@example.org", "first@", "a@b@example.org", "a\\@", "a..b@", "a@b..org"] {
            assert!(matches!(mailbox(mail), Err(SettingError::Name(text)) if text == mail), "{mail}");
        }
        assert_eq!(mailbox(""), Ok(None));
    }
}
