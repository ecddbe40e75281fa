use super::super::Size;
use super::super::brief::Brief;
use super::super::canvas::Canvas;
use super::Scene;
use super::vista::Vista;
pub struct Cosmos(Vista);
impl Cosmos { pub fn new(brief: &Brief, size: Size) -> Self { Self(Vista::new(brief, size)) } }
impl Scene for Cosmos { fn paint(&self, canvas: &mut Canvas, t: f32) { self.0.paint(canvas, t); } }
