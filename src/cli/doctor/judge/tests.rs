//! Made-up machines, and what is said of them.

use std::time::Duration;

use jiff::Timestamp;

use super::judge;
use crate::cli::doctor::facts::{
    Adapter, Config, Configured, CredentialsFile, CredentialsTrouble, Facts, Inotify, Life,
    Permissions, Session, Standing, Store, Synchronized,
};
use crate::cli::doctor::finding::{Finding, Level};
use crate::cli::heard::{Daemon, Home};
use crate::store::sqlite::{Inspection, Kind, SCHEMA_VERSION};
use crate::supervisor::{DutyState, LastReload, StateFile};

const NOW: i64 = 1_763_000_000;
const MEBIBYTE: u64 = 1024 * 1024;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("in range")
}

fn inspection() -> Inspection {
    Inspection {
        differences: Vec::new(),
        fingerprint: String::new(),
        accepted: None,
        odd: Vec::new(),
        used_up: Vec::new(),
        path: "/s/bridge.db".into(),
        kind: Kind::Own {
            schema: SCHEMA_VERSION,
            needed: 1,
            adopted: false,
        },
        engine: "3.51.3".into(),
        journal_mode: "wal".into(),
        conversations: 1,
        messages: 2,
        newest: Some(now()),
        bytes: MEBIBYTE,
        log_bytes: 0,
        problem: None,
    }
}

fn permissions(mode: u32) -> Permissions {
    Permissions {
        mode,
        user: "mcp-bridge".into(),
        group: "mcp-bridge".into(),
        writable: true,
    }
}

fn store() -> Store {
    Store {
        path: "/s/bridge.db".into(),
        outcome: Ok(inspection()),
        asked: None,
        not_yet: false,
        in_use: true,
        other: false,
        must_name: false,
        closes: false,
        file: Some(permissions(0o660)),
        directory: Some(permissions(0o2770)),
        room: Some((50_000 * MEBIBYTE, 100_000 * MEBIBYTE)),
        file_system: Some("ext4".into()),
        confined: Some(true),
    }
}

fn daemon() -> Daemon {
    Daemon {
        instance: "worker".into(),
        state_path: "/run/mcp-bridge/worker/worker.json".into(),
        home: Home::System,
        state: StateFile {
            pid: 42,
            pid_ns: 0,
            version: "1.0.0".into(),
            role: "worker".into(),
            ready: true,
            generation: 1,
            reloads: 0,
            last_reload: None,
            status: "worker: 1 session alive".into(),
            store: None,
            figures: Vec::new(),
            sessions: Vec::new(),
            duties: vec![DutyState {
                name: "store".into(),
                summary: "store ok".into(),
                trouble: None,
            }],
        },
        runs: true,
        process: Some(42),
        other: None,
    }
}

fn session() -> Session {
    Session {
        name: "backend".into(),
        said: Vec::new(),
        kept: true,
        proof: Life::Alive("process 7".into()),
        wakes: vec![Adapter {
            name: "exec",
            target: "/usr/local/bin/nudge".into(),
            trouble: None,
            doubt: None,
        }],
    }
}

fn config(session: Session) -> Config {
    Config {
        path: "/etc/mcp-bridge/worker.toml".into(),
        instance: "worker".into(),
        home: Home::System,
        enabled: true,
        other: None,
        store: Some("/s/bridge.db".into()),
        outcome: Ok(Configured {
            role: "worker",
            drop_ins: 2,
            sessions: vec![session],
            alerts: vec![Adapter {
                name: "webhook",
                target: "hooks.example.org".into(),
                trouble: None,
                doubt: None,
            }],
        }),
    }
}

#[test]
fn store_held_by_its_daemon_is_no_fault() {
    let mut facts = sound();
    facts.stores[0].outcome = Err(("permission denied".into(), "sudo".into()));
    facts.stores[0].asked = Some("/run/mcp-bridge/worker/api.sock".into());
    let found = judge(&facts);
    assert!(found.iter().all(|f| f.level < Level::Warn), "{found:?}");
    let skipped = found.iter().find(|f| f.level == Level::Skip);
    let text = &skipped.expect("a word about it").text;
    assert!(
        text.contains("this user cannot open it") && text.contains("worker/api.sock"),
        "{text}"
    );
}

