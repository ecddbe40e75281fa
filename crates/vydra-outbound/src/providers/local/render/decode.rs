//! Images from outside: recognised by their first bytes, decoded within limits.

use super::RenderError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use std::io::Cursor;

const MAX_SIDE: u32 = 8192;
const MAX_PIXELS: u64 = 40_000_000;

/// Media type, width and height, from the header alone; `None` for anything that is not one of our four formats.
pub fn probe(bytes: &[u8]) -> Option<(&'static str, u32, u32)> {
    let (width, height) = match format(bytes)? {
        ImageFormat::Png => (be32(bytes, 16)?, be32(bytes, 20)?),
        ImageFormat::Gif => (le16(bytes, 6)?, le16(bytes, 8)?),
        ImageFormat::WebP => webp_size(bytes)?,
        _ => jpeg_size(bytes)?,
    };
    (width > 0 && height > 0).then_some((format(bytes)?.to_mime_type(), width, height))
}

fn format(bytes: &[u8]) -> Option<ImageFormat> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(ImageFormat::Png),
        [0xff, 0xd8, 0xff, ..] => Some(ImageFormat::Jpeg),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(ImageFormat::Gif),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some(ImageFormat::WebP),
        _ => None,
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(u32::from_be_bytes)
}

fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(|pair| u32::from(u16::from_be_bytes(pair)))
}

fn le16(bytes: &[u8], at: usize) -> Option<u32> {
    take(bytes, at).map(|pair| u32::from(u16::from_le_bytes(pair)))
}

fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    take::<3>(bytes, at).map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
}

fn webp_size(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8X" => Some((le24(bytes, 24)? + 1, le24(bytes, 27)? + 1)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(take(bytes, 21)?);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8 " => Some((le16(bytes, 26)? & 0x3fff, le16(bytes, 28)? & 0x3fff)),
        _ => None,
    }
}

fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        while *bytes.get(at)? != 0xff {
            at += 1;
        }
        while *bytes.get(at)? == 0xff {
            at += 1;
        }
        let marker = *bytes.get(at)?;
        at += 1;
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => return Some((be16(bytes, at + 5)?, be16(bytes, at + 3)?)),
            0xd9 | 0xda => return None,
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        at += be16(bytes, at)? as usize;
    }
}

fn unreadable(reason: &impl ToString) -> RenderError {
    RenderError::UnreadableImage(reason.to_string())
}

/// Refuses what claims to be too large before anything is allocated for it.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, RenderError> {
    let format = format(bytes).ok_or_else(|| unreadable(&"not a PNG, JPEG, WebP or GIF image"))?;
    let (_, width, height) = probe(bytes).ok_or_else(|| unreadable(&"the header is damaged"))?;
    let pixels = u64::from(width) * u64::from(height);
    if width > MAX_SIDE || height > MAX_SIDE || pixels > MAX_PIXELS {
        return Err(RenderError::TooLarge);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(pixels * 4 + 16 * 1024 * 1024);

    // Decoders are other people's code fed with strangers' bytes: a panic in one is a bad image, not our end.
    let decoded = std::panic::catch_unwind(|| {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits);
        let mut decoder = reader.into_decoder()?;
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
    fn every_format_is_probed_and_decoded() {
        for format in FORMATS {
            let bytes = sample(format);
            assert_eq!(probe(&bytes), Some((format.to_mime_type(), 40, 24)));
            assert_eq!(decode(&bytes).unwrap().dimensions(), (40, 24));
        }
    }

    #[test]
    fn no_prefix_of_an_image_panics() {
        for format in FORMATS {
            let bytes = sample(format);
            for length in 0..bytes.len().min(120) {
                probe(&bytes[..length]);
                if format != ImageFormat::Jpeg {
                    assert!(decode(&bytes[..length]).is_err(), "{format:?} {length}");
                }
            }
        }
        assert_eq!(probe(b"<svg/>"), None);
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
