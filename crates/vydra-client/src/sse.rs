//! Server-sent events, as the HTML standard parses them.

/// The longest event that is understood.
const EVENT_MOST: usize = 16 << 20;

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) data: String,
    /// The last that was said up to here.
    pub(crate) id: Option<String>,
}

/// Takes the bytes of a stream as they come, and gives its events.
#[derive(Debug)]
pub(crate) struct Parser {
    /// Of an event together.
    most: usize,
    line: Vec<u8>,
    /// A CR ends its line at once; the LF that may come with the next piece is none of its own.
    after_cr: bool,
    has_begun: bool,
    event: String,
    data: Vec<String>,
    /// How much of the event is there.
    taken: usize,
    id: Option<String>,
}

/// An event that does not end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Default for Parser {
    fn default() -> Self {
        Self::with_most(EVENT_MOST)
    }
}

impl Parser {
    fn with_most(most: usize) -> Self {
        Self {
            most,
            line: Vec::new(),
            after_cr: false,
            has_begun: false,
            event: String::new(),
            data: Vec::new(),
            taken: 0,
            id: None,
        }
    }

    /// Adds the events that are complete with this piece.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        events: &mut impl Extend<Event>,
    ) -> Result<(), TooLong> {
        for byte in piece {
            self.taken += 1;
            if self.taken > self.most {
                return Err(TooLong);
            }
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
        Ok(())
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
            self.taken = 0;
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
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.feed(piece, &mut events).unwrap();
        }
        events
            .into_iter()
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

    #[test]
    fn an_event_is_no_longer_than_what_is_understood() {
        let fed = |pieces: &[&str]| {
            let (mut parser, mut events) = (Parser::with_most(16), Vec::new());
            let mut pieces = pieces.iter();
            let fed = pieces.try_for_each(|piece| parser.feed(piece.as_bytes(), &mut events));
            (events.len(), fed)
        };
        // Each is as long as may be, and any number of them.
        assert_eq!(fed(&["data: 12345678\n\n"; 9]), (9, Ok(())));
        // A line without an end, lines without an end, and comments.
        assert_eq!(
            fed(&["data: 1\n\n", "data: 12345678901"]),
            (1, Err(TooLong))
        );
        assert_eq!(fed(&["data: 1\n"; 3]), (0, Err(TooLong)));
        assert_eq!(fed(&[": beat\n\n"; 9]), (0, Ok(())));
        assert_eq!(fed(&["id: 1234567890123\n"]), (0, Err(TooLong)));
    }
}
