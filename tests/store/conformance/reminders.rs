//! A session that has a task, has read everything and does not move is reminded: by
//! mail, so that it is woken.

use mcp_bridge::model::TaskId;
use mcp_bridge::model::standing::Standing;
use mcp_bridge::store::{Moved, Store, Why};

use super::Backend;
use super::work::{
    add, claimed, done, find, lead, lose, make, news, planned, read, roomy, seen, shown,
};
use crate::common::store::{Pair, at, pair, pairs, say};

async fn unread(store: &Store, pair: &Pair) -> u64 {
    seen(store, &pair.b.session).await.unread
}

pub(crate) async fn reminder_is_for_a_task_and_not_for_mail(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 3, at(0)).await;
    let task = claimed(&store, &pairs[0].b, "Port the parser").await;
    // The second owes mail alone, the third a task and its message.
    say(&store, &pairs[1].a, "hello", at(1)).await;
    let other = add(&store, "two").await;
    let given = store
        .reassign_task(other, Some(&pairs[2].b.session), at(10))
        .await;
    given.expect("given");
    for pair in &pairs {
        find(&store, &leader, &pair.b.session, Standing::Stalled, at(200)).await;
        find(&store, &leader, &pair.b.session, Standing::Stalled, at(201)).await;
    }
    let told = read(&store, &pairs[0].b).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let words = &told[0].message;
    for part in ["Port the parser", "3 minutes", "--fence 1", "task done 1"] {
        assert!(words.contains(part), "`{part}` is not in:\n{words}");
    }
    assert_eq!(task.id, TaskId(1));
    assert_eq!(news(&store, &pairs[1].b).await, ["hello"]);
    assert_eq!(news(&store, &pairs[2].b).await, ["task"]);
}

pub(crate) async fn unread_it_is_no_debt(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    roomy(&store).await;
    let pair = pair(&store, at(0)).await;
    let task = claimed(&store, &pair.b, "one").await;
    let session = &pair.b.session;
    for standing in [Standing::Well, Standing::Lost, Standing::Exited] {
        find(&store, &leader, session, Standing::Stalled, at(200)).await;
        assert_eq!(unread(&store, &pair).await, 1, "{standing}");
        find(&store, &leader, session, standing, at(300)).await;
        assert_eq!(unread(&store, &pair).await, 0, "{standing}");
        let note = "on it".parse().expect("a note");
        let noted = store.task_progress(&pair.b, task.id, task.fence, &note, None, at(310));
        noted.await.expect("noted");
        find(&store, &leader, session, Standing::Well, at(310)).await;
    }
    // Nor does it go to the next owner, or stay with the last.
    let heir = crate::common::store::pair(&store, at(0)).await;
    find(&store, &leader, session, Standing::Stalled, at(400)).await;
    let to = planned(&task, Some(&heir.b.session), Why::Stalled);
    assert!(matches!(make(&store, &leader, to).await, Moved::Made(_)));
    assert_eq!(news(&store, &heir.b).await, ["task"]);
    assert_eq!(news(&store, &pair.b).await, ["task-taken"]);
}

pub(crate) async fn three_times_without_progress(backend: &impl Backend) {
    let store = backend.open().await;
    let leader = lead(&store).await;
    let pairs = pairs(&store, 2, at(0)).await;
    let (one, heir) = (&pairs[0].b, &pairs[1].b);
    let task = claimed(&store, one, "one").await;
    let mut second = 100;
    let mut stall = async |owner: &mcp_bridge::store::Caller| {
        second += 10;
        find(
            &store,
            &leader,
            &owner.session,
            Standing::Stalled,
            at(second),
        )
        .await;
        let told = read(&store, owner).await.len();
        find(
            &store,
            &leader,
            &owner.session,
            Standing::Well,
            at(second + 1),
        )
        .await;
        told
    };
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(stall(one).await);
    }
    assert_eq!(told, [1, 1, 1, 0, 0]);
    let note = "on it".parse().expect("a note");
    let noted = store.task_progress(one, task.id, task.fence, &note, None, at(160));
    noted.await.expect("noted");
    assert_eq!(stall(one).await, 1, "it is counted from the last word");
    for _ in 0..3 {
        stall(one).await;
    }
    lose(&store, &leader, &one.session).await;
    let moved = planned(&task, Some(&heir.session), Why::Lost);
    make(&store, &leader, moved).await;
    read(&store, heir).await;
    assert_eq!(stall(heir).await, 1, "the next owner was not told yet");
    let now = shown(&store, task.id).await;
    let ended = store
        .end_task(heir, now.id, now.fence, &done("x"), at(900))
        .await;
    ended.expect("ended");
    assert_eq!(stall(heir).await, 0, "it has none");
}
