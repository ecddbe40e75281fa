//! Flowers seen from among them, with blurred ones behind.

use super::super::Size;
use super::super::brief::{Brief, Trait};
use super::super::canvas::Canvas;
use super::super::colour::{Rgb, blend, hex, ramp, screen};
use super::super::cutout::Cutout;
use super::super::noise::{Rng, Texture};
use super::super::outline::{Outline, Point, smooth};
use super::super::palette::Palette;
use super::Scene;
use super::sky::Sky;
use super::weather::Particles;
use std::f32::consts::TAU;
use std::sync::Arc;

/// Out-of-focus spots of colour.
struct Spot {
    x: f32,
    y: f32,
    radius: f32,
    colour: Rgb,
    alpha: f32,
    phase: f32,
}

struct Plant {
    parts: Vec<Cutout>,
    near: f32,
    phase: f32,
}

pub struct Garden {
    sky: Sky,
    meadow: [Rgb; 2],
    spots: Vec<Spot>,
    plants: Vec<Plant>,
    particles: Particles,
    sun: Rgb,
}

impl Garden {
    pub fn new(brief: &Brief, size: Size) -> Self {
        let palette = Palette::of(brief);
        let mut rng = brief.rng(29);
        let (width, height) = (size.width as f32, size.height as f32);
        let unit = width.min(height);
        let texture = Arc::new(Texture::new(rng.next() as u32));
        let sky = Sky::new(brief, &palette, texture, (width, height), height * 0.72);
        let green = blend(palette.land, hex(0x4a_9a4e), 0.68);
        let leaf = blend(
            blend(green, palette.ink, 0.1 + palette.dark * 0.5),
            palette.haze,
            0.08,
        );
        let mut hues: Vec<Rgb> = palette.accents.to_vec();
        hues.sort_by(|a, b| {
            super::super::colour::luma(*b).total_cmp(&super::super::colour::luma(*a))
        });
        let usual: Option<[u32; 5]> = if !brief.colours.is_empty() {
            None
        } else if brief.has(Trait::Rose) {
            Some([0xc2_183c, 0xe0_506e, 0xf3_a6b4, 0xf7_e6dc, 0xd9_482b])
        } else if brief.has(Trait::Tulip) {
            Some([0xe6_3946, 0xf4_a261, 0xe7_6f9a, 0xf6_d155, 0x9b_5de5])
        } else if brief.has(Trait::Poppy) {
            Some([0xd9_2b2b, 0xe8_4a2f, 0xf0_6a3c, 0xc8_2038, 0xf4_8a5a])
        } else if brief.has(Trait::Daisy) {
            Some([0xff_fdf6, 0xfb_f3e4, 0xf8_e9f0, 0xff_f6d8, 0xf0_eefc])
        } else {
            None
        };
        if let Some(usual) = usual {
            hues = usual.map(hex).to_vec();
        }
        let night = palette.dark * 0.45;
        let hue = |rng: &mut Rng| blend(hues[rng.below(hues.len())], palette.ink, night);
        let spots = (0..90)
            .map(|_| {
                let low = rng.unit();
                let flower = rng.chance(0.55);
                Spot {
                    x: rng.unit() * width,
                    y: height * (0.42 + low * 0.6),
                    radius: unit * rng.range(0.016, 0.055) * (0.5 + low),
                    colour: if flower {
                        hue(&mut rng)
                    } else {
                        blend(leaf, palette.sun, rng.range(0.05, 0.4))
                    },
                    alpha: rng.range(0.18, 0.5),
                    phase: rng.range(0.0, TAU),
                }
            })
            .collect();
        let count = if brief.has(Trait::Minimal) { 3 } else { 13 };
        let count = (count as f32 * (width / height).clamp(0.75, 2.0)) as usize;
        let sunflower = brief.has(Trait::Sunflower);
        let named = [Trait::Daisy, Trait::Tulip, Trait::Poppy, Trait::Rose]
            .iter()
            .position(|wanted| brief.has(*wanted))
            .or(sunflower.then_some(0));
        let kind = named.unwrap_or_else(|| rng.below(4));
        let light = if sky.sun.0 > width / 2.0 { 1.0 } else { -1.0 };
        let mut plants: Vec<Plant> = (0..count)
            .map(|i| {
                let near = (i as f32 + 0.5) / count as f32;
                let mut bloom = hue(&mut rng);
                if sunflower {
                    bloom = blend(hex(0xf2_b01e), palette.ink, night);
                }
                // Golden steps spread the stems without clumps.
                let x = (i as f32 * 0.618 + rng.range(-0.06, 0.06) + 0.3).rem_euclid(1.0);
                let which = if named.is_some() || rng.chance(0.7) {
                    kind
                } else {
                    rng.below(4)
                };
                let spot = Bed {
                    x: x * width,
                    bottom: height,
                    tall: height
                        * (0.3 + (1.0 - near) * 0.1 + rng.range(0.0, 0.3))
                        * (0.75 + near * 0.4),
                    bloom: unit * (0.045 + near * 0.085),
                    leaf: blend(leaf, palette.haze, (1.0 - near) * 0.4),
                    petal: blend(bloom, palette.haze, (1.0 - near) * 0.3),
                    heart: blend(
                        if sunflower {
                            hex(0x5a_3418)
                        } else {
                            blend(hex(0xf4_c542), bloom, 0.1)
                        },
                        palette.ink,
                        night,
                    ),
                    palette: &palette,
                    light,
                };
                Plant {
                    parts: spot.grow(which, &mut rng),
                    near,
                    phase: rng.range(0.0, TAU),
                }
            })
            .collect();
        for near in [0.42, 0.72, 1.02] {
            plants.push(grass(near, &leaf, &palette, size, light, &mut rng));
        }
        plants.sort_by(|a, b| a.near.total_cmp(&b.near));
        Self {
            meadow: [
                blend(palette.haze, leaf, 0.4),
                blend(leaf, palette.ink, 0.45),
            ],
            sky,
            spots,
            plants,
            particles: Particles::drifting(brief, &palette, size),
            sun: palette.sun,
        }
    }
}

