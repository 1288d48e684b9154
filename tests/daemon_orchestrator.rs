//! A daemon in the role `orchestrator`.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot make its files has nothing to say"
)]

#[path = "common/daemon.rs"]
mod rig;

use mcp_bridge::model::session::Life;
use rig::{QUICK, Rig, session, wait_for};

const OWN: &str = "[watchdog]\nidle_after = \"30s\"\n[alert]\nremind_after = \"10m\"\n";

#[test]
fn its_own_agent_is_kept_alive_and_woken_and_its_keys_are_reloaded() {
    let rig = Rig::new();
    let pair = rig.pair("boss");
    let inbox = rig.path("inbox");
    let text = format!(
        "{QUICK}{OWN}{}[session.wake]\norder = [\"file\"]\n[session.wake.file]\npath = \"{}\"\n",
        session("boss", "\"none\""),
        inbox.display()
    );
    let config = rig.config("boss", &text);
    let write = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&config).expect("written before");
        assert!(text.contains(from), "{text}");
        std::fs::write(&config, text.replace(from, to)).expect("written");
    };
    write("role = \"worker\"", "role = \"orchestrator\"");
    let mut daemon = rig.daemon(&config);
    daemon.says("ready: orchestrator: ");
    rig.becomes(&pair.b.session, Life::Alive);
    rig.send(&pair.a, "an answer");
    wait_for("the wake", || inbox.exists().then_some(()));

    let reload = || {
        let last = daemon.reload().last_reload.expect("a reload");
        (last.error, last.needs_restart)
    };
    write("idle_after = \"30s\"", "idle_after = \"40s\"");
    assert_eq!(reload(), (None, Vec::new()));
    write("idle_after = \"40s\"", "idle_after = \"40h\"");
    let (error, _) = reload();
    assert!(error.is_some_and(|why| why.contains("watchdog.idle_after")));
    write("idle_after = \"40h\"", "idle_after = \"30s\"");
    write(OWN, "");
    write("role = \"orchestrator\"", "role = \"worker\"");
    assert_eq!(reload(), (None, vec!["role".to_owned()]));
    assert_eq!(daemon.stop(), Some(0));
}
