//! Machines with a real systemd: Debian roots, booted in containers.

use super::cgroup::Cgroup;
use super::{PATIENCE, Process, eventually, run};
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
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

/// One machine at a time: the tests of a program share the processors. `None` where none can be booted, which is said
/// loudly.
pub fn machines(test: &str) -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if let Some(reason) = why_not() {
        say(&format!("SKIPPED: {test}: {reason}\n"));
        return None;
    }
    Some(ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Prints past the test harness, which keeps what passing tests print.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A booted machine; it is powered off with its handle.
pub struct Machine {
    process: Option<Process>,
    leader: i32,
    dir: tempfile::TempDir,
    name: String,
    /// A network of ip-netns(8) that the machine is in; `None` for one of its own at each boot.
    network: Option<String>,
    /// Whether something keeps a boot from its end for longer than a test waits.
    pub waits: bool,
    /// The last field: what is left in the group ends after everything else.
    cgroup: Cgroup,
}

impl Machine {
    /// Boots a release of Debian: `bookworm`, `trixie`.
    pub fn boot(release: &'static str) -> Self {
        Self::boot_root(&Root { name: release, release, packages: PACKAGES, off: &[] })
    }

    /// Boots a copy of a root.
    pub fn boot_root(root: &Root) -> Self {
        Self::boot_in(root, None, |_| ())
    }

    /// Boots a copy of a root, which is changed before, in a network of ip-netns(8) that stays when the machine boots again.
    pub fn boot_in(root: &Root, network: Option<&str>, prepare: impl FnOnce(&Path)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(root.make()).arg(dir.path().join("root")));
        fs::create_dir(dir.path().join("shared")).expect("a directory");
        prepare(&dir.path().join("root"));
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("skydns-{}-{}-{number}", root.name, std::process::id());
        let (cgroup, network) = (Cgroup::new(&name), network.map(str::to_owned));
        let mut machine = Self { process: None, leader: 0, dir, name, network, waits: false, cgroup };
        machine.start();
        machine
    }

    fn start(&mut self) {
        let log = File::create(self.dir.path().join("console")).expect("a file");
        let network = self.network.as_ref().map_or_else(
            || "--private-network".to_owned(),
            |name| format!("--network-namespace-path=/run/netns/{name}"),
        );
        let mut command = self.cgroup.command("systemd-nspawn");
        command
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            // Some DHCP clients set what is below /proc/sys/net.
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
            .args(["-q", "--boot", "--register=no", "--keep-unit", "--link-journal=no"])
            .args([network.as_str(), "--capability=CAP_NET_ADMIN"])
            .arg(format!("--machine={}", self.name))
            .arg("-D")
            .arg(self.dir.path().join("root"))
            .arg(format!("--bind={}:/t", self.shared().display()))
            // Docker makes a keyring for each container, and asks the kernel about programs for devices.
            .arg("--system-call-filter=@keyring bpf")
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
            state.contains("running")
                || state.contains("degraded")
                || self.waits && state.contains("starting")
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
        self.cgroup.kill();
    }

    /// Ends all processes of the machine at once, as a loss of power does.
    pub fn kill(&mut self) {
        self.cgroup.kill();
        self.process = None;
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

    /// The id of the first process, as it is outside.
    pub fn leader(&self) -> i32 {
        self.leader
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
        for tool in TOOLS {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().expect("sh");
            assert!(found.status.success(), "{tool} is missing; packaging/setup test installs it");
        }
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot");
        let root = home.join(self.name);
        let stamp = home.join(format!("{}.packages", self.name));
        let made_of = [&[self.packages], self.off].concat().join(" ");
        let _lock = lock(&home.join(format!("{}.lock", self.name)));
        if fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
            return root;
        }
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

/// Waits until no other process holds a lock, and takes it.
fn lock(path: &Path) -> Flock<File> {
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    let file = File::create(path).expect("a file");
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error).expect("the lock")
}

/// The packages, built once.
pub struct Packages {
    pub deb: PathBuf,
    /// The same with a later version.
    pub next: PathBuf,
    pub rpm: PathBuf,
    pub image: Option<PathBuf>,
}

/// Builds the packages of this checkout. Each test program has a copy, which another one's build does not touch.
pub fn packages() -> &'static Packages {
    static BUILT: OnceLock<Packages> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = home_of_this_process("packages");
        copy_packages(&dir);
        let find = |ending: &str| {
            let entries = fs::read_dir(&dir).expect("packages").map(|entry| entry.expect("an entry").path());
            entries.into_iter().find(|path| path.to_string_lossy().ends_with(ending))
        };
        let deb = find("_amd64.deb").or_else(|| find("_arm64.deb")).expect("a .deb");
        let next = later(&deb, &dir);
        Packages { deb, next, rpm: find(".rpm").expect("an .rpm"), image: find("-image.tar") }
    })
}

/// Builds the packages, or takes those of `SKYDNS_PACKAGES`, a directory as packaging/build makes it.
fn copy_packages(dir: &Path) {
    let _lock = lock(Path::new("target/packages.lock"));
    let source = std::env::var("SKYDNS_PACKAGES").unwrap_or_else(|_| {
        let output = Command::new("packaging/build").stdin(Stdio::null()).output().expect("packaging/build");
        assert!(output.status.success(), "packaging/build: {}", String::from_utf8_lossy(&output.stderr));
        "target/packages".to_owned()
    });
    run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(format!("{source}/.")).arg(dir));
}

/// A directory for as long as this process runs; those of processes that have ended are removed.
fn home_of_this_process(what: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(home).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(what).and_then(|rest| rest.strip_prefix('-'));
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let dir = home.join(format!("{what}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// The same package with a later version, for upgrades.
fn later(deb: &Path, dir: &Path) -> PathBuf {
    let (tree, next) = (dir.join("next"), dir.join("skydns-next.deb"));
    run(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree));
    let control = fs::read_to_string(tree.join("DEBIAN/control")).expect("a control file");
    let control = control.replace("\nVersion: 3.0.0-1\n", "\nVersion: 3.0.1-1\n");
    assert!(control.contains("3.0.1-1"), "{control}");
    fs::write(tree.join("DEBIAN/control"), control).expect("a control file");
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&next));
    next
}
