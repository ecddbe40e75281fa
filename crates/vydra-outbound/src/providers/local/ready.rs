//! Small files of every kind, made once: what is answered where only the rest of the service is to be tested.

use super::render::{
    self, Espeak, Film, Picture, PictureFormat, Progress, RenderError, Size, Speech,
};
use crate::provider::{Output, Request};
use vydra_core::asset::MediaKind;

const SIZE: Size = Size {
    width: 64,
    height: 64,
};
const PROMPT: &str = "a ready-made file";
const SECONDS: u16 = 1;

#[derive(Debug)]
pub(super) struct Ready {
    png: Output,
    jpeg: Output,
    webp: Output,
    film: Output,
    speech: Output,
}

impl Ready {
    pub(super) fn make() -> Result<Self, RenderError> {
        let progress: Progress<'_> = &|_| true;
        let picture = |format| {
            let picture = Picture {
                prompt: PROMPT,
                seed: 0,
                size: SIZE,
                format,
            };
            Ok(Output::bytes(render::draw(&picture, progress)?, None))
        };
        let film = Film {
            prompt: PROMPT,
            seed: 0,
            size: SIZE,
            seconds: f32::from(SECONDS),
            start: None,
        };
        let speech = Speech {
            text: PROMPT,
            voice: "",
            seed: 0,
        };
        let spoken = render::speak(&speech, Espeak::default(), progress)?;
        Ok(Self {
            png: picture(PictureFormat::Png)?,
            jpeg: picture(PictureFormat::Jpeg)?,
            webp: picture(PictureFormat::Webp)?,
            film: Output::bytes(
                render::film(&film, progress)?,
                Some(u64::from(SECONDS) * 1_000),
            ),
            speech: Output::bytes(spoken.wav, Some(spoken.duration_ms)),
        })
    }

    /// As many as were asked for, of the kind and format that was asked for; of nothing else in the request is taken notice.
    pub(super) fn outputs(&self, request: &Request) -> Vec<Output> {
        let output = match request.kind {
            MediaKind::Image => match super::format(request) {
                PictureFormat::Png => &self.png,
                PictureFormat::Jpeg => &self.jpeg,
                PictureFormat::Webp => &self.webp,
            },
            MediaKind::Video => &self.film,
            MediaKind::Audio => &self.speech,
        };
        (0..request.outputs).map(|_| output.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Local;
    use super::*;
    use crate::provider::{Context, OutputSource, Provider as _, Submitted};
    use crate::sniff::sniff;
    use serde_json::json;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;
    use vydra_core::job::{Action, Script};

    async fn made(local: &Local, kind: MediaKind, format: &str, outputs: u32) -> Vec<Output> {
        let context = Context {
            attempt: 1,
            progress: Arc::new(|_| {}),
            stop: CancellationToken::new(),
            time_left: Duration::from_mins(1),
            receipt: Arc::default(),
        };
        let input = json!({"prompt": "p", "resolution": "4K", "outputFormat": format});
        let request = Request {
            job: "job_1".to_owned(),
            model: "m".to_owned(),
            kind,
            action: Action::Generate,
            outputs,
            input: input.as_object().unwrap().clone(),
            media: Vec::new(),
            settings: serde_json::Map::new(),
            script: Script::default(),
        };
        match local.submit(&context, request).await.unwrap() {
            Submitted::Done(outputs) => outputs,
            Submitted::Accepted(task) => panic!("{task}"),
        }
    }

    #[tokio::test]
    async fn every_kind_and_format_is_there_at_once() {
        let local = Local::instant().unwrap();
        // Whoever draws needs a slot, so that this shows that nothing is drawn.
        local.slots.close();
        for (kind, format, media_type) in [
            (MediaKind::Image, "png", "image/png"),
            (MediaKind::Image, "jpeg", "image/jpeg"),
            (MediaKind::Image, "webp", "image/webp"),
            (MediaKind::Video, "", "video/mp4"),
            (MediaKind::Audio, "", "audio/wav"),
        ] {
            let outputs = made(&local, kind, format, 2).await;
            assert_eq!(outputs.len(), 2);
            for output in outputs {
                let OutputSource::Bytes(bytes) = output.source else {
                    panic!("it is elsewhere");
                };
                let found = sniff(&bytes).unwrap();
                assert_eq!((found.media_type, found.kind), (media_type, kind));
                assert!(bytes.len() < 200_000, "{media_type}: not small");
                assert_eq!(output.duration_ms.is_some(), kind != MediaKind::Image);
            }
        }
    }
}
