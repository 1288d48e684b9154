//! What an error repeats of a text from outside: it may be a token, or all of a message,
//! and errors stand in logs.

/// More characters than a name or an id has in practice, and fewer than a token.
const LONGEST: usize = 60;
/// What is repeated of a longer one: too little to be of use.
const BEGINNING: usize = 6;

/// A name or an id as an error quotes it; of one that is longer than any, its beginning.
pub(crate) fn quoted(text: &str) -> String {
    let is_long = text.chars().nth(LONGEST).is_some();
    let most = if is_long { BEGINNING } else { LONGEST };
    let shown = text.chars().take(most);
    let mut out: String = shown
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if is_long {
        out.push_str("...");
    }
    out
}

/// What a reader of JSON or TOML complains of, without the text that stood in the wrong
/// place, and with the beginning alone of each long word.
pub(crate) fn complaint(said: &str) -> String {
    let said = without_text(said);
    let ends = |c: char| c.is_whitespace() || matches!(c, '`' | '"' | '.');
    let words = said.split_inclusive(ends).map(|word| {
        let end = word.chars().next_back().filter(|c| ends(*c));
        let body = end.map_or(word, |end| &word[..word.len() - end.len_utf8()]);
        let mut word = quoted(body);
        word.extend(end);
        word
    });
    words.collect()
}

/// A type's complaint names the text that it found: `invalid type: string "...", expected`.
fn without_text(said: &str) -> String {
    let (Some(from), Some(to)) = (said.find(" string \""), said.rfind("\", expected")) else {
        return said.to_owned();
    };
    match (said.get(..from), said.get(to + 1..)) {
        (Some(before), Some(after)) if from < to => format!("{before} a text{after}"),
        _ => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_long_word_is_quoted() {
        let token = "5ec4e7ab".repeat(8);
        assert_eq!(quoted(&token), "5ec4e7...");
        assert_eq!(quoted("conv_1"), "conv_1");
        assert_eq!(
            complaint(&format!("unknown field `mcpb_{token}`, expected `a`")),
            "unknown field `mcpb_5...`, expected `a`"
        );
        // A path to the wrong place has the names of members.
        let path = format!("messages[0].{token}.files");
        assert_eq!(complaint(&path), "messages[0].5ec4e7....files");
    }

    #[test]
    fn a_text_in_the_wrong_place_is_not_repeated() {
        let said = "messages: invalid type: string \"a \\\", expected b\", expected a list";
        assert_eq!(
            complaint(said),
            "messages: invalid type: a text, expected a list"
        );
    }
}
