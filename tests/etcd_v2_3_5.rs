//! The tests of the v2 API once more, with an etcd 3.5 that is built from its Go module; where Go is not there, with the system's.

#[path = "etcd_v2.rs"]
mod writes;
