//! Every outdoor scene: a sky, layers of land one in front of the other, water, and somebody to look at.

use super::super::Size;
use super::super::brief::{Brief, Hour, Place, Subject, Trait};
use super::super::canvas::Canvas;
use super::super::colour::{Rgb, blend, hex};
use super::super::cutout::Cutout;
use super::super::figure::{self, Actor, Stage};
use super::super::noise::{Rng, Texture, fractal, ridged};
use super::super::palette::Palette;
use super::Scene;
use super::land::{FINE, Ground, Layer};
use super::sky::Sky;
use super::water::Water;
use super::weather::Particles;
use super::{skyline, trees};
use std::sync::Arc;

/// How far the camera drifts to either side, in widths.
const DRIFT: f32 = 0.045;

pub struct Vista {
    sky: Sky,
    far: Vec<Cutout>,
    water: Option<Water>,
    near: Vec<Cutout>,
    actors: Vec<Actor>,
    particles: Particles,
}

/// What is known while the layers are being made.
struct Site<'a> {
    brief: &'a Brief,
    palette: &'a Palette,
    texture: Arc<Texture>,
    size: Size,
    sun: f32,
    rng: Rng,
    far: Vec<Cutout>,
    near: Vec<Cutout>,
    /// Row on which somebody may stand, by column; from the last foreground made.
    ground: Vec<f32>,
    ground_depth: f32,
}

impl Vista {
    pub fn new(brief: &Brief, size: Size) -> Self {
        let mut palette = Palette::of(brief);
        if is_green(brief) {
            palette.land = blend(palette.land, hex(0x6a_9a4c), 0.5);
        } else if brief.place == Place::Desert && brief.colours.is_empty() {
            palette.land = blend(palette.land, hex(0xd8_9a5c), 0.6);
            palette.haze = blend(palette.haze, hex(0xe8_c49a), 0.4);
        }
        let mut rng = brief.rng(3);
        let height = size.height as f32;
        let tall = size.height > size.width;
        let horizon = height
            * match brief.place {
                Place::Sea => rng.range(0.54, 0.62),
                Place::City => rng.range(0.66, 0.72),
                Place::Meadow | Place::Garden => rng.range(0.6, 0.66),
                Place::Desert => rng.range(0.58, 0.64),
                _ => rng.range(0.62, 0.68),
            }
            + if tall { height * 0.03 } else { 0.0 };
        let texture = Arc::new(Texture::new(rng.next() as u32));
        let area = (size.width as f32, height);
        let sky = Sky::new(brief, &palette, Arc::clone(&texture), area, horizon);
        let mut site = Site {
            brief,
            palette: &palette,
            texture,
            size,
            sun: sky.sun.0,
            rng,
            far: Vec::new(),
            near: Vec::new(),
            ground: vec![height * 0.9; size.width as usize],
            ground_depth: 0.8,
        };
        let rough = site.build(horizon);
        let water = rough.map(|rough| {
            Water::new(
                &palette,
                horizon,
                rough,
                sky.sun.0,
                Arc::clone(&site.texture),
            )
        });
        let stage = Stage {
            brief,
            palette: &palette,
            texture: &site.texture,
            width: size.width as f32,
            height,
            horizon,
            sun: sky.sun,
            ground: &site.ground,
            ground_depth: site.ground_depth,
            water: water.is_some(),
        };
        let actors = figure::cast(&stage);
        Self {
            far: site.far,
            near: site.near,
            sky,
            water,
            actors,
            particles: Particles::new(brief, &palette, size),
        }
    }
}

/// Grass is green where nothing says otherwise and there is light to see it by.
fn is_green(brief: &Brief) -> bool {
    matches!(brief.place, Place::Meadow | Place::Forest)
        && matches!(brief.hour, Hour::Day | Hour::Dawn)
        && brief.colours.is_empty()
        && !brief.any(&[
            Trait::Autumn,
            Trait::Spring,
            Trait::Snow,
            Trait::Storm,
            Trait::Neon,
        ])
}