impl Scene for Garden {
    fn paint(&self, canvas: &mut Canvas, t: f32) {
        self.sky.paint(canvas, t);
        let (height, unit) = (canvas.height as f32, canvas.unit());
        let start = height * 0.5;
        for (y, row) in canvas.rows().skip(start as usize) {
            let down = (y as f32 - start) / (height - start);
            let cover = (down * 2.4).min(1.0).powf(1.4);
            let colour = super::super::colour::mix(self.meadow[0], self.meadow[1], down.powf(0.9));
            for pixel in row {
                *pixel = super::super::colour::mix(*pixel, colour, cover);
            }
        }
        for spot in &self.spots {
            let x = spot.x + (t * 0.6 + spot.phase).sin() * unit * 0.006;
            disc(canvas, x, spot.y, spot.radius, spot.colour, spot.alpha);
        }
        for plant in &self.plants {
            let sway = ((t * 1.1 + plant.phase).sin() + 0.4 * (t * 2.3 + plant.phase).sin())
                * unit
                * 0.006
                * (0.5 + plant.near);
            for part in &plant.parts {
                part.bend(canvas, sway);
            }
        }
        canvas.glow(self.sky.sun.0, self.sky.sun.1, unit * 0.75, self.sun, 0.22);
        self.particles.paint(canvas, t, 1.0);
    }
}

