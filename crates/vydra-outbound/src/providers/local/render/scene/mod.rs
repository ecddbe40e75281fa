//! Kinds of pictures. Each is built once from the brief and then painted for any moment.

use super::Size;
use super::brief::{Brief, Place};
use super::canvas::Canvas;

mod cosmos;
mod flow;
mod garden;
mod geometry;
pub mod land;
mod sky;
mod skyline;
pub mod trees;
mod vista;
mod water;
pub mod weather;

pub trait Scene: Send + Sync {
    /// The picture `t` seconds in; every pixel of the canvas is set.
    fn paint(&self, canvas: &mut Canvas, t: f32);
}

pub fn compose(brief: &Brief, size: Size) -> Box<dyn Scene> {
    match brief.place {
        Place::Cosmos => Box::new(cosmos::Cosmos::new(brief, size)),
        Place::Flow => Box::new(flow::Flow::new(brief, size)),
        Place::Geometry => Box::new(geometry::Geometry::new(brief, size)),
        Place::Garden if brief.subjects.is_empty() => Box::new(garden::Garden::new(brief, size)),
        _ => Box::new(vista::Vista::new(brief, size)),
    }
}
