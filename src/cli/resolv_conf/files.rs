//! resolv.conf, the file that it was before, and the agent's own file.
//!
//! The old file gets a second name in the same directory, by a hard link. So the saved file is the same file or
//! symbolic link, with its owner, mode and times, and a relative link still has the same target. At every moment there
//! is a resolv.conf.

use super::ResolvConfError;
use super::servers::{self, KnownServers};
use crate::cli::complain;
use crate::host_resolver::{self, BEFORE_FILE, FILE_HEADER, LINK_TARGET, name_server_words};
use crate::regular_file;
use crate::replace_file::replace;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The three files that the command reads and writes.
pub(super) struct ResolvConfFiles {
    pub(super) resolv: PathBuf,
    pub(super) before: PathBuf,
    pub(super) ours: PathBuf,
}

impl ResolvConfFiles {
    pub(super) fn below(root: &Path) -> Self {
        let etc = root.join("etc");
        Self { resolv: etc.join("resolv.conf"), before: root.join(BEFORE_FILE), ours: etc.join(LINK_TARGET) }
    }

    /// Writes the agent's own file with all these addresses, of which the agent's own are some, and makes resolv.conf a link to
    /// it.
    pub(super) fn enable(&self, addresses: &[IpAddr], own: &[IpAddr]) -> Result<(), ResolvConfError> {
        // Other lines of the present file (search, options) stay in force.
        let text = servers::text(&self.resolv);
        if host_resolver::is_our_link(&self.resolv) {
            if !text.starts_with(FILE_HEADER) {
                // A DHCP client wrote through the link: these are the servers of today.
                self.refresh(&servers::named(&text, own))?;
            }
            return write(&self.ours, &content(&text, addresses));
        }
        write(&self.ours, &content(&text, addresses))?;
        let linked = self.link();
        if linked.is_err() {
            self.drop_ours();
        }
        linked
    }

    /// Saves the present file, and puts the link in its place.
    fn link(&self) -> Result<(), ResolvConfError> {
        let older = self.save()?;
        if let Err(error) = self.replace() {
            // The file that was saved is still in its place; one that an earlier run saved is wanted again.
            match older {
                Saved::Over(older) => drop(fs::rename(&older, &self.before)),
                Saved::First => drop(fs::remove_file(&self.before)),
                Saved::Nothing => {}
            }
            return Err(error);
        }
        if let Saved::Over(older) = older {
            let _ = fs::remove_file(older);
        }
        Ok(())
    }

    /// Gives the present file its second name. What had that name keeps a name as well until the end of the run.
    fn save(&self) -> Result<Saved, ResolvConfError> {
        // If there is no resolv.conf now, a file that an earlier run saved is still the one to restore.
        if fs::symlink_metadata(&self.resolv).is_err() {
            return Ok(Saved::Nothing);
        }
        let (new, older) = (
            self.before.with_extension("before-skydns.new"),
            self.before.with_extension("before-skydns.older"),
        );
        // An interrupted run may have left these files.
        let _ = fs::remove_file(&new);
        let _ = fs::remove_file(&older);
        let saved = match fs::hard_link(&self.before, &older) {
            Ok(()) => Saved::Over(older),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved::First,
            Err(error) => return Err(at(&self.before)(error)),
        };
        let linked = fs::hard_link(&self.resolv, &new).map_err(at(&self.resolv));
        let linked = linked.and_then(|()| fs::rename(&new, &self.before).map_err(at(&self.before)));
        if linked.is_err() {
            let _ = fs::remove_file(&new);
        }
        if let (Err(_), Saved::Over(older)) = (&linked, &saved) {
            let _ = fs::remove_file(older);
        }
        linked.map(|()| saved)
    }

    /// Puts the link to the agent's file in the place of the present file.
    fn replace(&self) -> Result<(), ResolvConfError> {
        let link = self.resolv.with_extension("conf.skydns-new");
        let _ = fs::remove_file(&link);
        symlink(LINK_TARGET, &link).map_err(at(&link))?;
        let replaced = fs::rename(&link, &self.resolv).map_err(at(&self.resolv));
        if replaced.is_err() {
            let _ = fs::remove_file(&link);
        }
        replaced
    }

