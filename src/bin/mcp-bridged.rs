//! The daemon. Everything is in the library.

fn main() -> std::process::ExitCode {
    mcp_bridge::daemon::main()
}
