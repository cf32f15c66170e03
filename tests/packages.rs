//! The packages as files: the same octets from each build, no path of the build, licences and the list of crates.

mod support;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::MutexGuard;
use support::boot::{machines, packages, say};
use support::run;

const OUT: &str = "target/packages";

/// One test at a time: some build again what others read. `None` where no packages are built, which is said loudly.
fn built(test: &str) -> Option<MutexGuard<'static, ()>> {
    let guard = machines(test)?;
    packages();
    Some(guard)
}

/// Whether the long tests are asked for.
fn is_long(test: &str) -> bool {
    let long = std::env::var("SKYDNS_BUILDS").is_ok_and(|value| value == "all");
    if !long {
        say(&format!("SKIPPED: {test}: SKYDNS_BUILDS=all runs it, and packaging/setup test-all does\n"));
    }
    long
}

/// The files that a site takes from a directory of packages, with their hashes.
fn hashes(directory: &Path) -> BTreeMap<OsString, String> {
    let entries = fs::read_dir(directory).expect("packages").map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    let hash = |file: &PathBuf| run(Command::new("sha256sum").arg(file))[..64].to_owned();
    files.iter().map(|file| (file.file_name().expect("a name").to_owned(), hash(file))).collect()
}

#[test]
fn the_program_names_no_path_of_the_build() {
    let Some(_built) = built("paths in the program") else { return };
    let program = fs::read(Path::new(OUT).join("stage/skydns")).expect("the program");
    let home = std::env::var("HOME").expect("a home");
    let here = std::env::current_dir().expect("a directory");
    let paths = [&home, here.to_str().expect("text"), "/.cargo/", "/.rustup/", "/registry/src/"];
    let is_there =
        |text: &str| program.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
    // "/root" alone may be a word of a message.
    for path in paths.iter().map(|path| format!("{}/", path.trim_end_matches('/'))) {
        assert!(!is_there(&path), "{path}");
    }
    assert!(is_there("src/"), "messages of panics name files of the sources");
}

/// The crates of the list, with their versions.
fn components(list: &Value) -> BTreeSet<String> {
    let text = |of: &Value, field: &str| of[field].as_str().expect("a text").to_owned();
    let components = list["components"].as_array().expect("components");
    components.iter().map(|one| format!("{} {}", text(one, "name"), text(one, "version"))).collect()
}

