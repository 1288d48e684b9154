//! Tables for people: columns and two spaces between them, nothing else.

use std::fmt::Write as _;
use std::ops::Range;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use crate::session::framing::Styles;
use crate::text::shown::shown;

/// Headings, and what stands in the background.
pub const DIM: Style = Style::new().dimmed();
/// What matters most on a line.
pub const BOLD: Style = Style::new().bold();
/// How what agents wrote is set off.
pub const STYLES: Styles = Styles {
    strong: BOLD,
    faint: DIM,
};
/// As it should be.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Worth a look.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Broken.
pub const BAD: Style = AnsiColor::Red.on_default();

/// One cell: a text in a style.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        // A cell is one line, and its width that of what is seen.
        let text = shown(&text.into()).into_owned();
        Self { text, style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Style::new())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// A table that is being filled.
#[derive(Debug, Default)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    /// Columns of figures, which end at one edge.
    right: Range<usize>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            ..Self::default()
        }
    }

    /// Columns that hold figures: they end at one edge.
    #[must_use]
    pub fn figures(mut self, columns: Range<usize>) -> Self {
        self.right = columns;
        self
    }

    /// One without a line of headings.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes out the columns of these headings in which nothing stands.
    pub fn drop_empty(&mut self, optional: &[&str]) {
        for index in (0..self.headings.len()).rev() {
            if optional.contains(&self.headings[index])
                && self
                    .rows
                    .iter()
                    .all(|row| row.get(index).is_none_or(|cell| cell.text.is_empty()))
            {
                self.headings.remove(index);
                for row in &mut self.rows {
                    row.remove(index);
                }
            }
        }
    }

    /// The table as text; every line begins with `indent` spaces.
    #[must_use]
    pub fn render(&self, indent: usize) -> String {
        let headings: Vec<Cell> = self.headings.iter().map(|h| Cell::new(*h, DIM)).collect();
        let lines: Vec<&Vec<Cell>> = std::iter::once(&headings)
            .filter(|headings| !headings.is_empty())
            .chain(&self.rows)
            .collect();
        let columns = lines.iter().map(|line| line.len()).max().unwrap_or(0);
        let width = |column: usize| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|cell| cell.text.width())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for line in lines {
            let mut gap = indent;
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let room = width - cell.text.width();
                let (before, after) = match self.right.contains(&column) {
                    true => (room, 0),
                    false => (0, room),
                };
                gap += before;
                if !cell.text.is_empty() {
                    let Cell { text, style } = cell;
                    let _ = write!(out, "{:gap$}{style}{text}{style:#}", "");
                    gap = 0;
                }
                gap += after + 2;
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_with_their_text() {
        let mut table = Table::new(&["NAME", "X", "NOTE"]);
        table.row(["a".into(), "".into(), "long".into()]);
        table.row(["größe".into(), "".into(), "".into()]);
        table.drop_empty(&["X", "NOTE"]);
        let text = anstream::adapter::strip_str(&table.render(0)).to_string();
        assert_eq!(text, "NAME   NOTE\na      long\ngröße\n");
    }

    #[test]
    fn a_cell_shows_what_would_act() {
        let mut table = Table::new(&["A", "B"]);
        table.row(["x\u{1b}[2J\n".into(), "\u{202e}y".into()]);
        let text = anstream::adapter::strip_str(&table.render(0)).to_string();
        assert_eq!(text, "A             B\nx\\u{1b}[2J\\n  \\u{202e}y\n");
    }

    #[test]
    fn figures_end_at_one_edge() {
        let mut table = Table::new(&["what", "p50", "note"]).figures(1..2);
        table.row(["a".into(), "1.5 us".into(), "x".into()]);
        table.row(["bc".into(), "9".into(), "".into()]);
        let text = anstream::adapter::strip_str(&table.render(0)).to_string();
        assert_eq!(text, "what     p50  note\na     1.5 us  x\nbc         9\n");
    }
}
