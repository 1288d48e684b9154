//! The tools. Each is a type: its arguments, its words for the model, and what it does.

mod arguments;
mod messages;
mod tasks;
mod team;
mod work;

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{JsonObject, Tool as Described, ToolAnnotations};
use rmcp::service::{RequestContext, RoleServer};
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::agent::Agent;
use crate::bridge::Bridge;
use crate::model::token::Token;
use crate::model::{InvalidId, SessionKey, Side};
use crate::session::{Acting, Member, SessionError};
use crate::store::{Caller, StoreError};

/// A tool.
trait Tool: DeserializeOwned + JsonSchema + Send {
    const NAME: &'static str;
    const DESCRIPTION: &'static str;
    /// Whether it changes nothing.
    const READS: bool = false;
    /// What it answers, for programs.
    type Structured: Serialize + JsonSchema;

    fn run(
        self,
        asked: &Asked<'_>,
    ) -> impl Future<Output = Result<(String, Self::Structured), Refusal>> + Send;
}

/// What a call stands on.
pub(super) struct Asked<'a> {
    pub(super) agent: &'a Agent,
    pub(super) context: &'a RequestContext<RoleServer>,
}

/// What a tool answers: text for the model, and the same for programs.
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) structured: Value,
}

/// Why a tool did nothing, in words that an agent can act on.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Arguments(String),
}

impl Refusal {
    fn arguments(error: impl std::fmt::Display) -> Self {
        Self::Arguments(error.to_string())
    }

    /// Whether another way to the store may help.
    fn is_outage(&self) -> bool {
        self.store().is_some_and(StoreError::is_outage)
    }

    /// What the store said.
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Session(error) => error.passed_on()?.downcast_ref(),
            Self::Arguments(_) => None,
        }
    }

    fn words(&self) -> String {
        let remedy = match self {
            Self::Session(SessionError::NoCredentials) => {
                "\nNo session works in this directory. Ask your user to run `mcp-bridge join SESSION` here, or give conversation_id, session_id and token."
            }
            _ if self.is_outage() => "\nTry again in a moment; if it fails again, tell your user.",
            _ if self.store().is_some() => "\nIf you cannot solve this yourself, tell your user.",
            _ => "",
        };
        format!("{self}{remedy}")
    }
}

/// A session that is named in the arguments, as the tools of the Python bridge want it.
/// Needed only where the server has no credentials.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(default)]
struct Who {
    /// Omit it: the server knows your session. Without credentials: `conv_` and 16 hexadecimal digits.
    conversation_id: Option<String>,
    /// Omit it: the server knows your session. Without credentials: `a` or `b`.
    session_id: Option<String>,
    /// Omit it: the server knows your session.
    token: Option<String>,
}

impl Who {
    /// The session that is named, or those of the credentials.
    fn acting(&self, asked: &Asked<'_>) -> Result<Acting, Refusal> {
        let (Some(conversation), Some(side), Some(token)) =
            (&self.conversation_id, &self.session_id, &self.token)
        else {
            let none = self.conversation_id.is_none() && self.session_id.is_none();
            return match (none, &self.token, asked.agent.acting()) {
                (true, None, acting) => Ok(acting?),
                (false, None, Ok(acting)) => self.of(acting),
                _ => Err(Refusal::arguments(
                    "conversation_id, session_id and token belong together: give all three, or none",
                )),
            };
        };
        let session = SessionKey::new(
            conversation.parse().map_err(Refusal::arguments)?,
            side.parse().map_err(Refusal::arguments)?,
        );
        let token = Token::parse(token).map_err(Refusal::arguments)?;
        Ok(Acting::of(Caller { session, token }))
    }

    /// The one of these sessions that is named without its token.
    fn of(&self, mut acting: Acting) -> Result<Acting, Refusal> {
        let side: Option<Side> = match &self.session_id {
            Some(side) => Some(side.parse().map_err(|e: InvalidId| Refusal::arguments(e))?),
            None => None,
        };
        acting.members.retain(|member| {
            let session = &member.caller.session;
            let is_conversation = self
                .conversation_id
                .as_ref()
                .is_none_or(|id| *id == session.conversation.to_string());
            is_conversation && side.is_none_or(|side| side == session.side)
        });
        match acting.members.is_empty() {
            true => Err(Refusal::arguments("your credentials have no such session")),
            false => Ok(acting),
        }
    }
}

