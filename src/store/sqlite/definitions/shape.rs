//! What a table of the Python bridge may look like: columns with plain types and
//! defaults, the keys that it has, and nothing that runs when we write.

use super::tokens::{Token, tokens};

/// The definition of a table, as far as it is plain.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) columns: Vec<String>,
    /// The columns of the primary key.
    pub(super) key: Vec<String>,
}

/// Reads words from left to right.
struct Reader<'a> {
    rest: &'a [Token],
}

/// The shape of a table, or what in it is not plain.
pub(super) fn table(sql: &str) -> Result<Shape, String> {
    let all = tokens(sql).ok_or("it cannot be read")?;
    let mut reader = Reader { rest: &all };
    reader.expect("create")?;
    reader.expect("table")?;
    if reader.take("if") {
        reader.expect("not")?;
        reader.expect("exists")?;
    }
    reader.name()?;
    reader.sign('(')?;
    let mut shape = Shape::default();
    loop {
        if reader.starts_constraint() {
            reader.constraint(&mut shape)?;
        } else {
            reader.column(&mut shape)?;
        }
        if reader.take_sign(')') {
            break;
        }
        reader.sign(',')?;
    }
    match reader.rest.first() {
        None => Ok(shape),
        Some(word) => Err(format!("the option {}", shown(word))),
    }
}

/// Whether an index of another program costs no more than time: columns as they
/// are, perhaps only of some rows, and no function.
pub(super) fn is_plain_index(sql: &str) -> bool {
    let Some(all) = tokens(sql) else {
        return false;
    };
    let unique = all.iter().take(2).any(|token| token.is("unique"));
    let parentheses = all.iter().filter(|token| **token == Token::Sign('('));
    !unique && parentheses.count() == 1
}

/// Whether the words after our own columns add plain columns and nothing else,
/// as a newer version may have done.
pub(super) fn adds_plain_columns(words: &[Token]) -> bool {
    let mut reader = Reader { rest: words };
    let mut shape = Shape::default();
    while !reader.rest.is_empty() {
        let added = reader.take_sign(',') && reader.column(&mut shape).is_ok();
        if !added {
            return false;
        }
    }
    shape.key.is_empty()
}

impl Reader<'_> {
    fn take(&mut self, keyword: &str) -> bool {
        let found = self.rest.first().is_some_and(|token| token.is(keyword));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn expect(&mut self, keyword: &str) -> Result<(), String> {
        match self.take(keyword) {
            true => Ok(()),
            false => Err(self.odd()),
        }
    }

    fn take_sign(&mut self, sign: char) -> bool {
        let found = self.rest.first() == Some(&Token::Sign(sign));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn sign(&mut self, sign: char) -> Result<(), String> {
        match self.take_sign(sign) {
            true => Ok(()),
            false => Err(self.odd()),
        }
    }

    /// What stands where something else was expected.
    fn odd(&self) -> String {
        self.rest
            .first()
            .map_or_else(|| "its end".to_owned(), shown)
    }

    fn name(&mut self) -> Result<String, String> {
        let name = self.rest.first().and_then(Token::name).map(str::to_owned);
        let name = name.ok_or_else(|| self.odd())?;
        self.rest = &self.rest[1..];
        Ok(name)
    }

    fn starts_constraint(&self) -> bool {
        ["constraint", "primary", "unique", "check", "foreign"]
            .iter()
            .any(|word| self.rest.first().is_some_and(|token| token.is(word)))
    }

    fn column(&mut self, shape: &mut Shape) -> Result<(), String> {
        let name = self.name()?;
        let in_column = |what: String| format!("{what} in column {}", shown_name(&name));
        // The type: words, and perhaps a length.
        while let Some(Token::Word(word)) = self.rest.first() {
            if CONSTRAINTS.contains(&word.as_str()) {
                break;
            }
            self.rest = &self.rest[1..];
        }
        if self.take_sign('(') {
            while !self.take_sign(')') {
                match self.rest.first() {
                    Some(Token::Number(_) | Token::Sign(',')) => self.rest = &self.rest[1..],
                    _ => return Err(in_column(self.odd())),
                }
            }
        }
        loop {
            if self.take("primary") {
                self.expect("key").map_err(in_column)?;
                let _ = self.take("asc");
                let _ = self.take("autoincrement");
                shape.key = vec![name.clone()];
            } else if self.take("not") {
                self.expect("null").map_err(in_column)?;
            } else if self.take("null") {
            } else if self.take("default") {
                let _ = self.take_sign('-') || self.take_sign('+');
                match self.rest.first() {
                    Some(Token::Number(_) | Token::Text(_) | Token::Quoted(_)) => {}
                    Some(Token::Word(word)) if LITERALS.contains(&word.as_str()) => {}
                    _ => return Err(in_column("a computed default".to_owned())),
                }
                self.rest = &self.rest[1..];
            } else if self.take("references") {
                self.reference().map_err(in_column)?;
            } else {
                break;
            }
        }
        match self.rest.first() {
            None | Some(Token::Sign(',' | ')')) => {}
            _ => return Err(in_column(self.odd())),
        }
        shape.columns.push(name);
        Ok(())
    }

    fn constraint(&mut self, shape: &mut Shape) -> Result<(), String> {
        if self.take("primary") {
            self.expect("key")?;
            shape.key = self.names()?;
        } else if self.take("foreign") {
            self.expect("key")?;
            self.names()?;
            self.expect("references")?;
            self.reference()?;
        } else {
            return Err(self.odd());
        }
        match self.rest.first() {
            Some(Token::Sign(',' | ')')) => Ok(()),
            _ => Err(self.odd()),
        }
    }

    /// A key into another table, without an action.
    fn reference(&mut self) -> Result<(), String> {
        self.name()?;
        if self.rest.first() == Some(&Token::Sign('(')) {
            self.names()?;
        }
        Ok(())
    }

    fn names(&mut self) -> Result<Vec<String>, String> {
        self.sign('(')?;
        let mut names = Vec::new();
        loop {
            names.push(self.name()?);
            if self.take_sign(')') {
                return Ok(names);
            }
            self.sign(',')?;
        }
    }
}

/// Words that end the type of a column.
const CONSTRAINTS: [&str; 13] = [
    "primary",
    "not",
    "null",
    "default",
    "references",
    "unique",
    "check",
    "collate",
    "generated",
    "as",
    "constraint",
    "on",
    "always",
];

/// Defaults that compute nothing.
const LITERALS: [&str; 6] = [
    "null",
    "true",
    "false",
    "current_timestamp",
    "current_date",
    "current_time",
];

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => shown_name(&word.to_ascii_uppercase()),
        Token::Quoted(name) => shown_name(name),
        Token::Text(_) => "a text".to_owned(),
        Token::Number(number) => shown_name(number),
        Token::Sign(sign) => format!("`{}`", sign.escape_debug()),
    }
}

/// A name as it can be shown: an enemy may have chosen it.
pub(in crate::store::sqlite) fn shown_name(name: &str) -> String {
    const SHOWN: usize = 64;
    let short: String = name.chars().take(SHOWN).collect();
    let more = if short.len() < name.len() { "..." } else { "" };
    let escaped = short.escape_debug();
    let hidden = |c: char| !c.is_ascii() && !c.is_alphanumeric();
    let safe: String = escaped.map(|c| if hidden(c) { '?' } else { c }).collect();
    format!("`{safe}{more}`")
}
