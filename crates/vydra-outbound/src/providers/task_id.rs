//! The ids that providers give to tasks: pieces of paths here, and parts of names in the store.

use crate::provider::{Accepted, ErrorKind, ProviderError};
use crate::upstream::segment;

/// Theirs have a few dozen characters. What is longer is none, and would be written down with the job.
const LONGEST: usize = 512;

/// As one piece of a path; None for what is no id. One with slashes would lead elsewhere behind a proxy that decodes them.
pub(super) fn piece(id: &str) -> Option<String> {
    let piece = segment(id);
    (is_piece(&piece) && !id.contains(['/', '\\'])).then_some(piece)
}

/// Whether this may be what [`piece`] gave, and leads to no other place: dots alone do, in whatever way they are written.
pub(super) fn is_piece(piece: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'.' | b'%');
    let dots = piece.to_ascii_uppercase().replace("%2E", ".");
    piece.len() <= LONGEST && piece.bytes().all(is_plain) && !dots.trim_matches('.').is_empty()
}

/// The pieces of the name of a task that is several.
pub(super) fn pieces(list: &str, parted: char) -> Result<Vec<&str>, ProviderError> {
    let pieces: Vec<&str> = list.split(parted).collect();
    if pieces.iter().all(|piece| is_piece(piece)) {
        return Ok(pieces);
    }
    Err(not_ours())
}

/// Another version may have written such a name, or another kind of provider; nobody will ever be able to ask for its task.
pub(super) fn not_ours() -> ProviderError {
    let detail = "the name of a task is not ours";
    ProviderError::new(ErrorKind::TaskGone, Accepted::Yes, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_piece_of_a_path() {
        assert_eq!(piece("v1_Chd-7").as_deref(), Some("v1_Chd-7"));
        assert_eq!(piece("b,c#d").as_deref(), Some("b%2Cc%23d"));
        for none in ["", ".", "..", "...", "../models", "a\\b", &"x".repeat(513)] {
            assert_eq!(piece(none), None, "{none}");
        }
        assert!(piece(&"x".repeat(512)).is_some());
        for none in ["%2e%2E", "a/b", "a?b", "a b", "ß"] {
            assert!(!is_piece(none), "{none}");
        }
    }

    #[test]
    fn one_bad_piece_makes_the_name_none_of_ours() {
        assert_eq!(pieces("a,b", ',').unwrap(), ["a", "b"]);
        for name in ["", "a,", "a,..", "a,b/c"] {
            assert_eq!(
                pieces(name, ',').unwrap_err().kind,
                ErrorKind::TaskGone,
                "{name}"
            );
        }
    }
}
