//! Nebulae, stars and planets.

use super::super::Size;
use super::super::brief::{Brief, Subject};
use super::super::canvas::Canvas;
use super::super::colour::{Rgb, blend, mix, ramp, screen, smoothstep};
use super::super::figure::{self, Actor, Stage};
use super::super::noise::{Rng, Texture};
use super::super::palette::Palette;
use super::Scene;

const SHRINK: usize = 3;

struct Star {
    x: f32,
    y: f32,
    light: f32,
    size: f32,
    phase: f32,
    hue: Rgb,
}

struct Planet {
    x: f32,
    y: f32,
    radius: f32,
    bands: Vec<Rgb>,
    ring: Option<(f32, f32)>,
    gas: f32,
    turn: f32,
    seed: f32,
}

pub struct Cosmos {
    palette: Palette,
    texture: Texture,
    clouds: Vec<Rgb>,
    offset: (f32, f32),
    lean: (f32, f32),
    stars: Vec<Star>,
    planets: Vec<Planet>,
    light: (f32, f32),
    actors: Vec<Actor>,
}

impl Cosmos {
    pub fn new(brief: &Brief, size: Size) -> Self {
        let palette = Palette::of(brief);
        let mut rng = brief.rng(13);
        let (width, height) = (size.width as f32, size.height as f32);
        let unit = width.min(height);
        let angle = rng.range(-0.9, 0.9);
        let hot = blend(palette.accents[rng.below(5)], palette.cloud_lit, 0.35);
        let glow = blend(palette.accents[rng.below(5)], palette.sky[4], 0.3);
        let clouds = ramp(
            &[
                blend(palette.sky[0], [0.0; 3], 0.45),
                blend(palette.sky[1], [0.0; 3], 0.1),
                palette.sky[3],
                glow,
                blend(hot, [1.0, 0.95, 0.9], 0.35),
            ],
            256,
        );
        let count = (520.0 * (width * height / (unit * unit)).min(2.5)) as usize;
        let hues = [
            [1.0, 0.98, 0.95],
            [0.75, 0.85, 1.0],
            [1.0, 0.85, 0.7],
            palette.sun,
        ];
        let stars = (0..count)
            .map(|_| {
                let light = rng.unit();
                Star {
                    x: rng.unit() * width,
                    y: rng.unit() * height,
                    light: 0.2 + 0.8 * light.powi(3),
                    size: (0.85 + light.powi(10) * 2.2) * (unit / 640.0).max(0.9),
                    phase: rng.range(0.0, 50.0),
                    hue: hues[rng.below(4)],
                }
            })
            .collect();
        let light = (rng.range(-1.0, 1.0), -rng.range(0.2, 0.7));
        let planets = planets(&mut rng, &palette, width, height);
        let texture = Texture::new(rng.next() as u32);
        let ground = vec![height * 0.8; size.width as usize];
        let side = if light.0 > 0.0 { 0.9 } else { 0.1 };
        let actors = if brief.subjects.contains(&Subject::Rocket) {
            figure::cast(&Stage {
                brief,
                palette: &palette,
                texture: &texture,
                width,
                height,
                horizon: height * 0.7,
                sun: (width * side, 0.0),
                ground: &ground,
                ground_depth: 0.2,
                water: false,
            })
        } else {
            Vec::new()
        };
        Self {
            texture,
            clouds,
            offset: (rng.range(0.0, 8.0), rng.range(0.0, 8.0)),
            lean: angle.sin_cos(),
            stars,
            planets,
            light,
            palette,
            actors,
        }
    }

    fn nebula(&self, u: f32, v: f32, t: f32) -> Rgb {
        let (sin, cos) = self.lean;
        let (a, b) = (u * cos + v * sin, v * cos - u * sin);
        let drift = t * 0.0022;
        // Noise bent by noise: the folds of a cloud.
        let wx = self.texture.at(a * 0.34 + self.offset.0 + drift, b * 0.34);
        let wy = self
            .texture
            .at(a * 0.34 + 0.5, b * 0.34 + self.offset.1 - drift);
        let n = self.texture.at(a * 0.42 + wx * 0.3, b * 0.55 + wy * 0.3);
        let fine = self
            .texture
            .at(a * 1.3 + wy * 0.4 + drift, b * 1.5 - wx * 0.4);
        let band = (-(b + wx * 0.3).powi(2) * 2.6).exp();
        let dust = smoothstep(0.0, 0.7, self.texture.at(a * 0.9 + wy * 0.5, b * 1.1 + 0.7));
        let heat = (0.12 + band * 0.42 + n * 0.30 + fine * 0.13) * (1.0 - dust * 0.55);
        let position = heat.clamp(0.0, 1.0) * 254.99;
        let i = position as usize;
        let colour = mix(self.clouds[i], self.clouds[i + 1], position - i as f32);
        let other = self.palette.accents[2];
        screen(
            colour,
            other,
            (wx * wy * 2.0 + band * 0.12).clamp(0.0, 0.5) * 0.6,
        )
    }
}

