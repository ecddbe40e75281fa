//! Text to HTML. Whatever comes from a catalogue passes through [`escape`].

use serde_json::Value;
use std::collections::HashSet;
use vydra_core::error_code::ErrorCode;

/// Text as it may stand in an element or in a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// Sentences: `code` stands in backticks, and the name of an error leads to its page.
pub(super) fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    // A backtick without its partner is only a letter.
    if parts.len().is_multiple_of(2) {
        return linked(text);
    }
    parts
        .iter()
        .enumerate()
        .map(|(place, part)| {
            if place % 2 == 1 {
                ErrorCode::parse(part).map_or_else(|| code(part), error_link)
            } else {
                linked(part)
            }
        })
        .collect()
}

fn linked(text: &str) -> String {
    let of_a_code = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word_end = rest.find(|letter| !of_a_code(letter)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_end);
        match ErrorCode::parse(word) {
            Some(code) => out.push_str(&error_link(code)),
            None => out.push_str(&escape(word)),
        }
        let gap_end = behind.find(of_a_code).unwrap_or(behind.len());
        let (gap, next) = behind.split_at(gap_end);
        out.push_str(&escape(gap));
        rest = next;
    }
    out
}

pub(super) fn error_link(code: ErrorCode) -> String {
    format!("<a href=\"/docs/errors/{code}\"><code>{code}</code></a>")
}

/// Where JSON is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Plain,
    /// Between the single quotes of a shell command.
    ShellQuotes,
}

/// JSON over several lines, in colours.
pub(super) fn json(value: &Value, within: Within) -> String {
    let mut out = String::new();
    write_json(&mut out, value, within, 0);
    out
}

fn write_json(out: &mut String, value: &Value, within: Within, depth: usize) {
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('{');
            for (place, (name, field)) in fields.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                coloured(out, "k", &Value::String(name.clone()), within);
                out.push_str(": ");
                write_json(out, field, within, depth + 1);
            }
            indent(out, depth);
            out.push('}');
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                write_json(out, item, within, depth + 1);
            }
            indent(out, depth);
            out.push(']');
        }
        Value::String(_) => coloured(out, "s", value, within),
        Value::Null | Value::Bool(_) | Value::Number(_) => coloured(out, "n", value, within),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
    }
}

fn coloured(out: &mut String, class: &str, value: &Value, within: Within) {
    let mut text = value.to_string();
    if within == Within::ShellQuotes {
        text = text.replace('\'', r"'\''");
    }
    out.push_str(&format!("<span class=\"{class}\">{}</span>", escape(&text)));
}

/// A panel of code; it can be scrolled with the keyboard, hence the tabindex.
pub(super) fn panel(title: &str, html: &str) -> String {
    let title = escape(title);
    format!(
        "<figure class=\"panel\"><figcaption>{title}</figcaption><pre tabindex=\"0\" aria-label=\"{title}\"><code>{html}</code></pre></figure>"
    )
}

/// The ids of the page: each is given once.
#[derive(Debug, Default)]
pub(super) struct Anchors(HashSet<String>);

impl Anchors {
    /// An id made of `wish`, with a number behind it when it is taken.
    pub(super) fn take(&mut self, wish: &str) -> String {
        let mut base = String::with_capacity(wish.len());
        for letter in wish.chars() {
            if letter.is_ascii_alphanumeric() || letter == '_' {
                base.push(letter);
            } else if !base.is_empty() && !base.ends_with('-') {
                base.push('-');
            }
        }
        let base = match base.trim_end_matches('-') {
            "" => "part",
            trimmed => trimmed,
        };
        let mut id = base.to_owned();
        let mut number = 2_u32;
        while !self.0.insert(id.clone()) {
            id = format!("{base}-{number}");
            number += 1;
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hostile_text_is_only_text() {
        assert_eq!(
            escape(r#"<script>alert('x')</script>"&"#),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"
        );
        assert_eq!(prose("a <b> `c<d>`"), "a &lt;b&gt; <code>c&lt;d&gt;</code>");
        assert_eq!(prose("one ` tick <"), "one ` tick &lt;");
    }

    #[test]
    fn the_names_of_errors_are_links() {
        assert_eq!(prose("`UNAVAILABLE`"), error_link(ErrorCode::Unavailable));
        assert_eq!(
            prose("INVALID_URL: no, MY_INVALID_URL é"),
            "<a href=\"/docs/errors/INVALID_URL\"><code>INVALID_URL</code></a>: no, MY_INVALID_URL é"
        );
    }

    #[test]
    fn json_survives_the_quotes_of_a_shell() {
        let shown = json(&json!({"it's": ["<b>", 1]}), Within::ShellQuotes);
        let text = shown
            .replace("<span class=\"k\">", "")
            .replace("<span class=\"s\">", "");
        assert!(text.contains(r"it&#39;\&#39;&#39;s"), "{shown}");
        assert!(text.contains("&lt;b&gt;"), "{shown}");
    }

    #[test]
    fn anchors_are_unique_and_plain() {
        let mut anchors = Anchors::default();
        assert_eq!(anchors.take("get /api/v1/jobs/{id}"), "get-api-v1-jobs-id");
        assert_eq!(
            anchors.take("get /api/v1/jobs/{id}"),
            "get-api-v1-jobs-id-2"
        );
        assert_eq!(anchors.take("\"<>"), "part");
    }
}
