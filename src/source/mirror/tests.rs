mod directory;
mod held;
mod mass;
mod objects;
mod replaced;
mod settings;
mod snapshot;
mod unused;
mod zone_freshness;

use super::*;
use crate::answer::{Freshness, Zones};
use crate::service::{Key, KeyTarget, Service};
use crate::source::event::{Change, News, Put};
use crate::source::layout::{self, FAULT};
use crate::source::served_key::{ServedKey, Spelling};
use crate::source::snapshot::{RestoredService, RestoredSnapshot, SavedSource, SnapshotHeader};
use crate::source::state::{ServedFrom, SourceState};
use crate::tree::{DataKinds, Entry, Extent, TreeLookup, TreePath, Work};
use hickory_proto::rr::Name;
use std::time::SystemTime;

fn put(key: &str, value: &str) -> Change {
    layout::read(&Keyspace::new("skydns"), key.as_bytes(), Some(value.into()), None)
}

fn delete(key: &str) -> Change {
    layout::read(&Keyspace::new("skydns"), key.as_bytes(), None, None)
}

fn mirror() -> Mirror {
    Mirror::new(
        Keyspace::new("skydns"),
        &[(SourceId::Etcd, true), (SourceId::Files, true)],
        &Publisher::new(),
    )
}

fn listing(mirror: &mut Mirror, id: SourceId, changes: Vec<Change>) {
    mirror.apply_event(id, Event::ListBegin);
    mirror.apply_event(id, Event::Listed(changes));
    mirror.apply_event(id, Event::ListEnd(None));
    mirror.publish();
}

fn hosts(mirror: &Mirror, name: &str) -> Vec<String> {
    let published = mirror.handle().published();
    let path = TreePath::new(&Name::from_ascii(name).expect("a name"));
    match published.tree.services(&path, Extent::default(), DataKinds::ALL, &Work::new(u32::MAX), |_| false) {
        TreeLookup::Services(found) => found.iter().map(|m| format!("{:?}", m.entry.service.host)).collect(),
        _ => Vec::new(),
    }
}

/// A site with zones.
fn site(apexes: &[&str]) -> Arc<Site> {
    let mut zones = apexes.iter().map(|apex| Zone::new(&Name::from_ascii(apex).expect("a name")));
    let first = Site::new(zones.next().expect("a zone"));
    Arc::new(Site { zones: Zones::new(first.zones.first().clone(), zones), ..first })
}

/// Tells a mirror which zones there are.
fn set_zones(mirror: &mut Mirror, site: &Arc<Site>) {
    mirror.set_site(Some(Arc::clone(site)));
    mirror.publish();
}

#[test]
fn each_zone_has_the_serial_of_its_own_changes() {
    let (mut mirror, site) = (mirror(), site(&["a.test.", "b.test."]));
    set_zones(&mut mirror, &site);
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/test/b/e", r#"{"host":"10.0.0.1"}"#)]);
    let serials = |mirror: &Mirror| {
        let published = mirror.handle().published();
        site.zones.iter().map(|zone| published.tree.serial_of(zone.apex())).collect::<Vec<_>>()
    };
    let listed = serials(&mirror);
    assert!(listed.iter().all(|serial| *serial > 1_700_000_000), "{listed:?}");
    mirror.tree.set_serial(listed[0] + 1_000);
    mirror.tree.set_serial_of(site.zones.first().apex(), listed[0] + 2_000);
    mirror.publish();
    assert_eq!(serials(&mirror), [listed[0] + 2_000, listed[0] + 1_000]);
}

