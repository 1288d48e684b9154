//! A throw-away machine with a real systemd: `boot.sh` boots it, commands run
//! in all of its namespaces, and what is dropped is gone.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// SIGRTMIN+4 of the C library: systemd powers off.
const POWER_OFF: &str = "RTMIN+4";

/// A machine that runs.
pub(crate) struct Machine {
    boot: Child,
    dir: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.out
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Waits until `condition` returns something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Why no machine can be booted here, if so.
pub(crate) fn cannot_boot() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can boot a machine");
    }
    let there = |program: &str| {
        std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
        })
    };
    (!there("systemd-nspawn")).then_some("systemd-nspawn is not installed")
}

impl Machine {
    /// Boots one; returns when its systemd says that all is up.
    #[track_caller]
    pub(crate) fn boot() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mcpb-{}-{number}", std::process::id());
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("machine")).expect("made");
        let console = fs::File::create(dir.path().join("console.log")).expect("made");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine/systemd/boot.sh");
        let boot = Command::new(script)
            .arg(dir.path().join("machine"))
            .arg(&name)
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a copy"))
            .stderr(console)
            .spawn()
            .expect("boot.sh");
        let mut machine = Self { boot, dir };
        machine.wait_until_up(None);
        machine
    }

    /// Waits for a systemd that is not `before`, and that all is up.
    #[track_caller]
    fn wait_until_up(&mut self, before: Option<i32>) {
        wait_for("systemd", || {
            if let Some(status) = self.boot.try_wait().expect("a child") {
                panic!("the machine ended ({status}):\n{}", self.console());
            }
            let leader = self
                .find_leader()
                .filter(|leader| Some(*leader) != before)?;
            Path::new(&format!("/proc/{leader}/root/run/systemd/private"))
                .exists()
                .then_some(())
        });
        let said = self.run(["systemctl", "is-system-running", "--wait"]);
        assert_eq!(
            said.out.trim(),
            "running",
            "{}",
            self.run(["systemctl", "--failed"]).out
        );
    }

    /// Reboots it, and returns when it is up again.
    pub(crate) fn reboot(&mut self) {
        let before = self.leader();
        // It may be gone before it has answered.
        let _ = self.run(["systemctl", "reboot"]);
        self.wait_until_up(Some(before));
    }

    fn console(&self) -> String {
        fs::read_to_string(self.dir.path().join("console.log")).unwrap_or_default()
    }

    /// The systemd in it, by its number out here: a child of nspawn that is
    /// process 1 there.
    fn find_leader(&self) -> Option<i32> {
        let nspawn = fs::read_to_string(self.dir.path().join("nspawn.pid")).ok()?;
        let tasks = fs::read_dir(format!("/proc/{}/task", nspawn.trim())).ok()?;
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
            .flat_map(|children| {
                let pids: Vec<i32> = children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .collect();
                pids
            })
            .find(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let first = |line: &str| line.starts_with("NSpid:") && line.ends_with("\t1");
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                status.lines().any(first) && name.trim() == "systemd"
            })
    }

    #[track_caller]
    pub(crate) fn leader(&self) -> i32 {
        self.find_leader().expect("the machine runs")
    }

    /// Its root, from out here.
    pub(crate) fn root(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader()))
    }

    /// What was ever written in it and is there: its root's upper layer, where
    /// the files of the machine under it are not.
    #[track_caller]
    pub(crate) fn written(&self, name: &str) -> Vec<String> {
        let layer = self.dir.path().join("machine/upper");
        let seen_by_boot = format!("/proc/{}/root{}", self.boot.id(), layer.display());
        let Output { status, stdout, .. } = Command::new("find")
            .args([seen_by_boot.as_str(), "-xdev", "-iname", name])
            // A device 0:0 stands for a file that was deleted.
            .args(["!", "-type", "c", "-printf", "/%P\n"])
            .output()
            .expect("find");
        assert!(status.success(), "{status}");
        let paths = String::from_utf8(stdout).expect("paths");
        paths.lines().map(str::to_owned).collect()
    }

    /// A command that will run in it, without this environment.
    #[track_caller]
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &self.leader().to_string(),
                "--all",
                "--",
                "env",
                "-i",
            ])
            .args([
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "LANG=C.UTF-8",
                "SYSTEMD_PAGER=cat",
                "SYSTEMD_COLORS=0",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .args(words)
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Said {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(words).output().expect("nsenter");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said {
            status,
            out: text(stdout),
            err: text(stderr),
        }
    }

    /// A shell script in it, as root.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> Said {
        self.run(["bash", "-euc", script])
    }

    /// A shell script in it as another user, with that user's login.
    #[track_caller]
    pub(crate) fn sh_as(&self, user: &str, script: &str) -> Said {
        self.run(["runuser", "-l", user, "-c", script])
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.root(path), text).expect("written");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root(path)).expect("read")
    }

    /// A property of a unit.
    #[track_caller]
    pub(crate) fn show(&self, unit: &str, property: &str) -> String {
        let said = self.run(["systemctl", "show", "--value", "-p", property, unit]);
        said.ok().trim().to_owned()
    }

    /// Waits until a property of a unit is as wished.
    #[track_caller]
    pub(crate) fn wait_show(
        &self,
        unit: &str,
        property: &str,
        wished: impl Fn(&str) -> bool,
    ) -> String {
        let mut last = String::new();
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            last = self.show(unit, property);
            if wished(&last) {
                return last;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let journal = self.run(["journalctl", "-u", unit, "-n", "40", "--no-pager"]);
        panic!("{unit}: {property} is `{last}`\n{}", journal.out);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(leader) = self.find_leader() {
            let _ = Command::new("kill")
                .args(["-s", POWER_OFF, &leader.to_string()])
                .status();
        }
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if matches!(self.boot.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        // It hangs: boot.sh ends what is left of it.
        if let Some(pid) = Pid::from_raw(self.boot.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.boot.wait();
    }
}
