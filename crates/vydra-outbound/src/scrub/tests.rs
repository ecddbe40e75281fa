use super::*;
use crate::sniff::sniff;
use image::{ExtendedColorType, ImageEncoder};
use std::io::Cursor;

/// What must not be found in any file.
const SECRET: &[u8] = b"52.5200N 13.4050E";

fn pixels() -> Vec<u8> {
    (0..48 * 32 * 3_u32).map(|n| (n * 7 % 251) as u8).collect()
}

fn encoded(format: image::ImageFormat) -> Vec<u8> {
    let mut file = Vec::new();
    let (width, height) = (48, 32);
    match format {
        image::ImageFormat::Jpeg => image::codecs::jpeg::JpegEncoder::new(&mut file).write_image(
            &pixels(),
            width,
            height,
            ExtendedColorType::Rgb8,
        ),
        image::ImageFormat::Png => image::codecs::png::PngEncoder::new(&mut file).write_image(
            &pixels(),
            width,
            height,
            ExtendedColorType::Rgb8,
        ),
        image::ImageFormat::WebP => image::codecs::webp::WebPEncoder::new_lossless(&mut file)
            .write_image(&pixels(), width, height, ExtendedColorType::Rgb8),
        _ => image::codecs::gif::GifEncoder::new(&mut file).encode(
            &pixels(),
            width,
            height,
            ExtendedColorType::Rgb8,
        ),
    }
    .unwrap();
    file
}

/// An Exif block with an orientation and a place, in either byte order.
fn tiff(orientation: u8, big: bool) -> Vec<u8> {
    let n16 = |n: u16| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let n32 = |n: u32| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let mut file = if big {
        b"MM\0*".to_vec()
    } else {
        b"II*\0".to_vec()
    };
    file.extend(n32(8));
    file.extend(n16(2));
    // The maker, behind the directory; then the orientation.
    for (tag, kind, count, value) in [
        (0x010f_u16, 2_u16, 17_u32, n32(38)),
        (0x0112, 3, 1, {
            let [high, low] = n16(u16::from(orientation));
            [high, low, 0, 0]
        }),
    ] {
        file.extend(n16(tag));
        file.extend(n16(kind));
        file.extend(n32(count));
        file.extend(value);
    }
    file.extend(n32(0));
    file.extend(SECRET);
    file
}

fn with_exif(format: image::ImageFormat, tiff: &[u8]) -> Vec<u8> {
    let file = encoded(format);
    let segment = |marker: u8, payload: &[u8]| {
        let size = u16::try_from(payload.len() + 2).unwrap();
        [&[0xff, marker], size.to_be_bytes().as_slice(), payload].concat()
    };
    let chunk = |name: &[u8], payload: &[u8]| {
        let size = u32::try_from(payload.len()).unwrap();
        let body = [name, payload].concat();
        let checksum = crc32fast::hash(&body).to_be_bytes();
        [&size.to_be_bytes(), body.as_slice(), &checksum].concat()
    };
    match format {
        image::ImageFormat::Jpeg => [
            &file[..2],
            &segment(0xe1, &[EXIF, tiff].concat()),
            &segment(0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat()),
            &segment(0xe2, &[b"MPF\0", SECRET].concat()),
            &segment(0xed, &[b"Photoshop 3.0\0", SECRET].concat()),
            &segment(0xfe, SECRET),
            &file[2..],
            b"PK\x03\x04",
            SECRET,
        ]
        .concat(),
        image::ImageFormat::Png => [
            &file[..33],
            &chunk(b"eXIf", tiff),
            &chunk(b"tEXt", &[b"Comment\0", SECRET].concat()),
            &chunk(b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat()),
            &file[33..],
            SECRET,
        ]
        .concat(),
        image::ImageFormat::WebP => {
            let chunk = |name: &[u8], payload: &[u8]| {
                let size = u32::try_from(payload.len()).unwrap();
                let mut chunk = [name, &size.to_le_bytes(), payload].concat();
                chunk.resize(chunk.len().next_multiple_of(2), 0);
                chunk
            };
            // Width and height less one, in 24 bits each; Exif and XMP are announced.
            let extended = chunk(b"VP8X", &[0x0c, 0, 0, 0, 47, 0, 0, 31, 0, 0]);
            let body = [
                b"WEBP",
                extended.as_slice(),
                &file[12..],
                &chunk(b"EXIF", tiff),
                &chunk(b"XMP ", SECRET),
            ]
            .concat();
            let size = u32::try_from(body.len()).unwrap();
            [
                b"RIFF",
                size.to_le_bytes().as_slice(),
                &body,
                b"PK\x03\x04\xff\xff\0\0",
                SECRET,
            ]
            .concat()
        }
        _ => {
            // Behind the table of colours.
            let start = 13 + usize::try_from(colours(Some(file[10]))).unwrap();
            let mut comment = vec![0x21, 0xfe, 17];
            comment.extend(SECRET);
            comment.push(0);
            let mut xmp = b"\x21\xff\x0bXMP DataXMP\x11".to_vec();
            xmp.extend(SECRET);
            xmp.push(0);
            let looping = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x05\0\0";
            [
                &file[..start],
                looping,
                &comment,
                &xmp,
                &file[start..],
                SECRET,
            ]
            .concat()
        }
    }
}

