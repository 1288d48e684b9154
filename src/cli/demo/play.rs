//! The play itself, told in lines with their times while it goes on.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_tokio::Signals;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::actors::Told;
use super::cast::{Stage, WORKERS};
use super::summary::{Percentiles, Record, Summary};
use crate::cli::Exit;
use crate::clock;
use crate::model::session::Life;
use crate::text;

/// How long the play waits for anything before it calls it lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a killed daemon stays away.
const ABSENCE: Duration = Duration::from_secs(1);

pub(super) async fn run(messages: u32, json: bool) -> anyhow::Result<Exit> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    tokio::select! {
        played = play(messages, json) => played,
        // Children die with their handles.
        _ = signals.next() => anyhow::bail!("interrupted"),
    }
}

struct Play {
    stage: Stage,
    view: View,
    told: mpsc::UnboundedReceiver<Told>,
    record: Record,
    daemons: Vec<Child>,
    agents: Vec<Child>,
    /// When a worker was down on purpose.
    down: Vec<(u64, u64)>,
}

async fn play(messages: u32, json: bool) -> anyhow::Result<Exit> {
    let (telling, told) = mpsc::unbounded_channel();
    let stage = Stage::build(telling).await?;
    let view = View::new(messages, json);
    view.title(&format!(
        "mcp-bridge demo · store {} · 1 orchestrator, {WORKERS} workers, {messages} messages",
        stage.database.display()
    ));
    let mut play = Play {
        stage,
        view,
        told,
        record: Record::default(),
        daemons: Vec::new(),
        agents: Vec::new(),
        down: Vec::new(),
    };
    let third = messages as usize / 3;
    play.raise_the_curtain().await?;
    let mut orchestrator = play.stage.orchestrator(messages)?;
    play.until(1).await?;
    play.first_message();
    play.until(third).await?;
    play.a_daemon_is_killed().await?;
    play.until(2 * third).await?;
    play.an_agent_is_killed().await?;
    let all = play.until(messages as usize).await;
    play.curtain(&mut orchestrator).await?;
    if let Err(error) = all {
        play.view.line("demo", &format!("{error:#}"));
    }
    let summary = play.record.summary(&play.down);
    play.view.summary(&summary, &play.stage);
    let clean = summary.lost == 0 && summary.twice == 0 && summary.sent == messages as usize;
    Ok(if clean { Exit::Success } else { Exit::Failure })
}

impl Play {
    async fn raise_the_curtain(&mut self) -> anyhow::Result<()> {
        let mut slowest = Duration::ZERO;
        for number in 1..=WORKERS {
            let (daemon, took) = self.stage.daemon(number).await?;
            self.daemons.push(daemon);
            slowest = slowest.max(took);
        }
        self.view.line(
            &format!("worker-1..{WORKERS}"),
            &format!(
                "ready in {}, heartbeat every 1 s (ttl 4 s)",
                millis(slowest)
            ),
        );
        for number in 1..=WORKERS {
            self.agents.push(self.stage.agent(number)?);
        }
        for number in 1..=WORKERS {
            self.lives(number, Life::Alive).await?;
        }
        self.view.line(
            &format!("agent-1..{WORKERS}"),
            "idle, each proven alive by its process; they wait to be woken",
        );
        Ok(())
    }

    fn first_message(&self) {
        if let Some(took) = self.record.first_read() {
            let words = format!("sent, and in the woken agent's hand after {}", millis(took));
            self.view.line("first message", &words);
        }
    }

    /// Messages go on coming in for a worker whose daemon is dead.
    async fn a_daemon_is_killed(&mut self) -> anyhow::Result<()> {
        let from = clock::monotonic_nanos();
        self.daemons[1].kill().await?;
        self.view.line(
            "worker-2",
            "daemon killed (SIGKILL)          -> its mail waits in the store",
        );
        self.listen_for(ABSENCE).await?;
        let waiting = self.unread(2).await?;
        let (daemon, took) = self.stage.daemon(2).await?;
        self.daemons[1] = daemon;
        self.view.line(
            "worker-2",
            &format!(
                "started again, ready in {}    -> wakes its agent: {}",
                millis(took),
                text::count(waiting, "message")
            ),
        );
        self.none_unread(2).await?;
        self.down.push((from, clock::monotonic_nanos()));
        Ok(())
    }

    /// An agent's death is noticed at once, and its mail waits for the next.
    async fn an_agent_is_killed(&mut self) -> anyhow::Result<()> {
        let from = clock::monotonic_nanos();
        self.agents[2].kill().await?;
        self.lives(3, Life::Exited).await?;
        let took = Duration::from_nanos(clock::monotonic_nanos() - from);
        self.view.line(
            "agent-3",
            &format!(
                "killed (SIGKILL)                 -> exited, noticed after {}",
                millis(took)
            ),
        );
        self.listen_for(ABSENCE / 2).await?;
        let waiting = self.unread(3).await?;
        self.agents[2] = self.stage.agent(3)?;
        self.lives(3, Life::Alive).await?;
        self.view.line(
            "agent-3",
            &format!(
                "a new one in its place           -> reads what waited: {}",
                text::count(waiting, "message")
            ),
        );
        self.none_unread(3).await?;
        self.down.push((from, clock::monotonic_nanos()));
        Ok(())
    }

