//! A setting that a manager reads: a file of ours, or a block in a file that others write to as well.

use super::super::ResolvConfError;
use super::super::files::{at, remove, write};
use crate::regular_file;
use std::io;
use std::path::{Path, PathBuf};

/// The first and the last line of a block.
const BEGIN: &str = "# Begin of what \"skydns resolv-conf enable\" wrote\n";
const END: &str = "# End of what \"skydns resolv-conf enable\" wrote\n";

/// The first line of a file.
const HEADER: &str =
    "# Written by \"skydns resolv-conf enable\"; \"skydns resolv-conf disable\" removes the file.\n";

/// One setting.
pub(super) struct Setting {
    /// Below the root.
    path: PathBuf,
    text: String,
    is_block: bool,
}

impl Setting {
    /// A file of our own.
    pub(super) fn file(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: format!("{HEADER}{text}"), is_block: false }
    }

    /// A block in a file, at its end.
    pub(super) fn block(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: format!("{BEGIN}{text}{END}"), is_block: true }
    }

    pub(super) fn write(&self, root: &Path) -> Result<(), ResolvConfError> {
        let path = root.join(&self.path);
        let present = read(&path)?;
        if self.is_block {
            let text = without_block(&present) + &self.text;
            return if text == present { Ok(()) } else { write(&path, &text) };
        }
        if present == self.text {
            return Ok(());
        }
        if present.is_empty() || present.starts_with(HEADER) {
            return write(&path, &self.text);
        }
        Err(ResolvConfError::NotOurs { path })
    }

    pub(super) fn remove(&self, root: &Path) -> Result<(), ResolvConfError> {
        let path = root.join(&self.path);
        let present = read(&path)?;
        if !self.is_block {
            return if present.starts_with(HEADER) { remove(&path) } else { Ok(()) };
        }
        match without_block(&present) {
            same if same == present => Ok(()),
            rest if rest.is_empty() => remove(&path),
            rest => write(&path, &rest),
        }
    }
}

fn read(path: &Path) -> Result<String, ResolvConfError> {
    match regular_file::read(path) {
        Ok(text) => String::from_utf8(text)
            .map_err(|_| at(path)(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(at(path)(error)),
    }
}

/// A text without our block.
fn without_block(text: &str) -> String {
    let Some((before, rest)) = text.split_once(BEGIN) else {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return format!("{text}{end}");
    };
    let after = rest.split_once(END).map_or("", |(_, after)| after);
    format!("{before}{after}")
}
