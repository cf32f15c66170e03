//! `skydns keygen` and `skydns ds`: makes DNSSEC keys, and prints the records that the parent zone needs.

use super::{CONFIG, PERMISSION, SYSTEM, USAGE, fail, print};
use crate::agent::{KeyProblem, SiteKeys};
use crate::clock::unix_time;
use crate::config::{Spec, command_usage};
use crate::dnssec::{Algorithm, DsDigest, NewKey, PublicKey, read_public};
use crate::regular_file;
use crate::shown::quoted;
use crate::systemd;
use data_encoding::{BASE64, HEXUPPER};
use hickory_proto::rr::Name;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The options and the operand of `keygen`.
struct KeygenOptions {
    algorithm: Algorithm,
    flags: u16,
    directory: PathBuf,
    domain: Name,
}

/// Makes the two files of a key and prints their base name.
///
/// The key signs both the keys and the zone, or with `-z` only the zone. `-a` and `-K` mean the same as for
/// dnssec-keygen.
pub(super) fn generate(words: &[String], spec: &Spec) -> ExitCode {
    let options = match keygen_options(words, spec) {
        Ok(options) => options,
        Err(text) => return fail(USAGE, &text),
    };
    let now = unix_time();
    let Ok(key) = NewKey::generate(&options.domain, options.algorithm, options.flags, now) else {
        return fail(SYSTEM, &"keygen: the system gives no random numbers");
    };
    for (ending, content, mode) in [("private", &key.private, 0o600), ("key", &key.public, 0o644)] {
        let file = options.directory.join(format!("{}.{ending}", key.base));
        if let Err(error) = create(&file, content, mode) {
            let code = if error.kind() == io::ErrorKind::PermissionDenied { PERMISSION } else { SYSTEM };
            return fail(code, &format!("keygen: writing {}: {error}", file.display()));
        }
    }
    print(&format!("{}\n", key.base))
}

fn create(file: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn keygen_options(words: &[String], spec: &Spec) -> Result<KeygenOptions, String> {
    let mut options = KeygenOptions {
        algorithm: Algorithm::EcdsaP256,
        flags: 257,
        directory: PathBuf::from("."),
        domain: spec.domain.clone(),
    };
    let usage = || command_usage("keygen");
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-a" => {
                let name = words.next().ok_or_else(usage)?;
                let supported = [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519];
                options.algorithm = Algorithm::from_text(name)
                    .filter(|algorithm| supported.contains(algorithm))
                    .ok_or_else(|| {
                        format!(
                            "keygen: no keys of algorithm \"{}\" are made here; dnssec-keygen may make them",
                            quoted(name)
                        )
                    })?;
            }
            "-z" => options.flags = 256,
            "-K" => options.directory = words.next().ok_or_else(usage)?.into(),
            flag if flag.starts_with('-') => return Err(usage()),
            domain => {
                let name = Name::from_ascii(domain).ok().filter(|name| !name.is_root());
                options.domain =
                    name.ok_or_else(|| format!("keygen: \"{}\" is not a domain name", quoted(domain)))?;
            }
        }
    }
    Ok(options)
}

/// Prints DS, CDS and CDNSKEY records of key files, or of the configured keys.
///
/// If any key is a secure entry point (RFC 4034 §2.1.1), only secure entry points are printed: these are the keys
/// that the DS records of the parent have to name.
pub(super) fn ds(words: &[String], spec: &Spec) -> ExitCode {
    let keys = if words.is_empty() { configured(spec) } else { named(words) };
    let keys = match keys {
        Ok(keys) if keys.is_empty() => {
            return fail(USAGE, &"usage: skydns ds [KEY…]; without KEY, those of -dnssec (SKYDNS_DNSSEC)");
        }
        Ok(keys) => keys,
        Err(problem) => return fail(CONFIG, &problem),
    };
    let any_sep = keys.iter().any(PublicKey::is_sep);
    let mut text = String::new();
    for key in keys.iter().filter(|key| key.is_sep() || !any_sep) {
        for (rtype, digest) in [
            ("DS", DsDigest::Sha256),
            ("DS", DsDigest::Sha384),
            ("CDS", DsDigest::Sha256),
            ("CDS", DsDigest::Sha384),
        ] {
            let rdata = key.ds(digest);
            let (tag, algorithm) = (key.tag(), key.algorithm.number());
            let digest = format!("{} {}", rdata[3], HEXUPPER.encode(&rdata[4..]));
            let _ = writeln!(text, "{} IN {rtype} {tag} {algorithm} {digest}", key.owner);
        }
        let key_data = BASE64.encode(&key.key);
        let _ =
            writeln!(text, "{} IN CDNSKEY {} 3 {} {key_data}", key.owner, key.flags, key.algorithm.number());
    }
    print(&text)
}

fn configured(spec: &Spec) -> Result<Vec<PublicKey>, String> {
    let keys = SiteKeys::read(&spec.dnssec, &spec.domains());
    match keys.problems().next() {
        // The hint in its text is for the service.
        Some(KeyProblem::Unreadable { file, source }) => {
            Err(format!("ds: {}: cannot be read: {source}", file.display()))
        }
        Some(problem) => Err(format!("ds: {problem}")),
        None => Ok(keys.keys().map(|key| key.public.clone()).collect()),
    }
}

/// The public keys of named key files. The files of the private keys are not needed.
fn named(words: &[String]) -> Result<Vec<PublicKey>, String> {
    let read = |word: &String| {
        let base = word.strip_suffix(".key").or_else(|| word.strip_suffix(".private")).unwrap_or(word);
        let file = systemd::credential(Path::new(&format!("{base}.key")));
        let content = regular_file::read(&file);
        let content = content.map_err(|error| format!("ds: {}: cannot be read: {error}", file.display()))?;
        let base = base.to_owned();
        read_public(&content).map_err(|error| format!("ds: {}", KeyProblem::Key { base, error }))
    };
    words.iter().map(read).collect()
}
