//! `mcp-bridge`: see [`mcp_bridge::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mcp_bridge::cli::main()
}