impl Scene for Vista {
    fn paint(&self, canvas: &mut Canvas, t: f32) {
        let camera = (t * 0.12).sin() * DRIFT * canvas.width as f32;
        self.sky.paint(canvas, t);
        for layer in &self.far {
            layer.paint(canvas, -camera * layer.depth, 0.0);
        }
        for actor in self.actors.iter().filter(|actor| actor.behind) {
            actor.paint(canvas, camera, t);
        }
        if let Some(water) = &self.water {
            water.paint(canvas, t);
        }
        for actor in self.actors.iter().filter(|actor| actor.afloat) {
            actor.paint(canvas, camera, t);
        }
        for layer in &self.near {
            layer.paint(canvas, -camera * layer.depth, 0.0);
        }
        for actor in self
            .actors
            .iter()
            .filter(|actor| !actor.afloat && !actor.behind)
        {
            actor.paint(canvas, camera, t);
        }
        self.particles.paint(canvas, t, 1.0);
    }
}

impl Site<'_> {
    /// Makes the layers; returns how rough the water is, if there is any.
    fn build(&mut self, horizon: f32) -> Option<f32> {
        match self.brief.place {
            Place::Sea => return Some(self.sea(horizon)),
            Place::City => return Some(self.city(horizon)),
            Place::Forest => self.forest(horizon),
            Place::Desert => self.desert(horizon),
            Place::Meadow | Place::Garden => self.meadow(horizon),
            _ => return self.mountains(horizon),
        }
        None
    }

    fn unit(&self) -> f32 {
        self.size.width.min(self.size.height) as f32
    }

    fn mist(&self) -> f32 {
        if self.brief.has(Trait::Fog) {
            1.0
        } else if self.brief.has(Trait::Minimal) {
            0.85
        } else {
            0.62
        }
    }

    /// Runs `make` with a layer of the given nearness.
    fn layer<T>(&mut self, near: f32, bottom: f32, make: impl FnOnce(&Layer, &mut Rng) -> T) -> T {
        let width = self.size.width as usize;
        let layer = Layer {
            palette: self.palette,
            texture: &self.texture,
            width,
            margin: (width as f32 * DRIFT * near).ceil() as usize + 2,
            near,
            bottom: bottom.min(self.size.height as f32),
            sun: self.sun,
            unit: self.size.width.min(self.size.height) as f32,
            mist: self.mist(),
        };
        make(&layer, &mut self.rng)
    }

    fn ridge(&mut self, near: f32, base: f32, tall: f32, rate: f32, ground: Ground, bottom: f32) {
        let cutout = self.layer(near, bottom, |layer, rng| {
            let seed = rng.next() as u32;
            let shift = rng.range(0.0, 90.0);
            let octaves = if ground == Ground::Hill { 3 } else { 7 };
            let profile = layer.profile(|x| {
                let x = x * rate + shift;
                let rise = match ground {
                    Ground::Hill => 0.5 + fractal(x, octaves, seed) * 0.5,
                    Ground::Dune => 0.5 + fractal(x * 0.7, 2, seed) * 0.5,
                    _ => {
                        let massif = 0.62 + fractal(x * 0.45, 2, seed ^ 5) * 0.42;
                        (ridged(x, octaves, seed) * massif * 1.15 - 0.2).max(0.0) * 1.4
                    }
                };
                base - rise * tall
            });
            layer.cut(&profile, ground)
        });
        if self.far_stage() {
            self.far.push(cutout);
        } else {
            self.near.push(cutout);
        }
    }

    /// Layers go behind the water until something stands in front of it.
    fn far_stage(&self) -> bool {
        self.near.is_empty()
    }

    fn mountains(&mut self, horizon: f32) -> Option<f32> {
        let height = self.size.height as f32;
        let unit = self.unit();
        let lake = self.brief.has(Trait::Water)
            || self.brief.subjects.contains(&Subject::Boat)
            || self.rng.chance(0.7);
        let winter = self.brief.has(Trait::Snow);
        let alpine = winter || self.rng.chance(0.65);
        let snow = |line: f32| {
            if winter {
                Ground::Snow(line * 2.2)
            } else if alpine {
                Ground::Snow(line)
            } else {
                Ground::Rock
            }
        };
        let count = if self.brief.has(Trait::Minimal) { 3 } else { 4 };
        let reach = height
            * if self.size.height > self.size.width {
                0.3
            } else {
                0.4
            };
        let bottom = if lake { horizon + 2.0 } else { height };
        for i in 0..count {
            let k = i as f32 / (count - 1) as f32;
            let near = 0.04 + k * 0.34;
            let tall = reach * (0.98 - k * 0.62) * self.rng.range(0.88, 1.1);
            let base = horizon - height * 0.03 + k * height * 0.035;
            let rate = 1.5 + k * 0.7;
            let ground = if k < 0.75 {
                snow(0.16 - k * 0.1)
            } else {
                Ground::Rock
            };
            let end = if lake {
                bottom
            } else {
                (base + height * if k < 0.9 { 0.11 } else { 0.24 }).min(height)
            };
            self.ridge(near, base, tall, rate, ground, end);
        }
        if lake {
            let shore = self.layer(0.45, horizon + 2.0, |layer, rng| {
                let seed = rng.next() as u32;
                let profile = layer.profile(|x| {
                    horizon - unit * 0.012 - fractal(x * 1.3, 3, seed).abs() * unit * 0.03
                });
                trees::conifers(layer, &profile, unit * 0.05, 1.3, rng)
            });
            self.far.push(shore);
            self.foreground(height * 0.93, unit * 0.075, true);
            return Some(0.16);
        }
        for (near, line, tall) in [
            (0.44, 0.74, 0.045),
            (0.54, 0.79, 0.065),
            (0.64, 0.855, 0.095),
        ] {
            let end = height * (line + 0.16_f32).min(1.0);
            let wood = self.layer(near, end, |layer, rng| {
                let seed = rng.next() as u32;
                let profile =
                    layer.profile(|x| height * line - fractal(x * 1.1, 4, seed) * unit * 0.05);
                trees::conifers(layer, &profile, unit * tall, 1.25, rng)
            });
            self.near.push(wood);
        }
        self.foreground(height * 0.93, unit * 0.09, true);
        None
    }

    /// The nearest hill: where subjects stand. Trees keep to its ends.
    fn foreground(&mut self, base: f32, swell: f32, wooded: bool) {
        let height = self.size.height as f32;
        let unit = self.unit();
        let near = 0.9;
        let wide = self.size.width as f32 / unit;
        let winter = self.brief.has(Trait::Snow);
        let palette = self.palette.clone();
        let (cutout, profile, margin) = self.layer(near, height, |layer, rng| {
            let seed = rng.next() as u32;
            let side = if rng.chance(0.5) { 1.0 } else { -1.0 };
            let profile = layer.profile(|x| {
                let across = x / wide * 2.0 - 1.0;
                base - fractal(x * 1.2, 3, seed) * swell * 0.45
                    - across * side * swell * 0.7
                    - across * across * swell * 0.35
            });
            let mut hill = layer.cut(&profile, Ground::Hill);
            if winter {
                let snow = blend(
                    [0.95, 0.97, 1.0],
                    palette.sky[2],
                    0.22 + palette.dark * 0.45,
                );
                for (i, colour) in hill.ramp.iter_mut().enumerate() {
                    *colour = blend(*colour, snow, 0.55 + i as f32 / 255.0 * 0.4);
                }
            }
            (hill, profile, layer.margin)
        });
        if wooded {
            let grove = self.layer(near - 0.06, height, |layer, rng| {
                let lifted: Vec<f32> = profile
                    .iter()
                    .enumerate()
                    .map(|(i, y)| {
                        let x = (i as f32 / FINE as f32 - margin as f32) / layer.width as f32;
                        // Sink the wood below the hill in the middle, where it would hide the view.
                        let middle = 1.0 - ((x - 0.5).abs() * 2.0).min(1.0);
                        y + unit * (0.01 + middle.powf(0.6) * 0.42)
                    })
                    .collect();
                trees::conifers(layer, &lifted, unit * 0.26, 0.75, rng)
            });
            self.near.push(grove);
        }
        self.near.push(cutout);
        self.stand_on(&profile, margin, near);
    }

    /// Subjects stand on this profile.
    fn stand_on(&mut self, profile: &[f32], margin: usize, near: f32) {
        let last = profile.len() - 1;
        self.ground = (0..self.size.width as usize)
            .map(|x| profile[((x + margin) * FINE).min(last)])
            .collect();
        self.ground_depth = near;
    }

    fn sea(&mut self, horizon: f32) -> f32 {
        let height = self.size.height as f32;
        let unit = self.unit();
        let islands = self.rng.below(3);
        for i in 0..islands {
            let near = 0.1 + i as f32 * 0.08;
            let tall = unit * self.rng.range(0.08, 0.2);
            let place = self.rng.range(-0.1, 1.1) * self.size.width as f32 / unit;
            let spread = self.rng.range(0.25, 0.6);
            let island = self.layer(near, horizon + 2.0, |layer, rng| {
                let seed = rng.next() as u32;
                let profile = layer.profile(|x| {
                    let off = (x - place) / spread;
                    let body = (1.0 - off * off).max(0.0).powf(0.7);
                    horizon + 3.0 - ridged(x * 2.2, 6, seed) * tall * body * 1.3 - body * tall * 0.2
                });
                layer.cut(&profile, Ground::Rock)
            });
            self.far.push(island);
        }
        let standing = self.brief.subjects.iter().any(|subject| {
            !matches!(
                subject,
                Subject::Boat | Subject::Whale | Subject::Bird | Subject::Balloon | Subject::Rocket
            )
        });
        if standing || self.rng.chance(0.35) {
            self.headland(height, unit);
        }
        let wild = self.brief.any(&[Trait::Storm, Trait::Rain]);
        if wild {
            1.0
        } else {
            self.rng.range(0.45, 0.75)
        }
    }

    /// A cliff rising at one side of the picture.
    fn headland(&mut self, height: f32, unit: f32) {
        let wide = self.size.width as f32 / unit;
        let left = self.sun > self.size.width as f32 / 2.0;
        let (cutout, profile, margin) = self.layer(0.75, height, |layer, rng| {
            let seed = rng.next() as u32;
            let profile = layer.profile(|x| {
                let from_edge = if left { x / wide } else { 1.0 - x / wide };
                let slope = 1.0 - ((from_edge - 0.06) / 0.46).clamp(0.0, 1.0);
                let rise = slope.powf(0.8) * 0.24 + slope * ridged(x * 3.0, 5, seed) * 0.03;
                height * 1.0 - rise * height
                    + fractal(x * 7.0, 3, seed) * unit * 0.006
                    + unit * 0.015
            });
            (layer.cut(&profile, Ground::Hill), profile, layer.margin)
        });
        self.near.push(cutout);
        self.stand_on(&profile, margin, 0.75);
    }

    fn forest(&mut self, horizon: f32) {
        let height = self.size.height as f32;
        let unit = self.unit();
        self.ridge(
            0.05,
            horizon - height * 0.06,
            height * 0.22,
            1.4,
            Ground::Rock,
            horizon + height * 0.1,
        );
        for i in 0..5 {
            let k = i as f32 / 4.0;
            let near = 0.16 + k * 0.56;
            let line = horizon - height * 0.1 + k * height * 0.33;
            let tall = unit * (0.07 + k * k * 0.26);
            let end = if i == 4 { height } else { line + height * 0.2 };
            let wood = self.layer(near, end, |layer, rng| {
                let seed = rng.next() as u32;
                let profile =
                    layer.profile(|x| line - fractal(x * (1.3 - k * 0.4), 4, seed) * unit * 0.05);
                trees::conifers(layer, &profile, tall, 1.35 - k * 0.5, rng)
            });
            self.far.push(wood);
        }
        self.foreground(height * 0.92, unit * 0.07, false);
    }

    fn desert(&mut self, horizon: f32) {
        let height = self.size.height as f32;
        self.ridge(
            0.06,
            horizon + height * 0.01,
            height * 0.13,
            1.5,
            Ground::Rock,
            horizon + height * 0.08,
        );
        for i in 0..4 {
            let k = i as f32 / 3.0;
            let near = 0.22 + k * 0.62;
            let base = horizon + height * (0.045 + k * k * 0.27);
            let tall = height * (0.07 + k * 0.12);
            let end = if i == 3 { height } else { base + height * 0.16 };
            let (cutout, profile, margin) = self.layer(near, end, |layer, rng| {
                let (seed, shift) = (rng.next() as u32, rng.range(0.0, 50.0));
                let rate = 1.15 - k * 0.45;
                let profile = layer.profile(|x| {
                    // Long windward sides, short leeward ones.
                    let x = x * rate + shift;
                    let bent = x + fractal(x * 0.9, 1, seed ^ 3) * 0.35;
                    base - (0.45 + fractal(bent, 2, seed) * 0.6) * tall
                });
                (layer.cut(&profile, Ground::Dune), profile, layer.margin)
            });
            self.far.push(cutout);
            self.stand_on(&profile, margin, near);
        }
    }

    fn city(&mut self, horizon: f32) -> f32 {
        let height = self.size.height as f32;
        let unit = self.unit();
        let scale = if self.size.height > self.size.width {
            0.36
        } else {
            0.46
        };
        for i in 0..3 {
            let near = 0.1 + i as f32 * 0.2;
            let tall = height * scale * (1.0 - i as f32 * 0.2);
            let row = self.layer(near, horizon + 2.0, |layer, rng| {
                skyline::row(layer, horizon, tall, rng)
            });
            self.far.push(row);
        }
        let grounded = self.brief.subjects.iter().any(|subject| {
            !matches!(
                subject,
                Subject::Boat | Subject::Whale | Subject::Bird | Subject::Balloon | Subject::Rocket
            )
        });
        if grounded {
            self.foreground(height * 0.95, unit * 0.03, false);
        }
        0.34
    }

    fn meadow(&mut self, horizon: f32) {
        let height = self.size.height as f32;
        let unit = self.unit();
        self.ridge(
            0.06,
            horizon,
            height * 0.2,
            1.2,
            Ground::Rock,
            horizon + height * 0.08,
        );
        for i in 0..3 {
            let k = i as f32 / 2.0;
            let near = 0.2 + k * 0.36;
            let base = horizon + height * (0.03 + k * 0.1);
            let end = base + height * 0.2;
            self.ridge(
                near,
                base,
                height * 0.075,
                1.1 - k * 0.3,
                Ground::Hill,
                end.min(height),
            );
            let line = base - height * 0.02;
            let wood = self.layer(near + 0.02, end.min(height), |layer, rng| {
                let seed = rng.next() as u32;
                let profile = layer.profile(|x| {
                    // Woods stand here and there: elsewhere the edge hides below the hill.
                    let here = fractal(x * 1.6, 2, seed ^ 8);
                    line + (0.25 - here).clamp(0.0, 0.5) * unit * 0.5
                });
                trees::conifers(layer, &profile, unit * (0.028 + k * 0.03), 1.1, rng)
            });
            if k < 0.9 {
                self.far.push(wood);
            }
        }
        self.foreground(height * 0.86, unit * 0.09, false);
        let crown = if self.brief.has(Trait::Autumn) || self.brief.has(Trait::Spring) {
            self.palette.accents[self.rng.below(3)]
        } else {
            blend(self.palette.land, hex(0x4f_8f3e), 0.45)
        };
        if !self.brief.subjects.contains(&Subject::Tree) && self.rng.chance(0.7) {
            self.lone_tree(crown);
        }
    }

    fn lone_tree(&mut self, crown: Rgb) {
        let (width, unit) = (self.size.width as f32, self.unit());
        let left = self.sun > width / 2.0;
        let x = width
            * if left {
                self.rng.range(0.12, 0.26)
            } else {
                self.rng.range(0.74, 0.88)
            };
        let tall = unit * self.rng.range(0.3, 0.44);
        let light = if self.sun > x { 1.0 } else { -1.0 };
        let foot = self.ground[(x as usize).min(self.ground.len() - 1)];
        let depth = self.ground_depth;
        for mut part in trees::broad(
            tall,
            self.palette,
            &self.texture,
            crown,
            light,
            &mut self.rng,
        ) {
            part.left = (x - tall / 2.0).round();
            part.top = foot - tall + unit * 0.008;
            part.depth = depth;
            self.near.push(part);
        }
    }
}
