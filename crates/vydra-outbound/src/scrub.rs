//! Takes out of an image what its maker does not mean to publish: where it was taken, with which camera, by whom.
//!
//! The file streams through and keeps its length: what is taken out becomes blank. Pixels, colour profiles and the
//! orientation stay. Whatever stands behind the end of the image becomes blank too: a second picture with a place of its
//! own, a film, an archive.
//!
//! A file that breaks its own format is passed on from there: no reader finds metadata behind the break either.

use bytes::{BufMut, BytesMut};
use crc32fast::Hasher;

/// Metadata is held up to here while its orientation is looked for; it stands in front.
const MAX_HELD: usize = 64 * 1_024;
/// The chunk of PNG that stands for one that was taken out: private, of no weight, safe to copy.
const BLANK_CHUNK: [u8; 4] = *b"vyNo";
/// A TIFF file that says nothing but an orientation.
const TIFF_LENGTH: usize = 26;
const EXIF: &[u8] = b"Exif\0\0";

/// One image on its way through.
#[derive(Debug)]
pub struct Scrubber {
    stage: Stage,
    todo: Todo,
    held: Vec<u8>,
    /// Of the PNG chunk that is being made blank.
    checksum: Hasher,
}

/// What to do with the next bytes.
#[derive(Debug, Clone, Copy)]
enum Todo {
    /// Hold as many as the stage needs, then decide.
    Collect,
    Copy(u64),
    Blank(u64, u8),
    /// Compressed pixels of a JPEG, up to the next 0xff.
    Pixels,
}

/// What the bytes that are held mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    JpegStart,
    JpegMarker,
    JpegPixels,
    /// Inside of pixels, where 0xff 0x00 is a pixel.
    JpegEscape,
    JpegLength(u8),
    JpegSegment(u8, usize),
    PngStart,
    PngChunk,
    PngExif(usize, u64),
    PngChecksum,
    WebpStart,
    WebpChunk,
    WebpExif(usize, u64),
    GifStart,
    GifBlock,
    GifExtension,
    GifApplication,
    GifApplicationName(usize),
    GifImage,
    /// One piece of a block's data; whether it is made blank.
    GifPiece(bool),
    /// Behind the end of the image.
    Tail,
    /// Behind a break of the format.
    Broken,
}

impl Stage {
    /// How many bytes it decides upon.
    fn needs(self) -> usize {
        match self {
            Self::JpegPixels | Self::Tail | Self::Broken => 0,
            Self::GifBlock | Self::GifExtension | Self::GifApplication | Self::GifPiece(_) => 1,
            Self::JpegStart | Self::JpegMarker | Self::JpegEscape | Self::JpegLength(_) => 2,
            Self::PngChecksum => 4,
            Self::PngStart | Self::PngChunk | Self::WebpChunk => 8,
            Self::GifImage => 9,
            Self::WebpStart => 12,
            Self::GifStart => 13,
            Self::JpegSegment(_, size)
            | Self::PngExif(size, _)
            | Self::WebpExif(size, _)
            | Self::GifApplicationName(size) => size,
        }
    }
}

impl Scrubber {
    /// For a true media type, as sniffed. Another than the four that are known passes as it is.
    pub fn new(media_type: &str) -> Self {
        let stage = match media_type {
            "image/jpeg" => Some(Stage::JpegStart),
            "image/png" => Some(Stage::PngStart),
            "image/webp" => Some(Stage::WebpStart),
            "image/gif" => Some(Stage::GifStart),
            _ => None,
        };
        Self {
            stage: stage.unwrap_or(Stage::JpegStart),
            todo: stage.map_or(Todo::Copy(u64::MAX), |_| Todo::Collect),
            held: Vec::new(),
            checksum: Hasher::new(),
        }
    }

