//! People, houses and what travels.

use super::super::brief::Trait;
use super::super::colour::{Rgb, blend, hex};
use super::super::outline::Point;
use super::super::scene::trees;
use super::{Actor, Light, Motion, Sketch, Stage};

/// Somebody seen from behind, looking into the distance.
pub fn person(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.36;
    let mut sketch = Sketch::new(stage, 80, size, 0.6, x);
    let a = stage.palette.accents;
    let (first, second) = (sketch.rng.below(5), sketch.rng.below(5));
    let coat = sketch.shades(blend(a[first], stage.palette.ink, 0.35));
    let cloth = sketch.shades(hex(0x34_3a4c));
    let hair = [0x2a_1f1c, 0x5a_3a24, 0xb8_8a4a, 0x1c_1a20][sketch.rng.below(4)];
    let hair = sketch.shades(hex(hair));
    let scarf = sketch.shades(a[second]);
    let long = sketch.rng.chance(0.5);
    sketch.part(&cloth, 0.9, |pen| {
        pen.limb((0.26, 0.6), 0.048, (0.245, 0.93), 0.032)
            .limb((0.345, 0.6), 0.048, (0.36, 0.93), 0.032)
            .ellipse((0.24, 0.965), (0.042, 0.026))
            .ellipse((0.366, 0.965), (0.042, 0.026));
    });
    sketch.part(&coat, 1.0, |pen| {
        pen.curve(&[
            (0.3, 0.205),
            (0.385, 0.235),
            (0.425, 0.31),
            (0.42, 0.5),
            (0.44, 0.7),
            (0.3, 0.725),
            (0.16, 0.7),
            (0.18, 0.5),
            (0.175, 0.31),
            (0.215, 0.235),
        ])
        .limb((0.2, 0.28), 0.042, (0.15, 0.46), 0.034)
        .limb((0.15, 0.46), 0.034, (0.165, 0.58), 0.026)
        .limb((0.4, 0.28), 0.042, (0.45, 0.46), 0.034)
        .limb((0.45, 0.46), 0.034, (0.435, 0.58), 0.026);
    });
    sketch.part(&hair, 1.0, |pen| {
        pen.ellipse((0.3, 0.115), (0.078, 0.088));
        if long {
            pen.curve(&[
                (0.23, 0.09),
                (0.3, 0.04),
                (0.37, 0.09),
                (0.385, 0.26),
                (0.35, 0.36),
                (0.3, 0.38),
                (0.25, 0.36),
                (0.215, 0.26),
            ]);
        }
    });
    let wind = if stage.sun.0 > x { -1.0 } else { 1.0 };
    sketch.part(&scarf, 0.8, |pen| {
        pen.curve(&[
            (0.215, 0.19),
            (0.3, 0.172),
            (0.385, 0.19),
            (0.39, 0.225),
            (0.3, 0.25),
            (0.21, 0.225),
        ])
        .stroke(
            &[
                (0.3 + wind * 0.07, 0.215),
                (0.3 + wind * 0.15, 0.2),
                (0.3 + wind * 0.2, 0.25),
                (0.3 + wind * 0.28, 0.235),
            ],
            0.021,
            0.028,
        );
    });
    let foot = (x, stage.foot(x, size * 0.08) + size * 0.015);
    sketch.finish(foot, stage.ground_depth)
}

