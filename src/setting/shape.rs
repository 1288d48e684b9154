//! Shapes in the TOML that derived types of serde do not have.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::{Error as ValueError, MapAccessDeserializer, StrDeserializer};
use serde::de::{
    Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, Unexpected, Visitor,
};

/// More digits than any sensible duration has.
const MOST_DIGITS: usize = 15;

/// A duration in words, such as `"5s"`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawDuration(pub(crate) Duration);

impl<'de> Deserialize<'de> for RawDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;

        impl Visitor<'_> for Words {
            type Value = RawDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawDuration, E> {
                // humantime 2.4 panics on "18446744073709551615s 1000ms", and with it
                // humantime_serde; a sum that overflows so needs more digits than these.
                let digits = text.bytes().filter(u8::is_ascii_digit).count();
                Some(text)
                    .filter(|_| digits <= MOST_DIGITS)
                    .and_then(|text| {
                        let text: StrDeserializer<'_, ValueError> = text.into_deserializer();
                        humantime_serde::deserialize(text).ok()
                    })
                    .map(RawDuration)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_str(Words)
    }
}

/// A table and nothing else: a derived struct also accepts a list of its fields'
/// values.
pub(crate) fn table<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(TableVisitor(PhantomData))
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
