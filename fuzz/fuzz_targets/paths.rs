//! The fast path against the full path: packets, each behind an octet with its length, to one site. What one worker
//! answers from its reply cache has to be what the full path says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skydns::server::harness::BothPaths;

fuzz_target!(|data: &[u8]| {
    let mut paths = BothPaths::new();
    let mut rest = data;
    while let Some((len, behind)) = rest.split_first() {
        let (packet, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        paths.compare(packet);
        rest = behind;
    }
});
