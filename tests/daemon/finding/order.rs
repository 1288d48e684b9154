//! The order, held against every mixture of what may be there.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcp_bridge::api::Sockets;
use mcp_bridge::api::server::{Door, Hub, Limits, bind};
use mcp_bridge::bridge::{Bridge, Found, Purpose, Surroundings};
use mcp_bridge::service_manager::KeptSockets;
use mcp_bridge::store::StoreError;
use mcp_bridge::store::locate::{Hints, Location, Origin};
use mcp_bridge::store::sqlite::{Create, SqliteStore};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A machine in a scratch directory.
struct Machine {
    dir: tempfile::TempDir,
    /// Daemons that answer; they end with the runtime of the test.
    open: Vec<watch::Sender<Option<Arc<mcp_bridge::store::Store>>>>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let open = Vec::new();
        Self { dir, open }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn store(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let store = SqliteStore::open(&path, Create::Yes)
            .await
            .expect("a store");
        store.close().await;
        path
    }

    /// A daemon that answers at `OF/INSTANCE/api.sock` for this store.
    async fn live(&mut self, instance: &str, store: &Path) {
        let opened = SqliteStore::open(store, Create::Yes).await.expect("opened");
        let (open, store) = watch::channel(Some(Arc::new(opened)));
        let ends = CancellationToken::new();
        let door = Door::new(store, Arc::new(Hub::default()), Limits::default(), ends);
        let sockets = Sockets::at(&self.path(instance));
        let bound = bind(&sockets, [None, None], &mut KeptSockets::default()).expect("bound");
        tokio::spawn(door.serve(bound));
        self.open.push(open);
    }

    /// What a daemon leaves that was killed.
    fn dead(&self, instance: &str) {
        let directory = self.path(instance);
        std::fs::create_dir_all(&directory).expect("made");
        drop(UnixListener::bind(directory.join("api.sock")).expect("bound"));
    }

    fn around(&self) -> Surroundings {
        let location = |name: &str, origin| Location {
            name: self.path(name).into(),
            origin,
        };
        let system = self.path("system.db").exists();
        Surroundings {
            own_daemons: vec![self.path("login"), self.path("own")],
            own_store: location("own.db", Origin::Default),
            system_daemons: self.path("system"),
            system_store: system.then(|| location("system.db", Origin::System)),
        }
    }

    async fn find(&self, hints: &Hints<'_>) -> Result<Found, StoreError> {
        Found::by(hints, &self.around()).await
    }

    /// The store as it is called, which setting named it, and the socket that is asked.
    async fn finds(&self, hints: &Hints<'_>) -> (String, Origin, Option<String>) {
        let found = self.find(hints).await.expect("one store");
        let here = format!("{}/", self.dir.path().display());
        let name = found.location.name.to_string().replace(&here, "");
        let socket = found.socket().map(|socket| socket.display().to_string());
        let socket = socket.map(|socket| socket.replace(&here, ""));
        (name, found.location.origin, socket)
    }
}

fn nothing() -> Hints<'static> {
    Hints {
        doors: true,
        ..Hints::default()
    }
}

/// Credentials and configurations outlive the daemon that was found.
#[tokio::test]
async fn found_daemon_gives_its_file_for_what_is_written() {
    let mut machine = Machine::new();
    let own = machine.store("own.db").await;
    machine.live("own/worker", &own).await;
    let socket = machine.path("own/worker/api.sock");
    let socket = format!("unix:{}", socket.display());
    let named = Hints {
        flag: Some(&socket),
        ..nothing()
    };
    for (hints, name) in [
        (nothing(), own.display().to_string()),
        (named, socket.clone()),
    ] {
        let found = machine.find(&hints).await.expect("one store");
        let bridge = Bridge::open(&found, Purpose::Write, |_| {})
            .await
            .expect("asked");
        assert_eq!(bridge.lasting_name().await.expect("a name"), name);
    }
}