impl Scene for Cosmos {
    fn paint(&self, canvas: &mut Canvas, t: f32) {
        let unit = canvas.unit();
        let mut small = Canvas {
            width: canvas.width.div_ceil(SHRINK).max(2),
            height: canvas.height.div_ceil(SHRINK).max(2),
            pixels: Vec::new(),
        };
        small.pixels = vec![[0.0; 3]; small.width * small.height];
        let scale = SHRINK as f32 / unit;
        let (cx, cy) = (small.width as f32 / 2.0, small.height as f32 / 2.0);
        for (y, row) in small.rows() {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = self.nebula((x as f32 - cx) * scale, (y as f32 - cy) * scale, t);
            }
        }
        let end = canvas.height;
        canvas.enlarge(&small, 0, end);
        let drift = t * unit * 0.0012;
        for star in &self.stars {
            let twinkle = 0.75 + 0.25 * (t * 2.1 + star.phase).sin();
            let x = star.x - drift * (0.3 + star.light);
            canvas.glow(x, star.y, star.size, star.hue, star.light * twinkle);
            if star.light > 0.86 {
                spike(canvas, x, star.y, star.size * 9.0 * twinkle, star.hue);
            }
        }
        for planet in &self.planets {
            planet.paint(canvas, &self.texture, &self.palette, self.light, t);
        }
        for actor in &self.actors {
            actor.paint(canvas, 0.0, t);
        }
    }
}

/// The cross of light around a bright star.
fn spike(canvas: &mut Canvas, x: f32, y: f32, length: f32, hue: Rgb) {
    canvas.glow(x, y, length * 0.55, hue, 0.4);
    let reach = length as i32;
    for i in -reach..=reach {
        let fade = 1.0 - (i as f32 / length).abs();
        let alpha = fade * fade * fade * 0.75;
        for (px, py) in [(x + i as f32, y), (x, y + i as f32)] {
            if px >= 0.0
                && let Some(pixel) = canvas.row(py as i32).get_mut(px as usize)
            {
                *pixel = screen(*pixel, hue, alpha);
            }
        }
    }
}

fn planets(rng: &mut Rng, palette: &Palette, width: f32, height: f32) -> Vec<Planet> {
    let unit = width.min(height);
    let count = 1 + rng.below(3);
    let large = rng.chance(0.3);
    (0..count)
        .map(|i| {
            let first = palette.accents[rng.below(5)];
            let second = palette.accents[rng.below(5)];
            let light = blend(first, [1.0, 0.96, 0.9], 0.25);
            let radius = match (i, large) {
                (0, true) => rng.range(0.55, 0.75),
                (0, false) => rng.range(0.17, 0.24),
                _ => rng.range(0.025, 0.06),
            };
            let (x, y) = match (i, large) {
                (0, true) => (rng.range(0.3, 0.7), 1.0 + radius * 0.42 * unit / height),
                (0, false) => (rng.range(0.3, 0.7), rng.range(0.38, 0.62)),
                _ => (rng.range(0.1, 0.9), rng.range(0.1, 0.4)),
            };
            Planet {
                x: x * width,
                y: y * height,
                radius: radius * unit,
                bands: ramp(
                    &[
                        blend(first, palette.ink, 0.35),
                        first,
                        light,
                        second,
                        blend(second, palette.sky[2], 0.4),
                    ],
                    256,
                ),
                ring: (i == 0 && !large && rng.chance(0.65))
                    .then(|| (rng.range(-0.5, 0.5), rng.range(0.2, 0.34))),
                gas: if rng.chance(0.55) { 1.0 } else { 0.0 },
                turn: rng.range(-0.4, 0.4),
                seed: rng.range(0.0, 7.0),
            }
        })
        .collect()
}

