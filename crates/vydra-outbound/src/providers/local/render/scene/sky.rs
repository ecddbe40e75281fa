//! Sky: gradient, sun or moon with its glow, clouds, stars, aurora. Soft things are painted small and enlarged.

use super::super::brief::{Brief, Hour, Trait};
use super::super::canvas::Canvas;
use super::super::colour::{Rgb, mix, ramp, screen, smoothstep};
use super::super::noise::{Rng, Texture};
use super::super::palette::Palette;
use std::sync::Arc;

const SHRINK: usize = 3;

struct Star {
    x: f32,
    y: f32,
    size: f32,
    light: f32,
    phase: f32,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "five phenomena, each there or not"
)]
pub struct Sky {
    ramp: Vec<Rgb>,
    palette: Palette,
    texture: Arc<Texture>,
    pub horizon: f32,
    pub sun: (f32, f32),
    radius: f32,
    /// Where the moon's shadow lies, in radii; none for a sun or a full moon.
    crescent: Option<f32>,
    moon: bool,
    striped: bool,
    /// Share of sky the clouds take, 0..1.
    clouds: f32,
    wind: f32,
    offset: (f32, f32),
    stars: Vec<Star>,
    aurora: bool,
    galaxy: bool,
    rainbow: bool,
}

impl Sky {
    pub fn new(
        brief: &Brief,
        palette: &Palette,
        texture: Arc<Texture>,
        (width, height): (f32, f32),
        horizon: f32,
    ) -> Self {
        let mut rng = brief.rng(11);
        let unit = width.min(height);
        let moon = brief.hour == Hour::Night;
        let across = if rng.chance(0.5) {
            rng.range(0.18, 0.4)
        } else {
            rng.range(0.6, 0.82)
        };
        let (up, radius) = match brief.hour {
            Hour::Sunset => (rng.range(0.66, 0.84), rng.range(0.055, 0.085)),
            Hour::Dawn => (rng.range(0.5, 0.72), rng.range(0.045, 0.065)),
            Hour::Day => (rng.range(0.16, 0.3), rng.range(0.03, 0.042)),
            Hour::Night => (rng.range(0.22, 0.42), rng.range(0.04, 0.075)),
        };
        let striped = brief.has(Trait::Neon);
        let radius = unit
            * if striped || brief.any(&[Trait::Moon, Trait::Sun]) {
                radius.max(0.085) * 1.35
            } else {
                radius
            };
        let clouds = if brief.any(&[Trait::Storm, Trait::Rain]) {
            0.85
        } else if brief.has(Trait::Clouds) {
            0.68
        } else if brief.any(&[Trait::Minimal, Trait::Neon, Trait::Aurora]) {
            0.0
        } else if moon {
            rng.range(0.0, 0.35)
        } else {
            rng.range(0.3, 0.58)
        };
        let count = if palette.dark > 0.6 { 420.0 } else { 0.0 };
        let count = count * (width * height / (unit * unit)).min(2.5) * (1.0 - clouds * 0.6);
        let stars = (0..count as usize)
            .map(|_| star(&mut rng, width, horizon, unit))
            .collect();
        Self {
            ramp: ramp(&palette.sky, 512),
            palette: palette.clone(),
            texture,
            horizon,
            sun: (width * across, horizon * up),
            radius,
            crescent: (moon && !striped && rng.chance(0.5)).then(|| rng.range(0.35, 0.75)),
            moon,
            striped,
            clouds,
            wind: rng.range(0.004, 0.008) * if rng.chance(0.5) { 1.0 } else { -1.0 },
            offset: (rng.range(0.0, 8.0), rng.range(0.0, 8.0)),
            stars,
            aurora: brief.has(Trait::Aurora),
            galaxy: brief.has(Trait::Stars) || (moon && clouds < 0.15),
            rainbow: brief.has(Trait::Rainbow),
        }
    }

