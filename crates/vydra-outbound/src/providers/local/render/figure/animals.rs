//! Animals that sit and look at you.

use super::super::brief::Subject;
use super::super::colour::{Rgb, blend, hex};
use super::super::noise::Rng;
use super::super::outline::Point;
use super::{Actor, Sketch, Stage};

struct Breed {
    coats: &'static [u32],
    /// Belly, muzzle and the inside of the ears, as a share of white in the coat.
    pale: f32,
    eyes: &'static [u32],
    slit: bool,
    muzzle: Point,
    stout: f32,
}

fn breed(subject: Subject) -> Breed {
    match subject {
        Subject::Fox => Breed {
            coats: &[0xd9_682a, 0xe0_7a34, 0xc8_5a26],
            pale: 0.85,
            eyes: &[0xe8_a83a],
            slit: true,
            muzzle: (0.062, 0.068),
            stout: 0.9,
        },
        Subject::Dog => Breed {
            coats: &[0xc8_8a4e, 0xe2_b878, 0x5a_4234, 0xf0_e2cc, 0x8a_6a50],
            pale: 0.5,
            eyes: &[0x4a_2e1c],
            slit: false,
            muzzle: (0.082, 0.07),
            stout: 1.05,
        },
        Subject::Rabbit => Breed {
            coats: &[0xcd_b8a2, 0xf4_efe8, 0x9a_8a7c],
            pale: 0.6,
            eyes: &[0x3a_2420],
            slit: false,
            muzzle: (0.066, 0.05),
            stout: 0.98,
        },
        Subject::Bear => Breed {
            coats: &[0x7a_5238, 0x96_6a46, 0x5a_4030],
            pale: 0.36,
            eyes: &[0x24_1812],
            slit: false,
            muzzle: (0.088, 0.07),
            stout: 1.3,
        },
        _ => Breed {
            coats: &[0xe0_9650, 0x4a_4650, 0xf0_e8da, 0x94_96a0, 0x6a_5648],
            pale: 0.4,
            eyes: &[0x9a_d05a, 0xe8_c040, 0x6a_b8e0],
            slit: true,
            muzzle: (0.06, 0.045),
            stout: 1.0,
        },
    }
}

pub fn sitting(stage: &Stage, subject: Subject, x: f32) -> Actor {
    let size = stage.unit() * 0.47;
    let breed = breed(subject);
    let mut sketch = Sketch::new(stage, 70, size, 1.0, x);
    let pick = |rng: &mut Rng, list: &[u32]| hex(list[rng.below(list.len())]);
    let natural = pick(&mut sketch.rng, breed.coats);
    let coat = stage.brief.coat.unwrap_or(natural);
    let eye = pick(&mut sketch.rng, breed.eyes);
    let pale = blend(coat, hex(0xfb_f3e8), breed.pale);
    let fur = sketch.shades(coat);
    let light_fur = sketch.shades(pale);
    let s = breed.stout;
    let at = |dx: f32, y: f32| (0.5 + dx * s, y);

    tail(&mut sketch, subject, &fur, &light_fur);
    sketch.part(&fur, 1.0, |pen| {
        pen.limb((0.5, 0.52), 0.125 * s, (0.5, 0.79), 0.175 * s)
            .ellipse(at(-0.135, 0.87), (0.105 * s, 0.1))
            .ellipse(at(0.135, 0.87), (0.105 * s, 0.1))
            .ellipse(at(-0.16, 0.95), (0.085 * s, 0.04))
            .ellipse(at(0.16, 0.95), (0.085 * s, 0.04));
    });
    sketch.part(&light_fur, 0.6, |pen| {
        pen.curve(&[
            (0.5, 0.47),
            at(0.075, 0.52),
            at(0.085, 0.62),
            (0.5, 0.74),
            at(-0.085, 0.62),
            at(-0.075, 0.52),
        ]);
    });
    let legs = if subject == Subject::Fox {
        sketch.shades(hex(0x3a_2a26))
    } else {
        fur
    };
    sketch.part(&fur, 0.8, |pen| {
        for side in [-1.0, 1.0] {
            pen.limb(
                at(side * 0.06, 0.62),
                0.055 * s,
                at(side * 0.055, 0.84),
                0.044 * s,
            );
        }
    });
    sketch.part(&legs, 0.8, |pen| {
        for side in [-1.0, 1.0] {
            pen.limb(
                at(side * 0.055, 0.84),
                0.044 * s,
                at(side * 0.055, 0.93),
                0.04 * s,
            )
            .ellipse(at(side * 0.06, 0.955), (0.056 * s, 0.036));
        }
    });
    ears(&mut sketch, subject, &fur, pale);
    let head = (0.205 * s.sqrt(), 0.165 * s.sqrt());
    sketch.part(&fur, 1.0, |pen| {
        pen.ellipse((0.5, 0.33), head);
        match subject {
            Subject::Fox => {
                pen.curve(&[
                    (0.3, 0.3),
                    (0.26, 0.41),
                    (0.4, 0.46),
                    (0.5, 0.515),
                    (0.6, 0.46),
                    (0.74, 0.41),
                    (0.7, 0.3),
                    (0.5, 0.2),
                ]);
            }
            Subject::Cat => {
                pen.ellipse((0.41, 0.385), (0.12, 0.095))
                    .ellipse((0.59, 0.385), (0.12, 0.095));
            }
            _ => {}
        }
    });
    if subject == Subject::Fox {
        sketch.part(&light_fur, 0.5, |pen| {
            for side in [-1.0, 1.0] {
                let x = |dx: f32| 0.5 + side * dx;
                pen.curve(&[
                    (x(0.225), 0.415),
                    (x(0.12), 0.375),
                    (x(0.03), 0.44),
                    (x(0.0), 0.508),
                    (x(0.1), 0.462),
                ]);
            }
        });
    }
    face(&mut sketch, &breed, subject, eye, &light_fur);
    let closed = lids(&mut sketch, &fur, s);
    let foot = (x, stage.foot(x, size * 0.2) + size * 0.02);
    let mut actor = sketch.finish(foot, stage.ground_depth);
    actor.lids = (closed < actor.parts.len()).then(|| actor.parts.remove(closed));
    actor
}

