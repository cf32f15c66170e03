//! A control group for each booted machine, so that no machine takes another one's processes for its own.
//!
//! With `--keep-unit`, a container's systemd manages the group that its manager was started in. Two managers in one group
//! would get each other's processes, and would end them at a shutdown.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A new group below the caller's, in each hierarchy that systemd uses; it goes with this.
pub struct Cgroup {
    /// The one of control groups v2, and that of `name=systemd` where both are mounted.
    dirs: Vec<PathBuf>,
}

impl Cgroup {
    pub fn new(name: &str) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").expect("the caller's groups");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let mut dirs = Vec::new();
        for parent in parents(&own, &mounts) {
            let dir = parent.join(name);
            fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
            dirs.push(dir);
        }
        assert!(!dirs.is_empty(), "no control groups for systemd:\n{own}{mounts}");
        Self { dirs }
    }

    /// A program that is started in the group.
    pub fn command(&self, program: &str) -> Command {
        let script = "while [ \"$1\" != -- ]; do echo $$ > \"$1/cgroup.procs\" || exit 1; shift; done; shift; exec \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(&self.dirs).args(["--", program]);
        command
    }

    /// Ends all processes that are left in the group.
    pub fn kill(&self) {
        for dir in self.dirs.iter().flat_map(|dir| below(dir)) {
            let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            // 0 is a process that cannot be seen from here.
            for process in processes.lines().filter(|process| *process != "0") {
                let _ = Command::new("kill").args(["-KILL", process]).status();
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let end = std::time::Instant::now() + super::PATIENCE;
        while self.dirs.iter().any(|dir| dir.exists()) && std::time::Instant::now() < end {
            self.kill();
            for dir in self.dirs.iter().flat_map(|dir| below(dir)) {
                let _ = fs::remove_dir(dir);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// The caller's groups in the hierarchies of systemd, as directories.
fn parents(own: &str, mounts: &str) -> Vec<PathBuf> {
    let of = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let (kind, option) = match controllers {
            "" => ("cgroup2", ""),
            "name=systemd" => ("cgroup", "name=systemd"),
            _ => return None,
        };
        let mount = mounts.lines().find_map(|line| mount_point(line, kind, option))?;
        Some(mount.join(group.trim_start_matches('/')))
    };
    own.lines().filter_map(of).collect()
}

/// Where a line of mountinfo(5) mounts a hierarchy.
fn mount_point(line: &str, kind: &str, option: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let is_it = after.next() == Some(kind)
        && (option.is_empty() || after.nth(1).is_some_and(|options| options.split(',').any(|o| o == option)));
    is_it.then(|| before.split(' ').nth(4).map(PathBuf::from))?
}

/// A directory and those below it, the deepest first.
fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut found: Vec<_> = dirs.flat_map(|entry| below(&entry.path())).collect();
    found.push(dir.to_owned());
    found
}
