//! Requests are read from JSON, and answers written as it.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::model::door::DoorError;
use crate::model::quoting::complaint;
use crate::store::Result;
use crate::text;

/// Reads a request; what is wrong with it is said, and not what stands in it.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let body = match body {
        [] => b"{}",
        body => body,
    };
    // A list would be read as an object's members in their order, which may change.
    if body.trim_ascii_start().starts_with(b"[") {
        let why = "it is a list; it must be an object".to_owned();
        return Err(DoorError::Malformed(why).into());
    }
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = match error.classify() {
            serde_json::error::Category::Data => {
                let why = complaint(&error.to_string());
                let why = match where_in::<T>(body) {
                    Some(path) => format!("{}: {why}", complaint(&path)),
                    None => why,
                };
                why.chars().take(COMPLAINT).collect()
            }
            _ => format!("it is not JSON, at line {line} column {column}"),
        };
        DoorError::Malformed(why).into()
    })
}

/// The member of a request that is wrong, such as `messages[0].files`, if it is not the
/// whole. A request is read again for that alone.
fn where_in<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let mut source = serde_json::Deserializer::from_slice(body);
    let read: std::result::Result<T, _> = serde_path_to_error::deserialize(&mut source);
    let path = read.err()?.path().to_string();
    (path != ".").then_some(path)
}

/// The longest complaint about a request that is repeated to its client.
const COMPLAINT: usize = 300;

/// An answer as JSON.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let json = serde_json::to_vec(value).unwrap_or_else(|error| {
        // A path in an error that is no UTF-8, and nothing else, can do that.
        warn!(
            event = "answer-not-written",
            "an answer cannot be written: {error}"
        );
        b"null".to_vec()
    });
    harmless(json)
}

/// The same JSON without a character that drives a terminal or turns the direction of
/// what stands behind it: people look at answers with curl. They stand there as JSON's
/// own escapes, so each value is what it was.
pub(super) fn harmless(json: Vec<u8>) -> Vec<u8> {
    if json.is_ascii() && !json.contains(&0x7f) {
        return json;
    }
    match std::str::from_utf8(&json).map(text::shown::shown_json) {
        Ok(Cow::Owned(escaped)) => escaped.into_bytes(),
        Ok(Cow::Borrowed(_)) | Err(_) => json,
    }
}