fn tail(sketch: &mut Sketch, subject: Subject, fur: &[Rgb; 3], pale: &[Rgb; 3]) {
    match subject {
        Subject::Cat => {
            sketch.part(fur, 1.0, |pen| {
                pen.stroke(
                    &[
                        (0.62, 0.93),
                        (0.78, 0.92),
                        (0.86, 0.8),
                        (0.83, 0.68),
                        (0.88, 0.58),
                    ],
                    0.036,
                    0.026,
                );
            });
        }
        Subject::Dog => {
            sketch.part(fur, 1.0, |pen| {
                pen.stroke(&[(0.64, 0.9), (0.77, 0.87), (0.83, 0.74)], 0.036, 0.022);
            });
        }
        Subject::Fox => {
            sketch.part(fur, 1.0, |pen| {
                pen.curve(&[
                    (0.6, 0.9),
                    (0.74, 0.82),
                    (0.86, 0.7),
                    (0.95, 0.72),
                    (0.95, 0.86),
                    (0.82, 0.96),
                    (0.64, 0.97),
                ]);
            });
            sketch.part(pale, 0.7, |pen| {
                pen.curve(&[(0.87, 0.7), (0.955, 0.71), (0.955, 0.83), (0.9, 0.8)]);
            });
        }
        _ => {}
    }
}

fn ears(sketch: &mut Sketch, subject: Subject, fur: &[Rgb; 3], pale: Rgb) {
    let inner = sketch.shades(blend(pale, hex(0xe8_8f88), 0.55));
    let pair = |sketch: &mut Sketch, colours: &[Rgb; 3], points: &[Point], round: bool| {
        sketch.part(colours, 0.8, |pen| {
            for side in [-1.0, 1.0] {
                let points: Vec<Point> =
                    points.iter().map(|(dx, y)| (0.5 + side * dx, *y)).collect();
                if round {
                    pen.curve(&points);
                } else {
                    pen.polygon(&points);
                }
            }
        });
    };
    match subject {
        Subject::Cat | Subject::Fox => {
            let high = if subject == Subject::Fox { -0.045 } else { 0.0 };
            pair(
                sketch,
                fur,
                &[
                    (0.035, 0.2),
                    (0.12, 0.105 + high),
                    (0.165, 0.055 + high),
                    (0.19, 0.12 + high),
                    (0.2, 0.3),
                ],
                true,
            );
            pair(
                sketch,
                &inner,
                &[
                    (0.08, 0.2),
                    (0.13, 0.14 + high),
                    (0.158, 0.1 + high),
                    (0.17, 0.16 + high),
                    (0.175, 0.25),
                ],
                true,
            );
        }
        Subject::Rabbit => {
            pair(
                sketch,
                fur,
                &[
                    (0.03, 0.24),
                    (0.035, 0.08),
                    (0.085, 0.0),
                    (0.135, 0.06),
                    (0.13, 0.24),
                ],
                true,
            );
            pair(
                sketch,
                &inner,
                &[
                    (0.058, 0.22),
                    (0.062, 0.1),
                    (0.087, 0.04),
                    (0.11, 0.09),
                    (0.105, 0.22),
                ],
                true,
            );
        }
        Subject::Bear => {
            pair(
                sketch,
                fur,
                &[
                    (0.12, 0.2),
                    (0.14, 0.12),
                    (0.21, 0.115),
                    (0.25, 0.18),
                    (0.21, 0.26),
                ],
                true,
            );
            pair(
                sketch,
                &inner,
                &[
                    (0.155, 0.2),
                    (0.165, 0.155),
                    (0.205, 0.15),
                    (0.225, 0.185),
                    (0.2, 0.23),
                ],
                true,
            );
        }
        _ => {
            let dark = fur.map(|colour| blend(colour, [0.05, 0.03, 0.03], 0.28));
            pair(
                sketch,
                &dark,
                &[
                    (0.12, 0.18),
                    (0.2, 0.185),
                    (0.265, 0.3),
                    (0.25, 0.45),
                    (0.2, 0.44),
                    (0.165, 0.3),
                ],
                true,
            );
        }
    }
}

