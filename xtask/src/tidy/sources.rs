//! Rules about one file at a time: SQL, size, leftovers, paths of somebody's machine.

use super::Finding;
use super::rust::{self, Parts};
use super::tree::File;

/// The most lines that a file may have, without its tests.
const MAX_LINES: usize = 600;
/// What a chore writes: nobody reads it from its beginning to its end.
const GENERATED: &str = "crates/vydra-client/src/types.rs";

/// What nobody leaves behind, in tests neither: the beginning of a code token and why.
const LEFTOVERS: [(&str, &str); 4] = [
    ("todo!(", "finish it or take it out"),
    ("unimplemented!(", "finish it or take it out"),
    ("dbg!(", "a line of a search for a fault; take it out"),
    (
        "#[ignore",
        "a test that does not run proves nothing; mend it or delete it",
    ),
];

/// Words in comments that say that something is not finished.
const UNFINISHED: [&str; 3] = ["FIXME", "XXX", "HACK"];

/// Every finding in a file.
pub(crate) fn check(file: &File) -> Vec<Finding> {
    let mut findings = machine_paths(file);
    if file.has_extension("rs") {
        let parts = rust::parts(&file.text);
        findings.extend(sql(&file.path, &parts));
        findings.extend(size(&file.path, &parts));
        findings.extend(leftovers(&file.path, &parts));
    }
    findings
}

/// Code that only tests use: it may unwrap, and it may not sleep.
fn is_for_tests(path: &str) -> bool {
    path.starts_with("crates/vydra-testkit/") || is_test(path)
}

fn is_test(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "tests.rs")
}

fn sql(path: &str, parts: &Parts) -> Vec<Finding> {
    // The proofs read the books from the file itself, and what was counted from the log; the bench measures plain SQLite beside the product; and somebody has to look
    // after the databases of tests.
    let has_sql = [
        "crates/vydra-store/",
        "crates/vydra-prove/src/books/",
        "crates/vydra-prove/src/gates/windows/counter.rs",
        "crates/vydra-bench/",
        "crates/vydra-testkit/src/postgres.rs",
    ];
    if has_sql.iter().any(|place| path.starts_with(place)) || is_test(path) {
        return Vec::new();
    }
    let outside_tests = parts
        .strings
        .iter()
        .filter(|(line, _)| !is_marked(parts, *line));
    outside_tests
        .filter_map(|(line, text)| {
            let statement = statement(text)?;
            let message = format!(
                "SQL (`{statement} …`) outside vydra-store: make it a command or a read of the store"
            );
            Some(Finding::new(path, *line, message))
        })
        .collect()
}

/// Statements as we write them, in upper case: two words, and whether the second follows at once.
const STATEMENTS: [(&str, &str, bool); 5] = [
    ("SELECT", "FROM", false),
    ("INSERT", "INTO", true),
    ("UPDATE", "SET", false),
    ("DELETE", "FROM", true),
    ("BEGIN", "IMMEDIATE", true),
];

/// The first word of the SQL statement that a string holds.
fn statement(text: &str) -> Option<&'static str> {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let holds = |(first, second, at_once): &(&str, &str, bool)| {
        let mut starts = words.iter().enumerate().filter(|(_, word)| *word == first);
        starts.any(|(start, _)| {
            let after = &words[start + 1..];
            after.first() == Some(second) || (!at_once && after.contains(second))
        })
    };
    STATEMENTS
        .iter()
        .find(|statement| holds(statement))
        .map(|(first, ..)| *first)
}

fn size(path: &str, parts: &Parts) -> Option<Finding> {
    let lines = parts.test.iter().filter(|test| !**test).count();
    (lines > MAX_LINES && !is_test(path) && path != GENERATED).then(|| {
        let message =
            format!("{lines} lines without tests, more than {MAX_LINES}: split the file by noun");
        Finding::new(path, 1, message)
    })
}

