//! What settings of zones change beside what is read.

use super::*;

#[test]
fn a_wildcard_is_odd_only_where_questions_have_them() {
    let mut mirror = mirror();
    let mut zones = Site::clone(&site(&["sub.test.", "other.test."]));
    zones.zones.iter_mut().next().expect("a zone").mode = Mode::Exact;
    set_zones(&mut mirror, &Arc::new(zones));
    let keys = ["/skydns/test/sub/*/a", "/skydns/test/other/*/a", "/skydns/test/sub/Big"];
    let odd = |mirror: &Mirror| mirror.writer.refusals().all().len();
    listing(&mut mirror, SourceId::Etcd, keys.map(|key| put(key, "{}")).into());
    assert_eq!(odd(&mirror), 2);
    change(&mut mirror, keys.map(|key| put(key, r#"{"ttl":5}"#)).into());
    assert_eq!(odd(&mirror), 2);
}

#[test]
fn settings_that_change_the_records_of_a_zone_change_its_serial() {
    let mut mirror = mirror();
    let domains = ["sub.test.", "10.in-addr.arpa.", "other.test."];
    let serials = |mirror: &Mirror| {
        let tree = mirror.handle().published().tree.clone();
        domains.map(|domain| tree.serial_of(Zone::new(&Name::from_ascii(domain).expect("a name")).apex()))
    };
    let before = site(&domains);
    set_zones(&mut mirror, &before);
    listing(&mut mirror, SourceId::Etcd, vec![put("/skydns/test/sub/a", "{}")]);
    let changed = |mirror: &mut Mirror, site: &Arc<Site>| {
        let before = serials(mirror);
        std::thread::sleep(Duration::from_millis(1_100));
        set_zones(mirror, site);
        let after = serials(mirror);
        [0, 1, 2].map(|zone| after[zone] > before[zone])
    };
    let with = |change: &dyn Fn(&mut Zone)| {
        let mut site = Site::clone(&before);
        change(site.zones.iter_mut().next().expect("a zone"));
        Arc::new(site)
    };
    assert_eq!(changed(&mut mirror, &with(&|zone| zone.hold_deletions = Duration::ZERO)), [false; 3]);
    assert_eq!(changed(&mut mirror, &with(&|zone| zone.ttl = 99)), [true, false, false]);
    assert_eq!(changed(&mut mirror, &with(&|zone| zone.auto_ptr = true)), [true, true, false]);
    let contact = |zone: &mut Zone| {
        zone.auto_ptr = true;
        zone.hostmaster = Name::from_ascii("other.test.").expect("a name");
    };
    assert_eq!(changed(&mut mirror, &with(&contact)), [true, false, false], "no pointer is another by this");
    let pointers = |zone: &mut Zone| {
        contact(zone);
        zone.ttl = 98;
    };
    assert_eq!(changed(&mut mirror, &with(&pointers)), [true, true, false]);
    let inner = site(&["sub.test.", "10.in-addr.arpa.", "other.test.", "in.sub.test."]);
    assert_eq!(
        changed(&mut mirror, &inner),
        [true, true, false],
        "a zone ends at another, and has no pointers"
    );
    let mut other = Site::clone(&inner);
    other.priority += 1;
    assert_eq!(changed(&mut mirror, &Arc::new(other)), [true; 3], "a setting of the site");
}
