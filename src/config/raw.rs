//! The shape of the TOML: serde only, every key optional, unknown keys refused.
//!
//! Values that are words (`role`, `mode`, `level`) stay text here: figment
//! reads a number as the index of an enum's variant, so that an enum in this
//! file would accept `mode = 1`. Tables go through [`table`], because a derived
//! struct also accepts a list of its fields' values.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::alert::RawAlert;
use crate::setting::{RawDuration, table};
use crate::wake::RawWake;

/// One source as it stands, or all of them merged.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSettings {
    pub(super) role: Option<String>,
    pub(super) sessions: Option<String>,
    #[serde(deserialize_with = "table")]
    pub(super) store: RawStore,
    #[serde(deserialize_with = "table")]
    pub(super) log: RawLog,
    #[serde(deserialize_with = "table")]
    pub(super) service: RawService,
    #[serde(deserialize_with = "table")]
    pub(super) api: RawApi,
    #[serde(deserialize_with = "table")]
    pub(super) heartbeat: RawHeartbeat,
    #[serde(deserialize_with = "table")]
    pub(super) message_watch: RawMessageWatch,
    #[serde(deserialize_with = "table")]
    pub(super) wake: RawWake,
    #[serde(deserialize_with = "table")]
    pub(super) alert: RawAlert,
    #[serde(deserialize_with = "table")]
    pub(super) watchdog: RawWatchdog,
    #[serde(deserialize_with = "table")]
    pub(super) reassignment: RawReassignment,
    #[serde(deserialize_with = "table")]
    pub(super) housekeeping: RawHousekeeping,
    #[serde(deserialize_with = "tables")]
    pub(super) session: Vec<RawSession>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStore {
    pub(super) url: Option<String>,
    pub(super) url_file: Option<String>,
    pub(super) accepted_schema: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) level: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawService {
    pub(super) state_file: Option<String>,
    pub(super) shutdown_grace: Option<RawDuration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApi {
    pub(super) enabled: Option<bool>,
    pub(super) connections: Option<i64>,
    pub(super) connections_per_user: Option<i64>,
    pub(super) max_body: Option<i64>,
    pub(super) time_limit: Option<RawDuration>,
    pub(super) conversations_per_hour: Option<i64>,
    pub(super) tasks_per_hour: Option<i64>,
    pub(super) stored_mib_per_day: Option<i64>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHeartbeat {
    pub(super) interval: Option<RawDuration>,
    pub(super) ttl: Option<RawDuration>,
    pub(super) renew_conversations: Option<bool>,
    pub(super) renew_for: Option<RawDuration>,
    pub(super) mirror_interval: Option<RawDuration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMessageWatch {
    pub(super) mode: Option<String>,
    pub(super) poll_interval: Option<RawDuration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSession {
    pub(super) credentials: Option<String>,
    pub(super) proof: Option<RawProof>,
    #[serde(deserialize_with = "table")]
    pub(super) wake: RawWake,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWatchdog {
    pub(super) check_interval: Option<RawDuration>,
    pub(super) default_ttl: Option<RawDuration>,
    pub(super) idle_after: Option<RawDuration>,
    pub(super) stalled_after: Option<RawDuration>,
    pub(super) revoke_after: Option<RawDuration>,
    pub(super) starting_for: Option<RawDuration>,
    pub(super) correlated_hosts: Option<i64>,
    pub(super) correlated_percent: Option<i64>,
    pub(super) correlated_hold: Option<RawDuration>,
    pub(super) leader_ttl: Option<RawDuration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawReassignment {
    pub(super) capacity: Option<i64>,
    pub(super) match_role: Option<String>,
    pub(super) moves_per_second: Option<i64>,
    pub(super) max_losses: Option<i64>,
    pub(super) losses_within: Option<RawDuration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHousekeeping {
    pub(super) interval: Option<RawDuration>,
    pub(super) keep_messages: Option<RawDuration>,
    pub(super) keep_audit: Option<RawDuration>,
    pub(super) keep_tasks: Option<RawDuration>,
    pub(super) keep_alerts: Option<RawDuration>,
}

/// `"none"`, or a table with the way.
#[derive(Debug)]
pub(super) enum RawProof {
    None,
    Table(RawProofTable),
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawProofTable {
    pub(super) pid: Option<i64>,
    pub(super) pid_file: Option<String>,
    pub(super) exec: Option<Vec<String>>,
    pub(super) timeout: Option<RawDuration>,
}

impl<'de> Deserialize<'de> for RawProof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Proof;

        impl<'de> Visitor<'de> for Proof {
            type Value = RawProof;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a proof")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawProof, E> {
                match text {
                    "none" => Ok(RawProof::None),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawProof, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(RawProof::Table)
            }
        }

        deserializer.deserialize_any(Proof)
    }
}

/// A list of tables and nothing else.
fn tables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawSession>, D::Error> {
    struct Tables;

    impl<'de> Visitor<'de> for Tables {
        type Value = Vec<RawSession>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tables")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut sessions = Vec::new();
            while let Some(Table(session)) = seq.next_element()? {
                sessions.push(session);
            }
            Ok(sessions)
        }
    }

    deserializer.deserialize_any(Tables)
}

struct Table<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        table(deserializer).map(Table)
    }
}
