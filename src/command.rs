//! Runs an operator's command: a time limit that holds for its children too, and output
//! that cannot flood us. Processes that it leaves running when it ends by itself are
//! its own.

use std::fmt;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::files;
use crate::model::redact::redact;
use crate::text::shown::{shown, without_escapes};

/// Ours alone: the service manager's sockets and the place of all that it handed
/// over, and what a shell that started us may have had in its environment to act
/// for one session.
const NOT_PASSED_ON: [&str; 8] = [
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "JOURNAL_STREAM",
    "MCP_BRIDGE_CONVERSATION",
    "MCP_BRIDGE_SESSION",
    "MCP_BRIDGE_TOKEN",
];
/// Our settings, a webhook's URL and the paths of secrets among them.
const SETTINGS: &[u8] = b"MCP_BRIDGE__";
/// How long the output of a command that ended is still waited for: a child that
/// it left running may hold the pipes open for ever.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Characters of a failed command's output that go into the log and the store.
const REASON_LIMIT: usize = 500;

/// What to run.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Program and arguments; looked up in PATH when it has no slash.
    pub(crate) command: &'a [String],
    /// Variables beside our own environment. Identifiers, never secrets.
    pub(crate) environment: &'a [(&'static str, String)],
    /// Its stdin.
    pub(crate) input: Vec<u8>,
    /// When it is killed, with all that it started in its process group.
    pub(crate) timeout: Duration,
    /// Bytes of stdout and stderr that are kept; the rest is read and dropped.
    pub(crate) output_limit: usize,
}

/// How it went. `Display` continues the words "the command".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Exit status 0.
    Success {
        /// The beginning of its output.
        output: String,
    },
    /// Another status, or a signal.
    Failure {
        /// `exit status: 1`.
        status: String,
        /// The beginning of its output.
        output: String,
    },
    /// It took too long and was killed.
    TimedOut {
        /// How long it had.
        limit: Duration,
        /// The beginning of its output.
        output: String,
    },
    /// It could not be started.
    NotStarted(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success { .. } => f.write_str("succeeded"),
            Self::Failure { status, .. } => write!(f, "failed: {status}"),
            Self::TimedOut { limit, .. } => write!(
                f,
                "did not end within {} and was killed",
                humantime::format_duration(*limit)
            ),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

impl Ended {
    /// Why a command failed and what it said, on one line: for the log and the
    /// store.
    pub(crate) fn reason(&self) -> String {
        match self.said() {
            said if said.is_empty() => format!("the command {self}"),
            said => format!("the command {self}; it said: {said}"),
        }
    }

    /// What it said, on one line: of a command that failed, the beginning.
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Success { output } => on_one_line(output, usize::MAX),
            Self::Failure { output, .. } | Self::TimedOut { output, .. } => {
                on_one_line(output, REASON_LIMIT)
            }
            Self::NotStarted(_) => String::new(),
        }
    }
}

/// A command's output as part of a log line: a command may print anything, also
/// what it read with the session's credentials, or what moves a terminal.
pub(crate) fn on_one_line(output: &str, limit: usize) -> String {
    // Colours first: the `m` that ends one would stand in front of a token and hide
    // where it begins. Twice, because a key is known by its lines, and a password
    // may stand on the line below its name.
    let plain: String = without_escapes(output)
        .chars()
        .filter(|c| !c.is_control() || c.is_whitespace())
        .collect();
    let lines = redact(&plain).text.into_owned();
    let words: Vec<&str> = lines.split_whitespace().collect();
    let line = words.join(" ");
    let redacted = redact(&line).text;
    let line = shown(&redacted);
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.into_owned(),
    }
}