/// A machine on which nothing is wrong.
fn sound() -> Facts {
    Facts {
        version: "1.0.0".into(),
        now: now(),
        looked_in: Vec::new(),
        way: "/s/bridge.db (from --store), opened here".into(),
        as_root: false,
        configs: vec![config(session())],
        daemons: vec![daemon()],
        stores: vec![store()],
        inotify: Some(Inotify {
            user: "mcp-bridge".into(),
            instances: 3,
            most_instances: 128,
            watches: 3,
            most_watches: 60_000,
        }),
        clock: Synchronized::Yes,
        credentials: vec![CredentialsFile {
            path: "/c/backend.toml".into(),
            configured: true,
            other: None,
            store: None,
            outcome: Ok(vec![("backend/b".into(), Standing::Good)]),
        }],
        waiting_tasks: 0,
        python: None,
    }
}

/// What is not in order.
fn wrong(facts: &Facts) -> Vec<Finding> {
    let mut found = judge(facts);
    found.retain(|finding| finding.level >= Level::Warn);
    found
}

/// The one thing that is not in order, in one line.
#[track_caller]
fn only(facts: &Facts) -> String {
    let found = wrong(facts);
    assert_eq!(found.len(), 1, "{found:#?}");
    let Finding {
        level,
        topic,
        text,
        remedy,
    } = &found[0];
    let remedy = remedy.as_deref().unwrap_or("-");
    format!("{level:?} {topic} {text}: {remedy}")
}

#[track_caller]
fn with(change: impl FnOnce(&mut Facts)) -> String {
    let mut facts = sound();
    change(&mut facts);
    only(&facts)
}

#[test]
fn sound_machine_has_no_complaint() {
    let found = judge(&sound());
    assert!(found.iter().all(|f| f.level == Level::Ok), "{found:#?}");
    let topics: Vec<&str> = found.iter().map(|f| f.topic).collect();
    assert_eq!(
        topics,
        [
            "config",
            "way",
            "store",
            "disk",
            "inotify",
            "service",
            "clock",
            "credentials",
            "liveness",
            "wake",
            "alert"
        ]
    );
    assert_eq!(
        found[0].text,
        "/etc/mcp-bridge/worker.toml: worker, 1 session, 2 drop-ins"
    );
}

#[test]
fn daemon_without_a_known_configuration_serves_the_machine() {
    let mut facts = sound();
    facts.configs.clear();
    facts.looked_in = vec!["/etc/mcp-bridge".into()];
    let first = |facts: &Facts| judge(facts).swap_remove(0).text;
    assert_eq!(
        first(&facts),
        "none in /etc/mcp-bridge/*.toml; the daemon that runs, worker, has its own elsewhere"
    );
    facts.daemons[0].runs = false;
    assert_eq!(
        first(&facts),
        "none in /etc/mcp-bridge/*.toml: no daemon serves this machine"
    );
}

#[test]
fn tasks_that_no_orchestrator_gives_out_are_named() {
    let mut facts = sound();
    facts.waiting_tasks = 2;
    let found = judge(&facts);
    let tasks = found.iter().find(|finding| finding.topic == "tasks");
    let tasks = tasks.expect("a word about them");
    assert_eq!(tasks.level, Level::Note);
    let begins = "2 tasks wait, and no orchestrator runs: a queued task waits until a worker";
    assert!(tasks.text.starts_with(begins), "{tasks:?}");
}

#[test]
fn the_kernel_s_limits() {
    let used = |instances| {
        with(move |facts| {
            facts.inotify.as_mut().expect("there").instances = instances;
        })
    };
    assert_eq!(
        used(121),
        "Warn inotify 128 instances allowed, 121 in use by mcp-bridge: raise fs.inotify.max_user_instances"
    );
    assert!(used(128).starts_with("Fail inotify"));
    let mut facts = sound();
    facts.inotify = None;
    let found = judge(&facts);
    assert!(
        found
            .iter()
            .any(|f| f.level == Level::Skip && f.topic == "inotify")
    );
}

