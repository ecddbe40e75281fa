//! Plain shapes on paper, after the posters of the twenties.

use super::super::Size;
use super::super::brief::{Brief, Hour};
use super::super::canvas::Canvas;
use super::super::colour::{Rgb, blend, hex, lch, mix};
use super::super::cutout::Cutout;
use super::super::noise::{Rng, Texture};
use super::super::outline::{Outline, Point};
use super::super::palette::Palette;
use super::Scene;
use std::f32::consts::{PI, TAU};

/// Ready-made sets of five inks on one paper: paper, dark, three colours, accent.
const INKS: [[u32; 6]; 5] = [
    [
        0xf2_e8d5, 0x1d_2330, 0xd8_402f, 0x1f_5a8c, 0xf0_b429, 0xe8_8a5a,
    ],
    [
        0xf4_ebe0, 0x23_2c3b, 0xe0_6a4e, 0x2a_8c82, 0xf2_c14e, 0x8a_b6a8,
    ],
    [
        0xef_e6dc, 0x2b_2136, 0xc8_3e6d, 0x4a_3f8c, 0xf2_a65a, 0xe9_c8b8,
    ],
    [
        0xec_e7da, 0x18_2a2c, 0xb8_4a2e, 0x3a_6b5a, 0xd9_a441, 0xa8_c0b0,
    ],
    [
        0x1c_2233, 0xf2_e6d0, 0xe8_5a4f, 0x3f_88c5, 0xff_ba49, 0x20_a39e,
    ],
];

struct Shape {
    cutout: Cutout,
    phase: f32,
    sway: f32,
}

pub struct Geometry {
    paper: Rgb,
    texture: Texture,
    shapes: Vec<Shape>,
}

impl Geometry {
    pub fn new(brief: &Brief, size: Size) -> Self {
        let mut rng = brief.rng(19);
        let inks = inks(brief, &mut rng);
        let (width, height) = (size.width as f32, size.height as f32);
        let unit = width.min(height);
        let texture = Texture::new(rng.next() as u32);
        let mut press = Press {
            inks: &inks,
            shapes: Vec::new(),
            width,
            height,
            roller: Roller::new(&texture, size),
        };
        if rng.chance(0.5) {
            press.tiles(&mut rng, unit);
        } else {
            press.composition(&mut rng, unit);
        }
        Self {
            paper: inks[0],
            shapes: press.shapes,
            texture,
        }
    }
}

fn inks(brief: &Brief, rng: &mut Rng) -> [Rgb; 6] {
    let mut inks = INKS[rng.below(INKS.len())].map(hex);
    if brief.hour == Hour::Night {
        inks = INKS[4].map(hex);
    }
    if !brief.colours.is_empty() {
        let palette = Palette::of(brief);
        for (ink, accent) in inks.iter_mut().skip(2).zip(palette.accents) {
            *ink = blend(accent, *ink, 0.12);
        }
        inks[3] = blend(palette.sky[1], palette.accents[1], 0.4);
        let tint = palette.sky[4];
        inks[0] = blend(inks[0], tint, 0.35);
        if lch(inks[1]).l < 0.5 {
            inks[1] = palette.ink;
        }
    }
    inks
}

struct Press<'a> {
    inks: &'a [Rgb; 6],
    shapes: Vec<Shape>,
    width: f32,
    height: f32,
    roller: Roller,
}

/// How thick the ink lies, at half resolution.
struct Roller {
    tones: Vec<u8>,
    width: i32,
    height: i32,
}

impl Roller {
    fn new(texture: &Texture, size: Size) -> Self {
        let unit = size.width.min(size.height) as f32 / 2.0;
        let (width, height) = (size.width / 2 + 1, size.height / 2 + 1);
        let tones = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x as f32 / unit, y as f32 / unit)))
            .map(|(u, v)| {
                let slow = texture.at(u * 0.5, v * 0.5);
                let fine = texture.at(u * 5.0, v * 5.0);
                (128.0 + slow * 44.0 + fine * 34.0 + v * 20.0) as u8
            })
            .collect();
        Self {
            tones,
            width: width as i32,
            height: height as i32,
        }
    }

    fn at(&self, x: i32, y: i32) -> u8 {
        let column = (x / 2).clamp(0, self.width - 1);
        let row = (y / 2).clamp(0, self.height - 1);
        self.tones[(row * self.width + column) as usize]
    }
}

