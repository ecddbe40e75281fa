//! The built-in provider: no network, no weights. It draws, films and speaks by rule, so that everything around a model
//! can be used and tested before a model is set up. It says honestly what it is.

mod ready;
pub mod render;

use crate::provider::{
    Accepted, Context, ErrorKind, MediaInput, Output, Polled, Provider, ProviderError, Request,
    Submitted,
};
use crate::sniff::sniff;
use async_trait::async_trait;
use ready::Ready;
use render::{
    Edit, Espeak, Film, Picture, PictureFormat, Progress, RenderError, Size, Speech, Timelapse,
};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::Semaphore;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;

const PICTURE_SIDE: u32 = 1_024;
const FILM_SIDE: u32 = 960;
const FILM_SECONDS: u64 = 5;
/// The one model that is really ours: it joins images into a film.
const TIMELAPSE: &str = "timelapse-film";
/// How long each image is shown.
const STAGE_SECONDS: f64 = 2.0;

/// Draws at most `slots` things at once, as each takes a whole core.
#[derive(Debug)]
pub struct Local {
    slots: Arc<Semaphore>,
    /// When it is there, nothing is drawn.
    ready: Option<Ready>,
}

impl Local {
    pub fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots.max(1))),
            ready: None,
        }
    }

    /// Answers at once with a small ready-made file: for load tests. Fails when no such file can be made.
    pub fn instant() -> Result<Self, RenderError> {
        Ok(Self {
            ready: Some(Ready::make()?),
            ..Self::new(1)
        })
    }
}

#[async_trait]
impl Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    async fn submit(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<Submitted, ProviderError> {
        if let Some(ready) = &self.ready {
            return Ok(Submitted::Done(ready.outputs(&request)));
        }
        let refused =
            |detail: String| ProviderError::new(ErrorKind::Unavailable, Accepted::No, detail);
        let slot = Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .map_err(|closed| refused(closed.to_string()))?;
        let context = context.clone();
        tokio::task::spawn_blocking(move || {
            let outputs = make(&request, &context);
            drop(slot);
            outputs
        })
        .await
        .map_err(|panicked| {
            ProviderError::new(ErrorKind::NoOutput, Accepted::Yes, panicked.to_string())
        })?
        .map(Submitted::Done)
    }

    async fn poll(&self, _context: &Context, task: &str) -> Result<Polled, ProviderError> {
        Err(ProviderError::new(
            ErrorKind::Unknown,
            Accepted::Unknown,
            format!("there is no task {task}"),
        ))
    }

    async fn cancel(&self, _task: &str) {}
}

fn make(request: &Request, context: &Context) -> Result<Vec<Output>, ProviderError> {
    (0..request.outputs)
        .map(|number| {
            // Several outputs share the bar: each fills its part of it.
            let highest = AtomicU8::new(0);
            let progress = |percent: u8| {
                let whole = (u32::from(percent.min(100)) + number * 100) / request.outputs.max(1);
                let whole = u8::try_from(whole).unwrap_or(100);
                if highest.fetch_max(whole, Ordering::Relaxed) < whole {
                    (context.progress)(whole);
                }
                !context.stop.is_cancelled()
            };
            make_one(
                request,
                seed(request).wrapping_add(u64::from(number)),
                &progress,
            )
            .map_err(|error| told(&error))
        })
        .collect()
}

