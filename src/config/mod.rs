//! The configuration: raw TOML shape -> defaults -> validated [`Settings`].
//!
//! Owns the reading of `/etc/mcp-bridge/<instance>.toml`, of the drop-ins in
//! `<instance>.d/*.toml` beside it and of `MCP_BRIDGE__SECTION__KEY`, and every word an
//! operator reads when one of them is wrong. Does not know the store or the duties. Of
//! this crate it imports only how files are opened and what a level of the log may be.
//!
//! | file | does |
//! |---|---|
//! | `load` | finds and reads the sources, in order |
//! | `layer` | one source: its syntax and its shape |
//! | `raw` | the shape of the TOML, every key optional |
//! | `validate`, `store`, `api`, `sessions`, `orchestrator` | defaults, limits, domain types |
//! | `settings`, `orchestrator_settings` | what the rest of the program sees |
//! | `keys` | every key, for the documents |
//!
//! What all tables are made of stands below, in `setting`; `[wake]` and `[alert]` with
//! a table for each adapter stand beside the adapters, in `wake` and `alert`.

mod api;
mod keys;
mod layer;
mod load;
mod orchestrator;
mod orchestrator_settings;
mod raw;
mod sessions;
mod settings;
mod store;
mod validate;

pub use api::ApiSettings;
pub use keys::KEYS;
pub use load::{drop_in_count, environment, instance, load};
pub use orchestrator_settings::{
    HousekeepingSettings, MatchRole, OrchestratorSettings, ReassignmentSettings, WatchdogSettings,
};
pub(crate) use settings::is_closed;
pub use settings::{
    AgentSettings, HeartbeatSettings, LogSettings, MessageWatchSettings, ProofSettings,
    RoleSettings, ServiceSettings, SessionSettings, Settings, StoreSettings, WatchMode,
    restart_keys,
};

pub use crate::alert::{
    AlertAdapterSettings, AlertSettings, InvalidWebhookUrl, WebhookAddress, WebhookSettings,
    WebhookUrl,
};
pub use crate::setting::{
    ConfigError, ExecSettings, Key, KeyRole, LOADED_AS, SettingPlace, Source,
};
pub use crate::wake::{AdapterSettings, FileMode, FileSettings, WakeSettings};
