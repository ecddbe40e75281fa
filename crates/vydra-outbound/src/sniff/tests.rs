use super::*;
use image::{DynamicImage, ImageFormat};
use std::io::Cursor;

fn type_of(head: &[u8]) -> Option<&'static str> {
    sniff(head).map(|sniffed| sniffed.media_type)
}

fn drawn(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, height)
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

fn ftyp(major: &[u8], compatible: &[&[u8]]) -> Vec<u8> {
    let size = u32::try_from(16 + 4 * compatible.len()).unwrap();
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend_from_slice(b"ftyp");
    bytes.extend_from_slice(major);
    bytes.extend_from_slice(&[0, 0, 2, 0]);
    bytes.extend(compatible.concat());
    bytes.extend_from_slice(b"\0\0\0\x08free");
    bytes
}

fn webm_header(doc_type: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84".to_vec();
    bytes.extend_from_slice(doc_type);
    bytes.extend_from_slice(b"\x42\x87\x81\x04\x42\x85\x81\x02\x18\x53\x80\x67");
    bytes
}

fn ogg(packet: &[u8]) -> Vec<u8> {
    let mut bytes = b"OggS\0\x02".to_vec();
    bytes.extend_from_slice(&[0; 20]);
    bytes.extend_from_slice(&[1, u8::try_from(packet.len()).unwrap()]);
    bytes.extend_from_slice(packet);
    bytes
}

/// Two frames of silence: MPEG-1 layer III, 128 kbit/s, 44.1 kHz, 417 bytes each.
fn mp3_frames() -> Vec<u8> {
    let mut frame = b"\xff\xfb\x90\x00".to_vec();
    frame.resize(417, 0);
    frame.repeat(2)
}

/// Two ADTS frames of 16 bytes each.
fn adts_frames() -> Vec<u8> {
    let mut frame = b"\xff\xf1\x50\x80\x02\x1f\xfc".to_vec();
    frame.resize(16, 0);
    frame.repeat(2)
}

fn riff(kind: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF\x24\0\0\0".to_vec();
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(b"fmt \x10\0\0\0\x01\0\x01\0");
    bytes
}

fn samples() -> Vec<(Vec<u8>, &'static str, &'static str, MediaKind)> {
    use MediaKind::{Audio, Image, Video};
    let mut id3 = b"ID3\x04\0\0\0\0\0\x0a".to_vec();
    id3.extend_from_slice(&[0; 10]);
    let mut flac = b"fLaC\0\0\0\x22".to_vec();
    flac.extend_from_slice(&[0; 34]);
    vec![
        (drawn(ImageFormat::Png, 37, 21), "image/png", "png", Image),
        (drawn(ImageFormat::Jpeg, 37, 21), "image/jpeg", "jpg", Image),
        (drawn(ImageFormat::Gif, 37, 21), "image/gif", "gif", Image),
        (
            drawn(ImageFormat::WebP, 37, 21),
            "image/webp",
            "webp",
            Image,
        ),
        (
            ftyp(b"isom", &[b"isom", b"iso2", b"avc1", b"mp41"]),
            "video/mp4",
            "mp4",
            Video,
        ),
        (ftyp(b"mp42", &[]), "video/mp4", "mp4", Video),
        (
            ftyp(b"XAVC", &[b"XAVC", b"mp42"]),
            "video/mp4",
            "mp4",
            Video,
        ),
        (ftyp(b"qt  ", &[b"qt  "]), "video/quicktime", "mov", Video),
        (
            ftyp(b"M4A ", &[b"M4A ", b"mp42", b"isom"]),
            "audio/mp4",
            "m4a",
            Audio,
        ),
        (webm_header(b"webm"), "video/webm", "webm", Video),
        (riff(b"WAVE"), "audio/wav", "wav", Audio),
        (id3, "audio/mpeg", "mp3", Audio),
        (mp3_frames(), "audio/mpeg", "mp3", Audio),
        (adts_frames(), "audio/aac", "aac", Audio),
        (ogg(b"OpusHead\x01\x02"), "audio/ogg", "ogg", Audio),
        (ogg(b"\x01vorbis\0\0"), "audio/ogg", "ogg", Audio),
        (flac, "audio/flac", "flac", Audio),
    ]
}

