//! The smallest useful MP4: one H.264 track, index in front of the pictures so that playing starts before loading ends.

/// One encoded picture, as NAL units without their start codes.
pub struct Sample {
    pub bytes: Vec<u8>,
    pub keyframe: bool,
}

/// What a decoder must know before the first picture.
pub struct Track {
    pub width: u16,
    pub height: u16,
    pub sps: Vec<u8>,
    pub pps: Vec<u8>,
    pub frames_per_second: u32,
    pub samples: Vec<Sample>,
}

/// Ticks of one picture; a round timescale keeps every duration exact.
const TICKS: u32 = 512;

/// Splits an Annex B stream at its start codes.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(found) = stream
        .get(at..)
        .and_then(|rest| rest.windows(3).position(|window| window == [0, 0, 1]))
    {
        starts.push(at + found + 3);
        at += found + 3;
    }
    let ends: Vec<usize> = starts
        .iter()
        .skip(1)
        .map(|next| next - 3)
        .chain([stream.len()])
        .collect();
    starts.into_iter().zip(ends).filter_map(|(start, end)| {
        let unit = stream.get(start..end)?;
        // A fourth zero of the next start code, or padding, is no part of the unit.
        let length = unit.iter().rposition(|byte| *byte != 0)? + 1;
        unit.get(..length)
    })
}

/// Appends a unit with the four-byte length MP4 wants in place of a start code.
pub fn push_unit(bytes: &mut Vec<u8>, unit: &[u8]) {
    bytes.extend((unit.len() as u32).to_be_bytes());
    bytes.extend(unit);
}

/// A box under construction.
struct Atom(Vec<u8>);

impl Atom {
    fn new(kind: [u8; 4]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind);
        Self(bytes)
    }

    fn full(kind: [u8; 4], version_and_flags: u32) -> Self {
        Self::new(kind).u32(version_and_flags)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn u32s(self, values: impl IntoIterator<Item = u32>) -> Self {
        values.into_iter().fold(self, Self::u32)
    }

    fn with(self, child: Self) -> Self {
        let child = child.done();
        self.bytes(&child)
    }

    fn done(mut self) -> Vec<u8> {
        let length = (self.0.len() as u32).to_be_bytes();
        self.0.splice(..4, length);
        self.0
    }
}

const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// The whole file.
pub fn mux(track: &Track) -> Vec<u8> {
    let brands = Atom::new(*b"ftyp")
        .bytes(b"isom")
        .u32(0x200)
        .bytes(b"isomiso2avc1mp41mp42")
        .done();
    // The index holds one offset, and its length does not depend on the value.
    let offset = brands.len() + index(track, 0).len() + 8;
    let mut file = brands;
    file.extend(index(track, offset as u32));
    let payload: usize = track.samples.iter().map(|sample| sample.bytes.len()).sum();
    file.reserve(payload + 8);
    file.extend((payload as u32 + 8).to_be_bytes());
    file.extend(b"mdat");
    for sample in &track.samples {
        file.extend(&sample.bytes);
    }
    file
}

fn index(track: &Track, offset: u32) -> Vec<u8> {
    let timescale = track.frames_per_second * TICKS;
    let duration = track.samples.len() as u32 * TICKS;
    let header = Atom::full(*b"mvhd", 0)
        .u32s([0, 0, timescale, duration, 0x1_0000])
        .u16(0x100)
        .bytes(&[0; 10])
        .u32s(MATRIX)
        .u32s([0; 6])
        .u32(2);
    // Flags: enabled, in the movie, in the preview.
    let track_header = Atom::full(*b"tkhd", 7)
        .u32s([0, 0, 1, 0, duration, 0, 0])
        .u32s([0, 0])
        .u32s(MATRIX)
        .u32s([u32::from(track.width) << 16, u32::from(track.height) << 16]);
    let media_header = Atom::full(*b"mdhd", 0)
        .u32s([0, 0, timescale, duration])
        .u16(0x55c4) // "und"
        .u16(0);
    let handler = Atom::full(*b"hdlr", 0)
        .u32(0)
        .bytes(b"vide")
        .u32s([0; 3])
        .bytes(b"VideoHandler\0");
    let place =
        Atom::new(*b"dinf").with(Atom::full(*b"dref", 0).u32(1).with(Atom::full(*b"url ", 1)));
    let information = Atom::new(*b"minf")
        .with(Atom::full(*b"vmhd", 1).bytes(&[0; 8]))
        .with(place)
        .with(samples(track, offset));
    let media = Atom::new(*b"mdia")
        .with(media_header)
        .with(handler)
        .with(information);
    Atom::new(*b"moov")
        .with(header)
        .with(Atom::new(*b"trak").with(track_header).with(media))
        .done()
}