pub fn house(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.33;
    let mut sketch = Sketch::new(stage, 81, size, 1.35, x);
    let a = stage.palette.accents;
    let walls = [hex(0xf0_e4d0), hex(0xb8_5a44), hex(0x8a_5a3c), a[0], a[3]];
    let wall = walls[sketch.rng.below(5)];
    let snow = stage.brief.has(Trait::Snow);
    let roof = if snow { hex(0xee_f2f8) } else { hex(0x5c_3c3a) };
    let (wall, roof) = (sketch.shades(wall), sketch.shades(roof));
    let side = wall.map(|colour| blend(colour, stage.palette.ink, 0.3));
    let wood = sketch.shades(hex(0x5a_4030));
    sketch.part(&wood, 0.6, |pen| {
        pen.polygon(&[(0.86, 0.12), (0.96, 0.12), (0.96, 0.45), (0.86, 0.45)]);
    });
    sketch.part(&side, 0.3, |pen| {
        pen.polygon(&[(0.52, 0.5), (1.2, 0.5), (1.2, 1.0), (0.52, 1.0)]);
    });
    sketch.part(&wall, 0.3, |pen| {
        pen.polygon(&[
            (0.16, 0.52),
            (0.38, 0.22),
            (0.6, 0.52),
            (0.6, 1.0),
            (0.16, 1.0),
        ]);
    });
    sketch.part(&roof, 0.6, |pen| {
        pen.polygon(&[(0.375, 0.16), (1.08, 0.16), (1.28, 0.54), (0.59, 0.54)])
            .polygon(&[(0.375, 0.16), (0.405, 0.21), (0.13, 0.58), (0.09, 0.55)]);
    });
    let lit = [1.0, 0.82, 0.46];
    let dusk = (stage.palette.dark + 0.25).min(1.0);
    let glass = blend(
        blend(stage.palette.sky[1], stage.palette.ink, 0.4),
        lit,
        dusk,
    );
    sketch.part(&wood, 0.3, |pen| {
        pen.polygon(&[(0.21, 0.7), (0.31, 0.7), (0.31, 1.0), (0.21, 1.0)]);
        for (x, y, w, h) in PANES {
            let b = 0.014;
            pen.polygon(&[
                (x - b, y - b),
                (x + w + b, y - b),
                (x + w + b, y + h + b),
                (x - b, y + h + b),
            ]);
        }
    });
    sketch.part(&[glass], 0.0, |pen| {
        for (x, y, w, h) in PANES {
            let (mx, my, b) = (x + w / 2.0, y + h / 2.0, 0.006);
            for (l, t, r, d) in [
                (x, y, mx - b, my - b),
                (mx + b, y, x + w, my - b),
                (x, my + b, mx - b, y + h),
                (mx + b, my + b, x + w, y + h),
            ] {
                pen.polygon(&[(l, t), (r, t), (r, d), (l, d)]);
            }
        }
    });
    let foot = (x, stage.foot(x, size * 0.5) + size * 0.02);
    let at = |p: Point| (foot.0 + (p.0 - 0.675) * size, foot.1 + (p.1 - 1.0) * size);
    let lights = PANES
        .iter()
        .filter(|_| dusk > 0.4)
        .map(|(px, py, w, h)| Light {
            at: at((px + w / 2.0, py + h / 2.0)),
            radius: size * 0.5,
            colour: lit,
            strength: 0.3 * dusk,
        })
        .collect();
    let mut actor = sketch.finish(foot, stage.ground_depth);
    actor.lights = lights;
    actor
}

const PANES: [(f32, f32, f32, f32); 4] = [
    (0.42, 0.68, 0.12, 0.15),
    (0.325, 0.4, 0.1, 0.12),
    (0.7, 0.66, 0.14, 0.16),
    (0.97, 0.66, 0.14, 0.16),
];

