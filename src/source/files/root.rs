//! Opens what is in a directory of services, so that nothing is waited for and nothing outside of the directory is read.
//!
//! Who may write to the directory may put anything there at any moment: pipes, devices, links to secrets of the host.
//! So everything is opened without blocking, relative to the descriptor of its directory, and is judged by its own
//! descriptor. Links are followed by openat2(2), which does not leave the directory.

use super::aliases::Inode;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Maximum number of tries to follow a link while something in the directory is being renamed (openat2(2), EAGAIN).
const MAX_TRIES: usize = 16;

/// Where links in a directory of services may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkPolicy {
    /// Into the directory only.
    #[default]
    Inside,
    /// Anywhere.
    Anywhere,
}

/// An open directory of services.
#[derive(Debug)]
pub(super) struct RecordsRoot {
    fd: OwnedFd,
    path: PathBuf,
    links: LinkPolicy,
    /// Whether the kernel, and the sandbox, have openat2(2).
    has_openat2: bool,
}

/// What an entry of a directory is; of a link: what it leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryState {
    pub(super) about: Statx,
    pub(super) is_directory: bool,
    pub(super) is_link: bool,
}

/// Why an entry of a directory is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryProblem {
    #[error(transparent)]
    System(#[from] io::Error),
    #[error(
        "it is a link that leads out of the directory of records; see -records-links (SKYDNS_RECORDS_LINKS)"
    )]
    LeadsOut,
    #[error(
        "it is a link, and this system has no openat2(2) to keep it in the directory of records; see -records-links \
         (SKYDNS_RECORDS_LINKS)"
    )]
    NoOpenat2,
    #[error("it is a link that leads back to a directory it is in")]
    Circle,
    #[error("it is deeper than a name has labels")]
    TooDeep,
    #[error("it is neither a file nor a directory")]
    NotRegular,
    #[error("it has {len} octets, more than the {max} of a value")]
    TooLarge { len: u64, max: u64 },
}

impl From<Errno> for EntryProblem {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl RecordsRoot {
    /// Opens the directory at a path, which may be a link.
    pub(super) fn open(path: &Path, links: LinkPolicy) -> io::Result<Self> {
        let fd = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
        let tried = rustix::fs::openat2(&fd, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), INSIDE);
        // A sandbox that does not know the call refuses it.
        let has_openat2 = !matches!(tried, Err(Errno::NOSYS | Errno::PERM));
        Ok(Self { fd, path: path.to_owned(), links, has_openat2 })
    }

    /// The descriptor of the directory.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Looks at an entry of a directory; `path` is that of the entry, relative to the root.
    pub(super) fn look(&self, dir: BorrowedFd<'_>, path: &Path) -> Result<EntryState, EntryProblem> {
        let name = path.file_name().unwrap_or_default();
        let mut about = state_of(dir, name)?;
        let is_link = file_type(&about) == FileType::Symlink;
        if is_link {
            about = state_of_open(&self.follow(dir, path, OFlags::PATH | OFlags::CLOEXEC)?)?;
        }
        match file_type(&about) {
            FileType::RegularFile => Ok(EntryState { about, is_directory: false, is_link }),
            FileType::Directory => Ok(EntryState { about, is_directory: true, is_link }),
            _ => Err(EntryProblem::NotRegular),
        }
    }

    /// Opens an entry that was looked at; also returns what was opened, which may be another file by now, but never
    /// another kind.
    pub(super) fn open_entry(
        &self,
        dir: BorrowedFd<'_>,
        path: &Path,
        state: &EntryState,
    ) -> Result<(OwnedFd, Statx), EntryProblem> {
        let flags = if state.is_directory { DIRECTORY } else { FILE };
        let fd = if state.is_link {
            self.follow(dir, path, flags)?
        } else {
            let name = path.file_name().unwrap_or_default();
            rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW, Mode::empty())?
        };
        let about = state_of_open(&fd)?;
        let wanted = if state.is_directory { FileType::Directory } else { FileType::RegularFile };
        if file_type(&about) == wanted { Ok((fd, about)) } else { Err(EntryProblem::NotRegular) }
    }

    /// The file at a path, relative to the root, if it has several names. Links on the way are followed, but nothing is read.
    pub(super) fn inode_of_several_names(&self, path: &Path) -> Option<Inode> {
        rustix::fs::statx(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
            .ok()
            .filter(|about| about.stx_nlink > 1)
            .map(|about| Inode::of(&about))
    }

    /// What an entry of a directory is, links not followed.
    pub(super) fn file_type(&self, dir: BorrowedFd<'_>, path: &Path) -> Result<FileType, Errno> {
        state_of(dir, path.file_name().unwrap_or_default()).map(|about| file_type(&about))
    }

    /// The path of the directory, as it was given.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory that is no link.
    pub(super) fn open_plain(&self, dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<(OwnedFd, Statx)> {
        let fd = rustix::fs::openat(dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        let about = state_of_open(&fd)?;
        Ok((fd, about))
    }

    /// Opens what a link leads to.
    fn follow(&self, dir: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, EntryProblem> {
        let name = path.file_name().unwrap_or_default();
        match self.links {
            LinkPolicy::Anywhere => Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?),
            LinkPolicy::Inside if !self.has_openat2 => Err(EntryProblem::NoOpenat2),
            LinkPolicy::Inside => match self.open_inside(path, flags) {
                Err(Errno::XDEV) => {
                    let inside = self.target_inside(dir, name).ok_or(EntryProblem::LeadsOut)?;
                    self.open_inside(&inside, flags).map_err(|error| match error {
                        Errno::XDEV => EntryProblem::LeadsOut,
                        error => error.into(),
                    })
                }
                opened => Ok(opened?),
            },
        }
    }

    /// Opens a path relative to the root, without leaving the root; EXDEV if the path leads out of it.
    fn open_inside(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut tries = 0;
        loop {
            tries += 1;
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), INSIDE) {
                Err(Errno::AGAIN) if tries < MAX_TRIES => {}
                opened => return opened,
            }
        }
    }

    /// The target of an absolute link that leads into the root, relative to the root.
    fn target_inside(&self, dir: BorrowedFd<'_>, name: &OsStr) -> Option<PathBuf> {
        let target = rustix::fs::readlinkat(dir, name, Vec::new()).ok()?;
        let target = Path::new(OsStr::from_bytes(target.to_bytes()));
        let inside = |root: &Path| target.strip_prefix(root).ok().map(Path::to_owned);
        let inside = inside(&self.path).or_else(|| inside(&self.path.canonicalize().ok()?))?;
        Some(if inside.as_os_str().is_empty() { ".".into() } else { inside })
    }
}

