//! Speech without a speech engine: plainly a stand-in, yet shaped by the text.

use super::noise::{Rng, hash};
use super::speech::{RATE, wav};
use super::{Speech, SpeechEngine, Spoken};
use std::f32::consts::TAU;

/// Two tones no melody of ours contains: whoever hears them knows that no voice follows.
const MARKER: [f32; 2] = [880.0, 660.0];
const MARKER_S: f32 = 0.16;
const SYLLABLE_S: f32 = 0.15;
/// A long text must not become hours of sound.
const MAX_SYLLABLES: usize = 800;
/// Pentatonic: no two notes of it sound wrong together.
const SCALE: [f32; 10] = [0.0, 2.0, 4.0, 7.0, 9.0, 12.0, 14.0, 16.0, 19.0, 21.0];

pub fn tones(speech: &Speech) -> Spoken {
    let mut samples = Vec::new();
    for tone in MARKER {
        note(&mut samples, tone, MARKER_S, 0.35, true);
        silence(&mut samples, 0.03);
    }
    silence(&mut samples, 0.2);
    let root = 150.0 + (hash(speech.voice) % 8) as f32 * 18.0;
    let mut rng = Rng::new(speech.seed, hash(speech.voice));
    let mut left = MAX_SYLLABLES;
    let mut degree = 4_i32;
    for word in speech.text.split_whitespace() {
        let count = syllables(word).min(left);
        left -= count;
        let mut within = Rng::new(hash(word), 5);
        for _ in 0..count {
            degree = (degree + within.below(5) as i32 - 2).clamp(0, SCALE.len() as i32 - 1);
            let pitch = root * 2.0_f32.powf(SCALE[degree as usize] / 12.0);
            let length = SYLLABLE_S * rng.range(0.85, 1.2);
            note(&mut samples, pitch, length, 0.3, false);
        }
        let pause = match word.chars().last() {
            Some('.' | '!' | '?' | ':') => 0.32,
            Some(',' | ';') => 0.18,
            _ => 0.06,
        };
        silence(&mut samples, pause);
        if left == 0 {
            break;
        }
    }
    silence(&mut samples, 0.1);
    Spoken {
        duration_ms: samples.len() as u64 * 1000 / u64::from(RATE),
        wav: wav(&samples, RATE),
        engine: SpeechEngine::Tones,
    }
}

/// Runs of vowels; a word without any, such as an emoji, counts as one.
fn syllables(word: &str) -> usize {
    let mut count = 0;
    let mut in_vowel = false;
    for letter in word.chars().flat_map(char::to_lowercase) {
        let vowel = "aeiouyäöüàáâéèêíîóôúû".contains(letter);
        count += usize::from(vowel && !in_vowel);
        in_vowel = vowel;
    }
    count.clamp(1, 12)
}

fn note(samples: &mut Vec<i16>, pitch: f32, seconds: f32, volume: f32, pure: bool) {
    let count = (seconds * RATE as f32) as usize;
    for i in 0..count {
        let at = i as f32 / RATE as f32;
        let phase = at * pitch * TAU;
        let overtones = if pure {
            0.0
        } else {
            (phase * 2.0).sin() * 0.35 + (phase * 3.0).sin() * 0.15
        };
        let attack = (at / 0.012).min(1.0);
        let release = ((seconds - at) / 0.05).clamp(0.0, 1.0);
        let value = (phase.sin() + overtones) * volume * attack * release;
        samples.push((value * 28_000.0) as i16);
    }
}

fn silence(samples: &mut Vec<i16>, seconds: f32) {
    samples.resize(samples.len() + (seconds * RATE as f32) as usize, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str) -> Spoken {
        tones(&Speech {
            text,
            voice: "alloy",
            seed: 1,
        })
    }

    #[test]
    fn more_text_sounds_longer_and_otherwise() {
        let (short, long) = (say("Hello."), say("Hello, wonderful world of tones."));
        assert!(long.duration_ms > short.duration_ms + 500);
        assert_eq!(say("Hello.").wav, short.wav);
        assert_ne!(say("Hi now.").wav, short.wav);
    }

    #[test]
    fn words_have_syllables() {
        assert_eq!(
            ["banana", "I", "🙂", "strength"].map(syllables),
            [3, 1, 1, 1]
        );
    }

    #[test]
    fn an_endless_text_ends() {
        assert!(say(&"banana ".repeat(20_000)).duration_ms < 600_000);
    }
}
