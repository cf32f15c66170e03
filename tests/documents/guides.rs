//! Everything that documents name has to exist: commands, flags, variables, values, files, links.

use super::commands::{assignments, commands, config, service};
use super::markdown::{Document, GUIDES, all, guides};
use super::{page, refused, shipped, variables};
use skydns::config::{CommandOperand, VariablesFile, all_commands, flags};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Options of `keygen` and of other programs, and placeholders.
const OTHER_OPTIONS: [&str; 11] = [
    "-offline",
    "-p",
    "-v",
    "-flag",
    "--flag",
    "--dns",
    "--network",
    "--network-veth",
    "--private-network",
    "--resolv-conf",
    "--sysctl",
];

/// Files that belong to the system or to SkyDNS 2, and the directory that the unit makes (RuntimeDirectory=).
const OF_THE_SYSTEM: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/dhcp/",
    "/etc/ssl/",
    "/etc/hosts",
    "/etc/NetworkManager/",
    "/run/skydns/",
    "/etc/systemd/nspawn/",
    "/etc/systemd/system/skydns2.service",
    "/usr/local/",
];

/// Options of external-dns, in the guide for it.
const OF_EXTERNAL_DNS: [&str; 9] = [
    "--provider",
    "--coredns-prefix",
    "--domain-filter",
    "--managed-record-types",
    "--policy",
    "--registry",
    "--txt-prefix",
    "--coredns-strictly-owned",
    "--create-ptr",
];

/// Its variables.
const VARIABLES_OF_EXTERNAL_DNS: [&str; 4] = ["ETCD_URLS", "ETCD_CA_FILE", "ETCD_CERT_FILE", "ETCD_KEY_FILE"];

/// Variables of the scripts of packages.
const OF_PACKAGES: [&str; 1] = ["SKYDNS_PURGE_KEYS"];

/// Fails with every problem at once.
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_readme_is_short() {
    assert!(shipped("README.md").lines().count() <= 200);
}

#[test]
fn every_command_in_a_guide_exists() {
    let documents = guides();
    let shown: Vec<_> = documents.iter().flat_map(commands).collect();
    assert!(shown.len() > 50, "{}", shown.len());
    let problems =
        shown.iter().filter_map(|shown| Some(format!("{}: {}", shown.place, shown.check().err()?)));
    none(&problems.collect::<Vec<_>>());
}

#[test]
fn every_command_of_ours_in_another_document_exists() {
    let documents = all().into_iter().filter(|document| !is_guide(document));
    let shown = documents.flat_map(|document| commands(&document));
    let ours = shown.filter(|shown| {
        ["skydns", "cargo", "etcdctl"].contains(&shown.words[0].as_str())
            || shown.words[0].starts_with("packaging/")
    });
    let problems = ours.filter_map(|shown| Some(format!("{}: {}", shown.place, shown.check().err()?)));
    none(&problems.collect::<Vec<_>>());
}

fn is_guide(document: &Document) -> bool {
    document.file == "README.md"
        || document.file.strip_prefix("docs/").is_some_and(|file| GUIDES.contains(&file))
}

#[test]
fn every_flag_in_a_guide_exists() {
    let mut problems = Vec::new();
    for document in guides() {
        let spans = document
            .spans()
            .into_iter()
            .filter(|span| span.starts_with('-') && span.matches(' ').count() < 2);
        let wrong =
            spans.filter_map(|span| Some(format!("{}: {span}: {}", document.file, flag(&span).err()?)));
        problems.extend(wrong);
    }
    none(&problems);
}

/// A flag has to exist, and has to accept its value if the span shows one.
fn flag(span: &str) -> Result<(), String> {
    let (name, value) = span.split_once([' ', '=']).map_or((span, None), |(name, value)| (name, Some(value)));
    let mut of_commands = all_commands().flat_map(|entry| entry.details).filter_map(CommandOperand::word);
    let is_other = OTHER_OPTIONS.contains(&name) || OF_EXTERNAL_DNS.contains(&name);
    if name == "-" || is_other || of_commands.any(|word| word == name) {
        return Ok(());
    }
    let known = flags().find(|flag| name == format!("-{}", flag.name)).ok_or("no such flag")?;
    if value.is_none() || value == known.takes {
        return Ok(());
    }
    let refused = refused(span.split(' ').map(str::to_owned), &VariablesFile::default())?;
    refused.into_iter().next().map_or(Ok(()), Err)
}