/// Runs it to its end or its time limit. Cancelled, it kills the command and
/// what that started, as at the time limit.
pub(crate) async fn run(request: &Request<'_>) -> Ended {
    let Some((program, arguments)) = request.command.split_first() else {
        return Ended::NotStarted("the command is empty".into());
    };
    let mut command = Command::new(program);
    for variable in NOT_PASSED_ON {
        command.env_remove(variable);
    }
    for (variable, _) in std::env::vars_os() {
        let name = variable.as_encoded_bytes();
        let start = &name[..name.len().min(SETTINGS.len())];
        if start.eq_ignore_ascii_case(SETTINGS) {
            command.env_remove(variable);
        }
    }
    let spawned = command
        .args(arguments)
        .envs(request.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Its own group: its children go with it when its time is over, and a
        // Ctrl-C in our terminal is not meant for it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ended::NotStarted(format!("`{program}` was not found"));
        }
        Err(error) => return Ended::NotStarted(format!("`{program}`: {error}")),
    };
    let mut group = Group(
        child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw),
    );
    let kept = Mutex::new(KeptOutput::default());
    if let Some(leader) = group.0 {
        files::restore(leader);
    }
    let ended = timeout(request.timeout, attend(child, request, &kept)).await;
    if ended.is_ok() {
        // Its leader has ended and was waited for. The others in the group were meant
        // to stay; and if the group is empty, the number may be another group's.
        group.0 = None;
    }
    drop(group);
    ended.unwrap_or_else(|_| Ended::TimedOut {
        limit: request.timeout,
        output: text(&kept),
    })
}

/// The part of the output that was kept. Two pipes, so that the text of one does not
/// land in the middle of a word of the other.
#[derive(Debug, Default)]
struct KeptOutput {
    out: Pipe,
    err: Pipe,
}

#[derive(Debug, Default)]
struct Pipe {
    bytes: Vec<u8>,
    /// There was more.
    cut: bool,
}

impl Pipe {
    /// Without the word that was cut: half a token is not known as one.
    fn text(&self) -> String {
        let mut bytes = self.bytes.as_slice();
        if self.cut {
            let end = bytes.iter().rposition(u8::is_ascii_whitespace);
            bytes = &bytes[..end.unwrap_or(0)];
        }
        String::from_utf8_lossy(bytes).trim().to_owned()
    }
}

fn text(kept: &Mutex<KeptOutput>) -> String {
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let (out, err) = (kept.out.text(), kept.err.text());
    match (out.is_empty(), err.is_empty()) {
        (_, true) => out,
        (true, _) => err,
        _ => format!("{out}\n{err}"),
    }
}

/// Kills the command's group, unless it ended by itself.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An empty group is the usual case.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

async fn attend(mut child: Child, request: &Request<'_>, kept: &Mutex<KeptOutput>) -> Ended {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is within its rights.
            let _ = stdin.write_all(&request.input).await;
        }
    };
    let limit = request.output_limit;
    let pipes = async {
        tokio::join!(
            feed,
            keep(stdout, kept, limit, |kept| &mut kept.out),
            keep(stderr, kept, limit, |kept| &mut kept.err)
        );
    };
    tokio::pin!(pipes);
    let status = tokio::select! {
        status = child.wait() => {
            // What is still in the pipes.
            let _ = timeout(AFTERMATH, &mut pipes).await;
            status
        }
        () = &mut pipes => child.wait().await,
    };
    let output = text(kept);
    match status {
        Ok(status) if status.success() => Ended::Success { output },
        Ok(status) => Ended::Failure {
            status: status.to_string(),
            output,
        },
        Err(error) => Ended::Failure {
            status: error.to_string(),
            output,
        },
    }
}

