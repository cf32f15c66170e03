//! Sources that are not used.

use super::*;

const VALUE: &str = r#"{"host":"10.0.0.1"}"#;

fn two_apis(v2_is_required: bool) -> Mirror {
    let sources = [(SourceId::EtcdV2, v2_is_required), (SourceId::Etcd, true)];
    Mirror::new(Keyspace::new("skydns"), &sources, &Publisher::new())
}

fn freshness(mirror: &Mirror) -> Freshness {
    mirror.handle().published().freshness.outside()
}

fn state(mirror: &Mirror) -> SourceState {
    mirror.handle().status().borrow().sources[&SourceId::EtcdV2].clone()
}

fn apply(mirror: &mut Mirror, id: SourceId, event: Event) {
    mirror.apply_event(id, event);
    mirror.publish();
}

fn unused(reason: &str) -> Event {
    Event::Unused { reason: reason.to_owned(), is_refused: false }
}

#[test]
fn a_source_that_is_needed_is_waited_for_and_one_that_is_not_used_is_not() {
    let mut mirror = two_apis(false);
    apply(&mut mirror, SourceId::EtcdV2, Event::Needed);
    listing(&mut mirror, SourceId::Etcd, vec![]);
    assert_eq!(freshness(&mirror), Freshness::Incomplete);
    apply(&mut mirror, SourceId::EtcdV2, unused("off"));
    assert_eq!(freshness(&mirror), Freshness::Current);
    // That it cannot be reached either changes nothing.
    apply(&mut mirror, SourceId::EtcdV2, Event::Unreachable("refused".to_owned()));
    assert_eq!(
        (freshness(&mirror), state(&mirror)),
        (Freshness::Current, SourceState::Unused { reason: "off".to_owned(), is_refused: false })
    );
    assert!(mirror.handle().status().borrow().optional.contains(&SourceId::EtcdV2));
    // It is there after all.
    listing(&mut mirror, SourceId::EtcdV2, vec![put("/skydns/t/a", VALUE)]);
    assert_eq!(hosts(&mirror, "a.t.").len(), 1);
    assert!(matches!(state(&mirror), SourceState::Synced { .. }));
}

#[test]
fn what_is_left_of_a_source_stays_until_another_one_has_it() {
    let mut mirror = two_apis(true);
    listing(
        &mut mirror,
        SourceId::EtcdV2,
        ["a", "b", "c"].map(|name| put(&format!("/skydns/t/{name}"), VALUE)).into(),
    );
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/a", r#"{"host":"10.0.0.2"}"#)]);
    apply(&mut mirror, SourceId::EtcdV2, unused("off"));
    assert_eq!(freshness(&mirror), Freshness::Stale);
    assert_eq!(mirror.handle().status().borrow().names, 3);
    // What v3 had is that of v3 alone, also when v3 gives it up.
    apply(&mut mirror, SourceId::Etcd, Event::Changed(vec![delete("/skydns/t/a")], None));
    assert_eq!(mirror.handle().status().borrow().names, 2);
    apply(
        &mut mirror,
        SourceId::Etcd,
        Event::Changed(vec![put("/skydns/t/b", VALUE), delete("/skydns/t/b")], None),
    );
    assert_eq!(mirror.handle().status().borrow().names, 1);
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/t/c", VALUE)]);
    assert_eq!(
        (freshness(&mirror), state(&mirror)),
        (
            Freshness::Current,
            SourceState::Unused { reason: "nothing is left of it".to_owned(), is_refused: false }
        )
    );
}

#[test]
fn a_source_that_is_back_keeps_its_keys() {
    let mut mirror = two_apis(true);
    listing(&mut mirror, SourceId::EtcdV2, vec![put("/skydns/t/a", VALUE)]);
    listing(&mut mirror, SourceId::Etcd, vec![]);
    apply(&mut mirror, SourceId::EtcdV2, unused("off"));
    listing(&mut mirror, SourceId::EtcdV2, vec![put("/skydns/t/a", VALUE)]);
    let changes = vec![put("/skydns/t/a", VALUE), delete("/skydns/t/a")];
    apply(&mut mirror, SourceId::Etcd, Event::Changed(changes, None));
    assert_eq!(hosts(&mirror, "a.t.").len(), 1);
}
