//! Putting our parts into a client's own file, and taking them out again. Pure: text
//! comes in, and text goes out. What else stands there keeps its place, its comments
//! and its shape.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use serde_json::Value;

/// A part of a JSON file that is ours.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// This value, at the end of this path of names.
    Member(Vec<&'static str>, Value),
    /// These elements, in the list at the end of this path.
    Elements(Vec<&'static str>, Vec<Value>),
}

/// Why a file is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unmergeable {
    /// It cannot be read.
    #[error("not valid {0}: {1}")]
    Invalid(&'static str, String),
    /// Something else stands where ours would.
    #[error("`{0}` has another type than the client expects")]
    Odd(String),
    /// A server of another program has our name.
    #[error("`{0}` belongs to another program\n  rename that entry, then run this again")]
    Taken(String),
}

/// The text with our parts in it, in the place of older ones.
pub(super) fn with(text: &str, parts: &[Part]) -> Result<String, Unmergeable> {
    let root = read(text)?;
    for part in parts {
        put(&root, part)?;
    }
    Ok(ended(root.to_string()))
}

/// The text without our parts, and without what is empty because of that; nothing if
/// nothing is left.
pub(super) fn without(text: &str, parts: &[Part]) -> Result<Option<String>, Unmergeable> {
    let root = read(text)?;
    for part in parts {
        take(&root, part);
    }
    let is_empty = root
        .object_value()
        .is_none_or(|all| all.properties().is_empty());
    Ok((!is_empty).then(|| ended(root.to_string())))
}

/// Whether a part of the text is ours.
pub(super) fn has(text: &str, parts: &[Part]) -> Result<bool, Unmergeable> {
    let root = read(text)?;
    parts.iter().for_each(|part| take(&root, part));
    Ok(root.to_string() != text)
}

fn read(text: &str) -> Result<CstRootNode, Unmergeable> {
    let root = CstRootNode::parse(text, &ParseOptions::default())
        .map_err(|error| Unmergeable::Invalid("JSON", error.to_string()))?;
    match root.value() {
        Some(value) if value.as_object().is_none() => Err(Unmergeable::Odd("the whole".into())),
        _ => Ok(root),
    }
}

fn ended(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn put(root: &CstRootNode, part: &Part) -> Result<(), Unmergeable> {
    let odd = |path: &[&str]| Unmergeable::Odd(path.join("."));
    let (Part::Member(path, _) | Part::Elements(path, _)) = part;
    let Some((last, above)) = path.split_last() else {
        return Ok(());
    };
    let mut object = root.object_value_or_create().ok_or_else(|| odd(&[]))?;
    for (depth, name) in above.iter().enumerate() {
        object = object
            .object_value_or_create(name)
            .ok_or_else(|| odd(&path[..=depth]))?;
    }
    match part {
        Part::Member(_, value) => match object.get(last) {
            Some(there) if json(there.value().as_ref()) == Some(value.clone()) => {}
            Some(there) if is_of_ours(&there) => there.set_value(input(value)),
            Some(_) => return Err(Unmergeable::Taken(path.join("."))),
            None => drop(object.append(last, input(value))),
        },
        Part::Elements(_, values) => {
            let list = object
                .array_value_or_create(last)
                .ok_or_else(|| odd(path))?;
            let ours: Vec<CstNode> = ours(&list, values);
            let there: Vec<Value> = ours.iter().filter_map(|one| json(Some(one))).collect();
            if there != *values {
                ours.into_iter().for_each(CstNode::remove);
                for value in values {
                    list.append(input(value));
                }
            }
        }
    }
    Ok(())
}

fn take(root: &CstRootNode, part: &Part) {
    let (Part::Member(path, _) | Part::Elements(path, _)) = part;
    let Some((last, above)) = path.split_last() else {
        return;
    };
    let mut objects: Vec<CstObject> = root.object_value().into_iter().collect();
    for name in above {
        let below = objects.last().and_then(|object| object.object_value(name));
        match below {
            Some(below) => objects.push(below),
            None => return,
        }
    }
    let Some(object) = objects.last() else {
        return;
    };
    match part {
        Part::Member(..) => match object.get(last).filter(is_of_ours) {
            Some(there) => there.remove(),
            None => return,
        },
        Part::Elements(_, values) => {
            let Some(list) = object.array_value(last) else {
                return;
            };
            let ours = ours(&list, values);
            if ours.is_empty() {
                return;
            }
            ours.into_iter().for_each(CstNode::remove);
            if list.elements().is_empty()
                && let Some(there) = object.get(last)
            {
                there.remove();
            }
        }
    }
    // What is empty now was there for ours.
    for (depth, name) in above.iter().enumerate().rev() {
        if objects[depth + 1].properties().is_empty()
            && let Some(there) = objects[depth].get(name)
        {
            there.remove();
        }
    }
}

/// The elements of a list that are ours: of this version, or of an earlier one.
fn ours(list: &CstArray, values: &[Value]) -> Vec<CstNode> {
    let elements = list.elements().into_iter();
    elements
        .filter(|element| {
            json(Some(element)).is_some_and(|it| values.contains(&it) || is_hook_of_ours(&it))
        })
        .collect()
}

/// Whether this names our program.
fn is_of_ours(member: &CstObjectProp) -> bool {
    let value = json(member.value().as_ref()).unwrap_or_default();
    let command = match &value["command"] {
        Value::Array(words) => words.first().and_then(Value::as_str),
        command => command.as_str(),
    };
    command.is_some_and(|command| command.ends_with("mcp-bridge"))
}

/// Whether this is a group of hooks that calls us alone, with any arguments.
fn is_hook_of_ours(group: &Value) -> bool {
    let hooks = group.get("hooks").and_then(Value::as_array);
    hooks.is_some_and(|hooks| !hooks.is_empty() && hooks.iter().all(calls_us))
}

/// Whether a hook calls `mcp-bridge hook`: in words, or in a line for a shell.
fn calls_us(hook: &Value) -> bool {
    let command = hook.get("command").and_then(Value::as_str);
    let arguments = hook.get("args").and_then(Value::as_array);
    let arguments = arguments.into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<&str> = command.into_iter().chain(arguments).collect();
    let in_words = words
        .windows(2)
        .any(|pair| pair[0].ends_with("mcp-bridge") && pair[1] == "hook");
    let in_line = command
        .is_some_and(|line| line.contains("mcp-bridge hook") || line.contains("mcp-bridge' hook"));
    in_words || in_line
}

fn json(node: Option<&CstNode>) -> Option<Value> {
    node?.to_serde_value()
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(value) => CstInputValue::Number(value.to_string()),
        Value::String(value) => CstInputValue::String(value.clone()),
        Value::Array(values) => CstInputValue::Array(values.iter().map(input).collect()),
        Value::Object(members) => {
            let members = members.iter();
            CstInputValue::Object(members.map(|(k, v)| (k.clone(), input(v))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts() -> Vec<Part> {
        let hook = json!({ "hooks": [{ "type": "command", "command": "/b/mcp-bridge", "args": ["hook"] }] });
        vec![
            Part::Member(
                vec!["mcpServers", "bridge"],
                json!({ "command": "/b/mcp-bridge" }),
            ),
            Part::Elements(vec!["hooks", "Stop"], vec![hook]),
            Part::Elements(vec!["permissions", "allow"], vec!["mcp__bridge".into()]),
        ]
    }

    const THEIRS: &str = r#"{
  // kept
  "zebra": 1,
  "hooks": {
    "Stop": [
      { "hooks": [{ "type": "command", "command": "say done" }] }
    ]
  },
  "apple": [1, 2]
}
"#;

    fn value(text: &str) -> Value {
        let root = CstRootNode::parse(text, &ParseOptions::default()).expect("JSON");
        root.to_serde_value().expect("a value")
    }

    #[test]
    fn other_entries_keep_their_place() {
        let merged = with(THEIRS, &parts()).expect("merged");
        assert!(
            merged.starts_with("{\n  // kept\n  \"zebra\": 1,"),
            "{merged}"
        );
        let json = value(&merged);
        assert_eq!(json["hooks"]["Stop"][0]["hooks"][0]["command"], "say done");
        assert_eq!(json["hooks"]["Stop"][1]["hooks"][0]["args"][0], "hook");
        assert_eq!(json["mcpServers"]["bridge"]["command"], "/b/mcp-bridge");
        assert_eq!(json["permissions"]["allow"][0], "mcp__bridge");
    }

    #[test]
    fn merged_twice_is_merged_once() {
        for text in ["", "{}", THEIRS] {
            let once = with(text, &parts()).expect("merged");
            assert_eq!(with(&once, &parts()).expect("merged"), once);
        }
    }

    #[test]
    fn our_entries_are_taken_out() {
        for text in ["", "{}", "{}\n"] {
            let merged = with(text, &parts()).expect("merged");
            assert_eq!(without(&merged, &parts()).expect("taken"), None, "{merged}");
        }
        let merged = with(THEIRS, &parts()).expect("merged");
        let back = without(&merged, &parts()).expect("taken").expect("theirs");
        assert_eq!(value(&back), value(THEIRS));
        assert!(back.contains("// kept"), "{back}");
    }

    #[test]
    fn an_earlier_version_of_ours_is_replaced() {
        let old = json!({ "hooks": { "Stop": [
            { "hooks": [{ "type": "command", "command": "/old/mcp-bridge", "args": ["hook", "x"] }] },
            { "hooks": [{ "type": "command", "command": "theirs" }] } ] } });
        let merged = value(&with(&old.to_string(), &parts()).expect("merged"));
        let stop = merged["hooks"]["Stop"].as_array().expect("a list");
        assert_eq!(stop.len(), 2, "{merged}");
        assert_eq!(stop[0]["hooks"][0]["command"], "theirs");
        assert_eq!(stop[1]["hooks"][0]["command"], "/b/mcp-bridge");
    }

    #[test]
    fn a_server_of_another_program_is_left() {
        let theirs = r#"{"mcpServers": {"bridge": {"command": "bifrost"}}}"#;
        let refused = with(theirs, &parts()).expect_err("another's");
        assert_eq!(refused, Unmergeable::Taken("mcpServers.bridge".into()));
        let left = without(theirs, &parts()).expect("read").expect("theirs");
        assert_eq!(value(&left), value(theirs));
    }

    #[test]
    fn a_file_of_another_shape_is_refused() {
        for odd in [
            "[]",
            "{",
            "nonsense",
            r#"{"hooks": []}"#,
            r#"{"hooks": {"Stop": {}}}"#,
        ] {
            assert!(with(odd, &parts()).is_err(), "{odd}");
        }
    }
}
