//! Water: what stands above it, mirrored and broken by waves.

use super::super::canvas::Canvas;
use super::super::colour::{Rgb, blend, mix, screen};
use super::super::noise::Texture;
use super::super::palette::Palette;
use std::sync::Arc;

pub struct Water {
    pub line: f32,
    /// 0 a mirror, 1 open sea.
    pub rough: f32,
    deep: Rgb,
    shallow: Rgb,
    glint: Rgb,
    texture: Arc<Texture>,
    sun: f32,
    lights: f32,
}

impl Water {
    pub fn new(palette: &Palette, line: f32, rough: f32, sun: f32, texture: Arc<Texture>) -> Self {
        Self {
            line,
            rough,
            deep: blend(
                blend(palette.ink, palette.sky[0], 0.55),
                palette.sky[1],
                0.3,
            ),
            shallow: blend(palette.sky[2], palette.haze, 0.5),
            glint: blend(palette.sun, [1.0; 3], 0.25),
            texture,
            sun,
            lights: 1.0 - palette.dark * 0.35,
        }
    }

    pub fn paint(&self, canvas: &mut Canvas, t: f32) {
        let line = (self.line as usize).clamp(1, canvas.height);
        let below = (canvas.height - line) as f32;
        let (width, unit) = (canvas.width, canvas.unit());
        let (upper, lower) = canvas.pixels.split_at_mut(line * width);
        let mut waves = vec![0.0_f32; width + 1];
        for (row, pixels) in lower.chunks_exact_mut(width).enumerate() {
            let down = (row as f32 + 0.5) / below.max(1.0);
            // Rows near the line are far away: their waves are small and many.
            let far = 1.0 / (down + 0.035);
            let v = far * 0.42;
            let amount = (0.3 + self.rough) * unit * (0.008 + down * 0.055);
            let drift = t * (0.006 + self.rough * 0.012);
            let scale = far * 0.055 / unit * (0.7 + self.rough * 0.5);
            let middle = width as f32 / 2.0;
            let wave = |x: usize| {
                let u = (x as f32 - middle) * scale;
                let swell = self.texture.at(u + drift, v - t * 0.035);
                let chop = self
                    .texture
                    .at(u * 2.6 - drift * 2.0, v * 2.3 + t * 0.05 + 0.5);
                swell * 0.65 + chop * 0.5
            };
            // Every second column is computed: between two of them water is straight enough.
            let mut next = wave(0);
            for (i, pair) in waves.chunks_mut(2).enumerate() {
                let here = next;
                next = wave(i * 2 + 2);
                pair[0] = here;
                if let Some(between) = pair.get_mut(1) {
                    *between = here.midpoint(next);
                }
            }
            let tint = 0.12 + down.sqrt() * (0.34 + self.rough * 0.2);
            let spread = unit * (0.03 + down * 0.13) * (1.0 + self.rough * 0.5);
            let base = mix(self.shallow, self.deep, down.powf(0.6));
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let wave = waves[x];
                let slope = wave - waves[x + 1];
                let shift = wave * amount;
                let source = (line as f32 - 1.0 - row as f32 * 1.12 + shift * 1.6)
                    .clamp(0.0, line as f32 - 1.0);
                let column = (x as f32 + slope * unit * 0.05 + wave * amount * 0.2)
                    .clamp(0.0, width as f32 - 1.0);
                let mirrored = upper[source as usize * width + column as usize];
                let facing = (tint - wave * 0.16 * (0.4 + self.rough)).clamp(0.0, 0.92);
                let mut colour = mix(mirrored, base, facing);
                let off = (x as f32 - self.sun) / spread;
                let path = 1.0 / (1.0 + off * off * off * off);
                let spark = ((wave + 0.02) * 2.6).clamp(0.0, 1.0);
                colour = screen(colour, self.glint, path * spark * 0.75 * self.lights);
                let crest = ((wave - 0.5) * 2.0).clamp(0.0, 1.0) * self.rough;
                *pixel = screen(colour, self.shallow, crest * 0.35);
            }
        }
        // A bright thread where air and water meet.
        for (i, strength) in [0.16, 0.3, 0.14].into_iter().enumerate() {
            for pixel in canvas.row(line as i32 - 1 + i as i32) {
                *pixel = mix(*pixel, self.shallow, strength * 0.8);
            }
        }
    }
}
