//! What was measured, as tables and as JSON.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::host::Host;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    PerSecond,
    Milliseconds,
    Ratio,
    Mebibytes,
    Count,
    /// What was reached of a target.
    Verdict,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::Milliseconds => "ms",
            Self::Ratio => "ratio",
            Self::Mebibytes => "MiB",
            Self::Count => "count",
            Self::Verdict => "of target",
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond | Self::Count => grouped(value),
            Self::Verdict if value < 1.0 => format!("missed ({value:.2})"),
            Self::Verdict => format!("met ({value:.2})"),
            Self::Ratio if value < 0.1 => format!("{value:.4}"),
            Self::Milliseconds | Self::Ratio if value < 10.0 => format!("{value:.3}"),
            Self::Milliseconds | Self::Ratio | Self::Mebibytes => format!("{value:.1}"),
        }
    }
}

/// With a comma at every thousand.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// One table: rows by what was done, columns by what was measured of it.
#[derive(Debug)]
pub struct Section {
    name: &'static str,
    title: String,
    notes: Vec<String>,
    columns: Vec<(String, Unit)>,
    rows: Vec<(String, Vec<Vec<f64>>)>,
}

impl Section {
    pub fn new(name: &'static str, title: impl Into<String>) -> Self {
        Self {
            name,
            title: title.into(),
            notes: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// What a reader must know to read the table.
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// One run's value; the table shows the median of all runs.
    pub fn add(&mut self, row: &str, column: &str, unit: Unit, value: f64) {
        let place = self
            .columns
            .iter()
            .position(|(known, _)| known == column)
            .unwrap_or_else(|| {
                self.columns.push((column.to_owned(), unit));
                self.columns.len() - 1
            });
        let line = self
            .rows
            .iter()
            .position(|(known, _)| known == row)
            .unwrap_or_else(|| {
                self.rows.push((row.to_owned(), Vec::new()));
                self.rows.len() - 1
            });
        let samples = &mut self.rows[line].1;
        if samples.len() <= place {
            samples.resize(place + 1, Vec::new());
        }
        samples[place].push(value);
    }

    /// As Markdown, which is readable on a terminal, too.
    pub fn table(&self) -> String {
        let mut lines = vec![
            std::iter::once(String::new())
                .chain(self.columns.iter().map(|(name, _)| name.clone()))
                .collect::<Vec<_>>(),
        ];
        for (name, samples) in &self.rows {
            let mut line = vec![name.clone()];
            for (place, (_, unit)) in self.columns.iter().enumerate() {
                let value = samples.get(place).and_then(|samples| median(samples));
                line.push(value.map_or_else(String::new, |value| unit.text(value)));
            }
            lines.push(line);
        }
        let widths: Vec<usize> = (0..=self.columns.len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
                    .max(3)
            })
            .collect();
        let mut text = format!("## {}\n\n", self.title);
        for note in &self.notes {
            let _ = writeln!(text, "{note}\n");
        }
        for (number, line) in lines.iter().enumerate() {
            let cells: Vec<String> = line
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    if column == 0 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                })
                .collect();
            let _ = writeln!(text, "| {} |", cells.join(" | "));
            if number == 0 {
                let rules: Vec<String> = widths
                    .iter()
                    .enumerate()
                    .map(|(column, width)| {
                        if column == 0 {
                            "-".repeat(*width)
                        } else {
                            format!("{}:", "-".repeat(*width - 1))
                        }
                    })
                    .collect();
                let _ = writeln!(text, "| {} |", rules.join(" | "));
            }
        }
        text
    }

    fn json(&self) -> Value {
        let rows: Map<String, Value> = self
            .rows
            .iter()
            .map(|(name, samples)| {
                let cells: Map<String, Value> = self
                    .columns
                    .iter()
                    .zip(samples)
                    .filter(|(_, samples)| !samples.is_empty())
                    .map(|((column, unit), samples)| {
                        let cell = json!({"median": median(samples), "unit": unit.name(), "runs": samples});
                        (column.clone(), cell)
                    })
                    .collect();
                (name.clone(), Value::Object(cells))
            })
            .collect();
        json!({"name": self.name, "title": self.title, "notes": self.notes, "rows": rows})
    }
}

pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

#[derive(Debug)]
pub struct Report {
    /// What was measured, when it is not everything on SQLite.
    pub of: Option<&'static str>,
    pub host: Host,
    /// How it was measured: words for the head of the report.
    pub how: String,
    pub sections: Vec<Section>,
}

impl Report {
    pub fn markdown(&self) -> String {
        let mut text = format!("# Bench of {}\n\n", self.host.date);
        for (name, value) in self.host.facts() {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "\n{}", self.how);
        for section in &self.sections {
            let _ = write!(text, "\n{}", section.table());
        }
        text
    }

    pub fn json(&self) -> Value {
        let facts: Map<String, Value> = self
            .host
            .facts()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect();
        let sections: Vec<Value> = self.sections.iter().map(Section::json).collect();
        json!({"date": self.host.date, "host": facts, "how": self.how, "sections": sections})
    }

    /// Where it was written: for people, and for programs.
    pub fn write(&self, folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        let mut name = format!("{}-{}", self.host.date, self.host.short());
        if let Some(of) = self.of {
            let _ = write!(name, "-{of}");
        }
        let (text, json) = (
            folder.join(format!("{name}.md")),
            folder.join(format!("{name}.json")),
        );
        std::fs::write(&text, self.markdown())?;
        std::fs::write(&json, serde_json::to_string_pretty(&self.json())? + "\n")?;
        Ok((text, json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_medians_and_leaves_gaps() {
        let mut section = Section::new("x", "Title").note("Note.");
        for rate in [1_000.0, 3_000.0, 2_000_000.0] {
            section.add("one", "rate", Unit::PerSecond, rate);
        }
        section.add("other", "p50 ms", Unit::Milliseconds, 1.25);
        assert_eq!(
            section.table(),
            "## Title\n\nNote.\n\n|       |  rate | p50 ms |\n| ----- | ----: | -----: |\n| one   | 3,000 |        |\n| other |       |  1.250 |\n"
        );
        let json = section.json();
        assert_eq!(json["rows"]["one"]["rate"]["median"], 3_000.0);
        assert_eq!(json["rows"]["one"]["rate"]["runs"][2], 2_000_000.0);
        assert!(json["rows"]["other"].get("rate").is_none());
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[5.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(
            [0.4, 999.0, 1_000.0, 1_234_567.0].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
