//! Migrations: numbered without a gap, and the same ones for each database. One that came later begins with the whole schema as
//! of the number of its first file.

use super::Finding;
use super::tree::File;

const FOLDER: &str = "crates/vydra-store/migrations";
const START: &str = "_start.sql";

/// Checks the migrations among `files`.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let of = |database: &str| -> Vec<&str> {
        let folder = format!("{FOLDER}/{database}/");
        let mut names: Vec<&str> = files
            .iter()
            .filter_map(|file| file.path.strip_prefix(&folder))
            .collect();
        names.sort_unstable();
        names
    };
    let (sqlite, postgres) = (of("sqlite"), of("postgres"));
    let mut findings = numbered("sqlite", &sqlite, 1);
    if let Some(first) = postgres.first() {
        let begins = number(first)
            .filter(|_| first.ends_with(START))
            .unwrap_or(1);
        findings.extend(numbered("postgres", &postgres, begins));
        let is_later = |name: &&str| number(name).is_none_or(|number| number > begins);
        let (there, here): (Vec<&str>, Vec<&str>) = match begins {
            1 => (sqlite, postgres),
            _ => (
                sqlite.into_iter().filter(is_later).collect(),
                postgres.into_iter().filter(is_later).collect(),
            ),
        };
        findings.extend(missing("postgres", &here, "sqlite", &there));
        findings.extend(missing("sqlite", &there, "postgres", &here));
    }
    findings
}

fn numbered(database: &str, names: &[&str], first: u32) -> Vec<Finding> {
    let folder = format!("{FOLDER}/{database}");
    if names.is_empty() {
        return vec![Finding::new(
            format!("{folder}/0001_start.sql"),
            1,
            "no migrations: a new database would stay empty",
        )];
    }
    let mut findings = Vec::new();
    let mut expected = first;
    for name in names {
        let file = format!("{folder}/{name}");
        match number(name) {
            None => findings.push(Finding::new(
                file,
                1,
                "not a name of a migration: NNNN_name.sql, in lower case",
            )),
            Some(number) => {
                if number != expected {
                    let message = format!(
                        "number {number:04} where {expected:04} comes next: numbers have no gap and no double"
                    );
                    findings.push(Finding::new(file, 1, message));
                }
                expected = number + 1;
            }
        }
    }
    findings
}

/// The number of a migration with a proper name.
fn number(name: &str) -> Option<u32> {
    let (number, noun) = name.strip_suffix(".sql")?.split_once('_')?;
    let is_noun = !noun.is_empty()
        && noun
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_number = number.len() == 4 && number.chars().all(|c| c.is_ascii_digit());
    if is_noun && is_number {
        number.parse().ok()
    } else {
        None
    }
}

/// What one database has and the other lacks.
fn missing(lacking: &str, there: &[&str], having: &str, all: &[&str]) -> Vec<Finding> {
    all.iter()
        .filter(|name| !there.contains(name))
        .map(|name| {
            Finding::new(
                format!("{FOLDER}/{having}/{name}"),
                1,
                format!("no {lacking}/{name}: both databases get the same steps"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(names: &[&str]) -> Vec<String> {
        let files: Vec<File> = names
            .iter()
            .map(|name| File::new(format!("{FOLDER}/{name}"), ""))
            .collect();
        check(&files).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn numbers_without_a_gap_pass() {
        assert_eq!(
            findings(&["sqlite/0001_start.sql", "sqlite/0002_keys.sql"]),
            [""; 0]
        );
    }

    #[test]
    fn no_migrations_at_all_fail() {
        assert_eq!(findings(&[]).len(), 1);
    }

    #[test]
    fn a_gap_a_double_and_a_wrong_start_fail() {
        let gap = findings(&[
            "sqlite/0001_start.sql",
            "sqlite/0003_keys.sql",
            "sqlite/0004_jobs.sql",
        ]);
        assert!(
            gap.len() == 1 && gap[0].contains("0003_keys.sql:1: number 0003 where 0002 comes next"),
            "{gap:?}"
        );
        assert_eq!(
            findings(&["sqlite/0001_start.sql", "sqlite/0001_twice.sql"]).len(),
            1
        );
        assert_eq!(findings(&["sqlite/0000_start.sql"]).len(), 1);
    }

    #[test]
    fn a_wrong_name_fails() {
        for name in [
            "1_start.sql",
            "0001.sql",
            "0001_.sql",
            "0001_Start.sql",
            "0001-start.sql",
            "0001_start.txt",
            "+001_start.sql",
        ] {
            let path = format!("sqlite/{name}");
            assert!(
                findings(&[&path])
                    .iter()
                    .any(|finding| finding.contains("NNNN_name.sql")),
                "{name}"
            );
        }
    }

    #[test]
    fn a_database_that_came_later_begins_with_the_whole() {
        let sqlite = [
            "sqlite/0001_start.sql",
            "sqlite/0002_keys.sql",
            "sqlite/0003_jobs.sql",
        ];
        let beside = |postgres: &[&str]| findings(&[&sqlite, postgres].concat());
        assert_eq!(
            beside(&["postgres/0002_start.sql", "postgres/0003_jobs.sql"]),
            [""; 0]
        );
        assert_eq!(beside(&["postgres/0002_start.sql"]).len(), 1);
        assert_eq!(
            beside(&["postgres/0002_start.sql", "postgres/0003_others.sql"]).len(),
            2
        );
        assert!(!beside(&["postgres/0002_begin.sql", "postgres/0003_jobs.sql"]).is_empty());
    }

    #[test]
    fn both_databases_have_the_same_migrations() {
        assert_eq!(
            findings(&["sqlite/0001_start.sql", "postgres/0001_start.sql"]),
            [""; 0]
        );
        let sqlite_only = findings(&[
            "sqlite/0001_start.sql",
            "sqlite/0002_keys.sql",
            "postgres/0001_start.sql",
        ]);
        assert!(
            sqlite_only.len() == 1 && sqlite_only[0].contains("no postgres/0002_keys.sql"),
            "{sqlite_only:?}"
        );
        let names_differ = findings(&["sqlite/0001_start.sql", "postgres/0001_begin.sql"]);
        assert_eq!(names_differ.len(), 2, "{names_differ:?}");
    }
}
