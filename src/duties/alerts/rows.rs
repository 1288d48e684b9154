//! The alerts that stand in the store, told by the orchestrator that acts.

use std::collections::{BTreeMap, HashSet};

use super::{Alerts, Told};
use crate::clock;
use crate::model::alert::{Alert, AlertKind, Edge, next_reminder};
use crate::store::{AlertRow, ToldEdge};

/// Alerts that are being told at the same time.
const AT_ONCE: usize = 16;
/// More of one kind at once are told in one: nobody reads ten thousand.
const BURST: usize = 10;
/// So many of a burst are named.
const NAMED: usize = 5;

impl Alerts {
    /// The alerts of the store, for whoever acts.
    pub(super) fn tell_rows(&mut self, rows: Vec<AlertRow>, muted: &HashSet<String>) {
        let (now, policy) = (clock::since_boot(), self.policy());
        let open: HashSet<i64> = rows.iter().map(|row| row.id).collect();
        self.reminders.retain(|id, _| open.contains(id));
        let mut begun: BTreeMap<(bool, AlertKind), Vec<AlertRow>> = BTreeMap::new();
        let mut lasting = Vec::new();
        for row in rows {
            let over = row.recovered_at.is_some();
            if self.telling.contains(&(row.id, over)) {
                continue;
            }
            match (row.told, over) {
                (ToldEdge::None, false) | (ToldEdge::Raised, true) => {
                    begun.entry((over, row.kind)).or_default().push(row);
                }
                // It was over before anybody could be told.
                (ToldEdge::None, true) => {
                    let rows = vec![(row.id, true)];
                    self.telling.extend(rows.iter().copied());
                    let about = row.text;
                    self.tasks.spawn(std::future::ready(Told {
                        rows,
                        failures: Vec::new(),
                        about,
                    }));
                }
                (ToldEdge::Raised, false) => {
                    let pause = next_reminder(row.reminders, &policy);
                    let due = self.reminders.entry(row.id).or_insert(now + pause);
                    if *due <= now {
                        *due = now + next_reminder(row.reminders + 1, &policy);
                        lasting.push(row);
                    }
                }
                (ToldEdge::All, _) => {}
            }
        }
        for ((over, _), rows) in begun {
            let edge = if over { Edge::Recovered } else { Edge::Raised };
            if rows.len() > BURST {
                let ids = rows.iter().map(|row| (row.id, over)).collect();
                let alert = self.burst(&rows, edge);
                self.tell(alert, ids, muted);
                continue;
            }
            for row in rows {
                if self.tasks.len() < AT_ONCE {
                    let ids = vec![(row.id, over)];
                    self.tell(self.alert(row, edge), ids, muted);
                }
            }
        }
        for row in lasting {
            self.tell(self.alert(row, Edge::Reminder), Vec::new(), muted);
        }
    }

    fn alert(&self, row: AlertRow, edge: Edge) -> Alert {
        Alert {
            id: format!("alert-{}", row.id),
            kind: row.kind,
            edge,
            subject: row.about(),
            session: row.session,
            task: row.task.map(|task| task.0),
            text: row.text,
            since: row.raised_at,
            at: clock::now(),
            reminders: row.reminders + u32::from(edge == Edge::Reminder),
            daemon: self.daemon.clone(),
        }
    }

    /// Many of one kind in one.
    fn burst(&self, rows: &[AlertRow], edge: Edge) -> Alert {
        let named: Vec<String> = rows.iter().take(NAMED).map(AlertRow::about).collect();
        let first = &rows[0];
        Alert {
            id: format!("alert-{}", first.id),
            kind: first.kind,
            edge,
            subject: format!("{} at once", rows.len()),
            session: None,
            task: None,
            text: format!(
                "{} and {} more; mcp-bridge alert list names them all",
                named.join(", "),
                rows.len() - named.len()
            ),
            since: first.raised_at,
            at: clock::now(),
            reminders: 0,
            daemon: self.daemon.clone(),
        }
    }
}
