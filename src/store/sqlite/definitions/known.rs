//! What our migrations make: the tables and indexes of ours, with the schemas that
//! have them so. As data, since running the migrations takes milliseconds, and
//! every process that opens a store compares with it; a test compares the data
//! with the migrations.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Object;

/// For each object a line (the first and the last schema, the kind, the name and
/// the table), and the definition as SQLite stores it.
pub(super) const DATA: &str = include_str!("known.sql");
/// What the lines begin with.
pub(super) const LINE: &str = "---- ";

/// What our migrations make, up to a schema, by name. The shared tables are the
/// Python bridge's, and judged by their shape.
pub(super) fn known(schema: i64) -> Arc<BTreeMap<String, Object>> {
    type Schemas = HashMap<i64, Arc<BTreeMap<String, Object>>>;
    static KNOWN: OnceLock<Mutex<Schemas>> = OnceLock::new();
    let mut all = KNOWN
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let of_schema = || {
        let objects = DATA.split(LINE).filter_map(|text| object(text, schema));
        let by_name = objects.map(|object| (object.name.to_ascii_lowercase(), object));
        Arc::new(by_name.collect())
    };
    Arc::clone(all.entry(schema).or_insert_with(of_schema))
}

/// The object of a part of [`DATA`], if the schema has it.
fn object(text: &str, schema: i64) -> Option<Object> {
    let (line, sql) = text.split_once('\n')?;
    let mut words = line.split(' ');
    let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (first..=last).contains(&schema).then_some(())?;
    let mut word = || words.next().map(str::to_owned);
    Some(Object {
        kind: word()?,
        name: word()?,
        table: word()?,
        sql: Some(sql.trim_end_matches('\n').to_owned()),
    })
}