#[test]
fn each_type_is_known() {
    for (bytes, media_type, extension, kind) in samples() {
        let sniffed = sniff(&bytes).unwrap_or_else(|| panic!("{media_type} is unknown"));
        assert_eq!(sniffed.media_type, media_type);
        assert_eq!((sniffed.extension, sniffed.kind), (extension, kind));
        assert_eq!(MediaKind::of_media_type(media_type), Some(kind));
        let dimensions = (kind == MediaKind::Image).then_some((37, 21));
        assert_eq!(sniffed.dimensions, dimensions, "{media_type}");
    }
}

#[test]
fn nothing_else_is() {
    let lies: [&[u8]; 22] = [
        b"",
        b"<!DOCTYPE html><html>",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
        b"{\"error\": \"not found\"}",
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"BM\x36\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0",
        b"\x7fELF\x02\x01\x01",
        b"#EXTM3U\n",
        b"PNG\r\n\x1a\n",
        b"\x89PNG\n\x1a\n\0\0",
        b"\xff\xd8\x00\xe0",
        b"GIF88a\x01\0\x01\0",
        b"RIFF\x24\0\0\0AVI LIST",
        b"\xff\xfe<\0h\0t\0m\0l\0>\0",
        b"ID3 is what this text is about",
        b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x2a\x80theora\0",
        // Free bit rate, forbidden bit rate, reserved sample rate, reserved version.
        b"\xff\xfb\x00\x00",
        b"\xff\xfb\xf0\x00",
        b"\xff\xfb\x9c\x00",
        b"\xff\xeb\x90\x00",
    ];
    for bytes in lies {
        assert_eq!(sniff(bytes), None, "{}", bytes.escape_ascii());
    }
    for bytes in [
        ftyp(b"avif", &[b"avif", b"mif1"]),
        ftyp(b"heic", &[b"mif1"]),
        // A still image that names a video's brand too.
        ftyp(b"abcd", &[b"isom", b"avif"]),
        ftyp(b"jp2 ", &[b"jp2 "]),
        webm_header(b"matr"),
    ] {
        assert_eq!(sniff(&bytes), None, "{}", bytes.escape_ascii());
    }
}

/// A frame mark whose length leads to no second frame is chance.
#[test]
fn one_frame_of_sound_is_not_enough() {
    let mut mp3 = mp3_frames();
    mp3[417] = b'x';
    assert_eq!(sniff(&mp3), None);
    let mut adts = adts_frames();
    adts[16] = b'x';
    assert_eq!(sniff(&adts), None);
}

#[test]
fn dimensions_agree_with_a_decoder() {
    for (width, height) in [(1, 1), (2, 3), (255, 256), (257, 640), (1_000, 9)] {
        for format in [
            ImageFormat::Png,
            ImageFormat::Jpeg,
            ImageFormat::Gif,
            ImageFormat::WebP,
        ] {
            let bytes = drawn(format, width, height);
            assert_eq!(
                sniff(&bytes).unwrap().dimensions,
                Some((width, height)),
                "{format:?}"
            );
        }
    }
}

/// What stands behind may become blank before the file is stored, and then the size would be another one.
#[test]
fn a_size_is_not_lent_from_the_next_part() {
    for (file, size) in [
        (
            &b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
            16,
        ),
        (b"RIFF\0\0\0\0WEBPVP8L\x05\0\0\0\x2f\0\0\0\0", 16),
        (
            b"RIFF\0\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x01\0\x01\0",
            16,
        ),
        (b"\xff\xd8\xff\xc0\0\x08\x08\0\x01\0\x01\x01", 5),
    ] {
        assert_eq!(sniff(file).unwrap().dimensions, Some((1, 1)));
        let mut short = file.to_vec();
        short[size] -= 1;
        assert_eq!(sniff(&short).unwrap().dimensions, None, "{file:?}");
    }
}

