//! What `team remove` takes back, and what it leaves.

use std::path::PathBuf;

use crate::cli::output::conversation_name;
use crate::cli::setup::{Changes, Client};
use crate::model::TaskId;
use crate::model::session::Conversation;

/// One thing that is taken back.
#[derive(Debug)]
pub(super) enum Step {
    /// A conversation that is open, or expired.
    Close(Conversation),
    /// A credentials file.
    Credentials(PathBuf),
    /// That a session of the team works in a directory.
    Joined(PathBuf),
    /// The tools and hooks of a client.
    SetUp(Client, Box<Changes>),
    /// The configuration of a daemon.
    Daemon(PathBuf),
}

/// Something that stays.
#[derive(Debug, serde::Serialize)]
pub(super) struct Left {
    pub(super) what: String,
    pub(super) why: String,
    /// Commands that remove it later, if it is not needed any more.
    pub(super) later: Vec<String>,
}

/// What is done, or was.
#[derive(Debug, Default)]
pub(super) struct Removal {
    pub(super) steps: Vec<Step>,
    pub(super) left: Vec<Left>,
    /// Tasks of the team that no session has ended.
    pub(super) open_tasks: Vec<TaskId>,
}

impl Removal {
    /// Notes that something stays.
    pub(super) fn leave(
        &mut self,
        what: impl Into<String>,
        why: impl Into<String>,
        later: impl IntoIterator<Item = String>,
    ) {
        self.left.push(Left {
            what: what.into(),
            why: why.into(),
            later: later.into_iter().collect(),
        });
    }
}

impl Step {
    /// What it is about, for people.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Close(one) => {
                let name = conversation_name(one.label.as_ref(), &one.id);
                format!("conversation {name}")
            }
            Self::Credentials(file) | Self::Daemon(file) => file.display().to_string(),
            Self::Joined(tree) => format!("the note that a session works in {}", tree.display()),
            Self::SetUp(client, _) => format!("tools and hooks of {}", client.name()),
        }
    }
}
