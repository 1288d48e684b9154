//! A configuration directory to write into, and what is said about it.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test program uses its part; without its files a test has nothing to say"
)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mcp_bridge::config::{
    AgentSettings, ConfigError, KEYS, OrchestratorSettings, RoleSettings, Settings, load,
};
use tempfile::TempDir;

/// A directory that stands for `/etc/mcp-bridge`.
pub(crate) struct Etc(pub(crate) TempDir);

impl Etc {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    /// With a `worker.toml` of this text.
    pub(crate) fn worker(text: &str) -> Self {
        Self::new().file("worker.toml", text)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        let parent = path.parent().expect("a file has a parent");
        fs::create_dir_all(parent).expect("a directory");
        fs::write(&path, text).expect("a file");
        self
    }

    pub(crate) fn load(&self, env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let env = env
            .iter()
            .map(|(name, text)| ((*name).into(), (*text).into()));
        load(&self.path("worker.toml"), env)
    }

    pub(crate) fn settings(&self, env: &[(&str, &str)]) -> Settings {
        self.load(env).expect("a valid configuration")
    }

    /// What is said, with the directory's name made the same everywhere.
    pub(crate) fn says(&self, env: &[(&str, &str)]) -> String {
        let error = self.load(env).expect_err("a configuration that is refused");
        error
            .to_string()
            .replace(&*self.0.path().to_string_lossy(), "<dir>")
    }
}

/// What is said about a `worker.toml` of this text.
pub(crate) fn says(text: &str) -> String {
    Etc::worker(text).says(&[])
}

/// What is said about these lines in a configuration that is right otherwise.
pub(crate) fn worker_says(text: &str) -> String {
    says(&format!("role = \"worker\"\n{text}"))
}

/// What is said about this proof.
pub(crate) fn proof_says(proof: &str) -> String {
    worker_says(&format!(
        "[[session]]\ncredentials = \"a.toml\"\nproof = {proof}"
    ))
}

/// What is said about these lines in an orchestrator's configuration.
pub(crate) fn orchestrator_says(text: &str) -> String {
    says(&format!("role = \"orchestrator\"\n{text}"))
}

pub(crate) fn agents(settings: &Settings) -> &AgentSettings {
    &settings.agents
}

pub(crate) fn orchestrator(settings: &Settings) -> &OrchestratorSettings {
    match &settings.role {
        RoleSettings::Orchestrator(own) => own,
        RoleSettings::Worker => panic!("the role is worker"),
    }
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The text with one word in the place of the names of all adapters, which `order`
/// takes: another adapter changes no message but for its name.
pub(crate) fn without_adapters(text: &str, order: &str) -> String {
    let key = KEYS.iter().find(|key| key.name == order).expect("a key");
    let quoted: Vec<String> = key.words().iter().map(|word| format!("`{word}`")).collect();
    let (last, first) = quoted.split_last().expect("adapters");
    let listed = format!("{} and {last}", first.join(", "));
    assert!(text.contains(&listed), "{text}");
    text.replace(&listed, "ADAPTERS")
}
