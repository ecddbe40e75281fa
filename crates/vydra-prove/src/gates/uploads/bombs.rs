//! Files that are small and become large, that are two things at once, or nothing at all.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::{self, Write};
use vydra_testkit::files;

/// What the answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Of this media type.
    Taken(&'static str),
    Refused(&'static str),
}

#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) verdict: Verdict,
    /// By its head.
    pub(super) pixels: u64,
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
/// What the compressed parts of some files become.
const INFLATED: usize = 500 * 1_024 * 1_024;
const TYPE: &str = "INVALID_FILE_TYPE";
const SIZE: &str = "FILE_TOO_LARGE";

fn chunk(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let named = [name.as_slice(), content].concat();
    let sum = crc32fast::hash(&named);
    [&length.to_be_bytes(), named.as_slice(), &sum.to_be_bytes()].concat()
}

fn header(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let mut content = [width.to_be_bytes(), height.to_be_bytes()].concat();
    content.extend([depth, colour, 0, 0, 0]);
    chunk(*b"IHDR", &content)
}

fn png(parts: &[Vec<u8>]) -> Vec<u8> {
    let end = chunk(*b"IEND", b"");
    [PNG, &parts.concat(), &end].concat()
}

/// So many zeros, compressed.
fn zeros(count: usize) -> io::Result<Vec<u8>> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 65_536];
    let mut left = count;
    while left > 0 {
        let now = left.min(block.len());
        zlib.write_all(&block[..now])?;
        left -= now;
    }
    zlib.finish()
}

/// A picture of one colour.
fn plain(width: u32, height: u32, depth: u8, colour: u8, bits: usize) -> io::Result<Vec<u8>> {
    let row = 1 + (usize::try_from(width).unwrap_or(0) * bits).div_ceil(8);
    let pixels = zeros(row * usize::try_from(height).unwrap_or(0))?;
    Ok(png(&[
        header(width, height, depth, colour),
        chunk(*b"IDAT", &pixels),
    ]))
}

/// Whose size is told by its head alone.
fn headed(width: u32, height: u32, depth: u8, colour: u8) -> io::Result<Vec<u8>> {
    let pixels = chunk(*b"IDAT", &zeros(65_536)?);
    Ok(png(&[header(width, height, depth, colour), pixels]))
}

/// Ten pixels a side, with one more part.
fn small_with(part: Vec<u8>) -> io::Result<Vec<u8>> {
    let pixels = chunk(*b"IDAT", &zeros(10 * 31)?);
    Ok(png(&[header(10, 10, 8, 2), part, pixels]))
}

fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let [w, h] = [width, height].map(u16::to_le_bytes);
    let mut file = [
        b"GIF89a".as_slice(),
        &w,
        &h,
        &[0x80, 0, 0, 0, 0, 0, 255, 255, 255],
    ]
    .concat();
    let frame = [0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0];
    for _ in 0..frames {
        file.extend(frame);
    }
    file.push(0x3b);
    file
}

fn jpeg(width: u16, height: u16, comment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(comment.len() + 2).unwrap_or(u16::MAX);
    let [w, h] = [width, height].map(u16::to_be_bytes);
    [
        b"\xff\xd8\xff\xfe".as_slice(),
        &length.to_be_bytes(),
        comment,
        b"\xff\xc0\x00\x11\x08",
        &h,
        &w,
        b"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xff\xd9",
    ]
    .concat()
}

fn webp(width: u32, height: u32) -> Vec<u8> {
    let [w, h] = [width - 1, height - 1].map(u32::to_le_bytes);
    [
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".as_slice(),
        &w[..3],
        &h[..3],
    ]
    .concat()
}

