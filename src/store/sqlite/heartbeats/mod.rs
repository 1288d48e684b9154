//! Heartbeats: one statement for all sessions of a daemon.

mod lives;
mod round;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use std::collections::HashSet;
use std::time::Duration;

use round::{advance, as_json, changed, mirror, renew, seen, succeeded, upsert};

use super::fault::Fault;
use super::fleet::bump;
use super::messages::{called, touch};
use super::owed::mail_of;
use super::tasks::signal;
use super::{Durability, Ring, SqliteStore, millis, shared};
use crate::host;
use crate::model::health::Turn;
use crate::model::session::ProofKind;
use crate::model::wake::Mail;
use crate::model::{SessionKey, timestamp};
use crate::store::sqlite::written::Written as _;
use crate::store::unmoved::Heartbeats;
use crate::store::{
    Beat, BeatReport, BeatRound, Boot, Caller, DaemonInfo, DaemonRef, Namesake, Process, ProcessId,
    Result,
};

#[async_trait]
impl Heartbeats for SqliteStore {
    async fn register_daemon(&self, daemon: &DaemonInfo, now: Timestamp) -> Result<DaemonRef> {
        self.run("registering the daemon", async {
            let mut write = self.write(Durability::Full).await?;
            let epoch: Option<i64> = sqlx::query_scalar(
                "INSERT INTO bridge_daemon (daemon_id, epoch, role, host, boot_id, pid, version, started_ms, pid_ns)
                 VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (daemon_id) DO UPDATE SET epoch = epoch + 1, role = excluded.role,
                     host = excluded.host, boot_id = excluded.boot_id, pid = excluded.pid,
                     version = excluded.version, started_ms = excluded.started_ms, stopped_ms = NULL,
                     pid_ns = excluded.pid_ns
                 RETURNING epoch",
            )
            .bind(&daemon.id)
            .bind(daemon.role)
            .bind(&daemon.host)
            .bind(&daemon.boot_id)
            .bind(i64::from(daemon.pid))
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(millis(now))
            .bind(host::boot().pid_ns)
            .fetch_optional(write.connection())
            .await?;
            let epoch = epoch.ok_or(Fault::Swallowed("bridge_daemon"))?;
            sqlx::query(
                "UPDATE bridge_wake SET outcome = 'abandoned', ended_ms = ?2
                 WHERE claimant = ?1 AND ended_ms IS NULL",
            )
            .bind(&daemon.id)
            .bind(millis(now))
            .execute(write.connection())
            .await?;
            // No process outlives its boot, and its successor may read before the
            // first heartbeat that names it.
            let ended = of_another_boot(write.connection(), daemon, now).await?;
            for session in &ended {
                let seen = (daemon.id.as_str(), "another boot");
                lives::ended(write.connection(), session, seen, now).await?;
            }
            let ring = if ended.is_empty() {
                Ring::No
            } else {
                signal(write.connection()).await?;
                Ring::Yes
            };
            write.commit(ring).await?;
            Ok(DaemonRef { id: daemon.id.clone(), epoch })
        })
        .await
    }

    async fn namesake(&self, daemon: &DaemonRef) -> Result<Option<Namesake>> {
        self.run("looking for a daemon of the same name", async {
            let row = sqlx::query(
                "SELECT host, pid FROM bridge_daemon
                 WHERE daemon_id = ?1 AND epoch > ?2 AND stopped_ms IS NULL",
            )
            .bind(&daemon.id)
            .bind(daemon.epoch)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
            let namesake = row.map(|row| {
                Ok::<_, sqlx::Error>(Namesake {
                    host: row.try_get(0)?,
                    pid: row.try_get(1)?,
                })
            });
            Ok(namesake.transpose()?)
        })
        .await
    }

