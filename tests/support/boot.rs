//! Machines with a real systemd: Debian roots, booted in containers.

use super::{PATIENCE, Process, eventually, run};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The root of a machine: a directory with a release of Debian.
pub struct Root {
    /// It is made once, and kept under this name.
    pub name: &'static str,
    pub release: &'static str,
    /// Packages beside the base system, with commas between them.
    pub packages: &'static str,
    /// Units of these packages that are not started.
    pub off: &'static [&'static str],
}

/// What every root of [`Machine::boot`] holds beside the base system.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,systemd-resolved,libnss-myhostname,libnss-resolve,bind9-dnsutils,rpm,iproute2";

/// The tools that booting takes.
const TOOLS: [&str; 4] = ["mmdebstrap", "systemd-nspawn", "nsenter", "dpkg-deb"];

/// Why no machine can be booted here; `None` if one can.
///
/// A missing tool is no reason where we are root: `packaging/setup test` installs them.
pub fn why_not() -> Option<&'static str> {
    (!nix::unistd::Uid::effective().is_root()).then_some("booting systemd takes root")
}

/// A booted machine; it is powered off with its handle.
pub struct Machine {
    process: Option<Process>,
    leader: i32,
    dir: tempfile::TempDir,
    name: String,
}

impl Machine {
    /// Boots a release of Debian: `bookworm`, `trixie`.
    pub fn boot(release: &'static str) -> Self {
        Self::boot_root(&Root { name: release, release, packages: PACKAGES, off: &[] })
    }

    /// Boots a copy of a root.
    pub fn boot_root(root: &Root) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(root.make()).arg(dir.path().join("root")));
        fs::create_dir(dir.path().join("shared")).expect("a directory");
        let name = format!("skydns-{}-{}", root.name, std::process::id());
        let mut machine = Self { process: None, leader: 0, dir, name };
        machine.start();
        machine
    }

    fn start(&mut self) {
        let log = File::create(self.dir.path().join("console")).expect("a file");
        let mut command = Command::new("systemd-nspawn");
        command
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .args(["-q", "--boot", "--register=no", "--keep-unit", "--private-network", "--link-journal=no"])
            .arg(format!("--machine={}", self.name))
            .arg("-D")
            .arg(self.dir.path().join("root"))
            .arg(format!("--bind={}:/t", self.shared().display()))
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        let process = Process::spawn(&mut command);
        let id = process.id();
        self.process = Some(process);
        eventually("the container has a first process", || {
            self.leader = first_process(id).unwrap_or(0);
            self.leader != 0
        });
        eventually("systemd is up", || {
            let state = self.try_run("systemctl is-system-running").1;
            assert!(self.process.as_mut().is_some_and(Process::is_running), "{}", self.console());
            state.contains("running") || state.contains("degraded")
        });
    }

    /// Powers off and boots again with the same disk.
    pub fn reboot(&mut self) {
        self.power_off();
        self.start();
    }

    fn power_off(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = self.try_run("systemctl poweroff");
            let end = std::time::Instant::now() + PATIENCE;
            while process.is_running() && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    pub fn console(&self) -> String {
        fs::read_to_string(self.dir.path().join("console")).unwrap_or_default()
    }

    /// A directory that is `/t` inside.
    pub fn shared(&self) -> PathBuf {
        self.dir.path().join("shared")
    }

    /// A file of the machine, from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Runs a script inside; whether it succeeded, and what it printed to both outputs.
    pub fn try_run(&self, script: &str) -> (bool, String) {
        self.try_run_for(60, script)
    }

    /// The same with so many seconds at most.
    pub fn try_run_for(&self, seconds: u32, script: &str) -> (bool, String) {
        let output = Command::new("nsenter")
            .args(["-t", &self.leader.to_string(), "-m", "-u", "-i", "-n", "-p", "--"])
            .args(["timeout", &seconds.to_string(), "bash", "-c", &format!("exec 2>&1\ncd /\n{script}")])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .expect("nsenter");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a script inside that has to succeed; gives what it printed.
    pub fn run(&self, script: &str) -> String {
        let (success, text) = self.try_run(script);
        assert!(success, "{script}\n{text}\n{}", self.journal());
        text.trim().to_owned()
    }

    pub fn journal(&self) -> String {
        self.try_run("journalctl --no-pager -o short-precise -n 60").1
    }

    /// Waits until a script prints a text.
    pub fn until(&self, script: &str, text: &str) {
        let mut last = String::new();
        let end = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < end {
            last = self.try_run(script).1;
            if last.contains(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never \"{text}\" from {script}\n{last}\n{}", self.journal());
    }

    /// Does something in the machine's network; what it starts stays there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.leader)).expect("a network");
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&network, CloneFlags::CLONE_NEWNET).expect("the network");
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The id of the agent's process, as it is outside.
    pub fn agent(&self) -> i32 {
        let inside = self.run("systemctl show -P MainPID skydns.service");
        let processes = fs::read_dir("/proc").expect("processes");
        let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        let is_it = |id: &i32| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let inside_id = |line: &str| line.split_whitespace().last().map(str::to_owned);
            let ns = status.lines().find(|line| line.starts_with("NSpid:")).and_then(inside_id);
            status.starts_with("Name:\tskydns\n") && ns.as_deref() == Some(&inside) && self.owns(*id)
        };
        ids.into_iter().find(is_it).expect("the agent's process")
    }

    fn owns(&self, id: i32) -> bool {
        let network = |id: i32| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
        network(id) == network(self.leader)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// The process that is 1 inside, among the descendants of the container's manager.
fn first_process(manager: u32) -> Option<i32> {
    let children = |id: u32| {
        let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()).collect::<Vec<_>>()
    };
    let mut waiting = children(manager);
    while let Some(id) = waiting.pop() {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let ns = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
        if ns.split_whitespace().count() > 2 && ns.split_whitespace().last() == Some("1") {
            return i32::try_from(id).ok();
        }
        waiting.extend(children(id));
    }
    None
}

impl Root {
    /// The directory, made if it is not there from an earlier run.
    fn make(&self) -> PathBuf {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        for tool in TOOLS {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().expect("sh");
            assert!(found.status.success(), "{tool} is missing; packaging/setup test installs it");
        }
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot");
        let root = home.join(self.name);
        let stamp = home.join(format!("{}.packages", self.name));
        let made_of = [&[self.packages], self.off].concat().join(" ");
        if fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
            return root;
        }
        fs::create_dir_all(&home).expect("a directory");
        let _ = fs::remove_dir_all(&root);
        let mut command = Command::new("mmdebstrap");
        command.args(["--quiet", "--variant=minbase", &format!("--include={}", self.packages)]);
        if !self.off.is_empty() {
            command.arg(format!("--customize-hook=systemctl --root=\"$1\" mask {}", self.off.join(" ")));
        }
        run(command.arg(self.release).arg(&root).stderr(Stdio::null()));
        // One machine after another starts from a plain resolver.
        fs::write(&stamp, made_of).expect("a file");
        root
    }
}