fn leftovers(path: &str, parts: &Parts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let for_tests = is_for_tests(path);
    for (index, code) in parts.code.iter().enumerate() {
        let line = index + 1;
        for (needle, why) in LEFTOVERS {
            if has_token(code, needle) {
                findings.push(Finding::new(path, line, format!("`{needle}`: {why}")));
            }
        }
        if for_tests || is_marked(parts, line) {
            if has_token(code, "sleep(") {
                let message = "`sleep(` in a test: move the ManualClock or wait for a signal";
                findings.push(Finding::new(path, line, message));
            }
        } else if code.contains(".unwrap()") {
            findings.push(Finding::new(
                path,
                line,
                "`.unwrap()` outside tests: return the error, or make it impossible",
            ));
        }
    }
    for (line, comment) in &parts.comments {
        let mut words = comment.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| UNFINISHED.contains(word)) {
            findings.push(Finding::new(
                path,
                *line,
                format!("`{word}`: mend it now, or say in plain words what the limit is"),
            ));
        }
    }
    findings
}

/// Whether code has the token as a whole, not as the end of a longer word.
fn has_token(code: &str, needle: &str) -> bool {
    code.match_indices(needle).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_') || needle.starts_with('#')
    })
}

fn is_marked(parts: &Parts, line: usize) -> bool {
    parts.test.get(line - 1).copied().unwrap_or(false)
}

/// Absolute paths that exist on one machine only.
fn machine_paths(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let folder = machine_folder(line)?;
            let message = format!("a path under `/{folder}/`, which is some machine's own: write it relative to the checkout");
            Some(Finding::new(&file.path, index + 1, message))
        })
        .collect()
}

