//! What a file is, and what is taken out of it: the same in one piece and in many, and never more than before.

use super::pieces;
use anyhow::ensure;
use bytes::BytesMut;
use vydra_core::asset::MediaKind;
use vydra_outbound::scrub::Scrubber;
use vydra_outbound::sniff::sniff;

pub(super) const WORDS: [&[u8]; 34] = [
    b"\x89PNG\r\n\x1a\n",
    b"\0\0\0\x0dIHDR",
    b"IDAT",
    b"IEND",
    b"eXIf",
    b"tEXt",
    b"zTXt",
    b"iCCP",
    b"vyNo",
    b"\xff\xd8\xff",
    b"\xff\xe1",
    b"\xff\xe0\0\x10JFIF\0",
    b"Exif\0\0",
    b"MM\0*",
    b"II*\0",
    b"\xff\xc0\0\x11",
    b"\xff\xda",
    b"\xff\xd9",
    b"\xff\0",
    b"\xff\xff",
    b"GIF89a",
    b"\x21\xfe",
    b"\x21\xff\x0b",
    b"\x2c",
    b"\x3b",
    b"RIFF",
    b"WEBP",
    b"VP8 ",
    b"VP8L",
    b"VP8X",
    b"EXIF",
    b"XMP ",
    b"ftypisom",
    b"http://ns.adobe.com/xap/1.0/\0",
];

const TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

pub(super) fn check(data: &[u8]) -> anyhow::Result<()> {
    let found = sniff(data);
    // An image is known by its beginning; more of it changes nothing.
    if let Some(found) = found.filter(|found| found.kind == MediaKind::Image) {
        let mut head = 0;
        for piece in pieces(data) {
            head += piece.len();
            let early = data.get(..head).and_then(sniff);
            if let Some(early) = early.filter(|early| early.dimensions.is_some()) {
                ensure!(early == found, "{early:?} became {found:?}");
                break;
            }
        }
    }
    for media_type in TYPES {
        let whole = scrubbed(media_type, [data]);
        ensure!(
            whole.len() == data.len(),
            "{media_type}: {} bytes became {}",
            data.len(),
            whole.len()
        );
        ensure!(
            scrubbed(media_type, pieces(data)) == whole,
            "{media_type}: in pieces it is another file"
        );
        if found.is_some_and(|found| found.media_type == media_type) {
            ensure!(
                sniff(&whole) == found,
                "{found:?} became {:?}",
                sniff(&whole)
            );
            ensure!(
                scrubbed(media_type, [&*whole]) == whole,
                "{media_type}: a second time takes out more"
            );
        }
    }
    Ok(())
}

fn scrubbed<'a>(media_type: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> BytesMut {
    let mut scrubber = Scrubber::new(media_type);
    let mut out = BytesMut::new();
    for piece in pieces {
        scrubber.push(piece, &mut out);
    }
    scrubber.finish(&mut out);
    out
}
