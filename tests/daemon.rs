//! The worker daemon end to end: the real binary on a real store.

#[path = "common/daemon.rs"]
mod rig;

use mcp_bridge::clock;
use mcp_bridge::model::session::Life;
use rig::{Rig, wait_for};

#[test]
fn an_agent_s_life_is_proven_and_its_end_noticed() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let mut agent = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .expect("an agent");
    std::fs::write(rig.path("one.pid"), agent.id().to_string()).expect("written");
    let config = rig.config(
        "worker",
        &format!(
            "[[session]]\ncredentials = \"one.toml\"\nproof = {{ pid_file = \"{}\" }}\n",
            rig.path("one.pid").display()
        ),
    );
    let mut daemon = rig.daemon(&config);
    daemon.says("ready: worker: ");
    wait_for("a heartbeat", || {
        (rig.view(&pair.b.session).life(clock::now()) == Life::Alive).then_some(())
    });
    agent.kill().expect("killed");
    agent.wait().expect("ended");
    daemon.says("the agent of one/b has ended");
    assert_eq!(rig.view(&pair.b.session).life(clock::now()), Life::Exited);
    println!("{:#?}", daemon.state());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn mail_wakes_by_command_and_a_fetch_verifies_it() {
    let rig = Rig::new();
    let pair = rig.pair("one");
    let out = rig.path("woken");
    let config = rig.config(
        "worker",
        &format!(
            "[wake]\norder = [\"exec\"]\n[wake.exec]\ncommand = [\"tee\", \"-a\", \"{}\"]\n\
             [[session]]\ncredentials = \"one.toml\"\nproof = \"none\"\n",
            out.display()
        ),
    );
    let mut daemon = rig.daemon(&config);
    daemon.says("ready: worker: ");
    rig.send(&pair.a, "the secret plan");
    let woken = wait_for("a wake", || {
        let text = std::fs::read_to_string(&out).ok()?;
        serde_json::from_str::<serde_json::Value>(text.lines().next()?).ok()
    });
    assert_eq!(woken["conversation"], pair.id.as_str());
    assert_eq!(woken["unread"], 1);
    assert!(!woken.to_string().contains("secret plan"));
    assert_eq!(rig.fetch(&pair.b), ["the secret plan"]);
    daemon.says("looked");
    assert_eq!(daemon.stop(), Some(0));
}
