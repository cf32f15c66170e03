//! The tree against a plain sorted map.

use super::*;
use crate::service::{KeyTarget, Keyspace, Service};
use hickory_proto::rr::Name;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::str::FromStr;

const ETCD: Layer = Layer(1);
const FILES: Layer = Layer(3);

fn key(path: &str) -> Key {
    match Keyspace::new("skydns").target_of(format!("/skydns/{path}").as_bytes()) {
        Ok(KeyTarget::Service { key, .. }) => key,
        other => panic!("{path}: {other:?}"),
    }
}

fn at(port: u16) -> Entry {
    let value = format!("{{\"host\":\"10.0.0.1\",\"port\":{port}}}");
    Entry::new(Service::from_json(value.as_bytes()).expect("a service"))
}

fn ports(tree: &Tree, name: &str) -> Option<Vec<u16>> {
    let path = TreePath::new(&Name::from_str(name).expect("a name"));
    match tree.services(&path, Extent::default(), DataKinds::HOST, &Work::new(u32::MAX), |_| false) {
        TreeLookup::NoName => None,
        TreeLookup::Services(found) => Some(found.iter().map(|service| service.entry.service.port).collect()),
        TreeLookup::TooMany => panic!("too many"),
    }
}

fn tree(paths: &[&str]) -> Tree {
    let mut tree = Tree::new();
    for (port, path) in (1..).zip(paths) {
        assert!(tree.put(&key(path), ETCD, at(port)));
    }
    tree
}

#[test]
fn a_name_answers_for_all_below_it_in_key_order() {
    let tree = tree(&["local/east/b", "local/east/a", "local/east", "local/eastern", "local/west/x"]);
    assert_eq!(ports(&tree, "east.local."), Some(vec![3, 2, 1]));
    assert_eq!(ports(&tree, "local."), Some(vec![3, 2, 1, 4, 5]));
    assert_eq!(ports(&tree, "x.west.local."), Some(vec![5]));
    assert_eq!(ports(&tree, "y.x.west.local."), None);
    assert_eq!(ports(&tree, "eas.local."), None);
    assert_eq!(tree.names(), 5);
}

#[test]
fn wildcards_match_one_label_each_and_whatever_is_deeper() {
    let tree = tree(&["t/r1/dev/s1/a", "t/r1/prod/s2", "t/r2/prod/s3/b", "t/leaf"]);
    assert_eq!(ports(&tree, "*.r1.t."), Some(vec![1, 2]));
    assert_eq!(ports(&tree, "prod.*.t."), Some(vec![2, 3]));
    assert_eq!(ports(&tree, "prod.any.t."), Some(vec![2, 3]));
    assert_eq!(ports(&tree, "*.*.*.t."), Some(vec![1, 2, 3]));
    assert_eq!(ports(&tree, "*.*.*.*.*.t."), Some(vec![]));
    assert_eq!(ports(&tree, "nothing.*.t."), Some(vec![]));
    assert_eq!(ports(&tree, "*.nothing.t."), None);
    assert_eq!(ports(&tree, "*.leaf.t."), Some(vec![4]));
}

#[test]
fn underscore_labels_show_only_when_asked_for() {
    let tree = tree(&["t/_tcp/a", "t/_tcp/_b", "t/c", "t/x/_y/z"]);
    assert_eq!(ports(&tree, "t."), Some(vec![3]));
    assert_eq!(ports(&tree, "_tcp.t."), Some(vec![1]));
    assert_eq!(ports(&tree, "_b._tcp.t."), Some(vec![2]));
    assert_eq!(ports(&tree, "*._tcp.t."), Some(vec![1]));
    assert_eq!(ports(&tree, "_y.*.t."), Some(vec![]));
    assert_eq!(ports(&tree, "x.t."), Some(vec![]));
    assert_eq!(ports(&tree, "z._y.x.t."), Some(vec![4]));
}

