//! Flags of SkyDNS 2 that set nothing: accepted or refused, so that old command lines work or say why not.

use super::{DefaultValue, Setting, TakesEffect};
use crate::config::EtcdApi;
use crate::config::input::SettingError;

pub(super) const SKYDNS2_SETTINGS: &[Setting] = &[
    Setting {
        name: "etcd3",
        variables: &[],
        keys: &[],
        takes: None,
        summary: "the same as `-etcd-api v3`",
        details: "The flag of SkyDNS 2.5.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            if input.boolean()? {
                spec.etcd_api = EtcdApi::V3;
            }
            Ok(())
        },
    },
    Setting {
        name: "netlookup",
        variables: &[],
        keys: &[],
        takes: None,
        summary: "refused: this version does not look into `/etc/hosts`",
        details: "",
        default: DefaultValue::Value("false"),
        example: "false",
        takes_effect: TakesEffect::Restart,
        set: |_, input, _| match input.boolean()? {
            true => Err(SettingError::Unsupported("this version does not look into /etc/hosts")),
            false => Ok(()),
        },
    },
];
