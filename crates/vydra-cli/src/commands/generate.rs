//! Making something: the three things that most callers want, with flags for what they take.

use crate::caller::failure::{EXIT_CODES, Failure};
use crate::caller::input::Input;
use crate::caller::purchase::{Product, Purchase};
use clap::{Args, Subcommand, ValueHint};
use std::process::ExitCode;

/// Speech is no workflow: it is called at its model's path.
const SPEECH: &str = "elevenlabs/tts";

#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Make an image from a text
    #[command(after_help = format!("Examples:
  vydra generate image \"a fox in the snow at dawn\"              prints its address
  vydra generate image \"a fox in the snow at dawn\" -o fox.png
  vydra generate image \"a fox in the snow\" --aspect 16:9 -n 4 -o foxes/ --max-credits 20
  vydra generate image \"a fox\" --model grok-imagine --dry-run   prints the price
  vydra generate image - -o - < prompt.txt | convert - fox.webp

The result is all that stands on stdout: the address, or the file if -o names one.
An image that is to be changed: `vydra jobs create edit_image --help`.

{EXIT_CODES}"))]
    Image(Image),
    /// Make a video from a text, or from an image and a text
    #[command(after_help = format!("Examples:
  vydra generate video \"waves roll onto a beach\" --duration 4 -o waves.mp4
  vydra generate video \"she waves\" --image portrait.png --open
  vydra generate video \"a train in autumn\" --model kling-3.1 --no-wait

A file that is given for an image is sent in first.

{EXIT_CODES}"))]
    Video(Video),
    /// Speak a text
    #[command(after_help = format!("Examples:
  vydra generate speech \"Your picture is ready.\" -o ready.mp3
  vydra generate speech - -o - < letter.txt | aplay

{EXIT_CODES}"))]
    Speech(Speech),
}

#[derive(Debug, Args)]
pub struct Image {
    /// What to show; - reads it from stdin
    #[arg(required_unless_present_any = ["fields", "input_json"])]
    prompt: Option<String>,
    /// Which model; each has its price
    #[arg(long, short)]
    model: Option<String>,
    /// Width to height, such as 16:9
    #[arg(long, value_name = "RATIO")]
    aspect: Option<String>,
    #[command(flatten)]
    purchase: Purchase,
}

#[derive(Debug, Args)]
pub struct Video {
    /// What to show; - reads it from stdin
    #[arg(required_unless_present_any = ["fields", "input_json"])]
    prompt: Option<String>,
    /// Which model; each has its price
    #[arg(long, short)]
    model: Option<String>,
    /// Width to height, such as 16:9
    #[arg(long, value_name = "RATIO")]
    aspect: Option<String>,
    /// Seconds of video
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u32>,
    /// The image that the video starts from
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    image: Option<String>,
    /// A further image to draw upon; may be given several times
    #[arg(long, value_name = "FILE|URL", value_hint = ValueHint::FilePath)]
    reference: Vec<String>,
    #[command(flatten)]
    purchase: Purchase,
}

#[derive(Debug, Args)]
pub struct Speech {
    /// What to say; - reads it from stdin
    #[arg(required_unless_present_any = ["fields", "input_json"])]
    text: Option<String>,
    /// Another model, by its path
    #[arg(long, short, value_name = "PATH", default_value = SPEECH)]
    model: String,
    /// Whose voice
    #[arg(long, value_name = "ID")]
    voice: Option<String>,
    #[command(flatten)]
    purchase: Purchase,
}

impl Generate {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        Ok(match self {
            Self::Image(image) => image.purchase.caller.end(image.run().await),
            Self::Video(video) => video.purchase.caller.end(video.run().await),
            Self::Speech(speech) => speech.purchase.caller.end(speech.run().await),
        })
    }
}

/// What images and videos take.
fn picture(
    input: &mut Input,
    prompt: Option<&str>,
    model: Option<&str>,
    aspect: Option<&str>,
) -> Result<(), Failure> {
    input.text("prompt", prompt)?;
    for (name, text) in [("model", model), ("aspect_ratio", aspect)] {
        if let Some(text) = text {
            input.set(name, text.into());
        }
    }
    Ok(())
}

impl Image {
    async fn run(&self) -> Result<(), Failure> {
        let mut input = self.purchase.input()?;
        let (model, aspect) = (self.model.as_deref(), self.aspect.as_deref());
        picture(&mut input, self.prompt.as_deref(), model, aspect)?;
        let product = Product::Workflow("generate_image".to_owned());
        self.purchase.run(product, input).await
    }
}

impl Video {
    async fn run(&self) -> Result<(), Failure> {
        let mut input = self.purchase.input()?;
        let (model, aspect) = (self.model.as_deref(), self.aspect.as_deref());
        picture(&mut input, self.prompt.as_deref(), model, aspect)?;
        if let Some(seconds) = self.duration {
            input.set("duration", seconds.into());
        }
        if let Some(image) = &self.image {
            input.media("image_url", image)?;
        }
        if !self.reference.is_empty() {
            let images: Vec<&str> = self.reference.iter().map(String::as_str).collect();
            input.media_list("image_urls", &images)?;
        }
        let product = Product::Workflow("generate_video".to_owned());
        self.purchase.run(product, input).await
    }
}

impl Speech {
    async fn run(&self) -> Result<(), Failure> {
        let mut input = self.purchase.input()?;
        input.text("text", self.text.as_deref())?;
        if let Some(voice) = &self.voice {
            input.set("voice_id", voice.as_str().into());
        }
        let product = Product::Model(self.model.clone());
        self.purchase.run(product, input).await
    }
}
