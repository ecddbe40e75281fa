//! A scene in time: frames are painted on one thread and encoded on another.

use super::brief::Brief;
use super::canvas::{Canvas, Finish, Planes};
use super::journey::Journey;
use super::mp4::{self, Sample, Track};
use super::scene::{self, Scene};
use super::{Film, Progress, RenderError, Size, decode, report, style};
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
    QpRange, RateControlMode, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;
use std::sync::mpsc;

pub const FRAMES_PER_SECOND: u32 = 24;
const MAX_SECONDS: f32 = 60.0;
/// What level 5.1 of the encoder takes, in either orientation.
const MAX_LONG_SIDE: u32 = 3840;
const MAX_SHORT_SIDE: u32 = 2160;
/// Frames painted ahead of the encoder; more would only cost memory.
const AHEAD: usize = 2;
/// A frame the encoder skipped is offered again: every offer drains its rate budget.
const ATTEMPTS: usize = 4;

/// An H.264 MP4 of `round(seconds · 24)` frames that a browser plays while it loads.
pub fn film(film: &Film, progress: Progress) -> Result<Vec<u8>, RenderError> {
    let size = even(film.size)?;
    let frames = frame_count(film.seconds);
    report(progress, 0)?;
    let mut brief = Brief::of(film.prompt, film.seed);
    brief.overlay = film.start.is_some();
    let scene: Box<dyn Scene> = match film.start {
        Some(bytes) => Box::new(Journey::new(&brief, &decode::decode(bytes)?, size)),
        None => scene::compose(&brief, size),
    };
    report(progress, 2)?;
    let hand = Hand {
        // A given picture keeps its own.
        style: (!brief.overlay).then_some(&brief),
        finish: style::finish(&brief),
    };
    shoot(&*scene, &hand, size, frames, progress)
}

/// What is done to every frame once its scene is painted.
pub struct Hand<'a> {
    pub style: Option<&'a Brief>,
    pub finish: Finish,
}

/// Films a scene. `size` must be [`even`].
pub fn shoot(
    scene: &dyn Scene,
    hand: &Hand<'_>,
    size: Size,
    frames: u32,
    progress: Progress,
) -> Result<Vec<u8>, RenderError> {
    let track = std::thread::scope(|threads| {
        let (send, receive) = mpsc::sync_channel(AHEAD);
        let (give_back, spare) = mpsc::channel();
        threads.spawn(move || paint(scene, hand, size, frames, &send, &spare));
        encode(size, frames, &receive, &give_back, progress)
    })?;
    let file = mp4::mux(&track);
    report(progress, 100)?;
    Ok(file)
}

pub fn frame_count(seconds: f32) -> u32 {
    let seconds = if seconds.is_finite() { seconds } else { 1.0 };
    ((seconds.clamp(0.1, MAX_SECONDS) * FRAMES_PER_SECOND as f32).round() as u32).max(1)
}

/// The encoder takes even sides only.
pub fn even(size: Size) -> Result<Size, RenderError> {
    let size = size.checked()?;
    let (long, short) = (size.width.max(size.height), size.width.min(size.height));
    if long > MAX_LONG_SIDE || short > MAX_SHORT_SIDE {
        return Err(RenderError::TooLarge);
    }
    Ok(Size {
        width: size.width & !1,
        height: size.height & !1,
    })
}

fn paint(
    scene: &dyn Scene,
    hand: &Hand<'_>,
    size: Size,
    frames: u32,
    send: &mpsc::SyncSender<Planes>,
    spare: &mpsc::Receiver<Planes>,
) {
    let mut canvas = Canvas::new(size);
    for frame in 0..frames {
        scene.paint(&mut canvas, frame as f32 / FRAMES_PER_SECOND as f32);
        if let Some(brief) = hand.style {
            style::apply(brief, &mut canvas);
        }
        let mut planes = spare.try_recv().unwrap_or_else(|_| Planes::new(size));
        canvas.planes(&hand.finish, &mut planes);
        // The encoder hung up: it failed, or the caller stopped the work.
        if send.send(planes).is_err() {
            return;
        }
    }
}

