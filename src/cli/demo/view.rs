//! What the viewer sees: lines with their times, how far it is, and at the end
//! who did what and how fast.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::cast::Stage;
use super::record::{Percentiles, Summary};
use crate::cli::table::{Cell, DIM, GOOD, Table, WARN};
use crate::text::for_shell;
use crate::text::shown::shown_page;

/// The lines on the screen, and under them how far it is.
pub(super) struct View {
    started: Instant,
    bar: ProgressBar,
    json: bool,
}

impl View {
    pub(super) fn new(tasks: u32, json: bool) -> Self {
        let target = if json || !std::io::stdout().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stdout()
        };
        let bar = ProgressBar::with_draw_target(Some(u64::from(tasks)), target);
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
            let _ = writeln!(anstream::stdout(), "{}", shown_page(line));
        });
    }

    pub(super) fn title(&self, text: &str) {
        let bold = anstyle::Style::new().bold();
        self.print(&format!("{bold}{text}{bold:#}"));
    }

    pub(super) fn line(&self, who: &str, what: &str) {
        let dim = anstyle::Style::new().dimmed();
        let cyan = anstyle::AnsiColor::Cyan.on_default();
        let time = self.started.elapsed().as_secs_f64();
        self.print(&format!(
            "{dim}{time:5.1}s{dim:#}  {cyan}{who:<14}{cyan:#} {what}"
        ));
    }

    /// What happened, and what came of it.
    pub(super) fn edge(&self, who: &str, what: &str, then: &str) {
        self.line(who, &format!("{what:<32} -> {then}"));
    }

    pub(super) fn progress(&self, done: usize) {
        self.bar.set_message(format!("{done} tasks done"));
        self.bar.set_position(done as u64);
    }

    pub(super) fn summary(&self, summary: &Summary, stage: &Stage) {
        self.bar.finish_and_clear();
        if self.json {
            let value = serde_json::json!({ "store": stage.database, "summary": summary });
            // The exit code tells the same.
            let _ = writeln!(anstream::stdout(), "{value}");
            return;
        }
        self.print("");
        self.print(tasks(summary).trim_end());
        let mail = summary.mail;
        let handed_on = match mail.handed_on {
            0 => String::new(),
            some => format!(", {some} forwarded"),
        };
        let style = if summary.is_clean() { GOOD } else { WARN }.bold();
        self.print(&format!(
            "\n  {style}tasks {} of {} done, each once{style:#} · messages {} sent, {} read{handed_on}, {} lost, {} twice",
            summary.done_once, summary.tasks, mail.messages, mail.read, mail.lost, mail.twice
        ));
        if !summary.is_clean() {
            self.print(&format!(
                "  {WARN}{} done twice, {} late reports refused{WARN:#}",
                summary.done_twice, summary.refused
            ));
        }
        let row = |what: &str, times: Option<Percentiles>, scripts: &str| {
            if let Some(Percentiles { p50, p99, max }) = times {
                let [p50, p99, max] = [p50, p99, max].map(short);
                self.print(&format!(
                    "  {what:<22} p50 {p50:>8}   p99 {p99:>8}   max {max:>8}   {DIM}{scripts}{DIM:#}"
                ));
            }
        };
        row(
            "commit to reader",
            summary.commit_to_reader,
            "scripts: 15-30 s by polling, < 50 ms claimed",
        );
        row(
            "agent's exit noticed",
            summary.exit_to_noticed,
            "scripts: 2-5 min",
        );
        row(
            "exit to new owner",
            summary.exit_to_owner,
            "scripts: 45-60 s claimed, only logged",
        );
        row(
            "silence to new owner",
            summary.silence_to_owner,
            "scripts: 5-6 min; the ttl here is 4 s",
        );
        self.print(&format!(
            "  {DIM}scripts: what polling scripts around the Python bridge take for the same{DIM:#}"
        ));
        let database = for_shell(&stage.database.display().to_string());
        let directory = stage.database.parent().unwrap_or(&stage.database);
        self.print(&format!(
            "\n  look around:  mcp-bridge status --store {database}\n                \
             mcp-bridge task list --all --store {database}\n  \
             logs, configurations and credentials are in the same directory; all processes have ended\n  \
             remove it:    rm -r {}",
            for_shell(&directory.display().to_string())
        ));
    }
}

/// Who did each task, after how many attempts.
fn tasks(summary: &Summary) -> String {
    let mut table = Table::new(&["TASK", "DONE BY", "ATTEMPTS", "FENCE", "WHY"]).figures(2..4);
    for task in &summary.each {
        table.row([
            task.id.to_string().into(),
            Cell::new(
                task.done_by.clone().unwrap_or_else(|| task.state.clone()),
                if task.done_by.is_some() { GOOD } else { WARN },
            ),
            task.attempts.to_string().into(),
            task.fence.to_string().into(),
            Cell::new(task.why.join(", "), DIM),
        ]);
    }
    table.render(2)
}

/// A time in a line.
pub(super) fn words(duration: Duration) -> String {
    short(duration.as_secs_f64() * 1e3)
}

fn short(millis: f64) -> String {
    match millis {
        ..0.05 => "< 0.05 ms".into(),
        ..10.0 => format!("{millis:.2} ms"),
        ..1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1e3),
    }
}