fn machine_folder(line: &str) -> Option<&'static str> {
    ["work", "home", "root"].into_iter().find(|folder| {
        // Assembled, so that this file passes its own check.
        let needle = format!("/{folder}/");
        line.match_indices(&needle).any(|(at, _)| {
            // After a name or a variable it is the middle of a longer path, such as that of a URL.
            let before = line[..at].chars().next_back();
            let begins = !before.is_some_and(|c| c.is_alphanumeric() || "._-~*})>".contains(c));
            let after = line[at + needle.len()..].chars().next();
            begins && (*folder != "home" || after.is_some_and(char::is_alphanumeric))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "crates/vydra-engine/src/jobs.rs";

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&File::new(path, text))
            .iter()
            .map(Finding::to_string)
            .collect()
    }

    fn count(path: &str, text: &str) -> usize {
        findings(path, text).len()
    }

    fn under_test(text: &str) -> String {
        format!("#[cfg(test)]\nmod tests {{\n{text}\n}}\n")
    }

    #[test]
    fn sql_outside_the_store_fails() {
        let statements = [
            "SELECT id FROM job",
            "INSERT INTO job (id) VALUES (1)",
            "UPDATE job SET state = 1",
            "DELETE FROM job",
            "BEGIN IMMEDIATE",
            "WITH a AS (SELECT 1 FROM b) TABLE a",
            "SELECT id,\n    state\n  FROM job",
        ];
        for statement in statements {
            let text = format!("fn f() {{\n    run(\"{statement}\");\n}}\n");
            let found = findings(SOURCE, &text);
            assert!(
                found.len() == 1 && found[0].starts_with("crates/vydra-engine/src/jobs.rs:2: SQL"),
                "{statement}: {found:?}"
            );
            assert_eq!(
                count("crates/vydra-store/src/sqlite/jobs.rs", &text),
                0,
                "{statement}"
            );
            assert_eq!(
                count("crates/vydra-engine/tests/jobs.rs", &text),
                0,
                "{statement}"
            );
            assert_eq!(count(SOURCE, &under_test(&text)), 0, "{statement}");
        }
    }

    #[test]
    fn sentences_and_comments_are_not_sql() {
        let text = "// SELECT id FROM job\nfn f() {\n    say(\"Select one from the list\");\n    say(\"SET and UPDATE\");\n}\n";
        assert_eq!(findings(SOURCE, text), [""; 0]);
    }

    #[test]
    fn a_file_that_is_too_long_without_its_tests_fails() {
        let lines = |n: usize| "fn f() {}\n".repeat(n);
        assert_eq!(count(SOURCE, &lines(600)), 0);
        assert_eq!(
            count(
                SOURCE,
                &format!("{}{}", lines(600), under_test(&lines(100)))
            ),
            0
        );
        let found = findings(
            SOURCE,
            &format!("{}{}", under_test(&lines(100)), lines(601)),
        );
        assert!(
            found.len() == 1 && found[0].contains("601 lines"),
            "{found:?}"
        );
        assert_eq!(count("crates/vydra-engine/tests/jobs.rs", &lines(601)), 0);
    }

    #[test]
    fn leftovers_fail_in_tests_too() {
        for text in [
            "todo!()",
            "unimplemented!()",
            "std::dbg!(x)",
            "#[ignore]\nfn f() {}",
            "#[ignore = \"slow\"]\nfn f() {}",
        ] {
            assert_eq!(count(SOURCE, text), 1, "{text}");
            assert_eq!(
                count("crates/vydra-engine/tests/jobs.rs", text),
                1,
                "{text}"
            );
        }
        for text in ["not_todo!()", "say(\"todo!()\")", "// dbg!(x)"] {
            assert_eq!(count(SOURCE, text), 0, "{text}");
        }
    }

    #[test]
    fn words_for_unfinished_work_fail_in_comments() {
        for word in ["FIXME", "XXX", "HACK"] {
            assert_eq!(
                findings(SOURCE, &format!("fn f() {{}}\n// {word}: later\n")).len(),
                1,
                "{word}"
            );
            assert_eq!(count(SOURCE, &format!("//! {word}\n")), 1, "{word}");
            assert_eq!(
                count(SOURCE, &format!("say(\"{word}\");\n// {word}AGON\n")),
                0,
                "{word}"
            );
        }
    }

    #[test]
    fn unwrap_fails_outside_tests_only() {
        let text = "fn f() {\n    a.unwrap();\n}\n";
        assert_eq!(findings(SOURCE, text).len(), 1);
        assert_eq!(count(SOURCE, &under_test(text)), 0);
        assert_eq!(count("crates/vydra-engine/tests/jobs.rs", text), 0);
        assert_eq!(count("crates/vydra-engine/src/jobs/tests.rs", text), 0);
        assert_eq!(count("crates/vydra-testkit/src/app.rs", text), 0);
        assert_eq!(
            count(
                SOURCE,
                "/// a.unwrap();\nfn f() {\n    a.unwrap_or(1);\n}\n"
            ),
            0
        );
    }

    #[test]
    fn sleep_fails_in_tests_only() {
        let text = "tokio::time::sleep(SECOND).await;";
        assert_eq!(count(SOURCE, text), 0);
        assert_eq!(count(SOURCE, &under_test(text)), 1);
        assert_eq!(count("crates/vydra-engine/tests/jobs.rs", text), 1);
        assert_eq!(count("crates/vydra-testkit/src/app.rs", text), 1);
        assert_eq!(
            count("crates/vydra-engine/tests/jobs.rs", "do_not_sleep(x);"),
            0
        );
    }

    #[test]
    fn a_path_of_one_machine_fails_in_any_text() {
        for (folder, rest) in [("work", "main"), ("home", "anna/x"), ("root", ".cargo")] {
            let path = format!("/{folder}/{rest}");
            for text in [
                path.clone(),
                format!("see `{path}`"),
                format!("DIR={path}"),
                format!("file://{path}"),
            ] {
                let found = findings("docs/install.md", &format!("first\n{text}\n"));
                assert!(
                    found.len() == 1 && found[0].starts_with("docs/install.md:2: "),
                    "{text}: {found:?}"
                );
            }
            for text in [
                format!("https://example.com{path}"),
                format!("${{BASE}}{path}"),
                format!("src{path}"),
            ] {
                assert_eq!(findings("docs/install.md", &text), [""; 0], "{text}");
            }
        }
    }
}
