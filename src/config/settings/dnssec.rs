//! Settings of DNSSEC: the keys, the denial of existence, the cache of signatures.

use super::{DefaultValue, Setting, TakesEffect};
use crate::config::input::SettingError;
use crate::config::spec::DEFAULT_SCACHE;
use crate::dnssec::DenialKind;

pub(super) const DNSSEC_SETTINGS: &[Setting] = &[
    Setting {
        name: "dnssec",
        variables: &["SKYDNS_DNSSEC"],
        keys: &["dnssec"],
        takes: Some("KEY,…"),
        summary: "DNSSEC keys: base names of key files, or directories; `keys` is `/etc/skydns/keys`",
        details: "A base name, such as `Kskydns.local.+013+12345`, means two files, which end with `.key` and \
                  `.private`. A blank in it counts as `+`. A name without a slash is first looked for in \
                  `/etc/skydns/keys`. If a key cannot be used, the keys in use stay; without any, a domain that was served \
                  unsigned stays so, and names of another one are SERVFAIL.",
        default: DefaultValue::Unset("none; nothing is signed"),
        example: "keys",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            // The + may arrive as a blank.
            spec.dnssec = input.list()?.into_iter().map(|name| name.replace(' ', "+")).collect();
            Ok(())
        },
    },
    Setting {
        name: "denial",
        variables: &["SKYDNS_DENIAL"],
        keys: &["denial"],
        takes: Some("KIND"),
        summary: "how signed answers prove absence: `nsec3`, or `compact` (RFC 9824)",
        details: "`nsec3` gives NSEC3 records that cover as little as possible (RFC 5155, RFC 7129). `compact` gives \
                  one NSEC record, which says that the name exists without data; for a name that does not exist, the \
                  record has the type NXNAME.",
        default: DefaultValue::Value("nsec3"),
        example: "compact",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.denial = match input.text()? {
                "nsec3" => DenialKind::Nsec3,
                "compact" => DenialKind::Compact,
                found => {
                    return Err(SettingError::Choice {
                        found: found.to_owned(),
                        expected: "nsec3 or compact",
                    });
                }
            };
            Ok(())
        },
    },
    Setting {
        name: "scache",
        variables: &["SKYDNS_SCACHE"],
        keys: &["scache"],
        takes: Some("N"),
        summary: "maximum number of RRsets whose signatures are in the cache",
        details: "The number is at most 100000000; 0 and less mean the default.",
        default: DefaultValue::Value("10000"),
        example: "50000",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            let capacity = usize::try_from(input.integer(i64::MIN, 100_000_000)?).unwrap_or(0);
            spec.scache = if capacity == 0 { DEFAULT_SCACHE } else { capacity };
            Ok(())
        },
    },
];
