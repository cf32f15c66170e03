//! Directories that are gone.

use super::*;

fn is_gone(directory: &str) -> Change {
    Change { key: directory.into(), news: News::BelowGone }
}

fn names(mirror: &Mirror) -> usize {
    mirror.handle().status().borrow().names
}

/// A mirror with some keys of a v2 store.
fn with_keys(keys: &[&str]) -> Mirror {
    let mut mirror = Mirror::new(
        Keyspace::new("skydns"),
        &[(SourceId::EtcdV2, true), (SourceId::Etcd, true)],
        &Publisher::new(),
    );
    let changes = keys.iter().map(|key| put(key, r#"{"host":"10.0.0.1"}"#)).collect();
    listing(&mut mirror, SourceId::EtcdV2, changes);
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/a/v3", r#"{"host":"10.0.0.3"}"#)]);
    mirror
}

fn after(mirror: &mut Mirror, directory: &str) -> usize {
    mirror.apply_event(SourceId::EtcdV2, Event::Changed(vec![is_gone(directory)], None));
    mirror.publish();
    names(mirror)
}

#[test]
fn a_directory_takes_what_is_below_with_it() {
    let keys = ["/skydns/t/a/x", "/skydns/t/a/y/z", "/skydns/t/ab/x", "/skydns/t/b/x"];
    let mut mirror = with_keys(&keys);
    assert_eq!(after(&mut mirror, "/skydns/t/a"), 3);
    // What v3 has there stays.
    assert_eq!(hosts(&mirror, "a.t."), ["V4(10.0.0.3)"]);
    assert_eq!(after(&mut mirror, "/skydns/none/here"), 3);
}

#[test]
fn directories_above_the_prefix_take_all_with_them() {
    for directory in ["/skydns", "/skydns/", "/", ""] {
        let mut mirror = with_keys(&["/skydns/t/a/x", "/skydns/T/B/x"]);
        assert_eq!(after(&mut mirror, directory), 1, "{directory:?}");
    }
    // A plain comparison of the first octets would take this one for such a directory.
    assert_eq!(after(&mut with_keys(&["/skydns/t/x"]), "/sky"), 2);
}

#[test]
fn a_directory_takes_its_own_spelling_alone() {
    let mut mirror = with_keys(&["/skydns/t/web/x", "/skydns/t/Web/x", "/skydns/t/Web/X"]);
    assert_eq!(hosts(&mirror, "x.web.t.").len(), 3);
    after(&mut mirror, "/skydns/t/Web");
    assert_eq!(hosts(&mirror, "x.web.t.").len(), 1);
    after(&mut mirror, "/skydns/t/web");
    assert_eq!(hosts(&mirror, "x.web.t.").len(), 0);
}

#[test]
fn refusals_below_a_directory_go_with_it() {
    let mut mirror = with_keys(&[]);
    let long = format!("/skydns/t/{}/x", "a".repeat(64));
    let changes = vec![put("/skydns/t/a/x", "{"), put(&long, "{}"), put("/skydns/t/b", "{")];
    mirror.apply_event(SourceId::EtcdV2, Event::Changed(changes, None));
    assert_eq!(mirror.writer.refusals().count(), 3);
    after(&mut mirror, "/skydns/t/a");
    assert_eq!(mirror.writer.refusals().count(), 2);
    after(&mut mirror, long.trim_end_matches("/x"));
    assert_eq!(mirror.writer.refusals().count(), 1);
    after(&mut mirror, "/skydns");
    assert_eq!(mirror.writer.refusals().count(), 0);
}

#[test]
fn hidden_keys_have_news_of_their_own() {
    let mut mirror = with_keys(&["/skydns/t/a/x", "/skydns/t/a/_tcp/x", "/skydns/t/a/_tcp/_http/x"]);
    let port = |mirror: &Mirror, name: &str| hosts(mirror, name).len();
    after(&mut mirror, "/skydns/t/a");
    assert_eq!((port(&mirror, "x.a.t."), port(&mirror, "x._tcp.a.t.")), (0, 1));
    after(&mut mirror, "/skydns/t/a/_tcp");
    assert_eq!((port(&mirror, "x._tcp.a.t."), port(&mirror, "x._http._tcp.a.t.")), (0, 1));
    after(&mut mirror, "/skydns");
    assert_eq!(port(&mirror, "x._http._tcp.a.t."), 1);
    after(&mut mirror, "/skydns/t/a/_tcp/_http");
    assert_eq!(port(&mirror, "x._http._tcp.a.t."), 0);
}
