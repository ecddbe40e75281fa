//! Those a prompt names: animals, people, houses, boats.

use super::brief::{Brief, Subject};
use super::canvas::Canvas;
use super::colour::{Rgb, blend, ramp};
use super::cutout::Cutout;
use super::noise::{Rng, Texture};
use super::outline::{Outline, Point, smooth};
use super::palette::Palette;

mod animals;
mod things;
mod wildlife;

/// Where the figures stand.
pub struct Stage<'a> {
    pub brief: &'a Brief,
    pub palette: &'a Palette,
    pub texture: &'a Texture,
    pub width: f32,
    pub height: f32,
    pub horizon: f32,
    pub sun: (f32, f32),
    /// The row of the foreground at every column.
    pub ground: &'a [f32],
    pub ground_depth: f32,
    pub water: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Motion {
    Still,
    /// Up and down with the waves.
    Bob,
    /// Slowly, as if on the wind.
    Float,
    /// With every push of the engine.
    Thrust,
}

pub struct Light {
    pub at: Point,
    pub radius: f32,
    pub colour: Rgb,
    pub strength: f32,
}

pub struct Actor {
    pub parts: Vec<Cutout>,
    /// The part that shows closed eyes, and when it does.
    pub lids: Option<Cutout>,
    pub lights: Vec<Light>,
    pub motion: Motion,
    /// In front of the sky and behind the water.
    pub behind: bool,
    /// In the water, with a reflection.
    pub afloat: bool,
    foot: f32,
    phase: f32,
    unit: f32,
}

impl Actor {
    pub fn paint(&self, canvas: &mut Canvas, camera: f32, t: f32) {
        let (sx, sy) = match self.motion {
            Motion::Still => (0.0, 0.0),
            Motion::Bob => (
                (t * 0.5 + self.phase).sin() * 0.006,
                (t * 1.3 + self.phase).sin() * 0.003,
            ),
            Motion::Float => (
                (t * 0.21 + self.phase).sin() * 0.03 - self.phase.sin() * 0.03,
                (t * 0.4 + self.phase).cos() * 0.014 - t * 0.003,
            ),
            Motion::Thrust => (t * 0.008, -t * 0.011 + (t * 19.0).sin() * 0.0008),
        };
        let (sx, sy) = (sx * self.unit, sy * self.unit);
        let depth = self.parts.first().map_or(0.0, |part| part.depth);
        for light in &self.lights {
            let flicker = 0.93 + 0.07 * (t * 5.0 + self.phase).sin();
            canvas.glow(
                light.at.0 + sx - camera * depth,
                light.at.1 + sy,
                light.radius,
                light.colour,
                light.strength * flicker,
            );
        }
        for part in &self.parts {
            if self.afloat {
                part.mirror(canvas, self.foot + sy, sx - camera * part.depth, t);
            }
        }
        for part in &self.parts {
            part.paint(canvas, sx - camera * part.depth, sy);
        }
        // Awake most of the time.
        let blink = (t + self.phase).rem_euclid(3.7) > 3.55;
        if let Some(lids) = self.lids.as_ref().filter(|_| blink) {
            lids.paint(canvas, sx - camera * lids.depth, sy);
        }
    }
}

/// Draws parts in a box whose height is 1; x runs to `wide`.
pub struct Sketch<'a> {
    pub stage: &'a Stage<'a>,
    pub rng: Rng,
    size: f32,
    wide: f32,
    /// Towards the light, seen from the figure.
    light: Point,
    parts: Vec<Cutout>,
}

/// An outline in box coordinates.
pub struct Pen {
    outline: Outline,
    size: f32,
}

impl Pen {
    fn to(&self, p: Point) -> Point {
        (p.0 * self.size, p.1 * self.size)
    }

    pub fn ellipse(&mut self, centre: Point, radii: Point) -> &mut Self {
        self.outline.ellipse(self.to(centre), self.to(radii));
        self
    }

    pub fn limb(&mut self, a: Point, ra: f32, b: Point, rb: f32) -> &mut Self {
        let (a, b) = (self.to(a), self.to(b));
        self.outline.limb(a, ra * self.size, b, rb * self.size);
        self
    }

    pub fn polygon(&mut self, points: &[Point]) -> &mut Self {
        let points: Vec<Point> = points.iter().map(|p| self.to(*p)).collect();
        self.outline.polygon(&points);
        self
    }

    pub fn curve(&mut self, points: &[Point]) -> &mut Self {
        let points: Vec<Point> = points.iter().map(|p| self.to(*p)).collect();
        self.outline.curve(&points);
        self
    }

    /// A smooth open line; `points` are bent through, not cornered.
    pub fn stroke(&mut self, points: &[Point], from: f32, to: f32) -> &mut Self {
        let mut there_and_back = points.to_vec();
        there_and_back.extend(points.iter().rev().skip(1).take(points.len() - 2));
        let bent = smooth(&there_and_back);
        let half = bent.len() / 2 + 1;
        let line: Vec<Point> = bent.iter().take(half).map(|p| self.to(*p)).collect();
        self.outline.stroke(&line, from * self.size, to * self.size);
        self
    }
}

impl<'a> Sketch<'a> {
    pub fn new(stage: &'a Stage<'a>, stream: u64, size: f32, wide: f32, x: f32) -> Self {
        let side = ((stage.sun.0 - x) / stage.width * 3.0).clamp(-1.0, 1.0);
        Self {
            stage,
            rng: stage.brief.rng(stream),
            size,
            wide,
            light: (side, -0.75),
            parts: Vec::new(),
        }
    }