#[test]
fn the_higher_layer_shows_and_reveals_the_lower_when_it_goes() {
    let mut tree = Tree::new();
    tree.put(&key("t/a"), ETCD, at(1));
    tree.put(&key("t/a"), FILES, at(2));
    assert_eq!((ports(&tree, "a.t."), tree.names()), (Some(vec![2]), 1));
    tree.put(&key("t/a"), ETCD, at(3));
    assert_eq!(ports(&tree, "a.t."), Some(vec![2]));
    assert!(tree.remove(&key("t/a"), FILES));
    assert_eq!((ports(&tree, "a.t."), tree.names()), (Some(vec![3]), 1));
    assert!(!tree.remove(&key("t/a"), FILES));
    assert!(tree.remove(&key("t/a"), ETCD));
    assert_eq!((ports(&tree, "t."), tree.names()), (None, 0));
}

#[test]
fn a_layer_may_have_several_entries_on_a_name() {
    let mut tree = tree(&["t/b"]);
    assert!(tree.set(&key("t/a"), ETCD, vec![at(7), at(5)]));
    assert!(!tree.set(&key("t/a"), ETCD, vec![at(7), at(5)]), "equal entries change nothing");
    assert_eq!((ports(&tree, "t."), tree.names()), (Some(vec![7, 5, 1]), 2));
    tree.put(&key("t/a"), FILES, at(9));
    assert_eq!(ports(&tree, "a.t."), Some(vec![9]));
    tree.remove(&key("t/a"), FILES);
    assert_eq!(ports(&tree, "a.t."), Some(vec![7, 5]));
    assert!(tree.set(&key("t/a"), ETCD, vec![at(5), at(7)]), "the order counts");
    assert!(tree.put(&key("t/a"), ETCD, at(5)));
    assert_eq!(ports(&tree, "t."), Some(vec![5, 1]));
    assert!(tree.remove(&key("t/a"), ETCD));
    assert_eq!((ports(&tree, "t."), tree.names()), (Some(vec![1]), 1));
}

