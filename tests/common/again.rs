//! A test program starts itself again, for one test in a process of its own.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Output};

/// The words that run one test of this program: the program first. `module` is the
/// test's `module_path!()`.
pub(crate) fn words(module: &str, test: &str) -> Vec<OsString> {
    let program = std::env::current_exe().expect("this program");
    // The harness names a test without the name of its program.
    let test = match module.split_once("::") {
        Some((_, module)) => format!("{module}::{test}"),
        None => test.to_owned(),
    };
    let how = ["--exact", "--nocapture", "--include-ignored"].map(OsString::from);
    [program.into(), test.into()]
        .into_iter()
        .chain(how)
        .collect()
}

/// What runs one test of this program.
pub(crate) fn itself(module: &str, test: &str) -> Command {
    behind(&[], module, test)
}

/// The same under the words of a wrapper (`setpriv`, `unshare`).
pub(crate) fn behind(wrapper: &[&str], module: &str, test: &str) -> Command {
    let wrapper = wrapper.iter().map(OsString::from);
    let mut all = wrapper.chain(words(module, test));
    let mut command = Command::new(all.next().expect("a program"));
    command.args(all);
    command
}

/// That the test ran and passed: a name that no test has passes, too, as none fails.
#[track_caller]
pub(crate) fn passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    print!("{said}");
    assert!(
        output.status.success() && said.contains("test result: ok. 1 passed"),
        "{said}{errors}"
    );
}

/// What a child of this test program gets.
const CHILD: &str = "MCP_BRIDGE_TEST_CHILD";

/// This program again, to run one test function as a child with an argument.
pub(crate) fn child(wrapper: &[&str], module: &str, test: &str, told: &str) -> Command {
    let mut command = behind(wrapper, module, test);
    command.env(CHILD, told);
    command
}

/// The argument of this process, if it is such a child.
pub(crate) fn told() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Says a line to the parent.
pub(crate) fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@ {line}").expect("the parent listens");
    out.flush().expect("the parent listens");
}

/// What a child said, without the test harness's own lines.
pub(crate) fn reported(line: &str) -> Option<&str> {
    line.split_once("@ ").map(|(_, said)| said)
}
