//! The smallest files that are what they say: enough for whoever looks at their bytes.

use bytes::Bytes;
use vydra_core::asset::MediaKind;

/// A black picture. Its size tells one picture from another.
pub fn png(width: u16, height: u16) -> Bytes {
    let mut header = Vec::new();
    header.extend(u32::from(width).to_be_bytes());
    header.extend(u32::from(height).to_be_bytes());
    // 8 bits of grey, and the only compression, filter and order that there are.
    header.extend([8, 0, 0, 0, 0]);
    let pixels = vec![0; usize::from(height) * (usize::from(width) + 1)];
    let mut data = vec![0x78, 0x01];
    let mut blocks = pixels.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).expect("a block of at most 0xffff");
        data.push(u8::from(blocks.peek().is_none()));
        data.extend(length.to_le_bytes());
        data.extend((!length).to_le_bytes());
        data.extend(block);
    }
    // Adler-32 of nothing but zeros: the low half stays 1, the high half counts the bytes.
    let count = u32::try_from(pixels.len() % 65_521).expect("less than the modulus");
    data.extend(((count << 16) | 1).to_be_bytes());
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [(b"IHDR", header), (b"IDAT", data), (b"IEND", Vec::new())] {
        let mut body = name.to_vec();
        body.extend(content);
        let length = u32::try_from(body.len() - 4).expect("a small file");
        file.extend(length.to_be_bytes());
        file.extend(&body);
        file.extend(crc32fast::hash(&body).to_be_bytes());
    }
    file.into()
}

/// An MP4 without a track.
pub fn mp4() -> Bytes {
    let mut movie_header = vec![0; 100];
    // A thousand ticks a second, normal speed and volume, the identity matrix, the next track is the first.
    for (place, value) in [
        (12, 1_000_u32),
        (20, 0x0001_0000),
        (36, 0x0001_0000),
        (52, 0x0001_0000),
        (68, 0x4000_0000),
        (96, 1),
    ] {
        movie_header[place..place + 4].copy_from_slice(&value.to_be_bytes());
    }
    let mut file = part(*b"ftyp", b"isom\0\0\x02\0isommp41");
    file.extend(part(*b"moov", &part(*b"mvhd", &movie_header)));
    file.extend(part(*b"mdat", b""));
    file.into()
}

fn part(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).expect("a small file");
    let mut part = length.to_be_bytes().to_vec();
    part.extend(name);
    part.extend(content);
    part
}

/// A hundredth of a second of silence.
pub fn wav() -> Bytes {
    const RATE: u32 = 8_000;
    let samples = [0x80_u8; 80];
    let length = u32::try_from(samples.len()).expect("a small file");
    let mut file = b"RIFF".to_vec();
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend(RATE.to_le_bytes());
    file.extend(b"\x01\0\x08\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file.into()
}

/// A file of this kind.
pub fn of(kind: MediaKind) -> Bytes {
    match kind {
        MediaKind::Image => png(8, 6),
        MediaKind::Video => mp4(),
        MediaKind::Audio => wav(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vydra_outbound::sniff::sniff;

    #[test]
    fn each_file_is_what_it_says() {
        for (kind, media_type) in [
            (MediaKind::Image, "image/png"),
            (MediaKind::Video, "video/mp4"),
            (MediaKind::Audio, "audio/wav"),
        ] {
            let found = sniff(&of(kind)).unwrap();
            assert_eq!((found.kind, found.media_type), (kind, media_type));
        }
        assert_eq!(sniff(&png(300, 400)).unwrap().dimensions, Some((300, 400)));
    }
}
