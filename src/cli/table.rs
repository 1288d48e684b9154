//! Tables for people: columns and two spaces between them, nothing else.

use std::fmt::Write as _;
use std::ops::Range;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr};

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

    /// Cuts the text to this width.
    fn cut(&mut self, width: usize) {
        const MORE: char = '…';
        if self.text.width() <= width {
            return;
        }
        let mut room = width.saturating_sub(1);
        let fits = self.text.chars().take_while(|c| {
            let left = room.checked_sub(c.width().unwrap_or(0));
            room = left.unwrap_or(0);
            left.is_some()
        });
        let fits: String = fits.collect();
        self.text = format!("{}{MORE}", fits.trim_end());
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

/// What a table gives up where it is too wide.
#[derive(Debug, Clone, Copy)]
pub enum Narrower {
    /// Cuts the texts of the column of this heading, down to this width.
    Cut(&'static str, usize),
    /// Leaves that column out.
    Drop(&'static str),
}

/// Between two columns.
const GAP: usize = 2;

/// How wide a line of these columns is.
fn whole(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
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
                self.remove(index);
            }
        }
    }

    /// Makes it fit a screen of this width, if that is known: takes these steps in their
    /// order, none more than it must.
    pub fn fit(&mut self, screen: Option<usize>, steps: &[Narrower]) {
        let Some(screen) = screen else {
            return;
        };
        let mut limits = self.widths();
        for step in steps {
            let excess = whole(&limits).saturating_sub(screen);
            if excess == 0 {
                break;
            }
            let (Narrower::Cut(heading, _) | Narrower::Drop(heading)) = step;
            let Some(column) = self.headings.iter().position(|one| one == heading) else {
                continue;
            };
            if let Narrower::Cut(_, to) = step {
                let limit = limits[column].saturating_sub(excess);
                let least = heading.width().max(*to).min(limits[column]);
                limits[column] = limit.max(least);
            } else {
                self.remove(column);
                limits.remove(column);
            }
        }
        // What a later step has gained goes back to the columns before it.
        let mut room = screen.saturating_sub(whole(&limits));
        for (limit, width) in limits.iter_mut().zip(self.widths()) {
            let more = room.min(width - *limit);
            *limit += more;
            room -= more;
        }
        for row in &mut self.rows {
            for (cell, limit) in row.iter_mut().zip(&limits) {
                cell.cut(*limit);
            }
        }
    }

    fn remove(&mut self, column: usize) {
        self.headings.remove(column);
        for row in &mut self.rows {
            row.remove(column);
        }
    }

    /// The width of each column.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|text| text.width()).collect();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.width().max(*width);
            }
        }
        widths
    }

    /// The table as text; every line begins with `indent` spaces.
    #[must_use]
    pub fn render(&self, indent: usize) -> String {
        let headings: Vec<Cell> = self.headings.iter().map(|h| Cell::new(*h, DIM)).collect();
        let lines: Vec<&Vec<Cell>> = std::iter::once(&headings)
            .filter(|headings| !headings.is_empty())
            .chain(&self.rows)
            .collect();
        let widths = self.widths();
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
                gap += after + GAP;
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
    fn columns_line_up_without_trailing_space() {
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

    #[test]
    fn a_table_is_no_wider_than_its_screen() {
        let table = || {
            let mut table = Table::new(&["NAME", "AGE", "KIND", "NOTE"]);
            table.row([
                "größe".into(),
                "3m".into(),
                "good".into(),
                "a note of 17 char".into(),
            ]);
            table.row(["b".into(), "2h".into(), "bad".into(), "".into()]);
            table
        };
        let steps = [
            Narrower::Cut("NOTE", 10),
            Narrower::Drop("AGE"),
            Narrower::Cut("NOTE", 4),
            Narrower::Cut("NAME", 4),
            Narrower::Drop("KIND"),
        ];
        let at = |screen| {
            let mut table = table();
            table.fit(screen, &steps);
            anstream::adapter::strip_str(&table.render(0)).to_string()
        };
        let whole =
            "NAME   AGE  KIND  NOTE\ngröße  3m   good  a note of 17 char\nb      2h   bad\n";
        assert_eq!(at(None), whole);
        assert_eq!(at(Some(35)), whole);
        assert_eq!(
            at(Some(30)),
            "NAME   AGE  KIND  NOTE\ngröße  3m   good  a note of 1…\nb      2h   bad\n"
        );
        // What the column that is left out took is free for the others.
        assert_eq!(
            at(Some(27)),
            "NAME   KIND  NOTE\ngröße  good  a note of 17…\nb      bad\n"
        );
        assert_eq!(
            at(Some(16)),
            "NAME  KIND  NOTE\ngrö…  good  a n…\nb     bad\n"
        );
        for screen in 10..50 {
            let page = at(Some(screen));
            let widest = page.lines().map(UnicodeWidthStr::width).max();
            assert!(widest <= Some(screen), "{screen}: {page}");
        }
    }
}
