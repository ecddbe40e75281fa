//! Abstract: silk-like folds of colour, and lines that follow them.

use super::super::Size;
use super::super::brief::{Brief, Trait};
use super::super::canvas::Canvas;
use super::super::colour::{Rgb, blend, mix, ramp, screen};
use super::super::palette::Palette;
use super::Scene;

const SHRINK: usize = 2;

pub struct Flow {
    colours: Vec<Rgb>,
    shine: Rgb,
    dark: Rgb,
    folds: f32,
    lean: (f32, f32),
    phases: [f32; 4],
    lines: Vec<(f32, f32, f32, Rgb)>,
    calm: f32,
}

impl Flow {
    pub fn new(brief: &Brief, size: Size) -> Self {
        let palette = Palette::of(brief);
        let mut rng = brief.rng(17);
        let p = &palette;
        let a = p.accents;
        // The order of stops decides which colours meet: a few good orders, turned by the seed.
        let orders = [
            [p.sky[0], p.sky[2], a[0], p.sky[4], p.sky[3], a[2], p.sky[1]],
            [p.ink, p.sky[1], p.sky[3], a[1], p.sun, p.sky[2], p.sky[0]],
            [p.sky[0], a[3], p.sky[3], p.sun, a[0], p.sky[2], p.ink],
        ];
        let order = orders[rng.below(orders.len())];
        let angle = rng.range(0.0, std::f32::consts::TAU);
        let unit = size.width.min(size.height) as f32;
        let wide = size.width as f32 / unit;
        let high = size.height as f32 / unit;
        let count = if brief.has(Trait::Minimal) { 30 } else { 150 };
        let lines = (0..count)
            .map(|_| {
                let hue = blend(a[rng.below(5)], p.sun, 0.45);
                (
                    rng.unit() * wide,
                    rng.unit() * high,
                    rng.range(0.15, 0.6),
                    hue,
                )
            })
            .collect();
        Self {
            colours: ramp(&order, 1024),
            shine: blend(p.sun, [1.0; 3], 0.4),
            dark: blend(p.ink, p.sky[0], 0.4),
            folds: rng.range(2.2, 3.6),
            lean: angle.sin_cos(),
            phases: [(); 4].map(|()| rng.range(0.0, std::f32::consts::TAU)),
            lines,
            calm: if brief.has(Trait::Minimal) { 0.55 } else { 1.0 },
        }
    }

    /// The height of the cloth: waves bent by waves. Sines, because light on folds shows every kink of a noise table.
    #[inline]
    fn height(&self, u: f32, v: f32, t: f32) -> f32 {
        let (sin, cos) = self.lean;
        let k = self.calm;
        let [p, q, r, s] = self.phases;
        let (a, b) = (u * cos + v * sin, v * cos - u * sin);
        let wx =
            (b * 2.9 * k + p + t * 0.11).sin() + 0.5 * (a * 4.6 * k + b * 2.3 + q - t * 0.07).sin();
        let wy =
            (a * 2.5 * k + r - t * 0.09).sin() + 0.5 * (b * 5.3 * k - a * 1.9 + s + t * 0.06).sin();
        let (x, y) = (a + wx * 0.22, b + wy * 0.22);
        let fold =
            (x * 3.6 * k + y * 1.6 + q + t * 0.05).sin() + 0.45 * (y * 6.3 * k - x * 2.6 + p).sin();
        a * 0.26 + fold * 0.24 + wx * 0.07
    }
}

impl Scene for Flow {
    fn paint(&self, canvas: &mut Canvas, t: f32) {
        let unit = canvas.unit();
        let mut small = Canvas {
            width: canvas.width.div_ceil(SHRINK).max(2),
            height: canvas.height.div_ceil(SHRINK).max(2),
            pixels: Vec::new(),
        };
        let wide = small.width;
        let scale = SHRINK as f32 / unit;
        let heights: Vec<f32> = (0..=small.height)
            .flat_map(|y| (0..=wide).map(move |x| (x as f32 * scale, y as f32 * scale)))
            .map(|(u, v)| self.height(u, v, t))
            .collect();
        small.pixels = vec![[0.0; 3]; wide * small.height];
        for (y, row) in small.rows() {
            for (x, pixel) in row.iter_mut().enumerate() {
                let i = y * (wide + 1) + x;
                let h = heights[i];
                let dx = (heights[i + 1] - h) / scale;
                let dy = (heights[i + wide + 1] - h) / scale;
                let phase = h * self.folds;
                let wave = (phase * std::f32::consts::TAU).sin();
                let slope = (phase * std::f32::consts::TAU).cos();
                // Back and forth through the colours: no jump where the band begins again.
                let position = (0.5 + 0.5 * (phase * 2.1).sin()) * 0.86 + wave * 0.07 + 0.07;
                let index = position.clamp(0.0, 1.0) * 1022.0;
                let k = index as usize;
                let base = mix(self.colours[k], self.colours[k + 1], index - k as f32);
                let tilt = (dx * 0.8 - dy * 0.6) * slope * 1.3;
                let light = tilt * 0.75;
                let shaded = if light > 0.0 {
                    screen(base, self.shine, (light * 0.42).min(0.7))
                } else {
                    mix(base, self.dark, (-light * 0.48).min(0.72))
                };
                let gloss = (1.0 - (tilt - 0.55).abs() * 3.2).max(0.0);
                *pixel = screen(shaded, self.shine, gloss * gloss * 0.3);
            }
        }
        let end = canvas.height;
        canvas.enlarge(&small, 0, end);
        for (x, y, length, hue) in &self.lines {
            self.thread(canvas, (*x, *y), *length, *hue, t);
        }
    }
}

impl Flow {
    /// A hair of light along the fold it starts on.
    fn thread(&self, canvas: &mut Canvas, start: (f32, f32), length: f32, hue: Rgb, t: f32) {
        let unit = canvas.unit();
        let step = 1.6 / unit;
        let count = (length / step) as usize;
        let (mut u, mut v) = start;
        let e = 0.012;
        let mut direction = (0.0, 0.0);
        for i in 0..count {
            if i % 6 == 0 {
                let h = self.height(u, v, t);
                let gx = self.height(u + e, v, t) - h;
                let gy = self.height(u, v + e, t) - h;
                let norm = gx.hypot(gy).max(1e-6);
                direction = (-gy / norm, gx / norm);
            }
            u += direction.0 * step;
            v += direction.1 * step;
            let along = i as f32 / count as f32;
            let alpha = (along * (1.0 - along) * 4.0).powf(1.3) * 0.42;
            let (px, py) = (u * unit, v * unit);
            if px < 0.0 || py < 0.0 {
                continue;
            }
            let part = px - px.floor();
            let below = py - py.floor();
            for (row, share) in [(0, 1.0 - below), (1, below)] {
                let pixels = canvas.row(py as i32 + row);
                for (column, portion) in [(0, 1.0 - part), (1, part)] {
                    if let Some(pixel) = pixels.get_mut(px as usize + column) {
                        *pixel = screen(*pixel, hue, alpha * share * portion);
                    }
                }
            }
        }
    }
}
