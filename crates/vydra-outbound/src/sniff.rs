//! What a file is, by its first bytes, whatever it claims to be.
//!
//! The formats are those that we take from callers and from providers; anything else is nothing. A match says what a
//! player would try, not that the rest of the file is sound.

use vydra_core::asset::MediaKind;

/// The true type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sniffed {
    pub media_type: &'static str,
    pub extension: &'static str,
    pub kind: MediaKind,
    /// Of an image, as stored: an orientation in its metadata is not applied. None when the head is too short.
    pub dimensions: Option<(u32, u32)>,
}

/// Looks at the first bytes of a file. A JPEG may hide its dimensions behind much metadata: give at least 256 KiB, or
/// the whole file.
pub fn sniff(head: &[u8]) -> Option<Sniffed> {
    image(head)
        .or_else(|| container(head))
        .or_else(|| audio(head))
}

fn found(media_type: &'static str, extension: &'static str, kind: MediaKind) -> Sniffed {
    Sniffed {
        media_type,
        extension,
        kind,
        dimensions: None,
    }
}

fn image(head: &[u8]) -> Option<Sniffed> {
    let (media_type, extension, dimensions) = if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        ("image/png", "png", png(head))
    } else if head.starts_with(b"\xff\xd8\xff") {
        ("image/jpeg", "jpg", jpeg(head))
    } else if head.starts_with(b"GIF87a") || head.starts_with(b"GIF89a") {
        ("image/gif", "gif", gif(head))
    } else if head.starts_with(b"RIFF") && at(head, 8, b"WEBP") {
        ("image/webp", "webp", webp(head))
    } else {
        return None;
    };
    Some(Sniffed {
        dimensions: dimensions.filter(|(width, height)| *width > 0 && *height > 0),
        ..found(media_type, extension, MediaKind::Image)
    })
}

fn png(head: &[u8]) -> Option<(u32, u32)> {
    at(head, 8, b"\0\0\0\x0dIHDR").then_some(())?;
    Some((be32(head, 16)?, be32(head, 20)?))
}

fn gif(head: &[u8]) -> Option<(u32, u32)> {
    Some((le16(head, 6)?, le16(head, 8)?))
}

fn jpeg(head: &[u8]) -> Option<(u32, u32)> {
    let mut position = 2;
    loop {
        if byte(head, position)? != 0xff {
            return None;
        }
        // Any number of fill bytes may stand before a marker.
        while byte(head, position)? == 0xff {
            position += 1;
        }
        let marker = byte(head, position)?;
        position += 1;
        match marker {
            // Markers without a length.
            0x01 | 0xd0..=0xd7 => {}
            // Start of frame: length, precision, height, width.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                // A shorter one would lend its size from what stands behind it.
                (be16(head, position)? >= 8).then_some(())?;
                return Some((be16(head, position + 5)?, be16(head, position + 3)?));
            }
            // No frame comes behind the data or the end of the image; a stuffed zero is no marker.
            0x00 | 0xd8 | 0xd9 | 0xda => return None,
            _ => {
                // The length counts itself. One below two is broken: it leads into itself, where no marker is.
                position += usize::try_from(be16(head, position)?).ok()?;
            }
        }
    }
}

fn webp(head: &[u8]) -> Option<(u32, u32)> {
    // As in a JPEG.
    let covers = |bytes| le32(head, 16).is_some_and(|length| length >= bytes);
    match head.get(12..16)? {
        b"VP8X" if covers(10) => Some((le24(head, 24)? + 1, le24(head, 27)? + 1)),
        b"VP8L" if covers(5) && byte(head, 20)? == 0x2f => {
            let bits = le16(head, 21)? | (le16(head, 23)? << 16);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8 " if covers(10) && at(head, 23, b"\x9d\x01\x2a") => {
            Some((le16(head, 26)? & 0x3fff, le16(head, 28)? & 0x3fff))
        }
        _ => None,
    }
}

fn container(head: &[u8]) -> Option<Sniffed> {
    if at(head, 4, b"ftyp") {
        return iso_media(head);
    }
    if head.starts_with(b"\x1a\x45\xdf\xa3") {
        return webm(head);
    }
    None
}

/// MP4 and its relatives, told apart by the brands that the file names.
fn iso_media(head: &[u8]) -> Option<Sniffed> {
    let size = usize::try_from(be32(head, 0)?).ok()?;
    let major: [u8; 4] = head.get(8..12)?.try_into().ok()?;
    let end = size.min(head.len());
    let compatible = || head.get(16..end).unwrap_or_default().chunks_exact(4);
    let is_still = |brand: &[u8]| {
        matches!(
            brand,
            b"avif" | b"avis" | b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1"
        )
    };
    let is_mp4 = |brand: &[u8]| {
        brand.starts_with(b"iso")
            || brand.starts_with(b"avc")
            || matches!(
                brand,
                b"mp41" | b"mp42" | b"M4V " | b"M4VH" | b"dash" | b"MSNV" | b"f4v " | b"hvc1"
            )
    };
    if size < 16 || is_still(&major) {
        return None;
    }
    match &major {
        b"qt  " => Some(found("video/quicktime", "mov", MediaKind::Video)),
        b"M4A " | b"M4B " => Some(found("audio/mp4", "m4a", MediaKind::Audio)),
        _ if compatible().any(is_still) => None,
        _ if is_mp4(&major) || compatible().any(is_mp4) => {
            Some(found("video/mp4", "mp4", MediaKind::Video))
        }
        _ => None,
    }
}