fn list() -> Value {
    let text = fs::read_to_string(Path::new(OUT).join("skydns-sbom.cdx.json")).expect("a list");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_list_of_crates_is_in_order() {
    let Some(_built) = built("the list of crates") else { return };
    let list = list();
    assert_eq!((&list["bomFormat"], &list["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(list["version"], 1);
    let serial = list["serialNumber"].as_str().and_then(|text| text.strip_prefix("urn:uuid:")).expect("one");
    assert_eq!(serial.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{serial}");
    let own = &list["metadata"]["component"];
    assert_eq!((&own["name"], &own["version"]), (&"skydns".into(), &env!("CARGO_PKG_VERSION").into()));
    let reference = |of: &Value| of["bom-ref"].as_str().expect("a reference").to_owned();
    let parts = list["components"].as_array().expect("components");
    let known: BTreeSet<_> = parts.iter().chain([own]).map(reference).collect();
    assert_eq!(known.len(), parts.len() + 1, "each reference is one");
    for part in parts {
        assert_eq!(part["type"], "library", "{part}");
        assert!(part["licenses"][0]["expression"].as_str().is_some_and(|text| !text.contains('/')), "{part}");
        if part["name"] == "rust-std" {
            continue;
        }
        let (name, version) = (&part["name"], &part["version"]);
        let purl = format!("pkg:cargo/{}@{}", name.as_str().expect("one"), version.as_str().expect("one"));
        assert_eq!(part["purl"], purl.replace('+', "%2B"));
        let hash = part["hashes"][0]["content"].as_str().expect("a hash");
        assert!(hash.len() == 64 && hash.bytes().all(|octet| octet.is_ascii_hexdigit()), "{part}");
    }
    let depends = list["dependencies"].as_array().expect("dependencies");
    let mut reached = BTreeSet::from([reference(own)]);
    let listed: BTreeSet<_> =
        depends.iter().map(|one| one["ref"].as_str().expect("one").to_owned()).collect();
    assert_eq!(listed, known);
    for used in depends.iter().filter_map(|one| one["dependsOn"].as_array()).flatten() {
        reached.insert(used.as_str().expect("a reference").to_owned());
    }
    assert_eq!(reached, known, "each is used by another one");
}

#[test]
fn the_licences_are_those_of_what_is_linked() {
    let Some(_built) = built("licences") else { return };
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    run(Command::new("dpkg-deb").arg("-x").arg(&packages().deb).arg(root.path()));
    let file = root.path().join("usr/share/doc/skydns/THIRD-PARTY-LICENSES.gz");
    let text = run(Command::new("gzip").arg("-dc").arg(file));
    let names = components(&list());
    for linked in ["tokio", "ring", "hickory-proto", "etcd-client", "rust-std"] {
        assert!(names.iter().any(|name| name.starts_with(&format!("{linked} "))), "{linked} in {names:?}");
    }
    // Tests, benchmarks, the build and macros need these; and other systems.
    for not in ["proptest", "tempfile", "imbl", "cc", "prost-build", "syn", "tokio-macros", "windows-sys"] {
        assert!(!names.iter().any(|name| name.starts_with(&format!("{not} "))), "{not}");
    }
    for name in names.iter().filter(|name| !name.starts_with("rust-std")) {
        assert!(text.contains(&format!("\n{name}: ")), "{name} is listed");
    }
    let texts = text.split(&"=".repeat(80)).filter(|part| part.contains(" of ") || part.len() > 200).count();
    assert!(texts > 100, "{texts}");
    assert!(text.contains("Redistribution and use in source and binary forms"), "BSD, of subtle");
    let rpm = run(Command::new("rpm").args(["-qlp", "--nosignature"]).arg(&packages().rpm));
    assert!(rpm.contains("/usr/share/licenses/skydns/THIRD-PARTY-LICENSES\n"), "{rpm}");
    let image = Path::new(OUT).join("stage/root/usr/share/doc/skydns/THIRD-PARTY-LICENSES");
    assert_eq!(fs::read_to_string(image).expect("a file"), text);
}

/// Runs `packaging/build` in a checkout, as another user at another time would.
fn build_elsewhere(checkout: &Path, args: &[&str], variables: &[(&str, &Path)]) -> (bool, String) {
    let script = format!("umask 077; exec packaging/build {} 2>&1", args.join(" "));
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(checkout)
        .envs([("TZ", "Pacific/Auckland"), ("LANG", "C.UTF-8"), ("USER", "somebody")])
        .envs(variables.iter().copied())
        .env_remove("SOURCE_DATE_EPOCH")
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn packing_again_gives_the_same_octets() {
    let Some(_built) = built("packing again") else { return };
    let before = hashes(Path::new(OUT));
    assert_eq!(before.len(), 4, "{before:?}");
    // Files as another checkout has them: older than the packages, and newer.
    let touch = |date: &str, path: &str| run(Command::new("touch").args(["-d", date, path]));
    let paths = ["docs/operate.md", "README.md", "packaging/default/skydns"];
    let times: Vec<_> =
        paths.iter().map(|path| fs::metadata(path).and_then(|data| data.modified())).collect();
    for (path, date) in paths.iter().zip(["2001-02-03", "2037-01-01", "2002-03-04"]) {
        touch(date, path);
    }
    let (success, text) = build_elsewhere(Path::new("."), &[], &[]);
    for (path, time) in paths.iter().zip(times) {
        let file = fs::File::options().append(true).open(path).expect("a file");
        file.set_modified(time.expect("a time")).expect("a time");
    }
    assert!(success, "{text}");
    assert_eq!(hashes(Path::new(OUT)), before);
}

/// A copy of what the build takes.
fn copy_checkout(to: &Path) {
    let files = run(Command::new("git").args(["ls-files", "-z"]));
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        let place = to.join(file);
        fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        fs::copy(file, place).expect("a copy");
    }
    // Tools of packaging alone: what they are built of does not matter.
    fs::create_dir_all(to.join("target")).expect("a directory");
    run(Command::new("cp").args(["-a", "target/tools"]).arg(to.join("target/")));
}

#[test]
fn two_builds_in_two_directories_give_the_same_octets() {
    let Some(_built) = built("two builds") else { return };
    if !is_long("two builds") {
        return;
    }
    let before = hashes(Path::new(OUT));
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let checkout = elsewhere.path().join("another-directory");
    copy_checkout(&checkout);
    // The sources of the crates by another path as well.
    let home = Path::new(&std::env::var_os("HOME").expect("a home")).to_owned();
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let (own_home, own_cargo) = (elsewhere.path().join("home"), elsewhere.path().join("cargo"));
    fs::create_dir(&own_home).expect("a directory");
    fs::create_dir(&own_cargo).expect("a directory");
    std::os::unix::fs::symlink(cargo.join("registry"), own_cargo.join("registry")).expect("a link");
    let rustup = std::env::var_os("RUSTUP_HOME").map_or_else(|| home.join(".rustup"), PathBuf::from);
    let variables = [("HOME", &*own_home), ("CARGO_HOME", &*own_cargo), ("RUSTUP_HOME", &*rustup)];
    let (success, text) = build_elsewhere(&checkout, &[], &variables);
    assert!(success, "{text}");
    assert_eq!(hashes(&checkout.join(OUT)), before);
}

#[test]
fn packages_for_arm64_are_built_and_answer() {
    let Some(_built) = built("packages for arm64") else { return };
    if !is_long("packages for arm64") {
        return;
    }
    let (success, text) = build_elsewhere(Path::new("."), &["--arch", "arm64"], &[]);
    if text.contains("NOT BUILT") || text.contains("NOT TRIED") {
        say(&format!("LEFT OUT: packages for arm64: {text}\n"));
    }
    if text.contains("NOT BUILT") {
        return;
    }
    assert!(success, "{text}");
    assert!(text.contains("it starts and answers: qemu-aarch64") || text.contains("NOT TRIED"), "{text}");
    let out = Path::new(OUT).join("arm64");
    let version = env!("CARGO_PKG_VERSION");
    let deb = out.join(format!("skydns_{version}-1_arm64.deb"));
    let field = |name: &str| run(Command::new("dpkg-deb").arg("-f").arg(&deb).arg(name)).trim().to_owned();
    assert_eq!(field("Architecture"), "arm64");
    assert!(field("Depends").starts_with("libc6 (>= 2."), "{}", field("Depends"));
    let rpm = out.join(format!("skydns-{version}-1.aarch64.rpm"));
    let query = ["-qp", "--nosignature", "--requires", "--queryformat", "%{ARCH}\n"];
    let told = run(Command::new("rpm").args(query).arg(rpm));
    assert!(told.contains("aarch64") && told.contains("libc.so.6(GLIBC_2.34)(64bit)"), "{told}");
    let root = out.join("stage/root");
    assert!(root.join("lib/ld-linux-aarch64.so.1").exists() && root.join("lib/libc.so.6").exists());
    let machine = run(Command::new("readelf").arg("-h").arg(root.join("lib/libc.so.6")));
    assert!(machine.contains("AArch64"), "{machine}");
}