#[test]
fn webp_has_three_headers() {
    let file = |chunk: &[u8]| {
        let mut bytes = riff(b"WEBP")[..12].to_vec();
        bytes.extend_from_slice(chunk);
        sniff(&bytes).unwrap().dimensions
    };
    // 640 x 480 in each; the lossy one with scaling bits that are not part of the size.
    let extended = b"VP8X\x0a\0\0\0\x10\0\0\0\x7f\x02\0\xdf\x01\0";
    assert_eq!(file(extended), Some((640, 480)));
    let lossy = b"VP8 \xff\0\0\0\x30\x01\0\x9d\x01\x2a\x80\x42\xe0\x81";
    assert_eq!(file(lossy), Some((640, 480)));
    let lossless = b"VP8L\xff\0\0\0\x2f\x7f\xc2\x77\x10";
    assert_eq!(file(lossless), Some((640, 480)));
    assert_eq!(file(b"ANIM\x06\0\0\0\0\0\0\0\0\0\0\0"), None);
}

#[test]
fn a_jpegs_size_is_found_behind_its_metadata() {
    let plain = drawn(ImageFormat::Jpeg, 300, 200);
    let mut bytes = plain[..2].to_vec();
    for _ in 0..4 {
        // Fill bytes before the marker, then the longest segment that there can be.
        bytes.extend_from_slice(b"\xff\xff\xe1\xff\xff");
        bytes.resize(bytes.len() + 65_533, 0xc0);
    }
    bytes.extend_from_slice(&plain[2..]);
    assert!(bytes.len() > 256 * 1024);
    assert_eq!(sniff(&bytes).unwrap().dimensions, Some((300, 200)));
    let short = sniff(&bytes[..200_000]).unwrap();
    assert_eq!((short.media_type, short.dimensions), ("image/jpeg", None));
}

#[test]
fn a_broken_jpeg_has_no_size_and_ends() {
    for rest in [
        b"\xe0\x00\x00\xff\xc0\x00\x08\x08\x00\x01\x00\x01".as_slice(),
        b"\xe0\x00\x01\xff\xc0\x00\x08\x08\x00\x01\x00\x01",
        b"\xff\xff\xff\xff",
        b"\xda\x00\x08",
        b"\xd9",
        b"\x00\x00",
        b"\xe0\x00\x02no marker",
    ] {
        let mut bytes = b"\xff\xd8\xff".to_vec();
        bytes.extend_from_slice(rest);
        assert_eq!(sniff(&bytes).unwrap().dimensions, None);
    }
}

#[test]
fn a_size_of_nothing_is_no_size() {
    let mut png = drawn(ImageFormat::Png, 5, 5);
    png[16..20].fill(0);
    assert_eq!(sniff(&png).unwrap().dimensions, None);
}

#[test]
fn a_shorter_head_never_changes_the_answer() {
    for (bytes, media_type, ..) in samples() {
        for length in 0..bytes.len() {
            let short = sniff(&bytes[..length]);
            if let Some(short) = short {
                assert_eq!(short.media_type, media_type, "{length} bytes");
                let known = short.dimensions;
                assert!(known.is_none() || known == sniff(&bytes).unwrap().dimensions);
            }
        }
        let length = bytes.len().min(64);
        assert!(
            type_of(&bytes[..length]) == Some(media_type),
            "{media_type}"
        );
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut state: u64 = 0x5eed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let samples = samples();
    for _ in 0..30_000 {
        let mut bytes = samples[next() % samples.len()].0.clone();
        for _ in 0..next() % 12 {
            let position = next() % bytes.len();
            bytes[position] = next().to_le_bytes()[0];
        }
        bytes.truncate(next() % (bytes.len() + 1));
        let _ = sniff(&bytes);
        let noise: Vec<u8> = (0..next() % 64).map(|_| next().to_le_bytes()[0]).collect();
        let _ = sniff(&noise);
    }
}
