//! What a shell may be offered, and what it is offered without a store.

use clap_complete::engine::CompletionCandidate;

use crate::session::known::{as_session, known_names};

/// Sessions and names in the default directory of credentials.
pub(super) fn credentials() -> Vec<CompletionCandidate> {
    let names = known_names().into_iter().map(|name| as_session(&name));
    plain(names.map(CompletionCandidate::new).collect())
}

/// Only candidates that no shell reads as anything but one word: bash puts them on
/// the line as they are, and a role such as `x$(command)` would run at the next
/// ENTER. What is left out can still be typed, quoted by hand.
pub(super) fn plain(candidates: Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    let harmless = |c: char| c.is_alphanumeric() || "_-./:@%+,".contains(c);
    let one_word = |candidate: &CompletionCandidate| {
        let word = candidate.get_value().to_str();
        word.is_some_and(|word| {
            !word.is_empty() && !word.starts_with('-') && word.chars().all(harmless)
        })
    };
    candidates.into_iter().filter(one_word).collect()
}
