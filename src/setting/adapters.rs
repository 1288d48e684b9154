//! A list of adapters, one line each, from which follow the type of a configured
//! one, the shape of the table that they stand in, and what documents them.

use super::{Findings, Key, Section};

/// The table of an adapter as it stands, every key optional.
pub(crate) trait AdapterTable: Sized {
    /// What comes of it.
    type Settings;

    /// Its keys, for the documents; the one first without which the adapter is not
    /// configured.
    const KEYS: &'static [Key];

    /// What to write where the list names the adapter and nothing configures it.
    const REMEDY: &'static str;

    /// Defaults and limits. `None` if a key is missing without which the adapter can do
    /// nothing: that is an error only where the list names it.
    fn read(table: &Section<'_, Self>, found: &mut Findings) -> Option<Self::Settings>;
}

/// Makes of a list of adapters:
///
/// - the enum: one configured adapter. Its `as_adapter` is that of the trait;
/// - the raw table: the common keys, and a table for each adapter;
/// - `all`: every adapter of the list as it is configured, for `Findings::adapters`.
///
/// A line of the list is a variant, the settings and the [`AdapterTable`] in their module,
/// which stands beside the list, and the adapter's name in the configuration.
macro_rules! adapters {
    (
        $(#[$about:meta])* enum $Adapters:ident of $Adapter:ident;
        $(#[$raw_about:meta])* table $Raw:ident { $($common:ident: $type:ty,)+ }
        $($Variant:ident($module:ident::$Settings:ident) = $Table:ident $name:literal,)+
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $Adapters {
            $(
                #[doc = concat!("The adapter `", $name, "`.")]
                $Variant(super::$module::$Settings),
            )+
        }

        impl $Adapters {
            /// The names of all, in the order in which they are shown.
            pub(crate) const NAMES: &'static [&'static str] = &[$($name),+];

            /// The adapter's name, as `order` has it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Variant(_) => $name,)+
                }
            }

            pub(crate) fn as_adapter(&self) -> &dyn $Adapter {
                match self {
                    $(Self::$Variant(adapter) => adapter,)+
                }
            }

            /// The keys of all.
            pub(crate) fn keys() -> impl Iterator<Item = &'static $crate::setting::Key> {
                let tables = [$(<super::$module::$Table as $crate::setting::AdapterTable>::KEYS),+];
                tables.into_iter().flatten()
            }

            /// For each adapter its name, its settings if it is configured, and how it
            /// gets them.
            pub(crate) fn all(
                table: &$crate::setting::Section<'_, $Raw>,
                found: &mut $crate::setting::Findings,
            ) -> Vec<(&'static str, Option<Self>, &'static str)> {
                vec![$((
                    $name,
                    <super::$module::$Table as $crate::setting::AdapterTable>::read(
                        &table.part($name, |raw| &raw.$module),
                        found,
                    )
                    .map(Self::$Variant),
                    <super::$module::$Table as $crate::setting::AdapterTable>::REMEDY,
                )),+]
            }
        }

        $(#[$raw_about])*
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $Raw {
            $(pub(crate) $common: Option<$type>,)+
            $(
                #[serde(rename = $name, deserialize_with = "crate::setting::table")]
                $module: super::$module::$Table,
            )+
        }
    };
}

pub(crate) use adapters;
