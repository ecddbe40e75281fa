//! The providers, one folder each.

pub mod a1111;
pub mod comfyui;
pub mod elevenlabs;
pub mod fal;
pub mod gemini;
mod google;
pub mod http;
pub mod local;
pub mod openai;
mod percent;
pub mod replicate;
pub mod sandbox;
mod several;
mod task_id;
pub mod vertex;
pub mod xai;