#[tokio::test]
async fn each_place_comes_before_the_next() {
    let mut machine = Machine::new();
    let text = |path: PathBuf| path.display().to_string();
    let by = |name: &str, origin, socket: Option<&str>| {
        (name.to_owned(), origin, socket.map(str::to_owned))
    };
    // From the last to the first: each is there beside all that come after it.
    assert_eq!(
        machine.finds(&nothing()).await,
        by("own.db", Origin::Default, None),
        "there is none: the first-time screen"
    );
    let system = machine.store("system.db").await;
    assert_eq!(
        machine.finds(&nothing()).await,
        by("system.db", Origin::System, None)
    );
    machine.live("system/worker", &system).await;
    assert_eq!(
        machine.finds(&nothing()).await,
        by(
            "unix:system/worker/api.sock",
            Origin::System,
            Some("system/worker/api.sock")
        )
    );
    let own = machine.store("own.db").await;
    assert_eq!(
        machine.finds(&nothing()).await,
        by("own.db", Origin::Default, None)
    );
    machine.live("own/worker", &own).await;
    assert_eq!(
        machine.finds(&nothing()).await,
        by(
            "unix:own/worker/api.sock",
            Origin::Daemon,
            Some("own/worker/api.sock")
        )
    );
    // A file that credentials name, with no daemon that has it, with a daemon of the
    // system's and with one of this user's.
    let alone = text(machine.store("alone.db").await);
    let named = |credentials| Hints {
        credentials: Some(credentials),
        ..nothing()
    };
    assert_eq!(
        machine.finds(&named(&alone)).await,
        by("alone.db", Origin::Credentials, None)
    );
    let (of_system, of_own) = (text(system), text(own.clone()));
    assert_eq!(
        machine.finds(&named(&of_system)).await,
        by(
            "system.db",
            Origin::Credentials,
            Some("system/worker/api.sock")
        )
    );
    assert_eq!(
        machine.finds(&named(&of_own)).await,
        by("own.db", Origin::Credentials, Some("own/worker/api.sock"))
    );
    // What is named is opened, although a daemon has it.
    for (flag, environment, origin) in [
        (None, Some(&*of_own), Origin::Environment),
        (Some(&*of_own), Some(&*alone), Origin::Flag),
    ] {
        let hints = Hints {
            flag,
            environment,
            ..named(&of_system)
        };
        assert_eq!(machine.finds(&hints).await, by("own.db", origin, None));
    }
    let socket = format!("unix:{}", text(machine.path("system/worker/api.sock")));
    let hints = Hints {
        flag: Some(&socket),
        ..named(&of_own)
    };
    assert_eq!(
        machine.finds(&hints).await,
        by(
            "unix:system/worker/api.sock",
            Origin::Flag,
            Some("system/worker/api.sock")
        )
    );
}

#[tokio::test]
async fn dead_socket_of_the_user_is_an_error() {
    let mut machine = Machine::new();
    machine.store("own.db").await;
    let system = machine.store("system.db").await;
    machine.live("system/worker", &system).await;
    machine.dead("login/worker");
    let found = machine.find(&nothing()).await.expect("the socket");
    assert_eq!(found.location.origin, Origin::Daemon);
    let socket = machine.path("login/worker/api.sock");
    let bridge = Bridge::open(&found, Purpose::Look, |_| {})
        .await
        .expect("a way");
    drop(bridge);
    let error = Bridge::through_now(&socket).answering().await;
    let text = error.expect_err("it is dead").to_string();
    assert_eq!(
        text,
        format!(
            "no daemon answers at {}: the daemon of this socket has ended\n  \
             start it: systemctl start 'mcp-bridged@*', or with --user; or name a store: --store",
            socket.display()
        )
    );
    // What credentials name does not depend on it.
    let own = machine.path("own.db").display().to_string();
    let hints = Hints {
        credentials: Some(&own),
        ..nothing()
    };
    let found = machine.find(&hints).await.expect("the file");
    assert_eq!(found.socket(), None);
}

#[tokio::test]
async fn first_answering_daemon_of_several_is_used() {
    let mut machine = Machine::new();
    let own = machine.store("own.db").await;
    machine.dead("own/orchestrator");
    machine.live("own/worker", &own).await;
    machine.live("own/writer", &own).await;
    let (name, origin, _) = machine.finds(&nothing()).await;
    assert_eq!(
        (&*name, origin),
        ("unix:own/worker/api.sock", Origin::Daemon)
    );
    // Those of a login come first.
    machine.live("login/zebra", &own).await;
    let (name, ..) = machine.finds(&nothing()).await;
    assert_eq!(name, "unix:login/zebra/api.sock");
}

#[tokio::test]
async fn daemons_of_two_stores_are_not_chosen_between() {
    let mut machine = Machine::new();
    let (own, other) = (
        machine.store("own.db").await,
        machine.store("other.db").await,
    );
    machine.live("own/one", &own).await;
    machine.live("own/two", &other).await;
    let error = machine.find(&nothing()).await.expect_err("two stores");
    let text = error.to_string();
    let here = format!("{}/", machine.dir.path().display());
    assert_eq!(
        text.replace(&here, ""),
        "which store: own.db, of the daemon at own/one/api.sock, or other.db, of the daemon at \
         own/two/api.sock?\n  choose one: --store unix:own/one/api.sock, or set MCP_BRIDGE_STORE"
    );
    // Credentials choose.
    let other = other.display().to_string();
    let hints = Hints {
        credentials: Some(&other),
        ..nothing()
    };
    let (_, _, socket) = machine.finds(&hints).await;
    assert_eq!(socket.as_deref(), Some("own/two/api.sock"));
}

#[tokio::test]
async fn sockets_in_an_open_directory_are_not_asked() {
    use std::os::unix::fs::PermissionsExt;
    let mut machine = Machine::new();
    let own = machine.store("own.db").await;
    machine.live("own/worker", &own).await;
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(machine.path("own"), open).expect("set");
    let (name, origin, socket) = machine.finds(&nothing()).await;
    assert_eq!((&*name, origin, socket), ("own.db", Origin::Default, None));
    let text = own.display().to_string();
    let hints = Hints {
        credentials: Some(&text),
        ..nothing()
    };
    let (_, _, socket) = machine.finds(&hints).await;
    assert_eq!(socket, None, "a token goes to no such socket");
}
