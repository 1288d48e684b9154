//! Many processes write one store: nothing is lost, nothing comes twice, each sender's
//! order is kept, and no writer gets "the database is locked". Also when writers are
//! killed in the middle.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot set up its case has nothing to say"
)]

use crate::common::store as common;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use mcp_bridge::clock;
use mcp_bridge::credentials::Credentials;
use mcp_bridge::model::message::{Message, Sender};
use mcp_bridge::model::token::Token;
use mcp_bridge::model::{MessageId, SessionKey, Side};
use mcp_bridge::store::{Caller, Store};

use crate::common::again::{child, report, reported, told};
use crate::common::store::{Pair, Scratch, at, draft, unlimited};

const WRITERS: usize = 8;

/// A child: gets `path conversation/side count`, its token on standard input; sends
/// this number of numbered messages and reports each that was acknowledged.
#[test]
fn child_that_writes() {
    let Some(told) = told() else { return };
    let mut words = told.split(' ');
    let mut word = || words.next().expect("a word");
    let (path, session, count) = (word(), word(), word());
    let count: usize = count.parse().expect("a number");
    let mut token = String::new();
    std::io::stdin().read_line(&mut token).expect("a token");
    let caller = Caller {
        session: session.parse().expect("a session"),
        token: Token::parse(&token).expect("a token"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = common::try_open(path.as_ref(), mcp_bridge::store::sqlite::Create::No)
            .await
            .expect("a store");
        let mut next = 0;
        while next < count {
            // One at a time and in batches, as agents and bulk senders do.
            let batch = if next % 50 == 40 { 10 } else { 1 };
            let drafts: Vec<_> = (next..(next + batch).min(count))
                .map(|n| draft(&n.to_string()))
                .collect();
            match store.send(&caller, &drafts, at(1)).await {
                Ok(sent) => {
                    for n in next..next + sent.len() {
                        report(&n.to_string());
                    }
                    next += sent.len();
                }
                Err(error) => {
                    report(&format!("error: {error}"));
                    return;
                }
            }
        }
        store.close().await;
    });
}

/// What one writer said it was promised.
struct Writer {
    session: SessionKey,
    process: Child,
    listener: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Writer {
    fn spawn(scratch: &Scratch, caller: &Caller, count: usize) -> Self {
        let told = format!("{} {} {count}", scratch.path().display(), caller.session);
        let mut process = child(&[], module_path!(), "child_that_writes", &told)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a writer");
        let mut input = process.stdin.take().expect("piped");
        writeln!(input, "{}", caller.token.expose()).expect("it listens");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let listener = std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            lines
                .filter_map(|line| reported(&line).map(str::to_owned))
                .collect()
        });
        Self {
            session: caller.session.clone(),
            process,
            listener: Some(listener),
        }
    }

    /// Waits for its end; the numbers that were acknowledged to it.
    fn finish(&mut self) -> Vec<usize> {
        self.process.wait().expect("it ends");
        let listener = self.listener.take().expect("asked once");
        let said = listener.join().expect("no panic");
        said.iter()
            .map(|line| match line.parse() {
                Ok(number) => number,
                Err(_) => panic!("{}: {line}", self.session),
            })
            .collect()
    }
}

/// Reads the other side of every conversation, once over: what an agent's
/// `check` does, in small bites so that it interleaves with the writers.
async fn read_round(
    store: &Store,
    readers: &[Caller],
    got: &mut BTreeMap<SessionKey, Vec<Message>>,
) -> usize {
    let mut count = 0;
    for reader in readers {
        let fetched = store.fetch(reader, 50, at(2)).await.expect("fetched");
        if let Some(id) = &fetched.id {
            let by = &reader.session;
            store.fetch_written(by, id, at(3)).await.expect("confirmed");
        }
        count += fetched.messages.len();
        got.entry(reader.session.partner())
            .or_default()
            .extend(fetched.messages);
    }
    count
}

/// What was promised to the senders, held against what came to their readers.
fn figures(
    promised: &HashMap<SessionKey, Vec<usize>>,
    got: &BTreeMap<SessionKey, Vec<Message>>,
) -> [usize; 3] {
    let [mut lost, mut twice, mut disordered] = [0; 3];
    for (session, promised) in promised {
        let got = got.get(session).map(Vec::as_slice).unwrap_or_default();
        let numbers: Vec<usize> = got
            .iter()
            .map(|message| message.message.parse().expect("a number"))
            .collect();
        let distinct: HashSet<&usize> = numbers.iter().collect();
        lost += promised.iter().filter(|n| !distinct.contains(n)).count();
        twice += numbers.len() - distinct.len();
        disordered += numbers.windows(2).filter(|two| two[1] < two[0]).count();
    }
    [lost, twice, disordered]
}

