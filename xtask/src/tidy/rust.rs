//! Just enough of Rust's grammar to tell code, comments and strings apart, and tests from the rest.

/// A Rust file, taken apart. Line numbers count from 1.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The lines with comments, and what stands in strings and characters, replaced by spaces.
    pub(crate) code: Vec<String>,
    /// Text of comments, with the line.
    pub(crate) comments: Vec<(usize, String)>,
    /// Text of string literals, each with the line it starts in.
    pub(crate) strings: Vec<(usize, String)>,
    /// For each line: whether it belongs to an item under `#[cfg(test)]`.
    pub(crate) test: Vec<bool>,
}

/// Takes a file apart. Text that is not Rust gives some parts, too; it never panics.
pub(crate) fn parts(text: &str) -> Parts {
    let mut scanner = Scanner {
        rest: text,
        line: 1,
        code: String::with_capacity(text.len()),
        parts: Parts::default(),
    };
    scanner.run();
    let Scanner {
        code, mut parts, ..
    } = scanner;
    parts.test = test_lines(&code);
    parts.code = code.lines().map(str::to_owned).collect();
    parts
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    code: String,
    parts: Parts,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) {
        while let Some(next) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.comment(end);
            } else if self.rest.starts_with("/*") {
                self.comment(block_comment(self.rest));
            } else if next == '"' {
                self.string(1, string_end(&self.rest[1..]), 1);
            } else if next == '\'' {
                let length = character(self.rest);
                self.hide(length);
            } else if next.is_alphabetic() || next == '_' {
                self.word();
            } else {
                self.keep(next.len_utf8());
            }
        }
    }

    /// An identifier, or the prefix of a raw string.
    fn word(&mut self) {
        let length = self
            .rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(length);
        let hashes = after.len() - after.trim_start_matches('#').len();
        if matches!(word, "r" | "br" | "cr") && after[hashes..].starts_with('"') {
            let opening = length + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            let body = &self.rest[opening..];
            self.string(
                opening,
                body.find(&close).unwrap_or(body.len()),
                close.len(),
            );
        } else {
            self.keep(length);
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        self.line += taken.matches('\n').count();
        taken
    }

    fn keep(&mut self, length: usize) {
        let taken = self.take(length);
        self.code.push_str(taken);
    }

    fn hide(&mut self, length: usize) -> &'a str {
        let taken = self.take(length);
        self.code
            .extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        taken
    }

    fn comment(&mut self, length: usize) {
        let first = self.line;
        let taken = self.hide(length);
        self.parts.comments.extend(
            taken
                .lines()
                .enumerate()
                .map(|(index, text)| (first + index, text.to_owned())),
        );
    }

    fn string(&mut self, opening: usize, body: usize, closing: usize) {
        self.keep(opening);
        let first = self.line;
        let text = self.hide(body).to_owned();
        self.parts.strings.push((first, text));
        self.keep(closing);
    }
}

/// Length of the body of a string whose opening quote is already read.
fn string_end(body: &str) -> usize {
    let mut escaped = false;
    for (index, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index,
            _ => {}
        }
    }
    body.len()
}

/// Length of a comment in stars and slashes; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(offset) = text[at..].find(['/', '*']) {
        let here = &text[at + offset..];
        if here.starts_with("/*") {
            depth += 1;
            at += offset + 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += offset + 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += offset + 1;
        }
    }
    text.len()
}

/// Length of a character literal, or of the quote that begins a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escape, c))) => {
            let after = escape + c.len_utf8();
            text[after..]
                .find('\'')
                .map_or(text.len(), |close| after + close + 1)
        }
        (Some(_), Some((close, '\''))) => close + 1,
        _ => 1,
    }
}

/// Marks the lines of every item under `#[cfg(test)]`, from the attribute to its last brace or semicolon.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![code.contains("#![cfg(test)]"); code.lines().count()];
    let mut from = 0;
    while let Some(found) = ["#[cfg(test)]", "#[cfg(all(test"]
        .iter()
        .filter_map(|needle| code[from..].find(needle))
        .min()
    {
        let start = from + found;
        let end = item_end(code, start);
        let line = |at: usize| code[..at].matches('\n').count();
        let last = line(end).min(marks.len().saturating_sub(1));
        marks[line(start)..=last].fill(true);
        from = end.max(start + 1);
    }
    marks
}

/// Where the item ends whose first attribute starts at `start`.
fn item_end(code: &str, start: usize) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (offset, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return start + offset,
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return start + offset,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let parts =
            parts("let a = \"x // y\"; // one\n/* two /* three */ \"no\" */ let b = 'c';\n");
        assert_eq!(parts.code[0].trim_end(), "let a = \"      \";");
        assert!(
            parts.code[1].trim_start().starts_with("let b = "),
            "{:?}",
            parts.code[1]
        );
        assert!(!parts.code[1].contains('c'));
        assert_eq!(
            parts.comments,
            [
                (1, "// one".to_owned()),
                (2, "/* two /* three */ \"no\" */".to_owned())
            ]
        );
        assert_eq!(parts.strings, [(1, "x // y".to_owned())]);
    }

    #[test]
    fn strings_of_every_kind_are_found_with_their_first_line() {
        let parts = parts("f(b\"a\\\"b\");\ng(r#\"c\n\"d\"\"#);\nh(r\"\\\", 'x', \"e\");\n");
        let expected = [(1, "a\\\"b"), (2, "c\n\"d\""), (4, "\\"), (4, "e")];
        assert_eq!(
            parts.strings,
            expected.map(|(line, text)| (line, text.to_owned()))
        );
        assert_eq!(parts.code.len(), 4);
    }

    #[test]
    fn quotes_of_characters_and_lifetimes_do_not_open_strings() {
        let parts = parts(
            "fn f<'a>(x: &'a str) { g('\"', '\\'', '\\\\', '\\u{1F600}', b'\"'); h(\"s\") }\n",
        );
        assert_eq!(parts.strings, [(1, "s".to_owned())]);
    }

    #[test]
    fn what_is_not_rust_does_not_break_it() {
        for text in [
            "\"",
            "'",
            "/*",
            "r#\"",
            "'\\",
            "\"\\",
            "ä'",
            "#[cfg(test)]",
            "}}#[cfg(test)]}",
            "'ä",
        ] {
            let _ = parts(text);
        }
    }

    #[test]
    fn only_the_item_under_the_attribute_is_a_test() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod more;\nfn d() {}\n\
                    #[cfg(test)]\n#[path = \"x\"]\nconst E: [u8; 1] =\n    [1];\nfn f() {}\n";
        let test: Vec<usize> = parts(text)
            .test
            .iter()
            .enumerate()
            .filter(|(_, test)| **test)
            .map(|(index, _)| index + 1)
            .collect();
        assert_eq!(test, [2, 3, 4, 5, 7, 8, 10, 11, 12, 13]);
    }

    #[test]
    fn an_attribute_in_a_string_marks_nothing() {
        assert_eq!(
            parts("let a = \"#[cfg(test)]\";\nfn b() {}\n").test,
            [false, false]
        );
    }

    #[test]
    fn a_file_can_be_a_test_as_a_whole() {
        assert_eq!(parts("#![cfg(test)]\nfn a() {}\n").test, [true, true]);
    }
}
