//! The fast way against the full way: packets, each behind an octet with its length, to one site. Whatever one worker
//! answers from its reply cache have to be what the full way says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skydns::server::fuzzing::Ways;

fuzz_target!(|data: &[u8]| {
    let mut ways = Ways::new();
    let mut rest = data;
    while let Some((len, behind)) = rest.split_first() {
        let (packet, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        ways.compare(packet);
        rest = behind;
    }
});
