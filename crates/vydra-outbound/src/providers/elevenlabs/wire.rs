//! What ElevenLabs says in JSON, and how its raw sound becomes a file.

use serde::Deserialize;
use serde_json::Value;

/// 16 bits, one channel.
const SAMPLE: u32 = 2;
/// Of a header without extras.
const HEADER: u32 = 44;
/// No sound has more samples a second.
const FASTEST: u32 = 192_000;

/// How the answer's bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    File,
    /// Samples without a header, so many a second.
    Raw(u32),
}

impl Shape {
    /// None for a format that no file has: it would be paid for in vain.
    pub(super) fn of(format: &str) -> Option<Self> {
        let (codec, rest) = format.split_once('_')?;
        match codec {
            "ulaw" | "alaw" => None,
            "pcm" => {
                let rate = rest.parse().ok()?;
                (1..=FASTEST).contains(&rate).then_some(Self::Raw(rate))
            }
            _ => Some(Self::File),
        }
    }
}

/// A WAV file of these samples, and how long it sounds.
pub(super) fn wav(samples: &[u8], rate: u32) -> Option<(Vec<u8>, u64)> {
    let length = u32::try_from(samples.len()).ok()? / SAMPLE * SAMPLE;
    let samples = samples.get(..usize::try_from(length).ok()?)?;
    let mut file = Vec::with_capacity(samples.len() + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&length.checked_add(HEADER - 8)?.to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    // PCM, one channel.
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&rate.checked_mul(SAMPLE)?.to_le_bytes());
    file.extend_from_slice(&[2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(samples);
    let duration_ms = u64::from(length / SAMPLE) * 1000 / u64::from(rate.max(1));
    Some((file, duration_ms))
}

/// The code of an error: empty where there is only a text, None where the body is no error of theirs.
pub(super) fn code(body: &Value) -> Option<&str> {
    let code = match body.get("detail")? {
        Value::String(_) => None,
        Value::Array(list) => list.first().and_then(|error| error.get("type")),
        detail => detail.get("status"),
    };
    Some(code.and_then(Value::as_str).unwrap_or_default())
}

#[derive(Debug, Deserialize)]
pub(super) struct Subscription {
    pub(super) character_count: u64,
    pub(super) character_limit: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub(super) model_id: String,
    #[serde(default = "yes")]
    pub(super) can_do_text_to_speech: bool,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_a_file_that_says_what_they_are() {
        let (file, duration_ms) = wav(&[1, 2, 3, 4, 5], 16_000).unwrap();
        assert_eq!(
            file,
            [
                b"RIFF".as_slice(),
                &40_u32.to_le_bytes(),
                b"WAVEfmt ",
                &[16, 0, 0, 0, 1, 0, 1, 0],
                &16_000_u32.to_le_bytes(),
                &32_000_u32.to_le_bytes(),
                &[2, 0, 16, 0],
                b"data",
                &[4, 0, 0, 0, 1, 2, 3, 4],
            ]
            .concat()
        );
        assert_eq!(duration_ms, 0);
        assert_eq!(wav(&vec![0; 48_000], 16_000).unwrap().1, 1_500);
    }

    #[test]
    fn only_what_becomes_a_file_is_asked_for() {
        for (format, shape) in [
            ("mp3_44100_128", Some(Shape::File)),
            ("opus_48000_64", Some(Shape::File)),
            ("wav_44100", Some(Shape::File)),
            ("pcm_24000", Some(Shape::Raw(24_000))),
            ("pcm_0", None),
            ("pcm_99999999", None),
            ("pcm_x", None),
            ("ulaw_8000", None),
            ("alaw_8000", None),
            ("mp3", None),
            ("", None),
        ] {
            assert_eq!(Shape::of(format), shape, "{format}");
        }
    }
}