/// Brighter at its rim, as a lens shows it.
fn disc(canvas: &mut Canvas, x: f32, y: f32, radius: f32, colour: Rgb, alpha: f32) {
    let reach = radius + 1.0;
    let left = (x - reach).max(0.0) as usize;
    for row in (y - reach) as i32..=(y + reach) as i32 {
        let dy = row as f32 + 0.5 - y;
        for (column, pixel) in canvas.row(row).iter_mut().enumerate().skip(left) {
            let dx = column as f32 + 0.5 - x;
            if dx > reach {
                break;
            }
            let away = (dx * dx + dy * dy).sqrt();
            let soft = ((radius - away) / (radius * 0.18)).clamp(0.0, 1.0);
            if soft > 0.0 {
                let rim = (away / radius).powi(4) * 0.5 + 0.6;
                let mixed = super::super::colour::mix(*pixel, colour, alpha * soft * rim.min(1.0));
                *pixel = screen(mixed, colour, alpha * soft * 0.18);
            }
        }
    }
}

/// A row of blades along the lower edge.
fn grass(near: f32, leaf: &Rgb, palette: &Palette, size: Size, light: f32, rng: &mut Rng) -> Plant {
    let (width, height) = (size.width as f32, size.height as f32);
    let unit = width.min(height);
    let tall = unit * (0.34 - near * 0.14);
    let mut outline = Outline::new(size.width as usize, tall as usize + 2);
    let count = (width / unit * (150.0 - near * 60.0)) as usize;
    for _ in 0..count {
        let x = rng.range(-0.02, 1.02) * width;
        let rise = tall * rng.range(0.3, 1.0);
        let lean = rise * rng.range(-0.35, 0.35);
        let half = unit * rng.range(0.003, 0.006) * (0.5 + near);
        let tip = (x + lean, tall - rise);
        let middle = (x + lean * 0.3, tall - rise * 0.55);
        outline.polygon(&[
            (x - half, tall + 3.0),
            (middle.0 - half * 0.8, middle.1),
            tip,
            (middle.0 + half * 0.8, middle.1),
            (x + half, tall + 3.0),
        ]);
    }
    let mut cutout = Cutout::new(outline.width, outline.height, outline.cover());
    cutout.top = height - outline.height as f32;
    let own = blend(
        blend(*leaf, palette.haze, (1.02 - near) * 0.5),
        palette.sun,
        0.06,
    );
    let foot = blend(own, palette.ink, 0.35 + near * 0.3);
    cutout.ramp = ramp(&[foot, own, blend(own, palette.sun, 0.35)], 256);
    for (i, tone) in cutout.tone.iter_mut().enumerate() {
        let down = (i / cutout.width) as f32 / tall;
        *tone = (150.0 - down * 150.0).max(0.0) as u8;
    }
    cutout.rim(1.0, (light, -0.4), 60.0);
    Plant {
        parts: vec![cutout],
        near,
        phase: near * 5.0,
    }
}

struct Bed<'a> {
    x: f32,
    bottom: f32,
    tall: f32,
    bloom: f32,
    leaf: Rgb,
    petal: Rgb,
    heart: Rgb,
    palette: &'a Palette,
    light: f32,
}

