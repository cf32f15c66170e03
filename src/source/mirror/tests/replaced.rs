//! Keys that take the place of others.

use super::held::wait;
use super::mass::{HOLD, held, marked, mirror_of, names};
use super::*;

fn key(name: usize, label: &str) -> String {
    format!("/skydns/test/sub/n{name}/{label}")
}

fn puts(names: std::ops::Range<usize>, label: &str) -> Vec<Change> {
    names.map(|n| put(&key(n, label), &format!(r#"{{"host":"10.0.0.{n}"}}"#))).collect()
}

fn deletes(names: std::ops::Range<usize>, label: &str) -> Vec<Change> {
    names.map(|n| delete(&key(n, label))).collect()
}

/// A mirror with one key for each of 100 names, which change with random labels.
fn mirror() -> Mirror {
    let mut mirror = mirror_of(0);
    let other = put("/skydns/test/other/a", r#"{"host":"10.0.1.1"}"#);
    listing(&mut mirror, SourceId::Etcd, puts(0..100, "a").into_iter().chain([other]).collect());
    mirror
}

#[test]
fn names_that_change_are_not_lost_whatever_the_order() {
    for puts_first in [false, true] {
        let mut mirror = mirror();
        // Also more than once within the time in which losses are counted together.
        for (before, after) in [("a", "x"), ("x", "y"), ("y", "b")] {
            for n in 0..100 {
                let (delete, put) = (deletes(n..n + 1, before), puts(n..n + 1, after));
                let (first, second) = if puts_first { (put, delete) } else { (delete, put) };
                change(&mut mirror, first);
                change(&mut mirror, second);
            }
        }
        wait(&mut mirror);
        assert_eq!((names(&mirror), marked(&mirror), held(&mirror).len()), (101, 0, 0));
        assert_eq!(mirror.handle().status().borrow().mass_losses, [0, 0]);
        // Those that came are lost like any other.
        change(&mut mirror, deletes(0..100, "b"));
        assert_eq!((names(&mirror), marked(&mirror)), (101, 100));
    }
}

#[test]
fn what_takes_a_place_ends_what_was_served_on() {
    let mut mirror = mirror();
    change(&mut mirror, deletes(0..60, "a"));
    assert_eq!(marked(&mirror), 60);
    change(&mut mirror, puts(0..59, "b"));
    assert_eq!((names(&mirror), marked(&mirror)), (101, 1), "each name has its new key alone");
    change(&mut mirror, puts(59..60, "b"));
    assert_eq!((names(&mirror), marked(&mirror), held(&mirror).len()), (101, 0, 0));
    wait(&mut mirror);
    assert_eq!(names(&mirror), 101);
}

#[test]
fn a_pool_is_replaced_and_what_was_not_is_held() {
    let pool = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers
            .map(|n| put(&format!("/skydns/test/sub/web/c{n:03}"), &format!(r#"{{"host":"10.0.2.{n}"}}"#)))
            .collect()
    };
    let gone = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers.map(|n| delete(&format!("/skydns/test/sub/web/c{n:03}"))).collect()
    };
    let mut mirror = mirror_of(0);
    listing(&mut mirror, SourceId::Etcd, pool(0..60));
    change(&mut mirror, pool(60..120));
    change(&mut mirror, gone(0..60));
    wait(&mut mirror);
    assert_eq!((names(&mirror), marked(&mirror)), (60, 0));
    change(&mut mirror, pool(120..130));
    change(&mut mirror, gone(60..130));
    wait(&mut mirror);
    assert_eq!(
        (names(&mirror), marked(&mirror)),
        (60, 60),
        "ten had their places taken, by ten that are lost"
    );
    // A listing has what is new and what is missing at once.
    let mut mirror = mirror_of(0);
    listing(&mut mirror, SourceId::Etcd, pool(0..70));
    listing(&mut mirror, SourceId::Etcd, pool(100..160));
    assert_eq!((names(&mirror), marked(&mirror)), (60, 0));
    assert_eq!(mirror.handle().status().borrow().mass_losses, [0, 0]);
}

#[test]
fn a_second_mass_deletion_has_its_full_time() {
    let mut mirror = mirror();
    let begun = Instant::now();
    let delete = |mirror: &mut Mirror, numbers, at| {
        deletes(numbers, "a").into_iter().for_each(|change| mirror.apply(SourceId::Etcd, change, begun + at));
        mirror.publish();
        let status = mirror.handle().status().borrow().clone();
        (status.mass_losses[0], status.held[0].until)
    };
    let seconds = Duration::from_secs;
    let (_, first) = delete(&mut mirror, 0..40, seconds(0));
    std::thread::sleep(Duration::from_millis(2));
    let (times, second) = delete(&mut mirror, 40..45, seconds(9));
    assert!(times == 1 && second > first, "it belongs to the first");
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(delete(&mut mirror, 45..50, seconds(20)), (1, second), "a few that follow have the same end");
    let (times, last) = delete(&mut mirror, 50..100, seconds(25));
    assert!(times == 2 && last > second, "too many have their full time");
    assert_eq!(marked(&mirror), 100);
    mirror.let_due_go(begun + seconds(25) + HOLD.time - seconds(1));
    assert_eq!(names(&mirror), 101);
    mirror.let_due_go(begun + seconds(26) + HOLD.time);
    mirror.publish();
    assert_eq!((names(&mirror), marked(&mirror), held(&mirror).len()), (1, 0, 0));
}

#[test]
fn new_keys_that_are_lost_at_once_take_no_places() {
    let mut mirror = mirror_of(0);
    let other = put("/skydns/test/other/a", r#"{"host":"10.0.1.1"}"#);
    listing(&mut mirror, SourceId::Etcd, vec![other]);
    let pool = |number: usize| format!("/skydns/test/sub/web/c{number:03}");
    change(&mut mirror, (0..40).map(|n| put(&pool(n), &format!(r#"{{"host":"10.0.2.{n}"}}"#))).collect());
    change(&mut mirror, (0..40).map(|n| delete(&pool(n))).collect());
    wait(&mut mirror);
    assert_eq!((names(&mirror), marked(&mirror)), (41, 40));
}

#[test]
fn a_listing_of_names_with_other_labels_is_no_loss() {
    let mut mirror = mirror();
    let other = put("/skydns/test/other/a", r#"{"host":"10.0.1.1"}"#);
    let listed = puts(0..50, "b").into_iter().chain(puts(50..100, "B")).chain([other]);
    listing(&mut mirror, SourceId::Etcd, listed.collect());
    assert_eq!((names(&mirror), marked(&mirror), held(&mirror).len()), (101, 0, 0));
}

#[test]
fn a_name_of_its_own_is_served_on_whatever_comes_beside_it() {
    let host = |n: usize| format!("/skydns/test/sub/east/h{n:03}");
    let hosts = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers.map(|n| put(&host(n), &format!(r#"{{"host":"10.0.2.{n}"}}"#))).collect()
    };
    let mut mirror = mirror_of(0);
    listing(&mut mirror, SourceId::Etcd, hosts(0..60));
    change(&mut mirror, (0..60).map(|n| delete(&host(n))).collect());
    assert_eq!(marked(&mirror), 60);
    change(&mut mirror, hosts(60..70));
    assert_eq!((names(&mirror), marked(&mirror)), (70, 60));
    // Another source that has the same names takes the place of each, and of no other.
    for n in (30..60).rev() {
        mirror.apply(SourceId::Files, put(&host(n), r#"{"host":"10.0.3.1"}"#), Instant::now());
    }
    mirror.publish();
    assert_eq!((names(&mirror), marked(&mirror)), (70, 30));
}

#[test]
fn labels_that_go_back_are_no_loss() {
    let mut mirror = mirror();
    for n in 0..100 {
        for (gone, new) in [("a", "b"), ("b", "a")] {
            change(&mut mirror, deletes(n..n + 1, gone));
            change(&mut mirror, puts(n..n + 1, new));
        }
    }
    wait(&mut mirror);
    assert_eq!((names(&mirror), marked(&mirror), held(&mirror).len()), (101, 0, 0));
}