#[test]
fn a_store_and_its_disk() {
    let found = |change: fn(&mut Inspection)| {
        with(move |facts| change(facts.stores[0].outcome.as_mut().expect("found")))
    };
    assert!(
        found(|s| s.problem = Some("row 7 missing".into()))
            .starts_with("Fail store /s/bridge.db: the database is damaged: row 7 missing: stop")
    );
    assert!(found(|s| s.journal_mode = "delete".into()).starts_with("Fail store"));
    assert!(found(|s| s.log_bytes = 65 * MEBIBYTE).contains("fuser /s/bridge.db-wal"));
    assert!(found(|s| s.kind = Kind::Foreign).starts_with("Fail store"));
    assert!(found(|s| s.kind = Kind::Bridge).ends_with("adopt it: mcp-bridge store init"));
    let newer = found(|s| {
        s.kind = Kind::Own {
            schema: 99,
            needed: 99,
            adopted: false,
        };
    });
    assert!(newer.ends_with("install a newer mcp-bridge"), "{newer}");
    let unreleased = found(|s| {
        s.kind = Kind::Own {
            schema: 5,
            needed: 1,
            adopted: false,
        };
    });
    assert!(
        unreleased.starts_with("Fail store /s/bridge.db: a build of before the first release")
            && unreleased.ends_with("make a new store: mcp-bridge store init"),
        "{unreleased}"
    );
    let gone = with(|facts| {
        facts.stores[0].outcome = Err(("store /s: gone".into(), "make one".into()));
    });
    assert_eq!(gone, "Fail store store /s: gone: make one");
    let room = |free: u64, all: u64| with(move |facts| facts.stores[0].room = Some((free, all)));
    assert!(room(0, 1).starts_with("Fail disk"));
    assert!(room(99 * MEBIBYTE, 200 * MEBIBYTE).starts_with("Warn disk 99.0 MiB free"));
    assert!(room(900 * MEBIBYTE, 20_000 * MEBIBYTE).starts_with("Warn disk"));
    assert!(with(|facts| facts.stores[0].file_system = Some("tmpfs".into())).contains("in memory"));
    for (mode, told) in [(0o2770, true), (0o700, false)] {
        let free = Store {
            confined: Some(false),
            directory: Some(permissions(mode)),
            ..store()
        };
        let found = super::store::store(&free);
        let landlock = |finding: &Finding| finding.text.contains("Landlock");
        assert_eq!(found.iter().any(landlock), told, "{mode:o}");
    }
}

#[test]
fn a_huge_disk_may_be_fuller() {
    let mut facts = sound();
    facts.stores[0].room = Some((6 * 1024 * MEBIBYTE, 4_000_000 * MEBIBYTE));
    assert_eq!(wrong(&facts), []);
}

#[test]
fn users_of_the_store() {
    let modes = |file: u32, directory: u32| {
        with(move |facts| {
            facts.stores[0].file = Some(permissions(file));
            facts.stores[0].directory = Some(permissions(directory));
        })
    };
    assert!(modes(0o644, 0o755).starts_with("Warn store /s/bridge.db (644"));
    assert!(modes(0o600, 0o777).starts_with("Fail store /s (777"));
    assert!(modes(0o660, 0o750).contains("chmod 2770 /s"));
    let mut own = sound();
    own.stores[0].directory = Some(permissions(0o700));
    assert_eq!(wrong(&own), [], "its owner's alone, with any files");
    let shared = with(|facts| facts.stores[0].closes = true);
    for line in ["StateDirectoryMode=2770", "UMask=0007", "tmpfiles.d"] {
        assert!(shared.contains(line), "{line}: {shared}");
    }
    let mut facts = sound();
    facts.stores[0].directory = Some(Permissions {
        writable: false,
        ..permissions(0o2770)
    });
    assert!(only(&facts).contains("usermod -aG mcp-bridge"));
}

