//! The first picture of an MP4 in H.264. Anything else, and whatever is not sound, has none.
//!
//! Of the file only its index and one sample are looked at. Every length is checked against what is there, and the size of the
//! picture, as the stream itself tells it, before the decoder sees any of it.

use image::RgbImage;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;

/// What level 5.1 takes.
const MAX_SIDE: u32 = 4_096;
const MAX_PIXELS: u64 = 3_840 * 2_160;

pub(crate) fn of(file: &[u8]) -> Option<RgbImage> {
    let stream = first_picture(file)?;
    // Other people's code fed with strangers' bytes.
    std::panic::catch_unwind(|| decode(&stream)).ok()?
}

fn decode(stream: &[u8]) -> Option<RgbImage> {
    let mut decoder = Decoder::new().ok()?;
    let picture = decoder.decode(stream).ok()??;
    let (width, height) = picture.dimensions();
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    if !is_bearable(width, height) {
        return None;
    }
    let mut pixels = RgbImage::new(width, height);
    picture.write_rgb8(&mut pixels);
    Some(pixels)
}

fn is_bearable(width: u32, height: u32) -> bool {
    (1..=MAX_SIDE).contains(&width)
        && (1..=MAX_SIDE).contains(&height)
        && u64::from(width) * u64::from(height) <= MAX_PIXELS
}

/// Parameter sets and the first sample, as a stream with start codes.
fn first_picture(file: &[u8]) -> Option<Vec<u8>> {
    let movie = child(file, *b"moov")?;
    let samples = children(movie)
        .filter(|(name, _)| *name == b"trak")
        .filter_map(|(_, track)| child(track, *b"mdia"))
        .filter(|media| {
            child(media, *b"hdlr").and_then(|handler| handler.get(8..12)) == Some(b"vide")
        })
        .find_map(|media| child(child(media, *b"minf")?, *b"stbl"))?;
    let entry = child(child(samples, *b"stsd")?.get(8..)?, *b"avc1")?;
    let configuration = child(entry.get(78..)?, *b"avcC")?;
    let (sets, length_size) = parameter_sets(configuration)?;
    let (width, height) = sets.iter().find_map(|set| sps::dimensions(set))?;
    if !is_bearable(width, height) {
        return None;
    }
    let mut stream = Vec::new();
    for set in sets {
        push(&mut stream, set);
    }
    let mut sample = first_sample(file, samples)?;
    while !sample.is_empty() {
        let (length, rest) = sample.split_at_checked(length_size)?;
        let length = length
            .iter()
            .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        // Parameter sets in the stream itself could tell of another size.
        if !matches!(unit.first().map(|byte| byte & 0x1f), Some(7 | 8) | None) {
            push(&mut stream, unit);
        }
        sample = rest;
    }
    Some(stream)
}

fn push(stream: &mut Vec<u8>, unit: &[u8]) {
    stream.extend([0, 0, 0, 1]);
    stream.extend(unit);
}

/// Where the first chunk begins, and how long its first sample is.
fn first_sample<'a>(file: &'a [u8], samples: &[u8]) -> Option<&'a [u8]> {
    let sizes = child(samples, *b"stsz")?;
    let size = match be32(sizes, 4)? {
        0 => be32(sizes, 12)?,
        all => all,
    };
    let start = match child(samples, *b"stco") {
        Some(offsets) => u64::from(be32(offsets, 8)?),
        None => u64::from_be_bytes(*child(samples, *b"co64")?.get(8..)?.first_chunk()?),
    };
    let start = usize::try_from(start).ok()?;
    file.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

/// The units of the configuration record, and how many bytes stand before each unit of a sample.
fn parameter_sets(record: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let length_size = usize::from(record.get(4)? & 3) + 1;
    let mut sets = Vec::new();
    let mut rest = record.get(5..)?;
    for mask in [0x1f, 0xff] {
        let (count, behind) = rest.split_first()?;
        rest = behind;
        for _ in 0..count & mask {
            let (length, behind) = rest.split_at_checked(2)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let (set, behind) = behind.split_at_checked(length)?;
            sets.push(set);
            rest = behind;
        }
    }
    Some((sets, length_size))
}

/// Each box: its name and what is in it. Ends where the bytes are not boxes any more.
fn children(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let name = bytes.get(4..8)?;
        let (head, length) = match be32(bytes, 0)? {
            0 => (8, bytes.len()),
            1 => {
                let length = u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
                (16, usize::try_from(length).ok()?)
            }
            length => (8, usize::try_from(length).ok()?),
        };
        let content = bytes.get(head..length)?;
        bytes = bytes.get(length..)?;
        Some((name, content))
    })
}

fn child(bytes: &[u8], wanted: [u8; 4]) -> Option<&[u8]> {
    children(bytes)
        .find(|(name, _)| *name == wanted)
        .map(|(_, content)| content)
}

