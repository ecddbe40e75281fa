//! Several pictures joined into a film: each stands still, then fades into the next.

use super::canvas::{Canvas, Finish};
use super::colour::{Rgb, mix, smoothstep};
use super::film::{FRAMES_PER_SECOND, Hand, even, frame_count, shoot};
use super::scene::Scene;
use super::{Progress, RenderError, Size, Timelapse, decode, edit, report};
use image::RgbImage;

/// Of the time of a picture; the fade belongs to the one that goes.
const FADE_SHARE: f32 = 0.4;
const LONGEST_FADE_SECONDS: f32 = 1.0;

/// A strip of a few pixels is no film.
const SHORTEST_SIDE: u32 = 64;

struct Stages {
    /// As 8-bit pixels: a dozen of them in floats would take four times as much.
    pictures: Vec<Vec<[u8; 3]>>,
    seconds: f32,
}

/// An H.264 MP4 of `pictures · seconds`, and how many milliseconds it lasts. Pictures of another shape are cut to the film's, around their middle.
pub fn timelapse(wanted: &Timelapse, progress: Progress) -> Result<(Vec<u8>, u64), RenderError> {
    report(progress, 0)?;
    let (first, others) = wanted
        .pictures
        .split_first()
        .ok_or_else(|| RenderError::UnreadableImage("there is none".into()))?;
    let first = decode::decode(first)?;
    let size = even(size_of(&first, wanted.long_side))?;
    let mut pictures = vec![fitted(&first, size)];
    drop(first);
    for bytes in others {
        // Reading is a small part of the work; what counts is that it can be stopped.
        report(progress, 1)?;
        pictures.push(fitted(&decode::decode(bytes)?, size));
    }
    let frames = frame_count(wanted.seconds * pictures.len() as f32);
    let stages = Stages {
        pictures,
        seconds: wanted.seconds,
    };
    let plain = Hand {
        style: None,
        finish: Finish {
            vignette: 0.0,
            grain: 0.0,
            saturation: 1.0,
            contrast: 1.0,
        },
    };
    let film = shoot(&stages, &plain, size, frames, progress)?;
    let duration_ms = u64::from(frames) * 1_000 / u64::from(FRAMES_PER_SECOND);
    Ok((film, duration_ms))
}

/// The picture's shape on this long side.
fn size_of(picture: &RgbImage, long_side: u32) -> Size {
    let (width, height) = picture.dimensions();
    let scale = f64::from(long_side) / f64::from(width.max(height));
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(SHORTEST_SIDE);
    Size {
        width: scaled(width),
        height: scaled(height),
    }
}

fn fitted(picture: &RgbImage, size: Size) -> Vec<[u8; 3]> {
    let canvas = edit::cover(picture, size);
    canvas
        .pixels
        .iter()
        .map(|pixel| pixel.map(to_byte))
        .collect()
}

fn to_byte(part: f32) -> u8 {
    // The cast saturates, which is the clamp we want.
    (part * 255.0 + 0.5) as u8
}

fn to_part(pixel: [u8; 3]) -> Rgb {
    pixel.map(|byte| f32::from(byte) / 255.0)
}

impl Scene for Stages {
    fn paint(&self, canvas: &mut Canvas, t: f32) {
        let last = self.pictures.len() - 1;
        let place = ((t / self.seconds) as usize).min(last);
        let fade = (self.seconds * FADE_SHARE).min(LONGEST_FADE_SECONDS);
        let end = (place + 1) as f32 * self.seconds;
        let way = if place == last {
            0.0
        } else {
            smoothstep(end - fade, end, t)
        };
        let (now, next) = (&self.pictures[place], &self.pictures[(place + 1).min(last)]);
        for ((to, now), next) in canvas.pixels.iter_mut().zip(now).zip(next) {
            *to = if way > 0.0 {
                mix(to_part(*now), to_part(*next), way)
            } else {
                to_part(*now)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::film::tests::{distance, frames_of};
    use super::*;
    use image::ImageFormat;
    use std::io::Cursor;
    use std::sync::atomic::{AtomicU8, Ordering};

    const RED: [u8; 3] = [200, 30, 30];
    const GREEN: [u8; 3] = [30, 160, 60];
    const BLUE: [u8; 3] = [40, 60, 200];

    fn plain(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
        let image = RgbImage::from_pixel(width, height, image::Rgb(colour));
        let mut bytes = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        bytes
    }

    fn join(pictures: &[Vec<u8>], seconds: f32) -> Vec<u8> {
        let pictures: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
        let wanted = Timelapse {
            pictures: &pictures,
            seconds,
            long_side: 192,
        };
        let (film, duration_ms) = timelapse(&wanted, &|_| true).unwrap();
        let expected = seconds * pictures.len() as f32 * 1_000.0;
        assert_eq!(duration_ms, expected as u64);
        film
    }

    /// The decoder of these tests takes the colours for those of standard definition.
    fn is_near(frame: &[u8], colour: [u8; 3]) -> bool {
        let all: Vec<u8> = colour.repeat(frame.len() / 3);
        distance(frame, &all) < 25.0
    }

    /// Pictures of any shape fill the film, which has the shape of the first.
    #[test]
    fn each_picture_stands_and_fades_into_the_next() {
        let pictures = [
            plain(320, 180, RED),
            plain(90, 300, GREEN),
            plain(700, 100, BLUE),
        ];
        let film = join(&pictures, 1.0);
        assert_eq!(film, join(&pictures, 1.0), "the same each time");
        let frames = frames_of(&film, (192, 108));
        assert_eq!(frames.len(), 72);
        for (place, colour) in [
            (0, RED),
            (13, RED),
            (25, GREEN),
            (37, GREEN),
            (49, BLUE),
            (71, BLUE),
        ] {
            assert!(is_near(&frames[place], colour), "{place}");
        }
        // Half-way through a fade it is neither.
        assert!(!is_near(&frames[19], RED) && !is_near(&frames[19], GREEN));
        // No jump, and no way back.
        for pair in frames.windows(2) {
            assert!(distance(&pair[0], &pair[1]) < 25.0);
        }
    }

    #[test]
    fn it_tells_its_progress_and_can_be_stopped() {
        let (one, other) = (plain(64, 64, RED), plain(64, 64, BLUE));
        let wanted = Timelapse {
            pictures: &[&one, &other],
            seconds: 1.0,
            long_side: 64,
        };
        let highest = AtomicU8::new(0);
        timelapse(&wanted, &|percent| {
            assert!(highest.swap(percent, Ordering::Relaxed) <= percent);
            true
        })
        .unwrap();
        assert_eq!(highest.into_inner(), 100);
        for limit in [0, 1, 50] {
            let stopped = timelapse(&wanted, &|percent| percent < limit);
            assert!(matches!(stopped, Err(RenderError::Cancelled)), "{limit}");
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let good = plain(64, 64, RED);
        let lists: [&[&[u8]]; 3] = [&[], &[b"GIF89a"], &[&good, b"words"]];
        for pictures in lists {
            let wanted = Timelapse {
                pictures,
                seconds: 1.0,
                long_side: 64,
            };
            let refused = timelapse(&wanted, &|_| true);
            assert!(matches!(refused, Err(RenderError::UnreadableImage(_))));
        }
    }
}
