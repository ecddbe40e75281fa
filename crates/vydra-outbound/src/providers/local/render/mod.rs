//! Pictures, films and speech without a model: procedural art steered by the words of a prompt.
//!
//! Everything is pure: equal input gives equal bytes. There is no IO but one child process for speech, no clock, no
//! environment. To teach it another word, see `brief.rs`; another kind of picture is one more file in `scene/`.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::many_single_char_names,
    reason = "pixel arithmetic"
)]
#![expect(
    unreachable_pub,
    reason = "the modules below are private: what leaves them is re-exported here"
)]

mod brief;
mod canvas;
mod colour;
mod cutout;
mod decode;
mod edit;
mod encode;
mod figure;
mod film;
mod journey;
mod mp4;
mod noise;
mod outline;
mod palette;
mod scene;
mod speech;
mod style;
mod timelapse;
mod tones;

pub(crate) use decode::decode;
pub use edit::edit;
pub use film::{FRAMES_PER_SECOND, film};
pub use speech::{Espeak, speak};
pub use timelapse::timelapse;

/// Called with 0..=100 as work goes on; returns false when the caller wants us to stop.
pub type Progress<'a> = &'a (dyn Fn(u8) -> bool + Sync);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureFormat {
    Png,
    Jpeg,
    Webp,
}

#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pub prompt: &'a str,
    pub seed: u64,
    pub size: Size,
    pub format: PictureFormat,
}

#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    pub prompt: &'a str,
    pub seed: u64,
    /// `None` keeps the shape of the first source.
    pub size: Option<Size>,
    pub format: PictureFormat,
    /// Encoded images: the first is the base, the others are laid into it.
    pub sources: &'a [&'a [u8]],
}

#[derive(Clone, Copy, Debug)]
pub struct Film<'a> {
    pub prompt: &'a str,
    pub seed: u64,
    pub size: Size,
    pub seconds: f32,
    /// An encoded image the film starts from.
    pub start: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug)]
pub struct Timelapse<'a> {
    /// Encoded images, in their order.
    pub pictures: &'a [&'a [u8]],
    /// How long each is shown, its fade into the next included.
    pub seconds: f32,
    /// The film has the shape of the first picture.
    pub long_side: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct Speech<'a> {
    pub text: &'a str,
    pub voice: &'a str,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeechEngine {
    EspeakNg,
    /// No words: a melody with one note a syllable, after a two-tone marker.
    Tones,
}

#[derive(Clone, Debug)]
pub struct Spoken {
    pub wav: Vec<u8>,
    pub duration_ms: u64,
    pub engine: SpeechEngine,
}

#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("the caller stopped the work")]
    Cancelled,
    #[error("an image cannot be read: {0}")]
    UnreadableImage(String),
    #[error("the image is too large")]
    TooLarge,
    #[error("the result cannot be encoded: {0}")]
    Encode(String),
}

const MAX_SIDE: u32 = 8192;
const MAX_PIXELS: u64 = 40_000_000;
/// Below this a scene has no room for anything.
const MIN_SIDE: u32 = 16;

impl Size {
    /// The size really drawn, or a refusal.
    fn checked(self) -> Result<Self, RenderError> {
        let size = Self {
            width: self.width.max(MIN_SIDE),
            height: self.height.max(MIN_SIDE),
        };
        let pixels = u64::from(size.width) * u64::from(size.height);
        if size.width > MAX_SIDE || size.height > MAX_SIDE || pixels > MAX_PIXELS {
            return Err(RenderError::TooLarge);
        }
        Ok(size)
    }
}

/// A size of the given shape: both sides multiples of eight, the ratio within one percent.
pub fn size_for(aspect_ratio: &str, long_side: u32) -> Option<Size> {
    let (across, down) = match aspect_ratio {
        "1:1" => (1, 1),
        "2:3" => (2, 3),
        "3:2" => (3, 2),
        "3:4" => (3, 4),
        "4:3" => (4, 3),
        "4:5" => (4, 5),
        "5:4" => (5, 4),
        "9:16" => (9, 16),
        "16:9" => (16, 9),
        "21:9" => (21, 9),
        _ => return None,
    };
    if !(64..=MAX_SIDE).contains(&long_side) {
        return None;
    }
    let (long, short) = (across.max(down), across.min(down));
    let ideal = f64::from(long) / f64::from(short);
    // Small sizes leave few choices: look around for a long side whose partner fits.
    let fitting = |units: u32| {
        let side = units * 8;
        let other = ((f64::from(side) / ideal / 8.0).round() as u32).max(1) * 8;
        let error = (f64::from(side) / f64::from(other) / ideal - 1.0).abs();
        (error <= 0.01).then_some((side, other))
    };
    let units = long_side / 8;
    let (side, other) = (0..=units).find_map(|step| {
        fitting(units - step)
            .filter(|_| step < units)
            .or_else(|| fitting(units + step))
    })?;
    Some(if across >= down {
        Size {
            width: side,
            height: other,
        }
    } else {
        Size {
            width: other,
            height: side,
        }
    })
}

fn report(progress: Progress, percent: u8) -> Result<(), RenderError> {
    if progress(percent) {
        Ok(())
    } else {
        Err(RenderError::Cancelled)
    }
}

/// A picture of the prompt.
pub fn draw(picture: &Picture, progress: Progress) -> Result<Vec<u8>, RenderError> {
    let size = picture.size.checked()?;
    report(progress, 0)?;
    let brief = brief::Brief::of(picture.prompt, picture.seed);
    let scene = scene::compose(&brief, size);
    report(progress, 30)?;
    let mut canvas = canvas::Canvas::new(size);
    scene.paint(&mut canvas, 0.0);
    report(progress, 65)?;
    style::apply(&brief, &mut canvas);
    let pixels = canvas.bytes(&style::finish(&brief));
    report(progress, 80)?;
    let bytes = encode::picture(&pixels, size, picture.format)?;
    report(progress, 100)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