impl Planet {
    fn paint(
        &self,
        canvas: &mut Canvas,
        texture: &Texture,
        palette: &Palette,
        light: (f32, f32),
        t: f32,
    ) {
        let r = self.radius;
        let depth = (1.0_f32 - light.0 * light.0 * 0.6 - light.1 * light.1 * 0.6)
            .max(0.1)
            .sqrt();
        let length = (light.0 * light.0 + light.1 * light.1 + depth * depth * 0.36).sqrt();
        let l = (light.0 / length, light.1 / length, depth * 0.6 / length);
        let air = blend(self.bands[128], palette.sky[4], 0.5);
        canvas.glow(
            self.x + l.0 * r * 0.12,
            self.y + l.1 * r * 0.12,
            r * 1.32,
            air,
            0.55,
        );
        if let Some(ring) = self.ring {
            self.paint_ring(canvas, ring, false);
        }
        let (sin, cos) = self.turn.sin_cos();
        let (top, bottom) = ((self.y - r - 1.0) as i32, (self.y + r + 1.0) as i32);
        for y in top.max(0)..=bottom.min(canvas.height as i32 - 1) {
            let dy = (y as f32 + 0.5 - self.y) / r;
            for (x, pixel) in canvas.row(y).iter_mut().enumerate() {
                let dx = (x as f32 + 0.5 - self.x) / r;
                let squared = dx * dx + dy * dy;
                let edge = ((1.0 - squared.sqrt()) * r + 0.5).clamp(0.0, 1.0);
                if edge <= 0.0 {
                    continue;
                }
                let dz = (1.0 - squared).max(0.0).sqrt();
                let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
                // A little of the sphere's curve is enough for the eye.
                let long = u / (0.35 + dz * 0.65) * 0.22 + self.seed + t * 0.004;
                let lat = v * 0.5 + dz * 0.04;
                let swirl = texture.at(long * 0.9, lat * 1.6 + self.seed);
                let value = if self.gas > 0.5 {
                    0.5 + texture.at(0.3 + swirl * 0.06 + long * 0.03, lat * 1.9 + self.seed) * 0.85
                } else {
                    let fine = texture.at(long * 3.0, lat * 3.4);
                    0.45 + swirl * 0.5 + fine * 0.2
                };
                let base = self.bands[(value.clamp(0.0, 1.0) * 255.0) as usize];
                let facing = dx * l.0 + dy * l.1 + dz * l.2;
                let day = smoothstep(-0.15, 0.95, facing);
                let mut colour = base.map(|c| c * (0.04 + day * 0.92));
                let limb = (1.0 - dz).powi(3);
                colour = screen(colour, air, limb * (0.15 + day) * 0.6);
                *pixel = mix(*pixel, colour.map(|c| c.min(1.0)), edge);
            }
        }
        if let Some(ring) = self.ring {
            self.paint_ring(canvas, ring, true);
        }
    }

    fn paint_ring(&self, canvas: &mut Canvas, (angle, flat): (f32, f32), front: bool) {
        let r = self.radius;
        let (sin, cos) = angle.sin_cos();
        let reach = r * 2.15;
        for y in ((self.y - reach).max(0.0) as i32)..=((self.y + reach) as i32) {
            let dy = (y as f32 + 0.5 - self.y) / r;
            for (x, pixel) in canvas.row(y).iter_mut().enumerate() {
                let dx = (x as f32 + 0.5 - self.x) / r;
                let (u, v) = (dx * cos + dy * sin, (dy * cos - dx * sin) / flat);
                if (v > 0.0) != front {
                    continue;
                }
                let away = (u * u + v * v).sqrt();
                if !(1.3..2.1).contains(&away) {
                    continue;
                }
                let k = (away - 1.3) / 0.8;
                let groove = (k * 37.0).sin() * 0.12 + (k * 83.0).sin() * 0.08;
                let gap = 1.0 - smoothstep(0.03, 0.0, (k - 0.62).abs());
                let alpha =
                    (0.62 + groove) * gap * smoothstep(0.0, 0.06, k) * smoothstep(1.0, 0.9, k);
                let colour = self.bands[(150.0 + groove * 300.0).clamp(0.0, 255.0) as usize];
                *pixel = mix(*pixel, colour, alpha.clamp(0.0, 1.0) * 0.85);
            }
        }
    }
}