    async fn beat(&self, round: &BeatRound<'_>) -> Result<BeatReport> {
        if round.beats.is_empty() && !round.mirror {
            return Ok(BeatReport::default());
        }
        self.run("writing heartbeats", async {
            let mut write = self.write(Durability::Normal).await?;
            if round.mirror {
                seen(write.connection(), round.daemon, round.now).await?;
            }
            if round.beats.is_empty() {
                write.commit(Ring::No).await?;
                return Ok(BeatReport::default());
            }
            // In the order of the rows: ids are random, and with thousands of
            // them a page is written once instead of once a row.
            let mut sorted: Vec<&Beat> = round.beats.iter().collect();
            sorted.sort_unstable_by(|one, other| one.session.cmp(&other.session));
            let beats = as_json(&sorted);
            let all = u64::try_from(sorted.len()).unwrap_or(u64::MAX);
            let mut beaten = advance(write.connection(), round, &beats).await?;
            let mut rest = lives::Rest::default();
            if beaten < all {
                rest = lives::beat_rest(write.connection(), round, &mut sorted).await?;
                beaten += rest.beaten;
            }
            if !changed(write.connection(), round.daemon).await? {
                for beat in round.beats {
                    bump(write.connection(), &beat.session).await?;
                }
            }
            let elsewhere: HashSet<&SessionKey> = rest.elsewhere.iter().map(|(s, _)| s).collect();
            let mine = || {
                let all = sorted.iter();
                all.filter(|beat| !elsewhere.contains(&beat.session))
                    .copied()
            };
            renew(write.connection(), mine(), round.now).await?;
            if round.mirror {
                mirror(
                    write.connection(),
                    mine().map(|beat| &beat.session),
                    round.wall,
                )
                .await?;
            }
            // Lost with the power, it is as if this round never was: whatever it
            // handed out is safe as soon as it was fetched, which is a commit of
            // its own that waits for the disk.
            let ring = if rest.began { Ring::Yes } else { Ring::No };
            write.commit(ring).await?;
            Ok(BeatReport {
                beaten,
                owned_elsewhere: rest.elsewhere,
                succeeded: rest.succeeded,
                postponed: rest.postponed,
            })
        })
        .await
    }

    async fn processes(&self, sessions: &[SessionKey]) -> Result<Vec<Option<Process>>> {
        self.run("looking at heartbeats", async {
            let rows = sqlx::query(
                "SELECT h.boot_id, h.pid_ns, h.pid, h.pid_start FROM json_each(?1) w
                 LEFT JOIN bridge_heartbeat h
                     ON h.conversation_id = w.value ->> 0 AND h.session_id = w.value ->> 1
                 ORDER BY w.key",
            )
            .bind(wanted(sessions))
            .fetch_all(&mut *self.reader().await?)
            .await?;
            let process = |row: &SqliteRow| match (row.try_get(2)?, row.try_get(3)?) {
                (Some(pid), Some(start)) => Ok(Some(Process {
                    boot_id: row.try_get(0)?,
                    pid_ns: row.try_get(1)?,
                    id: ProcessId { pid, start },
                })),
                _ => Ok::<_, sqlx::Error>(None),
            };
            // One that cannot be read is not known; each has its place.
            Ok(rows
                .iter()
                .map(|row| process(row).unwrap_or(None))
                .collect())
        })
        .await
    }

    async fn ended(&self, sessions: &[SessionKey]) -> Result<HashSet<SessionKey>> {
        self.run("looking at ends", async {
            let places: Vec<i64> = sqlx::query_scalar(
                "SELECT w.key FROM json_each(?1) w CROSS JOIN bridge_heartbeat h
                 ON h.conversation_id = w.value ->> 0 AND h.session_id = w.value ->> 1
                 WHERE h.exited_ms IS NOT NULL",
            )
            .bind(wanted(sessions))
            .fetch_all(&mut *self.reader().await?)
            .await?;
            let places = places.into_iter().filter_map(|n| usize::try_from(n).ok());
            Ok(places.filter_map(|n| sessions.get(n).cloned()).collect())
        })
        .await
    }

