//! Owls, birds, deer, horses, whales.

use super::super::brief::Subject;
use super::super::colour::{Rgb, blend, hex};
use super::super::outline::Point;
use super::{Actor, Motion, Sketch, Stage};

fn coat(sketch: &mut Sketch, natural: &[u32]) -> Rgb {
    let own = hex(natural[sketch.rng.below(natural.len())]);
    sketch.stage.brief.coat.unwrap_or(own)
}

pub fn owl(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.42;
    let mut sketch = Sketch::new(stage, 71, size, 0.8, x);
    let coat = coat(&mut sketch, &[0x8a_6848, 0xa8_8a68, 0x6a_6470, 0xe8_e0d4]);
    let fur = sketch.shades(coat);
    let pale = sketch.shades(blend(coat, hex(0xfb_f0dc), 0.6));
    let ink = sketch.dim(hex(0x18_1214), 0.2);
    sketch.part(&fur, 1.0, |pen| {
        pen.curve(&[
            (0.16, 0.28),
            (0.19, 0.1),
            (0.3, 0.17),
            (0.5, 0.17),
            (0.61, 0.1),
            (0.64, 0.28),
            (0.68, 0.6),
            (0.58, 0.9),
            (0.4, 0.96),
            (0.22, 0.9),
            (0.12, 0.6),
        ]);
    });
    sketch.part(&pale, 0.7, |pen| {
        pen.curve(&[
            (0.4, 0.42),
            (0.53, 0.52),
            (0.53, 0.76),
            (0.4, 0.9),
            (0.27, 0.76),
            (0.27, 0.52),
        ]);
    });
    let fleck = [blend(fur[1], pale[1], 0.3)];
    sketch.part(&fleck, 0.0, |pen| {
        for row in 0..4 {
            for column in 0..4 - row % 2 {
                let cx = 0.32 + column as f32 * 0.055 + (row % 2) as f32 * 0.0275;
                let cy = 0.57 + row as f32 * 0.075;
                pen.curve(&[
                    (cx - 0.018, cy),
                    (cx, cy - 0.006),
                    (cx + 0.018, cy),
                    (cx, cy + 0.026),
                ]);
            }
        }
    });
    let wing = fur.map(|colour| blend(colour, [0.04, 0.03, 0.05], 0.3));
    sketch.part(&wing, 1.0, |pen| {
        for side in [-1.0, 1.0] {
            let x = |dx: f32| 0.4 + side * dx;
            pen.curve(&[
                (x(0.24), 0.4),
                (x(0.29), 0.6),
                (x(0.22), 0.86),
                (x(0.15), 0.72),
                (x(0.17), 0.5),
            ]);
        }
    });
    sketch.part(&pale, 0.6, |pen| {
        pen.ellipse((0.3, 0.3), (0.115, 0.115))
            .ellipse((0.5, 0.3), (0.115, 0.115));
    });
    let iris = sketch.dim(hex(0xf2_a92c), 0.08);
    sketch.part(&[iris], 0.0, |pen| {
        pen.ellipse((0.305, 0.3), (0.066, 0.066))
            .ellipse((0.495, 0.3), (0.066, 0.066));
    });
    sketch.part(&[ink], 0.0, |pen| {
        pen.ellipse((0.308, 0.3), (0.038, 0.04))
            .ellipse((0.492, 0.3), (0.038, 0.04));
    });
    sketch.part(&[[1.0; 3]], 0.0, |pen| {
        pen.ellipse((0.322, 0.284), (0.013, 0.013))
            .ellipse((0.506, 0.284), (0.013, 0.013));
    });
    let beak = sketch.shades(hex(0xe0_9a3c));
    sketch.part(&beak, 0.6, |pen| {
        pen.curve(&[(0.375, 0.345), (0.4, 0.33), (0.425, 0.345), (0.4, 0.42)]);
    });
    sketch.part(&beak, 0.5, |pen| {
        for dx in [-0.11, -0.07, 0.07, 0.11] {
            pen.ellipse((0.4 + dx, 0.965), (0.022, 0.03));
        }
    });
    let foot = (x, stage.foot(x, size * 0.12) + size * 0.01);
    sketch.finish(foot, stage.ground_depth)
}

