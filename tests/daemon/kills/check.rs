//! What the journals and the store prove together.

use std::collections::{HashMap, HashSet};

use super::actors::{Step, steps};
use crate::common::daemon::Rig;

/// What came of it; anything in `wrong` must not be.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Tasks that the store said it has.
    pub(crate) acknowledged: usize,
    /// Tasks that are done.
    pub(crate) done: usize,
    /// Ends that an agent repeated after it had been killed.
    pub(crate) repeated: usize,
    /// Writes with an old fence that were refused.
    pub(crate) refused: usize,
    pub(crate) wrong: Vec<String>,
}

struct Row {
    state: String,
    fence: i64,
    /// Times that its history says so.
    done: u32,
}

pub(crate) fn check(rig: &Rig) -> Verdict {
    let journals = std::fs::read_dir(rig.dir.path()).expect("there").flatten();
    let journals = journals.filter(|file| file.path().extension() == Some("journal".as_ref()));
    let all: Vec<Step> = journals.flat_map(|file| steps(&file.path())).collect();
    judge(&all, &rows(rig))
}

fn rows(rig: &Rig) -> HashMap<i64, Row> {
    let connection = rig.foreign();
    let mut query = connection
        .prepare(
            "SELECT task_id, state, fence,
                    (SELECT count(*) FROM bridge_task_history h
                     WHERE h.task_id = t.task_id AND h.event = 'done')
             FROM bridge_task t",
        )
        .expect("a query");
    let rows = query.query_map([], |row| {
        let found = Row {
            state: row.get(1)?,
            fence: row.get(2)?,
            done: row.get(3)?,
        };
        Ok((row.get(0)?, found))
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

fn judge(all: &[Step], rows: &HashMap<i64, Row>) -> Verdict {
    let mut verdict = Verdict::default();
    let (mut meant, mut added) = (HashSet::new(), HashMap::new());
    let mut ended = HashMap::<i64, u32>::new();
    for step in all {
        match *step {
            Step::Add { n } => {
                meant.insert(n);
            }
            Step::Added { n, id } => {
                if added.insert(n, id).is_some_and(|other| other != id) {
                    verdict.wrong.push(format!("piece {n} is two tasks"));
                }
            }
            Step::Ended {
                task,
                fence,
                repeated,
            } => {
                verdict.repeated += usize::from(repeated);
                *ended.entry(task).or_default() += u32::from(!repeated);
                match rows.get(&task) {
                    Some(row) if row.state == "done" && row.fence == fence => {}
                    _ => verdict.wrong.push(format!(
                        "task {task} was ended with fence {fence}, and is not"
                    )),
                }
            }
            Step::Refused { .. } => verdict.refused += 1,
            Step::LateAccepted { task, fence } => verdict
                .wrong
                .push(format!("task {task}: the old fence {fence} was accepted")),
            Step::Holds { .. } | Step::Ends { .. } => {}
        }
    }
    verdict.acknowledged = added.len();
    for (n, id) in &added {
        match rows.get(id) {
            None => verdict.wrong.push(format!("piece {n}, task {id}: lost")),
            Some(row)
                if !matches!(
                    row.state.as_str(),
                    "done" | "queued" | "leased" | "retry_wait"
                ) =>
            {
                verdict.wrong.push(format!("task {id} is {}", row.state));
            }
            Some(_) => {}
        }
    }
    for (task, row) in rows {
        verdict.done += usize::from(row.state == "done");
        if row.done != u32::from(row.state == "done") {
            let times = row.done;
            verdict
                .wrong
                .push(format!("task {task} was done {times} times"));
        }
    }
    for (task, times) in ended.into_iter().filter(|(_, times)| *times > 1) {
        verdict
            .wrong
            .push(format!("task {task} was ended by {times} owners"));
    }
    if rows.len() > meant.len() {
        let (tasks, meant) = (rows.len(), meant.len());
        verdict
            .wrong
            .push(format!("{tasks} tasks of {meant} pieces"));
    }
    verdict
}

#[test]
fn the_checker_sees_what_must_not_be() {
    let row = |state: &str, fence, done| Row {
        state: state.into(),
        fence,
        done,
    };
    let added = [Step::Add { n: 1 }, Step::Added { n: 1, id: 7 }];
    let ended = |fence, repeated| Step::Ended {
        task: 7,
        fence,
        repeated,
    };
    let wrong = |more: &[Step], rows: Vec<Row>| {
        let rows = (7..).zip(rows).collect();
        judge(&[&added[..], more].concat(), &rows).wrong.len()
    };
    let good = [ended(2, false), ended(2, true)];
    assert_eq!(wrong(&good, vec![row("done", 2, 1)]), 0);
    assert_eq!(wrong(&[], vec![row("queued", 2, 0)]), 0);
    assert_eq!(wrong(&[], vec![]), 1, "lost");
    assert_eq!(wrong(&[], vec![row("dead", 2, 0)]), 1, "given up");
    assert_eq!(wrong(&[], vec![row("done", 2, 2)]), 1, "done twice");
    assert_eq!(
        wrong(&[ended(1, false)], vec![row("done", 2, 1)]),
        1,
        "ended with an old fence"
    );
    let twice = [ended(2, false), ended(2, false)];
    assert_eq!(wrong(&twice, vec![row("done", 2, 1)]), 1, "two ends");
    let late = [Step::LateAccepted { task: 7, fence: 1 }];
    assert_eq!(wrong(&late, vec![row("leased", 2, 0)]), 1, "an old fence");
    let other = vec![row("queued", 0, 0), row("queued", 0, 0)];
    assert_eq!(wrong(&[], other), 1, "a task that was never added");
}
