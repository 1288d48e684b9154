//! How the words of the product travel: what is parsed once at the edge is a text
//! in JSON, and is parsed again where it arrives.

use std::marker::PhantomData;

use serde::Deserialize as _;

/// A type that is a text: written by `Display` or `as_str`, read by `FromStr`.
macro_rules! as_text {
    ($type:ty, $name:literal $(, $key:literal: $value:expr)*) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(source)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string" $(, $key: $value)* })
            }
        }
    };
}

/// A type of a few words: written by `as_str`, read by `from_word`.
macro_rules! as_word {
    ($type:ty, $name:literal, $all:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
                sink.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str>>::deserialize(source)?;
                let unknown = || serde::de::Error::custom(format!("`{word}` is not a known value"));
                Self::from_word(&word).ok_or_else(unknown)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words: Vec<&str> = $all.into_iter().map(<$type>::as_str).collect();
                schemars::json_schema!({ "type": "string", "enum": words })
            }
        }
    };
}

pub(crate) use {as_text, as_word};

/// A type of a few words, with one for what this program does not know. A daemon of a
/// newer version may answer with such a word, which is no reason not to show the rest.
/// It is read in answers alone, never in a request or in the store.
pub(crate) trait Word: serde::de::DeserializeOwned {
    /// What stands for it.
    const UNKNOWN: Self;
}

/// A word of an answer.
pub(crate) fn word<'de, D: serde::Deserializer<'de>, T: Word>(source: D) -> Result<T, D::Error> {
    word_if_any(source).map(|word| word.unwrap_or(T::UNKNOWN))
}

/// A word of an answer, where there may be none: one that this program does not know
/// becomes `None`.
pub(crate) fn word_if_any<'de, D, T>(source: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let word = Option::<String>::deserialize(source)?;
    Ok(word.and_then(|word| serde_json::from_value(word.into()).ok()))
}

/// A time in seconds.
pub(crate) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_f64(time.as_secs_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(source)?).map_err(D::Error::custom)
    }
}

/// The same, where there may be none.
pub(crate) mod seconds_if_any {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde's own signature")]
    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        sink: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.as_secs_f64()).serialize(sink)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(source)?;
        let time = seconds.map(Duration::try_from_secs_f64);
        time.transpose().map_err(D::Error::custom)
    }
}

/// An object and nothing else: a derived type also accepts a list of its members, whose
/// order may change.
pub(crate) fn object<'de, D, T>(source: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    Object::deserialize(source).map(|Object(value)| value)
}

/// The same, of a type that may stand among the members of another one: these members
/// are its own.
pub(crate) fn object_of<'de, D, T>(source: D, own: &'static [&'static str]) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    source.deserialize_struct("object", own, Members(PhantomData))
}

/// A list of objects.
pub(crate) fn objects<'de, D, T>(source: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    let all = Vec::<Object<T>>::deserialize(source)?;
    Ok(all.into_iter().map(|Object(value)| value).collect())
}

struct Object<T>(T);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Object<T> {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> serde::de::Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(serde::de::value::MapAccessDeserializer::new(members))
    }
}