/// Links inside are followed; links of the kernel, as in /proc, are none of the directory's.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// A pipe without a writer must not be waited for, and a terminal must not become ours.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

const DIRECTORY: OFlags = FILE.union(OFlags::DIRECTORY);

fn state_of(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Statx, Errno> {
    rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
}

/// The state of what is open.
pub(super) fn state_of_open(fd: &impl AsFd) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

fn file_type(about: &Statx) -> FileType {
    FileType::from_raw_mode(about.stx_mode.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn kind(root: &RecordsRoot, path: &str) -> String {
        match root.look(root.fd(), Path::new(path)) {
            Ok(state) => {
                let opened = root.open_entry(root.fd(), Path::new(path), &state);
                format!("{} {}", if state.is_directory { "directory" } else { "file" }, opened.is_ok())
            }
            Err(problem) => problem.to_string().chars().take(30).collect(),
        }
    }

    #[test]
    fn links_stay_inside_unless_they_may_lead_anywhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("d/e")).expect("directories");
        fs::create_dir(&outside).expect("a directory");
        fs::write(root.join("f"), "{}").expect("a file");
        fs::write(outside.join("secret"), "{}").expect("a file");
        let root_target = root.display().to_string();
        for (target, link) in [
            ("f", "near"),
            ("d/../f", "around"),
            ("d/e", "dir"),
            ("../outside/secret", "out"),
            ("../root/f", "out-and-in"),
            ("/etc/passwd", "absolute"),
            (&format!("{root_target}/f"), "absolute-inside"),
            (&format!("{root_target}/out"), "absolute-to-out"),
            ("out", "over"),
            ("self", "self"),
            ("/proc/self/fd/0", "magic"),
            ("nowhere", "dangling"),
        ] {
            symlink(target, root.join(link)).expect("a link");
        }
        let strict = RecordsRoot::open(&root, LinkPolicy::Inside).expect("open");
        assert!(strict.has_openat2);
        let out = "it is a link that leads out of";
        for (path, expected) in [
            ("f", "file true"),
            ("d", "directory true"),
            ("near", "file true"),
            ("around", "file true"),
            ("dir", "directory true"),
            ("absolute-inside", "file true"),
            ("out", out),
            ("out-and-in", out),
            ("absolute", out),
            ("absolute-to-out", out),
            ("over", out),
            ("magic", out),
            ("self", "Too many levels of symbolic li"),
            ("dangling", "No such file or directory (os "),
        ] {
            assert_eq!(kind(&strict, path), expected, "{path}");
        }
        let loose = RecordsRoot::open(&root, LinkPolicy::Anywhere).expect("open");
        for path in ["near", "out", "out-and-in", "absolute", "over"] {
            assert_eq!(kind(&loose, path), "file true", "{path}");
        }
        let old = RecordsRoot { has_openat2: false, ..strict };
        assert_eq!(kind(&old, "near"), "it is a link, and this system ");
        assert_eq!(kind(&old, "f"), "file true");
    }

    #[test]
    fn what_takes_the_place_of_a_file_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("x"), "{}").expect("a file");
        let root = RecordsRoot::open(dir.path(), LinkPolicy::Inside).expect("open");
        let path = Path::new("x");
        let state = root.look(root.fd(), path).expect("a file");
        fs::remove_file(dir.path().join("x")).expect("removed");
        nix::unistd::mkfifo(&dir.path().join("x"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(matches!(root.open_entry(root.fd(), path, &state), Err(EntryProblem::NotRegular)));
        assert!(matches!(root.look(root.fd(), path), Err(EntryProblem::NotRegular)));
        fs::remove_file(dir.path().join("x")).expect("removed");
        symlink("/etc/passwd", dir.path().join("x")).expect("a link");
        assert!(root.open_entry(root.fd(), path, &state).is_err());
    }
}
