//! The words of a stored definition. White space, comments, case and quotation
//! marks make no difference, as they make none to SQLite.

/// One word or sign.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Token {
    /// A bare word, in lower case: a keyword or a name.
    Word(String),
    /// A quoted name, in lower case; never a keyword.
    Quoted(String),
    /// `'...'`, with its content.
    Text(String),
    Number(String),
    Sign(char),
}

impl Token {
    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word == keyword)
    }

    /// The name that it can be.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(name) | Self::Quoted(name) => Some(name),
            _ => None,
        }
    }

    /// The same, for a comparison in which a quoted name is a name.
    fn plain(self) -> Self {
        match self {
            Self::Quoted(name) => Self::Word(name),
            other => other,
        }
    }
}

/// The words of `sql`; `None` where a quotation or a comment does not end.
pub(super) fn tokens(sql: &str) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/")?.1;
        } else if matches!(first, '\'' | '"' | '`' | '[') {
            let (content, after) = quoted(&rest[1..], first)?;
            found.push(match first {
                '\'' => Token::Text(content),
                _ => Token::Quoted(content.to_ascii_lowercase()),
            });
            rest = after;
        } else if first.is_ascii_digit() {
            let end = end_of(rest, |c| c.is_ascii_alphanumeric() || c == '.');
            found.push(Token::Number(rest[..end].to_ascii_lowercase()));
            rest = &rest[end..];
        } else if first == '_' || first.is_alphabetic() {
            let end = end_of(rest, |c| c == '_' || c == '$' || c.is_alphanumeric());
            found.push(Token::Word(rest[..end].to_ascii_lowercase()));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                found.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(found)
}

/// Two definitions with the same words mean the same.
pub(super) fn same(one: &str, other: &str) -> bool {
    let plain = |sql| -> Option<Vec<Token>> {
        let found = tokens(sql)?.into_iter().map(Token::plain).collect();
        Some(without_if_not_exists(found))
    };
    matches!((plain(one), plain(other)), (Some(one), Some(other)) if one == other)
}

/// The words of a definition on one line, for a hash of it.
pub(super) fn line(sql: &str) -> String {
    match tokens(sql) {
        Some(found) => format!("{found:?}"),
        None => format!("{sql:?}"),
    }
}

fn without_if_not_exists(mut found: Vec<Token>) -> Vec<Token> {
    let at = found
        .windows(3)
        .position(|three| three[0].is("if") && three[1].is("not") && three[2].is("exists"));
    if let Some(at) = at.filter(|at| *at < 4) {
        found.drain(at..at + 3);
    }
    found
}

/// The content up to the mark that ends it, which stands for itself when it is
/// doubled, and what comes after.
fn quoted(text: &str, open: char) -> Option<(String, &str)> {
    let close = if open == '[' { ']' } else { open };
    let mut content = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(close)?;
        content.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(close) {
            Some(after) if open != '[' => {
                content.push(close);
                rest = after;
            }
            _ => return Some((content, rest)),
        }
    }
}

fn end_of(text: &str, goes_on: impl Fn(char) -> bool) -> usize {
    text.find(|c| !goes_on(c)).unwrap_or(text.len())
}
