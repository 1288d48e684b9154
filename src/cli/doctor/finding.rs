//! One thing that was found, and how it looks.

use anstyle::Style;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::cli::table::{BAD, BOLD, DIM, GOOD, WARN};

/// How bad it is; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing, and no fault.
    Note,
    /// Could not be asked.
    Skip,
    /// Works, or will not for long.
    Warn,
    /// Does not work.
    Fail,
}

impl Level {
    fn word(self) -> (&'static str, Style) {
        match self {
            Self::Ok => ("ok", GOOD),
            Self::Note => ("note", DIM),
            Self::Skip => ("skip", DIM),
            Self::Warn => ("warn", WARN),
            Self::Fail => ("fail", BAD),
        }
    }
}

/// What was found of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) topic: &'static str,
    pub(super) text: String,
    pub(super) remedy: Option<String>,
}

impl Finding {
    fn new(level: Level, topic: &'static str, text: impl Into<String>) -> Self {
        Self {
            level,
            topic,
            text: text.into(),
            remedy: None,
        }
    }

    pub(super) fn ok(topic: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Ok, topic, text)
    }

    pub(super) fn note(topic: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Note, topic, text)
    }

    pub(super) fn skip(topic: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Skip, topic, text)
    }

    pub(super) fn warn(
        topic: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Level::Warn, topic, text).remedy(remedy)
    }

    pub(super) fn fail(
        topic: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(Level::Fail, topic, text).remedy(remedy)
    }

    /// A trouble of `other`, which is not of the store that this user's commands
    /// use, is only worth knowing.
    pub(super) fn of(mut self, other: Option<&str>) -> Self {
        if let Some(other) = other.filter(|_| self.level >= Level::Warn) {
            self.level = Level::Note;
            self.text = format!(
                "{} (of {other}, which this command does not use)",
                self.text
            );
        }
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        self
    }
}

/// Room for the level and the topic before the text.
const LEVEL: usize = 6;
const TOPIC: usize = 13;

/// A line for each, or two where its remedy does not fit beside it; and one
/// that says what came of it all.
pub(super) fn page(findings: &[Finding], width: usize) -> String {
    let mut out = String::new();
    for finding in findings {
        let (word, style) = finding.level.word();
        let Finding { topic, text, .. } = finding;
        let gap = LEVEL - word.len();
        out.push_str(&format!(
            "{style}{word}{style:#}{:gap$}{BOLD}{topic}{BOLD:#}{:rest$}{text}",
            "",
            "",
            rest = TOPIC.saturating_sub(topic.len()).max(1),
        ));
        if let Some(remedy) = &finding.remedy {
            let together = LEVEL + TOPIC + text.width() + 2 + remedy.width();
            if together <= width && !remedy.contains('\n') {
                out.push_str(&format!(": {remedy}"));
            } else {
                for line in remedy.lines() {
                    out.push_str(&format!(
                        "\n{:indent$}{line}",
                        "",
                        indent = LEVEL + TOPIC + 2
                    ));
                }
            }
        }
        out.push('\n');
    }
    out.push_str(&summary(findings));
    out
}

/// How many there are of a level.
pub(super) fn count(findings: &[Finding], level: Level) -> u64 {
    findings.iter().filter(|f| f.level == level).count() as u64
}

/// `2 fail, 1 warn, 7 ok`, the worst first.
fn summary(findings: &[Finding]) -> String {
    let levels = [
        Level::Fail,
        Level::Warn,
        Level::Skip,
        Level::Note,
        Level::Ok,
    ];
    let parts: Vec<String> = levels
        .into_iter()
        .filter_map(|level| {
            let (word, style) = level.word();
            match count(findings, level) {
                0 => None,
                n => Some(format!("{style}{n} {word}{style:#}")),
            }
        })
        .collect();
    format!("\n{}\n", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedy_stands_beside_what_it_mends_or_below() {
        let findings = [
            Finding::ok("config", "/etc/mcp-bridge/worker.toml"),
            Finding::warn("inotify", "121 in use", "raise it"),
            Finding::fail("wake", "a text that is rather long", "and a remedy as long"),
        ];
        let page = page(&findings, 60);
        let page = anstream::adapter::strip_str(&page).to_string();
        assert_eq!(
            page,
            "\
ok    config       /etc/mcp-bridge/worker.toml
warn  inotify      121 in use: raise it
fail  wake         a text that is rather long
                     and a remedy as long

1 fail, 1 warn, 1 ok
"
        );
    }
}
