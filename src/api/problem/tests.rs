//! Each error that a daemon answers with is the same one at its client.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::model::message::InvalidMessage;
use crate::model::rate::{RateLimited, RateLimits};
use crate::model::task::{Fence, TaskId, TaskState};
use crate::model::{ConversationId, Label, MessageId, SessionKey, Side, StoreName};
use crate::store::{HeldTask, UsedUp};

/// One of each kind. One that is missing does not compile.
macro_rules! each {
    ($type:ident { $($variant:ident => $value:expr),* $(,)? }) => {{
        let _ = |error: &$type| match error { $($type::$variant { .. } => (),)* };
        vec![$({
            let error: $type = $value;
            assert!(matches!(error, $type::$variant { .. }), "{}", stringify!($variant));
            error
        }),*]
    }};
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/srv").join(name)
}

fn store() -> StoreName {
    StoreName::from(path("bridge.db").as_path())
}

fn conversation() -> ConversationId {
    ConversationId::from_random([7; 8])
}

fn session() -> SessionKey {
    SessionKey::new(conversation(), Side::B)
}

fn label() -> Label {
    "backend".parse().expect("a label")
}

fn text() -> String {
    "in words".to_owned()
}

fn door() -> Vec<DoorError> {
    let (socket, what) = (path("api.sock"), "send".to_owned());
    each!(DoorError {
        Unreachable => DoorError::Unreachable(socket.clone(), text()),
        TwoStores => DoorError::TwoStores {
            first: text(),
            by: socket.clone(),
            second: text(),
            socket: socket.clone(),
        },
        NotPermitted => DoorError::NotPermitted(socket.clone()),
        Late => DoorError::Late {
            socket: socket.clone(),
            what: what.clone(),
            within: "1 minute".to_owned(),
        },
        Cut => DoorError::Cut { socket: socket.clone(), what: what.clone() },
        Garbled => DoorError::Garbled { socket: socket.clone(), why: text() },
        Older => DoorError::Older {
            socket: socket.clone(),
            version: "0.0.9".to_owned(),
            what: what.clone(),
        },
        OtherApi => DoorError::OtherApi { socket, why: text() },
        NoStore => DoorError::NoStore(text()),
        NoToken => DoorError::NoToken(what.clone()),
        NotOperator => DoorError::NotOperator(what.clone()),
        NotYours => DoorError::NotYours { what, session: session().to_string(), why: text() },
        Malformed => DoorError::Malformed(text()),
        TooLong => DoorError::TooLong("4 MiB".to_owned()),
        NotJson => DoorError::NotJson("text/html".to_owned()),
        NoOperation => DoorError::NoOperation("GET /v1/x".to_owned()),
        NoMethod => DoorError::NoMethod("PUT /v1/send".to_owned()),
        TooMuch => DoorError::TooMuch(text()),
        Crowded => DoorError::Crowded(text()),
        Told => DoorError::Told { text: text(), class: "retry".to_owned() },
    })
}

fn task() -> Vec<TaskError> {
    let task = TaskId(7);
    let mut named = crate::store::SessionName::from(session());
    named.label = Some(label());
    each!(TaskError {
        NoTask => TaskError::NoTask(task),
        StaleLease => TaskError::StaleLease {
            task,
            yours: Fence(1),
            fence: Fence(2),
            now_with: "is now with backend/b".to_owned(),
        },
        NotClaimed => TaskError::NotClaimed(task),
        Taken => TaskError::Taken { task, owner: text() },
        Over => TaskError::Over { task, state: TaskState::Done },
        OtherRole => TaskError::OtherRole {
            task,
            role: text(),
            session: named.clone(),
            yours: text(),
        },
        AtCapacity => TaskError::AtCapacity { session: named.clone(), open: 2, capacity: 2, held: Some(HeldTask { task, fence: Fence(1) }) },
        Exited => TaskError::Exited(named.clone()),
        Draining => TaskError::Draining(session().into()),
        Unfit => TaskError::Unfit { session: named, task, why: text() },
        IdReused => TaskError::IdReused { id: text(), task },
    })
}