pub fn bird(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.34;
    let mut sketch = Sketch::new(stage, 72, size, 1.25, x);
    let coat = coat(
        &mut sketch,
        &[0x2f_7fc8, 0xd8_4a3a, 0xe8_a030, 0x3a_9a78, 0x4a_5068],
    );
    let left = stage.sun.0 < x;
    let flip = move |p: Point| if left { (1.25 - p.0, p.1) } else { p };
    let turn = move |points: &[Point]| -> Vec<Point> { points.iter().map(|p| flip(*p)).collect() };
    let fur = sketch.shades(coat);
    let belly = sketch.shades(blend(hex(0xf6_e2c4), coat, 0.18));
    let wing = sketch.shades(blend(coat, hex(0x14_1a2c), 0.4));
    let ink = sketch.dim(hex(0x17_1518), 0.2);
    let dark = sketch.shades(hex(0x4a_3c34));
    sketch.part(&dark, 0.4, |pen| {
        for x in [0.56, 0.65] {
            pen.limb(flip((x, 0.78)), 0.012, flip((x + 0.02, 0.97)), 0.01)
                .limb(flip((x + 0.02, 0.97)), 0.01, flip((x + 0.08, 0.985)), 0.008);
        }
    });
    sketch.part(&wing, 0.7, |pen| {
        pen.polygon(&turn(&[
            (0.34, 0.62),
            (0.02, 0.86),
            (0.08, 0.93),
            (0.42, 0.76),
        ]));
    });
    sketch.part(&fur, 1.0, |pen| {
        pen.curve(&turn(&[
            (0.24, 0.66),
            (0.42, 0.48),
            (0.62, 0.33),
            (0.72, 0.2),
            (0.84, 0.16),
            (0.95, 0.22),
            (0.97, 0.34),
            (0.9, 0.58),
            (0.76, 0.76),
            (0.56, 0.84),
            (0.38, 0.8),
        ]));
    });
    sketch.part(&belly, 0.8, |pen| {
        pen.curve(&turn(&[
            (0.92, 0.38),
            (0.955, 0.44),
            (0.89, 0.62),
            (0.75, 0.765),
            (0.56, 0.84),
            (0.44, 0.82),
            (0.62, 0.7),
            (0.8, 0.5),
        ]));
    });
    sketch.part(&wing, 1.0, |pen| {
        pen.curve(&turn(&[
            (0.68, 0.46),
            (0.72, 0.56),
            (0.6, 0.7),
            (0.38, 0.78),
            (0.16, 0.8),
            (0.34, 0.64),
            (0.5, 0.5),
        ]));
    });
    let beak = sketch.shades(hex(0xee_a83a));
    sketch.part(&beak, 0.5, |pen| {
        pen.polygon(&turn(&[(0.95, 0.235), (1.09, 0.3), (0.955, 0.335)]));
    });
    sketch.part(&[ink], 0.0, |pen| {
        pen.ellipse(flip((0.87, 0.255)), (0.028, 0.03));
    });
    sketch.part(&[[1.0; 3]], 0.0, |pen| {
        pen.ellipse(flip((0.88, 0.243)), (0.009, 0.009));
    });
    let foot = (x, stage.foot(x, size * 0.06) + size * 0.02);
    sketch.finish(foot, stage.ground_depth)
}

