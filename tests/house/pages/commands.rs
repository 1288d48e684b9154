//! Commands and options, as clap knows them.

use clap::{Arg, Command};
use roff::{Inline, Roff, bold, italic, roman};

use super::markup::{argument, code, help};

/// The options of the program itself.
pub(crate) fn own_options(roff: &mut Roff, mut command: Command) {
    command.build();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        option(roff, arg);
    }
}

/// Every command, those of a group by their whole name.
pub(crate) fn all(roff: &mut Roff, mut program: Command) {
    program.build();
    for command in program.get_subcommands() {
        one(roff, command, "");
    }
}

fn one(roff: &mut Roff, command: &Command, before: &str) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{before}{}", command.get_name());
    // The demo's own parts are no commands of a group.
    let shown = |inner: &Command| !inner.is_hide_set() && inner.get_name() != "help";
    if command.get_subcommands().any(shown) {
        for inner in command.get_subcommands() {
            one(roff, inner, &format!("{name} "));
        }
        return;
    }
    roff.control("SS", [&*argument(&name)]);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    // Several forms stand on a line each.
    for (index, form) in usage.lines().enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        roff.text([bold(form.trim())]);
    }
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        help(roff, &about.to_string());
    }
    let own = |arg: &&Arg| !arg.is_hide_set() && !arg.is_global_set() && arg.get_id() != "help";
    for arg in command.get_positionals().filter(own) {
        option(roff, arg);
    }
    let options = command.get_arguments().filter(|arg| !arg.is_positional());
    for arg in options.filter(own) {
        option(roff, arg);
    }
    let after = command.get_after_long_help();
    if let Some(after) = after.or_else(|| command.get_after_help()) {
        help(roff, &after.to_string());
    }
}

fn option(roff: &mut Roff, arg: &Arg) {
    roff.control("TP", []);
    roff.text(head(arg));
    let mut words = arg
        .get_long_help()
        .or_else(|| arg.get_help())
        .map(|text| text.to_string().replace('\n', " "))
        .unwrap_or_default();
    if words.is_empty() {
        words = format!("See {}.", arg.get_id());
    }
    let takes = arg.get_num_args().is_some_and(|range| range.takes_values());
    let shown = takes && !arg.is_hide_possible_values_set();
    let values: Vec<_> = arg
        .get_possible_values()
        .into_iter()
        .filter(|value| shown && !value.is_hide_set())
        .collect();
    if !values.is_empty() {
        let of = |value: &clap::builder::PossibleValue| match value.get_help() {
            Some(help) => format!("{} ({help})", value.get_name()),
            None => value.get_name().to_owned(),
        };
        let list: Vec<String> = values.iter().map(of).collect();
        words = format!("{words}; one of {}", list.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|v| v.to_string_lossy())
        .collect();
    if takes && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        words = format!("{words} [default: {}]", defaults.join(" "));
    }
    roff.text(code(&words));
}

/// `-c, --credentials FILE`.
fn head(arg: &Arg) -> Vec<Inline> {
    let mut head = Vec::new();
    if let Some(short) = arg.get_short() {
        head.push(bold(format!("-{short}")));
    }
    if let Some(long) = arg.get_long() {
        if !head.is_empty() {
            head.push(roman(", "));
        }
        head.push(bold(format!("--{long}")));
    }
    let range = arg.get_num_args().unwrap_or_default();
    if arg.is_positional() || range.takes_values() {
        let names = arg.get_value_names().unwrap_or_default();
        let names: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
        if !head.is_empty() {
            head.push(roman(" "));
        }
        head.push(italic(names.join(" ")));
        if range.max_values() > names.len().max(1) {
            head.push(roman(" ..."));
        }
    }
    head
}