fn encode(
    size: Size,
    frames: u32,
    receive: &mpsc::Receiver<Planes>,
    give_back: &mpsc::Sender<Planes>,
    progress: Progress,
) -> Result<Track, RenderError> {
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), settings(size))
        .map_err(|error| RenderError::Encode(error.to_string()))?;
    let (width, height) = (size.width as usize, size.height as usize);
    let mut track = Track {
        width: size.width as u16,
        height: size.height as u16,
        sps: Vec::new(),
        pps: Vec::new(),
        frames_per_second: FRAMES_PER_SECOND,
        samples: Vec::with_capacity(frames as usize),
    };
    for frame in 0..frames {
        let planes = receive
            .recv()
            .map_err(|_| RenderError::Encode("the painter stopped early".into()))?;
        let source = YUVSlices::new(
            (&planes.y, &planes.u, &planes.v),
            (width, height),
            (width, width / 2, width / 2),
        );
        for _ in 0..ATTEMPTS {
            let encoded = encoder
                .encode(&source)
                .map_err(|error| RenderError::Encode(error.to_string()))?;
            let keyframe = encoded.frame_type() == FrameType::IDR;
            if append(&mut track, &encoded.to_vec(), keyframe) {
                break;
            }
        }
        if track.samples.len() <= frame as usize {
            return Err(RenderError::Encode("the encoder left out a frame".into()));
        }
        // A closed channel only means that nobody paints any more.
        let _ = give_back.send(planes);
        report(progress, (2 + (frame + 1) * 96 / frames) as u8)?;
    }
    Ok(track)
}

/// Parameter sets go to the file's index, pictures to its samples.
/// Returns false when the stream holds no picture.
fn append(track: &mut Track, stream: &[u8], keyframe: bool) -> bool {
    let mut sample = Sample {
        bytes: Vec::with_capacity(stream.len()),
        keyframe,
    };
    for unit in mp4::nal_units(stream) {
        match unit.first().map_or(0, |byte| byte & 0x1f) {
            7 => track.sps = unit.to_vec(),
            8 => track.pps = unit.to_vec(),
            _ => mp4::push_unit(&mut sample.bytes, unit),
        }
    }
    let complete = !sample.bytes.is_empty() && !track.sps.is_empty() && !track.pps.is_empty();
    if complete {
        track.samples.push(sample);
    }
    complete
}

fn settings(size: Size) -> EncoderConfig {
    let pixels = size.width * size.height;
    EncoderConfig::new()
        .bitrate(BitRate::from_bps((pixels * 8).clamp(1_000_000, 20_000_000)))
        .max_frame_rate(FrameRate::from_hz(FRAMES_PER_SECOND as f32))
        .rate_control_mode(RateControlMode::Quality)
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .profile(Profile::High)
        .qp(QpRange::new(18, 28))
        .intra_frame_period(IntraFramePeriod::from_num_frames(FRAMES_PER_SECOND * 4))
        .scene_change_detect(false)
        .background_detection(false)
        .adaptive_quantization(true)
        // The encoder complains on stderr when it may not skip. With this much room it has no reason to.
        .skip_frames(true)
        .num_threads(1)
        .vui(VuiConfig::bt709())
}

#[cfg(test)]
pub mod tests {
    use super::super::mp4::tests::find;
    use super::super::{Picture, PictureFormat, draw};
    use super::*;
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource;

    const STBL: [&str; 5] = ["moov", "trak", "mdia", "minf", "stbl"];
    const SIZE: Size = Size {
        width: 192,
        height: 108,
    };

    fn film_of(seconds: f32, start: Option<&[u8]>) -> Vec<u8> {
        let wanted = Film {
            prompt: "ocean at sunset",
            seed: 5,
            size: SIZE,
            seconds,
            start,
        };
        film(&wanted, &|_| true).unwrap()
    }