    /// Ends what still runs: daemons as a service manager would.
    async fn curtain(&mut self, orchestrator: &mut Child) -> anyhow::Result<()> {
        orchestrator.kill().await?;
        for agent in &mut self.agents {
            agent.kill().await?;
        }
        for (daemon, number) in self.daemons.iter_mut().zip(1..) {
            let pid = daemon.id().and_then(|id| i32::try_from(id).ok());
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            }
            let status = timeout(PATIENCE, daemon.wait())
                .await
                .with_context(|| self.stage.last_words(&format!("worker-{number}")))??;
            anyhow::ensure!(
                status.success(),
                "worker-{number} ended with {status}: {}",
                self.stage.last_words(&format!("worker-{number}"))
            );
        }
        Ok(())
    }

    /// Listens until so many answers were heard.
    async fn until(&mut self, answers: usize) -> anyhow::Result<()> {
        while self.record.heard() < answers {
            let told = timeout(PATIENCE, self.told.recv()).await.map_err(|_| {
                anyhow::anyhow!(
                    "nothing was heard for {}: {} of {answers} answers are there",
                    text::long_duration(PATIENCE),
                    self.record.heard()
                )
            })?;
            self.heard(&told.context("all actors are gone")?);
        }
        Ok(())
    }

    async fn listen_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while let Ok(told) = tokio::time::timeout_at(end, self.told.recv()).await {
            self.heard(&told.context("all actors are gone")?);
        }
        Ok(())
    }

    fn heard(&mut self, told: &Told) {
        self.record.hear(told);
        self.view.progress(self.record.sent(), self.record.heard());
    }

    async fn lives(&self, number: usize, wanted: Life) -> anyhow::Result<()> {
        let session = &self.stage.sessions[number - 1];
        self.wait(&format!("agent-{number}"), async || {
            let now = clock::now();
            let sessions = self.stage.store.sessions(now).await?;
            Ok(sessions
                .iter()
                .any(|view| view.key == *session && view.life(now) == wanted))
        })
        .await
    }

    async fn unread(&self, number: usize) -> anyhow::Result<u64> {
        let session = std::slice::from_ref(&self.stage.sessions[number - 1]);
        Ok(self
            .stage
            .store
            .mail(session)
            .await?
            .first()
            .map_or(0, |mail| mail.unread))
    }

    async fn none_unread(&self, number: usize) -> anyhow::Result<()> {
        self.wait(&format!("worker-{number}"), async || {
            Ok(self.unread(number).await? == 0)
        })
        .await
    }

    async fn wait(
        &self,
        whom: &str,
        condition: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !condition().await? {
            anyhow::ensure!(Instant::now() < end, "{}", self.stage.last_words(whom));
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    if millis < 10.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

/// Milliseconds. A writer learns of its own COMMIT by a hand-over between two
/// threads; what is shorter than that cannot be told from nothing.
fn hand_over(millis: f64) -> String {
    if millis < 0.05 {
        "< 0.05".into()
    } else {
        format!("{millis:.2}")
    }
}

/// The lines on the screen, and under them how far it is.
struct View {
    started: Instant,
    bar: ProgressBar,
    json: bool,
}

impl View {
    fn new(messages: u32, json: bool) -> Self {
        let target = if json || !std::io::stdout().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stdout()
        };
        let bar = ProgressBar::with_draw_target(Some(u64::from(messages)), target);
        if let Ok(style) = ProgressStyle::with_template("  {bar:40.cyan/dim} {msg}") {
            bar.set_style(style.progress_chars("━━─"));
        }
        Self {
            started: Instant::now(),
            bar,
            json,
        }
    }

    fn print(&self, line: &str) {
        if self.json {
            return;
        }
        // A screen that cannot be written does not stop the play.
        self.bar.suspend(|| {
            let _ = writeln!(anstream::stdout(), "{line}");
        });
    }

    fn title(&self, text: &str) {
        let bold = anstyle::Style::new().bold();
        self.print(&format!("{bold}{text}{bold:#}"));
    }

    fn line(&self, who: &str, what: &str) {
        let dim = anstyle::Style::new().dimmed();
        let cyan = anstyle::AnsiColor::Cyan.on_default();
        let time = self.started.elapsed().as_secs_f64();
        self.print(&format!(
            "{dim}{time:5.1}s{dim:#}  {cyan}{who:<14}{cyan:#} {what}"
        ));
    }

    fn progress(&self, sent: usize, answered: usize) {
        self.bar
            .set_message(format!("{sent} sent, {answered} answered"));
        self.bar.set_position(answered as u64);
    }

    fn summary(&self, summary: &Summary, stage: &Stage) {
        self.bar.finish_and_clear();
        if self.json {
            let value = serde_json::json!({ "store": stage.database, "summary": summary });
            // The exit code tells the same.
            let _ = writeln!(anstream::stdout(), "{value}");
            return;
        }
        let good = summary.lost == 0 && summary.twice == 0;
        let colour = if good {
            anstyle::AnsiColor::Green
        } else {
            anstyle::AnsiColor::Red
        };
        let style = colour.on_default().bold();
        self.print(&format!(
            "\n  {style}messages {} sent, {} read, {} answered · {} lost, {} twice{style:#}",
            summary.sent, summary.read, summary.answered, summary.lost, summary.twice
        ));
        let row = |what: &str, times: Option<Percentiles>, scripts: &str| {
            if let Some(Percentiles { p50, p99, max }) = times {
                let [p50, p99, max] = [p50, p99, max].map(hand_over);
                self.print(&format!(
                    "  {what:<26} p50 {p50:>6} ms   p99 {p99:>6} ms   max {max:>6} ms   {scripts}"
                ));
            }
        };
        row(
            "commit to a line",
            summary.commit_to_line,
            "the scripts: < 50 ms claimed",
        );
        row(
            "commit to a woken agent",
            summary.commit_to_agent,
            "the scripts: 15-30 s by polling",
        );
        self.print(&format!(
            "\n  look around:  mcp-bridge status --store {}\n  logs, configurations and credentials stand beside it; nothing is left running",
            stage.database.display()
        ));
    }
}