fn samples(track: &Track, offset: u32) -> Atom {
    let count = track.samples.len() as u32;
    let keyframes: Vec<u32> = (1..)
        .zip(&track.samples)
        .filter(|(_, sample)| sample.keyframe)
        .map(|(number, _)| number)
        .collect();
    let sizes = track.samples.iter().map(|sample| sample.bytes.len() as u32);
    Atom::new(*b"stbl")
        .with(Atom::full(*b"stsd", 0).u32(1).with(description(track)))
        .with(Atom::full(*b"stts", 0).u32s([1, count, TICKS]))
        .with(
            Atom::full(*b"stss", 0)
                .u32(keyframes.len() as u32)
                .u32s(keyframes),
        )
        .with(Atom::full(*b"stsc", 0).u32s([1, 1, count, 1]))
        .with(Atom::full(*b"stsz", 0).u32s([0, count]).u32s(sizes))
        .with(Atom::full(*b"stco", 0).u32s([1, offset]))
}

fn description(track: &Track) -> Atom {
    let profile = track.sps.get(1..4).unwrap_or(&[66, 0xc0, 31]);
    let mut configuration = Atom::new(*b"avcC")
        .bytes(&[1])
        .bytes(profile)
        .bytes(&[0xff, 0xe1])
        .u16(track.sps.len() as u16)
        .bytes(&track.sps)
        .bytes(&[1])
        .u16(track.pps.len() as u16)
        .bytes(&track.pps);
    // From High on, the record also states chroma format and bit depth.
    if profile.first().is_some_and(|profile| *profile >= 100) {
        configuration = configuration.bytes(&[0xfd, 0xf8, 0xf8, 0]);
    }
    // BT.709, limited range: what the planes are made with.
    let colour = Atom::new(*b"colr")
        .bytes(b"nclx")
        .u16(1)
        .u16(1)
        .u16(1)
        .bytes(&[0]);
    Atom::new(*b"avc1")
        .bytes(&[0; 6])
        .u16(1)
        .bytes(&[0; 16])
        .u16(track.width)
        .u16(track.height)
        .u32s([0x48_0000, 0x48_0000, 0])
        .u16(1)
        .bytes(&[0; 32])
        .u16(24)
        .u16(0xffff)
        .with(configuration)
        .with(colour)
        .with(Atom::new(*b"pasp").u32s([1, 1]))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The content of the box at `path`; enough of a reader to check our own files.
    pub fn find<'a>(mut bytes: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
        let (name, rest) = path.split_first()?;
        while bytes.len() >= 8 {
            let length = u32::from_be_bytes(bytes[..4].try_into().ok()?) as usize;
            let content = bytes.get(8..length)?;
            if &bytes[4..8] == name.as_bytes() {
                let skip = match *name {
                    "stsd" => 8,
                    "avc1" => 78,
                    _ => 0,
                };
                return if rest.is_empty() {
                    Some(content)
                } else {
                    find(content.get(skip..)?, rest)
                };
            }
            bytes = bytes.get(length..)?;
        }
        None
    }

    #[test]
    fn start_codes_of_both_lengths_are_split() {
        let stream = [
            0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 9,
        ];
        let units: Vec<&[u8]> = nal_units(&stream).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 9]]);
    }

    #[test]
    fn the_offset_points_at_the_first_sample() {
        let sample = |byte: u8, keyframe| Sample {
            bytes: vec![byte; 5],
            keyframe,
        };
        let file = mux(&Track {
            width: 64,
            height: 36,
            sps: vec![0x67, 66, 0xc0, 30],
            pps: vec![0x68, 1],
            frames_per_second: 24,
            samples: vec![sample(0xaa, true), sample(0xbb, false)],
        });
        let stco = find(&file, &["moov", "trak", "mdia", "minf", "stbl", "stco"]).unwrap();
        let offset = u32::from_be_bytes(stco[8..12].try_into().unwrap()) as usize;
        assert_eq!(
            &file[offset..],
            &[0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb]
        );
        assert_eq!(&file[offset - 4..offset], b"mdat");
    }
}
