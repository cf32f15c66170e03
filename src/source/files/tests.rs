//! The source `Files` on real directories.

use super::*;
use crate::source::{Change, News, SourceId};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// A directory, its source, and the events of the source.
struct FilesFixture {
    dir: tempfile::TempDir,
    files: Files,
    events: mpsc::Receiver<(SourceId, Event)>,
    /// What the last reading wants to read again.
    again: Work,
}

impl FilesFixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (feed, events) = Feed::channel();
        let settings = FilesSettings { directory: dir.path().to_owned(), links: LinkPolicy::Inside };
        let files = Files::new(settings, Keyspace::new("skydns"), feed(SourceId::Files));
        Self { dir, files, events, again: Work::default() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
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

    /// Reads the directory once; returns a line for each event and change, those of a walk in the order of their text.
    fn read(&mut self) -> Vec<String> {
        self.read_work(Work::all())
    }

    /// Reads some paths.
    fn read_paths(&mut self, paths: &[&str]) -> Vec<String> {
        let mut work = Work::default();
        paths.iter().for_each(|path| work.add(Work::path(path.into())));
        self.read_work(work)
    }

    fn read_work(&mut self, work: Work) -> Vec<String> {
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| self.files.read(work));
            let mut lines = Vec::new();
            while !reading.is_finished() {
                lines.extend(lines_of(&mut self.events));
                std::thread::yield_now();
            }
            self.again = reading.join().expect("a reading").expect("a mirror");
            lines.extend(lines_of(&mut self.events));
            lines.sort_by_key(|line| {
                (line.starts_with("refused"), line == "end", line != "begin", line.clone())
            });
            lines
        })
    }
}

/// A line for each event, and for each change in it.
fn lines_of(events: &mut mpsc::Receiver<(SourceId, Event)>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Ok((_, event)) = events.try_recv() {
        match event {
            Event::ListBegin => lines.push("begin".to_owned()),
            Event::ListEnd(_) | Event::StaleListEnd { .. } => lines.push("end".to_owned()),
            Event::ObjectsBegin(_)
            | Event::ObjectsListed(_)
            | Event::ObjectsEnd { .. }
            | Event::ObjectsChanged(..)
            | Event::NamespacesUnread(_)
            | Event::ClusterRestored { .. }
            | Event::ClusterIdentity(_)
            | Event::InStep => {}
            Event::Wake | Event::Publish { .. } => {}
            Event::Listed(changes) | Event::Changed(changes, _) => {
                lines.extend(changes.iter().map(line_of));
            }
            Event::Restored(_) | Event::RestoreEnd { .. } => lines.push("restored".to_owned()),
            Event::Unreachable(_) | Event::Needed | Event::Unused { .. } | Event::Cluster(_) => {
                lines.push("unreachable".to_owned());
            }
        }
    }
    lines
}

