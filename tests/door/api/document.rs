//! What the document of the door promises, tried by schemathesis, which writes
//! requests of its own by that document.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use super::ground::{Case, Ground, SECRET_BODY, Socket};
use crate::common::daemon::full;
use crate::common::python;

/// What must hold of each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method,\
                      negative_data_rejection";

#[test]
fn answers_are_as_the_document_says() {
    let Some(python) = python::made("schemathesis") else {
        return;
    };
    let ground = Ground::new();
    let case = Case::new(&ground);
    for (socket, login) in [(Socket::Admin, None), (Socket::Api, Some(&case.a))] {
        let address = format!("http://127.0.0.1:{}", forwarded(ground.socket(socket)));
        let mut command = Command::new(&python);
        command
            .args([
                "-c",
                "from schemathesis.cli import schemathesis; schemathesis()",
            ])
            .arg("run")
            .arg(format!("{address}/v1/openapi.json"))
            .args(["--url", &address])
            // Its answer has no end.
            .args([
                "--exclude-path",
                "/v1/follow",
                "--exclude-path",
                "/v1/events/follow",
            ])
            .args(["--phases", "coverage,fuzzing", "--checks", CHECKS])
            .args([
                "--continue-on-failure",
                "--no-color",
                "--request-timeout",
                "30",
            ])
            .args(["--suppress-health-check", "all", "--warnings", "off"])
            .current_dir(ground.rig.dir.path())
            .env("HOME", ground.rig.dir.path());
        match full() {
            true => command.args(["--max-examples", "200"]),
            false => command.args(["--max-examples", "5", "--seed", "1"]),
        };
        if let Some(login) = login {
            command.args([
                "--header",
                &format!("MCP-Bridge-Session: {}", login.session),
            ]);
            command.args([
                "--header",
                &format!("Authorization: Bearer {}", login.token),
            ]);
        }
        let ran = command.output().expect("it ran");
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{said}");
    }
    ground.ends_sound(&[SECRET_BODY, "mcpb_"]);
}

/// A port whose connections go to a socket, for a client that knows no other. It ends
/// with this process.
fn forwarded(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A daemon that ended does not answer.
            let Ok(daemon) = UnixStream::connect(&socket) else {
                return;
            };
            let (Ok(client_too), Ok(daemon_too)) = (client.try_clone(), daemon.try_clone()) else {
                return;
            };
            std::thread::spawn(move || pass_on(client, daemon));
            std::thread::spawn(move || pass_back(daemon_too, client_too));
        }
    });
    port
}

fn pass_on(mut client: TcpStream, mut daemon: UnixStream) {
    let passed = io::copy(&mut client, &mut daemon);
    // Ended already is as good.
    let _ = daemon.shutdown(Shutdown::Write);
    if passed.is_err() {
        // What the daemon does not take is read all the same: a reset would take its
        // answer along.
        let _ = io::copy(&mut client, &mut io::sink());
    }
}

fn pass_back(mut daemon: UnixStream, mut client: TcpStream) {
    let _ = io::copy(&mut daemon, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