    async fn record_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        now: Timestamp,
    ) -> Result<bool> {
        self.note_exit(session, daemon, None, now).await
    }

    async fn record_missed_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        process: &Process,
        now: Timestamp,
    ) -> Result<bool> {
        self.note_exit(session, daemon, Some(process), now).await
    }

    async fn release(
        &self,
        daemon: &DaemonRef,
        sessions: Option<&[SessionKey]>,
        now: Timestamp,
    ) -> Result<u64> {
        self.run("releasing sessions", async {
            let mut write = self.write(Durability::Normal).await?;
            let named = sessions.map(|sessions| json!(sessions.iter().map(names).collect::<Vec<_>>()).to_string());
            let released = sqlx::query(
                // A daemon that lets go is there: whoever was about to call the
                // session lost looks again.
                "UPDATE bridge_heartbeat SET released = 1, seq = seq + 1
                 WHERE daemon_id = ?1 AND daemon_epoch = ?2 AND released = 0
                   AND (?3 IS NULL OR conversation_id || '/' || session_id IN (SELECT value FROM json_each(?3)))",
            )
            .bind(&daemon.id)
            .bind(daemon.epoch)
            .bind(named)
            .execute(write.connection())
            .await?
            .rows_affected();
            changed(write.connection(), daemon).await?;
            if sessions.is_none() {
                sqlx::query(
                    "UPDATE bridge_daemon SET stopped_ms = ?3 WHERE daemon_id = ?1 AND epoch = ?2",
                )
                .bind(&daemon.id)
                .bind(daemon.epoch)
                .bind(millis(now))
                .execute(write.connection())
                .await?;
            }
            write.commit(Ring::No).await?;
            Ok(released)
        })
        .await
    }

    async fn call_in(
        &self,
        caller: &Caller,
        ttl: Duration,
        turn: Option<Turn>,
        boot: &Boot,
        now: Timestamp,
    ) -> Result<Mail> {
        self.run("writing a heartbeat", async {
            let mut write = self.write(Durability::Normal).await?;
            self.authenticate(write.connection(), caller, now).await?;
            // No daemon: a session that a live daemon keeps stays that daemon's.
            let nobody = DaemonRef {
                id: String::new(),
                epoch: 0,
            };
            let beat = Beat {
                session: caller.session.clone(),
                proof: ProofKind::Call,
                process: None,
                renew_until: None,
            };
            let round = BeatRound {
                beats: std::slice::from_ref(&beat),
                daemon: &nobody,
                ttl,
                mirror: true,
                boot,
                now,
                wall: now,
            };
            let beats = as_json(&[&beat]);
            let successor = succeeded(write.connection(), &round, &beats).await?;
            let written = upsert(write.connection(), &round, &beats).await? > 0;
            let successor = successor.first().filter(|_| written);
            if let Some(successor) = successor {
                let session = &caller.session;
                lives::begun(write.connection(), session, *successor, "", now).await?;
                signal(write.connection()).await?;
            }
            mirror(write.connection(), std::iter::once(&caller.session), now).await?;
            if let Some(turn) = turn {
                touch(write.connection(), &caller.session, now).await?;
                set_turn(write.connection(), &caller.session, turn).await?;
            } else {
                called(write.connection(), &caller.session).await?;
            }
            let mail = mail_of(write.connection(), std::slice::from_ref(&caller.session)).await?;
            let ring = successor.map_or(Ring::No, |_| Ring::Yes);
            write.commit(ring).await?;
            Ok(mail.first().copied().unwrap_or_default())
        })
        .await
    }
}

