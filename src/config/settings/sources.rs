//! Settings of the stores that services come from: files, etcd, and the snapshot of etcd.

use super::{DefaultValue, Setting, TakesEffect, non_empty, path};
use crate::config::EtcdApi;
use crate::config::endpoint::endpoint;
use crate::config::input::SettingError;

pub(super) const SOURCE_SETTINGS: &[Setting] = &[
    Setting {
        name: "records",
        variables: &["SKYDNS_RECORDS"],
        keys: &[],
        takes: Some("DIR"),
        summary: "directory of records, one file for each key",
        details: "The path of a file is its key, and the content of the file is the value. The directory may be used together \
                  with etcd; if both have a key, the file wins. A directory that cannot be read, or the default one when it was in use and is \
                  gone, is refused and tried again; names that were read from it stay. See RECORDS in skydns(5).",
        default: DefaultValue::Unset("`/etc/skydns/records` if it exists"),
        example: "/etc/skydns/records",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.records = path(text)),
    },
    Setting {
        name: "records-links",
        variables: &["SKYDNS_RECORDS_LINKS"],
        keys: &[],
        takes: None,
        summary: "follow links in the directory of records wherever they lead",
        details: "Without this switch, links that lead out of the directory are refused, because whoever may write to the \
                  directory could otherwise have any file of the host read. Links within the directory are always \
                  followed.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.records_links = value),
    },
    Setting {
        name: "state-dir",
        variables: &["SKYDNS_STATE_DIR"],
        keys: &[],
        takes: Some("DIR"),
        summary: "directory of the snapshot, a copy of the data of etcd",
        details: "If etcd is away when the agent starts, the agent serves the snapshot. It writes the snapshot every few \
                  seconds while etcd changes, and when the agent ends. If the snapshot cannot be read or written, the \
                  agent runs without it. A directory in which the agent can make no file is refused, and the default is \
                  used. `STATE_DIRECTORY` is a variable that systemd sets, to `/var/lib/skydns` in the \
                  unit; if it has several directories, the first one counts. Without any directory there is no \
                  snapshot. See FILES in skydns(8).",
        default: DefaultValue::Unset("`STATE_DIRECTORY` of systemd"),
        example: "/var/lib/skydns",
        takes_effect: TakesEffect::Restart,
        set: |spec, input, _| input.text().map(|text| spec.state_dir = path(text)),
    },
    Setting {
        name: "machines",
        variables: &["ETCD_MACHINES"],
        keys: &[],
        takes: Some("URL,…"),
        summary: "endpoints of etcd",
        details: "An endpoint is a URL with `http://` or `https://` and without a path; without a scheme it is `http://`. The agent uses \
                  one endpoint at a time for each API of etcd (`-etcd-api`). If an endpoint is down or does not answer, the agent \
                  takes the next one. With neither `-machines` nor `-records`, the agent looks for etcd on \
                  `http://127.0.0.1:2379` and then on `http://127.0.0.1:4001`.",
        default: DefaultValue::Unset("`http://127.0.0.1:2379`, then port 4001; none if `-records` is set"),
        example: "http://127.0.0.1:2379,http://127.0.0.1:4001",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.machines = input.list()?.into_iter().map(endpoint).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
    Setting {
        name: "etcd-api",
        variables: &["SKYDNS_ETCD_API"],
        keys: &[],
        takes: Some("API"),
        summary: "which API of etcd is read: `auto`, `v2`, `v3` or `both`",
        details: "etcd keeps what is written with its v2 API, as SkyDNS 2.0 and most writers of its time do, apart from what \
                  is written with the v3 API. With `both`, the agent serves the keys of both; if both have a key, v3 \
                  wins. With `auto`, the agent reads v3, and decides when it starts whether it reads v2 as well: it does if v3 \
                  holds no key, if `skydns migrate` has begun a move that is not over, or if the agent has read v2 before, as its \
                  snapshot shows. While it runs it does not give v2 up. If `-username` is set, `auto` refuses a v2 API that \
                  lets everybody in: the users of v2 are others than those of v3.",
        default: DefaultValue::Value("auto"),
        example: "both",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.etcd_api = match input.text()? {
                "auto" => EtcdApi::Auto,
                "v2" => EtcdApi::V2,
                "v3" => EtcdApi::V3,
                "both" => EtcdApi::Both,
                found => {
                    let expected = "auto, v2, v3 or both";
                    return Err(SettingError::Choice { found: found.to_owned(), expected });
                }
            };
            Ok(())
        },
    },
    Setting {
        name: "v2-also",
        variables: &["SKYDNS_V2_ALSO"],
        keys: &[],
        takes: Some("PATH,…"),
        summary: "hidden keys of etcd's v2 API that are read as well",
        details: "In the v2 API, a key with a segment that begins with `_`, such as `/skydns/local/skydns/_tcp`, is hidden: \
                  no list of a directory above shows it. SkyDNS asked etcd for each name and found such keys; the agent has to \
                  be told of them. A path is that of a directory or a key, with the path prefix or without; below it, further \
                  segments that begin with `_` are hidden again.",
        default: DefaultValue::Unset("none"),
        example: "/skydns/local/skydns/_tcp",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.v2_also = input.list()?.into_iter().map(hidden_path).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
    Setting {
        name: "discover",
        variables: &["SKYDNS_DISCOVER"],
        keys: &[],
        takes: None,
        summary: "follow the member list of etcd",
        details: "The agent then uses the endpoints in that list before those of `-machines`; for the v2 API behind them, because the \
                  members may be known there by addresses that are meant for themselves.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.discover = value),
    },
    Setting {
        name: "ca-cert",
        // SkyDNS 2.0 had the second spelling.
        variables: &["ETCD_CACERT", "ECTD_CACERT"],
        keys: &[],
        takes: Some("FILE"),
        summary: "certificate of the authority that signed etcd's certificate",
        details: "The file is in PEM form. A file name without a slash is first looked for in `/etc/skydns/keys`; \
                  see Private files in skydns(5). `ECTD_CACERT` is the spelling of SkyDNS 2.0.",
        default: DefaultValue::Unset("the system's authorities"),
        example: "etcd-ca.pem",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.ca_cert = path(text)),
    },
    Setting {
        name: "tls-pem",
        variables: &["ETCD_TLSPEM"],
        keys: &[],
        takes: Some("FILE"),
        summary: "client certificate for etcd",
        details: "The file is in PEM form. This setting needs `-tls-key` as well. A file name without a slash is first looked for in \
                  `/etc/skydns/keys`; see Private files in skydns(5).",
        default: DefaultValue::Unset("none"),
        example: "etcd-client.pem",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.tls_pem = path(text)),
    },
    Setting {
        name: "tls-key",
        variables: &["ETCD_TLSKEY"],
        keys: &[],
        takes: Some("FILE"),
        summary: "private key of the client certificate",
        details: "The file is in PEM form. This setting needs `-tls-pem` as well. A file name without a slash is first looked for in \
                  `/etc/skydns/keys`; see Private files in skydns(5).",
        default: DefaultValue::Unset("none"),
        example: "etcd-client.key",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.tls_key = path(text)),
    },
    Setting {
        name: "username",
        variables: &["ETCD_USERNAME"],
        keys: &[],
        takes: Some("NAME"),
        summary: "user name for etcd",
        details: "",
        default: DefaultValue::Unset("none"),
        example: "skydns",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.username = non_empty(text)),
    },
    Setting {
        name: "password",
        variables: &["ETCD_PASSWORD"],
        keys: &[],
        takes: Some("TEXT"),
        summary: "password for etcd (not as a flag: every user of the host can see flags)",
        details: "",
        default: DefaultValue::Unset("none"),
        example: "secret",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.password = non_empty(text)),
    },
    Setting {
        name: "path-prefix",
        variables: &["SKYDNS_PATH_PREFIX"],
        keys: &[],
        takes: Some("PATH"),
        summary: "path that all keys begin with",
        details: "The path may have several levels.",
        default: DefaultValue::Value("skydns"),
        example: "sites/west",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.path_prefix = text.to_owned()),
    },
];

/// A path with a segment that hides it.
fn hidden_path(text: &str) -> Result<String, SettingError> {
    let path = text.trim_end_matches('/');
    let segments = || path.strip_prefix('/').unwrap_or(path).split('/');
    // etcd answers with another path that is to be asked for in its place.
    if segments().any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(SettingError::StorePath(text.to_owned()));
    }
    if segments().any(|segment| segment.starts_with('_')) {
        return Ok(path.to_owned());
    }
    Err(SettingError::NotHidden(text.to_owned()))
}
