mod cluster;

use super::format::{MAGIC, StoredHeader, VERSION};
use super::stored_service::{LeaseClock, StoredService};
use super::*;
use crate::clock::{steady_time, unix_time};
use crate::service::{Host, Key, KeyTarget, Keyspace, Service};
use crate::source::id::SourceId;
use crate::tree::{Entry, LayeredEntry, Lease, Tree, ZoneSerial};
use proptest::prelude::*;
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

fn store() -> StoreIdentity {
    let endpoints = ["http://10.0.0.1:2379", "http://10.0.0.2:2379"].map(str::to_owned).into();
    StoreIdentity { root: "/skydns/".to_owned(), endpoints }
}

fn header() -> SnapshotHeader {
    let zone_serials = vec![(key("example/site").as_wire().into(), 1_600_000_000)];
    let v3 = SavedSource {
        revision: Some(42),
        cluster: Some(7),
        config: Some(b"{}".to_vec()),
        ..SavedSource::default()
    };
    SnapshotHeader {
        store: store(),
        serial: 1_700_000_000,
        zone_serials,
        sources: [(SourceId::Etcd, v3)].into(),
    }
}

fn key(path: &str) -> Key {
    match Keyspace::new("skydns").target_of(format!("/skydns/{path}").as_bytes()) {
        Ok(KeyTarget::Service { key, .. }) => key,
        other => panic!("{path}: {other:?}"),
    }
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    let lease = Arc::new(Lease::new(7));
    lease.set_end(steady_time() + 600);
    let entry = |json: &str, leased: bool| {
        let service = Service::from_json(json.as_bytes()).expect("a service");
        Entry { service, lease: leased.then(|| Arc::clone(&lease)) }
    };
    let layer = SourceId::Etcd.layer();
    for (path, json, leased) in [
        ("t/a", r#"{"host":"10.0.0.1","port":80,"priority":7,"weight":3,"ttl":9}"#, true),
        ("t/b", r#"{"host":"2001:db8::1","text":"words","group":"g","mail":true}"#, true),
        ("t/c", r#"{"host":"WWW.a\\.b.example.net","targetstrip":2}"#, false),
        ("t", r#"{"text":""}"#, false),
    ] {
        tree.put(&key(path), layer, entry(json, leased));
    }
    tree.set(&key("t/d"), layer, vec![entry(r#"{"host":"10.0.0.4"}"#, false), entry(r#"{"port":4}"#, true)]);
    tree.put(&key("t/files"), SourceId::Files.layer(), entry(r#"{"host":"10.9.9.9"}"#, false));
    tree
}

/// A directory, and the path of the snapshot in it.
fn snapshot_path() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("snapshot");
    (dir, path)
}

/// A time that is not now, in whole seconds.
fn as_of() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_time() - 100)
}

/// Services by key: whether the key had one before, the service, and its lease's id.
type FoundServices = BTreeMap<String, Vec<(bool, Service, Option<i64>)>>;

fn found(path: &Path, store: &StoreIdentity) -> Result<(RestoredSnapshot, FoundServices), SnapshotError> {
    let mut found = FoundServices::new();
    let restored = restore(path, store, |_, part| {
        for RestoredService { is_further, key, entry } in part {
            let lease = entry.lease.map(|lease| lease.id);
            found.entry(format!("{key:?}")).or_default().push((is_further, entry.service, lease));
        }
    })?;
    Ok((restored, found))
}

#[test]
fn what_is_saved_comes_back() {
    let (dir, path) = snapshot_path();
    let saved = save(&path, &header(), &tree(), as_of()).expect("saved");
    assert_eq!(saved.services, 6);
    let about = std::fs::metadata(&path).expect("a file");
    assert_eq!(about.len(), saved.octets);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&about) & 0o7777, 0o600);
    let (restored, found) = found(&path, &store()).expect("restored");
    let expected = RestoredSnapshot {
        header: header(),
        as_of: as_of(),
        services: [(SourceId::Etcd, 6)].into(),
        is_of_other_endpoints: false,
        is_of_this_process: false,
    };
    assert_eq!(restored, expected);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["/t", "/t/a", "/t/b", "/t/c", "/t/d"]);
    tree().entries(SourceId::Etcd.layer(), |key, entries| {
        let expected = entries.iter().enumerate().map(|(index, LayeredEntry { entry, .. })| {
            let lease = entry.lease.as_ref().map(|lease| lease.id);
            (index > 0, entry.service.clone(), lease)
        });
        assert_eq!(found[&format!("{key:?}")], expected.collect::<Vec<_>>());
        ControlFlow::Continue(())
    });
    let Host::Name(name) = &found["/t/c"][0].1.host else { panic!("a name") };
    assert_eq!(name.to_ascii(), "WWW.a\\.b.example.net.", "letter case stays");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1, "no file is left beside it");
}

#[test]
fn services_on_one_lease_share_it() {
    let (_dir, path) = snapshot_path();
    save(&path, &header(), &tree(), as_of()).expect("saved");
    let mut leases = Vec::new();
    let each = |_, part: Vec<RestoredService>| {
        leases.extend(part.into_iter().filter_map(|service| service.entry.lease));
    };
    restore(&path, &store(), each).expect("restored");
    assert_eq!(leases.len(), 3);
    assert!((590..=600).contains(&leases[0].left(steady_time())), "{}", leases[0].left(steady_time()));
    assert!(Arc::ptr_eq(&leases[0], &leases[1]));
}

#[test]
fn a_snapshot_of_another_prefix_is_refused() {
    let (_dir, path) = snapshot_path();
    save(&path, &header(), &tree(), as_of()).expect("saved");
    let other = StoreIdentity { root: "/b/".to_owned(), ..store() };
    match restore(&path, &other, |_, _| panic!("each was called")) {
        Err(error) => assert_eq!(error.to_string(), "it is of keys below /skydns/, not below /b/"),
        Ok(restored) => panic!("{restored:?}"),
    }
}

#[test]
fn a_snapshot_says_whether_it_was_read_elsewhere() {
    let (_dir, path) = snapshot_path();
    save(&path, &header(), &tree(), as_of()).expect("saved");
    for (endpoints, is_of_other_endpoints) in [
        (["http://10.0.0.2:2379", "http://10.0.0.3:2379"], false),
        (["http://10.0.0.3:2379", "http://10.0.0.4:2379"], true),
    ] {
        let asked = StoreIdentity { endpoints: endpoints.map(str::to_owned).into(), ..store() };
        let restored = restore(&path, &asked, |_, _| {}).expect("restored");
        assert_eq!(restored.is_of_other_endpoints, is_of_other_endpoints, "{endpoints:?}");
    }
}

#[test]
fn a_file_cut_short_or_changed_anywhere_is_refused() {
    let (_dir, path) = snapshot_path();
    save(&path, &header(), &tree(), as_of()).expect("saved");
    let whole = std::fs::read(&path).expect("read");
    let refused = |octets: &[u8]| {
        std::fs::write(&path, octets).expect("written");
        match restore(&path, &store(), |_, _| panic!("each was called")) {
            Err(error) => error,
            Ok(restored) => panic!("{restored:?}"),
        }
    };
    for len in 0..whole.len() {
        let error = refused(&whole[..len]);
        assert!(matches!(error, SnapshotError::NotSnapshot | SnapshotError::Damaged), "{len}: {error}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        let error = refused(&changed);
        match at {
            0..8 => assert!(matches!(error, SnapshotError::NotSnapshot), "{at}: {error}"),
            8..12 => {
                assert!(matches!(error, SnapshotError::Newer(_) | SnapshotError::Damaged), "{at}: {error}");
            }
            _ => assert!(matches!(error, SnapshotError::Damaged), "{at}: {error}"),
        }
    }
    let mut longer = whole;
    longer.push(0);
    assert!(matches!(refused(&longer), SnapshotError::Damaged));
}

/// A file with a right checksum around any contents.
fn with_checksum(contents: &[u8]) -> Vec<u8> {
    let mut octets = [MAGIC.as_slice(), &VERSION.to_be_bytes(), contents].concat();
    octets.extend(digest(&SHA256, &octets).as_ref());
    octets
}

#[test]
fn a_later_version_and_foreign_contents_have_their_own_errors() {
    let (_dir, path) = snapshot_path();
    std::fs::write(&path, [MAGIC.as_slice(), &7u32.to_be_bytes(), b"what will be"].concat())
        .expect("written");
    let error = found(&path, &store()).expect_err("refused").to_string();
    assert_eq!(error, "it has version 7 of the format, which is later than this program reads");
    std::fs::write(&path, with_checksum(b"\xff\xff")).expect("written");
    let error = found(&path, &store()).expect_err("refused").to_string();
    assert_eq!(error, "it cannot be read from octet 12 on");
}

#[test]
fn a_directory_or_a_pipe_is_no_snapshot() {
    let (dir, path) = snapshot_path();
    let refused = |path: &Path| found(path, &store()).expect_err("refused").to_string();
    assert_eq!(refused(dir.path()), "it is not a regular file");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    assert_eq!(refused(&path), "it is not a regular file");
    assert!(refused(&dir.path().join("none")).starts_with("opening it: "));
}

#[test]
fn a_link_is_neither_read_nor_written_through() {
    let (dir, path) = snapshot_path();
    let precious = dir.path().join("precious");
    save(&precious, &header(), &tree(), as_of()).expect("saved");
    let before = std::fs::read(&precious).expect("read");
    for link in [path.clone(), path.with_file_name(".snapshot.new")] {
        std::os::unix::fs::symlink(&precious, link).expect("a link");
    }
    assert_eq!(found(&path, &store()).expect_err("refused").to_string(), "opening it: it is a link");
    save(&path, &SnapshotHeader::default(), &Tree::new(), SystemTime::now()).expect("saved");
    assert_eq!(std::fs::read(&precious).expect("read"), before);
    assert!(std::fs::symlink_metadata(&path).expect("a file").is_file(), "the link is replaced");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 2, "no file is left beside it");
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_snapshot_before_as_it_was() {
    let (dir, path) = snapshot_path();
    save(&path, &header(), &tree(), as_of()).expect("saved");
    let before = std::fs::read(&path).expect("read");
    std::fs::create_dir(path.with_file_name(".snapshot.new")).expect("a directory");
    let error = save(&path, &header(), &tree(), SystemTime::now()).expect_err("in the way").to_string();
    assert!(error.starts_with("creating it: "), "{error}");
    assert_eq!(std::fs::read(&path).expect("read"), before);
    std::fs::remove_dir(path.with_file_name(".snapshot.new")).expect("removed");
    std::fs::write(path.with_file_name(".snapshot.new"), "left by a crash").expect("a file");
    assert!(save(&path, &header(), &tree(), as_of()).is_ok());
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1, "no file is left beside it");
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
    let error = save::write(&full, &header(), &tree(), as_of()).expect_err("no room").to_string();
    assert!(error.starts_with("writing it: No space left on device"), "{error}");
}

#[test]
fn a_lease_has_no_more_left_than_when_the_snapshot_was_written() {
    let (_dir, path) = snapshot_path();
    // The date was 1,000 days ahead when the snapshot was written, and was set back since.
    let ahead = Duration::from_secs(1_000 * 86_400);
    let mut tree = Tree::new();
    let lease = Arc::new(Lease::new(7));
    lease.set_end(steady_time() + ahead.as_secs() + 60);
    let entry = Entry { service: Service::default(), lease: Some(lease) };
    tree.put(&key("t/a"), SourceId::Etcd.layer(), entry);
    save(&path, &header(), &tree, SystemTime::now() + ahead).expect("saved");
    let mut left = Vec::new();
    let now = steady_time();
    restore(&path, &store(), |_, part| {
        left.extend(
            part.iter().filter_map(|service| service.entry.lease.as_ref().map(|lease| lease.left(now))),
        );
    })
    .expect("restored");
    assert!((58..=62).contains(&left[0]), "{left:?}");
}

#[test]
fn a_time_in_the_future_is_not_believed() {
    let (_dir, path) = snapshot_path();
    save(&path, &header(), &tree(), SystemTime::now() + Duration::from_secs(3600)).expect("saved");
    assert!(found(&path, &store()).expect("restored").0.as_of <= SystemTime::now());
}

/// The octets of a header, without sources.
fn with_header_of(header: &SnapshotHeader) -> Vec<u8> {
    let stored =
        StoredHeader { store: header.store.clone(), serial: header.serial, revision: None, config: None };
    postcard::to_allocvec(&stored).expect("a header")
}

proptest! {
    /// Any octets before a right checksum are restored or refused, and give no more services than they have octets.
    #[test]
    fn nothing_panics(contents in prop::collection::vec(any::<u8>(), 0..200), with_header in any::<bool>()) {
        let (_dir, path) = snapshot_path();
        let mut all = if with_header { with_header_of(&header()) } else { Vec::new() };
        all.extend(&contents);
        std::fs::write(&path, with_checksum(&all)).expect("written");
        let mut services = 0;
        let _ = restore(&path, &store(), |_, part| services += part.len());
        prop_assert!(services <= contents.len());
    }
}

/// A snapshot as a version of the program before wrote it.
fn of_version(version: u32, zone_serials: &[ZoneSerial]) -> Vec<u8> {
    let (revision, config) = (Some(42), Some(b"{}".to_vec()));
    let header = StoredHeader { store: store(), serial: 1_700_000_000, revision, config };
    let mut octets = [MAGIC.as_slice(), &version.to_be_bytes()].concat();
    octets.extend(postcard::to_stdvec(&header).expect("a header"));
    if version == 2 {
        octets.extend(postcard::to_stdvec(zone_serials).expect("serials"));
    }
    tree().entries(SourceId::Etcd.layer(), |key, entries| {
        for (index, LayeredEntry { entry, .. }) in entries.iter().enumerate() {
            let service = StoredService::new(index > 0, &key, entry, LeaseClock::now()).expect("a service");
            octets.extend(postcard::to_stdvec(&service).expect("octets"));
        }
        ControlFlow::Continue(())
    });
    octets.extend(digest(&SHA256, &octets).as_ref());
    octets
}

#[test]
fn snapshots_of_earlier_versions_are_those_of_v3_alone() {
    let (_dir, path) = snapshot_path();
    save(&path, &header(), &tree(), SystemTime::now()).expect("saved");
    let (now, services) = found(&path, &store()).expect("a snapshot");
    for version in [1, 2] {
        std::fs::write(&path, of_version(version, &now.header.zone_serials)).expect("written");
        let (before, same) = found(&path, &store()).expect("a snapshot");
        let mut expected = now.header.clone();
        expected.sources.values_mut().for_each(|saved| saved.cluster = None);
        if version == 1 {
            expected.zone_serials.clear();
        }
        assert_eq!((before.header, same), (expected, services.clone()), "{version}");
    }
}

#[test]
fn both_apis_are_kept_apart() {
    let (_dir, path) = snapshot_path();
    let mut tree = tree();
    let lease = Some(Arc::new(Lease::of_key(steady_time() + 60, 90)));
    let entry = Entry { lease, service: Service::from_json(br#"{"host":"10.0.0.2"}"#).expect("a service") };
    tree.put(&key("t/a"), SourceId::EtcdV2.layer(), entry.clone());
    tree.put(&key("t/v2"), SourceId::EtcdV2.layer(), entry);
    let as_of_v2 = as_of() - Duration::from_secs(900);
    let v2 = SavedSource { revision: Some(9), as_of: Some(as_of_v2), ..SavedSource::default() };
    let mut header = header();
    header.sources.insert(SourceId::EtcdV2, v2);
    save(&path, &header, &tree, as_of()).expect("saved");
    let mut names = Vec::new();
    let restored = restore(&path, &store(), |id, part| {
        names.extend(part.into_iter().map(|service| (id, format!("{:?}", service.key), service.entry.lease)));
    });
    let restored = restored.expect("restored");
    assert_eq!(restored.header, header);
    assert_eq!(restored.services, [(SourceId::EtcdV2, 2), (SourceId::Etcd, 6)].into());
    let of_v2: Vec<_> = names.iter().filter(|(id, ..)| *id == SourceId::EtcdV2).collect();
    assert_eq!(of_v2.iter().map(|(_, key, _)| key.as_str()).collect::<Vec<_>>(), ["/t/a", "/t/v2"]);
    let lease = of_v2[0].2.as_ref().expect("a lease");
    assert!((58..=60).contains(&lease.left(steady_time())));
    assert_eq!(lease.left(steady_time() + 1_000), 90);
}