/// The packages, built once.
pub struct Packages {
    pub deb: PathBuf,
    /// The same with a later version.
    pub next: PathBuf,
    pub rpm: PathBuf,
    pub image: Option<PathBuf>,
}

/// Builds the packages of this checkout.
pub fn packages() -> &'static Packages {
    static BUILT: OnceLock<Packages> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = Command::new("packaging/build").stdin(Stdio::null()).output().expect("packaging/build");
        assert!(output.status.success(), "packaging/build: {}", String::from_utf8_lossy(&output.stderr));
        let dir = Path::new("target/packages");
        let find = |ending: &str| {
            let entries = fs::read_dir(dir).expect("packages").map(|entry| entry.expect("an entry").path());
            entries.into_iter().find(|path| path.to_string_lossy().ends_with(ending))
        };
        let deb = find("_amd64.deb").or_else(|| find("_arm64.deb")).expect("a .deb");
        let next = later(&deb);
        Packages { deb, next, rpm: find(".rpm").expect("an .rpm"), image: find("-image.tar") }
    })
}

/// The same package with a later version, for upgrades.
fn later(deb: &Path) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (tree, next) = (dir.join("next"), dir.join("skydns-next.deb"));
    let _ = fs::remove_dir_all(&tree);
    run(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree));
    let control = fs::read_to_string(tree.join("DEBIAN/control")).expect("a control file");
    let control = control.replace("\nVersion: 3.0.0-1\n", "\nVersion: 3.0.1-1\n");
    assert!(control.contains("3.0.1-1"), "{control}");
    fs::write(tree.join("DEBIAN/control"), control).expect("a control file");
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&next));
    next
}
