//! The alerts that stand in the store, announced by the orchestrator that leads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::telling::Standing;
use super::{Alerts, say_muted};
use crate::advice;
use crate::clock;
use crate::model::alert::{Alert, AlertKind, Edge, next_reminder};
use crate::store::{AlertRef, AlertRow, Noted, ToldEdge};

/// Alerts that are being delivered at the same time.
const AT_ONCE: usize = 16;
/// More of one kind at once are announced as one: no operator reads ten thousand.
const BURST: usize = 10;
/// How many of a burst are named.
const NAMED: usize = 5;

/// What the leader remembers of them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// When each is due for a reminder.
    reminders: HashMap<AlertRef, Duration>,
    /// Those that began while their kind was muted.
    withheld: HashSet<AlertRef>,
}

impl Rows {
    /// Another orchestrator reminds now.
    pub(super) fn stand_by(&mut self) {
        self.reminders.clear();
    }
}

/// What there is to say of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    Begun,
    Over,
    Lasts,
}

impl From<News> for Edge {
    fn from(news: News) -> Self {
        match news {
            News::Begun => Self::Raised,
            News::Over => Self::Recovered,
            News::Lasts => Self::Reminder,
        }
    }
}

impl Alerts {
    /// The alerts of the store, for the leader.
    pub(super) fn tell_rows(&mut self, rows: Vec<AlertRow>) {
        let known: HashMap<AlertRef, ToldEdge> =
            rows.iter().map(|row| (row.reference(), row.told)).collect();
        self.rows.reminders.retain(|row, _| known.contains_key(row));
        self.rows.withheld.retain(|row| known.contains_key(row));
        self.telling.keep_rows(|row, edge| match edge {
            Edge::Raised => known.get(&row) == Some(&ToldEdge::None),
            Edge::Reminder | Edge::Recovered => known.contains_key(&row),
        });
        let standings = self.telling.standings();
        let mut all: BTreeMap<(News, AlertKind), Vec<AlertRow>> = BTreeMap::new();
        for row in rows {
            let standing = standings.get(&row.reference()).copied();
            if let Some(news) = self.news(&row, standing) {
                all.entry((news, row.kind)).or_default().push(row);
            }
        }
        for ((news, _), rows) in all {
            if rows.len() > BURST {
                let alert = self.burst(&rows, news.into());
                self.begin_telling(alert, &rows);
                continue;
            }
            for row in rows {
                if self.telling.begun() < AT_ONCE {
                    let alert = self.alert(&row, news.into());
                    self.begin_telling(alert, &[row]);
                }
            }
        }
    }

    /// What there is to say of it now.
    fn news(&mut self, row: &AlertRow, standing: Option<Standing>) -> Option<News> {
        let reference = row.reference();
        let over = row.recovered_at.is_some();
        let told = match standing {
            Some(Standing::Busy) => return None,
            Some(Standing::Owed(end)) if end == over && over => return None,
            Some(Standing::Owed(false)) => row.told.max(ToldEdge::Raised),
            Some(Standing::Told(told)) => row.told.max(told),
            Some(Standing::Owed(true)) | None => row.told,
        };
        let muted = self.mutes.hold(row.kind);
        match (told, over) {
            (ToldEdge::All, _) => None,
            (ToldEdge::None, false) if muted => {
                if self.rows.withheld.insert(reference) {
                    say_muted(&self.alert(row, Edge::Raised));
                }
                None
            }
            (ToldEdge::None, false) => Some(News::Begun),
            (ToldEdge::Raised, false) => {
                let now = clock::since_boot();
                let pause = next_reminder(row.reminders, &self.policy());
                let due = self.rows.reminders.entry(reference);
                (*due.or_insert(now + pause) <= now && !muted).then_some(News::Lasts)
            }
            // Whether its beginning reached the operator is not known, unless it was
            // withheld.
            (_, true) if muted || self.rows.withheld.contains(&reference) => {
                let alert = self.alert(row, Edge::Recovered);
                if muted {
                    say_muted(&alert);
                }
                self.telling.forget(alert, HashSet::from([reference]));
                self.telling.note(reference, Noted::Recovered);
                None
            }
            (_, true) => Some(News::Over),
        }
    }

    fn begin_telling(&mut self, alert: Alert, rows: &[AlertRow]) {
        let (now, policy) = (clock::since_boot(), self.policy());
        for row in rows {
            let reference = row.reference();
            self.rows.withheld.remove(&reference);
            if alert.edge == Edge::Reminder {
                let next = now + next_reminder(row.reminders + 1, &policy);
                self.rows.reminders.insert(reference, next);
                self.telling.note(reference, Noted::Reminder);
            }
        }
        let rows = rows.iter().map(AlertRow::reference).collect();
        self.telling.tell(alert, rows);
    }

    fn alert(&self, row: &AlertRow, edge: Edge) -> Alert {
        Alert {
            id: format!("alert-{}", row.id),
            kind: row.kind,
            edge,
            subject: row.about(),
            session: row.session.clone(),
            task: row.task.map(|task| task.0),
            text: row.text.clone(),
            since: row.raised_at,
            at: clock::now(),
            reminders: row.reminders + u32::from(edge == Edge::Reminder),
            daemon: self.daemon.clone(),
        }
    }

    /// Many of one kind in one.
    fn burst(&self, rows: &[AlertRow], edge: Edge) -> Alert {
        let named: Vec<String> = rows.iter().take(NAMED).map(AlertRow::about).collect();
        Alert {
            subject: format!("{} at once", rows.len()),
            session: None,
            task: None,
            text: format!(
                "{} and {} more; {}",
                named.join(", "),
                rows.len() - named.len(),
                advice::as_given("`mcp-bridge alert list` shows all")
            ),
            ..self.alert(&rows[0], edge)
        }
    }
}
