//! The service is started again under load: programs that connect meanwhile wait, no call
//! fails that has time to wait, and no message is lost or comes twice.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use super::faults::{drop_in, restarts};
use super::machine::{Machine, wait_for};
use super::operator::needs_a_machine;
use super::operator::{WORKER, bob_reads, enable, installed, people, says, site};

const API: &str = "/run/mcp-bridge/worker/api.sock";

/// Four threads of Alice's, each a connection for each message. What was cut off is sent
/// again under its id. Notes when each began, how long it took, and what happened to it.
const LOAD: &str = r#"
import json, os, socket, sys, threading, time, tomllib
API = "/run/mcp-bridge/worker/api.sock"
home = os.path.expanduser("~/")
session = tomllib.load(open(home + ".local/state/mcp-bridge/credentials/backend.a.toml", "rb"))["session"][0]
head = (f"Authorization: Bearer {session['token']}\r\n"
        f"MCP-Bridge-Session: {session['conversation']}/{session['session']}\r\n")
lock, calls = threading.Lock(), []

def once(body):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(20)
        s.connect(API)
        s.sendall((f"POST /v1/send HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
        answer = b""
        while part := s.recv(65536):
            answer += part
    return answer

def work(thread):
    number = 0
    while not os.path.exists(home + "stop"):
        number += 1
        name = f"{thread}-{number}"
        body = json.dumps({"messages": [{"message": name, "client_id": name}]})
        begun, troubles = time.monotonic(), []
        while True:
            try:
                answer = once(body)
            except OSError as error:
                troubles.append(type(error).__name__)
            else:
                if answer.startswith(b"HTTP/1.1 200"):
                    break
                troubles.append(answer.split(b"\r\n")[0].decode() or "cut")
            if time.monotonic() - begun > 20:
                troubles.append("given up")
                break
            time.sleep(0.01)
        with lock:
            calls.append([begun, time.monotonic() - begun, troubles, name])
            if len(calls) % 20 == 0:
                open(home + "sent.new", "w").write(str(len(calls)))
                os.rename(home + "sent.new", home + "sent")

threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
open(home + "calls.new", "w").write(json.dumps(calls))
os.rename(home + "calls.new", home + "calls.json")
"#;

/// How often each is done.
fn rounds() -> usize {
    match std::env::var_os("MCP_BRIDGE_TEST_FULL") {
        Some(_) => 50,
        None => 5,
    }
}

/// Messages that were acknowledged so far.
fn sent(machine: &Machine) -> u64 {
    let text = std::fs::read_to_string(machine.root("/home/alice/sent"));
    text.ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}

/// Goes on when this number more were acknowledged.
fn more(machine: &Machine, count: u64) {
    let before = sent(machine);
    wait_for("the load", || {
        (sent(machine) >= before + count).then_some(())
    });
}

/// The clock of the load.
fn now(machine: &Machine) -> f64 {
    let said = machine.sh("cut -d' ' -f1 /proc/uptime").ok();
    said.trim().parse().expect("seconds")
}

/// Figures of several durations in milliseconds.
fn figures(mut all: Vec<f64>) -> String {
    all.sort_by(f64::total_cmp);
    let at = |share: usize| all[(all.len() * share / 100).min(all.len() - 1)];
    format!(
        "{} times, p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        all.len(),
        at(50),
        at(99),
        at(100)
    )
}

/// Does it again and again under load. Returns how long, at most, a call took of those
/// that were under way at each time, in seconds; and everything that calls were refused
/// with.
fn under_load(machine: &Machine, again: impl Fn(usize)) -> (Vec<f64>, BTreeMap<String, usize>) {
    machine.write("/usr/local/lib/load.py", LOAD);
    let mut load = machine
        .command([
            "runuser",
            "-l",
            "alice",
            "-c",
            "python3 /usr/local/lib/load.py",
        ])
        .spawn()
        .expect("the load");
    more(machine, 40);
    let mut times = Vec::new();
    for round in 1..=rounds() {
        if round % 10 == 0 {
            // Fifty starts in five minutes are too many otherwise.
            machine.sh(&format!("systemctl reset-failed {WORKER}")).ok();
        }
        let begun = now(machine);
        again(round);
        more(machine, 20);
        times.push((begun, now(machine)));
    }
    machine.write("/home/alice/stop", "");
    assert!(load.wait().expect("it ends").success(), "the load");
    let calls: Value = serde_json::from_str(&machine.read("/home/alice/calls.json")).expect("JSON");
    let calls = calls.as_array().expect("a list");
    let second = |value: &Value| value.as_f64().expect("a number");
    let pauses = times
        .iter()
        .map(|(from, to)| {
            let meanwhile = calls.iter().filter(|call| {
                let (begun, took) = (second(&call[0]), second(&call[1]));
                begun < *to && begun + took > *from
            });
            meanwhile.map(|call| second(&call[1])).fold(0.0, f64::max)
        })
        .collect();
    let mut troubles = BTreeMap::new();
    for trouble in calls
        .iter()
        .flat_map(|call| call[2].as_array().expect("a list"))
    {
        *troubles
            .entry(trouble.as_str().expect("a word").to_owned())
            .or_default() += 1;
    }
    let mut wanted: Vec<&str> = calls.iter().filter_map(|call| call[3].as_str()).collect();
    let read = bob_reads(machine);
    let mut read: Vec<&str> = read.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    read.sort_unstable();
    assert_eq!(read.len(), wanted.len(), "each once");
    assert_eq!(read, wanted, "each once");
    (pauses, troubles)
}

/// A place whose worker keeps no session: what is measured is the door.
fn place() -> Machine {
    let machine = installed();
    people(&machine);
    enable(&machine, "worker");
    says(&machine, "store ok");
    machine
}

#[test]
fn restart_refuses_no_connection() {
    needs_a_machine!();
    let machine = place();
    let socket = || machine.run(["stat", "--format=%d:%i", API]).ok();
    let before = socket();
    let (pauses, troubles) = under_load(&machine, |_| {
        machine.sh("systemctl restart mcp-bridged@worker").ok();
    });
    println!(
        "restarts under load, tried again because of {troubles:?}: {}",
        figures(pauses.iter().map(|p| p * 1e3).collect())
    );
    assert_eq!(socket(), before, "the same socket all along");
    for never in [
        "ConnectionRefusedError",
        "FileNotFoundError",
        "TimeoutError",
        "given up",
    ] {
        assert_eq!(troubles.get(never), None, "{never}: {troubles:?}");
    }
    let log = machine
        .sh("journalctl -o cat MCP_EVENT=descriptor-refused")
        .ok();
    assert_eq!(log, "");
}

#[test]
fn killed_daemon_costs_time_and_nothing_else() {
    needs_a_machine!();
    let machine = place();
    let kill = format!("systemctl kill --kill-whom=main --signal=KILL {WORKER}");
    let (pauses, troubles) = under_load(&machine, |_| {
        let before = machine.show(WORKER, "MainPID");
        machine.sh(&kill).ok();
        machine.wait_show(WORKER, "MainPID", |pid| pid != "0" && pid != before);
    });
    println!(
        "kills under load, tried again because of {troubles:?}: {}",
        figures(pauses.iter().map(|p| p * 1e3).collect())
    );
    for never in [
        "ConnectionRefusedError",
        "FileNotFoundError",
        "TimeoutError",
        "given up",
    ] {
        assert_eq!(troubles.get(never), None, "{never}: {troubles:?}");
    }
}

/// A client that connects all the time, and reports no other trouble.
const CONNECTS: &str = r#"
import collections, json, os, socket, time
seen = collections.Counter()
longest = 0
while not os.path.exists("/root/enough"):
    begun = time.monotonic()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(20)
            s.connect("/run/mcp-bridge/worker/api.sock")
            s.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            seen[s.recv(12).decode() or "cut"] += 1
    except OSError as error:
        seen[type(error).__name__] += 1
    longest = max(longest, time.monotonic() - begun)
    if sum(seen.values()) == 50:
        open("/root/connecting", "w").close()
with open("/root/seen.new", "w") as file:
    json.dump({"seen": seen, "longest": longest}, file)
os.rename("/root/seen.new", "/root/seen.json")
"#;

#[test]
fn twenty_restarts_answer_every_connection() {
    needs_a_machine!();
    let machine = place();
    machine.write("/root/connects.py", CONNECTS);
    machine
        .sh("systemd-run --quiet --unit=connects python3 /root/connects.py")
        .ok();
    wait_for("the client", || {
        machine.root("/root/connecting").exists().then_some(())
    });
    for _ in 0..20 {
        machine.sh("systemctl restart mcp-bridged@worker").ok();
    }
    machine.write("/root/enough", "");
    let seen = wait_for("what it saw", || {
        let text = std::fs::read_to_string(machine.root("/root/seen.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    });
    println!("over 20 restarts: {seen}");
    let answers: Vec<&String> = seen["seen"]
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert_eq!(answers, ["HTTP/1.1 200"], "{seen}");
}

/// What stands in the store of descriptors is taken back only where it belongs.
#[test]
fn replaced_socket_is_not_taken_back() {
    needs_a_machine!();
    let machine = site();
    let answers = || {
        let health =
            format!("curl --silent --max-time 20 --unix-socket {API} http://localhost/v1/health");
        machine.sh_as("alice", &health).ok().contains("\"store\"")
    };
    assert!(answers());
    let refused = || {
        machine
            .sh("journalctl --sync; journalctl -o cat MCP_EVENT=descriptor-refused")
            .ok()
    };
    // Gone while the daemon ran: the one that was kept is no client's any more.
    machine
        .sh(&format!("rm {API} && systemctl restart mcp-bridged@worker"))
        .ok();
    assert!(answers(), "a new one");
    assert!(refused().contains("api.sock-"), "{}", refused());
    let told = refused().lines().count();
    machine.sh("systemctl restart mcp-bridged@worker").ok();
    assert!(answers(), "kept again");
    assert_eq!(refused().lines().count(), told, "once");

    // Closed by the settings, nothing is kept; open again, it is another.
    let path = "/etc/mcp-bridge/worker.toml";
    let settings = machine.read(path);
    machine.write(path, &format!("{settings}\n[api]\nenabled = false\n"));
    machine.sh("systemctl reload mcp-bridged@worker").ok();
    wait_for("its end", || (!machine.root(API).exists()).then_some(()));
    machine.wait_show(WORKER, "NFileDescriptorStore", |count| count == "0");
    machine.write(path, &settings);
    machine.sh("systemctl reload mcp-bridged@worker").ok();
    wait_for("the socket", || machine.root(API).exists().then_some(()));
    assert!(answers());
    machine.wait_show(WORKER, "NFileDescriptorStore", |count| count == "2");

    // Nothing outlives a stop.
    machine.sh("systemctl stop mcp-bridged@worker").ok();
    assert!(!machine.root(API).exists());
    assert_eq!(machine.show(WORKER, "NFileDescriptorStore"), "0");
    machine.sh("systemctl start mcp-bridged@worker").ok();
    assert!(answers());

    // Where nothing is kept, each start makes its own.
    let begun = Instant::now();
    drop_in(&machine, "[Service]\nFileDescriptorStoreMax=0\n");
    assert!(answers());
    machine
        .sh(&format!(
            "systemctl kill --kill-whom=main --signal=KILL {WORKER}"
        ))
        .ok();
    restarts(&machine, 1);
    assert!(answers(), "after {:.1?}", begun.elapsed());
}