    pub fn paint(&self, canvas: &mut Canvas, t: f32) {
        let rows = (self.horizon as usize + 2).min(canvas.height);
        let mut small = Canvas {
            width: canvas.width.div_ceil(SHRINK).max(2),
            height: rows.div_ceil(SHRINK).max(2),
            pixels: Vec::new(),
        };
        small.pixels = vec![[0.0; 3]; small.width * small.height];
        let mut veil = vec![0.0_f32; small.pixels.len()];
        let unit = canvas.unit();
        let scale = canvas.width as f32 / small.width as f32;
        let wide = small.width;
        for (y, row) in small.rows() {
            let py = (y as f32 + 0.5) * rows as f32 / (rows.div_ceil(SHRINK).max(2)) as f32;
            let base = self.gradient(py);
            let veil = &mut veil[y * wide..][..wide];
            for (x, (pixel, veil)) in row.iter_mut().zip(veil).enumerate() {
                let px = (x as f32 + 0.5) * scale;
                *pixel = self.air(base, px, py, unit);
                if self.galaxy || self.aurora {
                    *pixel = self.night_lights(*pixel, px, py, unit, t);
                }
                if self.clouds > 0.0 {
                    (*pixel, *veil) = self.cloud(*pixel, px, py, unit, t);
                }
            }
        }
        canvas.enlarge(&small, 0, rows);
        let end = rows.saturating_sub(1);
        for y in rows..canvas.height {
            let pixels = &mut canvas.pixels;
            let (above, below) = pixels.split_at_mut(y * canvas.width);
            below[..canvas.width].copy_from_slice(&above[end * canvas.width..][..canvas.width]);
        }
        let cover = |x: f32, y: f32| {
            let column = ((x / scale) as usize).min(small.width - 1);
            let row = ((y / scale) as usize).min(small.height - 1);
            veil[row * small.width + column]
        };
        self.paint_stars(canvas, t, &cover);
        self.paint_disc(canvas, &cover);
        if self.rainbow {
            self.paint_rainbow(canvas);
        }
    }

    fn gradient(&self, y: f32) -> Rgb {
        let t = (y / self.horizon).clamp(0.0, 1.0);
        let position = t.powf(1.15) * 511.0;
        let i = (position as usize).min(510);
        mix(self.ramp[i], self.ramp[i + 1], position - i as f32)
    }

    /// The glow around the sun: a tight one and a wide one that flattens along the horizon.
    #[inline]
    fn air(&self, base: Rgb, x: f32, y: f32, unit: f32) -> Rgb {
        let (dx, dy) = ((x - self.sun.0) / unit, (y - self.sun.1) / unit);
        let squared = dx * dx + dy * dy;
        let flat = dx * dx * 0.45 + dy * dy * 2.4;
        let (tight, wide) = if self.moon {
            (0.30, 0.16)
        } else {
            (0.42, 0.34)
        };
        let near = 1.0 / (1.0 + squared * 70.0);
        let far = 1.0 / (1.0 + flat * 9.0);
        let lit = screen(base, self.palette.sun, near * near * tight);
        screen(lit, self.palette.sky[4], far * far * wide)
    }

    #[inline]
    fn cloud(&self, base: Rgb, x: f32, y: f32, unit: f32, t: f32) -> (Rgb, f32) {
        // Clouds lie on a ceiling: towards the horizon they shrink and crowd.
        let height = (1.0 - y / self.horizon).clamp(0.0, 1.0);
        let far = 1.0 / (0.28 + height);
        let u = (x - self.sun.0) / unit * 0.16 * far + self.offset.0 + t * self.wind;
        let v = far * 0.30 + self.offset.1;
        let broad = self.texture.at(u, v * 1.5);
        let fine = self
            .texture
            .at(u * 3.3 + t * self.wind * 1.5, v * 5.0 + 0.3);
        let n = broad + fine * 0.32;
        let edge = 0.52 - self.clouds * 0.95;
        let density = smoothstep(edge, edge + 0.55, n);
        if density <= 0.002 {
            return (base, 0.0);
        }
        let (dx, dy) = (self.sun.0 - x, self.sun.1 - y);
        let away = (dx * dx + dy * dy).sqrt().max(1.0);
        let step = 0.02 * far;
        let towards = self
            .texture
            .at(u + dx / away * step, (v - dy / away * step * 0.8) * 1.5);
        let light = (0.5 + (broad - towards) * 1.5 - density * 0.22).clamp(0.0, 1.0);
        let near = 1.0 / (1.0 + away * away / (unit * unit) * 6.0);
        let mut colour = mix(self.palette.cloud_shade, self.palette.cloud_lit, light);
        colour = screen(colour, self.palette.sun, near * (1.0 - density) * 0.6);
        // Distance takes their contrast.
        let thin = (height * 5.0).min(1.0) * 0.55 + 0.35;
        let alpha = density * thin;
        (mix(base, colour, alpha), alpha)
    }

