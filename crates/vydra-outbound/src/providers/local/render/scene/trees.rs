//! Rows of conifers, and single broad trees.

use super::super::colour::{Rgb, blend, ramp};
use super::super::cutout::Cutout;
use super::super::noise::{Rng, Texture};
use super::super::outline::{Outline, Point};
use super::super::palette::Palette;
use super::land::{FINE, Ground, Layer};

/// A forest edge standing on a profile; `tall` is the usual height in pixels.
pub fn conifers(layer: &Layer, profile: &[f32], tall: f32, density: f32, rng: &mut Rng) -> Cutout {
    let width = profile.len() / FINE;
    let crest = profile.iter().copied().fold(f32::MAX, f32::min);
    let top = (crest - tall * 1.5).floor();
    let height = (layer.bottom - top).ceil().max(2.0) as usize;
    let mut outline = Outline::new(width, height);
    let mut ground: Vec<Point> = profile
        .iter()
        .step_by(FINE)
        .enumerate()
        .map(|(x, y)| (x as f32, y - top))
        .collect();
    ground.push((width as f32, height as f32));
    ground.push((0.0, height as f32));
    outline.polygon(&ground);
    let step = tall * 0.2 / density;
    let mut x = -tall * 0.2;
    while x < width as f32 + tall * 0.2 {
        let column = (x.max(0.0) as usize).min(width - 1);
        // Groves: tall in some stretches, low in others.
        let grove = layer
            .texture
            .at(x / layer.unit * 0.9 + layer.near * 5.0, 0.37)
            * 0.45;
        let size = tall * (rng.range(0.5, 1.0) + grove).clamp(0.22, 1.4);
        // The lowest branches reach into the ground: a gap under them would be a bright dash.
        let foot = profile[column * FINE] - top + size * 0.13;
        conifer(&mut outline, (x, foot), size, rng);
        x += step * rng.range(0.5, 1.5);
    }
    let mut cutout = Cutout::new(width, height, outline.cover());
    cutout.left = -(layer.margin as f32);
    cutout.top = top;
    cutout.depth = layer.near;
    let mut colours = layer.colours(Ground::Hill);
    // Needles are darker than grass.
    for colour in &mut colours {
        *colour = colour.map(|c| c * (0.62 + 0.3 * (1.0 - layer.near)));
    }
    cutout.ramp = colours;
    cutout.mist_colour = blend(layer.palette.haze, layer.palette.sky[4], 0.3);
    let strength = layer.mist * (1.0 - layer.near).powf(1.4);
    cutout.mist = (0..height)
        .map(|row| {
            let low = row as f32 / (tall * 2.2 + layer.unit * 0.04);
            low.min(1.0).powf(1.3) * strength
        })
        .collect();
    cutout.tone.fill(64);
    let light = if layer.sun > layer.width as f32 / 2.0 {
        1.0
    } else {
        -1.0
    };
    if layer.near > 0.3 {
        // Sideways only: the ground between the trees has an edge too, and must not glow.
        cutout.rim((tall * 0.03).max(1.0), (light, 0.0), 90.0);
    }
    cutout
}

/// A zigzag of branches around a trunk.
pub fn conifer(outline: &mut Outline, foot: Point, size: f32, rng: &mut Rng) {
    let tiers = (size / 5.0).clamp(4.0, 12.0) as usize;
    let half = size * rng.range(0.17, 0.24);
    let lean = rng.range(-0.015, 0.015) * size;
    let mut right = vec![(foot.0 + lean, foot.1 - size)];
    let mut left = Vec::new();
    for tier in 1..=tiers {
        let down = tier as f32 / tiers as f32;
        let y = foot.1 - size * (1.0 - down * 0.93);
        let wide = half * down.powf(0.85);
        let droop = size / tiers as f32 * 0.25;
        let (a, b) = (rng.range(0.8, 1.15), rng.range(0.8, 1.15));
        let centre = foot.0 + lean * (1.0 - down);
        right.push((centre + wide * a, y + droop));
        right.push((centre + wide * a * 0.42, y - droop * 0.4));
        left.push((centre - wide * b, y + droop));
        left.push((centre - wide * b * 0.42, y - droop * 0.4));
    }
    let trunk = (size * 0.022).max(0.4);
    right.push((foot.0 + trunk, foot.1 - size * 0.08));
    right.push((foot.0 + trunk, foot.1));
    right.push((foot.0 - trunk, foot.1));
    right.push((foot.0 - trunk, foot.1 - size * 0.08));
    right.extend(left.into_iter().rev());
    outline.polygon(&right);
}