pub fn lighthouse(stage: &Stage, _x: f32) -> Actor {
    let size = stage.unit() * 0.48;
    // On the higher side of the headland.
    let left =
        stage.ground.first().copied().unwrap_or(0.0) < stage.ground.last().copied().unwrap_or(0.0);
    let x = stage.width * if left { 0.17 } else { 0.83 };
    let mut sketch = Sketch::new(stage, 82, size, 0.5, x);
    let white = sketch.shades(hex(0xf4_efe6));
    let red = sketch.shades(hex(0xc8_3a34));
    let dark = sketch.shades(hex(0x30_3440));
    let half = |y: f32| 0.062 + (y - 0.26) * 0.07;
    sketch.part(&white, 0.9, |pen| {
        pen.polygon(&[
            (0.25 - half(0.26), 0.26),
            (0.25 + half(0.26), 0.26),
            (0.25 + half(1.0), 1.0),
            (0.25 - half(1.0), 1.0),
        ]);
    });
    sketch.part(&red, 0.9, |pen| {
        for top in [0.34_f32, 0.56, 0.78] {
            let end = top + 0.11;
            pen.polygon(&[
                (0.25 - half(top), top),
                (0.25 + half(top), top),
                (0.25 + half(end), end),
                (0.25 - half(end), end),
            ]);
        }
    });
    sketch.part(&dark, 0.6, |pen| {
        pen.polygon(&[(0.155, 0.235), (0.345, 0.235), (0.33, 0.265), (0.17, 0.265)])
            .polygon(&[(0.19, 0.13), (0.31, 0.13), (0.25, 0.05)])
            .ellipse((0.25, 0.05), (0.012, 0.02));
        for x in [0.2, 0.25, 0.3] {
            pen.polygon(&[
                (x - 0.006, 0.13),
                (x + 0.006, 0.13),
                (x + 0.006, 0.24),
                (x - 0.006, 0.24),
            ]);
        }
    });
    let lamp = [1.0, 0.93, 0.66];
    sketch.part(&[lamp], 0.0, |pen| {
        pen.polygon(&[
            (0.208, 0.145),
            (0.292, 0.145),
            (0.292, 0.225),
            (0.208, 0.225),
        ]);
    });
    sketch.parts.swap(2, 3);
    let foot = (x, stage.foot(x, size * 0.05) + size * 0.02);
    let at = (x, foot.1 - size * 0.815);
    let bright = 0.35 + stage.palette.dark * 0.55;
    let mut actor = sketch.finish(foot, stage.ground_depth);
    actor.lights = vec![
        Light {
            at,
            radius: size * 0.95,
            colour: lamp,
            strength: bright * 0.5,
        },
        Light {
            at,
            radius: size * 0.3,
            colour: lamp,
            strength: bright,
        },
    ];
    actor
}

pub fn boat(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.34;
    let mut sketch = Sketch::new(stage, 83, size, 0.95, x);
    let a = stage.palette.accents;
    let sail = sketch.shades(blend(hex(0xfa_f2e4), a[0], 0.12));
    let jib = sketch.shades(blend(hex(0xfa_f2e4), a[1], 0.5));
    let hull = sketch.shades(blend(a[2], hex(0x5a_3a2c), 0.45));
    let stripe = sketch.shades(hex(0xf6_eee0));
    let wood = sketch.shades(hex(0x4a_3428));
    sketch.part(&wood, 0.5, |pen| {
        pen.limb((0.46, 0.03), 0.007, (0.46, 0.86), 0.011);
        pen.limb((0.46, 0.78), 0.008, (0.13, 0.785), 0.006);
    });
    sketch.part(&sail, 0.9, |pen| {
        pen.polygon(&bowed((0.445, 0.07), (0.445, 0.765), (0.13, 0.765), 0.05));
    });
    sketch.part(&jib, 0.9, |pen| {
        pen.polygon(&bowed((0.475, 0.12), (0.48, 0.77), (0.8, 0.79), -0.05));
    });
    sketch.part(&hull, 0.9, |pen| {
        pen.curve(&[
            (0.05, 0.84),
            (0.3, 0.855),
            (0.6, 0.855),
            (0.93, 0.82),
            (0.86, 0.92),
            (0.76, 0.985),
            (0.5, 0.995),
            (0.2, 0.985),
            (0.1, 0.93),
        ]);
    });
    sketch.part(&stripe, 0.4, |pen| {
        pen.stroke(
            &[(0.075, 0.872), (0.3, 0.888), (0.6, 0.888), (0.89, 0.862)],
            0.008,
            0.008,
        );
    });
    let line = stage.horizon + (stage.height - stage.horizon) * 0.3;
    let mut actor = sketch.finish((x, line), 0.42);
    actor.motion = Motion::Bob;
    actor.afloat = true;
    actor
}

