//! The place of an attack: a store in a directory that a group shares, files of
//! the victim's outside, and what must be true of them afterwards.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::scratch::{Scratch, can_run, is_root, not_tried};

/// The service's user and group, which own the directory.
pub(crate) const SERVICE: u32 = 64_001;
/// The attacker: another user, in that group.
pub(crate) const ATTACKER: u32 = 64_002;
/// A third user in that group, who works with the store.
pub(crate) const AGENT: u32 = 64_003;

/// Longer than any command takes, and shorter than for ever.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The user that runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Root,
    Agent,
    Service,
}

impl As {
    fn user(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Agent => AGENT,
            Self::Service => SERVICE,
        }
    }
}

/// What an attacker can put under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A link to the file of the one who runs the command.
    Link,
    /// A link to a file that is not there, in that user's directory.
    Dangling,
    /// Another name of that file, where the system lets one make it.
    HardLink,
    Pipe,
    /// Only root makes one; it may stand there all the same.
    Device,
    Directory,
    Socket,
    /// A file of the attacker's that every user may read and write.
    File,
}

impl Obstacle {
    pub(crate) const ALL: [Self; 8] = [
        Self::Link,
        Self::Dangling,
        Self::HardLink,
        Self::Pipe,
        Self::Device,
        Self::Directory,
        Self::Socket,
        Self::File,
    ];
}

/// How one ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

/// A file as it stood: mode, owner, group, length, time of change, content.
type Stood = (u32, u32, u32, u64, (i64, i64), Vec<u8>);

/// The place.
pub(crate) struct Ground {
    pub(crate) scratch: Scratch,
    before: BTreeMap<PathBuf, Stood>,
}

/// Whether attacks can be tried here; says so if not.
pub(crate) fn possible(what: &str) -> bool {
    if !is_root() {
        not_tried(what, "needs root, to be several users");
        return false;
    }
    if !can_run("setpriv", &["--version"]) {
        not_tried(what, "setpriv is missing");
        return false;
    }
    true
}