/// The one session that acts: the only one, or the one that `name` calls.
async fn the_one<'a>(
    bridge: &Bridge,
    acting: &'a mut Acting,
    name: Option<&str>,
) -> Result<&'a Member, Refusal> {
    if acting.members.len() > 1 {
        acting.learn_labels(bridge).await?;
    }
    Ok(acting.the_one(name)?)
}

macro_rules! each_tool {
    ($take:ident) => {
        $take! {
            messages::CreateConversation, messages::SendToPartner, messages::CheckMessages,
            messages::WaitForMessages, team::UpdateMyStatus, team::CheckPartnerStatus, team::ListWorkers,
            team::MyStatus, tasks::ListTasks, work::ClaimTask, work::ReportProgress,
            work::CompleteTask, work::FailTask, tasks::CreateTasks,
        }
    };
}

/// All tools, as the client shows them to its model.
pub(super) fn all() -> Vec<Described> {
    macro_rules! describe {
        ($($tool:ty,)*) => { vec![$(described::<$tool>(),)*] };
    }
    each_tool!(describe)
}

/// Calls a tool; nothing if there is none of this name.
pub(super) async fn call(
    name: &str,
    arguments: Value,
    asked: Asked<'_>,
) -> Option<Result<Answer, String>> {
    macro_rules! dispatch {
        ($($tool:ty,)*) => {
            match name {
                $(<$tool>::NAME => Some(done::<$tool>(arguments, &asked).await),)*
                _ => None,
            }
        };
    }
    each_tool!(dispatch)
}

async fn done<T: Tool>(arguments: Value, asked: &Asked<'_>) -> Result<Answer, String> {
    let wrong = |error| format!("the arguments of {} are wrong: {error}", T::NAME);
    if let Some(unknown) = arguments::unknown(&arguments, &schema::<T>()) {
        return Err(wrong(unknown));
    }
    let tool: T =
        serde_path_to_error::deserialize(arguments).map_err(|error| wrong(error.to_string()))?;
    let ran = match tool.run(asked).await {
        Ok((text, structured)) => serde_json::to_value(structured)
            .map(|structured| Answer { text, structured })
            .map_err(Refusal::arguments),
        Err(refusal) => Err(refusal),
    };
    ran.map_err(|refusal| {
        if refusal.is_outage() {
            asked.agent.forget_bridge();
        }
        refusal.words()
    })
}

fn described<T: Tool>() -> Described {
    let mut arguments = schema::<T>();
    arguments.insert("additionalProperties".into(), false.into());
    let mut tool = Described::new(
        Cow::Borrowed(T::NAME),
        Cow::Borrowed(T::DESCRIPTION),
        Arc::new(arguments),
    );
    tool.output_schema = Some(Arc::new(schema::<T::Structured>()));
    tool.annotations = Some(ToolAnnotations::new().read_only(T::READS).open_world(false));
    tool
}

fn schema<T: JsonSchema>() -> JsonObject {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
        let plain = RecursiveTransform(without_formats_of_numbers);
        settings.transforms.push(Box::new(plain));
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut object = match schema.to_value() {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    };
    object.remove("title");
    object.entry("type").or_insert_with(|| "object".into());
    object
}

/// A number's limits say what its format does. opencode writes a warning over its screen
/// for each format that it does not know.
fn without_formats_of_numbers(schema: &mut Schema) {
    let is_number = |kind: &Value| kind == "integer" || kind == "number";
    let numbers = schema.get("type").is_some_and(|kind| match kind {
        Value::Array(kinds) => kinds.iter().any(is_number),
        kind => is_number(kind),
    });
    if numbers {
        schema.remove("format");
    }
}
