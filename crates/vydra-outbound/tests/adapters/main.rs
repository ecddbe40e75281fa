//! One list of cases for every adapter, each against a server on this machine that speaks as its provider does.
//!
//! A new adapter: describe how its provider talks as a [`harness::Harness`] in a file of its own, and name it in
//! [`suite::adapter`].

#[cfg(test)]
mod a1111;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod comfyui;
#[cfg(test)]
mod compatible;
#[cfg(test)]
mod elevenlabs;
#[cfg(test)]
mod fal;
#[cfg(test)]
mod form;
#[cfg(test)]
mod gemini;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http_async;
#[cfg(test)]
mod http_sync;
#[cfg(test)]
mod interactions;
#[cfg(test)]
mod openai;
#[cfg(test)]
mod replicate;
#[cfg(test)]
mod sdks;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod vertex;
#[cfg(test)]
mod xai;
#[cfg(test)]
mod xai_video;