    /// Passes the next bytes on to `out`; some may be held back until later ones come.
    pub fn push(&mut self, mut input: &[u8], out: &mut BytesMut) {
        while !input.is_empty() {
            match self.todo {
                Todo::Collect => {
                    let missing = self.stage.needs().saturating_sub(self.held.len());
                    let (taken, rest) = input.split_at(missing.min(input.len()));
                    self.held.extend_from_slice(taken);
                    input = rest;
                }
                Todo::Copy(left) => {
                    let (taken, rest) = input.split_at(at_most(left, input.len()));
                    out.extend_from_slice(taken);
                    input = rest;
                    self.todo = Todo::Copy(left - length(taken.len()));
                }
                Todo::Blank(left, with) => {
                    let (taken, rest) = input.split_at(at_most(left, input.len()));
                    let before = out.len();
                    out.put_bytes(with, taken.len());
                    self.checksum.update(out.get(before..).unwrap_or_default());
                    input = rest;
                    self.todo = Todo::Blank(left - length(taken.len()), with);
                }
                Todo::Pixels => {
                    let end = input.iter().position(|byte| *byte == 0xff);
                    let (taken, rest) = input.split_at(end.unwrap_or(input.len()));
                    out.extend_from_slice(taken);
                    input = rest;
                    if end.is_some() {
                        self.collect(Stage::JpegEscape);
                    }
                }
            }
            self.decide_if_ready(out);
        }
    }

    /// The end of the file: passes on what was held back.
    pub fn finish(mut self, out: &mut BytesMut) {
        // What was cut off in the middle of metadata was to be blank.
        if matches!(
            self.stage,
            Stage::JpegSegment(..) | Stage::PngExif(..) | Stage::WebpExif(..)
        ) {
            self.held.fill(0);
        }
        if matches!(self.stage, Stage::PngExif(..)) {
            // Its name waits for what it holds.
            out.extend_from_slice(&BLANK_CHUNK);
        }
        out.extend_from_slice(&self.held);
    }

    fn decide_if_ready(&mut self, out: &mut BytesMut) {
        loop {
            if matches!(self.todo, Todo::Copy(0) | Todo::Blank(0, _)) {
                self.todo = Todo::Collect;
            }
            if !matches!(self.todo, Todo::Collect) || self.held.len() < self.stage.needs() {
                return;
            }
            let held = std::mem::take(&mut self.held);
            self.decide(&held, out);
        }
    }

    fn collect(&mut self, stage: Stage) {
        (self.stage, self.todo) = (stage, Todo::Collect);
    }

    fn copy(&mut self, count: u64, then: Stage) {
        (self.stage, self.todo) = (then, Todo::Copy(count));
    }

    fn blank(&mut self, count: u64, with: u8, then: Stage) {
        (self.stage, self.todo) = (then, Todo::Blank(count, with));
    }

    fn decide(&mut self, held: &[u8], out: &mut BytesMut) {
        match self.stage {
            Stage::JpegStart => {
                out.extend_from_slice(held);
                self.collect(Stage::JpegMarker);
            }
            Stage::JpegMarker | Stage::JpegEscape => self.jpeg_marker(held, out),
            Stage::JpegPixels => self.todo = Todo::Pixels,
            Stage::JpegLength(marker) => {
                out.extend_from_slice(held);
                self.jpeg_segment(marker, be(held).checked_sub(2));
            }
            Stage::JpegSegment(marker, _) => {
                match held.strip_prefix(EXIF) {
                    Some(tiff) if marker == 0xe1 => {
                        let kept = only_orientation(tiff);
                        out.extend_from_slice(kept.map_or(&[0; 6], |_| EXIF));
                        put_padded(out, kept, tiff.len());
                    }
                    _ if held.starts_with(b"ICC_PROFILE\0") => out.extend_from_slice(held),
                    _ => out.put_bytes(0, held.len()),
                }
                self.collect(Stage::JpegMarker);
            }
            Stage::PngStart => {
                out.extend_from_slice(held);
                self.collect(Stage::PngChunk);
            }
            Stage::PngChunk => self.png_chunk(held, out),
            Stage::PngExif(_, behind) => {
                let kept = only_orientation(held);
                let name = kept.map_or(BLANK_CHUNK, |_| *b"eXIf");
                let before = out.len();
                out.extend_from_slice(&name);
                put_padded(out, kept, held.len());
                self.checksum = Hasher::new();
                self.checksum.update(out.get(before..).unwrap_or_default());
                self.blank(behind, 0, Stage::PngChecksum);
            }
            Stage::PngChecksum => {
                let checksum = std::mem::take(&mut self.checksum).finalize();
                out.extend_from_slice(&checksum.to_be_bytes());
                self.collect(Stage::PngChunk);
            }
            Stage::WebpStart => {
                out.extend_from_slice(held);
                self.collect(Stage::WebpChunk);
            }
            Stage::WebpChunk => self.webp_chunk(held, out),
            Stage::WebpExif(_, behind) => {
                let tiff = held.strip_prefix(EXIF).unwrap_or(held);
                put_padded(out, only_orientation(tiff), held.len());
                self.blank(behind, 0, Stage::WebpChunk);
            }
            Stage::GifStart
            | Stage::GifBlock
            | Stage::GifExtension
            | Stage::GifApplication
            | Stage::GifApplicationName(_)
            | Stage::GifImage
            | Stage::GifPiece(_) => self.gif(held, out),
            Stage::Tail => self.todo = Todo::Blank(u64::MAX, 0),
            Stage::Broken => self.todo = Todo::Copy(u64::MAX),
        }
    }