pub(super) fn all() -> io::Result<Vec<Sample>> {
    let mut all = Vec::new();
    let mut add = |name, pixels, verdict, bytes| {
        all.push(Sample {
            name,
            bytes,
            verdict,
            pixels,
        });
    };
    let (refused, png_file) = (Verdict::Refused, Verdict::Taken("image/png"));
    let picture = files::png(8, 6).to_vec();
    let with = |more: &[u8]| [picture.as_slice(), more].concat();

    add(
        "png of 30000 pixels a side, one bit each",
        0,
        refused(SIZE),
        headed(30_000, 30_000, 1, 0)?,
    );
    add(
        "png of 20000 pixels a side",
        0,
        refused(SIZE),
        headed(20_000, 20_000, 8, 6)?,
    );
    add(
        "png of 2147483647 pixels a side",
        0,
        refused(SIZE),
        headed(0x7fff_ffff, 0x7fff_ffff, 8, 6)?,
    );
    add(
        "png of 8193 by 1 pixels",
        0,
        refused(SIZE),
        headed(8_193, 1, 8, 2)?,
    );
    add(
        "png of 8192 by 8192 pixels, 16 bits a channel",
        0,
        refused(SIZE),
        headed(8_192, 8_192, 16, 6)?,
    );
    add(
        "png of 40 megapixels, 16 bits a channel",
        8_192 * 4_882,
        png_file,
        plain(8_192, 4_882, 16, 6, 64)?,
    );
    add(
        "png of 40 megapixels, one bit each",
        8_192 * 4_882,
        png_file,
        plain(8_192, 4_882, 1, 0, 1)?,
    );
    add(
        "png of no pixels",
        0,
        refused(TYPE),
        png(&[header(0, 10, 8, 2)]),
    );
    add("png that is its signature", 0, refused(TYPE), PNG.to_vec());
    add(
        "png whose first part is another",
        0,
        refused(TYPE),
        png(&[chunk(*b"tEXt", b"a\0b"), header(1, 1, 8, 2)]),
    );
    add(
        "png that ends in its head",
        100,
        png_file,
        picture[..24].to_vec(),
    );
    let inflating = zeros(INFLATED)?;
    let profile = [b"profile\0\0".as_slice(), &inflating].concat();
    add(
        "png whose colour profile becomes 500 MiB",
        100,
        png_file,
        small_with(chunk(*b"iCCP", &profile))?,
    );
    let text = [b"text\0\0".as_slice(), &inflating].concat();
    add(
        "png whose text becomes 500 MiB",
        100,
        png_file,
        small_with(chunk(*b"zTXt", &text))?,
    );
    let international = [b"text\0\x01\0\0\0".as_slice(), &inflating].concat();
    add(
        "png whose international text becomes 500 MiB",
        100,
        png_file,
        small_with(chunk(*b"iTXt", &international))?,
    );
    add(
        "png whose pixels become 500 MiB",
        100,
        png_file,
        png(&[header(10, 10, 8, 2), chunk(*b"IDAT", &inflating)]),
    );
    let mut lying = picture.clone();
    lying[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    add(
        "png whose head says it is 4 GiB long",
        0,
        refused(TYPE),
        lying,
    );
    let long_part = [
        PNG,
        &header(10, 10, 8, 2),
        &u32::MAX.to_be_bytes(),
        b"IDAT",
        &[0; 64],
    ]
    .concat();
    add("png with a part of 4 GiB", 100, png_file, long_part);
    add(
        "png with 100000 parts",
        100,
        png_file,
        png(&[
            vec![header(10, 10, 8, 2)],
            vec![chunk(*b"tEXt", b"a\0b"); 100_000],
        ]
        .concat()),
    );

    add(
        "gif of 65535 pixels a side",
        0,
        refused(SIZE),
        gif(u16::MAX, u16::MAX, 1),
    );
    add(
        "gif of 200000 frames",
        1,
        Verdict::Taken("image/gif"),
        gif(1, 1, 200_000),
    );
    add(
        "gif of no frame",
        1,
        Verdict::Taken("image/gif"),
        gif(1, 1, 0),
    );
    add(
        "gif that is its signature",
        0,
        refused(TYPE),
        b"GIF89a".to_vec(),
    );
    let large_frame = [
        &gif(1, 1, 0)[..19],
        &[
            0x2c, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 2, 2, 0x44, 1, 0, 0x3b,
        ],
    ]
    .concat();
    add(
        "gif whose frame is larger than it",
        1,
        Verdict::Taken("image/gif"),
        large_frame,
    );

    let jpeg_file = Verdict::Taken("image/jpeg");
    add(
        "jpeg of 65500 pixels a side",
        0,
        refused(SIZE),
        jpeg(65_500, 65_500, b""),
    );
    add("jpeg without its pixels", 64, jpeg_file, jpeg(8, 8, b""));
    add(
        "jpeg that is its signature",
        0,
        refused(TYPE),
        b"\xff\xd8\xff".to_vec(),
    );
    add(
        "jpeg of fill bytes",
        0,
        refused(TYPE),
        [b"\xff\xd8".as_slice(), &vec![0xff; 2_000_000]].concat(),
    );
    add(
        "jpeg of comments without a frame",
        0,
        refused(TYPE),
        [
            b"\xff\xd8".as_slice(),
            &b"\xff\xfe\x00\x04ab".repeat(300_000),
        ]
        .concat(),
    );
    add(
        "jpeg whose part says it has no length",
        0,
        refused(TYPE),
        [b"\xff\xd8\xff\xe0\0\0".as_slice(), &[0; 64]].concat(),
    );

    add(
        "webp of 16383 pixels a side",
        0,
        refused(SIZE),
        webp(16_383, 16_383),
    );
    add(
        "webp without its pixels",
        64,
        Verdict::Taken("image/webp"),
        webp(8, 8),
    );
    add(
        "webp that is its signature",
        0,
        refused(TYPE),
        b"RIFF\x04\0\0\0WEBP".to_vec(),
    );

    add(
        "png and script",
        48,
        png_file,
        with(b"<script>alert(1)</script>"),
    );
    add(
        "png and archive",
        48,
        png_file,
        with(b"PK\x03\x04\x14\0\0\0\0\0PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    );
    add(
        "png and page",
        48,
        png_file,
        with(b"<!doctype html><html><body onload=alert(1)>"),
    );
    add(
        "png and Java archive",
        48,
        png_file,
        with(&b"PK\x03\x04META-INF/MANIFEST.MF".repeat(50)),
    );
    add(
        "gif and script",
        0,
        refused(SIZE),
        b"GIF89a/*\x2a\x3e\x80\0\0*/=1;alert(1)//".to_vec(),
    );
    add(
        "jpeg and PHP",
        64,
        jpeg_file,
        jpeg(8, 8, b"<?php system($_GET['c']); ?>"),
    );
    add(
        "jpeg and page",
        64,
        jpeg_file,
        [jpeg(8, 8, b""), b"<html><script>alert(1)</script>".to_vec()].concat(),
    );
    add(
        "PDF and jpeg",
        0,
        refused(TYPE),
        [b"%PDF-1.4\n".to_vec(), jpeg(8, 8, b"")].concat(),
    );
    add(
        "page and png",
        0,
        refused(TYPE),
        [b"<html>".to_vec(), picture.clone()].concat(),
    );

    for (name, bytes) in [
        ("svg", b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".as_slice()),
        ("svg behind a declaration", b"<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><svg>&x;</svg>"),
        ("page", b"<!doctype html><script>alert(1)</script>"),
        ("script", b"alert(1)"),
        ("shell script", b"#!/bin/sh\nid"),
        ("PHP", b"<?php phpinfo();"),
        ("program of Linux", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("program of Windows", b"MZ\x90\0\x03\0\0\0"),
        ("archive", b"PK\x03\x04\x14\0\0\0"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0"),
        ("bmp", b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0"),
        ("tiff", b"II*\0\x08\0\0\0"),
        ("ico", b"\0\0\x01\0\x01\0\x10\x10"),
        ("PDF", b"%PDF-1.7\n"),
        ("PostScript", b"%!PS-Adobe-3.0\n"),
        ("MVG", b"push graphic-context\nimage over 0,0 0,0 'https://x/|id'"),
        ("playlist", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"),
        ("zeros", &[0; 4_096]),
        ("nothing", b""),
    ] {
        add(name, 0, refused(TYPE), bytes.to_vec());
    }
    add("video", 0, refused(TYPE), files::mp4().to_vec());
    add("sound", 0, refused(TYPE), files::wav().to_vec());
    Ok(all)
}