fn invalid() -> Vec<InvalidMessage> {
    each!(InvalidMessage {
        Empty => InvalidMessage::Empty,
        TooLong => InvalidMessage::TooLong(60_000),
        NotUtf8 => InvalidMessage::NotUtf8(3),
        Nul => InvalidMessage::Nul(3),
        TooManyFiles => InvalidMessage::TooManyFiles(21),
        LongPath => InvalidMessage::LongPath(5_000),
        ActionType => InvalidMessage::ActionType(text()),
        ClientMessageId => InvalidMessage::ClientMessageId,
    })
}

fn all() -> Vec<StoreError> {
    let now = Timestamp::from_second(1_763_000_000).expect("in range");
    let file = path("bridge.db");
    let window = RateLimits::default().windows().next().expect("one");
    let mut all = each!(StoreError {
        Missing => StoreError::Missing(file.clone()),
        Lost => StoreError::Lost {
            path: file.clone(),
            sign: text(),
            backup: Some(path("copy.db")),
        },
        Empty => StoreError::Empty(file.clone()),
        NotAFile => StoreError::NotAFile(file.clone(), "directory".into()),
        NotADatabase => StoreError::NotADatabase(file.clone()),
        Foreign => StoreError::Foreign(file.clone()),
        Corrupt => StoreError::Corrupt(file.clone(), text()),
        Permission => StoreError::Permission(file.clone(), text()),
        TooManyFiles => StoreError::TooManyFiles(file.clone(), text()),
        ReadOnly => StoreError::ReadOnly(file.clone()),
        Untrusted => StoreError::Untrusted(file.clone(), text()),
        Full => StoreError::Full(store()),
        Io => StoreError::Io(store(), text()),
        Busy => StoreError::Busy(store()),
        SlowDisk => StoreError::SlowDisk(store(), Duration::from_millis(12_345)),
        Crowded => StoreError::Crowded(store()),
        TooNew => StoreError::TooNew { path: store(), found: 9, ours: 4 },
        NotAdopted => StoreError::NotAdopted(file.clone()),
        Unreleased => StoreError::Unreleased { path: file.clone(), found: 5 },
        OldSchema => StoreError::OldSchema { path: store(), found: 1 },
        UnknownDefinitions => StoreError::UnknownDefinitions {
            path: file.clone(),
            what: vec!["trigger x".to_owned()],
            hash: text(),
        },
        Swallowed => StoreError::Swallowed { path: store(), table: "messages".into() },
        NoIdLeft => StoreError::NoIdLeft {
            path: store(),
            what: UsedUp {
                table: "messages".to_owned(),
                column: "id".to_owned(),
                there: true,
            },
        },
        OddRow => StoreError::OddRow { path: store(), doing: "looking".into(), what: text() },
        OldSqlite => StoreError::OldSqlite("3.1".to_owned()),
        NetworkFileSystem => StoreError::NetworkFileSystem(file.clone(), "nfs".to_owned()),
        Replaced => StoreError::Replaced(file.clone()),
        Older => StoreError::Older {
            path: file.clone(),
            seen: 9,
            found: 8,
            bell: path("bell"),
        },
        Mixed => StoreError::Mixed {
            path: file.clone(),
            log: path("bridge.db-wal"),
            bell: path("bell"),
        },
        Remains => StoreError::Remains(file.clone(), path("bridge.db-wal")),
        Beside => StoreError::Beside {
            store: file.clone(),
            file: path("bridge.db-journal"),
            why: "it is odd".into(),
        },
        Linked => StoreError::Linked(file.clone(), 2),
        Mounted => StoreError::Mounted(file.clone()),
        NoRoom => StoreError::NoRoom { file: file.clone(), needed: 9_000_000, free: 1 },
        NoRoomToMigrate => StoreError::NoRoomToMigrate {
            path: file.clone(),
            schema: 5,
            copy: path("copy.db"),
            needed: 9_000_000,
            free: 1,
        },
        InUse => StoreError::InUse(file.clone(), text()),
        Taken => StoreError::Taken(file.clone()),
        CannotWrite => StoreError::CannotWrite(file.clone(), text()),
        BadBackup => StoreError::BadBackup(file, text()),
        Stopped => StoreError::Stopped,
        Unsupported => StoreError::Unsupported("mysql:x".to_owned()),
        WrongToken => StoreError::WrongToken(session()),
        NoConversation => StoreError::NoConversation(conversation(), store()),
        IdTaken => StoreError::IdTaken(conversation()),
        Expired => StoreError::Expired {
            id: conversation(),
            expired_at: now,
            now: now + Duration::from_secs(90),
        },
        Closed => StoreError::Closed(conversation()),
        LabelTaken => StoreError::LabelTaken(label()),
        NoMessage => StoreError::NoMessage(MessageId(9), session()),
        Invalid => InvalidMessage::Empty.into(),
        RateLimited => StoreError::RateLimited(
            session(),
            RateLimited { window, wait: Duration::from_millis(1_500) },
        ),
        BatchTooBig => StoreError::BatchTooBig(session(), 99, window),
        ClientIdReused => StoreError::ClientIdReused { id: text(), message: MessageId(9) },
        Door => DoorError::NoStore(text()).into(),
        Task => TaskError::NoTask(TaskId(7)).into(),
        NotLeading => StoreError::NotLeading(3),
        Sql => StoreError::Sql(store(), "sending".into(), text()),
    });
    all.extend(door().into_iter().map(StoreError::from));
    all.extend(task().into_iter().map(StoreError::from));
    all.extend(invalid().into_iter().map(StoreError::from));
    all
}

