//! A list of adapters, one line each, from which follow the type of a configured
//! one, the shape of the table that they stand in, and what documents them.

/// Makes of a list of adapters:
///
/// - the enum: one configured adapter. Its `as_adapter` is that of the trait;
/// - the raw table: the common keys, and a table for each adapter;
/// - `all`: every adapter of the list as it is configured, for `Findings::adapters`.
///
/// A line of the list is a variant, the settings in their module, which stands beside
/// the list, and the adapter's name in the configuration.
macro_rules! adapters {
    (
        $(#[$about:meta])* enum $Adapters:ident of $Adapter:ident;
        $(#[$raw_about:meta])* table $Raw:ident { $($common:ident: $type:ty,)+ }
        $($Variant:ident($module:ident::$Settings:ident) = $name:literal,)+
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
                [$(<super::$module::$Settings as $Adapter>::keys()),+].into_iter().flatten()
            }

            /// For each adapter its name, its settings if it is configured, and how it
            /// gets them.
            pub(crate) fn all(
                table: &$crate::setting::Section<'_, $Raw>,
                found: &mut $crate::setting::Findings,
            ) -> Vec<(&'static str, Option<Self>, &'static str)> {
                vec![$((
                    $name,
                    <super::$module::$Settings as $Adapter>::read(
                        &table.part($name, |raw| &raw.$module),
                        found,
                    )
                    .map(Self::$Variant),
                    <super::$module::$Settings as $Adapter>::remedy(),
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
                $module: <super::$module::$Settings as $Adapter>::Raw,
            )+
        }
    };
}

pub(crate) use adapters;