impl Press<'_> {
    /// Prints one shape; its box is found from its points.
    fn print(&mut self, polygons: &[Vec<Point>], ink: Rgb, sway: f32, phase: f32) {
        let all = || polygons.iter().flatten();
        let left = all()
            .map(|p| p.0)
            .fold(f32::MAX, f32::min)
            .floor()
            .max(-self.width)
            - 1.0;
        let top = all()
            .map(|p| p.1)
            .fold(f32::MAX, f32::min)
            .floor()
            .max(-self.height)
            - 1.0;
        let right = all()
            .map(|p| p.0)
            .fold(f32::MIN, f32::max)
            .min(self.width * 2.0);
        let bottom = all()
            .map(|p| p.1)
            .fold(f32::MIN, f32::max)
            .min(self.height * 2.0);
        if right <= left || bottom <= top {
            return;
        }
        let (wide, high) = ((right - left) as usize + 3, (bottom - top) as usize + 3);
        let mut outline = Outline::new(wide, high);
        for polygon in polygons {
            let moved: Vec<Point> = polygon.iter().map(|p| (p.0 - left, p.1 - top)).collect();
            outline.polygon(&moved);
        }
        let mut cutout = Cutout::new(wide, high, outline.cover());
        cutout.left = left;
        cutout.top = top;
        // Ink lies unevenly: a slow change of tone, and a grain where the roller ran dry.
        for (i, tone) in cutout.tone.iter_mut().enumerate() {
            if cutout.cover[i] == 0 {
                continue;
            }
            let (x, y) = (
                (i % wide) as i32 + left as i32,
                (i / wide) as i32 + top as i32,
            );
            *tone = self.roller.at(x, y);
        }
        let deep = blend(ink, self.inks[1], 0.14);
        let light = blend(ink, self.inks[0], 0.16);
        cutout.ramp = (0..256)
            .map(|i| {
                mix(
                    deep,
                    mix(ink, light, i as f32 / 255.0),
                    (i as f32 / 128.0).min(1.0),
                )
            })
            .collect();
        self.shapes.push(Shape {
            cutout,
            phase,
            sway,
        });
    }

    /// A grid of quarter circles, arches, dots and leaves.
    fn tiles(&mut self, rng: &mut Rng, unit: f32) {
        let count = 3 + rng.below(4);
        let side = unit / count as f32;
        let (columns, rows) = (
            (self.width / side).ceil() as i32,
            (self.height / side).ceil() as i32,
        );
        let shift = (
            (self.width - columns as f32 * side) / 2.0,
            (self.height - rows as f32 * side) / 2.0,
        );
        let mut last = 9;
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = (shift.0 + column as f32 * side, shift.1 + row as f32 * side);
                let ground = rng.below(6);
                let mut figure = 1 + rng.below(5);
                if figure == ground || figure == last {
                    figure = 1 + figure % 5;
                }
                last = figure;
                if figure == ground {
                    continue;
                }
                let square = vec![(x, y), (x + side, y), (x + side, y + side), (x, y + side)];
                let phase = rng.range(0.0, TAU);
                if ground != 0 {
                    self.print(&[square], self.inks[ground], 0.0, phase);
                }
                let polygons = tile(rng, x, y, side);
                self.print(&polygons, self.inks[figure], 0.0, phase);
                if rng.chance(0.35) {
                    let dot = circle((x + side / 2.0, y + side / 2.0), side * 0.14);
                    let third = 1 + (figure + 1) % 5;
                    self.print(&[dot], self.inks[third], 0.012, phase);
                }
            }
        }
    }

    /// Large shapes in balance: a disc, beams, arcs, a row of bars, dots.
    fn composition(&mut self, rng: &mut Rng, unit: f32) {
        let (w, h) = (self.width, self.height);
        let angle = rng.range(0.22, 0.6) * if rng.chance(0.5) { 1.0 } else { -1.0 };
        let (sin, cos) = angle.sin_cos();
        let focus = (w * rng.range(0.44, 0.56), h * rng.range(0.42, 0.54));
        let along = |k: f32, side: f32| {
            (
                focus.0 + (cos * k - sin * side) * unit,
                focus.1 + (sin * k + cos * side) * unit,
            )
        };
        let beam = |a: f32, b: f32, s: f32, t: f32| {
            vec![along(a, s), along(b, s), along(b, t), along(a, t)]
        };
        let order = [2, 3, 4, 5, 1];
        let turn = rng.below(3);
        let ink = |i: usize| self.inks[order[(i + turn) % 3]];
        let (first, second, third, soft, dark) =
            (ink(0), ink(1), ink(2), self.inks[5], self.inks[1]);
        let big = unit * rng.range(0.24, 0.33);
        // A heavy corner keeps the rest from floating away.
        let corner = (if angle > 0.0 { 0.0 } else { w }, h);
        self.print(
            &[circle(corner, unit * rng.range(0.34, 0.44))],
            third,
            0.004,
            0.9,
        );
        self.print(&[ring(corner, unit * 0.5, unit * 0.012)], dark, 0.004, 0.9);
        self.print(
            &[circle(
                (focus.0 - cos * unit * 0.16, focus.1 - sin * unit * 0.16),
                big * 1.35,
            )],
            soft,
            0.006,
            0.3,
        );
        self.print(&[circle(focus, big)], first, 0.008, 1.0);
        self.print(&[beam(-0.95, 0.95, 0.19, 0.26)], dark, 0.01, 2.0);
        self.print(&[beam(-0.5, 0.75, 0.3, 0.325)], second, 0.016, 2.4);
        self.print(&[beam(-0.95, 0.3, -0.34, -0.325)], dark, 0.01, 5.0);
        let half = arc(focus, big * 0.66, angle + PI * 0.5, PI);
        self.print(&[half], second, 0.012, 3.0);
        let tip = vec![along(0.12, -0.36), along(0.5, -0.08), along(0.05, 0.0)];
        self.print(&[tip], third, 0.02, 4.0);
        for i in 0..5 {
            let k = -0.62 + i as f32 * 0.055;
            self.print(
                &[beam(k, k + 0.024, -0.2, 0.1 - i as f32 * 0.035)],
                dark,
                0.01,
                2.0 + i as f32 * 0.3,
            );
        }
        for i in 1..4 {
            let r = unit * (0.045 + i as f32 * 0.025);
            let centre = along(0.38, -0.3);
            self.print(
                &[ring(centre, r, unit * 0.006)],
                if i == 2 { first } else { dark },
                0.014,
                1.5,
            );
        }
        self.print(&[circle(along(0.38, -0.3), unit * 0.04)], third, 0.014, 1.5);
        let field = along(-0.36, -0.34);
        for i in 0..4 {
            for j in 0..4 {
                let at = (
                    field.0 + i as f32 * unit * 0.032,
                    field.1 + j as f32 * unit * 0.032,
                );
                self.print(&[circle(at, unit * 0.0075)], dark, 0.006, 0.8);
            }
        }
    }
}

