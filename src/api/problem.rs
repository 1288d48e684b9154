//! What went wrong, as HTTP tells it: RFC 9457, with the words of the command line.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::door::DoorError;
use crate::store::{ErrorClass, StoreError, TaskError};

/// The media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// A failed request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:mcp-bridge:problem:wrong-token`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened to which thing, in a line.
    pub title: String,
    /// HTTP's status.
    pub status: u16,
    /// The title, and what to do about it.
    pub detail: String,
    /// What a caller can do: `input` (send something else), `denied`, `unavailable`,
    /// `retry` (the same again, later), `stale` (stop: the task is not yours any
    /// more), `unusable`, `other`. The command line's exit codes are made of it.
    pub class: String,
    /// The same for a program: what `mcp-bridge` makes its own error of.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schemars(with = "Option<Value>")]
    pub error: Value,
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        // A path that is no UTF-8 cannot travel; the texts still do.
        let travels = serde_json::to_value(error).unwrap_or(Value::Null);
        Self {
            kind: format!("urn:mcp-bridge:problem:{}", name(&travels)),
            title: error.headline(),
            status: status(error).as_u16(),
            detail: error.to_string(),
            class: error.class().as_str().to_owned(),
            error: travels,
        }
    }
}

impl From<Problem> for StoreError {
    /// The error that it was, or its words where this program has none of its own.
    fn from(problem: Problem) -> Self {
        let Problem {
            detail: text,
            class,
            error,
            ..
        } = problem;
        serde_json::from_value(error).unwrap_or_else(|_| DoorError::Told { text, class }.into())
    }
}

/// What the error is called: `wrong-token`; of a group of errors, what it is there.
fn name(travels: &Value) -> &str {
    const GROUPS: [&str; 3] = ["door", "task", "invalid"];
    match travels {
        Value::String(name) => name,
        Value::Object(members) => match members.iter().next() {
            Some((group, inner)) if GROUPS.contains(&group.as_str()) => name(inner),
            Some((name, _)) => name,
            None => "other",
        },
        _ => "other",
    }
}

fn status(error: &StoreError) -> StatusCode {
    match error {
        StoreError::WrongToken(_) | StoreError::Door(DoorError::NoToken(_)) => {
            StatusCode::UNAUTHORIZED
        }
        StoreError::NoConversation(..)
        | StoreError::NoMessage(..)
        | StoreError::Task(TaskError::NoTask(_))
        | StoreError::Door(DoorError::NoOperation(_)) => StatusCode::NOT_FOUND,
        StoreError::LabelTaken(_)
        | StoreError::IdTaken(_)
        | StoreError::ClientIdReused { .. }
        | StoreError::Task(
            TaskError::NotClaimed(_)
            | TaskError::Taken { .. }
            | TaskError::Over { .. }
            | TaskError::IdReused { .. },
        ) => StatusCode::CONFLICT,
        StoreError::RateLimited(..)
        | StoreError::Door(DoorError::TooMuch(_) | DoorError::Crowded(_)) => {
            StatusCode::TOO_MANY_REQUESTS
        }
        StoreError::Door(DoorError::NoMethod(_)) => StatusCode::METHOD_NOT_ALLOWED,
        StoreError::Door(DoorError::TooLong(_)) => StatusCode::PAYLOAD_TOO_LARGE,
        StoreError::Door(DoorError::NotJson(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        other => match other.class() {
            ErrorClass::Input => StatusCode::BAD_REQUEST,
            ErrorClass::Denied => StatusCode::FORBIDDEN,
            ErrorClass::Stale => StatusCode::CONFLICT,
            ErrorClass::Unavailable | ErrorClass::Retry => StatusCode::SERVICE_UNAVAILABLE,
            ErrorClass::Unusable | ErrorClass::Other => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

#[cfg(test)]
mod tests;