    fn jpeg_marker(&mut self, held: &[u8], out: &mut BytesMut) {
        let [first, marker] = *held else { return };
        let in_pixels = self.stage == Stage::JpegEscape;
        if first == 0xff && marker == 0xff {
            // A fill byte: the second may begin the marker.
            out.put_u8(first);
            self.held.push(marker);
            return;
        }
        out.extend_from_slice(held);
        self.collect(match (first, marker) {
            (0xff, 0x00 | 0xd0..=0xd7) if in_pixels => Stage::JpegPixels,
            (0xff, 0x01 | 0xd0..=0xd8) => Stage::JpegMarker,
            (0xff, 0xd9) => Stage::Tail,
            (0xff, marker) => Stage::JpegLength(marker),
            _ => Stage::Broken,
        });
    }

    fn jpeg_segment(&mut self, marker: u8, size: Option<u64>) {
        let Some(size) = size else {
            return self.collect(Stage::Broken);
        };
        match marker {
            0xe1 | 0xe2 => {
                let size = at_most(size, MAX_HELD);
                self.collect(Stage::JpegSegment(marker, size));
            }
            // The colour transform of Adobe (0xee) and the density of JFIF (0xe0) belong to the picture.
            0xe3..=0xed | 0xef | 0xfe => self.blank(size, 0, Stage::JpegMarker),
            0xda => self.copy(size, Stage::JpegPixels),
            _ => self.copy(size, Stage::JpegMarker),
        }
    }

    fn png_chunk(&mut self, held: &[u8], out: &mut BytesMut) {
        let (size, name) = held.split_at(4);
        out.extend_from_slice(size);
        let size = be(size);
        match name {
            // A checksum ends each chunk.
            b"IEND" => {
                out.extend_from_slice(name);
                self.copy(size + 4, Stage::Tail);
            }
            b"eXIf" => {
                let take = at_most(size, MAX_HELD);
                self.collect(Stage::PngExif(take, size - length(take)));
            }
            // Pixels, colours and frames; the name of what nobody can do without begins with a capital letter.
            [b'A'..=b'Z', ..]
            | b"tRNS"
            | b"gAMA"
            | b"cHRM"
            | b"sRGB"
            | b"iCCP"
            | b"sBIT"
            | b"bKGD"
            | b"hIST"
            | b"pHYs"
            | b"sPLT"
            | b"cICP"
            | b"mDCV"
            | b"cLLI"
            | b"acTL"
            | b"fcTL"
            | b"fdAT" => {
                out.extend_from_slice(name);
                self.copy(size + 4, Stage::PngChunk);
            }
            _ => {
                out.extend_from_slice(&BLANK_CHUNK);
                self.checksum = Hasher::new();
                self.checksum.update(&BLANK_CHUNK);
                self.blank(size, 0, Stage::PngChecksum);
            }
        }
    }

