//! A scene in time: frames are painted on one thread and encoded on another.

use super::brief::Brief;
use super::canvas::{Canvas, Planes};
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
    let brief = Brief::of(film.prompt, film.seed);
    let scene: Box<dyn Scene> = match film.start {
        Some(bytes) => Box::new(Journey::new(&brief, &decode::decode(bytes)?, size)),
        None => scene::compose(&brief, size),
    };
    report(progress, 2)?;
    let track = std::thread::scope(|threads| {
        let (send, receive) = mpsc::sync_channel(AHEAD);
        let (give_back, spare) = mpsc::channel();
        let (scene, brief) = (&*scene, &brief);
        threads.spawn(move || paint(scene, brief, size, frames, &send, &spare));
        encode(size, frames, &receive, &give_back, progress)
    })?;
    let file = mp4::mux(&track);
    report(progress, 100)?;
    Ok(file)
}

fn frame_count(seconds: f32) -> u32 {
    let seconds = if seconds.is_finite() { seconds } else { 1.0 };
    ((seconds.clamp(0.1, MAX_SECONDS) * FRAMES_PER_SECOND as f32).round() as u32).max(1)
}

/// The encoder takes even sides only.
fn even(size: Size) -> Result<Size, RenderError> {
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
    brief: &Brief,
    size: Size,
    frames: u32,
    send: &mpsc::SyncSender<Planes>,
    spare: &mpsc::Receiver<Planes>,
) {
    let mut canvas = Canvas::new(size);
    let finish = style::finish(brief);
    for frame in 0..frames {
        scene.paint(&mut canvas, frame as f32 / FRAMES_PER_SECOND as f32);
        style::apply(brief, &mut canvas);
        let mut planes = spare.try_recv().unwrap_or_else(|_| Planes::new(size));
        canvas.planes(&finish, &mut planes);
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
