//! Tools for tasks as a whole: their list, and new ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Asked, Refusal, Tool, Who};
use crate::model::task::TaskState;
use crate::session::framing::NOTICE;
use crate::store::{NewTask, TaskFilter};
use crate::text;
use crate::text::shown::shown;

/// Tasks that one answer holds at most.
const PAGE: u32 = 100;

/// Lists tasks.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListTasks {
    /// Only in this state.
    #[serde(default)]
    state: Option<TaskState>,
    /// Only of this role.
    #[serde(default)]
    role: Option<String>,
    #[serde(flatten)]
    who: Who,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Tasks {
    notice: &'static str,
    tasks: Vec<Value>,
}

impl Tool for ListTasks {
    const NAME: &'static str = "list_tasks";
    const DESCRIPTION: &'static str =
        "Lists the tasks that you have or that you created: id, state, role, owner and title.";
    const READS: bool = true;
    type Structured = Tasks;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, Tasks), Refusal> {
        let acting = self.who.acting(asked)?;
        let bridge = asked.agent.bridge().await?;
        let filter = TaskFilter {
            states: self.state.into_iter().collect(),
            role: self.role,
            owner: None,
            party: None,
            limit: PAGE,
        };
        let tasks = bridge.tasks_of(&acting.callers(), &filter).await?;
        let mut out = match tasks.is_empty() {
            true => "No tasks.".to_owned(),
            false => format!("{} {NOTICE}\n", text::count(tasks.len() as u64, "task")),
        };
        for task in &tasks {
            out.push_str(&format!(
                "{} {} · {} · {} · {}\n",
                task.id,
                task.state,
                shown(&task.role),
                shown(&task.owner_name()),
                shown(&task.title)
            ));
        }
        let json = tasks
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>();
        let tasks = json.map_err(Refusal::arguments)?;
        let notice = NOTICE;
        Ok((out, Tasks { notice, tasks }))
    }
}

/// Adds tasks.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CreateTasks {
    /// All are added, or none.
    tasks: Vec<Wanted>,
    #[serde(flatten)]
    who: Who,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Role of the agents that may do it: list_workers shows the roles.
    role: String,
    /// One line.
    title: String,
    /// Description of the task.
    #[serde(default)]
    body: String,
    /// Files that it is about.
    #[serde(default)]
    files: Vec<String>,
    /// Your own id for the task: added twice with the same id, it is stored once.
    #[serde(default)]
    client_id: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AddedTasks {
    ids: Vec<i64>,
}

impl Tool for CreateTasks {
    const NAME: &'static str = "create_tasks";
    const DESCRIPTION: &'static str = "Adds tasks for other agents. Each task goes to a healthy agent of its role, and to another one if that agent is lost. You get a message about each result.";
    type Structured = AddedTasks;

    async fn run(self, asked: &Asked<'_>) -> Result<(String, AddedTasks), Refusal> {
        let each = self.tasks.into_iter().enumerate();
        let tasks = each.map(|(place, wanted)| {
            wanted
                .read()
                .map_err(|error| Refusal::arguments(format!("tasks[{place}]: {error}")))
        });
        let tasks: Vec<NewTask> = tasks.collect::<Result<_, _>>()?;
        if tasks.is_empty() {
            return Err(Refusal::arguments("tasks: give at least one"));
        }
        let bridge = asked.agent.bridge().await?;
        let mut acting = self.who.acting(asked)?;
        let creator = acting.creator(&bridge, None).await?;
        let added = bridge.add_tasks(Some(&creator), &tasks).await?;
        let ids: Vec<i64> = added.iter().map(|one| one.id.0).collect();
        let shown = ids.iter().map(i64::to_string).collect::<Vec<_>>();
        let text = match shown.as_slice() {
            [one] => format!("Task {one} is added."),
            several => format!("Tasks {} are added.", several.join(", ")),
        };
        Ok((text, AddedTasks { ids }))
    }
}

impl Wanted {
    fn read(self) -> Result<NewTask, Refusal> {
        let id = self.client_id.as_deref().map(str::parse).transpose();
        Ok(NewTask {
            role: self.role,
            title: self.title.parse().map_err(Refusal::arguments)?,
            body: self.body.parse().map_err(Refusal::arguments)?,
            files: self.files,
            client_id: id.map_err(Refusal::arguments)?,
        })
    }
}
