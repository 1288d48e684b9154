//! docs/api.md: each command on it is run as it stands there.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::token::TokenStorage;
use serde_json::Value;

use super::ground::{Ground, Socket};

/// The commands of a page, in order.
fn commands(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(path).expect("the page");
    let blocks = text.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// Whether it sets up what comes after it.
fn is_setting(command: &str) -> bool {
    let is_variable = |(name, _): (&str, &str)| name.bytes().all(|b| b.is_ascii_uppercase());
    command.starts_with("export ")
        || command.starts_with("umask ")
        || command.split_once('=').is_some_and(is_variable)
}

/// A shell in the directory of the daemon's test.
struct Shell<'a> {
    ground: &'a Ground,
    /// What was set before.
    before: String,
}

impl Shell<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.ground.rig.path(name)
    }

    fn command(&self, command: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        let own = program.parent().expect("a directory").display().to_string();
        let others = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &format!("{}{command}", self.before)])
            .env_clear()
            .env("PATH", format!("{own}:{others}"))
            .env("HOME", self.ground.rig.dir.path())
            // What the daemon refuses is a failure.
            .env("CURL_HOME", self.path("curl"))
            .current_dir(self.ground.rig.dir.path());
        shell
    }

    #[track_caller]
    fn run(&self, command: &str) -> String {
        let ran = self.command(command).output().expect("sh");
        assert!(ran.status.success(), "{command}: {ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    }
}

fn has(program: &str) -> bool {
    let mut asked = Command::new(program);
    asked.arg("--version").stdout(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

#[test]
fn each_example_of_the_page_does_what_it_says() {
    if !has("curl") || !has("jq") {
        println!("skipped: there is no curl, or no jq");
        return;
    }
    let ground = Ground::new();
    let pair = ground.rig.pair_without_file("backend");
    let mut shell = Shell {
        ground: &ground,
        before: String::new(),
    };
    let own = shell.path(".local/state/mcp-bridge/credentials");
    std::fs::create_dir_all(&own).expect("made");
    std::fs::create_dir(shell.path("curl")).expect("made");
    let settings = "fail-with-body\nsilent\nshow-error\nmax-time = 60\n";
    std::fs::write(shell.path("curl/.curlrc"), settings).expect("written");
    let credentials = Credentials {
        store: None,
        label: None,
        callers: vec![pair.b.clone()],
        source: None,
    };
    let file = own.join("backend.b.toml");
    credentials
        .write(&file, TokenStorage::Hashed)
        .expect("written");
    ground.rig.send(&pair.a, "for the fetch");

    let (mut asked, mut followed) = (Vec::new(), 0);
    for command in commands("docs/api.md") {
        let sockets = ground.socket(Socket::Api);
        let sockets = sockets.parent().expect("a directory").display().to_string();
        let here = command.replace("/run/mcp-bridge/worker", &sockets);
        if is_setting(&command) {
            shell.before.push_str(&format!("{here}\n"));
            continue;
        }
        if command.contains("/events/follow") {
            let mut curl = shell.command(&format!("exec {here}"));
            let mut curl = curl.stdout(Stdio::piped()).spawn().expect("sh");
            let lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
            let mut lines = lines.map_while(Result::ok);
            assert!(lines.any(|line| line.contains("send_message")));
            assert!(lines.any(|line| line.starts_with("{\"caught_up\":{\"after\":")));
            curl.kill().expect("it runs");
            curl.wait().expect("it ends");
            followed += 1;
            continue;
        }
        if command.starts_with("curl -N ") {
            ground.rig.send(&pair.a, "for the subscription");
            let mut curl = shell.command(&format!("exec {here}"));
            let mut curl = curl.stdout(Stdio::piped()).spawn().expect("sh");
            let lines = BufReader::new(curl.stdout.take().expect("a pipe")).lines();
            let pushed = lines
                .map_while(Result::ok)
                .find(|line| line.contains("{\"message\":"));
            curl.kill().expect("it runs");
            curl.wait().expect("it ends");
            assert!(pushed.is_some_and(|line| line.contains("for the subscription")));
            followed += 1;
            continue;
        }
        let said = shell.run(&here);
        if let Some((_, rest)) = command.split_once("http://localhost/v1/") {
            let name = rest.split_whitespace().next().unwrap_or_default();
            asked.push((name.to_owned(), said));
        }
    }
    let names: Vec<&str> = asked.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        (names, followed),
        (
            vec![
                "status",
                "health",
                "send",
                "fetch",
                "confirm",
                "openapi.json"
            ],
            2
        )
    );
    let mode = std::fs::metadata(shell.path("headers"))
        .expect("made")
        .permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o600
    );
    let fetched = std::fs::read(shell.path("mail.json")).expect("fetched");
    let fetched: Value = serde_json::from_slice(&fetched).expect("JSON");
    assert_eq!(fetched["messages"][0]["message"], "for the fetch");
    assert_eq!(ground.rig.fetch(&pair.a), ["hello"]);
    // It was confirmed: only what came after it is left.
    assert_eq!(ground.rig.fetch(&pair.b), ["for the subscription"]);
    let operations = &asked.last().expect("the document").1;
    assert!(
        operations.lines().any(|path| path == "/v1/follow"),
        "{operations}"
    );
    ground.ends_sound(&["mcpb_", "for the fetch"]);
}