    fn night_lights(&self, base: Rgb, x: f32, y: f32, unit: f32, t: f32) -> Rgb {
        let (u, v) = (x / unit, y / unit);
        let mut colour = base;
        if self.galaxy {
            let along = u * 0.8 + v * 0.6 + self.offset.0;
            let across = (v - u * 0.75 - 0.02 + (self.offset.1 - 4.0) * 0.05) * 1.5;
            let dust = self.texture.at(along * 0.35, across * 0.4 + 0.2);
            let fine = self.texture.at(along * 1.3, across * 1.4);
            let band = (-((across + dust * 0.22) * 3.4).powi(2)).exp();
            let rift = smoothstep(-0.1, 0.5, dust + fine * 0.5) * 0.75;
            let light = band * (0.42 + fine * 0.25) * (1.0 - rift * 0.7);
            let fade = 1.0 - (y / self.horizon).powi(3) * 0.8;
            colour = screen(
                colour,
                self.palette.cloud_lit,
                (light * 0.62 * fade).max(0.0),
            );
            colour = screen(
                colour,
                self.palette.sun,
                (band * light * 0.35 * fade).max(0.0),
            );
        }
        if self.aurora {
            colour = self.curtains(colour, u, y, t);
        }
        colour
    }

    fn curtains(&self, base: Rgb, u: f32, y: f32, t: f32) -> Rgb {
        let mut colour = base;
        let height = 1.0 - y / self.horizon;
        for layer in 0..3 {
            let k = layer as f32;
            let drift = t * 0.012 * (1.0 + k * 0.4);
            let fold = self
                .texture
                .at(u * 0.16 + k * 0.37 + drift, self.offset.1 + k * 0.21);
            let swing = self
                .texture
                .at(u * 0.5 + k * 0.6 - drift * 0.7, 0.3 + k * 0.13);
            let foot = 0.2 + k * 0.13 + fold * 0.3 + swing * 0.05;
            let above = height - foot;
            let rays = self
                .texture
                .at(u * 2.1 + fold * 0.6 + drift * 2.0, 0.71 + k * 0.3);
            let strength = (0.6 + rays * 0.8 + swing * 0.5).clamp(0.05, 1.3);
            let rise = smoothstep(-0.025, 0.02, above);
            let fall = (-above.max(0.0) * (4.2 + k)).exp();
            let light = rise * fall * strength * (1.15 - k * 0.2);
            let green = [0.25, 0.95, 0.62];
            let violet = [0.62, 0.3, 0.95];
            let hue = mix(green, violet, smoothstep(0.05, 0.5, above + k * 0.05));
            colour = screen(colour, hue, light.clamp(0.0, 0.9));
        }
        colour
    }

    fn paint_stars(&self, canvas: &mut Canvas, t: f32, cover: &impl Fn(f32, f32) -> f32) {
        for star in &self.stars {
            let twinkle = 0.78 + 0.22 * (t * 2.3 + star.phase).sin();
            let fade = 1.0 - (star.y / self.horizon).powi(2) * 0.9;
            let (dx, dy) = (star.x - self.sun.0, star.y - self.sun.1);
            if (dx * dx + dy * dy).sqrt() < self.radius * 1.3 {
                continue;
            }
            let light = star.light * twinkle * fade * (1.0 - cover(star.x, star.y)).powi(2);
            if light > 0.03 {
                canvas.glow(star.x, star.y, star.size, [0.95, 0.96, 1.0], light);
                if star.light > 0.97 {
                    canvas.glow(
                        star.x,
                        star.y,
                        star.size * 5.0,
                        self.palette.cloud_lit,
                        light * 0.35,
                    );
                }
            }
        }
    }

