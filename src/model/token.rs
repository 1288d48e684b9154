//! Session tokens: made, stored, and compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ids::SessionKey;

/// What stands before a digest in the token columns. A stored text with it is
/// never 64 characters long, so it can never pass for a token itself.
const DIGEST_MARKER: &str = "sha256:";

/// What a token begins with where the Python bridge need not read it: people and
/// secret scanners recognise it.
const PREFIX: &str = "mcpb_";

/// A token as its session presents it: 64 hexadecimal characters, with or without
/// `mcpb_` before them. Has no `Display`, and its `Debug` shows nothing.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

/// A text that cannot be a token. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is malformed: a token has 64 hexadecimal characters after an optional mcpb_, this one has {length}{other}",
    other = if *length == 64 { ", not all of them hexadecimal" } else { "" })]
pub struct MalformedToken {
    /// Characters that were there.
    pub length: usize,
}

impl Token {
    /// Takes over a presented text.
    ///
    /// # Errors
    /// [`MalformedToken`] if it is not 64 hexadecimal characters.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let text = text.trim();
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(SecretString::from(text.to_ascii_lowercase())))
        } else {
            Err(MalformedToken {
                length: text.chars().count(),
            })
        }
    }

    /// A new token for `session`: HMAC-SHA256 of its name under a random key that is
    /// kept nowhere.
    #[must_use]
    pub fn generate(session: &SessionKey, key: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
        mac.update(session.to_string().as_bytes());
        Self(SecretString::from(hex::encode(mac.finalize().into_bytes())))
    }

    /// The 64 characters, for the store alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The text for a credentials file. Where tokens are kept in the clear, the
    /// Python bridge may be given the same one, and it takes no prefix.
    #[must_use]
    pub fn presented(&self, storage: TokenStorage) -> String {
        match storage {
            TokenStorage::Plain => self.expose().to_owned(),
            TokenStorage::Hashed => format!("{PREFIX}{}", self.expose()),
        }
    }

    /// What the token column holds under `storage`.
    #[must_use]
    pub fn stored(&self, storage: TokenStorage) -> String {
        match storage {
            TokenStorage::Plain => self.expose().to_owned(),
            TokenStorage::Hashed => format!("{DIGEST_MARKER}{}", digest(self.expose())),
        }
    }

    /// Whether `stored` was made from this token, in time that depends on neither text.
    /// Reads the form that the store writes today, and the older one.
    #[must_use]
    pub fn matches(&self, stored: &str) -> bool {
        match stored.strip_prefix(DIGEST_MARKER) {
            Some(wanted) => digest(self.expose())
                .as_bytes()
                .ct_eq(wanted.as_bytes())
                .into(),
            None => self
                .expose()
                .as_bytes()
                .ct_eq(stored.to_ascii_lowercase().as_bytes())
                .into(),
        }
    }
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// How a store keeps the tokens of conversations that we create in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStorage {
    /// A SHA-256 digest: a reader of the file cannot act as a session.
    Hashed,
    /// In the clear, as the Python bridge needs them when it shares the store.
    Plain,
}

impl TokenStorage {
    /// The word in the store's settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hashed => "hashed",
            Self::Plain => "plain",
        }
    }

    /// Reads [`Self::as_str`] back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "hashed" => Some(Self::Hashed),
            "plain" => Some(Self::Plain),
            _ => None,
        }
    }
}

super::wire::as_word!(TokenStorage, "TokenStorage", [Self::Hashed, Self::Plain]);

/// A token as it travels to the daemon: nothing else is ever made of one.
pub(crate) mod presented {
    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Token;

    pub(crate) fn serialize<S: Serializer>(token: &Token, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_str(token.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Token, D::Error> {
        let text = secrecy::SecretString::from(String::deserialize(source)?);
        Token::parse(secrecy::ExposeSecret::expose_secret(&text)).map_err(D::Error::custom)
    }

    /// Its schema.
    pub(crate) struct Shape;

    impl JsonSchema for Shape {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Token".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": "string", "pattern": "^(mcpb_)?[0-9a-fA-F]{64}$" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> SessionKey {
        text.parse().expect("a session")
    }

    #[test]
    fn verifies_both_forms_and_nothing_else() {
        let token = Token::generate(&session("conv_0123456789abcdef/a"), &[7; 32]);
        let other = Token::generate(&session("conv_0123456789abcdef/b"), &[7; 32]);
        assert_eq!(token.expose().len(), 64);
        for storage in [TokenStorage::Hashed, TokenStorage::Plain] {
            let stored = token.stored(storage);
            assert!(token.matches(&stored));
            assert!(!other.matches(&stored));
        }
        assert!(!token.matches(""));
        assert!(!token.matches(DIGEST_MARKER));
    }

    #[test]
    fn both_forms_of_a_token_are_one() {
        let token = Token::generate(&session("conv_0123456789abcdef/a"), &[7; 32]);
        for storage in [TokenStorage::Hashed, TokenStorage::Plain] {
            let presented = token.presented(storage);
            let read = Token::parse(&presented).expect("a token");
            assert_eq!(read.expose(), token.expose());
        }
        assert!(token.presented(TokenStorage::Hashed).starts_with("mcpb_"));
        assert!(Token::parse("mcpb_").is_err());
        let twice = format!("mcpb_mcpb_{}", token.expose());
        assert!(Token::parse(&twice).is_err());
    }

    #[test]
    fn a_stolen_digest_is_no_token() {
        let token = Token::generate(&session("conv_0123456789abcdef/a"), &[7; 32]);
        let stored = token.stored(TokenStorage::Hashed);
        assert_ne!(stored.len(), 64);
        assert!(Token::parse(&stored).is_err());
        let digest_alone = Token::parse(&stored[DIGEST_MARKER.len()..]).expect("64 hex");
        assert!(!digest_alone.matches(&stored));
    }

    #[test]
    fn neither_debug_nor_errors_show_it() {
        let token = Token::generate(&session("conv_0123456789abcdef/a"), &[7; 32]);
        assert!(!format!("{token:?}").contains(token.expose()));
        let error = Token::parse("hunter2").expect_err("too short").to_string();
        assert!(
            !error.contains("hunter2") && error.contains("this one has 7"),
            "{error}"
        );
    }
}