/// Reads to the end and keeps the beginning: a command that floods its output
/// must neither block nor fill our memory.
async fn keep(
    pipe: Option<impl AsyncRead + Unpin>,
    kept: &Mutex<KeptOutput>,
    limit: usize,
    which: fn(&mut KeptOutput) -> &mut Pipe,
) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0_u8; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = limit.saturating_sub(kept.out.bytes.len() + kept.err.bytes.len());
        let own = which(&mut kept);
        own.bytes.extend_from_slice(&chunk[..count.min(room)]);
        own.cut |= count > room;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, limit: Duration) -> Ended {
        let command = ["sh".to_owned(), "-c".into(), script.into()];
        run(&Request {
            command: &command,
            environment: &[("MCP_BRIDGE_UNREAD", "2".into())],
            input: b"{}".to_vec(),
            timeout: limit,
            output_limit: 100,
        })
        .await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn input_environment_and_output_pass() {
        let ended = sh("cat; echo \" $MCP_BRIDGE_UNREAD\"", LONG).await;
        assert_eq!(
            ended,
            Ended::Success {
                output: "{} 2".into()
            }
        );
    }

    #[tokio::test]
    async fn a_flood_is_cut_and_drained() {
        let Ended::Failure { status, output } = sh("yes | head -c 3000000; exit 3", LONG).await
        else {
            panic!("it exits with 3");
        };
        assert!(status.contains('3') && output.len() <= 100, "{status}");
    }

    #[tokio::test]
    async fn command_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pid");
        let script = format!(
            "echo asking; sleep 1000 & echo $! > {}; wait",
            file.display()
        );
        let limit = Duration::from_millis(500);
        let ended = sh(&script, limit).await;
        let output = "asking".to_owned();
        assert_eq!(ended, Ended::TimedOut { limit, output });
        let why = "the command did not end within 500ms and was killed; it said: asking";
        assert_eq!(ended.reason(), why);
        let pid = std::fs::read_to_string(&file)
            .expect("written")
            .trim()
            .to_owned();
        let gone = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        };
        for _ in 0..500 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {pid} was left behind");
    }

    #[tokio::test]
    async fn child_left_behind_does_not_hold_the_pipes() {
        for end in ["true", "exit 3"] {
            let ended = sh(&format!("sleep 1000 & echo $!; {end}"), LONG).await;
            let (Ended::Success { output: pid } | Ended::Failure { output: pid, .. }) = ended
            else {
                panic!("{ended:?}");
            };
            let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
            // A process that was killed is gone or a zombie by now, or soon: one
            // that takes a signal and stops was not.
            rustix::process::kill_process(pid, Signal::STOP).expect("it is there");
            let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
            for _ in 0..500 {
                let state = std::fs::read_to_string(&stat).expect("it is there");
                assert!(!state.contains(") Z "), "killed");
                if state.contains(") T ") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            rustix::process::kill_process(pid, Signal::KILL).expect("it was there");
        }
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let command = ["/nowhere/nudge".to_owned()];
        let request = Request {
            command: &command,
            environment: &[],
            input: Vec::new(),
            timeout: LONG,
            output_limit: 0,
        };
        let ended = run(&request).await.to_string();
        assert_eq!(
            ended,
            "could not be started: `/nowhere/nudge` was not found"
        );
    }
    #[tokio::test]
    async fn a_word_that_was_cut_is_dropped() {
        let ended = sh(
            "printf 'a%.0s' $(seq 80); printf ' b%.0s' 1; printf 'token%.0s' $(seq 30)",
            LONG,
        );
        let Ended::Success { output } = ended.await else {
            panic!("it succeeds");
        };
        assert_eq!(output, "a".repeat(80));
    }

    #[test]
    fn no_colour_hides_a_secret() {
        let token = format!("gh{}{}", "p_", "a8Zk3Qw9Lx2Vb7Nm".repeat(3));
        for said in [
            format!("\x1b[32m{token}\x1b[0m ok"),
            format!("use \x1b[1m{}\x1b[31m{}\x1b[0m", &token[..9], &token[9..]),
            "password:\nS3cr3tPass9\nok".to_owned(),
            "password:\n\x1b[32mS3cr3tPass9\x1b[0m".to_owned(),
        ] {
            let line = on_one_line(&said, 500);
            assert!(line.contains("_REDACTED"), "{line}");
            assert!(
                !line.contains("S3cr3t") && !line.contains(&token[9..]),
                "{line}"
            );
        }
    }

    #[test]
    fn output_becomes_one_line_without_secrets() {
        let said = "oops\n\n  \x1b[31mpassword = hunter2hunter2\x07\r\nagain";
        let line = on_one_line(said, 500);
        assert!(
            !line.contains("hunter2") && !line.contains(char::is_control),
            "{line}"
        );
        assert!(
            line.starts_with("oops ") && line.ends_with("again"),
            "{line}"
        );
        assert_eq!(on_one_line("aé日b", 3), "aé日...");
        assert_eq!(on_one_line("aé日", 3), "aé日");
    }
}
