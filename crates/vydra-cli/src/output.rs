//! What a person or a program reads: data on stdout, complaints and hints on stderr, colours only on a terminal.

use serde_json::Value;
use std::io::{IsTerminal, Write};

/// One line of data. A reader that has gone away, as `head` does, is no failure.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

pub fn json(value: &Value) {
    line(&value.to_string());
}

pub fn complain(error: &anyhow::Error) {
    let (red, plain) = if std::io::stderr().is_terminal() {
        ("\x1b[31;1m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut sentence = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !sentence.contains(&cause) {
            sentence.push_str(": ");
            sentence.push_str(&cause);
        }
    }
    let _ = writeln!(std::io::stderr(), "{red}error:{plain} {sentence}");
}

/// Rows under headings, each column as wide as its widest cell.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .chain([heading.len()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        line(padded.join("  ").trim_end());
    };
    print(&mut headings.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}