impl SqliteStore {
    /// Notes an exit in a heartbeat of this life of the daemon, or in any that
    /// names the process `missed`, but for one of a later life of the daemon.
    async fn note_exit(
        &self,
        session: &SessionKey,
        daemon: &DaemonRef,
        missed: Option<&Process>,
        now: Timestamp,
    ) -> Result<bool> {
        self.run("noting an exit", async {
            let mut write = self.write(Durability::Full).await?;
            let changed = sqlx::query(
                "UPDATE bridge_heartbeat SET exited_ms = ?5, seq = seq + 1
                 WHERE conversation_id = ?1 AND session_id = ?2 AND exited_ms IS NULL
                   AND iif(?6 IS NULL, daemon_id = ?3 AND daemon_epoch = ?4,
                           (daemon_id IS NOT ?3 OR daemon_epoch <= ?4) AND boot_id = ?6
                           AND pid_ns = ?7 AND pid = ?8 AND pid_start = ?9)",
            )
            .bind(session.conversation.as_str())
            .bind(session.side.as_str())
            .bind(&daemon.id)
            .bind(daemon.epoch)
            .bind(millis(now))
            .bind(missed.map(|process| &process.boot_id))
            .bind(missed.map(|process| process.pid_ns))
            .bind(missed.map(|process| process.id.pid))
            .bind(missed.map(|process| process.id.start))
            .execute(write.connection())
            .await?
            .rows_affected();
            if changed > 0 {
                let seen = (daemon.id.as_str(), "its daemon");
                lives::ended(write.connection(), session, seen, now).await?;
                // The orchestrator waits for this as a reader waits for mail.
                signal(write.connection()).await?;
            }
            let ring = if changed > 0 { Ring::Yes } else { Ring::No };
            write.commit(ring).await?;
            Ok(changed > 0)
        })
        .await
    }
}

/// The sessions that this daemon kept by their processes in an earlier boot, and
/// of which it was not noted how they ended: it is noted now. A conversation that
/// expired meanwhile hands nothing out; its agent's end is found when it goes on,
/// as is that of all beyond the first thousand.
async fn of_another_boot(
    connection: &mut SqliteConnection,
    daemon: &DaemonInfo,
    now: Timestamp,
) -> std::result::Result<Vec<SessionKey>, Fault> {
    let rows = sqlx::query(
        "UPDATE bridge_heartbeat SET exited_ms = ?3, seq = seq + 1
         WHERE (conversation_id, session_id) IN (
             SELECT h.conversation_id, h.session_id FROM bridge_heartbeat h
             JOIN conversations c ON c.id = h.conversation_id
             LEFT JOIN bridge_conversation l ON l.conversation_id = h.conversation_id
             WHERE h.daemon_id = ?1 AND h.boot_id <> ?2 AND h.pid IS NOT NULL
               AND h.exited_ms IS NULL AND l.closed_ms IS NULL
               AND replace(c.expires_at, ' ', 'T') > ?4 LIMIT 1000)
         RETURNING conversation_id, session_id",
    )
    .bind(&daemon.id)
    .bind(&daemon.boot_id)
    .bind(millis(now))
    .bind(timestamp::to_text(now))
    .fetch_all(connection)
    .await?;
    Ok(shared::sessions(&rows)?)
}

/// What the agent's client says of its turns, in the row that [`touch`] made
/// sure of.
async fn set_turn(
    connection: &mut SqliteConnection,
    session: &SessionKey,
    turn: Turn,
) -> std::result::Result<(), Fault> {
    let word = match turn {
        Turn::Unknown => None,
        told => Some(told.as_str()),
    };
    sqlx::query(
        "UPDATE bridge_session SET turn = ?3 WHERE conversation_id = ?1 AND session_id = ?2",
    )
    .bind(session.conversation.as_str())
    .bind(session.side.as_str())
    .bind(word)
    .execute(connection)
    .await?
    .wrote(1, "bridge_session")?;
    Ok(())
}

/// The sessions as statements take them: a list of conversation and side.
fn wanted(sessions: &[SessionKey]) -> String {
    let wanted: Vec<[&str; 2]> = sessions
        .iter()
        .map(|session| [session.conversation.as_str(), session.side.as_str()])
        .collect();
    json!(wanted).to_string()
}

fn names(session: &SessionKey) -> String {
    session.to_string()
}
