//! A daemon with its door, and a client that can send anything.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::daemon::{Daemon, PATIENCE, Rig};

/// A daemon, its store and its sockets.
pub(crate) struct Ground {
    pub(crate) rig: Rig,
    pub(crate) daemon: Daemon,
}

/// Which socket is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Api,
    Admin,
}

/// What a request says of who asks.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) session: String,
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer of a request that was granted.
    #[track_caller]
    pub(crate) fn granted(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        let rig = Rig::new();
        rig.without_limits();
        let mut daemon = rig.worker("");
        daemon.says("listening at");
        Self { rig, daemon }
    }

    /// Another daemon in the place of one that ended.
    pub(crate) fn start_again(&mut self) {
        let mut daemon = self.rig.worker("");
        daemon.says("listening at");
        self.daemon = daemon;
    }

    pub(crate) fn socket(&self, which: Socket) -> PathBuf {
        self.rig.path("worker.state").join(match which {
            Socket::Api => "api.sock",
            Socket::Admin => "admin.sock",
        })
    }

    pub(crate) fn connect(&self, which: Socket) -> UnixStream {
        let stream = UnixStream::connect(self.socket(which)).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream
    }

    /// Asks for an operation.
    pub(crate) fn ask(
        &self,
        which: Socket,
        login: Option<&Login>,
        name: &str,
        body: &Value,
    ) -> Answer {
        self.send(which, &request(login, name, body.to_string().as_bytes()))
    }

    /// The same as an operator.
    #[track_caller]
    pub(crate) fn order(&self, name: &str, body: &Value) -> Value {
        self.ask(Socket::Admin, None, name, body).granted()
    }

    /// The same for a session.
    #[track_caller]
    pub(crate) fn act(&self, login: &Login, name: &str, body: &Value) -> Value {
        self.ask(Socket::Api, Some(login), name, body).granted()
    }

    /// A question without parameters.
    pub(crate) fn get(&self, which: Socket, login: Option<&Login>, name: &str) -> Answer {
        self.send(which, &question(login, name))
    }

    /// Writes these bytes and reads all that comes back.
    pub(crate) fn send(&self, which: Socket, bytes: &[u8]) -> Answer {
        let mut stream = self.connect(which);
        // The daemon may have said enough before it has read everything.
        let _ = stream.write_all(bytes);
        read(&mut stream)
    }

    /// Begins a subscription; of what is granted the answer has the head alone.
    pub(crate) fn begin_following(
        &self,
        which: Socket,
        login: Option<&Login>,
        name: &str,
        body: &Value,
    ) -> Answer {
        let mut stream = self.connect(which);
        let asked = request(login, name, body.to_string().as_bytes());
        stream.write_all(&asked).expect("asked");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("the first line");
        match &first[9..] {
            b"200" => Answer {
                status: 200,
                head: String::new(),
                body: Vec::new(),
            },
            _ => {
                let mut answer = read(&mut stream);
                answer.status = String::from_utf8_lossy(&first[9..])
                    .parse()
                    .expect("a status");
                answer
            }
        }
    }

    /// The daemon answers, quickly enough for a person.
    #[track_caller]
    pub(crate) fn answers(&self) {
        let mut stream = self.connect(Socket::Api);
        let soon = Some(Duration::from_secs(10));
        stream.set_read_timeout(soon).expect("set");
        stream.write_all(&question(None, "health")).expect("asked");
        let answer = read(&mut stream);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Ends the daemon, which must have been sound to the end, and must have written
    /// none of these words into its log.
    #[track_caller]
    pub(crate) fn ends_sound(self, secrets: &[&str]) {
        self.answers();
        let resident = self.daemon.status("VmRSS");
        assert!(resident < 200 * 1024, "{resident} KiB");
        let (code, said) = self.daemon.finish();
        assert_eq!(code, Some(0));
        said.never("panicked");
        for secret in secrets {
            said.never(secret);
        }
    }
}

/// Reads an answer to the end of the connection.
pub(crate) fn read(stream: &mut UnixStream) -> Answer {
    let mut all = Vec::new();
    // A connection that is reset has said what it had to say.
    let _ = stream.read_to_end(&mut all);
    let end = all.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or(all.len());
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head,
        body: all.split_off((end + 4).min(all.len())),
    }
}

fn headers(login: Option<&Login>) -> String {
    let who = login.map(|Login { session, token }| {
        format!("MCP-Bridge-Session: {session}\r\nAuthorization: Bearer {token}\r\n")
    });
    format!(
        "Host: localhost\r\nConnection: close\r\n{}",
        who.unwrap_or_default()
    )
}

/// A question as it is written.
pub(crate) fn question(login: Option<&Login>, name: &str) -> Vec<u8> {
    format!("GET /v1/{name} HTTP/1.1\r\n{}\r\n", headers(login)).into_bytes()
}

/// A request as it is written.
pub(crate) fn request(login: Option<&Login>, name: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/{name} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        headers(login),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A conversation whose side `b` has a task and fetched a message.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) a: Login,
    pub(crate) b: Login,
    /// The task that `b` has, and its fence.
    pub(crate) task: Value,
    pub(crate) fence: Value,
    /// The message that `b` fetched, and the fetch.
    pub(crate) message: Value,
    pub(crate) fetch: Value,
}

/// Stands in what only its parties may see.
pub(crate) const SECRET_TITLE: &str = "the-title-of-a-task";
pub(crate) const SECRET_BODY: &str = "the-body-of-a-message";

/// A token that no session has.
pub(crate) fn token() -> String {
    let bytes: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    format!("mcpb_{}", hex::encode(bytes))
}

/// What `conversations/create` is asked for.
pub(crate) fn new_conversation() -> (String, [String; 2], Value) {
    let id = format!("conv_{:016x}", fastrand::u64(..));
    let tokens = [token(), token()];
    let wanted = json!({
        "id": id,
        "role_a": "orchestrator",
        "role_b": "worker",
        "token_a": tokens[0],
        "token_b": tokens[1],
        "expires_at": "2200-01-01T00:00:00Z",
    });
    (id, tokens, wanted)
}

/// A conversation that an operator makes: its id, and both sides.
pub(crate) fn conversation(ground: &Ground) -> (String, Login, Login) {
    let (id, [a, b], wanted) = new_conversation();
    ground.order(
        "conversations/create",
        &json!({ "conversations": [wanted] }),
    );
    let login = |side: &str, token: String| Login {
        session: format!("{id}/{side}"),
        token,
    };
    let (a, b) = (login("a", a), login("b", b));
    (id, a, b)
}

impl Case {
    pub(crate) fn new(ground: &Ground) -> Self {
        let (id, a, b) = conversation(ground);
        let task = json!({ "role": "worker", "title": SECRET_TITLE });
        let added = ground.act(&a, "tasks/add", &json!({ "tasks": [task] }));
        let task = added[0]["id"].clone();
        let claimed = ground.act(&b, "task/claim", &json!({ "task": task }));
        let draft = json!({ "message": SECRET_BODY });
        ground.act(&a, "send", &json!({ "messages": [draft] }));
        let fetched = ground.act(&b, "fetch", &json!({ "limit": 1000 }));
        let messages = fetched["messages"].as_array().expect("messages");
        Self {
            fence: claimed["fence"].clone(),
            message: messages.last().expect("a message")["id"].clone(),
            fetch: fetched["id"].clone(),
            id,
            a,
            b,
            task,
        }
    }
}
