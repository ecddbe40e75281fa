//! A film that starts from a given picture: the camera moves, light sweeps, dust drifts.

use super::Size;
use super::brief::Brief;
use super::canvas::Canvas;
use super::colour::{Rgb, screen, smoothstep};
use super::edit::cover;
use super::noise::Rng;
use super::palette::Palette;
use super::scene::Scene;
use super::scene::weather::Particles;
use image::RgbImage;

pub struct Journey {
    still: Canvas,
    /// Where the camera drifts, in shares of the picture.
    drift: (f32, f32),
    zoom: f32,
    light: Rgb,
    particles: Particles,
}

impl Journey {
    pub fn new(brief: &Brief, image: &RgbImage, size: Size) -> Self {
        let mut rng = Rng::new(brief.seed, 91);
        let palette = Palette::of(brief);
        let angle = rng.range(0.0, std::f32::consts::TAU);
        Self {
            still: cover(image, size),
            drift: (angle.cos() * 0.035, angle.sin() * 0.02),
            zoom: rng.range(0.1, 0.14),
            light: palette.sun,
            particles: Particles::drifting(brief, &palette, size),
        }
    }
}

impl Scene for Journey {
    fn paint(&self, canvas: &mut Canvas, t: f32) {
        let (width, height) = (canvas.width as f32, canvas.height as f32);
        // The first frame is the picture itself; the move starts gently.
        let way = t * t / (t + 1.0) / 6.0;
        let scale = 1.0 / (1.0 + self.zoom * way * 1.4);
        let (cx, cy) = (
            width * (0.5 + self.drift.0 * way * smoothstep(0.0, 2.0, t)),
            height * (0.5 + self.drift.1 * way * smoothstep(0.0, 2.0, t)),
        );
        let half = (width * scale / 2.0, height * scale / 2.0);
        // The window must stay inside the picture: a dragged edge would show.
        let cx = cx.clamp(half.0, width - half.0);
        let cy = cy.clamp(half.1, height - half.1);
        let strength = smoothstep(0.2, 1.6, t);
        let sweep = (t * 0.16).fract() * 2.2 - 0.6;
        for (y, row) in canvas.rows() {
            let source_y = cy + (y as f32 + 0.5 - height / 2.0) * scale - 0.5;
            let lean = y as f32 / height * 0.35;
            for (x, pixel) in row.iter_mut().enumerate() {
                let source_x = cx + (x as f32 + 0.5 - width / 2.0) * scale - 0.5;
                let colour = self.still.sample(source_x, source_y);
                let away = (x as f32 / width + lean - sweep) * 3.2;
                let beam = (1.0 - away * away).max(0.0);
                *pixel = screen(colour, self.light, beam * beam * 0.2 * strength);
            }
        }
        self.particles.paint(canvas, t, strength);
    }
}
