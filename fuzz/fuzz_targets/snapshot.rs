//! Snapshots: any file, and any content behind a right checksum. What is taken can be saved, and comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::digest::{SHA256, digest};
use skydns::source::SourceId;
use skydns::source::snapshot::{RestoredService, SnapshotHeader, StoreIdentity, restore, save};
use skydns::tree::{Layer, Tree};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("skydns-fuzz-{}", std::process::id())));

fn read(path: &Path, origin: &StoreIdentity) -> Option<(SnapshotHeader, Tree)> {
    let mut tree = Tree::new();
    let restored = restore(path, origin, |id, part| {
        for RestoredService { key, entry, .. } in part {
            assert!(key.name().len() <= 255);
            tree.put(&key, if id == SourceId::EtcdV2 { Layer(0) } else { Layer(1) }, entry);
        }
    });
    restored.ok().map(|restored| (restored.header, tree))
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let origin = StoreIdentity { root: "/skydns/".to_owned(), endpoints: ["http://127.0.0.1:2379".to_owned()].into() };
    let mut file = data.to_vec();
    if mode % 2 == 1 {
        // As the first and the last version have it: store, serial, and what was the revision and the configuration.
        let header = (&origin, 7u32, None::<i64>, None::<Vec<u8>>);
        let header = if mode % 4 == 1 { postcard::to_allocvec(&header).expect("a header") } else { Vec::new() };
        let version = if mode % 8 < 4 { 1 } else { 3 };
        file = [b"skydns\0S\0\0\0".as_slice(), &[version], &header, data].concat();
        file.extend(digest(&SHA256, &file).as_ref());
    }
    std::fs::write(&*FILE, &file).expect("written");
    assert_eq!(SourceId::ALL[..2], [SourceId::EtcdV2, SourceId::Etcd], "whose layers are 0 and 1");
    if let Some((header, tree)) = read(&FILE, &origin) {
        let as_of = std::time::SystemTime::now();
        save(&FILE, &header, &tree, as_of).expect("saved");
        let (again, same) = read(&FILE, &origin).expect("restored");
        assert_eq!((again, same.names()), (header, tree.names()));
    }
});