fn face(sketch: &mut Sketch, breed: &Breed, subject: Subject, eye: Rgb, pale: &[Rgb; 3]) {
    let s = breed.stout.sqrt();
    let dog = matches!(subject, Subject::Dog | Subject::Bear);
    let nose_y = match subject {
        Subject::Fox => 0.5,
        Subject::Dog | Subject::Bear => 0.375,
        _ => 0.39,
    };
    if subject != Subject::Fox {
        sketch.part(pale, 0.6, |pen| {
            if dog {
                pen.ellipse((0.5, 0.415), (breed.muzzle.0 * s, breed.muzzle.1));
            } else {
                pen.ellipse((0.465, 0.415), (breed.muzzle.0 * 0.8, breed.muzzle.1 * 0.8))
                    .ellipse((0.535, 0.415), (breed.muzzle.0 * 0.8, breed.muzzle.1 * 0.8));
            }
        });
    }
    let (dx, y) = (
        0.088 * s,
        if subject == Subject::Fox { 0.365 } else { 0.32 },
    );
    let wide = if breed.slit { 0.036 } else { 0.03 };
    let ink = sketch.dim(hex(0x1a_1416), 0.2);
    let white = sketch.dim(hex(0xff_ffff), 0.1);
    if breed.slit {
        let iris = sketch.dim(eye, 0.12);
        let rim = blend(ink, iris, 0.1);
        sketch.part(&[rim], 0.0, |pen| {
            pen.ellipse((0.5 - dx, y), (wide * 1.16, wide * 1.08))
                .ellipse((0.5 + dx, y), (wide * 1.16, wide * 1.08));
        });
        let bright = blend(iris, [1.0, 1.0, 0.9], 0.3);
        let iris_part = sketch.part(&[bright, iris], 0.0, |pen| {
            pen.ellipse((0.5 - dx, y), (wide, wide * 0.94))
                .ellipse((0.5 + dx, y), (wide, wide * 0.94));
        });
        iris_part.tone.fill(170);
    }
    sketch.part(&[ink], 0.0, |pen| {
        let radii = if breed.slit {
            (wide * 0.45, wide * 0.82)
        } else {
            (wide, wide * 1.08)
        };
        pen.ellipse((0.5 - dx, y), radii)
            .ellipse((0.5 + dx, y), radii);
    });
    sketch.part(&[white], 0.0, |pen| {
        for side in [-1.0, 1.0] {
            pen.ellipse((0.5 + side * dx + 0.011, y - 0.013), (0.0095, 0.0095))
                .ellipse((0.5 + side * dx - 0.009, y + 0.012), (0.0045, 0.0045));
        }
    });
    let nose = if dog || subject == Subject::Fox {
        ink
    } else {
        sketch.dim(hex(0xd8_8078), 0.4)
    };
    let big = if dog { 1.5 } else { 1.0 };
    sketch.part(&[nose], 0.0, |pen| {
        pen.curve(&[
            (0.5 - 0.02 * big, nose_y - 0.007),
            (0.5, nose_y - 0.012 * big),
            (0.5 + 0.02 * big, nose_y - 0.007),
            (0.5, nose_y + 0.016 * big),
        ]);
    });
    if subject != Subject::Fox {
        sketch.part(&[blend(ink, pale[1], 0.3)], 0.0, |pen| {
            let y = nose_y + 0.014 * big;
            pen.stroke(
                &[
                    (0.5, y),
                    (0.5, y + 0.014),
                    (0.487, y + 0.026),
                    (0.463, y + 0.024),
                ],
                0.0035,
                0.003,
            )
            .stroke(
                &[
                    (0.5, y),
                    (0.5, y + 0.014),
                    (0.513, y + 0.026),
                    (0.537, y + 0.024),
                ],
                0.0035,
                0.003,
            );
        });
    }
    if matches!(subject, Subject::Cat | Subject::Rabbit) {
        let hair = blend(pale[2], [1.0; 3], 0.4);
        sketch.part(&[hair], 0.0, |pen| {
            for side in [-1.0, 1.0] {
                for k in [-1.0, 0.0, 1.0] {
                    let x = |dx: f32| 0.5 + side * dx;
                    pen.stroke(
                        &[
                            (x(0.085), 0.41 + k * 0.012),
                            (x(0.18), 0.402 + k * 0.028),
                            (x(0.275), 0.412 + k * 0.05),
                        ],
                        0.0022,
                        0.001,
                    );
                }
            }
        });
    }
}

/// The index of the part that closes the eyes.
fn lids(sketch: &mut Sketch, fur: &[Rgb; 3], stout: f32) -> usize {
    let dx = 0.088 * stout.sqrt();
    let index = sketch.parts.len();
    sketch.part(&[fur[1]], 0.0, |pen| {
        pen.ellipse((0.5 - dx, 0.325), (0.046, 0.044))
            .ellipse((0.5 + dx, 0.325), (0.046, 0.044))
            .ellipse((0.5 - dx, 0.36), (0.046, 0.04))
            .ellipse((0.5 + dx, 0.36), (0.046, 0.04));
    });
    index
}
