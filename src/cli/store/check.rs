//! `mcp-bridge store verify`.

use serde_json::json;

use super::limits::{limits_json, limits_line};
use crate::cli::context::Context;
use crate::cli::output::{print, print_json};
use crate::cli::table::{BAD, BOLD, Cell, DIM, GOOD, Table};
use crate::exit::Exit;
use crate::model::rate::RateLimits;
use crate::store::sqlite::Inspection;
use crate::store::{StoreCheck, StoreError, sqlite};
use crate::text;

/// A store with definitions that are not known is named, and not read.
fn unknown(error: anyhow::Error, context: &Context) -> anyhow::Result<Exit> {
    let Some(StoreError::UnknownDefinitions { path, what, hash }) = error.downcast_ref() else {
        return Err(error);
    };
    if context.json() {
        print_json(&json!({ "location": path, "problems": what, "fingerprint": hash }))?;
        return Ok(Exit::Config);
    }
    let mut out = format!("store {BOLD}{}{BOLD:#}\n", path.display());
    for difference in what {
        out.push_str(&format!(
            "{BAD}problem{BAD:#}: this program does not know {difference}\n"
        ));
    }
    out.push_str(&format!(
        "  remove it; or, if you want it there: mcp-bridge store init --accept-schema --store {}\n  \
         for a daemon of another user: store.accepted_schema = \"{hash}\"\n",
        path.display()
    ));
    print(&out)?;
    Ok(Exit::Config)
}

pub(super) async fn check(context: &Context) -> anyhow::Result<Exit> {
    let bridge = match context.look().await {
        Ok(bridge) => bridge,
        Err(error) => return unknown(error, context),
    };
    let found = bridge.check().await?;
    let limits = bridge.rate_limits().await?;
    bridge.close().await;
    let seen = sqlite::inspect(found.location.file(), false)?;
    let odd = sqlite::odd_rows(found.location.file())?;
    let mut problems = found.problems.clone();
    if found.journal_mode != "wal" {
        problems.push(format!(
            "the journal mode is {}, not wal: another program changed it; stop all programs, then start one again",
            found.journal_mode
        ));
    }
    problems.extend(
        seen.used_up
            .iter()
            .map(|table| format!("{}; {}", table.what(), table.remedy())),
    );
    problems.extend(
        odd.into_iter()
            .map(|row| format!("{row}: listings skip it; correct it with sqlite3, or delete it")),
    );
    if context.json() {
        let found = StoreCheck {
            problems: problems.clone(),
            ..found
        };
        let mut object = serde_json::to_value(&found)?;
        object["limits"] = limits_json(limits);
        if let Some(file) = &seen.accepted {
            object["accepted"] = json!({ "definitions": seen.differences, "noted_in": file });
        }
        print_json(&object)?;
    } else {
        print(&page(&found, &seen, &problems, limits))?;
    }
    Ok(if problems.is_empty() {
        Exit::Success
    } else {
        Exit::Config
    })
}

fn page(found: &StoreCheck, seen: &Inspection, problems: &[String], limits: RateLimits) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| {
        table.row([Cell::new(name, DIM), value.into()]);
    };
    row("store", found.location.to_string());
    let origin = if found.adopted {
        "adopted from the Python bridge"
    } else {
        "its own"
    };
    row(
        "kind",
        format!("{}, schema {}, {origin}", found.engine, found.schema),
    );
    row(
        "size",
        format!(
            "{}, log {}",
            text::bytes(found.bytes),
            text::bytes(found.log_bytes)
        ),
    );
    row(
        "content",
        format!(
            "{}, {}, {} unread",
            text::count(found.conversations, "conversation"),
            text::count(found.messages, "message"),
            found.unread
        ),
    );
    row("tokens", found.token_storage.as_str().to_owned());
    row("limits", limits_line(limits));
    let mut out = table.render(0);
    if let Some(file) = &seen.accepted {
        out.push_str(&format!("accepted, as {} says:\n", file.display()));
        for definition in &seen.differences {
            out.push_str(&format!("  {definition}\n"));
        }
    }
    if problems.is_empty() {
        out.push_str(&format!("{GOOD}ok{GOOD:#}: no problem found\n"));
    }
    for problem in problems {
        out.push_str(&format!("{BAD}problem{BAD:#}: {problem}\n"));
    }
    if !found.problems.is_empty() {
        out.push_str("  stop all programs that use it, and restore a backup\n");
    }
    out
}
