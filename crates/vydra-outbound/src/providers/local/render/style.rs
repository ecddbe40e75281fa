//! The hand a prompt asks for: watercolour, pixels, pencil, old film.

use super::brief::{Brief, Place, Trait};
use super::canvas::{Canvas, Finish};
use super::colour::{hex, luma, mix};
use super::noise::{Texture, lattice};

pub fn finish(brief: &Brief) -> Finish {
    let has = |wanted| brief.has(wanted);
    let flat = brief.any(&[
        Trait::Minimal,
        Trait::Pixel,
        Trait::Watercolour,
        Trait::Sketch,
    ]) || brief.place == Place::Geometry;
    Finish {
        vignette: match (flat || brief.overlay, has(Trait::Vintage)) {
            (true, _) => 0.0,
            (_, true) => 0.5,
            _ => 0.22,
        },
        grain: if has(Trait::Vintage) { 14.0 } else { 3.0 },
        saturation: if has(Trait::Mono) {
            0.0
        } else if has(Trait::Vintage) {
            0.72
        } else {
            1.0
        },
        contrast: if has(Trait::Mono) {
            1.18
        } else if has(Trait::Vintage) {
            0.92
        } else {
            1.0
        },
    }
}

pub fn apply(brief: &Brief, canvas: &mut Canvas) {
    if brief.has(Trait::Watercolour) {
        watercolour(brief, canvas);
    }
    if brief.has(Trait::Sketch) {
        sketch(brief, canvas);
    }
    if brief.has(Trait::Vintage) {
        let warm = hex(0xe8_b878);
        for pixel in &mut canvas.pixels {
            let lifted = pixel.map(|c| 0.06 + c * 0.92);
            *pixel = mix(lifted, warm.map(|c| c * (0.25 + luma(lifted))), 0.22);
        }
    }
    if brief.has(Trait::Pixel) {
        pixelate(canvas);
    }
}

/// Colour bleeds along the paper, pools at edges, and leaves the margin white.
fn watercolour(brief: &Brief, canvas: &mut Canvas) {
    let texture = Texture::new(brief.seed as u32 ^ 0x77);
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let unit = canvas.unit();
    let source = Canvas {
        width: canvas.width,
        height: canvas.height,
        pixels: canvas.pixels.clone(),
    };
    let paper = hex(0xfb_f7ee);
    for (y, row) in canvas.rows() {
        let v = y as f32 / unit;
        for (x, pixel) in row.iter_mut().enumerate() {
            let u = x as f32 / unit;
            let wobble = texture.at(u * 1.1, v * 1.1);
            let fine = texture.at(u * 3.1 + 0.4, v * 3.1);
            let bleed = unit * 0.01;
            let at = (
                x as f32 + (wobble * 0.8 + fine * 0.4) * bleed,
                y as f32 + (fine * 0.8 - wobble * 0.4) * bleed,
            );
            let colour = source.sample(at.0, at.1);
            // Pigment dries darker where the paint thins out quickly.
            let across = source.sample(at.0 + unit * 0.007, at.1 + unit * 0.007);
            let edge = (luma(colour) - luma(across)).abs().min(0.25);
            let grain = lattice(x as i32 / 2, y as i32 / 2, 5) * 0.5 + fine * 0.5;
            let wash = 0.2 + wobble * 0.09 + grain * 0.07;
            let painted = mix(colour, paper, wash.clamp(0.0, 1.0)).map(|c| c - edge * 0.55);
            let border = (x as f32)
                .min(width - x as f32)
                .min((y as f32).min(height - y as f32));
            let margin = (border / unit - 0.035 - wobble * 0.022 - fine * 0.008) * 60.0;
            *pixel = mix(paper, painted, margin.clamp(0.0, 1.0));
        }
    }
}

/// Hatching in three directions; the darker, the more of them.
fn sketch(brief: &Brief, canvas: &mut Canvas) {
    let texture = Texture::new(brief.seed as u32 ^ 0x51);
    let unit = canvas.unit();
    let step = (unit / 420.0).max(1.0);
    let paper = hex(0xf6_f1e4);
    let graphite = hex(0x2b_2a30);
    let source: Vec<f32> = canvas.pixels.iter().map(|pixel| luma(*pixel)).collect();
    let (width, height) = (canvas.width, canvas.height);
    for (y, row) in canvas.rows() {
        for (x, pixel) in row.iter_mut().enumerate() {
            let grey = source[y * width + x];
            let reach = step as usize;
            let right = source[y * width + (x + reach).min(width - 1)];
            let below = source[(y + reach).min(height - 1) * width + x];
            let edge = ((grey - right).abs() + (grey - below).abs()) * 5.0;
            let wobble = texture.at(x as f32 / unit * 0.12, y as f32 / unit * 0.12) * 5.0;
            let mut dark = edge.min(0.85);
            for (level, (dx, dy)) in [(0.72, (1.0, 1.0)), (0.5, (1.0, -1.0)), (0.3, (0.25, 1.0))] {
                let phase = (x as f32 * dx + y as f32 * dy) / (step * 4.2) + wobble;
                let line = (phase.fract().abs() - 0.5).abs() * 2.0;
                let amount = ((level - grey) * 4.0).clamp(0.0, 0.75);
                dark = dark.max(((line - 0.45) * 4.0).clamp(0.0, 1.0) * amount);
            }
            let tinted = mix(paper, *pixel, 0.16);
            *pixel = mix(tinted, graphite, dark);
        }
    }
}

fn pixelate(canvas: &mut Canvas) {
    const LEVELS: f32 = 22.0;
    let block = ((canvas.unit() / 112.0).round() as usize).max(2);
    let (width, height) = (canvas.width, canvas.height);
    for top in (0..height).step_by(block) {
        for left in (0..width).step_by(block) {
            let (bottom, right) = ((top + block).min(height), (left + block).min(width));
            let mut sum = [0.0; 3];
            for y in top..bottom {
                for pixel in &canvas.pixels[y * width + left..y * width + right] {
                    for (sum, c) in sum.iter_mut().zip(pixel) {
                        *sum += c;
                    }
                }
            }
            let count = ((bottom - top) * (right - left)) as f32;
            // Few levels with an ordered pattern between them, as old machines did it.
            let pattern = [[0.0, 0.5], [0.75, 0.25]][(top / block) % 2][(left / block) % 2];
            let colour =
                sum.map(|c| ((c / count * LEVELS + pattern).floor() / LEVELS).clamp(0.0, 1.0));
            for y in top..bottom {
                canvas.pixels[y * width + left..y * width + right].fill(colour);
            }
        }
    }
}