#[test]
fn a_listing_replaces_what_the_source_had_and_nothing_else() {
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Files, vec![put("/skydns/t/f", r#"{"host":"10.0.0.9"}"#)]);
    let two =
        vec![put("/skydns/t/a", r#"{"host":"10.0.0.1"}"#), put("/skydns/t/b", r#"{"host":"10.0.0.2"}"#)];
    listing(&mut mirror, SourceId::Etcd, two);
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.1)", "V4(10.0.0.2)", "V4(10.0.0.9)"]);
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/b", r#"{"host":"10.0.0.3"}"#)]);
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.3)", "V4(10.0.0.9)"]);
}

#[test]
fn half_a_listing_is_never_published() {
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/a", r#"{"host":"10.0.0.1"}"#)]);
    mirror.apply_event(SourceId::Etcd, Event::ListBegin);
    mirror.apply_event(SourceId::Etcd, Event::Listed(vec![put("/skydns/t/b", r#"{"host":"10.0.0.2"}"#)]));
    mirror.apply_event(SourceId::Etcd, Event::Unreachable("gone".into()));
    mirror.apply_event(SourceId::Etcd, Event::ListEnd(None));
    mirror.publish();
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.1)"]);
}

#[test]
fn freshness_follows_the_sources() {
    let mut mirror = mirror();
    let freshness = |mirror: &Mirror| mirror.handle().published().freshness.clone();
    listing(&mut mirror, SourceId::Files, vec![]);
    assert_eq!(freshness(&mirror), SiteFreshness::from(Freshness::Incomplete));
    mirror.apply_event(SourceId::Etcd, Event::Unreachable("refused".into()));
    mirror.publish();
    assert_eq!(freshness(&mirror), SiteFreshness::from(Freshness::Incomplete));
    listing(&mut mirror, SourceId::Etcd, vec![]);
    assert_eq!(freshness(&mirror), SiteFreshness::from(Freshness::Current));
    mirror.apply_event(SourceId::Etcd, Event::Unreachable("refused".into()));
    mirror.publish();
    assert_eq!(freshness(&mirror), SiteFreshness::from(Freshness::Stale));
}

#[test]
fn a_bad_value_costs_its_own_service_only_and_is_listed() {
    let mut mirror = mirror();
    let keys = vec![
        put("/skydns/t/a", "{"),
        put("/skydns/t//b", "{}"),
        put("/skydns/t/C", r#"{"host":"10.0.0.3"}"#),
    ];
    listing(&mut mirror, SourceId::Etcd, keys);
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.3)"]);
    let refused: Vec<_> = mirror.writer.refusals().all().into_iter().map(|r| (r.key, r.served)).collect();
    let expected = [("/skydns/t//b", false), ("/skydns/t/C", true), ("/skydns/t/a", false)];
    assert_eq!(refused, expected.map(|(key, served)| (key.to_owned(), served)));
    let corrected = vec![put("/skydns/t/a", r#"{"host":"10.0.0.1"}"#), delete("/skydns/t//b")];
    mirror.apply_event(SourceId::Etcd, Event::Changed(corrected, None));
    mirror.apply_event(SourceId::Etcd, Event::Changed(vec![put("/skydns/t/C", "[]")], None));
    mirror.publish();
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.1)"]);
    assert_eq!(mirror.writer.refusals().all().len(), 1);
}

#[test]
fn keys_that_make_one_name_are_served_together() {
    let (one, two, three) = (r#"{"host":"10.0.0.1"}"#, r#"{"host":"10.0.0.2"}"#, r#"{"host":"10.0.0.3"}"#);
    let all = ["V4(10.0.0.2)", "V4(10.0.0.1)", "V4(10.0.0.3)"];
    let keys = || {
        vec![put("/skydns/t/B\u{fc}", one), put("/skydns/t/b\u{fc}", three), put("/skydns/t/xn--b-eha", two)]
    };
    let name = "xn--b-eha.t.";
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        // In any order, at once or one by one: the name's own spelling first, then in the order of the store's keys.
        let in_order = || order.map(|index| keys()[index].clone()).to_vec();
        let mut mirror = mirror();
        listing(&mut mirror, SourceId::Etcd, in_order());
        assert_eq!(hosts(&mirror, name), all);
        let before = mirror.handle().published().tree.version();
        listing(&mut mirror, SourceId::Etcd, in_order());
        assert_eq!(
            (hosts(&mirror, name), mirror.handle().published().tree.version()),
            (all.map(str::to_owned).to_vec(), before)
        );
        listing(&mut mirror, SourceId::Etcd, vec![]);
        for change in in_order() {
            mirror.apply_event(SourceId::Etcd, Event::Changed(vec![change], None));
        }
        mirror.publish();
        assert_eq!((hosts(&mirror, name), mirror.tree.names()), (all.map(str::to_owned).to_vec(), 1));
    }
}

#[test]
fn keys_that_make_one_name_go_one_by_one() {
    let value = |n: u8| format!("{{\"host\":\"10.0.0.{n}\"}}");
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/a", &value(1))]);
    let mut after = |change| {
        mirror.apply_event(SourceId::Etcd, Event::Changed(vec![change], None));
        mirror.publish();
        hosts(&mirror, "a.t.").join(" ")
    };
    assert_eq!(after(put("/skydns/t/A", &value(2))), "V4(10.0.0.1) V4(10.0.0.2)");
    assert_eq!(after(put("/skydns/t/A", "[]")), "V4(10.0.0.1)", "what cannot be served removes itself alone");
    assert_eq!(after(put("/skydns/t/A", &value(3))), "V4(10.0.0.1) V4(10.0.0.3)");
    assert_eq!(after(put("/skydns/t/a", &value(4))), "V4(10.0.0.4) V4(10.0.0.3)");
    assert_eq!(after(delete("/skydns/t/a")), "V4(10.0.0.3)");
    assert_eq!(after(put("/skydns/t/a", &value(5))), "V4(10.0.0.5) V4(10.0.0.3)");
    assert_eq!(after(delete("/skydns/t/A")), "V4(10.0.0.5)");
    assert_eq!(after(delete("/skydns/t/A")), "V4(10.0.0.5)");
    assert_eq!(after(delete("/skydns/t/a")), "");
    let mut mirror = self::mirror();
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/A", &value(1)), put("/skydns/t/a", &value(2))]);
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/A", &value(1))]);
    assert_eq!(hosts(&mirror, "a.t."), ["V4(10.0.0.1)"]);
    listing(&mut mirror, SourceId::Files, vec![put("/skydns/t/a", &value(9))]);
    assert_eq!(hosts(&mirror, "a.t."), ["V4(10.0.0.9)"], "the file has the name");
}

#[test]
fn the_configuration_of_the_higher_source_is_used() {
    let mut mirror = mirror();
    let config = |mirror: &Mirror| mirror.handle().status().borrow().config();
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/config", "{\"ttl\":1}")]);
    assert_eq!(config(&mirror), Some((SourceId::Etcd, b"{\"ttl\":1}".to_vec())));
    mirror.apply_event(SourceId::Files, Event::Changed(vec![put("/skydns/config", "{}")], None));
    mirror.publish();
    assert_eq!(config(&mirror), Some((SourceId::Files, b"{}".to_vec())));
    mirror.apply_event(SourceId::Files, Event::Changed(vec![delete("/skydns/config")], None));
    mirror.publish();
    assert_eq!(config(&mirror).map(|(id, _)| id), Some(SourceId::Etcd));
}

/// Restores a snapshot of two services, in two parts, with an event of the store between them.
#[test]
fn a_panic_over_one_entry_costs_that_entry() {
    let mut mirror = mirror();
    let fault = std::str::from_utf8(FAULT).expect("text");
    let good = put("/skydns/t/b", r#"{"host":"10.0.0.2"}"#);
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/a", fault), good]);
    assert_eq!(hosts(&mirror, "t."), ["V4(10.0.0.2)"]);
    mirror.apply_event(SourceId::Etcd, Event::Changed(vec![put("/skydns/t/b", fault)], None));
    mirror.publish();
    assert!(hosts(&mirror, "t.").is_empty());
    assert_eq!(mirror.writer.refusals().count(), 2);
}

#[test]
fn refusals_of_one_tenant_hide_none_of_another() {
    let mut mirror = mirror();
    let many = (0..10_100).map(|n| put(&format!("/skydns/local/skydns/many/{n}"), "["));
    let all = many.chain([put("/skydns/local/skydns/few/a", "[")]).collect();
    listing(&mut mirror, SourceId::Etcd, all);
    let listed = mirror.writer.refusals().all();
    assert!(listed.iter().any(|refusal| refusal.key == "/skydns/local/skydns/few/a"), "{}", listed.len());
    assert_eq!(mirror.writer.refusals().take_unlogged(), 10_090);
    mirror.apply_event(SourceId::Etcd, Event::Changed(vec![delete("/skydns/local/skydns/few/a")], None));
    assert!(mirror.writer.refusals().all().iter().all(|refusal| refusal.key.contains("/many/")));
}

#[test]
fn a_listing_that_may_be_old_is_served_as_stale_unless_the_snapshot_is_newer() {
    let listed = |revision| {
        let change = put("/skydns/t/a", r#"{"host":"10.0.0.9"}"#);
        let reason = "no quorum".to_owned();
        [
            Event::ListBegin,
            Event::Listed(vec![change]),
            Event::StaleListEnd { revision: Some(revision), reason },
        ]
    };
    let take = |mirror: &mut Mirror, events: [Event; 3]| {
        for event in events {
            mirror.apply_event(SourceId::Etcd, event);
        }
        mirror.publish();
    };
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Files, vec![]);
    take(&mut mirror, listed(7));
    assert_eq!(hosts(&mirror, "a.t."), ["V4(10.0.0.9)"]);
    assert_eq!(mirror.handle().published().freshness, SiteFreshness::from(Freshness::Stale));
    let status = mirror.handle().status().borrow().clone();
    let synced = SourceState::NAMES.iter().position(|name| *name == "synced").expect("a state");
    assert_eq!(status.changes[&SourceId::Etcd][synced], 0, "it never was in sync");
    let from = ServedFrom::Listing { revision: Some(7) };
    assert!(matches!(&status.sources[&SourceId::Etcd], SourceState::Unreachable { reason, served_from, .. }
            if reason == "no quorum" && *served_from == from));
    for (revision, expected) in [(41, "V4(10.0.0.1)"), (42, "V4(10.0.0.9)")] {
        let mut mirror = self::mirror();
        listing(&mut mirror, SourceId::Files, vec![]);
        snapshot::restore(&mut mirror, vec![], None);
        mirror.sources.get_mut(&SourceId::Etcd).expect("a source").restored_revision = Some(42);
        take(&mut mirror, listed(revision));
        assert_eq!(hosts(&mirror, "a.t."), [expected], "{revision}");
        assert_eq!(mirror.handle().published().freshness, SiteFreshness::from(Freshness::Stale));
    }
}

fn change(mirror: &mut Mirror, changes: Vec<Change>) {
    mirror.apply_event(SourceId::Etcd, Event::Changed(changes, None));
    mirror.publish();
}

/// The puts of a store that has its own way to name things: a name has any number of its entries.
#[test]
fn a_source_gives_a_name_several_services_of_its_own_making() {
    let of = |id: &str, host: &str| {
        let service = Service::from_json(format!(r#"{{"host":"{host}"}}"#).as_bytes()).expect("a service");
        let key = Key::from_name(&Name::from_ascii("web.default.t.").expect("a name"));
        let spelling = Spelling::Other(id.as_bytes().to_vec());
        let served = ServedKey { key, spelling };
        let put = Put { served: served.clone(), service, lease: None, warning: None };
        (served, Change { key: format!("slice/{id}").into_bytes(), news: News::Put(put) })
    };
    let (one, two) = (of("x1", "10.0.0.1"), of("x2", "10.0.0.2"));
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Etcd, vec![two.1, one.1.clone()]);
    assert_eq!(hosts(&mirror, "web.default.t."), ["V4(10.0.0.1)", "V4(10.0.0.2)"]);
    change(&mut mirror, vec![Change { key: b"slice/x1".to_vec(), news: News::Gone(Some(one.0.clone())) }]);
    assert_eq!(hosts(&mirror, "web.default.t."), ["V4(10.0.0.2)"]);
    change(&mut mirror, vec![one.1]);
    let reason = "no address".to_owned();
    let news = News::Refused { served: Some(one.0), reason };
    change(&mut mirror, vec![Change { key: b"slice/x1".to_vec(), news }]);
    assert_eq!(hosts(&mirror, "web.default.t."), ["V4(10.0.0.2)"]);
    let refused: Vec<_> = mirror.writer.refusals().all().into_iter().map(|r| (r.key, r.reason)).collect();
    assert_eq!(refused, [("slice/x1".to_owned(), "no address".to_owned())]);
}
