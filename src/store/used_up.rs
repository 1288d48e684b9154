//! A table whose ids are used up, in words for the person who must act.

/// A table that has no id left for another row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UsedUp {
    /// The table.
    pub table: String,
    /// The column of its ids.
    pub column: String,
    /// Whether the row with the last id is still there.
    pub there: bool,
}

impl UsedUp {
    /// What happened.
    #[must_use]
    pub fn what(&self) -> String {
        let Self { table, there, .. } = self;
        let why = match there {
            true => "row 9223372036854775807 has the last one",
            false => "the last one, 9223372036854775807, was given out",
        };
        format!("table {table} has no id left for another row: {why}")
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let Self {
            table,
            column,
            there,
        } = self;
        let delete = match there {
            true => format!("DELETE FROM {table} WHERE {column} = 9223372036854775807; "),
            false => String::new(),
        };
        format!(
            "stop all programs that use the store, and with sqlite3: {delete}\
             UPDATE sqlite_sequence SET seq = (SELECT coalesce(max({column}), 0) FROM {table}) \
             WHERE name = '{table}'"
        )
    }
}