fn be32(bytes: &[u8], place: usize) -> Option<u32> {
    bytes
        .get(place..)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// How large a stream says that its pictures are (ITU-T H.264, 7.3.2.1.1), before any cropping.
mod sps {
    pub(super) fn dimensions(unit: &[u8]) -> Option<(u32, u32)> {
        if unit.first()? & 0x1f != 7 {
            return None;
        }
        let bytes = without_escapes(unit.get(1..)?);
        let mut bits = Bits {
            bytes: &bytes,
            place: 0,
        };
        let profile = bits.take(8)?;
        bits.take(16)?;
        bits.number()?;
        if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128) {
            // Of 4:2:0 in eight bits alone: the decoder takes no other, and the lists of scales need not be read.
            let (chroma, luma_depth, chroma_depth) =
                (bits.number()?, bits.number()?, bits.number()?);
            let (_lossless, has_scales) = (bits.take(1)?, bits.take(1)?);
            if (chroma, luma_depth, chroma_depth, has_scales) != (1, 0, 0, 0) {
                return None;
            }
        }
        bits.number()?;
        match bits.number()? {
            0 => {
                bits.number()?;
            }
            1 => {
                bits.take(1)?;
                bits.number()?;
                bits.number()?;
                for _ in 0..bits.number()?.min(255) {
                    bits.number()?;
                }
            }
            _ => {}
        }
        bits.number()?;
        bits.take(1)?;
        let width = bits.number()?.checked_add(1)?.checked_mul(16)?;
        let rows = bits.number()?.checked_add(1)?;
        let fields = 2 - bits.take(1)?;
        let height = rows.checked_mul(16)?.checked_mul(fields)?;
        Some((width, height))
    }

    /// A three behind two zeros keeps data from looking like a start code.
    fn without_escapes(bytes: &[u8]) -> Vec<u8> {
        let mut clean = Vec::with_capacity(bytes.len());
        let mut zeros = 0;
        for byte in bytes {
            if zeros >= 2 && *byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if *byte == 0 { zeros + 1 } else { 0 };
            clean.push(*byte);
        }
        clean
    }

    struct Bits<'a> {
        bytes: &'a [u8],
        place: usize,
    }

    impl Bits<'_> {
        fn take(&mut self, count: u32) -> Option<u32> {
            let mut value = 0;
            for _ in 0..count {
                let byte = self.bytes.get(self.place / 8)?;
                value = (value << 1) | u32::from((byte >> (7 - self.place % 8)) & 1);
                self.place += 1;
            }
            Some(value)
        }

        /// Exp-Golomb.
        fn number(&mut self) -> Option<u32> {
            let mut zeros = 0;
            while self.take(1)? == 0 {
                zeros += 1;
                if zeros > 31 {
                    return None;
                }
            }
            (self.take(zeros)?).checked_add((1_u32 << zeros) - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::local::render::{Film, Size, film};
    use std::fmt::Write as _;

    fn sample() -> Vec<u8> {
        let wanted = Film {
            prompt: "a boat",
            seed: 1,
            size: Size {
                width: 176,
                height: 144,
            },
            seconds: 0.2,
            start: None,
        };
        film(&wanted, &|_| true).unwrap()
    }

    #[test]
    fn the_first_picture_is_decoded() {
        assert_eq!(of(&sample()).unwrap().dimensions(), (176, 144));
    }

    #[test]
    fn no_damage_panics() {
        let file = sample();
        for length in (0..file.len()).step_by(7) {
            of(&file[..length]);
        }
        let index = file.windows(4).position(|word| word == b"mdat").unwrap();
        for place in 0..index {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = file.clone();
                damaged[place] = value;
                first_picture(&damaged);
            }
        }
    }

    /// The stream's own word counts, whatever its container says.
    #[test]
    fn a_stream_of_huge_pictures_is_refused() {
        let golomb = |bits: &mut String, number: u32| {
            let length = 32 - (number + 1).leading_zeros();
            bits.push_str(&"0".repeat(length as usize - 1));
            let _ = write!(bits, "{:b}", number + 1);
        };
        let mut bits = String::new();
        for number in [0, 0, 2, 1] {
            golomb(&mut bits, number);
        }
        bits.push('0');
        golomb(&mut bits, 1_023);
        golomb(&mut bits, 1_023);
        bits.push_str("1111");
        while !bits.len().is_multiple_of(8) {
            bits.push('0');
        }
        let mut sps = vec![0x67, 66, 0xc0, 51];
        for byte in bits.as_bytes().chunks(8) {
            let byte = std::str::from_utf8(byte).unwrap();
            sps.push(u8::from_str_radix(byte, 2).unwrap());
        }
        assert_eq!(sps::dimensions(&sps), Some((16_384, 16_384)));
        assert!(!is_bearable(16_384, 16_384));
    }
}