/// Matroska names its kind in the header: only `webm` is one that browsers play.
fn webm(head: &[u8]) -> Option<Sniffed> {
    const DOC_TYPE: &[u8] = b"\x42\x82\x84webm";
    head.get(4..head.len().min(64))?
        .windows(DOC_TYPE.len())
        .any(|window| window == DOC_TYPE)
        .then(|| found("video/webm", "webm", MediaKind::Video))
}

fn audio(head: &[u8]) -> Option<Sniffed> {
    let (media_type, extension) =
        if (head.starts_with(b"RIFF") || head.starts_with(b"RF64")) && at(head, 8, b"WAVE") {
            ("audio/wav", "wav")
        } else if head.starts_with(b"fLaC") {
            ("audio/flac", "flac")
        } else if head.starts_with(b"OggS\0") && is_ogg_audio(head) {
            ("audio/ogg", "ogg")
        } else if is_id3(head) || is_mp3(head) {
            ("audio/mpeg", "mp3")
        } else if is_adts(head) {
            ("audio/aac", "aac")
        } else {
            return None;
        };
    Some(found(media_type, extension, MediaKind::Audio))
}

/// The first packet names the codec; it stands behind a table whose length is the last byte of the page header.
fn is_ogg_audio(head: &[u8]) -> bool {
    let Some(segments) = byte(head, 26) else {
        return false;
    };
    let start = 27 + usize::from(segments);
    [
        b"OpusHead".as_slice(),
        b"\x01vorbis",
        b"\x7fFLAC",
        b"Speex   ",
    ]
    .iter()
    .any(|codec| at(head, start, codec))
}

/// A tag in front of MPEG audio: its version, and a size of four times seven bits.
fn is_id3(head: &[u8]) -> bool {
    head.starts_with(b"ID3")
        && byte(head, 3).is_some_and(|version| (2..=4).contains(&version))
        && head
            .get(6..10)
            .is_some_and(|size| size.iter().all(|b| *b < 0x80))
}

/// Two frames in a row, where the head is long enough: a sync mark alone is in much that is no music.
fn is_mp3(head: &[u8]) -> bool {
    mp3_frame(head).is_some_and(|length| {
        head.get(length..)
            .is_none_or(|rest| rest.len() < 4 || mp3_frame(rest).is_some())
    })
}

/// The length of the MPEG layer III frame that starts here.
fn mp3_frame(head: &[u8]) -> Option<usize> {
    const RATES_V1: [usize; 14] = [
        32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ];
    const RATES_V2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [sync, second, third, _] = *head.first_chunk::<4>()?;
    let is_layer_three = second & 0b0000_0110 == 0b0000_0010;
    if sync != 0xff || second & 0xe0 != 0xe0 || !is_layer_three {
        return None;
    }
    let (rates, samples_per_frame, hertz) = match (second >> 3) & 0b11 {
        0b11 => (RATES_V1, 1_152, [44_100, 48_000, 32_000]),
        0b10 => (RATES_V2, 576, [22_050, 24_000, 16_000]),
        0b00 => (RATES_V2, 576, [11_025, 12_000, 8_000]),
        _ => return None,
    };
    // Zero means "free", fifteen is forbidden: neither gives a length.
    let kilobits = rates.get(usize::from(third >> 4).checked_sub(1)?)?;
    let hertz = hertz.get(usize::from((third >> 2) & 0b11))?;
    let padding = usize::from((third >> 1) & 1);
    Some(samples_per_frame / 8 * kilobits * 1_000 / hertz + padding)
}

/// Raw AAC: as for MP3, two frames in a row where possible.
fn is_adts(head: &[u8]) -> bool {
    adts_frame(head).is_some_and(|length| {
        head.get(length..)
            .is_none_or(|rest| rest.len() < 6 || adts_frame(rest).is_some())
    })
}

fn adts_frame(head: &[u8]) -> Option<usize> {
    let [sync, second, third, fourth, fifth, sixth] = *head.first_chunk::<6>()?;
    let is_sync = sync == 0xff && second & 0xf6 == 0xf0;
    let rate_index = (third >> 2) & 0x0f;
    let length =
        usize::from(fourth & 0b11) << 11 | usize::from(fifth) << 3 | usize::from(sixth >> 5);
    (is_sync && rate_index < 13 && length >= 7).then_some(length)
}

fn byte(head: &[u8], position: usize) -> Option<u8> {
    head.get(position).copied()
}

fn at(head: &[u8], position: usize, expected: &[u8]) -> bool {
    head.get(position..)
        .is_some_and(|rest| rest.starts_with(expected))
}

fn array<const N: usize>(head: &[u8], position: usize) -> Option<[u8; N]> {
    head.get(position..)?.first_chunk::<N>().copied()
}

fn be32(head: &[u8], position: usize) -> Option<u32> {
    array(head, position).map(u32::from_be_bytes)
}

fn be16(head: &[u8], position: usize) -> Option<u32> {
    array(head, position).map(|bytes| u32::from(u16::from_be_bytes(bytes)))
}

fn le16(head: &[u8], position: usize) -> Option<u32> {
    array(head, position).map(|bytes| u32::from(u16::from_le_bytes(bytes)))
}

fn le32(head: &[u8], position: usize) -> Option<u32> {
    array(head, position).map(u32::from_le_bytes)
}

fn le24(head: &[u8], position: usize) -> Option<u32> {
    let [low, middle, high] = array(head, position)?;
    Some(u32::from_le_bytes([low, middle, high, 0]))
}

#[cfg(test)]
mod tests;
