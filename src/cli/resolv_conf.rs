//! `skydns resolv-conf`: points /etc/resolv.conf at the agent, and restores exactly the old file.
//!
//! The old file gets a second name in the same directory, by a hard link. So the saved file is the same file or
//! symbolic link, with its owner, mode and times, and a relative link still has the same target. At every moment there
//! is a resolv.conf.

use super::{PERMISSION, SYSTEM, fail};
use crate::regular_file;
use crate::server;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The agent's own file, as the symbolic link names it: relative to /etc.
const LINK_TARGET: &str = "skydns/resolv.conf";

/// The first lines of the agent's own file.
const FILE_HEADER: &str =
    "# Written by \"skydns resolv-conf enable\"; \"skydns resolv-conf disable\" puts back what was there.\n";

/// How long the check waits for an answer of the agent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What the command does.
#[derive(Debug, PartialEq, Eq)]
enum ResolvConfAction {
    Enable(Vec<IpAddr>),
    Disable,
    Status,
}

/// The parsed words after `resolv-conf`.
#[derive(Debug, PartialEq, Eq)]
struct ResolvConfCommand {
    action: ResolvConfAction,
    force: bool,
    root: PathBuf,
}

/// Why resolv.conf was not changed.
#[derive(Debug, thiserror::Error)]
enum ResolvConfError {
    #[error("usage: skydns resolv-conf enable [--force] [ADDRESS]... | disable | status [--root=DIR]: {0}")]
    Usage(String),
    #[error(
        "nothing answers at {address}, so resolv.conf stays: {source} (systemctl start skydns.socket; --force)"
    )]
    Silent { address: SocketAddr, source: io::Error },
    #[error(
        "{} is not the agent's any more, another program replaced it; it stays, and what was there before is kept as {}",
        resolv.display(),
        before.display()
    )]
    Replaced { resolv: PathBuf, before: PathBuf },
    #[error("{}: {source}{}", path.display(), hint(source))]
    Io { path: PathBuf, source: io::Error },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy => {
            " (it is mounted there, as in a container: what mounts it has to be changed)"
        }
        io::ErrorKind::PermissionDenied => {
            " (it takes root, and a file without the immutable attribute: lsattr)"
        }
        _ => "",
    }
}

/// Runs the command with the words after it.
pub(super) fn run(words: &[String]) -> ExitCode {
    let result = ResolvConfCommand::read(words).and_then(|command| command.run());
    match result {
        Ok(code) => code,
        Err(error @ ResolvConfError::Usage(_)) => fail(super::USAGE, &error),
        Err(ResolvConfError::Io { path, source }) if source.kind() == io::ErrorKind::PermissionDenied => {
            fail(PERMISSION, &ResolvConfError::Io { path, source })
        }
        Err(error) => fail(SYSTEM, &error),
    }
}

impl ResolvConfCommand {
    fn read(words: &[String]) -> Result<Self, ResolvConfError> {
        let (mut force, mut root, mut operands) = (false, PathBuf::from("/"), Vec::new());
        for word in words {
            match word.split_once('=') {
                Some(("--root", dir)) => root = PathBuf::from(dir),
                _ if word == "--force" => force = true,
                _ if word.starts_with('-') => {
                    return Err(ResolvConfError::Usage(format!("no option {word}")));
                }
                _ => operands.push(word.as_str()),
            }
        }
        let action = match operands.as_slice() {
            ["enable", addresses @ ..] => {
                let parsed = addresses.iter().map(|address| {
                    address
                        .parse()
                        .map_err(|_| ResolvConfError::Usage(format!("\"{address}\" is not an IP address")))
                });
                let mut addresses = parsed.collect::<Result<Vec<_>, _>>()?;
                if addresses.is_empty() {
                    addresses.push(Ipv4Addr::LOCALHOST.into());
                }
                ResolvConfAction::Enable(addresses)
            }
            ["disable"] => ResolvConfAction::Disable,
            ["status"] => ResolvConfAction::Status,
            [] => return Err(ResolvConfError::Usage("what is to be done?".to_owned())),
            [word, ..] => return Err(ResolvConfError::Usage(format!("\"{word}\" is not to be understood"))),
        };
        Ok(Self { action, force, root })
    }

