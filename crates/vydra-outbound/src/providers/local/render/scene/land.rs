//! Ridges, hills and dunes: a profile, lit from the side, standing in mist.

use super::super::colour::{Rgb, blend, ramp, smoothstep};
use super::super::cutout::Cutout;
use super::super::noise::Texture;
use super::super::palette::Palette;

/// Columns of a profile are finer than pixels, so that steep slopes get smooth edges.
pub const FINE: usize = 3;

#[derive(Clone, Copy, PartialEq)]
pub enum Ground {
    Rock,
    /// With a snow line this far below the peaks, in shares of the layer.
    Snow(f32),
    Hill,
    Dune,
}

pub struct Layer<'a> {
    pub palette: &'a Palette,
    pub texture: &'a Texture,
    pub width: usize,
    /// Extra pixels on either side, for the camera to move into.
    pub margin: usize,
    /// 0 far away, 1 right in front.
    pub near: f32,
    /// First row the layer no longer has to fill.
    pub bottom: f32,
    /// Horizontal position of the light.
    pub sun: f32,
    pub unit: f32,
    pub mist: f32,
}

impl Layer<'_> {
    /// A profile over the whole layer; `height` takes the horizontal position in units and returns a row.
    pub fn profile(&self, height: impl Fn(f32) -> f32) -> Vec<f32> {
        let count = (self.width + self.margin * 2) * FINE;
        (0..count)
            .map(|i| height((i as f32 / FINE as f32 - self.margin as f32) / self.unit))
            .collect()
    }

    /// How the layer's colours run from shade to light, before any mist.
    pub fn colours(&self, ground: Ground) -> Vec<Rgb> {
        let p = self.palette;
        let depth = self.near.clamp(0.0, 1.0);
        let far = |colour: Rgb, amount: f32| blend(colour, p.haze, (1.0 - depth) * amount);
        let day = 1.0 - p.dark * 0.75;
        let shade = far(blend(p.ink, p.land, 0.18 * day + 0.05), 0.86);
        let lit = far(
            blend(p.ink, p.land, (0.36 + 0.5 * day) * (1.0 - depth * 0.25)),
            0.74,
        );
        let bright = far(blend(lit, p.sun, 0.22 * day + 0.06), 0.6);
        let snow_lit = far(
            blend([0.97, 0.98, 1.0], p.sky[3], 0.25 + p.dark * 0.4),
            0.35,
        );
        let snow_shade = far(
            blend(blend(snow_lit, p.sky[1], 0.5), p.ink, p.dark * 0.25),
            0.3,
        );
        match ground {
            Ground::Rock | Ground::Snow(_) => {
                ramp(&[shade, lit, bright, snow_shade, snow_lit], 256)
            }
            Ground::Hill => ramp(&[shade, blend(shade, lit, 0.5), lit, bright, bright], 256),
            Ground::Dune => {
                let deep = far(blend(blend(p.ink, p.land, 0.55), p.cloud_shade, 0.3), 0.7);
                let sand = far(
                    blend(blend(p.land, p.sky[3], 0.55), p.ink, p.dark * 0.35),
                    0.6,
                );
                let crest = far(blend(sand, p.sun, 0.5 - p.dark * 0.3), 0.5);
                ramp(&[deep, blend(deep, sand, 0.45), sand, crest, crest], 256)
            }
        }
    }

    pub fn cut(&self, profile: &[f32], ground: Ground) -> Cutout {
        let (cover, top, height) = fill(profile, self.bottom);
        let width = profile.len() / FINE;
        let mut cutout = Cutout::new(width, height, cover);
        cutout.left = -(self.margin as f32);
        cutout.top = top as f32;
        cutout.ramp = self.colours(ground);
        cutout.depth = self.near;
        cutout.mist_colour = blend(self.palette.haze, self.palette.sky[4], 0.3);
        let depth = height.max(1) as f32;
        let strength = self.mist * (1.0 - self.near).powi(2);
        cutout.mist = (0..height)
            .map(|row| (row as f32 / depth).powf(1.4) * strength)
            .collect();
        self.shade(&mut cutout, profile, ground);
        cutout
    }

    fn shade(&self, cutout: &mut Cutout, profile: &[f32], ground: Ground) {
        let width = cutout.width;
        let reach = ((self.unit * 0.012) as usize).max(1) * FINE;
        let columns: Vec<(f32, f32)> = (0..width)
            .map(|x| {
                let i = x * FINE + 1;
                let left = profile[i.saturating_sub(reach)];
                let right = profile[(i + reach).min(profile.len() - 1)];
                let slope = (right - left) / (2.0 * reach as f32 / FINE as f32);
                // Rows grow downwards: a positive slope falls to the right, and faces a sun on the right.
                let side = (self.sun - (x as f32 - self.margin as f32)) / (self.unit * 0.5);
                (profile[i], slope * side.clamp(-1.0, 1.0))
            })
            .collect();
        // Shading is soft: every second row and column is computed, the others lie between.
        let half = width.div_ceil(2) + 1;
        let lines = cutout.height.div_ceil(2) + 1;
        let mut grid = vec![0.0_f32; half * lines];
        for (line, values) in grid.chunks_exact_mut(half).enumerate() {
            let row = cutout.top + (line * 2) as f32;
            for (i, value) in values.iter_mut().enumerate() {
                let (crest, slope) = columns[(i * 2).min(width - 1)];
                // A row of neighbours above the crest serves the pixels between.
                if row > crest - 4.0 {
                    let below = (row - crest).max(0.0) / self.unit;
                    *value = self.tone(ground, (i * 2) as f32 / self.unit, below, slope);
                }
            }
        }
        for (y, tones) in cutout.tone.chunks_exact_mut(width).enumerate() {
            let upper = &grid[y / 2 * half..][..half];
            let lower = &grid[y.div_ceil(2) * half..][..half];
            for (x, tone) in tones.iter_mut().enumerate() {
                let (i, k) = (x / 2, x.div_ceil(2));
                *tone = ((upper[i] + upper[k] + lower[i] + lower[k]) * 0.25) as u8;
            }
        }
    }

    /// The tone of a point `below` the crest, where the land falls with `slope` towards the light.
    #[inline]
    fn tone(&self, ground: Ground, x: f32, below: f32, slope: f32) -> f32 {
        let offset = self.near * 3.7;
        let u = x + offset;
        let at = |x: f32, y: f32| self.texture.at(x, y);
        match ground {
            Ground::Rock | Ground::Snow(_) => {
                // Gullies run down from the crest, leaning with the slope.
                let warp = u + slope * below * 0.5;
                let sway = at(u * 0.7, below * 1.1) * 0.05;
                let across = (warp + sway) * 1.5;
                let a = at(across, below * 0.8 + offset);
                let b = at(across + 0.014, below * 0.8 + offset - 0.006);
                let fine = at(warp * 4.2, below * 3.1 + u);
                let deep = (1.0 - below * 2.2).clamp(0.35, 1.0);
                let facing = ((b - a) * 2.9 + slope * 0.55) * deep + fine * 0.22;
                let rock = (0.32 + facing * 0.42).clamp(0.0, 1.0) * 118.0;
                let Ground::Snow(line) = ground else {
                    return rock;
                };
                let cap = line - below * 2.4 + fine * 0.12 + a * 0.16 + facing * 0.03;
                let white = smoothstep(-0.012, 0.022, cap);
                let snow = 172.0 + smoothstep(-0.25, 0.4, facing) * 83.0;
                rock + (snow - rock) * white
            }
            Ground::Dune => {
                let sides = smoothstep(-0.22, 0.22, slope + at(u * 0.5, below) * 0.08);
                let crest = (-below * 16.0).exp();
                let ripple = (below * 260.0 + u * 30.0 + at(u, below * 2.0) * 9.0).sin();
                let near = smoothstep(0.5, 1.0, self.near) * 7.0;
                52.0 + sides * 76.0 + crest * sides * 60.0 + ripple * near - below * 60.0
            }
            Ground::Hill => {
                let grass = at(u * 2.6, below * 7.0 + offset);
                let fine = at(u * 9.0, below * 30.0);
                let crest = (-below * 22.0).exp() * 54.0;
                70.0 + slope * 80.0 + grass * 26.0 + fine * 14.0 + crest - (below * 90.0).min(60.0)
            }
        }
    }
}

