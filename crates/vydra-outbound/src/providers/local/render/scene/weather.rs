//! What moves through the air: snow, rain, petals, leaves, fireflies, dust, birds, lightning's absence.

use super::super::Size;
use super::super::brief::{Brief, Hour, Place, Trait};
use super::super::canvas::Canvas;
use super::super::colour::{Rgb, blend, mix};
use super::super::noise::Rng;
use super::super::palette::Palette;
use std::f32::consts::TAU;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Snow,
    Rain,
    Petal,
    Firefly,
    Dust,
}

struct Mote {
    x: f32,
    y: f32,
    near: f32,
    phase: f32,
    hue: usize,
}

struct Bird {
    x: f32,
    y: f32,
    size: f32,
    phase: f32,
}

pub struct Particles {
    kind: Option<Kind>,
    motes: Vec<Mote>,
    birds: Vec<Bird>,
    colours: [Rgb; 5],
    dark: Rgb,
    wind: f32,
}

impl Particles {
    pub fn new(brief: &Brief, palette: &Palette, size: Size) -> Self {
        let has = |wanted| brief.has(wanted);
        let kind = if has(Trait::Snow) {
            Some((Kind::Snow, 260))
        } else if brief.any(&[Trait::Rain, Trait::Storm]) {
            Some((Kind::Rain, 420))
        } else if brief.any(&[Trait::Autumn, Trait::Spring]) {
            Some((Kind::Petal, 70))
        } else if has(Trait::Fireflies)
            || (brief.place == Place::Forest && brief.hour == Hour::Night)
        {
            Some((Kind::Firefly, 60))
        } else {
            None
        };
        let mut this = Self::of(kind, brief, palette, size);
        let open = matches!(brief.hour, Hour::Day | Hour::Dawn | Hour::Sunset)
            && !brief.any(&[Trait::Storm, Trait::Rain, Trait::Neon]);
        let mut rng = brief.rng(43);
        if has(Trait::Birds) || (open && brief.place != Place::City && rng.chance(0.55)) {
            this.birds = flock(&mut rng, size);
        }
        this
    }

    /// For given pictures: always something, but little of it.
    pub fn drifting(brief: &Brief, palette: &Palette, size: Size) -> Self {
        let mut this = Self::new(brief, palette, size);
        if this.kind.is_none() {
            let night = brief.hour == Hour::Night && brief.has_direction();
            let kind = if night { Kind::Firefly } else { Kind::Dust };
            this = Self::of(Some((kind, 46)), brief, palette, size);
        }
        this.birds.clear();
        this
    }

    fn of(kind: Option<(Kind, usize)>, brief: &Brief, palette: &Palette, size: Size) -> Self {
        let mut rng = brief.rng(41);
        let wide = size.width as f32 / size.height as f32;
        let count = kind.map_or(0, |(_, count)| {
            (count as f32 * wide.clamp(0.6, 2.2)) as usize
        });
        let motes = (0..count)
            .map(|_| Mote {
                x: rng.unit(),
                y: rng.unit(),
                near: rng.unit().powi(2),
                phase: rng.range(0.0, TAU),
                hue: rng.below(5),
            })
            .collect();
        let colours = match kind.map(|(kind, _)| kind) {
            Some(Kind::Petal) => palette.accents,
            Some(Kind::Firefly) => [[1.0, 0.93, 0.55]; 5],
            Some(Kind::Rain) => [blend(palette.sky[4], [1.0; 3], 0.3); 5],
            Some(Kind::Snow) => [blend([1.0; 3], palette.sky[4], 0.12); 5],
            Some(Kind::Dust) | None => [blend(palette.sun, [1.0; 3], 0.3); 5],
        };
        Self {
            kind: kind.map(|(kind, _)| kind),
            motes,
            birds: Vec::new(),
            colours,
            dark: blend(palette.ink, palette.haze, 0.25),
            wind: rng.range(0.008, 0.02) * if rng.chance(0.5) { 1.0 } else { -1.0 },
        }
    }

    pub fn paint(&self, canvas: &mut Canvas, t: f32, strength: f32) {
        for bird in &self.birds {
            bird.paint(canvas, self.dark, t);
        }
        let Some(kind) = self.kind else {
            return;
        };
        for mote in &self.motes {
            self.paint_mote(canvas, kind, mote, t, strength);
        }
    }