impl Scene for Geometry {
    fn paint(&self, canvas: &mut Canvas, t: f32) {
        let unit = canvas.unit();
        for (y, row) in canvas.rows() {
            let v = y as f32 / unit;
            for (x, pixel) in row.iter_mut().enumerate() {
                let fibre = self.texture.at(x as f32 / unit * 2.0, v * 2.0) * 0.008;
                *pixel = self.paper.map(|c| c + fibre);
            }
        }
        for shape in &self.shapes {
            // Each on its own small ellipse; at the start all are where they were printed.
            let angle = t * 0.8 + shape.phase;
            let dx = (angle.sin() - shape.phase.sin()) * shape.sway * unit;
            let dy = (angle.cos() - shape.phase.cos()) * shape.sway * unit;
            shape.cutout.paint(canvas, dx, dy);
        }
    }
}

fn arc(centre: Point, radius: f32, from: f32, sweep: f32) -> Vec<Point> {
    let count = (radius.sqrt() * 7.0).clamp(24.0, 220.0) as usize;
    (0..=count)
        .map(|i| {
            let (sin, cos) = (from + sweep * i as f32 / count as f32).sin_cos();
            (centre.0 + cos * radius, centre.1 + sin * radius)
        })
        .collect()
}

fn circle(centre: Point, radius: f32) -> Vec<Point> {
    arc(centre, radius, 0.0, TAU)
}

fn ring(centre: Point, radius: f32, thick: f32) -> Vec<Point> {
    let mut points = arc(centre, radius + thick, 0.0, TAU);
    points.extend(arc(centre, radius - thick, TAU, -TAU));
    points
}

fn tile(rng: &mut Rng, x: f32, y: f32, side: f32) -> Vec<Vec<Point>> {
    let corner = rng.below(4);
    let corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)];
    let at = |i: usize| corners[(corner + i) % 4];
    let start = corner as f32 * PI / 2.0;
    match rng.below(7) {
        0 | 1 => {
            let mut pie = arc(at(0), side, start, PI / 2.0);
            pie.push(at(0));
            vec![pie]
        }
        2 => {
            // A leaf: two quarter circles from opposite corners.
            let mut leaf = arc(at(0), side, start, PI / 2.0);
            leaf.extend(arc(at(2), side, start + PI, PI / 2.0));
            vec![leaf]
        }
        3 => vec![vec![at(0), at(1), at(2)]],
        4 => {
            let middle = (at(0).0.midpoint(at(1).0), at(0).1.midpoint(at(1).1));
            vec![arc(middle, side / 2.0, start, PI)]
        }
        5 => vec![circle((x + side / 2.0, y + side / 2.0), side * 0.38)],
        _ => {
            let mut bands = Vec::new();
            for i in 0..3 {
                let (outer, inner) = (
                    side * (1.0 - i as f32 * 0.34),
                    side * (0.83 - i as f32 * 0.34),
                );
                let mut band = arc(at(0), outer, start, PI / 2.0);
                band.extend(arc(at(0), inner.max(0.0), start + PI / 2.0, -PI / 2.0));
                bands.push(band);
            }
            bands
        }
    }
}
