//! Rows of buildings with lit windows.

use super::super::colour::{Rgb, blend, ramp};
use super::super::cutout::Cutout;
use super::super::noise::{Rng, lattice};
use super::super::outline::Outline;
use super::super::palette::Palette;
use super::land::Layer;

/// Tones below this are walls, those above are windows.
const WALLS: u8 = 127;

/// One row of buildings; `tall` is the height of a high one in pixels.
pub fn row(layer: &Layer, base: f32, tall: f32, rng: &mut Rng) -> Cutout {
    let width = layer.width + layer.margin * 2;
    let top = (base - tall * 1.5).floor();
    let height = (layer.bottom - top).ceil().max(2.0) as usize;
    let foot = base - top;
    let mut outline = Outline::new(width, height);
    let mut houses = Vec::new();
    let mut x = -tall * 0.1;
    while x < width as f32 {
        let wide = tall * rng.range(0.11, 0.26);
        // A centre of town: towers gather around one point.
        let town = layer
            .texture
            .at(x / layer.unit * 0.33 + layer.near * 3.0, 0.61);
        let high = tall * (0.42 + town * 0.55 + rng.range(-0.14, 0.26)).clamp(0.16, 1.12);
        houses.push((x, wide, foot - high));
        outline.rectangle(x, foot - high, x + wide, height as f32);
        roof(&mut outline, x, wide, foot - high, tall, rng);
        x += wide * rng.range(0.82, 1.12);
    }
    outline.rectangle(0.0, foot, width as f32, height as f32);
    let mut cutout = Cutout::new(width, height, outline.cover());
    cutout.left = -(layer.margin as f32);
    cutout.top = top;
    cutout.depth = layer.near;
    cutout.ramp = colours(layer.palette, layer.near);
    cutout.mist_colour = blend(layer.palette.haze, layer.palette.sky[4], 0.4);
    let strength = layer.mist * (1.0 - layer.near * 0.75);
    cutout.mist = (0..height)
        .map(|y| (y as f32 / foot).min(1.0).powf(1.6) * strength)
        .collect();
    cutout.tone.fill(30);
    for house in houses {
        facade(&mut cutout, house, foot, layer, rng);
    }
    cutout
}

fn roof(outline: &mut Outline, x: f32, wide: f32, y: f32, tall: f32, rng: &mut Rng) {
    let middle = x + wide / 2.0;
    match rng.below(7) {
        0 => {
            // Steps and a mast.
            outline.rectangle(x + wide * 0.18, y - tall * 0.045, x + wide * 0.82, y + 1.0);
            outline.rectangle(x + wide * 0.34, y - tall * 0.085, x + wide * 0.66, y);
            let thin = (tall * 0.005).max(0.5);
            outline.rectangle(middle - thin, y - tall * 0.24, middle + thin, y);
        }
        1 => outline.polygon(&[
            (x, y + 1.0),
            (x + wide, y + 1.0),
            (x + wide, y - tall * 0.06),
        ]),
        2 => outline.polygon(&[
            (x + wide * 0.1, y + 1.0),
            (x + wide * 0.9, y + 1.0),
            (middle, y - tall * 0.16),
        ]),
        3 => {
            outline.rectangle(x + wide * 0.55, y - tall * 0.025, x + wide * 0.8, y + 1.0);
            outline.rectangle(x + wide * 0.15, y - tall * 0.015, x + wide * 0.3, y + 1.0);
        }
        4 => outline.ellipse((middle, y + 1.0), (wide * 0.42, wide * 0.3)),
        _ => {}
    }
}

/// A grid of windows; some floors are lit as a whole, most windows are dark.
fn facade(cutout: &mut Cutout, house: (f32, f32, f32), foot: f32, layer: &Layer, rng: &mut Rng) {
    let (x, wide, top) = house;
    let shade = rng.range(14.0, 84.0);
    let pitch = (layer.unit * (0.008 + layer.near * 0.0085)).max(3.0);
    let columns = ((wide / pitch) as i32 - 1).max(1);
    let step = wide / (columns as f32 + 0.6);
    let seed = rng.next() as u32;
    let lit_share = rng.range(0.22, 0.68) * (0.25 + layer.palette.dark * 0.75);
    let hue = rng.unit();
    let band = rng.chance(0.25);
    let sun_side = layer.sun > x - layer.margin as f32;
    for y in (top.max(0.0) as usize)..(foot as usize + 1).min(cutout.height) {
        let down = y as f32 - top;
        let floor = (down / (pitch * 1.25)) as i32;
        let in_floor = (down / (pitch * 1.25)).fract();
        for column in x.max(0.0) as usize..((x + wide).max(0.0) as usize).min(cutout.width) {
            let across = (column as f32 - x) / step - 0.3;
            let i = y * cutout.width + column;
            let side = (column as f32 - x) / wide;
            let face = if sun_side { side } else { 1.0 - side };
            let mut tone = shade + face * 26.0;
            let window = across.floor() as i32;
            let within = across - across.floor();
            let open = if band {
                (0.2..0.62).contains(&in_floor)
            } else {
                (0.22..0.7).contains(&in_floor) && (0.18..0.78).contains(&within)
            };
            if open && floor > 0 && (0..columns).contains(&window) {
                let cell = if band { window / 3 } else { window };
                let luck = lattice(cell, floor, seed);
                if luck < lit_share {
                    let glow = lattice(cell, floor, seed ^ 9);
                    let colour = if glow > 0.93 {
                        0.72 + hue * 0.25
                    } else {
                        glow * 0.55
                    };
                    tone = f32::from(WALLS) + 4.0 + colour * 120.0;
                } else {
                    tone -= 12.0;
                }
            }
            cutout.tone[i] = tone as u8;
        }
    }
}

fn colours(palette: &Palette, near: f32) -> Vec<Rgb> {
    let far = (1.0 - near).clamp(0.0, 1.0);
    let day = 1.0 - palette.dark;
    let wall = |light: f32| {
        let own = blend(palette.ink, blend(palette.land, palette.sky[1], 0.5), light);
        blend(own, palette.haze, far * 0.72)
    };
    let walls = ramp(
        &[wall(0.04), wall(0.18 + day * 0.3), wall(0.34 + day * 0.5)],
        128,
    );
    let a = palette.accents;
    let warm = [1.0, 0.8, 0.48];
    let lit = |colour: Rgb| {
        blend(
            blend(colour, palette.haze, far * 0.3),
            palette.sky[3],
            day * 0.35,
        )
    };
    let windows = ramp(
        &[
            lit(blend(warm, a[0], 0.3)),
            lit([1.0, 0.9, 0.68]),
            lit(blend(a[1], warm, 0.6)),
            lit(a[2]),
            lit(a[4]),
        ],
        128,
    );
    walls.into_iter().chain(windows).collect()
}