/// A key with its value, as far as values of these tests differ, or with why it is refused.
fn line_of(change: &Change) -> String {
    let key = change.key.escape_ascii();
    match &change.news {
        News::Put(put) if put.service.port == 0 => format!("{key}={{}}"),
        News::Put(put) => format!("{key}={{\"port\":{}}}", put.service.port),
        News::Config(Some(config)) => format!("{key}={}", String::from_utf8_lossy(config)),
        News::Config(None) | News::Gone(_) => format!("{key}=gone"),
        News::Refused { reason, .. } => format!("refused {key} {reason}"),
        News::Accepted(_) => format!("accepted {key}"),
        News::BelowGone => format!("gone below {key}"),
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
    assert_eq!(files.read(), ["/skydns/local/skydns/a={\"port\":1}", "/skydns/local/skydns/east/b=gone"]);
}

#[test]
fn only_the_paths_that_changed_are_read() {
    let mut files = FilesFixture::new();
    for path in ["a/x", "a/y", "b/x", "c"] {
        files.write(path, "{}");
        files.age(path);
    }
    files.read();
    for path in ["a/x", "a/y", "b/x", "c"] {
        files.write(path, "{\"port\":1}");
    }
    assert_eq!(files.read_paths(&["a/y", "c"]), ["/skydns/a/y={\"port\":1}", "/skydns/c={\"port\":1}"]);
    assert_eq!(files.read_paths(&["b"]), ["/skydns/b/x={\"port\":1}"]);
    fs::remove_dir_all(files.path("a")).expect("removed");
    fs::remove_file(files.path("c")).expect("removed");
    files.write("c/d", "{}");
    files.age("c/d");
    // A path below a directory that is gone means that directory.
    assert_eq!(
        files.read_paths(&["a/x/deeper", "c/d"]),
        ["/skydns/a/x=gone", "/skydns/a/y=gone", "/skydns/c/d={}"]
    );
    assert_eq!(files.read_paths(&["c"]), ["/skydns/c=gone"]);
    // What changed and is not there came and went, known or not.
    assert_eq!(files.read_paths(&["b/y", "d/e"]), ["/skydns/b/y=gone", "/skydns/d=gone"]);
    files.age("b/x");
    files.read();
    assert_eq!(files.read(), Vec::<String>::new());
}

#[test]
fn what_links_lead_to_is_read_when_links_are() {
    let mut files = FilesFixture::new();
    // As Kubernetes mounts a ConfigMap: all files change at once, by a link that is passed over.
    for (version, port) in [("..1", 1), ("..2", 2)] {
        files.write(&format!("map/{version}/x"), &format!("{{\"port\":{port}}}"));
    }
    symlink("..1", files.path("map/..data")).expect("a link");
    symlink("..data/x", files.path("map/x")).expect("a link");
    files.write("map/real", "{}");
    fs::hard_link(files.path("map/real"), files.path("map/second")).expect("a second name");
    assert_eq!(
        files.read(),
        ["begin", "/skydns/map/real={}", "/skydns/map/second={}", "/skydns/map/x={\"port\":1}", "end"]
    );
    symlink("..2", files.path("map/..new")).expect("a link");
    fs::rename(files.path("map/..new"), files.path("map/..data")).expect("renamed");
    assert!(files.read_work(Work::links()).contains(&"/skydns/map/x={\"port\":2}".to_owned()));
    files.write("map/real", "{\"port\":7}");
    assert!(files.read_paths(&["map/real"]).contains(&"/skydns/map/second={\"port\":7}".to_owned()));
    fs::remove_file(files.path("map/..2/x")).expect("removed");
    assert!(
        files.read_work(Work::links()).iter().any(|line| line.starts_with("refused /skydns/map/x cannot be"))
    );
    files.write("map/..2/x", "{\"port\":3}");
    assert!(files.read_work(Work::links()).contains(&"/skydns/map/x={\"port\":3}".to_owned()));
}

#[test]
fn a_change_is_read_alone_whatever_other_aliases_there_are() {
    let mut files = FilesFixture::new();
    let outside = tempfile::tempdir_in(files.dir.path().parent().expect("a parent")).expect("a directory");
    for path in ["a", "b", "c", "d/x"] {
        files.write(path, "{}");
        files.age(path);
    }
    for (path, name) in [("a", "a2"), ("c", "c2"), ("c", ".c3")] {
        fs::hard_link(files.path(path), files.path(name)).expect("another name");
    }
    fs::hard_link(files.path("b"), outside.path().join("b")).expect("a name outside");
    symlink("d/x", files.path("link")).expect("a link");
    files.read();
    fs::write(outside.path().join("b"), "{\"port\":2}").expect("written");
    for path in ["a", "c", "d/x"] {
        files.write(path, "{\"port\":1}");
    }
    // The other names of this file, and nothing else that may have changed.
    assert_eq!(files.read_paths(&["a"]), ["/skydns/a2={\"port\":1}", "/skydns/a={\"port\":1}"]);
    assert_eq!(files.read_paths(&["d/x"]), ["/skydns/d/x={\"port\":1}"]);
    assert_eq!(files.read_work(Work::links()), ["/skydns/link={\"port\":1}"]);
    fs::remove_file(files.path("link")).expect("removed");
    assert_eq!(files.read_work(Work::links()), ["/skydns/link=gone"]);
    assert_eq!(files.read_work(Work::links()), [""; 0], "told once");
    assert_eq!(
        files.read_work(Work::hidden(".c3".into())),
        ["/skydns/c2={\"port\":1}", "/skydns/c={\"port\":1}"],
        "a hidden name of what is read by others"
    );
    assert!(files.read().contains(&"/skydns/b={\"port\":2}".to_owned()));
}

#[test]
fn what_changed_behind_a_link_is_read_alone() {
    let mut files = FilesFixture::new();
    let outside = tempfile::tempdir().expect("a directory");
    files.files.settings.links = LinkPolicy::Anywhere;
    symlink(outside.path(), files.path("link")).expect("a link");
    for path in ["x", "y"] {
        fs::write(outside.path().join(path), "{}").expect("written");
    }
    files.read();
    for path in ["x", "y"] {
        fs::write(outside.path().join(path), "{\"port\":1}").expect("written");
    }
    assert_eq!(files.read_paths(&["link/x"]), ["/skydns/link/x={\"port\":1}"]);
    fs::remove_file(outside.path().join("x")).expect("removed");
    assert_eq!(files.read_paths(&["link/x"]), ["/skydns/link/x=gone"]);
    assert_eq!(files.read_work(Work::links()), ["/skydns/link/y={\"port\":1}"]);
}

#[test]
fn a_file_of_very_many_names_is_read_with_the_whole_directory() {
    let mut files = FilesFixture::new();
    files.write("a", "{}");
    for name in 0..MAX_PATHS + 1 {
        fs::hard_link(files.path("a"), files.path(&format!("n{name}"))).expect("another name");
    }
    files.age("a");
    files.read();
    files.write("a", "{\"port\":1}");
    files.age("a");
    assert_eq!(files.read_paths(&["a"]), ["/skydns/a={\"port\":1}"]);
    assert_eq!(files.again, Work::all());
}

#[test]
fn links_out_of_the_directory_are_refused_and_drop_what_was_there() {
    let mut files = FilesFixture::new();
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("x"), "{\"port\":9}").expect("a file");
    files.write("x", "{\"port\":1}");
    files.write("d/y", "{}");
    files.read();
    fs::remove_file(files.path("x")).expect("removed");
    fs::remove_dir_all(files.path("d")).expect("removed");
    symlink(outside.path().join("x"), files.path("x")).expect("a link");
    symlink(outside.path(), files.path("d")).expect("a link");
    let lines = files.read();
    let gone = ["/skydns/d/y=gone", "/skydns/x=gone"].map(str::to_owned);
    assert_eq!(lines[..2], gone, "{lines:?}");
    assert!(
        lines[2]
            .starts_with("refused /skydns/d cannot be read: it is a link that leads out of the directory"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(files.read(), Vec::<String>::new(), "told once");
    files.files.settings.links = LinkPolicy::Anywhere;
    let lines = files.read();
    assert!(lines.contains(&"/skydns/x={\"port\":9}".to_owned()), "{lines:?}");
    assert!(lines.contains(&"/skydns/d/x={\"port\":9}".to_owned()), "{lines:?}");
    // The path of what changed outside is not known.
    fs::write(outside.path().join("x"), "{\"port\":8}").expect("a file");
    assert!(files.read_work(Work::links()).contains(&"/skydns/d/x={\"port\":8}".to_owned()));
}

#[test]
fn a_large_directory_is_handed_over_in_small_parts() {
    let mut files = FilesFixture::new();
    let value = format!("{{\"text\":\"{}\"}}", "x".repeat(60_000));
    let octets_of = |change: &Change| match &change.news {
        News::Put(put) => put.service.text.as_ref().map_or(0, |text| text.len()),
        _ => 0,
    };
    for file in 0..40 {
        files.write(&format!("large/{file}"), &value);
    }
    for file in 0..2_500 {
        files.write(&format!("small/{file}"), "{}");
    }
    let (most_changes, most_octets, all) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| files.files.read(Work::all()));
        let (mut most_changes, mut most_octets, mut all) = (0, 0, 0);
        loop {
            match files.events.try_recv() {
                Ok((_, Event::Listed(part))) => {
                    most_changes = most_changes.max(part.len());
                    most_octets = most_octets.max(part.iter().map(octets_of).sum());
                    all += part.len();
                }
                Ok((_, Event::ListEnd(_))) => break,
                _ => std::thread::yield_now(),
            }
        }
        drop(reading.join());
        (most_changes, most_octets, all)
    });
    assert_eq!(all, 2_540);
    assert!(most_changes <= 1_000 && most_octets < 400_000, "{most_changes} changes, {most_octets} octets");
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
    let lines = files.read();
    assert!(lines.len() == 1 && lines[0].starts_with("refused /skydns/x the value is not JSON"), "{lines:?}");
    // One that comes tells that somebody writes there.
    files.write("y", "{\"por");
    assert_eq!(files.read_paths(&["y"]), ["/skydns/y=gone"]);
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

#[test]
fn a_file_that_is_removed_and_made_again_is_not_refused() {
    let mut files = FilesFixture::new();
    let (new, path, ends) = (files.path(".new"), files.path("a"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                fs::write(&new, "{}").and_then(|()| fs::rename(&new, &path)).expect("a file");
                fs::remove_file(&path).expect("removed");
            }
        });
        let refused = (0..2_000)
            .find_map(|_| files.read_paths(&["a"]).into_iter().find(|line| line.starts_with("refused")));
        ends.store(true, Ordering::Relaxed);
        assert_eq!(refused, None);
    });
}
