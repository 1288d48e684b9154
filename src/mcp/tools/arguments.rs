//! Arguments that a tool does not have. One that is misspelt would be dropped otherwise,
//! and the tool would do something else than was asked.

use rmcp::model::JsonObject;
use serde_json::Value;

use crate::text::near::did_you_mean;
use crate::text::shown::shown;

/// Characters of a name that are repeated.
const SHOWN: usize = 60;

/// What to say of the first argument that the schema does not have, if there is one.
pub(super) fn unknown(arguments: &Value, schema: &JsonObject) -> Option<String> {
    unknown_at("", arguments, schema)
}

fn unknown_at(place: &str, value: &Value, schema: &JsonObject) -> Option<String> {
    match value {
        Value::Object(members) => {
            let known = schema.get("properties")?.as_object()?;
            members.iter().find_map(|(name, value)| {
                let Some(schema) = known.get(name) else {
                    return Some(no_such(place, name, known));
                };
                unknown_at(&format!("{place}{name}."), value, schema.as_object()?)
            })
        }
        Value::Array(elements) => {
            let schema = schema.get("items")?.as_object()?;
            let place = place.trim_end_matches('.');
            let each = elements.iter().enumerate();
            each.into_iter()
                .find_map(|(n, value)| unknown_at(&format!("{place}[{n}]."), value, schema))
        }
        _ => None,
    }
}

fn no_such(place: &str, name: &str, known: &JsonObject) -> String {
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let cut: String = name.chars().take(SHOWN).collect();
    format!(
        "{place}{} is not an argument of this tool{}
It takes: {}",
        shown(&cut),
        did_you_mean(&cut, names.iter().copied()),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(arguments: &Value) -> Option<String> {
        let schema = json!({ "properties": {
            "message": { "type": "string" },
            "tasks": { "items": { "properties": { "title": {} } } },
        } });
        unknown(arguments, schema.as_object()?)
    }

    #[test]
    fn misspelt_argument_is_named_with_the_right_one() {
        let words = said(&json!({ "mesage": "hi" })).expect("refused");
        assert!(words.starts_with("mesage is not an argument"), "{words}");
        assert!(words.contains("did you mean `message`?"), "{words}");
        let words = said(&json!({ "tasks": [{ "title": "x" }, { "titel": "x" }] }));
        let words = words.expect("refused");
        assert!(
            words.starts_with("tasks[1].titel is not an argument"),
            "{words}"
        );
    }

    #[test]
    fn arguments_of_the_schema_are_not_refused() {
        for known in [
            json!({}),
            json!({ "message": { "any": 1 }, "tasks": [{ "title": { "deep": 1 } }, 7] }),
            json!({ "tasks": "odd" }),
            json!([1]),
        ] {
            assert_eq!(said(&known), None, "{known}");
        }
    }
}
