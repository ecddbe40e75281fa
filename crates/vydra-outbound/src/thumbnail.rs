//! Small pictures of stored files. Pure: bytes in, bytes out, and None for whatever cannot be read.
//!
//! Memory: the pixels of the largest picture that is taken, twice, and no more of a film than its first picture.

use crate::poster;
use crate::providers::local::render::decode;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};

/// What every thumbnail is.
pub const MEDIA_TYPE: &str = "image/jpeg";
/// What the key of one has behind that of its file.
pub const SUFFIX: &str = ".thumb.jpg";
/// The longest side.
pub const SIDE: u32 = 512;
/// Larger files are not read for it.
pub const MAX_BYTES: u64 = 64 * 1_024 * 1_024;
const QUALITY: u8 = 80;

/// Of an image, or of the first picture of an MP4. Blocks for as long as it takes to decode it.
pub fn of(file: &[u8], media_type: &str) -> Option<Vec<u8>> {
    let picture = match media_type {
        "image/png" | "image/jpeg" | "image/webp" | "image/gif" => decode(file).ok()?,
        "video/mp4" => poster::of(file)?,
        _ => return None,
    };
    encode(&shrink(picture))
}

/// Whether there is any use in trying.
pub fn is_possible(media_type: &str, bytes: u64) -> bool {
    bytes <= MAX_BYTES
        && matches!(
            media_type,
            "image/png" | "image/jpeg" | "image/webp" | "image/gif" | "video/mp4"
        )
}

/// Never larger than it was.
fn shrink(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    if longest <= SIDE {
        return picture;
    }
    let side = |side: u32| {
        let scaled = u64::from(side) * u64::from(SIDE) / u64::from(longest);
        u32::try_from(scaled).unwrap_or(SIDE).max(1)
    };
    image::imageops::thumbnail(&picture, side(width), side(height))
}

fn encode(picture: &RgbImage) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = picture.dimensions();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .write_image(picture, width, height, ExtendedColorType::Rgb8)
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::local::render::{Film, Picture, PictureFormat, Size, draw, film};
    use image::ImageFormat;

    const TALL: Size = Size {
        width: 640,
        height: 1_280,
    };

    fn size_of(thumbnail: &[u8]) -> (u32, u32) {
        let picture = image::load_from_memory_with_format(thumbnail, ImageFormat::Jpeg);
        let picture = picture.unwrap();
        (picture.width(), picture.height())
    }

    fn picture(size: Size, format: PictureFormat) -> Vec<u8> {
        let wanted = Picture {
            prompt: "a red fox in snow",
            seed: 1,
            size,
            format,
        };
        draw(&wanted, &|_| true).unwrap()
    }

    #[test]
    fn images_become_small_and_keep_their_shape() {
        for (format, media_type) in [
            (PictureFormat::Png, "image/png"),
            (PictureFormat::Jpeg, "image/jpeg"),
            (PictureFormat::Webp, "image/webp"),
        ] {
            let thumbnail = of(&picture(TALL, format), media_type).unwrap();
            assert_eq!(size_of(&thumbnail), (256, 512), "{media_type}");
            assert!(thumbnail.len() < 100_000, "{}", thumbnail.len());
        }
        let small = Size {
            width: 64,
            height: 48,
        };
        let thumbnail = of(&picture(small, PictureFormat::Png), "image/png").unwrap();
        assert_eq!(size_of(&thumbnail), (64, 48), "never larger");
    }

    #[test]
    fn a_film_is_shown_by_its_first_picture() {
        let size = Size {
            width: 640,
            height: 360,
        };
        let wanted = Film {
            prompt: "waves under a full moon",
            seed: 1,
            size,
            seconds: 0.5,
            start: None,
        };
        let file = film(&wanted, &|_| true).unwrap();
        let thumbnail = of(&file, "video/mp4").unwrap();
        assert_eq!(size_of(&thumbnail), (512, 288));
        // It is a picture of something, and not of nothing.
        let picture = image::load_from_memory(&thumbnail).unwrap().to_luma8();
        let (darkest, brightest) = (picture.iter().min(), picture.iter().max());
        assert!(brightest.unwrap() - darkest.unwrap() > 50);
    }

    #[test]
    fn what_cannot_be_read_has_none() {
        let mut bomb = picture(TALL, PictureFormat::Png);
        bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        for (file, media_type) in [
            (&bomb[..], "image/png"),
            (b"\x89PNG\r\n\x1a\n", "image/png"),
            (b"", "video/mp4"),
            (b"RIFF", "audio/wav"),
            (b"<svg/>", "image/svg+xml"),
        ] {
            assert_eq!(of(file, media_type), None, "{media_type}");
        }
        assert!(!is_possible("audio/wav", 1) && !is_possible("image/png", MAX_BYTES + 1));
    }
}
