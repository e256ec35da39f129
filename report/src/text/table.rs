//! A small table: columns as wide as their cells, one of which gives way when the line is too long.

use super::page::{Tone, clean, wrap};

/// Where a column's cells stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Text, at the left.
    Left,
    /// Numbers, at the right.
    Right,
    /// Text that is wrapped into whatever width the others leave; at most one.
    Flex,
}

/// The flexible column's least width; with less, its words would stand one below the other.
const FLEX_MIN: usize = 16;

/// Spaces between columns.
const GAP: usize = 2;

pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<(String, Option<Tone>)>>,
}

impl Table {
    /// A table with these titles.
    pub(super) fn new<const N: usize>(columns: [(&str, Column); N]) -> Self {
        let titles = columns.iter().map(|(title, _)| ((*title).to_owned(), Some(Tone::Faint))).collect();
        Self { columns: columns.into_iter().map(|(_, column)| column).collect(), rows: vec![titles] }
    }

    /// Adds a row; words that have a tone of their own ("ok", "drifted") get it.
    pub(super) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        assert_eq!(N, self.columns.len(), "a cell for each column");
        let cells = cells.into_iter().map(|cell| (clean(cell).into_owned(), Tone::of(cell)));
        self.rows.push(cells.collect());
    }

    /// The lines, each as pieces with their tone.
    pub(super) fn lines(&self, width: usize) -> Vec<Vec<(String, Option<Tone>)>> {
        let widths = self.widths(width);
        self.rows.iter().flat_map(|row| self.row_lines(row, &widths)).collect()
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let widest =
            |column: usize| self.rows.iter().map(|row| row[column].0.chars().count()).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..self.columns.len()).map(widest).collect();
        if let Some(flex) = self.columns.iter().position(|column| *column == Column::Flex) {
            let others: usize = widths.iter().sum::<usize>() - widths[flex] + GAP * (widths.len() - 1);
            widths[flex] = widths[flex].min(width.saturating_sub(others).max(FLEX_MIN));
        }
        widths
    }

    fn row_lines(
        &self,
        row: &[(String, Option<Tone>)],
        widths: &[usize],
    ) -> Vec<Vec<(String, Option<Tone>)>> {
        let cells: Vec<Vec<String>> = row
            .iter()
            .zip(&self.columns)
            .zip(widths)
            .map(|(((text, _), column), width)| match column {
                Column::Flex => wrap(text, *width),
                Column::Left | Column::Right => vec![text.clone()],
            })
            .collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let line = |at: usize| {
            let texts = cells.iter().map(move |lines| lines.get(at).map_or("", String::as_str));
            texts
                .zip(row)
                .zip(self.columns.iter().zip(widths))
                .enumerate()
                .map(|(number, ((text, (_, tone)), (column, width)))| {
                    (placed(text, *column, *width, if number == 0 { 0 } else { GAP }), *tone)
                })
                .collect()
        };
        (0..height).map(line).collect()
    }
}

fn placed(text: &str, column: Column, width: usize, gap: usize) -> String {
    let gap = " ".repeat(gap);
    match column {
        Column::Right => format!("{gap}{text:>width$}"),
        Column::Left | Column::Flex => format!("{gap}{text:<width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(table: &Table, width: usize, expected: &str) {
        let lines = table.lines(width).into_iter();
        let text: Vec<String> =
            lines.map(|line| line.iter().map(|(text, _)| text.as_str()).collect::<String>()).collect();
        let text: Vec<&str> = text.iter().map(|line| line.trim_end()).collect();
        assert_eq!(text.join("\n"), expected);
    }

    #[test]
    fn columns_line_up_and_one_gives_way() {
        let mut table = Table::new([("name", Column::Left), ("why", Column::Flex), ("n", Column::Right)]);
        table.row(["a", "short", "5"]);
        table.row(["longer", "a reason of several words", "12345"]);
        check(
            &table,
            80,
            "name    why                            n\n\
             a       short                          5\n\
             longer  a reason of several words  12345",
        );
        check(
            &table,
            32,
            "name    why                    n\n\
             a       short                  5\n\
             longer  a reason of        12345\n        several words",
        );
    }

    #[test]
    fn a_cell_cannot_break_out_of_its_row() {
        let mut table = Table::new([("name", Column::Left)]);
        table.row(["a\nb\u{1b}[2J"]);
        check(&table, 80, "name\na\\u{a}b\\u{1b}[2J");
    }
}