/// A triangle whose long side is filled by wind.
fn bowed(top: Point, foot: Point, clew: Point, belly: f32) -> Vec<Point> {
    let mut points = vec![top, foot, clew];
    for i in 1..12 {
        let k = i as f32 / 12.0;
        let bow = (k * std::f32::consts::PI).sin() * belly;
        points.push((
            clew.0 + (top.0 - clew.0) * k - bow,
            clew.1 + (top.1 - clew.1) * k,
        ));
    }
    points
}

pub fn balloons(stage: &Stage) -> Vec<Actor> {
    let mut rng = stage.brief.rng(84);
    let count = 3 + rng.below(3);
    let start = rng.range(0.1, 0.2);
    (0..count)
        .map(|i| {
            let near = if i == 0 { 1.0 } else { rng.range(0.3, 0.62) };
            let size = stage.unit() * 0.34 * near;
            let across = if i == 0 {
                0.36
            } else {
                start + 0.78 * i as f32 / count as f32
            };
            let x = stage.width * across;
            let y = stage.horizon * if i == 0 { 0.66 } else { rng.range(0.3, 0.85) };
            let mut actor = balloon(stage, 85 + i as u64, size, x, y, near);
            actor.behind = near < 0.9 && !stage.water;
            actor.motion = Motion::Float;
            actor
        })
        .collect()
}

fn balloon(stage: &Stage, stream: u64, size: f32, x: f32, y: f32, near: f32) -> Actor {
    let mut sketch = Sketch::new(stage, stream, size, 0.76, x);
    let a = stage.palette.accents;
    let first = sketch.rng.below(5);
    let haze = stage.palette.haze;
    let far = |colours: [Rgb; 3]| colours.map(|colour| blend(colour, haze, (1.0 - near) * 0.5));
    let main = far(sketch.shades(a[first]));
    let second = (first + 1 + sketch.rng.below(3)) % 5;
    let other = far(sketch.shades(blend(a[second], [1.0, 0.97, 0.9], 0.25)));
    let basket = far(sketch.shades(hex(0x7a_5230)));
    let envelope = |wide: f32| -> Vec<Point> {
        [
            (0.0, 0.02),
            (0.22, 0.07),
            (0.345, 0.22),
            (0.35, 0.38),
            (0.27, 0.55),
            (0.13, 0.7),
            (0.06, 0.76),
        ]
        .iter()
        .map(|(dx, y)| (0.38 + dx * wide, *y))
        .collect()
    };
    let gore = |from: f32, to: f32| -> Vec<Point> {
        let mut points = envelope(from);
        points.extend(envelope(to).into_iter().rev());
        points
    };
    sketch.part(&basket, 0.5, |pen| {
        pen.polygon(&[(0.33, 0.88), (0.43, 0.88), (0.42, 0.97), (0.34, 0.97)]);
        for (top, low) in [(0.335, 0.338), (0.425, 0.422)] {
            pen.limb((top, 0.75), 0.003, (low, 0.89), 0.003);
        }
    });
    sketch.part(&main, 1.0, |pen| {
        pen.curve(&gore(-1.0, 1.0));
    });
    let stripes = sketch.part(&other, 0.0, |pen| {
        for (from, to) in [(-0.78, -0.45), (-0.14, 0.14), (0.45, 0.78)] {
            pen.polygon(&gore(from, to));
        }
    });
    stripes.tone.fill(120);
    // Stripes follow the light of the whole balloon, not their own edges.
    if let [.., body, stripes] = sketch.parts.as_mut_slice() {
        let (dx, dy) = (
            (stripes.left - body.left) as i32,
            (stripes.top - body.top) as i32,
        );
        for (i, tone) in stripes.tone.iter_mut().enumerate() {
            let (x, y) = (
                (i % stripes.width) as i32 + dx,
                (i / stripes.width) as i32 + dy,
            );
            let at = (y * body.width as i32 + x).max(0) as usize;
            *tone = body.tone.get(at).copied().unwrap_or(*tone);
        }
    }
    let mut actor = sketch.finish((x, y), near * 0.5);
    let dusk = stage.palette.dark;
    if dusk > 0.2 {
        actor.lights.push(Light {
            at: (x, y - size * 0.35),
            radius: size * 0.75,
            colour: [1.0, 0.75, 0.4],
            strength: 0.4 * dusk,
        });
    }
    actor
}