fn scrubbed(file: &[u8], piece: usize) -> Vec<u8> {
    let mut scrubber = Scrubber::new(sniff(file).unwrap().media_type);
    let mut out = BytesMut::new();
    for piece in file.chunks(piece) {
        scrubber.push(piece, &mut out);
    }
    scrubber.finish(&mut out);
    out.to_vec()
}

fn decoded(file: &[u8], format: image::ImageFormat) -> (Vec<u8>, image::metadata::Orientation) {
    use image::ImageDecoder as _;
    let mut decoder = image::ImageReader::with_format(Cursor::new(file), format)
        .into_decoder()
        .unwrap();
    let orientation = decoder.orientation().unwrap();
    let image = image::DynamicImage::from_decoder(decoder).unwrap();
    (image.into_rgb8().into_raw(), orientation)
}

const FORMATS: [image::ImageFormat; 4] = [
    image::ImageFormat::Jpeg,
    image::ImageFormat::Png,
    image::ImageFormat::WebP,
    image::ImageFormat::Gif,
];

fn holds_the_secret(file: &[u8]) -> bool {
    file.windows(SECRET.len()).any(|window| window == SECRET)
}

#[test]
fn the_place_goes_and_the_picture_stays() {
    for format in FORMATS {
        for (orientation, big) in [(6, false), (8, true), (1, false)] {
            let tiff = tiff(orientation, big);
            let file = with_exif(format, &tiff);
            assert!(holds_the_secret(&file));
            let clean = scrubbed(&file, file.len());
            assert!(!holds_the_secret(&clean), "{format:?}");
            assert_eq!(clean.len(), file.len(), "{format:?}");
            let (before, turned) = decoded(&file, format);
            let (after, still_turned) = decoded(&clean, format);
            assert_eq!(before, after, "{format:?}");
            assert_eq!(turned, still_turned, "{format:?}, {orientation}");
            if format != image::ImageFormat::Gif {
                assert_eq!(
                    turned == image::metadata::Orientation::NoTransforms,
                    orientation == 1,
                    "{format:?}"
                );
            }
        }
    }
}

#[test]
fn it_does_not_matter_in_which_pieces_a_file_comes() {
    for format in FORMATS {
        let file = with_exif(format, &tiff(6, false));
        let whole = scrubbed(&file, file.len());
        for piece in [1, 2, 3, 7, 64, 1_000] {
            assert_eq!(
                scrubbed(&file, piece),
                whole,
                "{format:?} in pieces of {piece}"
            );
        }
    }
}

#[test]
fn a_file_without_metadata_is_not_touched() {
    for format in FORMATS {
        let file = encoded(format);
        assert_eq!(scrubbed(&file, 50), file, "{format:?}");
    }
}

/// Wherever it is cut off or broken, it keeps its length and nothing panics.
#[test]
fn broken_files_pass() {
    for format in FORMATS {
        let file = with_exif(format, &tiff(6, true));
        for end in 32..file.len() {
            assert_eq!(
                scrubbed(&file[..end], 33).len(),
                end,
                "{format:?} up to {end}"
            );
        }
        for place in 32..file.len() {
            let mut broken = file.clone();
            broken[place] ^= 0xff;
            assert_eq!(
                scrubbed(&broken, 4_096).len(),
                file.len(),
                "{format:?} at {place}"
            );
        }
    }
}

/// Cut in the middle of its metadata, it does not show it.
#[test]
fn what_is_cut_off_inside_of_metadata_is_blank() {
    for format in FORMATS {
        let file = with_exif(format, &tiff(6, false));
        let secret = file
            .windows(SECRET.len())
            .position(|window| window == SECRET)
            .unwrap();
        let clean = scrubbed(&file[..secret + SECRET.len()], 40);
        assert!(!holds_the_secret(&clean), "{format:?}");
    }
}