/// Coverage of everything below a profile: the cover, its first row, and its number of rows.
pub fn fill(profile: &[f32], bottom: f32) -> (Vec<u8>, i32, usize) {
    let width = profile.len() / FINE;
    let top = profile
        .iter()
        .copied()
        .fold(bottom, f32::min)
        .floor()
        .max(-4_000.0);
    let height = (bottom - top).ceil().max(1.0) as usize;
    let mut cover = vec![0; width * height];
    let spans: Vec<(usize, usize)> = profile
        .chunks_exact(FINE)
        .map(|columns| {
            let first = columns.iter().copied().fold(f32::MAX, f32::min) - top;
            let last = columns.iter().copied().fold(f32::MIN, f32::max) - top;
            (first.max(0.0) as usize, last.max(0.0) as usize + 1)
        })
        .collect();
    for (y, row) in cover.chunks_exact_mut(width).enumerate() {
        for (x, (cover, (first, solid))) in row.iter_mut().zip(&spans).enumerate() {
            if y >= *solid {
                *cover = 255;
            } else if y >= *first {
                let sum: f32 = profile[x * FINE..][..FINE]
                    .iter()
                    .map(|edge| (y as f32 + 1.0 - (edge - top)).clamp(0.0, 1.0))
                    .sum();
                *cover = (sum / FINE as f32 * 255.0 + 0.5) as u8;
            }
        }
    }
    (cover, top as i32, height)
}
