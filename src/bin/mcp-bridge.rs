//! `mcp-bridge`: see [`mcp_bridge::cli`].

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The demo starts this file under the daemon's name, so that it runs
    // whether or not the other program was built.
    let name = std::env::args_os().next().unwrap_or_default();
    if Path::new(&name).file_name() == Some("mcp-bridged".as_ref()) {
        return mcp_bridge::daemon::main();
    }
    mcp_bridge::cli::main()
}
