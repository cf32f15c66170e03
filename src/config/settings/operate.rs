//! Settings of operation: the file of variables and the log.

use super::{DefaultValue, Setting, TakesEffect, path};
use crate::config::input::SettingError;
use crate::config::spec::LogTarget;
use log::LevelFilter;

pub(super) const OPERATION_SETTINGS: &[Setting] = &[
    Setting {
        name: "env-file",
        variables: &["SKYDNS_ENV_FILE"],
        keys: &[],
        takes: Some("FILE"),
        summary: "file of variables, which a reload reads again",
        details: "The unit sets this to `/etc/default/skydns`. If the file and the process both have a variable, the file \
                  wins. A name that begins with `SKYDNS_` and that no setting has is refused. The file cannot name itself or \
                  `-conf-dir`. A file that does not exist is refused, and the last good values of what it may have set \
                  stay; only `/etc/default/skydns` may be missing.",
        default: DefaultValue::Unset("none"),
        example: "/etc/default/skydns",
        takes_effect: TakesEffect::Restart,
        set: |spec, input, _| input.text().map(|text| spec.env_file = path(text)),
    },
    Setting {
        name: "conf-dir",
        variables: &["SKYDNS_CONF_DIR"],
        keys: &[],
        takes: Some("DIR"),
        summary: "directory of more files of variables, `*.conf`, which a reload reads again",
        details: "The unit sets this to `/etc/skydns/skydns.conf.d`. The files have the same lines as `-env-file`. They are read \
                  after it in the order of their names, and the last one that has a variable wins. Names that do not end in \
                  `.conf` or begin with a dot are ignored. A directory that does not exist is refused, and the last good \
                  values of what it may have set stay.",
        default: DefaultValue::Unset("none"),
        example: "/etc/skydns/skydns.conf.d",
        takes_effect: TakesEffect::Restart,
        set: |spec, input, _| input.text().map(|text| spec.conf_dir = path(text)),
    },
    Setting {
        name: "strict",
        variables: &["SKYDNS_STRICT"],
        keys: &[],
        takes: None,
        summary: "end with exit code 78 if a setting is refused",
        details: "Without this switch, a setting that cannot be used costs itself: its last good value is used, or else the \
                  default. With it, the agent does not start, and a reload changes nothing.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.strict = value),
    },
    Setting {
        name: "log",
        variables: &["SKYDNS_LOG"],
        keys: &[],
        takes: Some("WHERE"),
        summary: "where the log goes: `stderr`, `syslog` or `syslog5424`",
        details: "`stderr` writes one line for each event to standard error, with priorities if that is the journal. \
                  `syslog` sends messages to `/dev/log` in the form that every syslog daemon reads there (RFC 3164, with \
                  the time of the host's time zone). `syslog5424` sends messages in the form of RFC 5424, for a daemon \
                  that expects that form.",
        default: DefaultValue::Value("stderr"),
        example: "syslog",
        takes_effect: TakesEffect::Restart,
        set: |spec, input, _| {
            spec.log = match input.text()? {
                "stderr" => LogTarget::Stderr,
                "syslog" => LogTarget::Syslog,
                "syslog5424" => LogTarget::Syslog5424,
                found => {
                    return Err(SettingError::Choice {
                        found: found.to_owned(),
                        expected: "stderr, syslog or syslog5424",
                    });
                }
            };
            Ok(())
        },
    },
    Setting {
        name: "log-level",
        variables: &["SKYDNS_LOG_LEVEL"],
        keys: &[],
        takes: Some("LEVEL"),
        summary: "least important lines that are logged: `error`, `warn`, `info` or `debug`",
        details: "`debug` adds lines that are otherwise left out, such as each event of a kind that is logged once a \
                  minute. Queries of `-verbose` are logged at any level.",
        default: DefaultValue::Value("info"),
        example: "debug",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.log_level = match input.text()? {
                "error" => LevelFilter::Error,
                "warn" | "warning" => LevelFilter::Warn,
                "info" => LevelFilter::Info,
                "debug" => LevelFilter::Debug,
                found => {
                    return Err(SettingError::Choice {
                        found: found.to_owned(),
                        expected: "error, warn, info or debug",
                    });
                }
            };
            Ok(())
        },
    },
    Setting {
        name: "verbose",
        variables: &["SKYDNS_VERBOSE"],
        keys: &[],
        takes: None,
        summary: "log every query with its result",
        details: "",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.verbose = value),
    },
];