/// The oracle: each acknowledged number came once, numbers and ids ascend.
fn nothing_is_wrong(
    promised: &HashMap<SessionKey, Vec<usize>>,
    got: &BTreeMap<SessionKey, Vec<Message>>,
) -> usize {
    let mut total = 0;
    for (session, promised) in promised {
        let got = got.get(session).map(Vec::as_slice).unwrap_or_default();
        let numbers: Vec<usize> = got
            .iter()
            .map(|message| message.message.parse().expect("a number"))
            .collect();
        // One more transaction may have been stored than was acknowledged: a
        // writer that was killed before it could say so.
        let expected: Vec<usize> = (0..numbers.len()).collect();
        assert_eq!(numbers, expected, "{session}: lost, doubled or disordered");
        assert!(got.is_sorted_by_key(|message| message.id), "{session}");
        let kept = promised.len();
        assert!(
            (kept..=kept + 10).contains(&numbers.len()),
            "{session}: {kept} acknowledged, {} there",
            numbers.len()
        );
        total += numbers.len();
    }
    total
}

async fn set_up(scratch: &Scratch) -> (mcp_bridge::store::SharedStore, Vec<Pair>) {
    let store = scratch.make().await;
    unlimited(&store).await;
    let pairs = common::pairs(&store, WRITERS, at(0)).await;
    (store, pairs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_write_and_one_reads() {
    let each = if common::full() { 10_000 } else { 2_000 } / WRITERS;
    let scratch = Scratch::new();
    let (store, pairs) = set_up(&scratch).await;
    let readers: Vec<Caller> = pairs.iter().map(|pair| pair.b.clone()).collect();
    let mut writers: Vec<Writer> = pairs
        .iter()
        .map(|pair| Writer::spawn(&scratch, &pair.a, each))
        .collect();
    let mut got = BTreeMap::new();
    let mut running = true;
    while running {
        running = writers
            .iter_mut()
            .any(|writer| writer.process.try_wait().expect("asked").is_none());
        read_round(&store, &readers, &mut got).await;
    }
    while read_round(&store, &readers, &mut got).await > 0 {}
    let promised: HashMap<_, _> = writers
        .iter_mut()
        .map(|writer| (writer.session.clone(), writer.finish()))
        .collect();
    for (session, numbers) in &promised {
        assert_eq!(numbers.len(), each, "{session} was refused some");
    }
    assert_eq!(nothing_is_wrong(&promised, &got), each * WRITERS);
    let check = store.check().await.expect("checked");
    assert!(check.problems.is_empty() && check.unread == 0, "{check:?}");
    store.close().await;
}

/// Sends this number of numbered messages as a user or a script does: a process of the
/// command line for one of them, then one for a batch, and so on. Returns what was
/// acknowledged, and what else they said.
fn send_by_command_line(credentials: &Path, count: usize) -> (Vec<usize>, String) {
    let (mut promised, mut said) = (Vec::new(), String::new());
    while promised.len() < count {
        let next = promised.len();
        let batch = next % 20 != 0;
        let numbers = next..(next + if batch { 19 } else { 1 }).min(count);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command.arg("--credentials").arg(credentials).arg("send");
        if batch {
            command.arg("--batch");
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mcp-bridge");
        let lines: Vec<String> = numbers.clone().map(|n| format!("{n}\n")).collect();
        let mut input = process.stdin.take().expect("piped");
        input
            .write_all(lines.concat().as_bytes())
            .expect("it reads");
        drop(input);
        let output = process.wait_with_output().expect("it ends");
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            break;
        }
        promised.extend(numbers);
    }
    (promised, said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_commands_write_and_one_reads() {
    let each = if common::full() { 10_000 } else { 1_600 } / WRITERS;
    let scratch = Scratch::new();
    let store = scratch.make().await;
    unlimited(&store).await;
    let pairs = common::pairs(&store, WRITERS, clock::now()).await;
    let readers: Vec<Caller> = pairs.iter().map(|pair| pair.b.clone()).collect();
    let began = Instant::now();
    let writers: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let file = scratch.directory().join(format!("{}.toml", pair.id));
            let credentials = Credentials {
                store: Some(scratch.path().display().to_string()),
                label: None,
                callers: vec![pair.a.clone()],
                source: None,
            };
            credentials
                .write(&file, mcp_bridge::model::token::TokenStorage::Hashed)
                .expect("written");
            let session = pair.a.session.clone();
            std::thread::spawn(move || (session, send_by_command_line(&file, each)))
        })
        .collect();
    let mut got = BTreeMap::new();
    while !writers.iter().all(std::thread::JoinHandle::is_finished) {
        read_round(&store, &readers, &mut got).await;
    }
    while read_round(&store, &readers, &mut got).await > 0 {}
    let took = began.elapsed();
    let (mut promised, mut said) = (HashMap::new(), String::new());
    for writer in writers {
        let (session, (numbers, words)) = writer.join().expect("no panic");
        promised.insert(session, numbers);
        said.push_str(&words);
    }
    let [lost, twice, disordered] = figures(&promised, &got);
    let sent: usize = promised.values().map(Vec::len).sum();
    println!(
        "{sent} messages from {WRITERS} concurrent writer processes in {:.1} s: {lost} lost, {twice} twice, \
         {disordered} out of order; `database is locked` shown {} times",
        took.as_secs_f64(),
        said.matches("database is locked").count()
    );
    assert_eq!(said, "", "no program reports trouble");
    assert_eq!([sent, lost, twice, disordered], [each * WRITERS, 0, 0, 0]);
    assert_eq!(nothing_is_wrong(&promised, &got), sent);
    store.close().await;
}

#[test]
fn the_figures_count_what_is_wrong() {
    let session: SessionKey = "conv_0123456789abcdef/a".parse().expect("a session");
    let message = |n: &usize| Message {
        id: MessageId(1),
        conversation: session.conversation.clone(),
        from: Sender::Session(Side::A),
        to: Side::B,
        message: n.to_string(),
        metadata: serde_json::json!({}),
        sent_at: None,
    };
    let count = |promised: &[usize], got: &[usize]| {
        let got = got.iter().map(message).collect();
        figures(
            &HashMap::from([(session.clone(), promised.to_vec())]),
            &BTreeMap::from([(session.clone(), got)]),
        )
    };
    assert_eq!(count(&[0, 1, 2], &[0, 1, 2]), [0, 0, 0]);
    assert_eq!(count(&[0, 1, 2], &[0, 2]), [1, 0, 0]);
    assert_eq!(count(&[0, 1, 2], &[0, 1, 1, 2]), [0, 1, 0]);
    assert_eq!(count(&[0, 1, 2], &[0, 2, 1]), [0, 0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_writers_lose_nothing_that_was_acknowledged() {
    let rounds = if common::full() { 40 } else { 4 };
    let scratch = Scratch::new();
    let (store, _) = set_up(&scratch).await;
    for round in 0..rounds {
        let pairs = common::pairs(&store, WRITERS, at(0)).await;
        let readers: Vec<Caller> = pairs.iter().map(|pair| pair.b.clone()).collect();
        let mut writers: Vec<Writer> = pairs
            .iter()
            .map(|pair| Writer::spawn(&scratch, &pair.a, 100_000))
            .collect();
        let mut got = BTreeMap::new();
        // One falls each time that some more messages have come.
        let mut random = fastrand::Rng::with_seed(round);
        let mut alive: Vec<usize> = (0..WRITERS).collect();
        let mut came = 0;
        while !alive.is_empty() {
            let enough = came + random.usize(1..60);
            while came < enough {
                came += read_round(&store, &readers, &mut got).await;
            }
            let fallen = alive.swap_remove(random.usize(..alive.len()));
            writers[fallen].process.kill().expect("killed");
        }
        let promised: HashMap<_, _> = writers
            .iter_mut()
            .map(|writer| (writer.session.clone(), writer.finish()))
            .collect();
        while read_round(&store, &readers, &mut got).await > 0 {}
        nothing_is_wrong(&promised, &got);
    }
    let check = store.check().await.expect("checked");
    assert!(check.problems.is_empty(), "{:?}", check.problems);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_leaves_no_log() {
    let scratch = Scratch::fast();
    let store = scratch.make().await;
    let pair = common::pair(&store, at(0)).await;
    store.close().await;
    for round in 0..100 {
        let store = scratch.open().await;
        common::say(&store, &pair.a, "hello", at(round)).await;
        store.fetch(&pair.b, 1, at(round)).await.expect("fetched");
        store.sessions(at(0)).await.expect("listed");
        store.close().await;
        // Of connections that close at once, each would leave it to the other.
        assert!(!scratch.beside("-wal").exists(), "round {round}");
    }
}