    /// One part; `relief` is the roundness of its shading, 0 for flat.
    pub fn part(
        &mut self,
        colours: &[Rgb],
        relief: f32,
        draw: impl FnOnce(&mut Pen),
    ) -> &mut Cutout {
        let (width, height) = (
            (self.size * self.wide).ceil().max(2.0) as usize,
            self.size.ceil().max(2.0) as usize,
        );
        let mut pen = Pen {
            outline: Outline::new(width, height),
            size: self.size,
        };
        draw(&mut pen);
        let mut cutout = pen.outline.cut();
        cutout.ramp = match colours {
            [one] => vec![*one; 256],
            more => ramp(more, 256),
        };
        if relief > 0.0 {
            let reach = (self.size * 0.055).max(1.0) as usize;
            cutout.relief(reach, self.light, 0.5 * relief);
            cutout.rim((self.size * 0.012).max(1.0), self.light, 55.0 * relief);
        }
        let last = self.parts.len();
        self.parts.push(cutout);
        &mut self.parts[last]
    }

    /// Shade, body and light of a colour as the scene's light shows it.
    pub fn shades(&self, colour: Rgb) -> [Rgb; 3] {
        let p = self.stage.palette;
        let night = p.dark;
        let body = blend(colour, p.ink, 0.08 + night * 0.3);
        [
            blend(body, blend(p.ink, p.sky[0], 0.4), 0.62),
            body,
            blend(blend(colour, p.sun, 0.35), p.ink, night * 0.12),
        ]
    }

    /// A colour that keeps its own light: eyes, windows.
    pub fn dim(&self, colour: Rgb, amount: f32) -> Rgb {
        blend(
            colour,
            self.stage.palette.ink,
            self.stage.palette.dark * amount,
        )
    }

    /// Puts the box's lower middle at `foot`.
    pub fn finish(mut self, foot: Point, depth: f32) -> Actor {
        let left = (foot.0 - self.size * self.wide / 2.0).round();
        let top = (foot.1 - self.size).round();
        for part in &mut self.parts {
            part.left += left;
            part.top += top;
            part.depth = depth;
        }
        Actor {
            parts: self.parts,
            lids: None,
            lights: Vec::new(),
            motion: Motion::Still,
            behind: false,
            afloat: false,
            foot: foot.1,
            phase: self.rng.range(0.4, 3.0),
            unit: self.stage.width.min(self.stage.height),
        }
    }
}

impl Stage<'_> {
    pub fn unit(&self) -> f32 {
        self.width.min(self.height)
    }

    pub fn foot(&self, x: f32, half: f32) -> f32 {
        let last = self.ground.len().saturating_sub(1);
        let at = |x: f32| {
            let column = (x.max(0.0) as usize).min(last);
            self.ground.get(column).copied().unwrap_or(self.height)
        };
        // The lower of both feet: nobody hovers.
        let row = at(x - half).max(at(x + half)).max(at(x));
        row.min(self.height * 0.985)
    }
}

/// Everybody the brief names, in their places.
pub fn cast(stage: &Stage) -> Vec<Actor> {
    let mut rng = stage.brief.rng(61);
    let subjects = &stage.brief.subjects;
    let grounded: Vec<Subject> = subjects
        .iter()
        .copied()
        .filter(|subject| !subject.is_aloft())
        .collect();
    let first = if stage.sun.0 > stage.width / 2.0 {
        rng.range(0.34, 0.44)
    } else {
        rng.range(0.56, 0.66)
    };
    let mut actors = Vec::new();
    for subject in subjects {
        let place = grounded.iter().position(|other| other == subject);
        let x = stage.width
            * match (place, grounded.len()) {
                (Some(_), 0 | 1) | (None, _) => first,
                (Some(place), 2) => 0.3 + place as f32 * 0.38,
                (Some(place), _) => 0.2 + place as f32 * 0.3,
            };
        actors.extend(play(stage, *subject, x));
    }
    actors
}

fn play(stage: &Stage, subject: Subject, x: f32) -> Vec<Actor> {
    match subject {
        Subject::Cat | Subject::Dog | Subject::Fox | Subject::Rabbit | Subject::Bear => {
            vec![animals::sitting(stage, subject, x)]
        }
        Subject::Owl => vec![wildlife::owl(stage, x)],
        Subject::Bird => vec![wildlife::bird(stage, x)],
        Subject::Horse | Subject::Deer => vec![wildlife::standing(stage, subject, x)],
        Subject::Whale => vec![wildlife::whale(stage, x)],
        Subject::Person => vec![things::person(stage, x)],
        Subject::House => vec![things::house(stage, x)],
        Subject::Lighthouse => vec![things::lighthouse(stage, x)],
        Subject::Boat => vec![things::boat(stage, x)],
        Subject::Balloon => things::balloons(stage),
        Subject::Tree => vec![things::tree(stage, x)],
        Subject::Rocket => vec![things::rocket(stage, x)],
    }
}

impl Subject {
    /// Not standing on the ground.
    pub fn is_aloft(self) -> bool {
        matches!(
            self,
            Self::Boat | Self::Whale | Self::Balloon | Self::Rocket
        )
    }
}
