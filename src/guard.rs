//! What this program and the script that guards it (`/usr/lib/skydns/guard`) tell each other, by files.
//!
//! The script counts the ends of the agent that nobody asked for. It tells the next start by files in the directory of the
//! variable `SKYDNS_GUARD`, which the units set; the program tells by a file in its runtime directory what it was doing when
//! it ended. Without these variables nothing is told.

use crate::regular_file;
use std::fs::{self, File};
use std::path::PathBuf;

/// A file of the guard; `None` if no guard is there.
fn of_guard(name: &str) -> Option<PathBuf> {
    std::env::var_os("SKYDNS_GUARD").map(|dir| PathBuf::from(dir).join(name))
}

/// Why the agent is to start reduced: without snapshot and prepared replies. `None` if it is to start in full.
pub(crate) fn reduced() -> Option<String> {
    let text = regular_file::read(&of_guard("reduced")?).ok()?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Whether the rescue is to forward only: it ended while it answered names of its own as well.
pub(crate) fn only_forwards() -> bool {
    of_guard("only-forward").is_some_and(|file| file.exists())
}

/// Whether a process ended while it read the snapshot.
pub(crate) fn snapshot_was_fatal() -> bool {
    of_guard("no-snapshot").is_some_and(|file| file.exists())
}

/// What the rescue says of why it runs: the last line of the guard.
pub(crate) fn reason() -> Option<String> {
    let text = regular_file::read(&of_guard("reason")?).ok()?;
    // It is empty if /run is full.
    Some(String::from_utf8_lossy(&text).trim().to_owned()).filter(|text| !text.is_empty())
}

/// Says, as long as it lives, that this process reads the snapshot. If the process ends meanwhile, the file stays.
#[derive(Debug)]
pub(crate) struct ReadsSnapshot(Option<PathBuf>);

impl ReadsSnapshot {
    /// Begins to say so. It is no error if that cannot be said.
    pub(crate) fn begin() -> Self {
        let dirs = std::env::var_os("RUNTIME_DIRECTORY").filter(|_| of_guard("").is_some());
        let dir = dirs.as_deref().and_then(|dirs| std::env::split_paths(dirs).next());
        let file = dir.map(|dir| dir.join("reads-snapshot"));
        Self(file.filter(|file| File::create(file).is_ok()))
    }
}

impl Drop for ReadsSnapshot {
    fn drop(&mut self) {
        self.0.iter().for_each(|file| drop(fs::remove_file(file)));
    }
}
