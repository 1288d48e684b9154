//! Putting a table of ours into a client's TOML file, and taking it out again. Pure, as
//! `merge` is for JSON.

use super::merge::Unmergeable;

/// The text of a TOML file with a table of ours at `table.name`.
pub(super) fn with_table(
    text: &str,
    table: &str,
    name: &str,
    entries: &[(&str, toml_edit::Value)],
) -> Result<String, Unmergeable> {
    let mut document = read_toml(text)?;
    let tables = document.entry(table).or_insert_with(implicit_table);
    let tables = tables
        .as_table_mut()
        .ok_or_else(|| Unmergeable::Odd(table.to_owned()))?;
    let ours = tables.entry(name).or_insert_with(toml_edit::table);
    let ours = ours
        .as_table_mut()
        .ok_or_else(|| Unmergeable::Odd(format!("{table}.{name}")))?;
    for (key, value) in entries {
        let is_so = ours.get(key).and_then(toml_edit::Item::as_value);
        if is_so.map(|there| there.to_string().trim().to_owned())
            != Some(value.to_string().trim().to_owned())
        {
            ours.insert(key, toml_edit::Item::Value(value.clone()));
        }
    }
    Ok(document.to_string())
}

/// The same without it; nothing if nothing is left.
pub(super) fn without_table(
    text: &str,
    table: &str,
    name: &str,
) -> Result<Option<String>, Unmergeable> {
    let mut document = read_toml(text)?;
    if let Some(tables) = document.get_mut(table).and_then(|item| item.as_table_mut()) {
        tables.remove(name);
        if tables.is_empty() {
            document.remove(table);
        }
    }
    Ok((!document.is_empty()).then(|| document.to_string()))
}

fn read_toml(text: &str) -> Result<toml_edit::DocumentMut, Unmergeable> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        Unmergeable::Invalid("TOML", error.message().to_owned())
    })
}

fn implicit_table() -> toml_edit::Item {
    let mut table = toml_edit::Table::new();
    table.set_implicit(true);
    toml_edit::Item::Table(table)
}

/// Whether the table is there.
pub(super) fn has_table(text: &str, table: &str, name: &str) -> Result<bool, Unmergeable> {
    let document = read_toml(text)?;
    Ok(document
        .get(table)
        .is_some_and(|tables| tables.get(name).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_shape_is_refused() {
        assert!(with_table("a = ", "t", "n", &[]).is_err());
        assert!(with_table("t = 3", "t", "n", &[]).is_err());
    }

    #[test]
    fn a_table_is_put_in_and_taken_out() {
        let theirs = "model = \"x\" # kept\n\n[mcp_servers.other]\ncommand = \"y\"\n";
        let entries = [("command", "/b/mcp-bridge".into())];
        for text in ["", theirs] {
            let merged = with_table(text, "mcp_servers", "bridge", &entries).expect("merged");
            assert!(
                merged.contains("[mcp_servers.bridge]\ncommand = \"/b/mcp-bridge\""),
                "{merged}"
            );
            let again = with_table(&merged, "mcp_servers", "bridge", &entries).expect("merged");
            assert_eq!(again, merged);
            let back = without_table(&merged, "mcp_servers", "bridge").expect("taken");
            assert_eq!(back.unwrap_or_default().trim_end(), text.trim_end());
        }
    }
}
