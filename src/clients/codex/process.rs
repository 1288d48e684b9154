//! Which process of Codex is whose: one server of its user may hold all sessions, and it
//! runs on when a terminal is killed.

/// Whether a client of this name may be a Codex: more than those whose name is known, as
/// it would be wrong to take a shared process for the life of one session.
pub(super) fn may_share(name: &str) -> bool {
    name.to_ascii_lowercase().contains("codex")
}

/// Whether this process of a client is one session's: that of a Codex that was started
/// without its server, or for one prompt. One that cannot be looked at may be shared.
#[cfg(target_os = "linux")]
pub(super) fn is_alone(pid: i32) -> bool {
    /// What such a server is started with.
    const SHARED: &[u8] = b"app-server";
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut each = words.split(|byte| *byte == 0);
    !words.is_empty() && each.all(|word| word != SHARED)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_alone(_pid: i32) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use crate::clients::own_process as process;
    use crate::liveness;

    #[test]
    fn client_of_shared_processes_has_no_process() {
        let own = i32::try_from(std::process::id()).expect("a process");
        assert_eq!(process("claude-code", own), liveness::own());
        // Without a server that it shares.
        assert_eq!(process("codex-mcp-client", own), liveness::own());
        let mut server = std::process::Command::new("sh")
            .args(["-c", "read line", "app-server"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let shared = i32::try_from(server.id()).expect("a process");
        assert_eq!(process("codex-mcp-client", shared), None);
        assert_eq!(process("Codex", shared), None);
        assert!(process("claude-code", shared).is_some());
        server.kill().expect("killed");
        server.wait().expect("ended");
        assert_eq!(process("codex-mcp-client", shared), None);
    }
}
