//! The source `Files` on real directories.

use super::*;
use crate::source::SourceId;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;
use tokio::sync::mpsc;

/// A directory, its source, and the events of the source.
struct FilesFixture {
    dir: tempfile::TempDir,
    files: Files,
    events: mpsc::Receiver<(SourceId, Event)>,
}

impl FilesFixture {
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

    /// Reads the directory once; returns a line for each event and change.
    fn read(&mut self) -> Vec<String> {
        let _ = self.files.read();
        let mut lines = Vec::new();
        while let Ok((_, event)) = self.events.try_recv() {
            match event {
                Event::ListBegin => lines.push("begin".to_owned()),
                Event::ListEnd(_) => lines.push("end".to_owned()),
                Event::Wake => {}
                Event::Listed(changes) | Event::Changed(changes, _) => {
                    lines.extend(changes.into_iter().map(|change| {
                        let value = change.value.map(|value| String::from_utf8_lossy(&value).into_owned());
                        format!("{}={}", change.key.escape_ascii(), value.as_deref().unwrap_or("gone"))
                    }));
                }
                Event::Restored(_) | Event::RestoreEnd { .. } => lines.push("restored".to_owned()),
                Event::Unreachable(_) => lines.push("unreachable".to_owned()),
                Event::Refused { key, reason } => {
                    lines.push(format!("refused {} {reason}", key.escape_ascii()));
                }
            }
        }
        lines
    }
}

#[test]
fn paths_are_keys_and_only_changes_are_pushed() {
    let mut files = FilesFixture::new();
    files.write("local/skydns/a", "{}");
    files.write("local/skydns/east/b", "{}");
    files.write("config", "{}");
    for passed_over in [".hidden", "a~", "#a#", "local/.git/x"] {
        files.write(passed_over, "{}");
    }
    let listed =
        ["begin", "/skydns/config={}", "/skydns/local/skydns/a={}", "/skydns/local/skydns/east/b={}", "end"];
    assert_eq!(files.read(), listed);
    for path in ["config", "local/skydns/a", "local/skydns/east/b"] {
        files.age(path);
    }
    files.read();
    assert_eq!(files.read(), Vec::<String>::new());
    files.write("local/skydns/a", "{\"port\":1}");
    fs::remove_file(files.dir.path().join("local/skydns/east/b")).expect("removed");
    assert_eq!(files.read(), ["/skydns/local/skydns/east/b=gone", "/skydns/local/skydns/a={\"port\":1}"]);
}

#[test]
fn a_half_written_file_keeps_the_old_value_until_it_is_old() {
    let mut files = FilesFixture::new();
    files.write("x", "{\"port\":1}");
    files.read();
    files.write("x", "{\"por");
    assert_eq!(files.read(), Vec::<String>::new());
    files.write("x", "{\"port\":2}");
    assert_eq!(files.read(), ["/skydns/x={\"port\":2}"]);
    files.write("x", "{\"por");
    files.age("x");
    assert_eq!(files.read(), ["/skydns/x={\"por"]);
}

#[test]
fn an_atomic_rename_is_one_change() {
    let mut files = FilesFixture::new();
    files.write("x", "{\"port\":1}");
    files.read();
    files.write(".x.new", "{\"port\":2}");
    fs::rename(files.dir.path().join(".x.new"), files.dir.path().join("x")).expect("renamed");
    assert_eq!(files.read(), ["/skydns/x={\"port\":2}"]);
}

#[test]
fn links_are_followed_but_not_in_circles() {
    let mut files = FilesFixture::new();
    files.write("real/a", "{}");
    symlink("real", files.dir.path().join("link")).expect("a link");
    symlink("..", files.dir.path().join("real/up")).expect("a link");
    symlink("nowhere", files.dir.path().join("dangling")).expect("a link");
    let lines = files.read();
    assert!(
        lines.contains(&"/skydns/real/a={}".to_owned()) && lines.contains(&"/skydns/link/a={}".to_owned())
    );
    for trouble in
        ["refused /skydns/real/up cannot be read: it is a link that leads back", "refused /skydns/dangling"]
    {
        assert!(lines.iter().any(|line| line.starts_with(trouble)), "{trouble}: {lines:?}");
    }
}

#[test]
fn what_is_too_long_or_no_file_is_reported_and_costs_nothing_else() {
    let mut files = FilesFixture::new();
    files.write("a", "{}");
    files.write("big", &"x".repeat(2 << 20));
    nix::unistd::mkfifo(&files.dir.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let lines = files.read();
    assert!(lines.contains(&"/skydns/a={}".to_owned()));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("refused /skydns/big cannot be read: it has 2097152 octets"))
    );
    assert!(lines.iter().any(|line| line.starts_with("refused /skydns/pipe cannot be read: it is neither")));
    fs::remove_file(files.dir.path().join("pipe")).expect("removed");
    assert!(files.read().contains(&"/skydns/pipe=gone".to_owned()), "the trouble is over");
}

#[test]
fn a_directory_that_cannot_be_read_is_not_an_empty_one() {
    let mut files = FilesFixture::new();
    files.write("a", "{}");
    files.read();
    let away = files.dir.path().with_extension("away");
    fs::rename(files.dir.path(), &away).expect("renamed");
    assert_eq!(files.read(), ["unreachable"]);
    fs::rename(&away, files.dir.path()).expect("renamed back");
    assert_eq!(files.read(), ["begin", "/skydns/a={}", "end"]);
}