    fn paint_disc(&self, canvas: &mut Canvas, cover: &impl Fn(f32, f32) -> f32) {
        let (cx, cy) = self.sun;
        let r = self.radius;
        let bottom = (self.horizon + r) as i32;
        let white = mix(self.palette.sun, [1.0; 3], 0.35);
        let left = (cx - r - 1.0).max(0.0) as usize;
        for y in (cy - r - 1.0) as i32..=((cy + r + 1.0) as i32).min(bottom) {
            let dy = y as f32 + 0.5 - cy;
            for (x, pixel) in canvas.row(y).iter_mut().enumerate().skip(left) {
                let dx = x as f32 + 0.5 - cx;
                if dx > r + 1.0 {
                    break;
                }
                let mut alpha = (r + 0.5 - (dx * dx + dy * dy).sqrt()).clamp(0.0, 1.0);
                if alpha <= 0.0 {
                    continue;
                }
                if let Some(shift) = self.crescent {
                    let (sx, sy) = (dx - r * shift, dy + r * shift * 0.45);
                    alpha *= ((sx * sx + sy * sy).sqrt() - r * 0.96 + 0.5).clamp(0.0, 1.0);
                }
                let mut colour = white;
                if self.moon && !self.striped {
                    let (u, v) = (dx / r, dy / r);
                    let maria = self.texture.at(u * 0.22 + 0.5, v * 0.22 + 0.1);
                    let dim = smoothstep(0.0, 0.6, maria) * 0.22 + (u * u + v * v) * 0.08;
                    colour = mix(white, self.palette.sky[2], dim);
                } else if self.striped {
                    let down = (dy / r).midpoint(1.0);
                    colour = mix(self.palette.sun, self.palette.accents[2], down);
                    let slot = (down * 9.0).fract();
                    let gap = ((down - 0.42) * 0.9).max(0.0);
                    alpha *= 1.0
                        - smoothstep(1.0 - gap - 0.06, 1.0 - gap + 0.02, slot)
                            * f32::from(u8::from(gap > 0.0));
                }
                *pixel = mix(
                    *pixel,
                    colour,
                    alpha * (1.0 - cover(x as f32, y as f32) * 0.75),
                );
            }
        }
    }

    fn paint_rainbow(&self, canvas: &mut Canvas) {
        const BANDS: [Rgb; 6] = [
            [0.95, 0.25, 0.25],
            [0.98, 0.6, 0.2],
            [0.98, 0.92, 0.3],
            [0.35, 0.85, 0.4],
            [0.3, 0.55, 0.98],
            [0.6, 0.35, 0.9],
        ];
        let width = canvas.width as f32;
        let centre = (width - self.sun.0, self.horizon * 1.15);
        let radius = (width * 0.42).min(self.horizon * 0.95);
        let band = radius * 0.13;
        for (y, row) in canvas.rows().take(self.horizon as usize + 1) {
            let dy = y as f32 - centre.1;
            for (x, pixel) in row.iter_mut().enumerate() {
                let inside = (radius - (x as f32 - centre.0).hypot(dy)) / band;
                if (0.0..1.0).contains(&inside) {
                    let position = inside * 5.0;
                    let i = (position as usize).min(4);
                    let hue = mix(BANDS[i], BANDS[i + 1], position - i as f32);
                    let soft = (inside * (1.0 - inside) * 4.0).sqrt();
                    *pixel = screen(*pixel, hue, soft * 0.5);
                }
            }
        }
    }
}

fn star(rng: &mut Rng, width: f32, horizon: f32, unit: f32) -> Star {
    let light = rng.unit();
    Star {
        x: rng.unit() * width,
        y: rng.unit() * horizon,
        size: (0.8 + light.powi(6) * 1.6) * (unit / 620.0).max(0.9),
        light: 0.25 + 0.75 * light * light,
        phase: rng.range(0.0, 40.0),
    }
}