fn travelled(error: &StoreError) -> StoreError {
    let told = serde_json::to_vec(&Problem::from(error)).expect("written");
    let problem: Problem = serde_json::from_slice(&told).expect("read");
    problem.into()
}

#[test]
fn each_error_is_the_same_at_the_client() {
    for error in all() {
        let arrived = travelled(&error);
        assert_eq!(format!("{arrived:?}"), format!("{error:?}"));
        assert_eq!(arrived.to_string(), error.to_string());
        assert_eq!(arrived.class(), error.class(), "{error:?}");
        assert_eq!(arrived.is_outage(), error.is_outage(), "{error:?}");
        assert_eq!(arrived.is_held_up(), error.is_held_up(), "{error:?}");
        assert_eq!(arrived.is_refusal(), error.is_refusal(), "{error:?}");
    }
}

/// A hook keeps what met them for later.
#[test]
fn daemon_that_is_late_or_full_refuses_nothing() {
    let is_of_the_moment = |error: &DoorError| {
        let late = matches!(error, DoorError::Late { .. } | DoorError::Unreachable(..));
        late || matches!(error, DoorError::Crowded(_) | DoorError::TooMuch(_))
    };
    let mut seen = 0;
    for error in door().into_iter().filter(is_of_the_moment) {
        seen += 1;
        assert!(!StoreError::from(error).is_refusal());
    }
    assert_eq!(seen, 4);
    assert!(StoreError::from(DoorError::NotOperator(text())).is_refusal());
}

#[test]
fn unknown_error_keeps_its_words_and_its_class() {
    for error in all() {
        let mut problem = Problem::from(&error);
        problem.error = serde_json::json!({ "of-a-newer-program": { "x": 1 } });
        let arrived = StoreError::from(problem);
        assert!(matches!(arrived, StoreError::Door(DoorError::Told { .. })));
        assert_eq!(arrived.to_string(), error.to_string());
        assert_eq!(arrived.class(), error.class(), "{error:?}");
        // It may travel on, through another daemon's client.
        assert_eq!(travelled(&arrived).class(), error.class());
    }
}

#[test]
fn refusal_s_status_says_whose_fault_it_is() {
    for error in all() {
        let status = Problem::from(&error).status;
        let is_the_client_s = matches!(
            error.class(),
            ErrorClass::Input | ErrorClass::Denied | ErrorClass::Stale
        );
        if is_the_client_s {
            assert!((400..500).contains(&status), "{status} for {error:?}");
        }
        assert!(status >= 400, "{status} for {error:?}");
    }
}