/// Words like `SKYDNS_TTL`.
fn variables_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_');
    let prefixes = ["SKYDNS_", "ETCD_", "ECTD_", "PROMETHEUS_", "GRAPHITE_", "INFLUX_", "STATHAT_"];
    words
        .filter(|word| prefixes.iter().any(|prefix| word.len() > prefix.len() && word.starts_with(prefix)))
        .collect()
}

#[test]
fn every_variable_in_a_document_exists() {
    let known = variables();
    // Tests and benches have variables of their own.
    let sources = ["tests", "benches"].map(|dir| sources(Path::new(dir))).concat();
    let mut problems = Vec::new();
    for document in all() {
        let unknown = variables_in(&document.text)
            .into_iter()
            .filter(|name| !known.contains(name) && !sources.contains(*name) && !OF_PACKAGES.contains(name))
            .filter(|name| !VARIABLES_OF_EXTERNAL_DNS.contains(name));
        problems.extend(unknown.map(|name| format!("{}: {name}", document.file)));
    }
    none(&problems);
}

/// The source files of a directory, without the tests of documents.
fn sources(dir: &Path) -> String {
    let paths = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let text = paths.map(|path| match path.extension() {
        _ if path.ends_with("documents") => String::new(),
        _ if path.is_dir() => sources(&path),
        Some(end) if end == "rs" => shipped(&path.display().to_string()),
        _ => String::new(),
    });
    text.collect()
}

#[test]
fn the_table_of_settings_has_every_setting() {
    let text = shipped("docs/configure.md");
    let table = text
        .split_once("<!-- settings table:")
        .and_then(|(_, rest)| rest.split_once("<!-- end of settings table -->"));
    let (table, _) = table.expect("the marks of the table");
    let words: BTreeSet<_> = table.split(|c: char| c.is_whitespace() || "`|,()=".contains(c)).collect();
    for flag in flags().filter(|flag| !flag.variables.is_empty()) {
        let name = format!("-{}", flag.name);
        let names = flag.variables.iter().chain(flag.keys).copied().chain([name.as_str()]);
        names.for_each(|name| assert!(words.contains(name), "{name}"));
    }
}

#[test]
fn every_json_value_in_a_guide_is_accepted() {
    let mut problems = Vec::new();
    for document in guides() {
        let values =
            document.spans().into_iter().filter(|span| span.starts_with("{\"") && span.ends_with('}'));
        let wrong = values.filter(|value| service(value).is_err() && config(value).is_err());
        problems.extend(wrong.map(|value| format!("{}: {value}", document.file)));
    }
    none(&problems);
}

#[test]
fn every_file_of_variables_in_a_guide_is_accepted() {
    for document in guides() {
        for block in document.blocks.iter().filter(|block| block.language == "ini") {
            let place = format!("{}:{}", document.file, block.line);
            assignments(&block.lines.join("\n")).unwrap_or_else(|problem| panic!("{place}: {problem}"));
        }
    }
}

/// What the packages install, as paths on the host.
fn assets() -> [Vec<String>; 2] {
    let manifest = shipped("Cargo.toml");
    let (_, deb) = manifest.split_once("[package.metadata.deb]").expect("a .deb");
    let (deb, rpm) = deb.split_once("[package.metadata.generate-rpm]").expect("an .rpm");
    [deb, rpm].map(|list| {
        let lines = list
            .lines()
            .filter(|line| line.trim_start().starts_with(['[', '{']) && line.matches('"').count() >= 4);
        lines
            .flat_map(|line| {
                installed(line.split('"').nth(1).unwrap_or(""), line.split('"').nth(3).unwrap_or(""))
            })
            .collect()
    })
}

/// The paths on the host that one line of a package's list makes.
fn installed(source: &str, target: &str) -> Vec<String> {
    let target = format!("/{}", target.trim_start_matches('/'));
    let name =
        |file: &Path| file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match source.rsplit_once('/') {
        Some((dir, pattern)) if pattern.contains('*') => {
            let files =
                std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| name(&entry.path()));
            let end = pattern.trim_start_matches('*').to_owned();
            files.filter(|file| file.ends_with(&end)).map(|file| format!("{target}{file}")).collect()
        }
        _ if target.ends_with('/') => vec![format!("{target}{}", name(Path::new(source)))],
        _ => vec![target],
    }
}