    fn table<'a>(file: &'a [u8], name: &str) -> &'a [u8] {
        let path: Vec<&str> = STBL.into_iter().chain([name]).collect();
        find(file, &path).unwrap()
    }

    fn number(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// Reads the file the way a player does: index first, samples by offset and size.
    pub fn frames_of(file: &[u8], dimensions: (usize, usize)) -> Vec<Vec<u8>> {
        let configuration = {
            let path: Vec<&str> = STBL.into_iter().chain(["stsd", "avc1", "avcC"]).collect();
            find(file, &path).unwrap()
        };
        assert_eq!(configuration[0], 1);
        let length = usize::from(configuration[7]);
        let sps = &configuration[8..8 + length];
        let pps = &configuration[8 + length + 3..][..usize::from(configuration[8 + length + 2])];
        assert_eq!((sps[0] & 0x1f, pps[0] & 0x1f), (7, 8));
        let mut stream = Vec::new();
        for unit in [sps, pps] {
            stream.extend([0, 0, 0, 1]);
            stream.extend(unit);
        }
        let sizes = table(file, "stsz");
        let mut at = number(table(file, "stco"), 8) as usize;
        let mut decoder = Decoder::new().unwrap();
        assert!(decoder.decode(&stream).unwrap().is_none());
        let mut frames = Vec::new();
        for sample in 0..number(sizes, 8) as usize {
            let mut rest = &file[at..at + number(sizes, 12 + sample * 4) as usize];
            at += rest.len();
            let mut stream = Vec::new();
            while let Some(length) = rest.get(..4) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                stream.extend([0, 0, 0, 1]);
                stream.extend(&rest[4..4 + length]);
                if sample == 0 && frames.is_empty() {
                    assert_eq!(rest[4] & 0x1f, 5, "the first sample is no keyframe");
                }
                rest = &rest[4 + length..];
            }
            let frame = decoder.decode(&stream).unwrap().unwrap();
            assert_eq!(frame.dimensions(), dimensions);
            let mut rgb = vec![0; dimensions.0 * dimensions.1 * 3];
            frame.write_rgb8(&mut rgb);
            frames.push(rgb);
        }
        frames
    }

    pub fn distance(a: &[u8], b: &[u8]) -> f32 {
        let sum: f32 = a
            .iter()
            .zip(b)
            .map(|(a, b)| f32::from(a.abs_diff(*b)))
            .sum();
        sum / a.len() as f32
    }

    #[test]
    fn a_film_is_exact_to_the_frame_and_starts_fast() {
        for (seconds, count) in [(1.0, 24), (1.52, 36), (f32::NAN, 24), (0.0, 2)] {
            let file = film_of(seconds, None);
            assert_eq!(number(table(&file, "stsz"), 8), count);
            assert_eq!(number(table(&file, "stts"), 8), count);
            let mdhd = find(&file, &["moov", "trak", "mdia", "mdhd"]).unwrap();
            let (scale, duration) = (number(mdhd, 12), number(mdhd, 16));
            assert_eq!(duration * FRAMES_PER_SECOND, count * scale);
            assert_eq!(number(table(&file, "stss"), 8), 1);
            let place = |name: &[u8; 4]| file.windows(4).position(|window| window == name);
            assert!(place(b"moov") < place(b"mdat"));
        }
    }

    #[test]
    fn a_film_is_deterministic_moves_and_decodes() {
        let file = film_of(1.0, None);
        assert_eq!(file, film_of(1.0, None));
        let frames = frames_of(&file, (192, 108));
        assert_eq!(frames.len(), 24);
        assert!(distance(&frames[0], &frames[23]) > 0.8);
        // Smooth: no jump between neighbours.
        for pair in frames.windows(2) {
            assert!(distance(&pair[0], &pair[1]) < 6.0);
        }
    }

    #[test]
    fn a_film_with_a_start_begins_with_it() {
        let still = Picture {
            prompt: "a red house in a meadow by day",
            seed: 2,
            size: SIZE,
            format: PictureFormat::Png,
        };
        let png = draw(&still, &|_| true).unwrap();
        let image = decode::decode(&png).unwrap();
        let frames = frames_of(&film_of(2.0, Some(&png)), (192, 108));
        let first = distance(&frames[0], image.as_raw());
        assert!(first < 9.0, "{first}");
        assert!(distance(&frames[0], &frames[47]) > 2.0);
    }

    #[test]
    fn a_film_refuses_what_it_cannot_encode() {
        let wanted = Film {
            prompt: "",
            seed: 0,
            size: Size {
                width: 4000,
                height: 3000,
            },
            seconds: 1.0,
            start: None,
        };
        assert!(matches!(
            film(&wanted, &|_| true),
            Err(RenderError::TooLarge)
        ));
        let broken = Film {
            size: SIZE,
            start: Some(b"\x89PNG\r\n\x1a\n"),
            ..wanted
        };
        let refused = film(&broken, &|_| true);
        assert!(matches!(refused, Err(RenderError::UnreadableImage(_))));
    }
}
