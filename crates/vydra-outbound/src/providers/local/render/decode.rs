//! Images from outside: recognised by their first bytes, decoded within limits.

use super::RenderError;
use crate::sniff::sniff;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;

const MAX_SIDE: u32 = 8192;
const MAX_PIXELS: u64 = 40_000_000;
/// For rows, tables and colour profiles: some megabytes of these become as many hundred if they are let.
const BESIDES_PIXELS: u64 = 4 * 1024 * 1024;

fn unreadable(reason: &impl ToString) -> RenderError {
    RenderError::UnreadableImage(reason.to_string())
}

/// Refuses what claims to be too large before anything is allocated for it.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, RenderError> {
    let found = sniff(bytes);
    let format = found
        .and_then(|found| ImageFormat::from_mime_type(found.media_type))
        .ok_or_else(|| unreadable(&"not a PNG, JPEG, WebP or GIF image"))?;
    let (width, height) = found
        .and_then(|found| found.dimensions)
        .ok_or_else(|| unreadable(&"the header is damaged"))?;
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(RenderError::TooLarge);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(pixels * 4 + BESIDES_PIXELS);

    // Decoders are other people's code fed with strangers' bytes: a panic in one is a bad image, not our end.
    let decoded = std::panic::catch_unwind(move || {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder()?;
        // The decoder counts only what it needs besides the pixels, which may have twice as many bits as ours.
        limits.reserve(decoder.total_bytes())?;
        let orientation = decoder.orientation()?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok::<_, image::ImageError>(image)
    });
    match decoded {
        Ok(Ok(image)) => Ok(flatten(&image)),
        Ok(Err(image::ImageError::Limits(_))) => Err(RenderError::TooLarge),
        Ok(Err(error)) => Err(unreadable(&error)),
        Err(_) => Err(unreadable(&"the decoder gave up")),
    }
}

/// Transparent parts become white, as a sheet of paper would show them.
fn flatten(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let rgba = image.to_rgba8();
    let mut flat = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in flat.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, a] = from.0.map(u16::from);
        to.0 = [r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8);
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(format: ImageFormat) -> Vec<u8> {
        let image = RgbImage::from_fn(40, 24, |x, y| image::Rgb([x as u8 * 6, y as u8 * 10, 90]));
        let mut bytes = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut bytes), format)
            .unwrap();
        bytes
    }

    const FORMATS: [ImageFormat; 4] = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ];

    #[test]
    fn every_format_is_decoded() {
        for format in FORMATS {
            let bytes = sample(format);
            assert_eq!(decode(&bytes).unwrap().dimensions(), (40, 24));
        }
    }

    #[test]
    fn no_prefix_of_an_image_panics() {
        for format in FORMATS {
            let bytes = sample(format);
            for length in 0..bytes.len().min(120) {
                if format != ImageFormat::Jpeg {
                    assert!(decode(&bytes[..length]).is_err(), "{format:?} {length}");
                }
            }
        }
        assert!(decode(b"<svg/>").is_err());
    }

    #[test]
    fn a_bomb_is_refused_by_its_header() {
        let mut bytes = sample(ImageFormat::Png);
        bytes[16..20].copy_from_slice(&30_000_u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&30_000_u32.to_be_bytes());
        assert!(matches!(decode(&bytes), Err(RenderError::TooLarge)));
        let mut truncated = sample(ImageFormat::Png);
        truncated.truncate(60);
        assert!(matches!(
            decode(&truncated),
            Err(RenderError::UnreadableImage(_))
        ));
    }

    #[test]
    fn more_bits_than_there_is_room_for_are_too_large() {
        let deep = image::ImageBuffer::<image::Rgba<u16>, _>::new(2_400, 2_400);
        let mut bytes = Vec::new();
        deep.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        assert!(matches!(decode(&bytes), Err(RenderError::TooLarge)));
    }

    #[test]
    fn orientation_is_applied() {
        let jpeg = sample(ImageFormat::Jpeg);
        let mut exif =
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let mut turned = jpeg[..2].to_vec();
        turned.extend([0xff, 0xe1]);
        turned.extend((exif.len() as u16 + 2).to_be_bytes());
        turned.append(&mut exif);
        turned.extend(&jpeg[2..]);
        assert_eq!(decode(&turned).unwrap().dimensions(), (24, 40));
    }

    #[test]
    fn transparency_becomes_paper() {
        let clear = image::RgbaImage::new(4, 4);
        let mut bytes = Vec::new();
        clear
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        assert_eq!(decode(&bytes).unwrap().get_pixel(1, 1).0, [255; 3]);
    }
}
