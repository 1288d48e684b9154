//! `mcp-bridged` where it is built and not installed from a package: becomes the
//! `mcp-bridge` beside it, which is the daemon under this name. A program of its
//! own would be all of that a second time; a package has a symbolic link.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    // By the file and not by the link to it that was called: what stands beside
    // that is another's.
    let here = std::env::current_exe().and_then(std::fs::canonicalize);
    let error = match here {
        Ok(here) => {
            let program = here.with_file_name("mcp-bridge");
            let error = Command::new(&program)
                .arg0(here.with_file_name("mcp-bridged"))
                .args(std::env::args_os().skip(1))
                .exec();
            format!(
                "{} cannot be run: {error}: install mcp-bridge and mcp-bridged in one directory",
                program.display()
            )
        }
        Err(error) => format!("the path of this program is unknown: {error}"),
    };
    // Where stderr is closed there is no place left to say it.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::FAILURE
}