    /// Puts back what was there before, with the servers of today. If it names no server now, resolv.conf becomes a file that
    /// names those that are known otherwise.
    pub(super) fn disable(&self, servers: &KnownServers) -> Result<Restored, ResolvConfError> {
        let is_saved = fs::symlink_metadata(&self.before).is_ok();
        if !host_resolver::is_our_link(&self.resolv) {
            self.drop_ours();
            return Ok(if is_saved { Restored::Replaced } else { Restored::Nothing });
        }
        let is_refreshed = self.refresh(&servers.since_enable)?;
        let text = servers::text(&self.before);
        let restored = if name_server_words(&text).is_empty() && !servers.any.is_empty() {
            write(&self.resolv, &with_servers(&text, &servers.any))?;
            remove(&self.before)?;
            Restored::Known
        } else if is_saved {
            fs::rename(&self.before, &self.resolv).map_err(at(&self.resolv))?;
            if is_refreshed { Restored::Refreshed } else { Restored::Before }
        } else {
            remove(&self.resolv)?;
            Restored::Gone
        };
        self.drop_ours();
        Ok(restored)
    }

    /// Removes the agent's own file, unless resolv.conf leads there in a way of somebody else's.
    fn drop_ours(&self) {
        let is_in_use = fs::canonicalize(&self.ours)
            .is_ok_and(|ours| fs::canonicalize(&self.resolv).is_ok_and(|present| present == ours));
        if !is_in_use && let Err(error) = remove(&self.ours) {
            complain(&error);
        }
    }

    /// Has the saved file name the servers of today: those that it names may be gone since. Whether it was changed.
    fn refresh(&self, servers: &[String]) -> Result<bool, ResolvConfError> {
        let is_file = fs::symlink_metadata(&self.before).is_ok_and(|about| about.is_file());
        if !is_file || servers.is_empty() {
            return Ok(false);
        }
        let text = regular_file::read(&self.before).map_err(at(&self.before))?;
        let text = String::from_utf8_lossy(&text);
        if name_server_words(&text) == servers {
            return Ok(false);
        }
        // Into the same file, which keeps its owner and mode. Nobody reads it under this name.
        fs::write(&self.before, with_servers(&text, servers)).map_err(at(&self.before))?;
        Ok(true)
    }
}

/// What [`ResolvConfFiles::disable`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restored {
    /// The link was not there.
    Nothing,
    /// Another program has replaced the link; the file from before is still saved.
    Replaced,
    Before,
    /// As before, but for the servers, which are those of today.
    Refreshed,
    /// There is no resolv.conf, and no server is known.
    Gone,
    /// What was there before names no server now, so it is a file with those that are known.
    Known,
}

/// What saving the present file did.
enum Saved {
    /// There was none.
    Nothing,
    /// No file was saved before.
    First,
    /// A file that was saved before has this name now.
    Over(PathBuf),
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> ResolvConfError {
    move |source| ResolvConfError::Io { path: path.to_owned(), source }
}

/// Writes a file that all users can read, whatever the umask of root is, in one step, and its directory if need be.
pub(super) fn write(path: &Path, text: &str) -> Result<(), ResolvConfError> {
    if let Some(dir) = path.parent().filter(|dir| !dir.is_dir()) {
        let readable = fs::Permissions::from_mode(0o755);
        fs::create_dir_all(dir).and_then(|()| fs::set_permissions(dir, readable)).map_err(at(dir))?;
    }
    replace(path, text.as_bytes(), 0o644).map_err(at(path))
}

pub(super) fn remove(path: &Path) -> Result<(), ResolvConfError> {
    // A filesystem that cannot be written refuses to remove what is not there.
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// How soon programs ask again, unless the present file says it: what the agent had in its hands when it ended is lost, and by
/// default they would wait for that for 5 s. Five tries are enough for what the agent itself takes to ask upstreams.
const RETRIES: &str = "options timeout:1 attempts:5\n";

/// The content of the agent's own file: the addresses, and the other settings of the present file (resolv.conf(5)).
fn content(present: &str, addresses: &[IpAddr]) -> String {
    let mut text = String::from(FILE_HEADER);
    for address in addresses {
        text.push_str(&format!("nameserver {address}\n"));
    }
    if !present.lines().any(|line| line.trim_start().starts_with("options") && line.contains("timeout:")) {
        text.push_str(RETRIES);
    }
    for line in present.lines() {
        let word = line.split_whitespace().next();
        if matches!(word, Some("search" | "domain" | "options" | "sortlist")) {
            text.push_str(line.trim());
            text.push('\n');
        }
    }
    text
}

/// A resolv.conf with other servers.
fn with_servers(text: &str, servers: &[String]) -> String {
    let is_server = |line: &&str| line.split_whitespace().next() == Some("nameserver");
    let mut new: String =
        text.lines().filter(|line| !is_server(line)).map(|line| format!("{line}\n")).collect();
    new.extend(servers.iter().map(|server| format!("nameserver {server}\n")));
    new
}