#[test]
fn all_kinds_of_the_entries_of_a_name_are_found() {
    let mut tree = Tree::new();
    let text = Service::from_json(br#"{"text":"hello"}"#).expect("a service");
    tree.set(&key("t/a"), ETCD, vec![Entry::new(text), at(5)]);
    let visible = tree.node(key("t").labels()).expect("a node").visible();
    assert!(visible.meets(DataKinds::HOST) && visible.meets(DataKinds::TEXT));
}

#[test]
fn what_did_not_change_stays_the_same_node() {
    let mut now = tree(&["t/a/x", "t/b/y"]);
    let before = now.clone();
    let node = |tree: &Tree, path: &str| Arc::as_ptr(tree.node(key(path).labels()).expect("a node"));
    assert!(!now.put(&key("t/a/x"), ETCD, at(1)), "an equal entry changes nothing");
    assert_eq!(node(&now, "t"), node(&before, "t"));
    assert!(now.put(&key("t/a/x"), ETCD, at(9)));
    assert_eq!(node(&now, "t/b"), node(&before, "t/b"));
    assert_ne!(node(&now, "t/a"), node(&before, "t/a"));
    assert_ne!(node(&now, "t"), node(&before, "t"));
    assert_eq!(ports(&before, "x.a.t."), Some(vec![1]));
}

#[test]
fn a_lookup_does_not_enter_what_cannot_match() {
    let mut tree = tree(&["t/a", "t/b"]);
    let text = Service::from_json(br#"{"text":"hello"}"#).expect("a service");
    tree.put(&key("t/c/d"), ETCD, Entry::new(text));
    let node = tree.node(key("t/c").labels()).expect("a node");
    assert!(!node.visible().meets(DataKinds::HOST));
    assert!(node.visible().meets(DataKinds::TEXT));
    assert_eq!(ports(&tree, "c.t."), Some(vec![]));
}

#[test]
fn leases_count_down_to_one() {
    let lease = Lease::new(7);
    assert_eq!(lease.left(1000), 1);
    lease.set_end(1060);
    assert_eq!((lease.left(1000), lease.left(1059), lease.left(2000)), (60, 1, 1));
}

#[test]
fn a_key_that_is_renewed_stays_the_same_entry() {
    let mut tree = Tree::tracked();
    let key = key("t/web");
    let entry = |end| Entry { lease: Some(Arc::new(Lease::of_key(end, 60))), ..at(1) };
    assert!(tree.put(&key, ETCD, entry(160)));
    let version = tree.version();
    assert!(!tree.put(&key, ETCD, entry(190)));
    assert_eq!(tree.version(), version);
    let lease = tree.entries_at(&key, ETCD)[0].entry.lease.clone().expect("a lease");
    assert_eq!(lease.left(130), 60);
    // Renewed without a word: nobody knows more than what it had.
    assert_eq!((lease.left(189), lease.left(190), lease.left(1_000)), (1, 60, 60));
    assert!(tree.put(&key, ETCD, at(1)), "a lease more or less is a change");
}

/// Paths over few labels, so that they meet, and wide enough for the B-tree to split and merge.
fn paths() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..3u8, 0..400u16).prop_map(|(a, b)| format!("t/d{a}/s{b}")),
        (0..3u8, 0..4u8, 0..3u8).prop_map(|(a, b, c)| format!("t/d{a}/long-label-{b}/s{c}")),
        (0..3u8).prop_map(|a| format!("t/d{a}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_tree_has_what_a_plain_map_has(
        steps in proptest::collection::vec((paths(), any::<bool>(), 1..5u16), 1..1500)
    ) {
        let mut tree = Tree::new();
        let mut map = BTreeMap::new();
        let mut published = Vec::new();
        for (count, (path, put, port)) in steps.into_iter().enumerate() {
            let key = key(&path);
            if put {
                let changed = map.insert(key.clone(), port) != Some(port);
                prop_assert_eq!(tree.put(&key, ETCD, at(port)), changed);
            } else {
                prop_assert_eq!(tree.remove(&key, ETCD), map.remove(&key).is_some());
            }
            if count % 97 == 0 {
                published.push((tree.clone(), map.clone()));
            }
        }
        published.push((tree, map));
        for (tree, map) in published {
            let mut keys = Vec::new();
            tree.entries(ETCD, |key, _| {
                keys.push(key);
                ControlFlow::Continue(())
            });
            prop_assert_eq!(&keys, &map.keys().cloned().collect::<Vec<_>>());
            prop_assert_eq!(tree.names(), map.len());
            let all = ports(&tree, "t.").unwrap_or_default();
            prop_assert_eq!(all, map.values().copied().collect::<Vec<_>>());
            for (key, port) in &map {
                let node = tree.node(key.labels()).and_then(|node| node.entry());
                prop_assert_eq!(node.map(|entry| entry.service.port), Some(*port));
            }
        }
    }
}

#[test]
fn names_are_counted_by_zone() {
    let zones = [key("local"), key("local/east"), key("example")];
    let count = |tree: &Tree| {
        let of_zones = zones.each_ref().map(|apex| tree.names_of(Some(apex)));
        (of_zones, tree.names_of(None))
    };
    let mut tree = tree(&["local/a", "local/east", "local/east/b", "local/b/c", "other"]);
    assert_eq!(count(&tree), ([0; 3], 5), "no zone is set");
    tree.set_zones(&zones.iter());
    assert_eq!(count(&tree), ([2, 2, 0], 1));
    let before = tree.clone();
    tree.put(&key("local/a"), FILES, at(7));
    tree.put(&key("example/x"), FILES, at(8));
    tree.remove(&key("local/east/b"), ETCD);
    assert!(!tree.remove(&key("local/east/b"), ETCD));
    assert_eq!(count(&tree), ([2, 1, 1], 1));
    tree.remove(&key("local/a"), ETCD);
    tree.remove(&key("other"), ETCD);
    assert_eq!(count(&tree), ([2, 1, 1], 0), "a file has the name still");
    assert_eq!(count(&before), ([2, 2, 0], 1));
    tree.set_zones(&zones[..1].iter());
    assert_eq!(count(&tree), ([3, 0, 0], 1), "of zones that are not set nothing is known");
}
