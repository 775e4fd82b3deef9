//! Markdown tables that can also be read as they are.

/// A table of text: the first column is aligned left, the others right.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub(crate) fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.head.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!(" {cell:<width$} |"),
                _ => format!(" {cell:>width$} |"),
            });
            format!("|{}", cells.collect::<String>())
        };
        let rules = widths.iter().enumerate().map(|(column, width)| match column {
            0 => format!("{}|", "-".repeat(width + 2)),
            _ => format!("{}:|", "-".repeat(width + 1)),
        });
        let mut lines = vec![line(&self.head), format!("|{}", rules.collect::<String>())];
        lines.extend(self.rows.iter().map(line));
        lines.join("\n")
    }
}

/// Three digits that matter: `0.145`, `3.20`, `47.1`, `128`, `17,800`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if size < 1.0 {
        format!("{value:.3}")
    } else if size < 10.0 {
        format!("{value:.2}")
    } else if size < 100.0 {
        format!("{value:.1}")
    } else {
        thousands(value.round() as i64)
    }
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let cases =
            [(0.0, "0"), (0.1449, "0.145"), (3.2, "3.20"), (47.12, "47.1"), (128.4, "128"), (17_800.0, "17,800")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(-1_234_567.0), "-1,234,567");
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["who", "puts/s"]);
        table.row(["etcd".to_owned(), "17,800".to_owned()]);
        table.row(["us".to_owned(), "9".to_owned()]);
        assert_eq!(table.markdown(), "| who  | puts/s |\n|------|-------:|\n| etcd | 17,800 |\n| us   |      9 |");
    }
}