fn make_one(request: &Request, seed: u64, progress: Progress<'_>) -> Result<Output, RenderError> {
    let prompt = text(request, "prompt")
        .or_else(|| text(request, "text"))
        .unwrap_or_default();
    let images: Vec<&[u8]> = images(request);
    let ratio = text(request, "aspect_ratio").or_else(|| text(request, "aspectRatio"));
    let media = |bytes: Vec<u8>| Output::bytes(bytes, None);
    match (request.kind, request.action) {
        (MediaKind::Image, action) => {
            let side = match text(request, "resolution") {
                Some("2K") => 2 * PICTURE_SIDE,
                Some("4K") => 4 * PICTURE_SIDE,
                _ => PICTURE_SIDE,
            };
            let size = picture_size(ratio, side, &images, action);
            let format = format(request);
            match action {
                Action::Edit => {
                    let edit = Edit {
                        prompt,
                        seed,
                        size: Some(size),
                        format,
                        sources: &images,
                    };
                    render::edit(&edit, progress).map(media)
                }
                Action::Generate => {
                    let picture = Picture {
                        prompt,
                        seed,
                        size,
                        format,
                    };
                    render::draw(&picture, progress).map(media)
                }
            }
        }
        (MediaKind::Video, _) if request.model == TIMELAPSE => {
            let seconds = request
                .input
                .get("seconds")
                .and_then(Value::as_f64)
                .unwrap_or(STAGE_SECONDS)
                .clamp(1.0, 5.0);
            #[expect(clippy::cast_possible_truncation, reason = "1 to 5")]
            let wanted = Timelapse {
                pictures: &images,
                seconds: seconds as f32,
                long_side: FILM_SIDE,
            };
            let (bytes, duration_ms) = render::timelapse(&wanted, progress)?;
            Ok(Output::bytes(bytes, Some(duration_ms)))
        }
        (MediaKind::Video, _) => {
            let seconds = request
                .input
                .get("duration")
                .and_then(Value::as_u64)
                .unwrap_or(FILM_SECONDS)
                .clamp(1, 15);
            let start = images.first().copied();
            let ratio = ratio.or(if start.is_none() { Some("16:9") } else { None });
            let size = picture_size(ratio, FILM_SIDE, &images, Action::Edit);
            #[expect(clippy::cast_precision_loss, reason = "at most 15")]
            let film = Film {
                prompt,
                seed,
                size,
                seconds: seconds as f32,
                start,
            };
            let bytes = render::film(&film, progress)?;
            Ok(Output::bytes(bytes, Some(seconds * 1_000)))
        }
        (MediaKind::Audio, _) => {
            let speech = Speech {
                text: prompt,
                voice: text(request, "voice_id").unwrap_or_default(),
                seed,
            };
            let spoken = render::speak(&speech, Espeak::default(), progress)?;
            Ok(Output::bytes(spoken.wav, Some(spoken.duration_ms)))
        }
    }
}

fn images(request: &Request) -> Vec<&[u8]> {
    request
        .media
        .iter()
        .filter(|media| media.kind == MediaKind::Image)
        .map(|media: &MediaInput| media.bytes.as_ref())
        .collect()
}

/// The asked ratio; without one, that of the first given image.
fn picture_size(ratio: Option<&str>, side: u32, images: &[&[u8]], action: Action) -> Size {
    let square = Size {
        width: side,
        height: side,
    };
    if let Some(size) = ratio.and_then(|ratio| render::size_for(ratio, side)) {
        return size;
    }
    let given = images
        .first()
        .filter(|_| action == Action::Edit)
        .and_then(|image| sniff(image)?.dimensions);
    let Some((width, height)) = given else {
        return square;
    };
    let longest = u64::from(width.max(height).max(1));
    // Even numbers, because video frames need them.
    let scaled = |part: u32| {
        (u32::try_from(u64::from(part) * u64::from(side) / longest).unwrap_or(side) & !7).max(64)
    };
    Size {
        width: scaled(width),
        height: scaled(height),
    }
}

fn format(request: &Request) -> PictureFormat {
    match text(request, "outputFormat").or_else(|| text(request, "output_format")) {
        Some("jpeg") => PictureFormat::Jpeg,
        Some("webp") => PictureFormat::Webp,
        _ => PictureFormat::Png,
    }
}

fn text<'a>(request: &'a Request, field: &str) -> Option<&'a str> {
    request.input.get(field).and_then(Value::as_str)
}

/// The caller's seed, else one of the job: another job gives another picture, another attempt the same.
fn seed(request: &Request) -> u64 {
    request
        .input
        .get("seed")
        .and_then(Value::as_u64)
        .unwrap_or_else(|| {
            // FNV-1a: stable over versions, unlike the standard library's hasher.
            request
                .job
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                })
        })
}

fn told(error: &RenderError) -> ProviderError {
    let kind = match error {
        RenderError::Cancelled => ErrorKind::Cancelled,
        RenderError::UnreadableImage(_) | RenderError::TooLarge => ErrorKind::InputUnreadable,
        RenderError::Encode(_) => ErrorKind::NoOutput,
    };
    ProviderError::new(kind, Accepted::No, error.to_string())
}
