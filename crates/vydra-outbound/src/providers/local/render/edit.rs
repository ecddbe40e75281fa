//! Editing: the given picture stays recognisable, the prompt changes its light, its colours and its air.

use super::brief::Brief;
use super::canvas::Canvas;
use super::colour::{Rgb, luma, mix, screen};
use super::decode::decode;
use super::noise::Rng;
use super::palette::Palette;
use super::scene::weather::Particles;
use super::{Edit, MAX_SIDE, Progress, RenderError, Size, encode, report, style};
use image::RgbImage;

const MAX_SOURCES: usize = 9;

/// The first source, regraded; the others lie in it as prints.
pub fn edit(edit: &Edit, progress: Progress) -> Result<Vec<u8>, RenderError> {
    report(progress, 0)?;
    let (first, others) = edit
        .sources
        .split_first()
        .ok_or_else(|| RenderError::UnreadableImage("no image was given".into()))?;
    if others.len() >= MAX_SOURCES {
        return Err(RenderError::UnreadableImage("too many images".into()));
    }
    let base = decode(first)?;
    let size = match edit.size {
        Some(size) => size.checked()?,
        None => own_size(&base),
    };
    report(progress, 25)?;
    let mut brief = Brief::of(edit.prompt, edit.seed);
    brief.overlay = true;
    let palette = Palette::of(&brief);
    let mut canvas = cover(&base, size);
    grade(&brief, &palette, &mut canvas);
    report(progress, 50)?;
    for (place, bytes) in others.iter().enumerate() {
        let print = decode(bytes)?;
        lay(&mut canvas, &print, place, others.len(), &brief);
        report(progress, (50 + (place + 1) * 20 / others.len()) as u8)?;
    }
    Particles::drifting(&brief, &palette, size).paint(&mut canvas, 2.0, 1.0);
    style::apply(&brief, &mut canvas);
    let pixels = canvas.bytes(&style::finish(&brief));
    report(progress, 85)?;
    let bytes = encode::picture(&pixels, size, edit.format)?;
    report(progress, 100)?;
    Ok(bytes)
}

/// The source's own shape, within what a request may ask for.
fn own_size(image: &RgbImage) -> Size {
    let long = image.width().max(image.height());
    let scale = (2048.0 / long as f32).min(1.0);
    let side =
        |pixels: u32| ((pixels as f32 * scale).round() as u32).clamp(super::MIN_SIDE, MAX_SIDE);
    Size {
        width: side(image.width()),
        height: side(image.height()),
    }
}

/// The image scaled so that it covers the whole size, centred.
pub fn cover(image: &RgbImage, size: Size) -> Canvas {
    let mut canvas = Canvas::new(size);
    let (width, height) = (image.width() as f32, image.height() as f32);
    let scale = (width / size.width as f32).min(height / size.height as f32);
    let offset = (
        (width - size.width as f32 * scale) / 2.0,
        (height - size.height as f32 * scale) / 2.0,
    );
    for (y, row) in canvas.rows() {
        for (x, pixel) in row.iter_mut().enumerate() {
            let from = (offset.0 + x as f32 * scale, offset.1 + y as f32 * scale);
            *pixel = area(image, from, scale);
        }
    }
    canvas
}

/// The mean of a square when shrinking, a blend of four neighbours when enlarging.
fn area(image: &RgbImage, from: (f32, f32), side: f32) -> Rgb {
    let (right, bottom) = (image.width() - 1, image.height() - 1);
    let at = |x: u32, y: u32| {
        image
            .get_pixel(x.min(right), y.min(bottom))
            .0
            .map(|c| f32::from(c) / 255.0)
    };
    if side <= 1.0 {
        let x = (from.0 + side / 2.0 - 0.5).max(0.0);
        let y = (from.1 + side / 2.0 - 0.5).max(0.0);
        let (left, top) = (x as u32, y as u32);
        let (tx, ty) = (x - left as f32, y - top as f32);
        return mix(
            mix(at(left, top), at(left + 1, top), tx),
            mix(at(left, top + 1), at(left + 1, top + 1), tx),
            ty,
        );
    }
    // Twelve taps a side are plenty: beyond that the eye sees the same.
    let taps = (side.ceil() as u32).min(12);
    let step = side / taps as f32;
    let mut sum = [0.0; 3];
    for j in 0..taps {
        for i in 0..taps {
            let x = from.0 + (i as f32 + 0.5) * step;
            let y = from.1 + (j as f32 + 0.5) * step;
            let pixel = at(x.max(0.0) as u32, y.max(0.0) as u32);
            for (sum, c) in sum.iter_mut().zip(pixel) {
                *sum += c;
            }
        }
    }
    sum.map(|c| c / (taps * taps) as f32)
}

