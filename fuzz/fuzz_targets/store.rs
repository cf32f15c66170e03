//! Services: a key, a line's end, and its value. Nothing of it may panic, and what is accepted can be served.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skydns::service::{Keyspace, KeyTarget, Service};
use skydns::tree::{Entry, Layer, Tree};

fuzz_target!(|data: &[u8]| {
    let (key, value) = data.split_at(data.iter().position(|octet| *octet == b'\n').unwrap_or(0));
    let value = value.strip_prefix(b"\n").unwrap_or(value);
    let keyspace = Keyspace::new("skydns");
    let raw = [b"/skydns/", key].concat();
    if let (Ok(KeyTarget::Service { key, .. }), Ok(service)) = (keyspace.target_of(&raw), Service::from_json(value)) {
        assert!(key.name().len() <= 255);
        let mut tree = Tree::new();
        tree.put(&key, Layer(0), Entry::new(service));
        assert_eq!(tree.names(), 1);
        assert!(tree.remove(&key, Layer(0)));
        assert_eq!(tree.names(), 0);
    }
});
