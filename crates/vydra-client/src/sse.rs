//! Server-sent events, as the HTML standard parses them.

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: String,
    /// The last that was said up to here.
    pub(crate) id: Option<String>,
}

/// Takes the bytes of a stream as they come, and gives its events.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// A CR ends its line at once; the LF that may come with the next piece is none of its own.
    after_cr: bool,
    has_begun: bool,
    event: String,
    data: Vec<String>,
    id: Option<String>,
}

impl Parser {
    /// The events that are complete with this piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in piece {
            let is_second = self.after_cr && *byte == b'\n';
            self.after_cr = *byte == b'\r';
            match byte {
                b'\n' if is_second => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.take(&line));
                }
                _ => self.line.push(*byte),
            }
        }
        events
    }

    fn take(&mut self, line: &[u8]) -> Option<Event> {
        // The standard begins with a byte order mark that may be there.
        let mark = "\u{feff}".as_bytes();
        let line = if self.has_begun {
            line
        } else {
            line.strip_prefix(mark).unwrap_or(line)
        };
        self.has_begun = true;
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then(|| Event {
                kind: if event.is_empty() {
                    "message".into()
                } else {
                    event
                },
                data: data.join("\n"),
                id: self.id.clone(),
            });
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => self.data.push(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pieces: &[&[u8]]) -> Vec<(String, String, Option<String>)> {
        let mut parser = Parser::default();
        let events = pieces.iter().flat_map(|piece| parser.feed(piece));
        events
            .map(|event| (event.kind, event.data, event.id))
            .collect()
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = "\u{feff}id: 1\r\nevent: end\r\ndata: a\r\ndata:  b\r\n\r\n: comment\rdata\r\rid: 2\n\ndata: ü\n\nevent: lost";
        let whole = parsed(&[text.as_bytes()]);
        let is = |event: &str, data: &str, id: &str| {
            (event.to_owned(), data.to_owned(), Some(id.to_owned()))
        };
        assert_eq!(
            whole,
            [
                is("end", "a\n b", "1"),
                is("message", "", "1"),
                is("message", "ü", "2")
            ]
        );
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(parsed(&bytes), whole);
    }
}