pub fn tree(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.62;
    let sketch = Sketch::new(stage, 88, size, 1.0, x);
    let mut rng = stage.brief.rng(89);
    let season = stage.brief.any(&[Trait::Autumn, Trait::Spring]);
    let crown = if season {
        stage.palette.accents[rng.below(3)]
    } else {
        blend(stage.palette.land, hex(0x4f_8f3e), 0.5)
    };
    let light = if stage.sun.0 > x { 1.0 } else { -1.0 };
    let parts = trees::broad(size, stage.palette, stage.texture, crown, light, &mut rng);
    let foot = (x, stage.foot(x, size * 0.05) + size * 0.015);
    let mut sketch = sketch;
    sketch.parts = parts;
    sketch.finish(foot, stage.ground_depth)
}

pub fn rocket(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.44;
    let mut sketch = Sketch::new(stage, 90, size, 0.5, x);
    let a = stage.palette.accents;
    let body = sketch.shades(hex(0xee_eef2));
    let trim = sketch.shades(blend(a[2], hex(0xd8_3a34), 0.5));
    let glass = sketch.dim(hex(0x6a_c8e8), 0.1);
    let fire = [hex(0xff_f0b0), hex(0xff_b040), hex(0xf0_5a28)];
    sketch.part(&fire[2..], 0.0, |pen| {
        pen.curve(&[
            (0.18, 0.7),
            (0.25, 0.68),
            (0.32, 0.7),
            (0.31, 0.84),
            (0.25, 0.99),
            (0.19, 0.84),
        ]);
    });
    sketch.part(&fire[..1], 0.0, |pen| {
        pen.curve(&[
            (0.21, 0.7),
            (0.25, 0.69),
            (0.29, 0.7),
            (0.28, 0.78),
            (0.25, 0.88),
            (0.22, 0.78),
        ]);
    });
    sketch.part(&trim, 0.8, |pen| {
        pen.curve(&[(0.17, 0.48), (0.08, 0.6), (0.06, 0.74), (0.17, 0.68)])
            .curve(&[(0.33, 0.48), (0.42, 0.6), (0.44, 0.74), (0.33, 0.68)]);
    });
    sketch.part(&body, 1.0, |pen| {
        pen.curve(&[
            (0.25, 0.02),
            (0.33, 0.14),
            (0.37, 0.32),
            (0.355, 0.54),
            (0.32, 0.7),
            (0.25, 0.71),
            (0.18, 0.7),
            (0.145, 0.54),
            (0.13, 0.32),
            (0.17, 0.14),
        ]);
    });
    sketch.part(&trim, 0.7, |pen| {
        pen.curve(&[
            (0.25, 0.018),
            (0.305, 0.09),
            (0.325, 0.14),
            (0.25, 0.155),
            (0.175, 0.14),
            (0.195, 0.09),
        ]);
    });
    sketch.part(&trim, 0.4, |pen| {
        pen.ellipse((0.25, 0.32), (0.072, 0.072));
    });
    sketch.part(&[glass], 0.0, |pen| {
        pen.ellipse((0.25, 0.32), (0.053, 0.053));
    });
    let foot = (x, stage.height * 0.72);
    let mut actor = sketch.finish(foot, 0.3);
    actor.motion = Motion::Thrust;
    actor.lights.push(Light {
        at: (x, foot.1 - size * 0.22),
        radius: size * 0.6,
        colour: fire[1],
        strength: 0.55,
    });
    actor
}
