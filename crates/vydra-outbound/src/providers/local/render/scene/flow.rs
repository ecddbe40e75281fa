use super::super::Size;
use super::super::brief::Brief;
use super::super::canvas::Canvas;
use super::Scene;
use super::vista::Vista;
pub struct Flow(Vista);
impl Flow { pub fn new(brief: &Brief, size: Size) -> Self { Self(Vista::new(brief, size)) } }
impl Scene for Flow { fn paint(&self, canvas: &mut Canvas, t: f32) { self.0.paint(canvas, t); } }