/// A tree with a round crown, `size` pixels tall, its foot at the middle of the lower edge.
pub fn broad(
    size: f32,
    palette: &Palette,
    texture: &Texture,
    crown: Rgb,
    light: f32,
    rng: &mut Rng,
) -> Vec<Cutout> {
    let side = size.max(12.0) as usize;
    let s = side as f32;
    let mut trunk = Outline::new(side, side);
    let fork = (s * 0.5 + rng.range(-0.02, 0.02) * s, s * 0.62);
    trunk.stroke(
        &[(s * 0.5, s * 1.02), (s * 0.49, s * 0.8), fork],
        s * 0.04,
        s * 0.024,
    );
    let mut blobs = Vec::new();
    for i in 0..9 {
        let angle = i as f32 / 9.0 * std::f32::consts::TAU + rng.range(-0.3, 0.3);
        let reach = rng.range(0.14, 0.22) * s;
        let centre = (
            s * 0.5 + angle.cos() * reach * 1.25,
            s * 0.36 + angle.sin() * reach,
        );
        blobs.push((centre, rng.range(0.11, 0.16) * s));
        trunk.stroke(&[fork, centre], s * 0.018, s * 0.006);
    }
    blobs.push(((s * 0.5, s * 0.34), s * 0.2));
    let (ox, oy) = (rng.unit(), rng.unit());
    let at = |x: f32, y: f32| texture.at(x + ox, y + oy);
    let mut leaves = Outline::new(side, side);
    for (centre, radius) in &blobs {
        let count = 22;
        let points: Vec<Point> = (0..count)
            .map(|i| {
                let (sin, cos) = (i as f32 / count as f32 * std::f32::consts::TAU).sin_cos();
                let r = radius * rng.range(0.88, 1.12);
                (centre.0 + cos * r, centre.1 + sin * r)
            })
            .collect();
        leaves.curve(&points);
    }
    let mut cover = leaves.cover();
    // Holes and a ragged edge: a crown is no balloon.
    for (i, cover) in cover.iter_mut().enumerate() {
        let (x, y) = ((i % side) as f32 / s, (i / side) as f32 / s);
        let gap = at(x * 0.9, y * 0.9) + at(x * 2.1, y * 2.1) * 0.7;
        *cover = (f32::from(*cover) * ((gap + 1.0) * 4.0).clamp(0.0, 1.0)) as u8;
    }
    let mut crown_cut = Cutout::new(side, side, cover);
    crown_cut.relief((side / 14).max(1), (light, -0.7), 0.42);
    for (i, tone) in crown_cut.tone.iter_mut().enumerate() {
        let (x, y) = ((i % side) as f32 / s, (i / side) as f32 / s);
        let leaf = at(x * 0.8, y * 0.8) * 26.0 + at(x * 2.3, y * 2.3) * 34.0;
        *tone = (f32::from(*tone) - 8.0 + leaf) as u8;
    }
    let day = 1.0 - palette.dark * 0.7;
    crown_cut.ramp = ramp(
        &[
            blend(palette.ink, crown, 0.2),
            blend(palette.ink, crown, 0.25 + 0.5 * day),
            blend(
                blend(palette.ink, crown, 0.35 + 0.65 * day),
                palette.sun,
                0.28,
            ),
        ],
        256,
    );
    let mut trunk_cut = Cutout::new(side, side, trunk.cover());
    trunk_cut.ramp = vec![blend(palette.ink, palette.land, 0.15); 256];
    vec![trunk_cut, crown_cut]
}