#[test]
fn daemons() {
    let daemon = |change: fn(&mut Daemon)| with(move |facts| change(&mut facts.daemons[0]));
    assert_eq!(
        with(|facts| facts.daemons.clear()),
        "Warn service worker: this daemon does not run: systemctl enable --now mcp-bridged@worker"
    );
    let mut spare = sound();
    spare.daemons.clear();
    spare.configs[0].enabled = false;
    assert!(wrong(&spare).is_empty());
    let found = judge(&spare);
    let text = &found
        .iter()
        .find(|f| f.topic == "service")
        .expect("a note")
        .text;
    assert_eq!(
        text,
        "worker: not enabled; to use it: systemctl enable --now mcp-bridged@worker"
    );
    assert!(daemon(|d| d.runs = false).starts_with("Warn service worker: died"));
    assert_eq!(
        daemon(|d| d.state.version = "0.9.0".into()),
        "Warn service worker: runs, pid 42, 0.9.0, and this program is 1.0.0: systemctl restart mcp-bridged@worker"
    );
    assert!(daemon(|d| d.state.ready = false).contains("not ready"));
    assert!(
        daemon(|d| d.state.duties[0].trouble = Some("away\n  wait".into()))
            .ends_with("store: away: wait")
    );
    let reload = |error: Option<&str>, keys: &[&str]| {
        let last = LastReload {
            number: 1,
            at: now(),
            error: error.map(str::to_owned),
            needs_restart: keys.iter().map(|&key| key.to_owned()).collect(),
        };
        with(|facts| facts.daemons[0].state.last_reload = Some(last))
    };
    assert!(
        reload(Some("x.toml: wrong"), &[])
            .contains("refused, it keeps the old settings: x.toml: wrong")
    );
    assert!(reload(None, &["role"]).ends_with("systemctl restart mcp-bridged@worker"));
}

/// The machine's runs, the user's of the same name does not.
#[test]
fn a_daemon_of_another_home_is_another_daemon() {
    let mut facts = sound();
    let own = Config {
        path: "/home/me/.config/mcp-bridge/worker.toml".into(),
        home: Home::User,
        ..config(session())
    };
    facts.configs.push(own);
    assert_eq!(
        only(&facts),
        "Warn service worker: this daemon does not run: systemctl --user enable --now mcp-bridged@worker"
    );
}

#[test]
fn root_learns_the_limits_of_its_checks() {
    let mut facts = sound();
    facts.as_root = true;
    assert_eq!(wrong(&facts), []);
    let told = |facts: &Facts| {
        let found = judge(facts);
        found.iter().any(|f| f.text.contains("sudo -u mcp-bridge"))
    };
    assert!(told(&facts));
    facts.daemons.clear();
    facts.configs[0].enabled = false;
    assert!(!told(&facts), "there is no service");
}

#[test]
fn store_without_an_enabled_daemon_gets_a_note() {
    let mut facts = sound();
    facts.stores[0].outcome = Err((
        "store /s/bridge.db: permission denied".into(),
        String::new(),
    ));
    assert!(only(&facts).starts_with("Fail store"));
    facts.stores[0].in_use = false;
    assert_eq!(wrong(&facts), []);
    let found = judge(&facts);
    let noted = "store /s/bridge.db: permission denied; no daemon that is enabled uses it";
    assert!(
        found.iter().any(|finding| finding.text == noted),
        "{found:?}"
    );
}

#[test]
fn the_clock() {
    let ahead = with(|facts| facts.now = Timestamp::from_second(NOW - 7_200).expect("in range"));
    assert!(
        ahead.starts_with("Warn clock the newest row of the store is 2 hours ahead"),
        "{ahead}"
    );
    assert!(with(|facts| facts.now = Timestamp::UNIX_EPOCH).starts_with("Fail clock it says 1970"));
    assert!(with(|facts| facts.clock = Synchronized::No).starts_with("Warn clock"));
}

#[test]
fn credentials() {
    let standing = |configured: bool, standing: Standing| {
        let mut facts = sound();
        facts.credentials[0].configured = configured;
        facts.credentials[0].outcome = Ok(vec![("backend/b".into(), standing)]);
        facts
    };
    let expired = Standing::Expired(Duration::from_secs(7_200));
    assert_eq!(
        only(&standing(true, expired.clone())),
        "Warn credentials /c/backend.toml: the conversation of backend/b expired 2 hours ago: mcp-bridge conversation renew backend"
    );
    assert!(only(&standing(true, Standing::Unknown)).starts_with("Warn"));
    assert!(only(&standing(true, Standing::Closed)).starts_with("Warn"));
    assert!(only(&standing(false, Standing::WrongToken)).starts_with("Fail"));
    assert_eq!(wrong(&standing(false, expired)), [], "it only lies there");
    let trouble = |trouble| with(move |facts| facts.credentials[0].outcome = Err(trouble));
    assert!(trouble(CredentialsTrouble::Missing).starts_with("Warn"));
    let open = CredentialsTrouble::Wrong("open to others".into(), "chmod 600".into());
    assert_eq!(trouble(open), "Fail credentials open to others: chmod 600");
}

