//! `mcp-bridge bench`: runs `mcp-bridge-bench`, the program that measures, where
//! it stands beside this one. Nothing of it is linked in here.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::context::Context;
use crate::exit::Exit;
use crate::guarded;

/// The program that measures.
const NAME: &str = "mcp-bridge-bench";

/// Arguments of `mcp-bridge bench`.
#[derive(Debug, clap::Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

/// What it measures: each takes its words as they are.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Measure the time from COMMIT to the line in another process; compare with
    /// the bare minimum and with polling
    Latency(Words),
    /// Run many agents at once; count lost, duplicate and out-of-order messages
    Delivery(Words),
    /// Measure how soon a lost session is noticed and its task continues, and what
    /// watching costs
    Watchdog(Words),
}

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct Words {
    /// Arguments for mcp-bridge-bench, the program that measures (docs/bench.md);
    /// --help shows its options
    #[arg(
        value_name = "WORD",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<OsString>,
}

/// The program cannot be run. First what happened, then what to do.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    /// It was not built, or is not installed.
    #[error(
        "{}: there is no such file; no package contains this program\n  build it from the sources: cargo build --release -p {NAME}\n  copy it into the directory of mcp-bridge, or run it where it was built", .0.display()
    )]
    Missing(PathBuf),
    /// Another user chooses what runs there.
    #[error(
        "{} was not run: other users may write {}, and could replace it\n  install it and mcp-bridge in a directory that only you or root may write", .program.display(), .exposed.display()
    )]
    Exposed { program: PathBuf, exposed: PathBuf },
    /// The system does not run it.
    #[error("{} cannot be run: {why}\n  build it again: cargo build --release -p {NAME}", .program.display())]
    NotRun {
        program: PathBuf,
        why: std::io::Error,
    },
}

/// Becomes the program that measures; returns only if that cannot be.
///
/// # Errors
/// If it is not there, if another user may have put it there, or if the system does
/// not run it.
pub(super) fn run(args: BenchArgs, context: &Context) -> anyhow::Result<Exit> {
    let (what, Words { words }) = match args.what {
        What::Latency(words) => ("latency", words),
        What::Delivery(words) => ("delivery", words),
        What::Watchdog(words) => ("watchdog", words),
    };
    // By the file and not by a link to it: what stands beside that is another's.
    let own = std::env::current_exe().and_then(std::fs::canonicalize)?;
    let program = beside(&own)?;
    let mut command = Command::new(&program);
    command.arg(what);
    if context.json() {
        command.arg("--json");
    }
    let why = command.args(words).exec();
    Err(BenchError::NotRun { program, why }.into())
}

/// The program in this one's directory, if only its owner and root can have put it there.
fn beside(own: &Path) -> Result<PathBuf, BenchError> {
    let named = own.with_file_name(NAME);
    let program = match named.canonicalize() {
        Ok(program) => program,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BenchError::Missing(named));
        }
        Err(why) => {
            return Err(BenchError::NotRun {
                program: named,
                why,
            });
        }
    };
    let directory = own.parent().unwrap_or(Path::new("/"));
    match guarded::exposed(directory).or_else(|| guarded::exposed_program(&program)) {
        Some(exposed) => Err(BenchError::Exposed { program, exposed }),
        None => Ok(program),
    }
}
