//! The directory source against real directories.

use super::*;
use crate::source::SourceId;
use std::fs;
use std::os::unix::fs::symlink;
use tokio::sync::mpsc;

/// A directory, its source, and what the source tells.
struct Rig {
    dir: tempfile::TempDir,
    files: Files,
    events: mpsc::Receiver<(SourceId, Event)>,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (feed, events) = Feed::channel();
        let files = Files::new(dir.path().to_owned(), Keyspace::new("skydns"), feed(SourceId::Files));
        Self { dir, files, events }
    }

    fn write(&self, path: &str, value: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(path, value).expect("a file");
    }

    /// Makes a file look as if it was written long ago.
    fn age(&self, path: &str) {
        let file = fs::File::options().append(true).open(self.dir.path().join(path)).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("a time");
    }

    /// Reads once and gives what was told, a line each.
    fn read(&mut self) -> Vec<String> {
        let _ = self.files.read();
        let mut told = Vec::new();
        while let Ok((_, event)) = self.events.try_recv() {
            match event {
                Event::ListBegin => told.push("begin".to_owned()),
                Event::ListEnd(_) => told.push("end".to_owned()),
                Event::Wake => {}
                Event::Listed(changes) | Event::Changed(changes, _) => {
                    told.extend(changes.into_iter().map(|change| {
                        let value = change.value.map(|value| String::from_utf8_lossy(&value).into_owned());
                        format!("{}={}", change.key.escape_ascii(), value.as_deref().unwrap_or("gone"))
                    }));
                }
                Event::Restored(_) | Event::RestoreEnd { .. } => told.push("restored".to_owned()),
                Event::Unreachable(_) => told.push("lost".to_owned()),
                Event::Refused { key, reason } => {
                    told.push(format!("refused {} {reason}", key.escape_ascii()));
                }
            }
        }
        told
    }
}

#[test]
fn paths_are_keys_and_only_changes_are_told() {
    let mut rig = Rig::new();
    rig.write("local/skydns/a", "{}");
    rig.write("local/skydns/east/b", "{}");
    rig.write("config", "{}");
    for passed_over in [".hidden", "a~", "#a#", "local/.git/x"] {
        rig.write(passed_over, "{}");
    }
    let listed =
        ["begin", "/skydns/config={}", "/skydns/local/skydns/a={}", "/skydns/local/skydns/east/b={}", "end"];
    assert_eq!(rig.read(), listed);
    for path in ["config", "local/skydns/a", "local/skydns/east/b"] {
        rig.age(path);
    }
    rig.read();
    assert_eq!(rig.read(), Vec::<String>::new());
    rig.write("local/skydns/a", "{\"port\":1}");
    fs::remove_file(rig.dir.path().join("local/skydns/east/b")).expect("removed");
    assert_eq!(rig.read(), ["/skydns/local/skydns/east/b=gone", "/skydns/local/skydns/a={\"port\":1}"]);
}

#[test]
fn a_half_written_file_keeps_the_old_value_until_it_is_old() {
    let mut rig = Rig::new();
    rig.write("x", "{\"port\":1}");
    rig.read();
    rig.write("x", "{\"por");
    assert_eq!(rig.read(), Vec::<String>::new());
    rig.write("x", "{\"port\":2}");
    assert_eq!(rig.read(), ["/skydns/x={\"port\":2}"]);
    rig.write("x", "{\"por");
    rig.age("x");
    assert_eq!(rig.read(), ["/skydns/x={\"por"]);
}

#[test]
fn an_atomic_rename_is_one_change() {
    let mut rig = Rig::new();
    rig.write("x", "{\"port\":1}");
    rig.read();
    rig.write(".x.new", "{\"port\":2}");
    fs::rename(rig.dir.path().join(".x.new"), rig.dir.path().join("x")).expect("renamed");
    assert_eq!(rig.read(), ["/skydns/x={\"port\":2}"]);
}

#[test]
fn links_are_followed_but_not_in_circles() {
    let mut rig = Rig::new();
    rig.write("real/a", "{}");
    symlink("real", rig.dir.path().join("link")).expect("a link");
    symlink("..", rig.dir.path().join("real/up")).expect("a link");
    symlink("nowhere", rig.dir.path().join("dangling")).expect("a link");
    let told = rig.read();
    assert!(told.contains(&"/skydns/real/a={}".to_owned()) && told.contains(&"/skydns/link/a={}".to_owned()));
    for trouble in
        ["refused /skydns/real/up cannot be read: it is a link that leads back", "refused /skydns/dangling"]
    {
        assert!(told.iter().any(|line| line.starts_with(trouble)), "{trouble}: {told:?}");
    }
}

#[test]
fn what_is_too_long_or_no_file_is_told_and_costs_nothing_else() {
    let mut rig = Rig::new();
    rig.write("a", "{}");
    rig.write("big", &"x".repeat(2 << 20));
    nix::unistd::mkfifo(&rig.dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let told = rig.read();
    assert!(told.contains(&"/skydns/a={}".to_owned()));
    assert!(
        told.iter().any(|line| line.starts_with("refused /skydns/big cannot be read: it has 2097152 octets"))
    );
    assert!(told.iter().any(|line| line.starts_with("refused /skydns/pipe cannot be read: it is neither")));
    fs::remove_file(rig.dir.path().join("pipe")).expect("removed");
    assert!(rig.read().contains(&"/skydns/pipe=gone".to_owned()), "the trouble is over");
}

#[test]
fn a_directory_that_cannot_be_read_is_not_an_empty_one() {
    let mut rig = Rig::new();
    rig.write("a", "{}");
    rig.read();
    let away = rig.dir.path().with_extension("away");
    fs::rename(rig.dir.path(), &away).expect("renamed");
    assert_eq!(rig.read(), ["lost"]);
    fs::rename(&away, rig.dir.path()).expect("renamed back");
    assert_eq!(rig.read(), ["begin", "/skydns/a={}", "end"]);
}
