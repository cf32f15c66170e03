//! Key files: base name, public half and private half, with a zero octet between them. What is taken can sign.
#![no_main]

use hickory_proto::rr::Name;
use libfuzzer_sys::fuzz_target;
use skydns::dnssec::{KeyFiles, read_public};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |octet| *octet == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (base, public, private) = (next(), next(), next());
    let base = String::from_utf8_lossy(base);
    let zone = Name::from_ascii("skydns.local.").expect("a name");
    if let Err(error) = (KeyFiles { base: &base, public, private }).read(&zone) {
        assert!(!error.to_string().is_empty());
    }
    let _ = read_public(public);
});
