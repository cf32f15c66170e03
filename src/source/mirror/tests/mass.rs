//! Many names that go at once.

use super::held::wait;
use super::*;
use crate::answer::MassHold;
use crate::clock::steady_time;
use crate::source::state::{HeldNames, LossCause};

pub(super) const HOLD: MassHold = MassHold { percent: 30, time: Duration::from_secs(300) };

fn key(n: usize) -> String {
    format!("/skydns/test/sub/n{n}")
}

fn puts(numbers: std::ops::Range<usize>) -> Vec<Change> {
    numbers.map(|n| put(&key(n), &format!(r#"{{"host":"10.0.0.{n}"}}"#))).collect()
}

fn deletes(numbers: std::ops::Range<usize>) -> Vec<Change> {
    numbers.map(|n| delete(&key(n))).collect()
}

/// A mirror with 100 names in `sub.test.`, of which it may lose 30, and one name in another zone.
pub(super) fn mirror() -> Mirror {
    mirror_of(100)
}

pub(super) fn mirror_of(names: usize) -> Mirror {
    let mut mirror = super::mirror();
    let mut site = Site::clone(&site(&["sub.test.", "other.test."]));
    site.zones.iter_mut().for_each(|zone| zone.hold_mass_deletion = HOLD);
    set_zones(&mut mirror, &Arc::new(site));
    let other = put("/skydns/test/other/a", r#"{"host":"10.0.1.1"}"#);
    listing(&mut mirror, SourceId::Etcd, puts(0..names).into_iter().chain([other]).collect());
    mirror
}

pub(super) fn names(mirror: &Mirror) -> usize {
    mirror.handle().published().tree.names()
}

/// What the status says of names that are served on, without the time.
pub(super) fn held(mirror: &Mirror) -> Vec<(Option<String>, LossCause, usize, usize)> {
    let status = mirror.handle().status().borrow().clone();
    let held = |held: HeldNames| (held.zone, held.cause, held.names, held.of);
    status.held.into_iter().map(held).collect()
}

fn of_sub(cause: LossCause, names: usize) -> [(Option<String>, LossCause, usize, usize); 1] {
    [(Some("sub.test.".to_owned()), cause, names, 100)]
}

pub(super) fn let_due_go(mirror: &mut Mirror, after: Duration) {
    mirror.let_due_go(Instant::now() + after);
    mirror.publish();
}

/// How many entries of the tree are served on.
pub(super) fn marked(mirror: &Mirror) -> usize {
    marked_of(mirror, SourceId::Etcd)
}

fn marked_of(mirror: &Mirror, id: SourceId) -> usize {
    let mut marked = 0;
    mirror.handle().published().tree.entries(id.layer(), |_, entries| {
        marked += entries.iter().filter(|present| present.entry.is_held()).count();
        std::ops::ControlFlow::Continue(())
    });
    marked
}

#[test]
fn too_many_deletions_are_served_on_until_the_time_is_over() {
    let mut mirror = mirror();
    change(&mut mirror, deletes(0..40));
    wait(&mut mirror);
    assert_eq!((names(&mirror), marked(&mirror)), (101, 40), "none is gone, not even the first 30");
    assert_eq!(held(&mirror), of_sub(LossCause::Deleted, 40));
    assert_eq!(mirror.handle().status().borrow().mass_losses, [1, 0]);
    // What follows is served on as well, and to the same end.
    change(&mut mirror, deletes(40..45));
    change(&mut mirror, deletes(0..2));
    assert_eq!(held(&mirror), of_sub(LossCause::Deleted, 45));
    let_due_go(&mut mirror, HOLD.time - Duration::from_secs(1));
    assert_eq!(names(&mirror), 101);
    let_due_go(&mut mirror, HOLD.time + Duration::from_secs(1));
    assert_eq!((names(&mirror), marked(&mirror), held(&mirror).len()), (56, 0, 0));
}

#[test]
fn a_deletion_within_the_limit_goes_through() {
    for (zone, deleted) in [(100, 30), (20, 19)] {
        let mut mirror = mirror_of(zone);
        change(&mut mirror, deletes(0..deleted));
        wait(&mut mirror);
        assert_eq!((names(&mirror), held(&mirror).len()), (zone - deleted + 1, 0), "{deleted} of {zone}");
    }
}

#[test]
fn slices_add_up_within_the_window_and_not_beyond_it() {
    let mut mirror = mirror();
    for slice in 0..6 {
        change(&mut mirror, deletes(slice * 5..slice * 5 + 5));
        wait(&mut mirror);
    }
    assert_eq!(names(&mirror), 71, "30 are gone");
    change(&mut mirror, deletes(30..31));
    wait(&mut mirror);
    assert_eq!((names(&mirror), marked(&mirror)), (101, 31), "they are back, with one more");

    let mut mirror = self::mirror();
    change(&mut mirror, deletes(0..30));
    wait(&mut mirror);
    let_due_go(&mut mirror, losses::WINDOW + Duration::from_millis(1));
    assert!(mirror.next_due().is_none(), "nothing is kept of it");
    change(&mut mirror, deletes(30..50));
    wait(&mut mirror);
    assert_eq!((names(&mirror), held(&mirror).len()), (51, 0), "20 of 70 is within the limit");
}

#[test]
fn what_comes_back_is_served_as_ever() {
    let mut mirror = mirror();
    change(&mut mirror, deletes(0..50));
    change(&mut mirror, puts(0..20));
    assert_eq!((names(&mirror), marked(&mirror)), (101, 30));
    // A listing decides for what it has.
    let listed = puts(0..40).into_iter().chain(puts(60..100));
    listing(&mut mirror, SourceId::Etcd, listed.chain([put("/skydns/test/other/a", "{}")]).collect());
    assert_eq!(held(&mirror), of_sub(LossCause::Deleted, 20));
    change(&mut mirror, puts(40..60));
    assert_eq!((names(&mirror), marked(&mirror), held(&mirror).len()), (101, 0, 0));
    // Names that go and come again are not lost.
    for _ in 0..10 {
        change(&mut mirror, deletes(0..20));
        change(&mut mirror, puts(0..20));
    }
    wait(&mut mirror);
    assert_eq!((names(&mirror), held(&mirror).len()), (101, 0));
}

#[test]
fn an_empty_listing_is_a_mass_deletion() {
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Etcd, vec![]);
    assert_eq!((names(&mirror), marked(&mirror)), (100, 100), "the other zone had one name");
    listing(&mut mirror, SourceId::Etcd, vec![]);
    assert_eq!(held(&mirror), of_sub(LossCause::Deleted, 100), "the same again is no news");
    mirror.accept(Instant::now(), "test");
    mirror.publish();
    assert_eq!((names(&mirror), held(&mirror).len()), (0, 0));
}

#[test]
fn an_accepted_deletion_goes_on() {
    let mut mirror = mirror();
    change(&mut mirror, deletes(0..40));
    change(&mut mirror, vec![put("/skydns/accept", "")]);
    assert_eq!((names(&mirror), held(&mirror).len()), (61, 0));
    change(&mut mirror, deletes(40..100));
    wait(&mut mirror);
    assert_eq!((names(&mirror), held(&mirror).len()), (1, 0), "the rest of the same command");
}

#[test]
fn a_listing_has_what_was_accepted_since_the_last_one() {
    for (accepted, left) in [(7, 100), (8, 0)] {
        let mut mirror = mirror();
        mirror.source(SourceId::Etcd, |source| source.synced(Some(7)));
        let mut accept = put("/skydns/accept", "");
        accept.news = News::Accepted(Some(accepted));
        listing(&mut mirror, SourceId::Etcd, vec![accept]);
        assert_eq!(names(&mirror), left, "{accepted}");
    }
}

#[test]
fn leases_that_end_are_counted_apart() {
    let mut mirror = mirror();
    let lease = |end| {
        let lease = Arc::new(Lease::new(7));
        lease.set_end(end);
        lease
    };
    let leased = |numbers: std::ops::Range<usize>, end| {
        let lease = lease(end);
        let mut changes = puts(numbers);
        for change in &mut changes {
            let News::Put(put) = &mut change.news else { panic!("{change:?}") };
            put.lease = Some(Arc::clone(&lease));
        }
        changes
    };
    change(&mut mirror, leased(0..25, steady_time()));
    change(&mut mirror, leased(25..50, steady_time() + 600));
    change(&mut mirror, deletes(0..50));
    wait(&mut mirror);
    assert_eq!((names(&mirror), held(&mirror).len()), (51, 0), "25 and 25 of 100");
    change(&mut mirror, leased(50..76, steady_time()));
    change(&mut mirror, deletes(50..76));
    assert_eq!(held(&mirror), of_sub(LossCause::LeaseEnded, 51), "the first 25 are back");
    assert_eq!(mirror.handle().status().borrow().mass_losses, [0, 1]);
}

#[test]
fn values_that_cannot_be_served_are_losses() {
    let mut mirror = mirror();
    change(&mut mirror, (0..40).map(|n| put(&key(n), "{")).collect());
    assert_eq!(held(&mirror), of_sub(LossCause::Deleted, 40));
    change(&mut mirror, puts(0..40));
    assert_eq!((marked(&mirror), held(&mirror).len()), (0, 0));
}

#[test]
fn a_name_that_another_source_has_is_not_lost() {
    let mut mirror = mirror();
    listing(&mut mirror, SourceId::Files, puts(0..40));
    change(&mut mirror, deletes(0..40));
    wait(&mut mirror);
    assert_eq!((names(&mirror), held(&mirror).len()), (101, 0));
    assert_eq!(
        mirror
            .handle()
            .published()
            .tree
            .entries_at(&Key::from_name(&name("n1.sub.test.")), SourceId::Etcd.layer())
            .len(),
        0
    );
}

#[test]
fn keys_with_several_spellings_are_one_name() {
    let mut mirror = mirror();
    let upper = |n: usize| key(n).to_uppercase().replace("/SKYDNS", "/skydns");
    change(&mut mirror, (0..40).map(|n| put(&upper(n), r#"{"host":"10.0.2.2"}"#)).collect());
    change(&mut mirror, deletes(0..40));
    wait(&mut mirror);
    assert_eq!((names(&mirror), held(&mirror).len()), (101, 0), "the other spelling is left");
    change(&mut mirror, (0..40).map(|n| delete(&upper(n))).collect());
    wait(&mut mirror);
    assert_eq!(held(&mirror), of_sub(LossCause::Deleted, 40));
    assert_eq!(hosts(&mirror, "n1.sub.test."), ["V4(10.0.2.2)"]);
    change(&mut mirror, vec![put(&upper(1), r#"{"host":"10.0.2.3"}"#)]);
    assert_eq!(hosts(&mirror, "n1.sub.test."), ["V4(10.0.2.3)"]);
    change(&mut mirror, vec![delete(&upper(2))]);
    assert_eq!(
        (held(&mirror), hosts(&mirror, "n2.sub.test.").len()),
        (of_sub(LossCause::Deleted, 39).into(), 1)
    );
}

#[test]
fn the_setting_and_the_zone_may_go() {
    let mut mirror = mirror();
    change(&mut mirror, deletes(0..40));
    let mut other = Site::clone(mirror.site.as_ref().expect("a site"));
    other.zones.first_mut().hold_mass_deletion = MassHold::default();
    mirror.let_unwanted_go(&other);
    mirror.publish();
    assert_eq!((names(&mirror), held(&mirror).len()), (61, 0));

    let mut mirror = self::mirror();
    change(&mut mirror, deletes(0..40));
    mirror.let_unwanted_go(&site(&["other.test."]));
    mirror.publish();
    assert_eq!((names(&mirror), held(&mirror).len()), (61, 0));
}

#[test]
fn the_configuration_goes_after_the_names_that_it_holds() {
    let mut mirror = mirror();
    let config = |mirror: &Mirror| mirror.handle().status().borrow().config().is_some();
    change(&mut mirror, vec![put("/skydns/config", "{}")]);
    change(&mut mirror, vec![delete("/skydns/config")]);
    change(&mut mirror, deletes(0..50));
    wait(&mut mirror);
    let_due_go(&mut mirror, losses::WINDOW + Duration::from_secs(1));
    assert!(config(&mirror), "names are served on");
    let_due_go(&mut mirror, HOLD.time + Duration::from_secs(1));
    assert!(!config(&mirror));
    // A removal alone.
    change(&mut mirror, vec![put("/skydns/config", "{}")]);
    change(&mut mirror, vec![delete("/skydns/config")]);
    assert!(config(&mirror) && mirror.next_due().is_some());
    let_due_go(&mut mirror, losses::WINDOW + Duration::from_secs(1));
    assert!(!config(&mirror) && mirror.next_due().is_none());
    // One that is taken back.
    change(
        &mut mirror,
        vec![put("/skydns/config", "{}"), delete("/skydns/config"), put("/skydns/config", "{}")],
    );
    let_due_go(&mut mirror, losses::WINDOW + Duration::from_secs(1));
    assert!(config(&mirror));
}

#[test]
fn what_a_listing_has_is_not_lost() {
    let mut mirror = mirror();
    change(&mut mirror, deletes(0..25));
    // They are back by the time of the listing, and others are gone.
    let other = || put("/skydns/test/other/a", r#"{"host":"10.0.1.1"}"#);
    listing(&mut mirror, SourceId::Etcd, puts(0..90).into_iter().chain([other()]).collect());
    assert_eq!((names(&mirror), held(&mirror).len()), (91, 0));
    wait(&mut mirror);
    // A deletion that waits takes place while a listing comes in that has the key.
    change(&mut mirror, deletes(0..1));
    mirror.apply_event(SourceId::Etcd, Event::ListBegin);
    mirror.apply_event(SourceId::Etcd, Event::Listed(puts(0..90).into_iter().chain([other()]).collect()));
    wait(&mut mirror);
    mirror.apply_event(SourceId::Etcd, Event::ListEnd(None));
    mirror.publish();
    assert_eq!((names(&mirror), held(&mirror).len()), (91, 0));
}

#[test]
fn what_another_source_puts_is_served() {
    let mut mirror = mirror();
    listing(
        &mut mirror,
        SourceId::Files,
        (0..50).map(|n| put(&format!("/skydns/test/sub/f{n}"), "{}")).collect(),
    );
    listing(&mut mirror, SourceId::Files, vec![]);
    assert_eq!(marked_of(&mirror, SourceId::Files), 50);
    change(&mut mirror, vec![put("/skydns/test/sub/f1", r#"{"host":"10.0.9.9"}"#)]);
    assert_eq!(hosts(&mirror, "f1.sub.test."), ["V4(10.0.9.9)"]);
    assert_eq!(marked_of(&mirror, SourceId::Files), 49);
}

#[test]
fn a_key_that_says_so_once_more_accepts_nothing() {
    let mut mirror = mirror();
    let accepted = |revision| {
        let mut accept = put("/skydns/accept", "");
        accept.news = News::Accepted(Some(revision));
        accept
    };
    mirror.source(SourceId::Etcd, |source| source.synced(Some(500)));
    mirror.apply_event(SourceId::Etcd, Event::ListBegin);
    mirror.apply_event(SourceId::Etcd, Event::Listed(vec![accepted(8)]));
    mirror.apply_event(SourceId::Etcd, Event::ListEnd(Some(8)));
    change(&mut mirror, vec![accepted(8)]);
    assert_eq!(names(&mirror), 100, "the watch begins with the listed revision");
    change(&mut mirror, vec![accepted(9)]);
    assert_eq!(names(&mirror), 0);
}

#[test]
fn the_share_is_that_of_the_names_that_there_are() {
    let mut mirror = mirror_of(20);
    change(&mut mirror, deletes(0..1));
    change(&mut mirror, puts(0..100));
    change(&mut mirror, deletes(0..30));
    wait(&mut mirror);
    assert_eq!((names(&mirror), held(&mirror).len()), (71, 0), "30 of 100");
    let_due_go(&mut mirror, losses::WINDOW + Duration::from_millis(1));
    // Names that are served on are none that could be lost.
    let lease = Arc::new(Lease::new(7));
    lease.set_end(steady_time());
    let mut leased = puts(30..80);
    for change in &mut leased {
        let News::Put(put) = &mut change.news else { panic!("{change:?}") };
        put.lease = Some(Arc::clone(&lease));
    }
    change(&mut mirror, leased);
    change(&mut mirror, deletes(30..80));
    change(&mut mirror, puts(0..20));
    change(&mut mirror, deletes(0..20));
    let causes: Vec<_> = held(&mirror).into_iter().map(|(_, cause, names, of)| (cause, names, of)).collect();
    assert_eq!(causes, [(LossCause::Deleted, 20, 40), (LossCause::LeaseEnded, 50, 70)]);
}

#[test]
fn spellings_that_go_together_are_one_name() {
    let mut mirror = mirror();
    let upper = |n: usize| key(n).to_uppercase().replace("/SKYDNS", "/skydns");
    change(&mut mirror, (0..40).map(|n| put(&upper(n), r#"{"host":"2001:db8::1"}"#)).collect());
    change(&mut mirror, (0..40).flat_map(|n| [delete(&upper(n)), delete(&key(n))]).collect());
    wait(&mut mirror);
    assert!(names(&mirror) >= 71 && marked(&mirror) > 0, "{} {}", names(&mirror), marked(&mirror));
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}
