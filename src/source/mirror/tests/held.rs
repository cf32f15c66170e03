//! Deletions that wait for a moment.

use super::*;
use crate::answer::Mode;

/// A mirror with zones in SkyDNS's mode and in exact mode, and keys in etcd.
fn holding(keys: &[(&str, &str)]) -> Mirror {
    let mut mirror = mirror();
    let mut site = Site::clone(&site(&["sub.test.", "exact.test."]));
    site.zones.iter_mut().nth(1).expect("a zone").mode = Mode::Exact;
    set_zones(&mut mirror, &Arc::new(site));
    listing(&mut mirror, SourceId::Etcd, keys.iter().map(|(key, value)| put(key, value)).collect());
    mirror
}

/// Has all deletions take place that wait.
pub(super) fn wait(mirror: &mut Mirror) {
    mirror.delete_due(Instant::now() + Duration::from_millis(200));
    mirror.publish();
}

#[test]
fn a_deletion_that_leaves_a_name_empty_waits_for_a_put() {
    let host = |last: u8| format!(r#"{{"host":"10.0.0.{last}","targetstrip":1}}"#);
    for zone in ["sub", "exact"] {
        let key = |label: &str| format!("/skydns/test/{zone}/u/{label}");
        let name = format!("u.{zone}.test.");
        let mut mirror = holding(&[(&key("a"), &host(1))]);
        change(&mut mirror, vec![delete(&key("a"))]);
        assert_eq!(hosts(&mirror, &name), ["V4(10.0.0.1)"], "{zone}: it waits");
        change(&mut mirror, vec![put(&key("b"), &host(2))]);
        assert_eq!(hosts(&mirror, &name), ["V4(10.0.0.2)"], "{zone}: both at once");
        assert!(mirror.held.is_empty());
        // The same key again is no change at all.
        let version = mirror.handle().published().tree.version();
        change(&mut mirror, vec![delete(&key("b"))]);
        change(&mut mirror, vec![put(&key("b"), &host(2))]);
        assert_eq!(mirror.handle().published().tree.version(), version, "{zone}");
        change(&mut mirror, vec![delete(&key("b"))]);
        wait(&mut mirror);
        assert_eq!(hosts(&mirror, &name), [""; 0], "{zone}: nobody put anything");
    }
}

#[test]
fn a_deletion_that_leaves_a_type_empty_waits_and_no_other() {
    let mut mirror = holding(&[
        ("/skydns/test/exact/u/a", r#"{"host":"10.0.0.1","targetstrip":1}"#),
        ("/skydns/test/exact/u/b", r#"{"host":"10.0.0.2","targetstrip":1}"#),
        ("/skydns/test/exact/u/c", r#"{"host":"2001:db8::1","targetstrip":1}"#),
        ("/skydns/test/exact/u/d", r#"{"text":"x","targetstrip":1}"#),
        ("/skydns/test/exact/below/u/e", r#"{"text":"x","targetstrip":1}"#),
    ]);
    change(&mut mirror, vec![delete("/skydns/test/exact/u/a")]);
    assert!(mirror.held.is_empty(), "another address is left");
    change(&mut mirror, vec![delete("/skydns/test/exact/u/c"), delete("/skydns/test/exact/u/d")]);
    assert_eq!(mirror.held.len(), 2, "AAAA and TXT");
    change(&mut mirror, vec![put("/skydns/test/exact/u/f", r#"{"host":"2001:db8::2","targetstrip":1}"#)]);
    assert_eq!(mirror.held.len(), 1, "AAAA is there again");
    listing(&mut mirror, SourceId::Etcd, vec![]);
    assert!(mirror.held.is_empty() && hosts(&mirror, "test.").is_empty(), "a listing does not wait");
}

#[test]
fn how_long_deletions_wait_is_a_setting() {
    let mut mirror = holding(&[("/skydns/test/sub/a", r#"{"host":"10.0.0.1"}"#)]);
    let mut site = Site::clone(mirror.site.as_ref().expect("a site"));
    site.zones.first_mut().hold_deletions = Duration::ZERO;
    set_zones(&mut mirror, &Arc::new(site));
    change(&mut mirror, vec![delete("/skydns/test/sub/a")]);
    assert_eq!(hosts(&mirror, "a.sub.test."), [""; 0]);
}

#[test]
fn data_of_a_zone_below_does_not_count_for_a_name_above_it() {
    let mut mirror = mirror();
    set_zones(&mut mirror, &site(&["sub.test.", "x.u.sub.test."]));
    let (own, below) = ("/skydns/test/sub/u", "/skydns/test/sub/u/x/e");
    let host = r#"{"host":"10.0.0.1"}"#;
    listing(&mut mirror, SourceId::Etcd, vec![put(own, host), put(below, host)]);
    change(&mut mirror, vec![delete(own)]);
    assert_eq!(mirror.held.len(), 1, "the outer zone has nothing else at this name");
    change(&mut mirror, vec![put("/skydns/test/sub/u/y", host)]);
    assert!(mirror.held.is_empty());
}

#[test]
fn a_key_that_came_and_went_unseen_prolongs_the_wait_within_a_limit() {
    for (deleted, strip) in [("u/a", ""), ("u/a", r#","targetstrip":1"#), ("u", ""), ("u/b", "")] {
        let deleted = format!("/skydns/test/exact/{deleted}");
        let mut mirror = holding(&[(&deleted, &format!(r#"{{"host":"10.0.0.1"{strip}}}"#))]);
        let begin = Instant::now();
        let millis = |millis| begin + Duration::from_millis(millis);
        let mut gone = |key: &str, at| mirror.apply(SourceId::Etcd, delete(key), millis(at));
        gone(&deleted, 0);
        gone("/skydns/test/exact/other/b", 90);
        (1..12).for_each(|n| gone("/skydns/test/exact/u/b", 80 * n));
        mirror.delete_due(millis(979));
        assert_eq!(
            mirror.held.next(),
            Some(millis(980)),
            "{deleted}{strip}: not so soon after the last of them"
        );
        (12..15).for_each(|n| mirror.apply(SourceId::Etcd, delete("/skydns/test/exact/u/b"), millis(80 * n)));
        mirror.delete_due(millis(999));
        assert!(!mirror.held.is_empty());
        mirror.delete_due(millis(1000));
        assert!(mirror.held.is_empty(), "{deleted}{strip}: not for ever");
    }
    for (deleted, other) in [("u/a", "v/b"), ("u", "v")] {
        let [deleted, other] = [deleted, other].map(|key| format!("/skydns/test/exact/{key}"));
        let mut mirror = holding(&[(&deleted, r#"{"host":"10.0.0.1"}"#)]);
        change(&mut mirror, vec![delete(&deleted)]);
        mirror.apply(SourceId::Etcd, delete(&other), Instant::now() + Duration::from_millis(99));
        mirror.delete_due(Instant::now() + Duration::from_millis(150));
        assert!(mirror.held.is_empty(), "{other} is another name");
    }
}

#[test]
fn very_many_keys_that_came_and_went_leave_room_for_more() {
    let mut mirror = holding(&[("/skydns/test/exact/u/a", r#"{"host":"10.0.0.1"}"#)]);
    let begin = Instant::now();
    let millis = |millis| begin + Duration::from_millis(millis);
    mirror.apply(SourceId::Etcd, delete("/skydns/test/exact/u/a"), begin);
    for n in 0..50_000 {
        mirror.apply(SourceId::Etcd, delete(&format!("/skydns/test/exact/v{n}/b")), millis(n / 500));
    }
    mirror.apply(SourceId::Etcd, delete("/skydns/test/exact/u/b"), millis(220));
    mirror.delete_due(millis(221));
    assert_eq!(mirror.held.next(), Some(millis(320)));
}