pub fn standing(stage: &Stage, subject: Subject, x: f32) -> Actor {
    let deer = subject == Subject::Deer;
    let size = stage.unit() * 0.44;
    let mut sketch = Sketch::new(stage, 73, size, 1.1, x);
    let natural: &[u32] = if deer {
        &[0xa8_7448, 0x8e_6440]
    } else {
        &[0x7a_4c30, 0x4a_3630, 0xd8_c8b4, 0xa8_7a50]
    };
    let coat = coat(&mut sketch, natural);
    let left = stage.sun.0 < x;
    let flip = move |p: Point| if left { (1.1 - p.0, p.1) } else { p };
    let turn = move |points: &[Point]| -> Vec<Point> { points.iter().map(|p| flip(*p)).collect() };
    let fur = sketch.shades(coat);
    let far = fur.map(|colour| blend(colour, [0.03, 0.03, 0.05], 0.35));
    let dark = sketch.shades(blend(coat, hex(0x1c_1412), 0.7));
    // Hip, knee, hoof: the far pair stands a little apart.
    let legs = |sketch: &mut Sketch, colours: &[Rgb; 3], shift: f32| {
        sketch.part(colours, 0.9, |pen| {
            for (hip, knee, hoof) in [
                ((0.3, 0.6), (0.265, 0.76), (0.285, 0.97)),
                ((0.68, 0.6), (0.69, 0.77), (0.69, 0.97)),
            ] {
                let at = |p: Point| flip((p.0 + shift, p.1));
                pen.limb(at(hip), 0.047, at(knee), 0.022)
                    .limb(at(knee), 0.022, at(hoof), 0.015)
                    .limb(at(hoof), 0.019, (at(hoof).0, 0.98), 0.022);
            }
        });
    };
    legs(&mut sketch, &far, 0.07);
    if deer {
        let horn = sketch.shades(hex(0xc8_ae8c));
        sketch.part(&horn, 0.6, |pen| {
            for shift in [0.0, 0.045] {
                let s = |x: f32, y: f32| flip((x + shift, y));
                pen.stroke(
                    &[s(0.83, 0.21), s(0.79, 0.12), s(0.8, 0.045), s(0.86, 0.0)],
                    0.011,
                    0.005,
                )
                .stroke(
                    &[s(0.795, 0.14), s(0.74, 0.09), s(0.73, 0.03)],
                    0.009,
                    0.004,
                )
                .stroke(
                    &[s(0.795, 0.09), s(0.84, 0.085), s(0.875, 0.055)],
                    0.008,
                    0.004,
                );
            }
        });
    } else {
        sketch.part(&dark, 0.8, |pen| {
            pen.curve(&turn(&[
                (0.2, 0.45),
                (0.13, 0.52),
                (0.09, 0.72),
                (0.12, 0.82),
                (0.16, 0.7),
                (0.21, 0.56),
            ]));
        });
    }
    sketch.part(&fur, 1.0, |pen| {
        pen.curve(&turn(&[
            (0.2, 0.47),
            (0.32, 0.425),
            (0.5, 0.45),
            (0.62, 0.42),
            (0.7, 0.36),
            (0.76, 0.27),
            (0.8, 0.21),
            (0.86, 0.2),
            (0.9, 0.24),
            (0.985, 0.315),
            (0.985, 0.35),
            (0.93, 0.365),
            (0.875, 0.345),
            (0.845, 0.42),
            (0.8, 0.54),
            (0.72, 0.635),
            (0.5, 0.645),
            (0.34, 0.64),
            (0.22, 0.6),
        ]));
        pen.curve(&turn(&[
            (0.805, 0.23),
            (0.78, 0.15),
            (0.825, 0.16),
            (0.85, 0.22),
        ]));
    });
    legs(&mut sketch, &fur, 0.0);
    if deer {
        let white = sketch.shades(hex(0xf2_e8da));
        sketch.part(&white, 0.5, |pen| {
            pen.ellipse(flip((0.205, 0.5)), (0.022, 0.034));
        });
    } else {
        sketch.part(&dark, 0.8, |pen| {
            pen.curve(&turn(&[
                (0.86, 0.19),
                (0.8, 0.175),
                (0.73, 0.24),
                (0.66, 0.36),
                (0.64, 0.42),
                (0.7, 0.41),
                (0.76, 0.33),
                (0.81, 0.24),
            ]));
        });
    }
    let ink = sketch.dim(hex(0x14_1012), 0.2);
    sketch.part(&[ink], 0.0, |pen| {
        pen.ellipse(flip((0.868, 0.262)), (0.0125, 0.0135))
            .ellipse(flip((0.975, 0.325)), (0.009, 0.008));
    });
    let foot = (x, stage.foot(x, size * 0.25) + size * 0.02);
    sketch.finish(foot, stage.ground_depth)
}

/// A tail fin rising from the sea, which is how one meets a whale.
pub fn whale(stage: &Stage, x: f32) -> Actor {
    let size = stage.unit() * 0.34;
    let mut sketch = Sketch::new(stage, 74, size, 1.3, x);
    let coat = coat(&mut sketch, &[0x33_4e6a, 0x3c_4658, 0x28_5066]);
    let skin = sketch.shades(coat);
    sketch.part(&skin, 1.0, |pen| {
        pen.curve(&[
            (0.65, 0.3),
            (0.74, 0.17),
            (0.92, 0.06),
            (1.16, 0.06),
            (1.24, 0.12),
            (1.1, 0.17),
            (0.95, 0.27),
            (0.8, 0.42),
            (0.75, 0.62),
            (0.82, 0.86),
            (0.96, 1.04),
            (0.34, 1.04),
            (0.48, 0.86),
            (0.55, 0.62),
            (0.5, 0.42),
            (0.35, 0.27),
            (0.2, 0.17),
            (0.06, 0.12),
            (0.14, 0.06),
            (0.38, 0.06),
            (0.56, 0.17),
        ]);
    });
    let foam = blend(stage.palette.sky[4], [1.0; 3], 0.5);
    let drops: Vec<(Point, f32)> = (0..34)
        .map(|_| {
            let side = sketch.rng.range(-1.0, 1.0);
            let up = sketch.rng.unit().powi(2);
            let at = (
                0.65 + side * (0.36 - up * 0.1),
                0.97 - up * 0.34 * (1.0 - side.abs() * 0.5),
            );
            (at, sketch.rng.range(0.004, 0.013))
        })
        .collect();
    sketch.part(&[foam], 0.0, |pen| {
        for (at, radius) in &drops {
            pen.ellipse(*at, (*radius, *radius));
        }
        pen.curve(&[
            (0.28, 0.985),
            (0.48, 0.955),
            (0.65, 0.965),
            (0.82, 0.955),
            (1.02, 0.985),
            (0.65, 1.01),
        ]);
    });
    let mut actor = sketch.finish(
        (x, stage.horizon + (stage.height - stage.horizon) * 0.36),
        0.5,
    );
    actor.motion = Motion::Bob;
    actor.afloat = true;
    actor
}
