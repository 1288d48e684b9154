//! The prose of a manual page, in the little of Markdown that it needs:
//! headings, paragraphs, lists with dashes, definitions (`: `), fences,
//! `` `bold` `` and `*italic*`, and `{{name}}` for what the code knows.

use roff::{Inline, Roff, bold, italic, roman};

/// The whole page. The first line is `% TITLE SECTION DATE MANUAL`.
pub(crate) fn page(prose: &str, insert: &dyn Fn(&str, &mut Roff)) -> Roff {
    let (head, body) = prose.split_once('\n').expect("a first line");
    let mut words = head.strip_prefix("% ").expect("a title").splitn(4, ' ');
    let mut next = || words.next().expect("title, section, date, manual");
    let (title, section, date, manual) = (next(), next(), next(), next());
    let version = concat!("mcp-bridge ", env!("CARGO_PKG_VERSION"));
    let mut roff = Roff::new();
    roff.control("TH", [&*argument(title), section, date, version, manual]);
    // Words are not broken, so that a key or an id can be searched for; the
    // macros ask the register at each paragraph.
    roff.control("nr", ["HY", "0"])
        .control("nh", [])
        .control("ad", ["l"]);
    blocks(&mut roff, body, insert);
    roff
}

fn blocks(roff: &mut Roff, body: &str, insert: &dyn Fn(&str, &mut Roff)) {
    let mut lines = body.lines().peekable();
    let mut fresh = true;
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            roff.control("SS", [&*argument(title)]);
            fresh = true;
        } else if let Some(title) = line.strip_prefix("# ") {
            roff.control("SH", [&*argument(title)]);
            fresh = true;
        } else if let Some(name) = line.strip_prefix("{{") {
            insert(name.trim_end_matches("}}"), roff);
            fresh = false;
        } else if line.starts_with("```") {
            let example: Vec<&str> = lines
                .by_ref()
                .take_while(|l| !l.starts_with("```"))
                .collect();
            verbatim(roff, &example);
            fresh = false;
        } else if !line.is_empty() {
            let (item, first) = match line.strip_prefix("- ") {
                Some(first) => (true, first),
                None => (false, line),
            };
            let mut text = first.to_owned();
            while let Some(more) = lines.next_if(|l| continues(l)) {
                text.push(' ');
                text.push_str(more.trim_start());
            }
            if let Some(definition) = lines.next_if(|l| l.starts_with(": ")) {
                let mut meaning = definition[2..].to_owned();
                while let Some(more) = lines.next_if(|l| continues(l)) {
                    meaning.push(' ');
                    meaning.push_str(more.trim_start());
                }
                roff.control("TP", []);
                roff.text(inline(&text));
                roff.text(inline(&meaning));
                fresh = false;
                continue;
            }
            if item {
                roff.control("IP", ["\\(bu", "2"]);
            } else if !fresh {
                roff.control("PP", []);
            }
            roff.text(inline(&text));
            fresh = false;
        }
    }
}

fn continues(line: &str) -> bool {
    let begins = ["# ", "## ", "- ", ": ", "```", "{{"];
    !line.is_empty() && !begins.iter().any(|begin| line.starts_with(begin))
}

/// Lines as they are, indented.
pub(crate) fn verbatim(roff: &mut Roff, lines: &[&str]) {
    roff.control("PP", [])
        .control("RS", ["4"])
        .control("EX", []);
    for line in lines {
        roff.text([roman(*line)]);
    }
    roff.control("EE", []).control("RE", []);
}

/// `` `bold` `` and `*italic*`; a star within backquotes is a star.
pub(crate) fn inline(text: &str) -> Vec<Inline> {
    let mut out = Vec::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            out.push(bold(part));
            continue;
        }
        for (index, part) in part.split('*').enumerate() {
            match part {
                "" => {}
                part if index % 2 == 1 => out.push(italic(part)),
                part => out.push(roman(part)),
            }
        }
    }
    out
}

/// An argument of a request: a hyphen that is searched for is a minus.
pub(crate) fn argument(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-")
}

/// A text of `--help`: paragraphs, and what is indented stays as it is.
pub(crate) fn help(roff: &mut Roff, text: &str) {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if line.starts_with("  ") {
            let mut example = vec![line.trim_start()];
            while let Some(more) = lines.next_if(|l| l.starts_with("  ")) {
                example.push(more.trim_start());
            }
            verbatim(roff, &example);
        } else {
            let mut paragraph = line.to_owned();
            while let Some(more) = lines.next_if(|l| !l.is_empty() && !l.starts_with("  ")) {
                paragraph.push(' ');
                paragraph.push_str(more);
            }
            roff.control("PP", []);
            roff.text(code(&paragraph));
        }
    }
}

/// `` `bold` `` alone: in a text of `--help` a star is a star.
pub(crate) fn code(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(index, part)| {
            if index % 2 == 1 {
                bold(part)
            } else {
                roman(part)
            }
        })
        .collect()
}