    fn run(&self) -> Result<ExitCode, ResolvConfError> {
        let files = ResolvConfFiles::below(&self.root);
        match &self.action {
            ResolvConfAction::Enable(addresses) => {
                if !self.force {
                    for ip in addresses {
                        let address = SocketAddr::new(*ip, 53);
                        server::answers_at(address, ANSWER_TIMEOUT)
                            .map_err(|source| ResolvConfError::Silent { address, source })?;
                    }
                }
                files.enable(addresses)
            }
            ResolvConfAction::Disable => files.disable(),
            ResolvConfAction::Status => files.status(),
        }
    }
}

/// The three files that the command reads and writes.
struct ResolvConfFiles {
    resolv: PathBuf,
    before: PathBuf,
    ours: PathBuf,
}

impl ResolvConfFiles {
    fn below(root: &Path) -> Self {
        let etc = root.join("etc");
        Self {
            resolv: etc.join("resolv.conf"),
            before: etc.join("resolv.conf.before-skydns"),
            ours: etc.join(LINK_TARGET),
        }
    }

    fn is_enabled(&self) -> bool {
        let target = fs::read_link(&self.resolv);
        target.is_ok_and(|target| {
            target == Path::new(LINK_TARGET) || target == Path::new("/etc").join(LINK_TARGET)
        })
    }

    fn enable(&self, addresses: &[IpAddr]) -> Result<ExitCode, ResolvConfError> {
        if let Some(dir) = self.ours.parent() {
            fs::create_dir_all(dir).and_then(|()| set_mode(dir, 0o755)).map_err(at(dir))?;
        }
        // Other lines of the present file (search, options) stay in force.
        let present = regular_file::read(&self.resolv).unwrap_or_default();
        let new = self.ours.with_extension("conf.new");
        fs::write(&new, content(&String::from_utf8_lossy(&present), addresses)).map_err(at(&new))?;
        // All users must be able to read the file, whatever the umask of root is.
        set_mode(&new, 0o644).and_then(|()| File::open(&new)?.sync_all()).map_err(at(&new))?;
        fs::rename(&new, &self.ours).map_err(at(&self.ours))?;
        if self.is_enabled() {
            println!("{} leads to the agent already", self.resolv.display());
            return Ok(ExitCode::SUCCESS);
        }
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
        println!(
            "{} leads to the agent now; \"skydns resolv-conf disable\" undoes it",
            self.resolv.display()
        );
        Ok(ExitCode::SUCCESS)
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

    fn disable(&self) -> Result<ExitCode, ResolvConfError> {
        let saved = fs::symlink_metadata(&self.before).is_ok();
        match (self.is_enabled(), saved) {
            (true, true) => fs::rename(&self.before, &self.resolv).map_err(at(&self.resolv))?,
            (true, false) => remove(&self.resolv)?,
            (false, true) => {
                return Err(ResolvConfError::Replaced {
                    resolv: self.resolv.clone(),
                    before: self.before.clone(),
                });
            }
            (false, false) => {
                println!("{} does not lead to the agent", self.resolv.display());
                return Ok(ExitCode::SUCCESS);
            }
        }
        remove(&self.ours)?;
        println!("{} is again what it was", self.resolv.display());
        Ok(ExitCode::SUCCESS)
    }

    fn status(&self) -> Result<ExitCode, ResolvConfError> {
        let enabled = self.is_enabled();
        let what = match fs::read_link(&self.resolv) {
            Ok(target) => format!("a link to {}", target.display()),
            Err(_) if self.resolv.exists() => "a file".to_owned(),
            Err(_) => "not there".to_owned(),
        };
        println!("{}: {}, {what}", self.resolv.display(), if enabled { "enabled" } else { "disabled" });
        let overwritten = enabled
            && !regular_file::read(&self.ours).is_ok_and(|text| text.starts_with(FILE_HEADER.as_bytes()));
        if overwritten {
            println!("{}: overwritten by another program; enable again", self.ours.display());
        }
        if fs::symlink_metadata(&self.before).is_ok() {
            println!("{}: what was there before", self.before.display());
        }
        Ok(if enabled && !overwritten { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
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

fn at(path: &Path) -> impl FnOnce(io::Error) -> ResolvConfError {
    move |source| ResolvConfError::Io { path: path.to_owned(), source }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn remove(path: &Path) -> Result<(), ResolvConfError> {
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

#[cfg(test)]
mod tests;
