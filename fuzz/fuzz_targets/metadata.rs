//! A message as another program may have stored it: what is shown of it keeps its frame,
//! and the text can write no line of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_bridge::model::message::Message;
use mcp_bridge::model::redact::redact_json;
use mcp_bridge::session::framing::Styles;
use serde_json::{Value, json};

fuzz_target!(|parts: (&str, &str)| {
    let (metadata, text) = parts;
    let Ok(mut metadata) = serde_json::from_str::<Value>(metadata) else {
        return;
    };
    redact_json(&mut metadata);
    let message = json!({
        "id": 1, "conversation": "conv_0000000000000001", "from": "a", "to": "b",
        "message": text, "metadata": metadata, "sent_at": null,
    });
    let Ok(message) = serde_json::from_value::<Message>(message) else {
        return;
    };
    let shown = Styles::default().message(&message, None, "", jiff::Timestamp::UNIX_EPOCH);
    let mut lines = shown.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("message 1 from ")), "{shown}");
    let mut rest = lines.peekable();
    rest.next_if(|line| line.starts_with("files: "));
    assert!(rest.all(|line| line.starts_with("| ") || line == "|"), "{shown}");
});
