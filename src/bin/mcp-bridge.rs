//! `mcp-bridge`, and under the daemon's name `mcp-bridged`: one program holds
//! both.

use std::path::Path;
use std::process::ExitCode;

use mcp_bridge::{cli, daemon, hook, mcp};

fn main() -> ExitCode {
    let name = std::env::args_os().next();
    match name.as_deref().map(Path::new).and_then(Path::file_name) {
        Some(name) if name == "mcp-bridged" => daemon::main(),
        _ => cli::main(cli::Faces {
            hook: hook::run,
            mcp: mcp::run,
        }),
    }
}
