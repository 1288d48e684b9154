//! The pages as a reader sees them.

use std::process::Command;

use super::root;

/// The page as `man` shows it, and what it complains of. `None` where there is
/// no `man`.
fn shown(page: &str) -> Option<(String, String)> {
    let path = root(&format!("packaging/man/{page}"));
    let output = Command::new("man")
        .args(["--warnings=w", "--encoding=UTF-8", "--local-file"])
        .arg(path)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .output()
        .ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Not on a terminal, it takes its own bold letters out.
    Some((text(&output.stdout), text(&output.stderr)))
}

#[test]
fn manual_pages_render_without_a_complaint() {
    for (page, words) in [
        (
            "mcp-bridged.8",
            &[
                "mcp-bridged@worker",
                "SIGHUP",
                "reload-refused",
                "EXIT STATUS",
            ][..],
        ),
        (
            "mcp-bridge.1",
            &[
                "task add",
                "--credentials",
                "EXAMPLES",
                "MCP_BRIDGE_STORE",
                "EXIT STATUS",
            ],
        ),
        (
            "mcp-bridged.toml.5",
            &[
                "[heartbeat]",
                "ttl (duration, default \"20s\")",
                "[[session]]",
                "url_file",
            ],
        ),
    ] {
        let Some((text, complaints)) = shown(page) else {
            println!("skipped: {page} is not rendered: there is no `man` here");
            return;
        };
        assert_eq!(complaints, "", "{page}");
        assert!(text.lines().count() > 60, "{page}: {text}");
        for word in words {
            assert!(
                text.contains(word),
                "{page} does not show {word:?}:\n{text}"
            );
        }
        // Markup that was not understood.
        for left in ["`", "**", "{{", "\\f", "\\-", "\\*"] {
            assert!(!text.contains(left), "{page} shows {left:?}:\n{text}");
        }
    }
}