#[test]
fn every_file_in_a_guide_is_shipped_or_described() {
    let assets = assets();
    let described =
        [page("packaging/man/skydns.5"), page("packaging/man/skydns.8"), shipped("systemd/examples/README")]
            .concat();
    let made = shipped("systemd/skydns.tmpfiles");
    let is_shipped = |path: &str| {
        let path = path.trim_end_matches('/');
        let below = |file: &String| file == path || file.starts_with(&format!("{path}/"));
        assets.iter().all(|list| list.iter().any(below))
    };
    let is_made = |path: &str| {
        let dirs = made
            .lines()
            .filter(|line| line.starts_with('d'))
            .filter_map(|line| line.split_whitespace().nth(1));
        dirs.filter(|dir| dir.matches('/').count() > 2).any(|dir| path.starts_with(dir))
    };
    let mut problems = Vec::new();
    for document in guides() {
        let code = document.code();
        let words = code.iter().flat_map(|code| code.split([' ', '\'', '"', '=', ',', ':', '(', ')']));
        let paths = words
            .filter(|word| ["/etc/", "/usr/", "/var/", "/run/"].iter().any(|root| word.starts_with(root)));
        let unknown = paths.filter(|path| {
            !(is_shipped(path)
                || is_made(path)
                || described.contains(*path)
                || OF_THE_SYSTEM.iter().any(|known| path.starts_with(known)))
        });
        problems.extend(unknown.map(|path| format!("{}: {path}", document.file)));
    }
    none(&problems);
}

/// Linked files that a package has under another name: Debian's `changelog.gz` and `copyright`.
const RENAMED: [&str; 2] = ["CHANGELOG.md", "LICENSE"];

#[test]
fn the_guides_are_shipped_with_everything_that_they_link() {
    let links = guides().into_iter().flat_map(|guide| {
        let folder = if guide.file == "README.md" { "" } else { "docs/" };
        let local = guide.links().into_iter().filter(|link| !link.contains("://") && !link.starts_with('#'));
        let file = |link: String| link.split('#').next().unwrap_or_default().to_owned();
        local.map(move |link| format!("{folder}{}", file(link)).replace("docs/../", "")).collect::<Vec<_>>()
    });
    let guides = GUIDES.iter().map(|file| format!("docs/{file}"));
    let files: BTreeSet<_> = guides.chain(links).filter(|file| !RENAMED.contains(&file.as_str())).collect();
    for list in assets() {
        for file in &files {
            assert!(list.contains(&format!("/usr/share/doc/skydns/{file}")), "{file}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut problems = Vec::new();
    for document in all() {
        let folder = Path::new(&document.file).parent().unwrap_or(Path::new(""));
        for link in document.links() {
            if link.starts_with("http://") || link.starts_with("https://") || link.starts_with("mailto:") {
                continue;
            }
            if let Err(problem) = followed(folder, &document, &link) {
                problems.push(format!("{}: {link}: {problem}", document.file));
            }
        }
    }
    none(&problems);
}

fn followed(folder: &Path, document: &Document, link: &str) -> Result<(), &'static str> {
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let path: PathBuf = if file.is_empty() { PathBuf::from(&document.file) } else { folder.join(file) };
    if !path.exists() {
        return Err("there is no such file");
    }
    match anchor {
        Some(anchor) if !Document::read(&path.display().to_string()).anchors().contains(anchor) => {
            Err("there is no such heading")
        }
        _ => Ok(()),
    }
}

#[test]
fn the_index_has_every_document() {
    let index = Document::read("docs/README.md");
    let links: BTreeSet<_> = index.links().into_iter().collect();
    for document in all().iter().filter(|document| document.file != "docs/README.md") {
        let link = document
            .file
            .strip_prefix("docs/")
            .map_or_else(|| format!("../{}", document.file), str::to_owned);
        assert!(links.contains(&link), "{link}");
    }
}
