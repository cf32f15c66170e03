//! How fresh each zone is.

use super::*;

fn freshness_of_zones(mirror: &Mirror, site: &Site) -> Vec<Freshness> {
    let freshness = mirror.handle().published().freshness.clone();
    site.zones.iter().map(|zone| freshness.of(zone)).chain([freshness.outside()]).collect()
}

#[test]
fn a_store_that_is_away_touches_only_the_zones_that_it_feeds() {
    use Freshness::{Current, Incomplete, Stale};
    let (mut mirror, site) = (mirror(), site(&["a.test.", "b.test.", "x.b.test."]));
    set_zones(&mut mirror, &site);
    listing(&mut mirror, SourceId::Files, vec![put("/skydns/test/a/f", r#"{"host":"10.0.0.9"}"#)]);
    assert_eq!(freshness_of_zones(&mirror, &site), [Incomplete; 4], "etcd may have names anywhere");
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/test/b/e", r#"{"host":"10.0.0.1"}"#)]);
    assert_eq!(freshness_of_zones(&mirror, &site), [Current; 4]);
    mirror.apply_event(SourceId::Etcd, Event::Unreachable("refused".into()));
    mirror.publish();
    assert_eq!(freshness_of_zones(&mirror, &site), [Current, Stale, Current, Stale]);
    let wider = self::site(&["a.test.", "test."]);
    set_zones(&mut mirror, &wider);
    assert_eq!(freshness_of_zones(&mirror, &wider), [Current, Stale, Stale], "the zones are others now");
    listing(&mut mirror, SourceId::Etcd, vec![]);
    assert_eq!(freshness_of_zones(&mirror, &wider), [Current; 3]);
}

#[test]
fn a_source_that_was_never_read_leaves_the_zones_of_others_alone() {
    use Freshness::{Current, Incomplete};
    let (mut mirror, site) = (mirror(), site(&["a.test.", "b.test."]));
    let only_b = site.zones.iter().skip(1).map(|zone| zone.apex().clone()).collect();
    mirror.source(SourceId::Etcd, |source| source.feeds = Some(only_b));
    set_zones(&mut mirror, &site);
    listing(&mut mirror, SourceId::Files, vec![]);
    assert_eq!(freshness_of_zones(&mirror, &site), [Current, Incomplete, Current]);
}
