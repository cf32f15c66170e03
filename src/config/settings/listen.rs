//! Settings of the sockets and of what reads them.

use super::{DefaultValue, Setting, TakesEffect};

pub(super) const LISTEN_SETTINGS: &[Setting] = &[
    Setting {
        name: "addr",
        variables: &["SKYDNS_ADDR"],
        keys: &["dns_addr"],
        takes: Some("IP:PORT,…"),
        summary: "addresses to listen on, each over UDP and TCP",
        details: "If systemd passes sockets, the agent uses these sockets and ignores the addresses.",
        default: DefaultValue::Value("127.0.0.1:53"),
        example: "127.0.0.1:53,[::1]:53",
        takes_effect: TakesEffect::Restart,
        set: |spec, input, _| {
            let addresses = input.addresses(None)?;
            if !addresses.is_empty() {
                spec.listen = addresses;
            }
            Ok(())
        },
    },
    Setting {
        name: "systemd",
        variables: &["SKYDNS_SYSTEMD"],
        keys: &["systemd"],
        takes: None,
        summary: "take the sockets that systemd passes, and fail if there are none",
        details: "Without this switch, the agent uses sockets that systemd passes as well. If systemd passes none, the \
                  agent opens the sockets of `-addr`.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Restart,
        set: |spec, input, _| input.boolean().map(|value| spec.systemd = value),
    },
    Setting {
        name: "workers",
        variables: &["SKYDNS_WORKERS"],
        keys: &[],
        takes: Some("N"),
        summary: "number of UDP workers of each socket",
        details: "The number is 1 to 1024. Each worker uses up to 20 MB of memory for replies that clients ask for again and again.",
        default: DefaultValue::Unset("one for each CPU core"),
        example: "2",
        takes_effect: TakesEffect::Restart,
        set: |spec, input, _| {
            spec.workers = usize::try_from(input.integer(1, 1024)?).ok();
            Ok(())
        },
    },
];