/// Shadows lean to the palette's dark end, lights to its sun; a soft light falls in from one side.
fn grade(brief: &Brief, palette: &Palette, canvas: &mut Canvas) {
    let mut rng = Rng::new(brief.seed, 23);
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let light = (rng.range(0.05, 0.95), rng.range(-0.1, 0.3));
    let strength = if brief.has_direction() { 0.42 } else { 0.26 };
    let exposure = if brief.asks_for_night() { 0.6 } else { 1.0 };
    let shades = palette.grade();
    for (y, row) in canvas.rows() {
        let dy = (y as f32 / height - light.1) * height / width.max(height);
        for (x, pixel) in row.iter_mut().enumerate() {
            let dx = (x as f32 / width - light.0) * width / width.max(height);
            let grey = luma(*pixel).clamp(0.0, 1.0);
            let tint = shades[(grey * 255.0) as usize];
            // Keep the pixel's own brightness pattern; take colour from the grade.
            let toned = mix(*pixel, tint, strength);
            let toned = toned.map(|c| c * exposure);
            let near = (1.0 - (dx * dx + dy * dy) * 1.3).max(0.0);
            *pixel = screen(toned, palette.sun, near * near * 0.24);
        }
    }
}

/// One print with a white border and a shadow, lying along the lower edge.
fn lay(canvas: &mut Canvas, image: &RgbImage, place: usize, count: usize, brief: &Brief) {
    let mut rng = Rng::new(brief.seed, 300 + place as u64);
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let room = (width / (count as f32 + 0.6)).min(width * 0.34);
    let ratio = (image.height() as f32 / image.width() as f32).clamp(0.6, 1.5);
    let (half_w, half_h) = (room * 0.42, (room * 0.42 * ratio).min(height * 0.2));
    let print = cover(
        image,
        Size {
            width: (half_w * 2.0).max(4.0) as u32,
            height: (half_h * 2.0).max(4.0) as u32,
        },
    );
    let border = room * 0.035;
    let cx = width * 0.5 + (place as f32 - (count as f32 - 1.0) / 2.0) * room;
    let cy = height - half_h - border * 2.0 - height * 0.03;
    let (sin, cos) = rng.range(-0.09, 0.09).sin_cos();
    let reach = (half_w + half_h + border * 4.0) as i32;
    let (outer_w, outer_h) = (half_w + border, half_h + border);
    let shadow = border * 2.2;
    for y in (cy as i32 - reach)..=(cy as i32 + reach) {
        for (x, pixel) in canvas.row(y).iter_mut().enumerate() {
            let (dx, dy) = (x as f32 + 0.5 - cx, y as f32 + 0.5 - cy);
            if dx.abs() > reach as f32 {
                continue;
            }
            let (u, v) = (dx * cos + dy * sin, dy * cos - dx * sin);
            let outside = (u.abs() - outer_w).max(v.abs() - outer_h);
            if outside >= 0.5 {
                let below = (u.abs() - outer_w).max((v - border * 0.7).abs() - outer_h);
                let dark = (1.0 - below / shadow).clamp(0.0, 1.0);
                *pixel = mix(*pixel, [0.0; 3], dark * dark * 0.45);
                continue;
            }
            let paper = [0.97, 0.96, 0.94];
            let inside = (u.abs() - half_w).max(v.abs() - half_h);
            let colour = mix(
                print.sample(u + half_w - 0.5, v + half_h - 0.5),
                paper,
                (inside + 0.5).clamp(0.0, 1.0),
            );
            *pixel = mix(*pixel, colour, (0.5 - outside).clamp(0.0, 1.0));
        }
    }
}
