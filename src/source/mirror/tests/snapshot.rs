//! What a snapshot brings, before a listing and after it.

use super::*;

fn snapshot(serial: u32, config: Option<Vec<u8>>, services: usize) -> Arc<RestoredSnapshot> {
    let saved = SavedSource { config, ..SavedSource::default() };
    let header =
        SnapshotHeader { serial, sources: [(SourceId::Etcd, saved)].into(), ..SnapshotHeader::default() };
    let services = [(SourceId::Etcd, services)].into();
    let as_of = SystemTime::UNIX_EPOCH;
    Arc::new(RestoredSnapshot {
        header,
        as_of,
        services,
        is_of_other_endpoints: false,
        is_of_this_process: false,
    })
}

pub(super) fn restore(mirror: &mut Mirror, between: Vec<Event>, config: Option<&str>) {
    let entry = |key: &str, host: &str| {
        let Ok(KeyTarget::Service { key, .. }) = Keyspace::new("skydns").target_of(key.as_bytes()) else {
            panic!("{key}")
        };
        let service = Service::from_json(format!(r#"{{"host":"{host}"}}"#).as_bytes()).expect("a service");
        (key, Entry::new(service))
    };
    let (key, value) = entry("/skydns/t/a", "10.0.0.1");
    mirror.apply_event(
        SourceId::Etcd,
        Event::Restored(vec![RestoredService { is_further: false, key, entry: value }]),
    );
    for event in between {
        mirror.apply_event(SourceId::Etcd, event);
    }
    let (key, value) = entry("/skydns/t/b", "10.0.0.2");
    mirror.apply_event(
        SourceId::Etcd,
        Event::Restored(vec![RestoredService { is_further: false, key, entry: value }]),
    );
    let config = config.map(|config| config.as_bytes().to_vec());
    let snapshot = snapshot(77, config, 2);
    mirror.apply_event(
        SourceId::Etcd,
        Event::RestoreEnd { snapshot, visible: tokio::sync::oneshot::channel().0 },
    );
    mirror.publish();
}

#[test]
fn half_a_snapshot_is_never_published() {
    let mut mirror = mirror();
    let Ok(KeyTarget::Service { key, .. }) = Keyspace::new("skydns").target_of(b"/skydns/t/a") else {
        panic!("a key")
    };
    let service = Service::from_json(br#"{"host":"10.0.0.1"}"#).expect("a service");
    mirror.apply_event(
        SourceId::Etcd,
        Event::Restored(vec![RestoredService { is_further: false, key, entry: Entry::new(service) }]),
    );
    mirror.publish();
    assert!(hosts(&mirror, "t.").is_empty());
    // The second half of the snapshot could not be read, and etcd can be reached again.
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/b", r#"{"host":"10.0.0.2"}"#)]);
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.2)"]);
}

#[test]
fn a_snapshot_is_served_until_the_store_is_listed() {
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Files, vec![]);
    restore(&mut mirror, vec![], Some("{}"));
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.1)", "V4(10.0.0.2)"]);
    assert_eq!(mirror.handle().published().freshness, SiteFreshness::from(Freshness::Stale));
    let status = mirror.handle().status().borrow().clone();
    assert_eq!(status.sources[&SourceId::Etcd], SourceState::Snapshot { as_of: SystemTime::UNIX_EPOCH });
    assert_eq!(status.config(), Some((SourceId::Etcd, b"{}".to_vec())));
    mirror.apply_event(SourceId::Etcd, Event::Unreachable("refused".into()));
    mirror.publish();
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.1)", "V4(10.0.0.2)"]);
    assert_eq!(mirror.handle().published().freshness, SiteFreshness::from(Freshness::Stale));
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/a", r#"{"host":"10.0.0.1"}"#)]);
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.1)"]);
    assert_eq!(mirror.handle().published().freshness, SiteFreshness::from(Freshness::Current));
    let status = mirror.handle().status().borrow().clone();
    assert_eq!(status.config(), None, "the store has none");
    assert_eq!(status.changes[&SourceId::Etcd], [0, 1, 1, 1, 0]);
}

#[test]
fn a_store_in_sync_with_its_snapshot_changes_nothing() {
    let mut mirror = mirror();
    restore(&mut mirror, vec![], None);
    let before = mirror.handle().published();
    assert_eq!(before.tree.serial(), 77);
    let same =
        vec![put("/skydns/t/a", r#"{"host":"10.0.0.1"}"#), put("/skydns/t/B", r#"{"host":"10.0.0.2"}"#)];
    listing(&mut mirror, SourceId::Etcd, same);
    let after = mirror.handle().published();
    assert_eq!((after.tree.serial(), after.tree.version()), (before.tree.serial(), before.tree.version()));
    mirror.apply_event(SourceId::Etcd, Event::Changed(vec![delete("/skydns/t/B")], None));
    mirror.publish();
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.1)"]);
}

#[test]
fn services_of_one_name_come_back_from_a_snapshot_together() {
    let mut mirror = mirror();
    let restored = |name: &str, n: u8, is_further| {
        let service =
            Service::from_json(format!(r#"{{"host":"10.0.0.{n}"}}"#).as_bytes()).expect("a service");
        let key = crate::service::Key::from_name(&Name::from_ascii(name).expect("a name"));
        RestoredService { is_further, key, entry: Entry::new(service) }
    };
    let parts = [
        vec![restored("a.t.", 1, false), restored("a.t.", 2, true), restored("b.t.", 3, false)],
        vec![restored("b.t.", 4, true), restored("c.t.", 5, true), restored("a.t.", 6, true)],
    ];
    for part in parts {
        mirror.apply_event(SourceId::Etcd, Event::Restored(part));
    }
    let snapshot = snapshot(0, None, 6);
    let visible = tokio::sync::oneshot::channel().0;
    mirror.apply_event(SourceId::Etcd, Event::RestoreEnd { snapshot, visible });
    assert_eq!(hosts(&mirror, "a.t."), ["V4(10.0.0.1)", "V4(10.0.0.2)", "V4(10.0.0.6)"]);
    assert_eq!(hosts(&mirror, "b.t."), ["V4(10.0.0.3)", "V4(10.0.0.4)"]);
    assert_eq!(hosts(&mirror, "c.t."), ["V4(10.0.0.5)"]);
}

#[test]
fn a_snapshot_that_comes_late_or_during_a_listing_removes_nothing() {
    let changes =
        || vec![put("/skydns/t/a", r#"{"host":"10.0.0.9"}"#), put("/skydns/config", r#"{"ttl":1}"#)];
    let listing = || vec![Event::ListBegin, Event::Listed(changes())];
    let end = || Event::ListEnd(Some(5));
    for (before, between, after) in [
        (vec![], listing(), vec![end()]),
        (listing(), vec![], vec![end()]),
        (listing(), vec![end()], vec![]),
        (listing(), vec![end(), Event::Unreachable("gone".into())], vec![]),
        (listing().into_iter().chain([end()]).collect(), vec![], vec![]),
    ] {
        let mut mirror = mirror();
        before.into_iter().for_each(|event| {
            mirror.apply_event(SourceId::Etcd, event);
        });
        restore(&mut mirror, between, Some("{}"));
        after.into_iter().for_each(|event| {
            mirror.apply_event(SourceId::Etcd, event);
        });
        mirror.publish();
        assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.9)"]);
        let status = mirror.handle().status().borrow().clone();
        assert_eq!(status.config(), Some((SourceId::Etcd, br#"{"ttl":1}"#.to_vec())));
        assert!(matches!(status.sources[&SourceId::Etcd].served_from(), ServedFrom::Listing { .. }));
    }
}