#[test]
fn agents_and_the_ways_to_them() {
    let life = |proof| {
        let mut facts = sound();
        facts.configs = vec![config(Session { proof, ..session() })];
        facts
    };
    assert!(
        only(&life(Life::Unproven("no pid".into()))).starts_with("Warn liveness backend: no pid")
    );
    assert_eq!(wrong(&life(Life::None)), []);
    let mut broken = session();
    broken.wakes[0].trouble = Some(("it is not in PATH".into(), "write it".into()));
    let mut facts = sound();
    facts.configs = vec![config(broken)];
    assert_eq!(
        only(&facts),
        "Fail wake backend: exec: it is not in PATH: write it"
    );
    let mut silent = session();
    silent.wakes.clear();
    facts.configs = vec![config(silent)];
    assert_eq!(wrong(&facts), [], "a choice, and only a note");
}

#[test]
fn configuration_with_errors_has_a_line_for_each() {
    let mut facts = sound();
    facts.configs[0].outcome = Err(vec!["x.toml: one".into(), "x.toml: two\n  do it".into()]);
    let found = wrong(&facts);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_eq!(found[1].remedy.as_deref(), Some("do it"));
}

#[test]
fn the_other_writer() {
    let python = |version: &str| {
        let version = version.to_owned();
        with(move |facts| facts.python = Some(Ok(version)))
    };
    assert!(python("3.40.1").starts_with("Warn python python3 writes with SQLite 3.40.1"));
    assert!(python("3.26.0").starts_with("Warn "));
    assert!(python("3.7.17").starts_with("Fail python python3 has SQLite 3.7.17, which cannot"));
    let mut facts = sound();
    facts.python = Some(Ok("3.51.3".into()));
    assert_eq!(wrong(&facts), []);
}

#[test]
fn troubles_of_another_store_are_worth_a_note() {
    let other = Some("store /other.db".to_owned());
    let mut facts = sound();
    facts.configs[0].outcome = Err(vec!["x.toml: one".into()]);
    facts.daemons[0].state.duties[0].trouble = Some("away".into());
    facts.stores[0].outcome = Err(("store /s: gone".into(), String::new()));
    facts.credentials[0].outcome = Err(CredentialsTrouble::Wrong("open".into(), String::new()));
    assert_eq!(wrong(&facts).len(), 4);
    facts.configs[0].other.clone_from(&other);
    facts.daemons[0].other.clone_from(&other);
    facts.credentials[0].other = other;
    facts.stores[0].other = true;
    assert_eq!(wrong(&facts), []);
    let notes = judge(&facts);
    let noted = |text: &str| notes.iter().any(|found| found.text == text);
    assert!(
        noted("worker: store: away (of store /other.db, which this command does not use)"),
        "{notes:?}"
    );
    assert!(
        noted("store /s: gone; another store than this command's"),
        "{notes:?}"
    );
}

#[test]
fn a_daemon_s_word_on_a_life_counts() {
    use crate::duties::SessionState;
    let mut doubtful = session();
    doubtful.proof = Life::Unproven("no pid".into());
    let mut facts = sound();
    facts.configs = vec![config(doubtful)];
    assert!(
        only(&facts).contains("backend: no pid; its daemon reports nothing about it"),
        "{}",
        only(&facts)
    );
    let mut silent = session();
    silent.said = vec![SessionState {
        session: "conv_0123456789abcdef/b".into(),
        name: "backend/b".into(),
        credentials: "/c/backend.toml".into(),
        life: Some("no pid file".into()),
        wake: None,
        beside: None,
    }];
    silent.proof = Life::NotAsked("another user's".into());
    facts.configs = vec![config(silent)];
    assert!(
        only(&facts).starts_with("Warn liveness backend/b: its daemon says: no pid file"),
        "{}",
        only(&facts)
    );
}