    fn paint_mote(&self, canvas: &mut Canvas, kind: Kind, mote: &Mote, t: f32, strength: f32) {
        let (width, height) = (canvas.width as f32, canvas.height as f32);
        let unit = canvas.unit();
        let colour = self.colours[mote.hue];
        let sway = (t * 0.9 + mote.phase).sin();
        let fall = |speed: f32| ((mote.y + t * speed) * 1.1).rem_euclid(1.1) - 0.05;
        let side = |speed: f32| (mote.x + t * speed + sway * 0.008).rem_euclid(1.0) * width;
        match kind {
            Kind::Snow => {
                let radius = unit * (0.0012 + mote.near * 0.0055);
                let y = fall(0.035 + mote.near * 0.09) * height;
                let alpha = (0.85 - mote.near * 0.35) * strength;
                canvas.glow(side(self.wind), y, (radius * 1.7).max(1.2), colour, alpha);
            }
            Kind::Rain => {
                let y = fall(0.9 + mote.near * 0.8) * height;
                let x = side(self.wind * 3.0);
                let length = unit * (0.014 + mote.near * 0.035);
                let lean = self.wind * 9.0;
                let steps = length.max(2.0) as usize;
                for i in 0..steps {
                    let along = i as f32 / steps as f32;
                    let alpha = along * (0.10 + mote.near * 0.22) * strength;
                    blot(
                        canvas,
                        x + along * length * lean,
                        y + along * length,
                        colour,
                        alpha,
                    );
                }
            }
            Kind::Petal => {
                let y = fall(0.03 + mote.near * 0.05) * height;
                let x = side(self.wind * 1.6);
                let size = unit * (0.003 + mote.near * 0.007);
                let turn = t * 1.7 + mote.phase;
                let (sin, cos) = (turn.sin(), turn.cos());
                for i in -2..=2 {
                    let k = i as f32 / 2.0;
                    let r = size * (1.0 - k * k * 0.55) * (0.45 + 0.25 * cos.abs());
                    canvas.dot(
                        x + k * size * cos,
                        y + k * size * sin,
                        r,
                        colour,
                        0.85 * strength,
                    );
                }
            }
            Kind::Firefly => {
                let x = (mote.x + (t * 0.23 + mote.phase).sin() * 0.03).rem_euclid(1.0) * width;
                let y =
                    (0.45 + mote.y * 0.53 + (t * 0.31 + mote.phase * 2.0).cos() * 0.02) * height;
                let pulse = 0.45 + 0.55 * (t * 1.6 + mote.phase * 3.0).sin();
                let radius = unit * (0.008 + mote.near * 0.018);
                let alpha = pulse.max(0.0) * strength;
                canvas.glow(x, y, radius, colour, alpha * 0.7);
                canvas.glow(x, y, (radius * 0.22).max(1.2), [1.0, 1.0, 0.9], alpha);
            }
            Kind::Dust => {
                let y = (mote.y - t * (0.006 + mote.near * 0.012)).rem_euclid(1.0) * height;
                let radius = unit * (0.002 + mote.near * 0.011);
                let pulse = 0.65 + 0.35 * (t * 0.8 + mote.phase).sin();
                let alpha = (0.5 - mote.near * 0.3) * pulse * strength;
                canvas.glow(side(self.wind * 0.6), y, radius.max(1.2), colour, alpha);
            }
        }
    }
}

fn blot(canvas: &mut Canvas, x: f32, y: f32, colour: Rgb, alpha: f32) {
    let part = x - x.floor();
    let column = x.floor();
    if column < 0.0 {
        return;
    }
    let row = canvas.row(y as i32);
    for (i, share) in [(0, 1.0 - part), (1, part)] {
        if let Some(pixel) = row.get_mut(column as usize + i) {
            *pixel = mix(*pixel, colour, alpha * share);
        }
    }
}

fn flock(rng: &mut Rng, size: Size) -> Vec<Bird> {
    let count = 4 + rng.below(6);
    let unit = size.width.min(size.height) as f32;
    let (x, y) = (rng.range(0.25, 0.7), rng.range(0.14, 0.34));
    (0..count)
        .map(|i| {
            // A loose wedge behind the first.
            let back = (i as f32 / 2.0).ceil() * if i % 2 == 0 { 1.0 } else { -1.0 };
            Bird {
                x: x * size.width as f32 - (i as f32) * unit * 0.022,
                y: y * size.height as f32 + back * unit * 0.016 + rng.range(-0.008, 0.008) * unit,
                size: unit * rng.range(0.009, 0.014),
                phase: rng.range(0.0, TAU),
            }
        })
        .collect()
}

impl Bird {
    fn paint(&self, canvas: &mut Canvas, colour: Rgb, t: f32) {
        let unit = canvas.unit();
        let x = self.x + t * unit * 0.018;
        let y = self.y + (t * 0.7 + self.phase).sin() * unit * 0.004;
        let flap = 0.25 + 0.45 * (t * 5.0 + self.phase).sin();
        let steps = (self.size * 2.0).max(4.0) as usize;
        for side in [-1.0, 1.0] {
            for i in 0..=steps {
                let k = i as f32 / steps as f32;
                let lift = k * (1.0 - k) * 1.3 + k * flap * 0.8;
                let thick = self.size * 0.09 * (1.3 - k) + 0.25;
                canvas.dot(
                    x + side * k * self.size,
                    y - lift * self.size,
                    thick,
                    colour,
                    0.85,
                );
            }
        }
    }
}