impl Ground {
    /// A store of the service's with a conversation, whose group is open to the
    /// attacker; one home for each user who runs commands.
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
        };
        // What is made here belongs to other users than the one who made it.
        set(scratch.dir(), 0o755);
        let ground = Self {
            scratch,
            before: BTreeMap::new(),
        };
        for program in ["mcp-bridge", "mcp-bridged"] {
            let built = match program {
                "mcp-bridge" => env!("CARGO_BIN_EXE_mcp-bridge"),
                _ => env!("CARGO_BIN_EXE_mcp-bridged"),
            };
            // Where the other users can reach it.
            let reachable = ground.path(program);
            if std::fs::hard_link(built, &reachable).is_err() {
                std::fs::copy(built, &reachable).expect("copied");
            }
        }
        let store = ground.path("store");
        std::fs::create_dir(&store).expect("made");
        chown(&store, Some(SERVICE), Some(SERVICE)).expect("root may");
        set(&store, 0o2770);
        for user in [As::Root, As::Agent, As::Service] {
            let home = ground.home(user);
            std::fs::create_dir_all(&home).expect("made");
            std::fs::write(home.join("secret"), "the victim's own\n").expect("written");
            for path in [home.join("secret"), home.clone()] {
                chown(&path, Some(user.user()), Some(user.user())).expect("root may");
            }
            set(&home, 0o700);
            set(&home.join("secret"), 0o600);
        }
        let made = ground.run(
            As::Service,
            &[
                "conversation",
                "new",
                "--label",
                "work",
                "--out",
                "credentials",
            ],
        );
        assert_eq!(made.code, Some(0), "{made:?}");
        let given = ground.home(As::Service).join("credentials/work.a.toml");
        for user in [As::Root, As::Agent] {
            let own = ground.home(user).join("work.a.toml");
            std::fs::copy(&given, &own).expect("copied");
            set(&own, 0o600);
            chown(&own, Some(user.user()), Some(user.user())).expect("root may");
        }
        std::fs::copy(&given, ground.home(As::Service).join("work.a.toml")).expect("copied");
        chown(
            ground.home(As::Service).join("work.a.toml"),
            Some(SERVICE),
            Some(SERVICE),
        )
        .expect("root may");
        ground
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    /// In the directory that the group shares.
    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        self.path("store").join(name)
    }

    pub(crate) fn home(&self, user: As) -> PathBuf {
        self.path(&format!("home/{user:?}"))
    }

    /// What an attacker tries to reach.
    pub(crate) fn victim(&self, user: As) -> PathBuf {
        self.home(user).join("secret")
    }

    /// A program as a user of the group, in that user's home.
    pub(crate) fn program(&self, user: As, name: &str, words: &[&str]) -> Command {
        let id = user.user();
        let mut command = Command::new("setpriv");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home(user))
            .env("MCP_BRIDGE_STORE", self.shared("bridge.db"))
            .env(
                "MCP_BRIDGE_CREDENTIALS",
                self.home(user).join("work.a.toml"),
            )
            .current_dir(self.home(user))
            .stdin(Stdio::null());
        if user == As::Root {
            command.arg("--clear-groups");
        } else {
            command.args([
                format!("--reuid={id}"),
                format!("--regid={id}"),
                format!("--groups={SERVICE}"),
            ]);
        }
        command.arg(self.path(name)).args(words);
        command
    }

    /// Runs `mcp-bridge` to its end, which comes in time.
    pub(crate) fn run(&self, user: As, words: &[&str]) -> Ended {
        ended(self.program(user, "mcp-bridge", words), words)
    }

    /// Puts an obstacle under a name in the shared directory, for a command of
    /// this user's.
    pub(crate) fn put(&self, obstacle: Obstacle, name: &str, user: As) {
        let path = self.shared(name);
        clear(&path);
        let victim = self.victim(user);
        match obstacle {
            Obstacle::Link => symlink(&victim, &path).expect("linked"),
            Obstacle::Dangling => symlink(self.home(user).join("new"), &path).expect("linked"),
            Obstacle::HardLink => std::fs::hard_link(&victim, &path).expect("linked"),
            Obstacle::Pipe => make("mkfifo", &path, &[]),
            // The null device: a write there is lost and does no harm.
            Obstacle::Device => make("mknod", &path, &["c", "1", "3"]),
            Obstacle::Directory => std::fs::create_dir(&path).expect("made"),
            Obstacle::Socket => {
                std::os::unix::net::UnixListener::bind(&path).expect("bound");
            }
            Obstacle::File => std::fs::write(&path, "the attacker's").expect("written"),
        }
        if obstacle != Obstacle::HardLink {
            lchown(&path, Some(ATTACKER), Some(SERVICE)).expect("root may");
        }
        if !matches!(
            obstacle,
            Obstacle::Link | Obstacle::Dangling | Obstacle::HardLink
        ) {
            std::fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("set");
        }
    }

    /// Takes away what stands under a name.
    pub(crate) fn clear(&self, name: &str) {
        clear(&self.shared(name));
    }

    /// Notes how everything outside the shared directory stands.
    pub(crate) fn note(&mut self) {
        self.before = self.outside();
    }

    /// Asserts that nothing outside is other than it was noted.
    pub(crate) fn assert_untouched(&self, when: &str) {
        let now = self.outside();
        for (path, stood) in &self.before {
            let path = path.display();
            let there = now.get(Path::new(&path.to_string()));
            assert!(there.is_some(), "{when}: {path} is gone");
            assert_eq!(there, Some(stood), "{when}: {path} was changed");
        }
        let new: Vec<_> = now
            .keys()
            .filter(|path| !self.before.contains_key(*path))
            .collect();
        assert!(new.is_empty(), "{when}: made outside: {new:?}");
    }

    fn outside(&self) -> BTreeMap<PathBuf, Stood> {
        let mut found = BTreeMap::new();
        let shared = self.path("store");
        let mut places = vec![self.scratch.dir().to_owned()];
        while let Some(place) = places.pop() {
            for entry in std::fs::read_dir(&place).expect("readable") {
                let path = entry.expect("an entry").path();
                let meta = path.symlink_metadata().expect("there");
                if meta.is_dir() {
                    if path != shared {
                        places.push(path);
                    }
                    continue;
                }
                // The programs are as they were built.
                let content = match meta.len() < 1 << 16 {
                    true => std::fs::read(&path).expect("readable"),
                    false => Vec::new(),
                };
                let when = (meta.mtime(), meta.mtime_nsec());
                let stood = (
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.len(),
                    when,
                    content,
                );
                found.insert(path, stood);
            }
        }
        found
    }
}

/// Runs a command to its end; one that does not end in time fails the test.
pub(crate) fn ended(mut command: Command, words: &[&str]) -> Ended {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("our child") {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{words:?} did not end within {LIMIT:?}");
        }
        std::thread::park_timeout(Duration::from_millis(2));
    };
    let output = child.wait_with_output().expect("it ended");
    Ended {
        code: status.code(),
        said: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

fn clear(path: &Path) {
    let Ok(meta) = path.symlink_metadata() else {
        return;
    };
    match meta.is_dir() {
        true => std::fs::remove_dir_all(path).expect("removed"),
        false => std::fs::remove_file(path).expect("removed"),
    }
}

fn make(program: &str, path: &Path, rest: &[&str]) {
    let made = Command::new(program).arg(path).args(rest).status();
    assert!(made.expect("it starts").success(), "{program}");
}
