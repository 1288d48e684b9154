//! The schema's history: the migrations, as they are released.

use super::FIRST_SCHEMA;

/// A migration: the schema that it makes, its name, its statements.
pub(super) type Migrates = (i64, &'static str, &'static str);

/// All of them, oldest first; what has been released never changes.
pub(super) const RELEASED: &[Migrates] = &[(
    FIRST_SCHEMA,
    "first release",
    include_str!("../../../migrations/sqlite/0010_first_release.sql"),
)];

/// The schema that a history ends with.
pub(super) fn newest_of(history: &[Migrates]) -> i64 {
    history
        .last()
        .map_or(FIRST_SCHEMA, |(version, ..)| *version)
}

/// The statements that bring an empty database to a schema.
#[cfg(test)]
pub(super) fn steps_to(schema: i64) -> impl Iterator<Item = &'static str> {
    RELEASED
        .iter()
        .filter(move |(version, ..)| *version <= schema)
        .map(|(_, _, sql)| *sql)
}