    fn webp_chunk(&mut self, held: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(held);
        let (name, size) = held.split_at(4);
        let size = le(size);
        let padded = size + size % 2;
        match name {
            b"VP8X" | b"VP8 " | b"VP8L" | b"ALPH" | b"ANIM" | b"ANMF" | b"ICCP" => {
                self.copy(padded, Stage::WebpChunk);
            }
            b"EXIF" => {
                let take = at_most(padded, MAX_HELD);
                self.collect(Stage::WebpExif(take, padded - length(take)));
            }
            // What stands behind the last chunk is taken for one, and becomes blank too.
            _ => self.blank(padded, b' ', Stage::WebpChunk),
        }
    }

    fn gif(&mut self, held: &[u8], out: &mut BytesMut) {
        out.extend_from_slice(held);
        let byte = held.first().copied().unwrap_or(0);
        match self.stage {
            Stage::GifStart => {
                self.copy(colours(held.get(10).copied()), Stage::GifBlock);
            }
            Stage::GifExtension => self.collect(match byte {
                // How a frame is shown, and text that is part of the picture.
                0xf9 | 0x01 => Stage::GifPiece(false),
                0xff => Stage::GifApplication,
                _ => Stage::GifPiece(true),
            }),
            Stage::GifApplication => self.collect(match byte {
                0 => Stage::GifBlock,
                size => Stage::GifApplicationName(usize::from(size)),
            }),
            Stage::GifApplicationName(_) => {
                let kept = [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];
                self.collect(Stage::GifPiece(!kept.iter().any(|name| *name == held)));
            }
            // Its own colours, and the byte that says how the pixels are packed.
            Stage::GifImage => {
                self.copy(colours(held.get(8).copied()) + 1, Stage::GifPiece(false));
            }
            Stage::GifPiece(blank) => match byte {
                0 => self.collect(Stage::GifBlock),
                size if blank => self.blank(u64::from(size), b' ', Stage::GifPiece(blank)),
                size => self.copy(u64::from(size), Stage::GifPiece(blank)),
            },
            _ => self.collect(match byte {
                0x21 => Stage::GifExtension,
                0x2c => Stage::GifImage,
                0x3b => Stage::Tail,
                _ => Stage::Broken,
            }),
        }
    }
}

/// The length of the table of colours that these flags tell of.
fn colours(flags: Option<u8>) -> u64 {
    match flags {
        Some(flags) if flags & 0x80 != 0 => 3 << ((flags & 0x07) + 1),
        _ => 0,
    }
}

/// A TIFF that says the orientation of this one and nothing else; None where it is upright, or not said.
fn only_orientation(tiff: &[u8]) -> Option<[u8; TIFF_LENGTH]> {
    let number: fn(&[u8]) -> u64 = match tiff.get(..4)? {
        b"II*\0" => le,
        b"MM\0*" => be,
        _ => return None,
    };
    let at = |place: usize, size: usize| {
        let end = place.checked_add(size)?;
        tiff.get(place..end).map(number)
    };
    let directory = usize::try_from(at(4, 4)?).ok()?;
    let entries = usize::try_from(at(directory, 2)?).ok()?;
    let entry = (0..entries)
        .map(|place| directory.saturating_add(2 + 12 * place))
        .take_while(|place| *place < tiff.len())
        .find(|place| at(*place, 2) == Some(0x0112))?;
    let value = u8::try_from(at(entry.checked_add(8)?, 2)?).ok()?;
    if !(2..=8).contains(&value) || tiff.len() < TIFF_LENGTH {
        return None;
    }
    let mut made = *b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0";
    made[18] = value;
    Some(made)
}

fn put_padded(out: &mut BytesMut, kept: Option<[u8; TIFF_LENGTH]>, size: usize) {
    let kept = kept.as_ref().map_or(&[][..], |tiff| tiff);
    out.extend_from_slice(kept);
    out.put_bytes(0, size.saturating_sub(kept.len()));
}

fn be(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn le(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn at_most(wanted: u64, limit: usize) -> usize {
    usize::try_from(wanted).unwrap_or(limit).min(limit)
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
