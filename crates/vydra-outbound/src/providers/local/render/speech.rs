//! Speech through espeak-ng where it is installed, through tones where it is not.

use super::{Progress, RenderError, Speech, SpeechEngine, Spoken, report, tones};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

pub const RATE: u32 = 22_050;
/// Longer texts are cut: nobody listens to a stand-in for more than some minutes.
const MAX_CHARS: usize = 5_000;
const MAX_WAV: u64 = 64 * 1024 * 1024;
/// How long we wait between two looks at the caller's wish, and how often: a minute at most.
const STEP: Duration = Duration::from_millis(600);
const PATIENCE: u8 = 99;

/// Which program speaks; tests name one that does not exist.
#[derive(Clone, Copy, Debug)]
pub struct Espeak<'a>(pub &'a OsStr);

impl Default for Espeak<'_> {
    fn default() -> Self {
        Self(OsStr::new("espeak-ng"))
    }
}

/// Blocks until the speech is there. Never fails for want of the program.
pub fn speak(speech: &Speech, espeak: Espeak, progress: Progress) -> Result<Spoken, RenderError> {
    report(progress, 0)?;
    let text = clean(speech.text);
    let speech = Speech {
        text: &text,
        ..*speech
    };
    let spoken = match run(&speech, espeak, progress)? {
        Some(spoken) => spoken,
        None => tones::tones(&speech),
    };
    report(progress, 100)?;
    Ok(spoken)
}

/// Control characters and square brackets mean things to the engine that no text should trigger.
fn clean(text: &str) -> String {
    text.chars()
        .take(MAX_CHARS)
        .map(|letter| match letter {
            '[' | ']' => ' ',
            letter if letter.is_control() => ' ',
            letter => letter,
        })
        .collect()
}

/// `None` when the engine is missing or gives nothing usable.
fn run(speech: &Speech, espeak: Espeak, progress: Progress) -> Result<Option<Spoken>, RenderError> {
    let (pitch, speed, voice) = manner(speech);
    let started = Command::new(espeak.0)
        .args(["--stdin", "--stdout", "-b", "1", "-v", voice])
        .args(["-p", &pitch.to_string(), "-s", &speed.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        return Ok(None);
    };
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        end(&mut child);
        return Ok(None);
    };
    // Both pipes at once: the engine may speak before it has read everything, and a full pipe would block us both.
    std::thread::scope(|threads| {
        threads.spawn(move || {
            // A closed pipe shows as an empty answer, which is handled below.
            let _ = input.write_all(speech.text.as_bytes());
        });
        let (send, receive) = mpsc::channel();
        threads.spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(MAX_WAV).read_to_end(&mut bytes);
            // Nobody listens any more when we gave up.
            let _ = send.send(read.map(|_| bytes).unwrap_or_default());
        });
        let mut percent = 0;
        let heard = loop {
            match receive.recv_timeout(STEP) {
                Ok(bytes) => break Ok(from_wav(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break Ok(None),
                Err(RecvTimeoutError::Timeout) if percent >= PATIENCE => break Ok(None),
                Err(RecvTimeoutError::Timeout) => percent += 1,
            }
            if let Err(stopped) = report(progress, percent) {
                break Err(stopped);
            }
        };
        // Whatever it still has to say goes nowhere; its end also frees both threads.
        end(&mut child);
        heard
    })
}

fn end(child: &mut Child) {
    // It may have ended by itself; what counts is that it is collected.
    let _ = child.kill();
    let _ = child.wait();
}

/// A voice name is the operator's, not espeak's: it picks a manner of speaking, and never reaches the command line.
fn manner(speech: &Speech) -> (u64, u64, &'static str) {
    const VOICES: [&str; 6] = [
        "en-us", "en-us+f3", "en-gb", "en-us+m3", "en-gb+f2", "en-us+m7",
    ];
    let h = super::noise::hash(speech.voice);
    let voice = VOICES[(h % VOICES.len() as u64) as usize];
    (38 + (h >> 8) % 25, 155 + (h >> 16) % 20, voice)
}

/// The engine streams, so the lengths in its header are made up; only the format and the samples are taken.
fn from_wav(bytes: &[u8]) -> Option<Spoken> {
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let mono_16_bit =
        bytes.get(20..24) == Some(&[1, 0, 1, 0]) && bytes.get(34..36) == Some(&[16, 0]);
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(36..40) != Some(b"data") || !mono_16_bit {
        return None;
    }
    let rate = number(24).filter(|rate| (8_000..=48_000).contains(rate))?;
    let samples: Vec<i16> = bytes
        .get(44..)?
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    if samples.is_empty() {
        return None;
    }
    Some(Spoken {
        duration_ms: samples.len() as u64 * 1000 / u64::from(rate),
        wav: wav(&samples, rate),
        engine: SpeechEngine::EspeakNg,
    })
}

/// 16-bit mono.
pub fn wav(samples: &[i16], rate: u32) -> Vec<u8> {
    let length = samples.len() as u32 * 2;
    let mut bytes = Vec::with_capacity(44 + samples.len() * 2);
    bytes.extend(b"RIFF");
    bytes.extend((length + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: &str = "/nonexistent/espeak-ng";

    fn say(text: &str, program: &str) -> Spoken {
        let speech = Speech {
            text,
            voice: "--version",
            seed: 3,
        };
        speak(&speech, Espeak(OsStr::new(program)), &|_| true).unwrap()
    }

    fn assert_valid(spoken: &Spoken) {
        let wav = &spoken.wav;
        let number = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
        assert_eq!((&wav[..4], &wav[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!(number(4) as usize, wav.len() - 8);
        assert_eq!(number(40) as usize, wav.len() - 44);
        let ms = u64::from(number(40)) / 2 * 1000 / u64::from(number(24));
        assert_eq!(ms, spoken.duration_ms);
        assert!(wav[44..].iter().any(|byte| *byte != 0));
    }

    #[test]
    fn without_the_program_there_are_tones() {
        let spoken = say("Good morning, world.", NOWHERE);
        assert_eq!(spoken.engine, SpeechEngine::Tones);
        assert_valid(&spoken);
    }

    #[test]
    fn a_program_that_says_nothing_useful_means_tones() {
        for program in ["true", "false", "yes"] {
            let spoken = say("Hello", program);
            assert_eq!(spoken.engine, SpeechEngine::Tones, "{program}");
        }
    }

    #[test]
    fn hostile_texts_are_spoken() {
        let long = "word ".repeat(1_000);
        for text in [
            "-w /tmp/x --help",
            "nul\0 byte",
            "🙂🙂",
            "",
            "[[h@'loU]] <speak>",
            &long,
        ] {
            for program in [NOWHERE, "espeak-ng"] {
                let text = if program == NOWHERE {
                    text
                } else {
                    &text[..text.len().min(60)]
                };
                assert_valid(&say(text, program));
            }
        }
    }

    #[test]
    fn a_caller_who_stops_is_obeyed() {
        let speech = Speech {
            text: "never heard",
            voice: "",
            seed: 0,
        };
        let spoken = speak(&speech, Espeak(OsStr::new("sleep")), &|_| false);
        assert!(matches!(spoken, Err(RenderError::Cancelled)));
    }
}
