//! The README's own commands, on a machine with the package: installed, used, removed,
//! purged. They are taken out of its text, so that they cannot become others.

use std::fs;

use super::machine::{Machine, Said};
use super::operator::needs_a_machine;
use super::package::package;

const README: &str = include_str!("../../../README.md");

/// What the README tells to run, and is not run here, with the reason.
const NOT_RUN: [(&str, &str); 2] = [
    (
        "cargo install --path .",
        "the package is installed in its place",
    ),
    ("claude", "tests/clients has the real clients"),
];

/// A block of commands: each with what the README shows below it.
type Block = Vec<(Who, String, String)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Root,
    User,
}

/// The blocks of the steps, in order.
fn blocks() -> Vec<Block> {
    let (_, steps) = README
        .split_once("## Two agents that wake each other")
        .expect("its heading");
    let (steps, _) = steps.split_once("\n## ").expect("the next heading");
    let all = steps.split("```").skip(1).step_by(2);
    all.map(|text| {
        let mut block = Block::new();
        for line in text.trim_start_matches('\n').lines() {
            let command = |sign| line.strip_prefix(sign).map(str::to_owned);
            match (command("$ "), command("# "), block.last_mut()) {
                (Some(command), ..) => block.push((Who::User, command, String::new())),
                (_, Some(command), _) => block.push((Who::Root, command, String::new())),
                (.., Some((_, _, shown))) => *shown += &format!("{line}\n"),
                _ => panic!("a block that begins with no command: {text}"),
            }
        }
        block
    })
    .collect()
}

/// As the README shows it: ids and times are others each time.
fn like_the_readme(said: &str) -> String {
    let mut words = Vec::new();
    for word in said.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        let id = bare.strip_prefix("conv_").filter(|id| id.len() == 16);
        words.push(match id {
            Some(_) => word.replace(bare, "conv_ID"),
            None => word.to_owned(),
        });
    }
    words.concat()
}

struct Reader {
    machine: Machine,
    /// Where the user's shell stands.
    directory: String,
}

impl Reader {
    fn run(&mut self, who: Who, command: &str) -> Said {
        if let Some(to) = command.strip_prefix("cd ") {
            self.directory = to.to_owned();
        }
        match who {
            Who::User => {
                let command = format!("cd {} && {command}", self.directory);
                self.machine.sh_as("me", &command)
            }
            Who::Root => {
                let quiet = "export DEBIAN_FRONTEND=noninteractive; cd /root";
                // What asks for confirmation gets it.
                self.machine.sh(&format!("{quiet}; yes | {command}"))
            }
        }
    }
}

#[test]
fn readme_commands_install_use_remove_and_purge() {
    needs_a_machine!();
    let blocks = blocks();
    let commands = |who| {
        let of = blocks.iter().flatten().filter(move |(by, ..)| *by == who);
        of.map(|(_, command, _)| command.clone())
            .collect::<Vec<_>>()
    };
    let by_root = commands(Who::Root);
    let [install, remove, purge] = &by_root[..] else {
        panic!("{by_root:?}");
    };
    for (command, why) in NOT_RUN {
        assert!(
            commands(Who::User).iter().any(|one| one == command),
            "{command}: {why}"
        );
    }
    let file = install.strip_prefix("apt install ./").expect("a file");

    let machine = Machine::boot();
    machine
        .sh("useradd --create-home me && mkdir ~me/project && chown me: ~me/project")
        .ok();
    fs::copy(package(), machine.root(&format!("/root/{file}"))).expect("copied");
    let mut reader = Reader {
        machine,
        directory: "~".into(),
    };
    for (who, command, shown) in blocks.iter().flatten() {
        if NOT_RUN.iter().any(|(one, _)| one == command) || [remove, purge].contains(&command) {
            continue;
        }
        let said = reader.run(*who, command);
        // No client runs here, and that is what this one finds.
        if command.ends_with("doctor wake") {
            assert_eq!(said.code(), Some(1), "{command}: {said:?}");
            assert!(said.out.contains("backend/b"), "{said:?}");
            continue;
        }
        let out = said.ok();
        if !shown.is_empty() {
            assert_eq!(like_the_readme(&out), like_the_readme(shown), "{command}");
        }
    }
    // What `conversation new` shows to try: the other side reads.
    let (_, try_it) = README
        .split_once(" send hello   and   ")
        .expect("it shows that");
    let read = try_it.lines().next().expect("a command");
    let got = reader.run(Who::User, read).ok();
    assert!(got.contains("Say hello to the other agent."), "{got}");
    let status = reader.run(Who::User, "mcp-bridge status").ok();
    assert!(
        status.contains("backend/a") && status.contains("backend/b"),
        "{status}"
    );

    // The machine's own store, which only a purge deletes.
    let machine_store = "/var/lib/mcp-bridge/bridge.db";
    reader
        .machine
        .sh(&format!("mcp-bridge --store {machine_store} store init"))
        .ok();
    let own = "/home/me/.local/state/mcp-bridge/bridge.db";
    let there = |reader: &Reader, path: &str| reader.machine.root(path).exists();
    reader.run(Who::Root, remove).ok();
    assert!(!there(&reader, "/usr/bin/mcp-bridge"));
    for kept in ["/etc/mcp-bridge/worker.toml", machine_store, own] {
        assert!(there(&reader, kept), "{kept} is kept");
    }
    reader.run(Who::Root, purge).ok();
    for gone in ["/etc/mcp-bridge", machine_store] {
        assert!(!there(&reader, gone), "{gone} is deleted");
    }
    assert!(there(&reader, own), "a user's own store is kept");
}
