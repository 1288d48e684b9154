//! Tasks from JSON Lines: every line is read before any task is added, and the
//! first that is wrong is named. What a line says never stands in an error.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::model::message::MAX_FILES;
use crate::model::session::is_role;
use crate::store::NewTask;
use crate::text::near::did_you_mean;

/// The keys that a line may have.
const KEYS: [&str; 5] = ["role", "title", "body", "files", "id"];

/// What is wrong, and on which line, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: Option<usize>,
    pub(super) what: String,
}

/// All tasks, or what is wrong with the first that is wrong.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<NewTask>, Broken> {
    let mut tasks = Vec::new();
    let mut ids: HashMap<String, usize> = HashMap::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let number = index + 1;
        let broken = |what| Broken {
            line: Some(number),
            what,
        };
        let task = one(line).map_err(broken)?;
        if let Some(id) = &task.client_id
            && let Some(before) = ids.insert(id.as_str().to_owned(), number)
        {
            let what = format!("its id is already on line {before}");
            return Err(broken(what));
        }
        tasks.push(task);
    }
    if tasks.is_empty() {
        let what = "it contains no task".to_owned();
        return Err(Broken { line: None, what });
    }
    Ok(tasks)
}

fn one(line: &[u8]) -> Result<NewTask, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        // Its own words end with a line of its own counting.
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        format!("not JSON: {said} (column {})", error.column())
    })?;
    let Value::Object(mut object) = value else {
        return Err("not a JSON object: write {\"role\": ..., \"title\": ...}".to_owned());
    };
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = did_you_mean(key, KEYS);
        let key: String = key.chars().take(40).filter(|c| !c.is_control()).collect();
        return Err(format!(
            "unknown key `{key}`{hint}; the keys are {}",
            KEYS.join(", ")
        ));
    }
    let role = text(&mut object, "role")?.ok_or("`role` is missing")?;
    if !is_role(&role) {
        return Err("`role` has 1 to 64 printable characters".to_owned());
    }
    let title = text(&mut object, "title")?.ok_or("`title` is missing")?;
    let body = text(&mut object, "body")?.unwrap_or_default();
    let id = text(&mut object, "id")?;
    let said = |error: &dyn std::error::Error| error.to_string();
    Ok(NewTask {
        role,
        title: title.parse().map_err(|error| said(&error))?,
        body: body.parse().map_err(|error| said(&error))?,
        files: files(&mut object)?,
        client_id: id
            .map(|id| id.parse())
            .transpose()
            .map_err(|_| "`id` has 1 to 128 printable ASCII characters without spaces")?,
    })
}

fn text(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{key}` must be a string")),
    }
}

fn files(object: &mut Map<String, Value>) -> Result<Vec<String>, String> {
    let list = match object.remove("files") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("`files` must be a list of strings".to_owned()),
    };
    if list.len() > MAX_FILES {
        return Err(too_many_files(list.len()));
    }
    list.into_iter()
        .map(|file| match file {
            Value::String(file) => Ok(file),
            _ => Err("`files` must be a list of strings".to_owned()),
        })
        .collect()
}

/// A task's message names its files as any other does.
pub(super) fn too_many_files(count: usize) -> String {
    format!("the task names {count} files, {MAX_FILES} are allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_task_unless_empty() {
        let tasks = parse(
            b"{\"role\":\"backend\",\"title\":\"Port it\",\"body\":\"a\\nb\",\"files\":[\"x\"],\"id\":\"t-1\"}\n\n \r\n{\"role\":\"r\",\"title\":\"t\",\"body\":null}",
        )
        .expect("two tasks");
        assert_eq!(tasks.len(), 2);
        assert_eq!(tasks[0].role, "backend");
        assert_eq!(tasks[0].body.as_str(), "a\nb");
        assert_eq!(tasks[0].files, ["x"]);
        assert!(tasks[0].client_id.is_some() && tasks[1].client_id.is_none());
    }

    #[test]
    fn first_wrong_line_is_named_and_never_quoted() {
        let good = "{\"role\":\"r\",\"title\":\"t\",\"id\":\"one\"}";
        let many = vec!["\"f\""; 21].join(",");
        for (line, says) in [
            (
                "{\"role\":\"r\"",
                "not JSON: EOF while parsing an object (column 11)",
            ),
            ("[\"r\",\"swordfish\"]", "not a JSON object"),
            ("\"swordfish\"", "not a JSON object"),
            ("{\"role\":\"r\"}", "`title` is missing"),
            ("{\"title\":\"swordfish\"}", "`role` is missing"),
            (
                "{\"role\":\"r\",\"titel\":\"swordfish\"}",
                "unknown key `titel`; did you mean `title`?",
            ),
            ("{\"role\":\"r\",\"title\":7}", "`title` must be a string"),
            ("{\"role\":\" \",\"title\":\"t\"}", "`role` has"),
            (
                "{\"role\":\"r\",\"title\":\"a\\nswordfish\"}",
                "the title has a line break",
            ),
            (
                "{\"role\":\"r\",\"title\":\"t\",\"files\":\"swordfish\"}",
                "`files` must be a list",
            ),
            (
                "{\"role\":\"r\",\"title\":\"t\",\"files\":[1]}",
                "`files` must be a list",
            ),
            (
                "{\"role\":\"r\",\"title\":\"t\",\"id\":\"a b\"}",
                "`id` has 1 to 128",
            ),
            (
                "{\"role\":\"r\",\"title\":\"t\",\"id\":\"one\"}",
                "its id is already on line 1",
            ),
            (
                &format!("{{\"role\":\"r\",\"title\":\"t\",\"files\":[{many}]}}"),
                "the task names 21 files, 20 are allowed",
            ),
            (
                &format!(
                    "{{\"role\":\"r\",\"title\":\"t\",\"body\":\"{}\"}}",
                    "x".repeat(40_001)
                ),
                "the body has 40001 characters, 40000 are allowed",
            ),
        ] {
            let text = format!("{good}\n\n{line}\n{{\"also\":\"wrong\"}}\n");
            let broken = parse(text.as_bytes()).expect_err(line);
            assert_eq!(broken.line, Some(3), "{line}");
            assert!(broken.what.contains(says), "{}", broken.what);
            assert!(!broken.what.contains("swordfish"), "{}", broken.what);
        }
        let not_text = parse(b"{\"role\":\"r\",\"title\":\"\xff\"}").expect_err("not UTF-8");
        assert_eq!(not_text.line, Some(1));
        assert_eq!(parse(b"\n \n").expect_err("none").line, None);
    }
}