impl Bed<'_> {
    fn shades(&self, colour: Rgb) -> Vec<Rgb> {
        ramp(
            &[
                blend(
                    colour,
                    blend(self.palette.ink, self.palette.sky[0], 0.5),
                    0.55,
                ),
                colour,
                blend(colour, self.palette.sun, 0.5),
            ],
            256,
        )
    }

    /// Stem and leaves first, then the bloom on top.
    fn grow(&self, kind: usize, rng: &mut Rng) -> Vec<Cutout> {
        let half = self.bloom * 1.7;
        let (wide, high) = (
            (half * 2.0) as usize + 4,
            (self.tall + self.bloom * 1.3) as usize + 4,
        );
        let foot = (half + rng.range(-0.3, 0.3) * half, high as f32 + 2.0);
        let head = (half, self.bloom * 1.3);
        let bow = rng.range(-0.25, 0.25) * half;
        let middle = (foot.0.midpoint(head.0) + bow, foot.1.midpoint(head.1));
        let mut stem = Outline::new(wide, high);
        let line = bezier(foot, middle, head);
        let thick = self.bloom * 0.055;
        stem.stroke(&line, thick, thick * 0.6);
        for (k, side) in [(0.35, 1.0), (0.5, -1.0), (0.66, 1.0)] {
            let at = line[(k * (line.len() - 1) as f32) as usize];
            let length = self.bloom * rng.range(0.75, 1.1);
            let rise = length * rng.range(0.35, 0.8);
            stem.curve(&[
                at,
                (at.0 + side * length * 0.45, at.1 - rise * 0.75),
                (at.0 + side * length, at.1 - rise),
                (at.0 + side * length * 0.62, at.1 - rise * 0.2),
            ]);
        }
        let mut parts = vec![self.cut(&stem, self.leaf, 0.0)];
        let (r, c) = (self.bloom, head);
        match kind {
            0 => self.daisy(&mut parts, wide, c, r, rng),
            1 => self.tulip(&mut parts, wide, c, r),
            2 => self.poppy(&mut parts, wide, c, r, rng),
            _ => self.rose(&mut parts, wide, c, r, rng),
        }
        parts
    }

    fn cut(&self, outline: &Outline, colour: Rgb, relief: f32) -> Cutout {
        let mut cutout = outline.cut();
        cutout.ramp = self.shades(colour);
        if relief > 0.0 {
            cutout.relief(
                (self.bloom * 0.09).max(1.0) as usize,
                (self.light, -0.7),
                relief * 0.5,
            );
        }
        cutout.rim((self.bloom * 0.02).max(1.0), (self.light, -0.7), 40.0);
        cutout.left += (self.x - outline.width as f32 / 2.0).round();
        cutout.top += (self.bottom - self.tall - self.bloom * 1.3).round();
        cutout
    }

    fn sheet(&self, wide: usize) -> Outline {
        Outline::new(wide, (self.bloom * 2.8) as usize + 4)
    }

    fn daisy(&self, parts: &mut Vec<Cutout>, wide: usize, c: Point, r: f32, rng: &mut Rng) {
        let count = 9 + rng.below(8);
        let flat = rng.range(0.62, 0.95);
        let turn = rng.range(0.0, TAU);
        for layer in 0..2 {
            let mut sheet = self.sheet(wide);
            for i in 0..count {
                let angle = turn + (i as f32 + layer as f32 * 0.5) / count as f32 * TAU;
                let length = r * rng.range(0.9, 1.08);
                petal(
                    &mut sheet,
                    c,
                    angle,
                    length,
                    length * 2.3 / count as f32,
                    flat,
                );
            }
            let tint = blend(self.petal, [1.0, 0.98, 0.94], layer as f32 * 0.16);
            parts.push(self.cut(&sheet, tint, 1.0));
        }
        let mut heart = self.sheet(wide);
        heart.ellipse(c, (r * 0.3, r * 0.3 * flat));
        parts.push(self.cut(&heart, self.heart, 1.2));
    }

    fn tulip(&self, parts: &mut Vec<Cutout>, wide: usize, c: Point, r: f32) {
        let p = |x: f32, y: f32| (c.0 + x * r, c.1 + (y - 0.1) * r);
        let mut back = self.sheet(wide);
        back.curve(&[
            p(0.0, -1.05),
            p(0.2, -0.6),
            p(0.3, 0.2),
            p(-0.3, 0.2),
            p(-0.2, -0.6),
        ]);
        parts.push(self.cut(&back, blend(self.petal, self.palette.ink, 0.2), 0.8));
        for side in [-1.0, 1.0] {
            let mut sheet = self.sheet(wide);
            sheet.curve(&[
                p(side * 0.56, -0.98),
                p(side * 0.66, -0.3),
                p(side * 0.46, 0.32),
                p(side * 0.04, 0.42),
                p(side * 0.02, 0.0),
                p(side * 0.26, -0.5),
            ]);
            parts.push(self.cut(&sheet, self.petal, 1.0));
        }
        let mut front = self.sheet(wide);
        front.curve(&[
            p(0.0, -0.78),
            p(0.3, -0.3),
            p(0.3, 0.2),
            p(0.0, 0.46),
            p(-0.3, 0.2),
            p(-0.3, -0.3),
        ]);
        parts.push(self.cut(&front, blend(self.petal, [1.0, 0.96, 0.9], 0.14), 1.0));
    }

    fn poppy(&self, parts: &mut Vec<Cutout>, wide: usize, c: Point, r: f32, rng: &mut Rng) {
        let turn = rng.range(0.0, TAU);
        for i in 0..5 {
            let angle = turn + i as f32 * 2.0 / 5.0 * TAU;
            let (sin, cos) = angle.sin_cos();
            let mut sheet = self.sheet(wide);
            let centre = (c.0 + cos * r * 0.46, c.1 + sin * r * 0.38);
            let points: Vec<Point> = (0..14)
                .map(|k| {
                    let a = k as f32 / 14.0 * TAU;
                    let wave = r * 0.56 * rng.range(0.9, 1.08);
                    (centre.0 + a.cos() * wave, centre.1 + a.sin() * wave * 0.84)
                })
                .collect();
            sheet.curve(&points);
            parts.push(self.cut(
                &sheet,
                blend(self.petal, [1.0, 0.95, 0.9], (i % 2) as f32 * 0.1),
                1.1,
            ));
        }
        let mut ring = self.sheet(wide);
        for i in 0..16 {
            let (sin, cos) = (i as f32 / 16.0 * TAU).sin_cos();
            ring.ellipse(
                (c.0 + cos * r * 0.24, c.1 + sin * r * 0.2),
                (r * 0.035, r * 0.035),
            );
        }
        ring.ellipse(c, (r * 0.15, r * 0.13));
        parts.push(self.cut(&ring, blend(self.palette.ink, self.heart, 0.22), 0.6));
    }

    fn rose(&self, parts: &mut Vec<Cutout>, wide: usize, c: Point, r: f32, rng: &mut Rng) {
        let turn = rng.range(0.0, TAU);
        for layer in 0..4 {
            let k = layer as f32 / 3.0;
            let count = 6 - layer;
            let reach = r * (0.56 - k * 0.46);
            for i in 0..count {
                let angle = turn + layer as f32 * 0.7 + i as f32 / count as f32 * TAU;
                let (sin, cos) = angle.sin_cos();
                let mut sheet = self.sheet(wide);
                let size = r * (0.46 - k * 0.17);
                sheet.ellipse(
                    (c.0 + cos * reach, c.1 + sin * reach * 0.85),
                    (size, size * 0.88),
                );
                let tint = blend(
                    self.petal,
                    blend(self.petal, self.palette.ink, 0.5),
                    k * 0.4,
                );
                parts.push(self.cut(
                    &sheet,
                    blend(tint, [1.0, 0.96, 0.94], (1.0 - k) * 0.16),
                    1.3,
                ));
            }
        }
    }
}

fn petal(sheet: &mut Outline, c: Point, angle: f32, length: f32, width: f32, flat: f32) {
    let (sin, cos) = angle.sin_cos();
    let at = |along: f32, across: f32| {
        (
            c.0 + (cos * along - sin * across) * length.max(1.0),
            c.1 + (sin * along + cos * across) * length.max(1.0) * flat,
        )
    };
    let w = width / length.max(1.0);
    sheet.polygon(&smooth(&[
        at(0.05, 0.0),
        at(0.45, w * 0.75),
        at(0.85, w * 0.8),
        at(1.0, 0.0),
        at(0.85, -w * 0.8),
        at(0.45, -w * 0.75),
    ]));
}

fn bezier(a: Point, b: Point, c: Point) -> Vec<Point> {
    (0..=24)
        .map(|i| {
            let t = i as f32 / 24.0;
            let mix = |p: f32, q: f32, r: f32| {
                p * (1.0 - t) * (1.0 - t) + q * 2.0 * t * (1.0 - t) + r * t * t
            };
            (mix(a.0, b.0, c.0), mix(a.1, b.1, c.1))
        })
        .collect()
}
