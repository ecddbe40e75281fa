//! The sheet everything is painted on, and its way to bytes.

use super::Size;
use super::colour::{Rgb, mix, screen};
use super::noise::bits;

pub struct Canvas {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<Rgb>,
}

/// What happens to every pixel on its way to bytes.
pub struct Finish {
    /// Darkening of the corners, 0..1.
    pub vignette: f32,
    /// Strength of the film grain in 8-bit steps.
    pub grain: f32,
    pub saturation: f32,
    pub contrast: f32,
}

/// Three planes, colour at half resolution, BT.709 in limited range.
pub struct Planes {
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

impl Canvas {
    pub fn new(size: Size) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        Self {
            width,
            height,
            pixels: vec![[0.0; 3]; width * height],
        }
    }

    pub fn rows(&mut self) -> impl Iterator<Item = (usize, &mut [Rgb])> {
        self.pixels.chunks_exact_mut(self.width).enumerate()
    }

    /// The row `y`; empty outside.
    pub fn row(&mut self, y: i32) -> &mut [Rgb] {
        if y < 0 || y as usize >= self.height {
            return &mut [];
        }
        let start = y as usize * self.width;
        &mut self.pixels[start..start + self.width]
    }

    /// The shorter side: the unit of line widths and sprites.
    pub fn unit(&self) -> f32 {
        self.width.min(self.height) as f32
    }

    /// Lays light around a point; it fades to nothing at `radius`.
    pub fn glow(&mut self, x: f32, y: f32, radius: f32, light: Rgb, amount: f32) {
        let (top, bottom) = (
            (y - radius).max(0.0) as usize,
            (y + radius + 1.0).clamp(0.0, self.height as f32) as usize,
        );
        let (left, right) = (
            (x - radius).max(0.0) as usize,
            (x + radius + 1.0).clamp(0.0, self.width as f32) as usize,
        );
        let scale = 1.0 / (radius * radius);
        for row in top..bottom {
            let dy = row as f32 + 0.5 - y;
            let pixels = &mut self.pixels[row * self.width..][left.min(right)..right];
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let dx = (left + column) as f32 + 0.5 - x;
                let near = 1.0 - (dx * dx + dy * dy) * scale;
                if near > 0.0 {
                    *pixel = screen(*pixel, light, amount * near * near * near);
                }
            }
        }
    }

    /// A round dot with a soft edge of one pixel.
    pub fn dot(&mut self, x: f32, y: f32, radius: f32, colour: Rgb, alpha: f32) {
        let reach = radius + 1.0;
        let top = (y - reach).floor() as i32;
        let left = (x - reach).floor().max(0.0) as usize;
        for row in top..=(y + reach) as i32 {
            let dy = row as f32 + 0.5 - y;
            let right = ((x + reach).max(0.0) as usize + 1).min(self.width);
            if left >= right {
                return;
            }
            let Some(pixels) = self.row(row).get_mut(left..right) else {
                continue;
            };
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let dx = (left + column) as f32 + 0.5 - x;
                let cover = (radius + 0.5 - (dx * dx + dy * dy).sqrt()).clamp(0.0, 1.0);
                if cover > 0.0 {
                    *pixel = mix(*pixel, colour, cover * alpha);
                }
            }
        }
    }

    /// The colour at a point between pixels, edges repeated.
    #[inline]
    pub fn sample(&self, x: f32, y: f32) -> Rgb {
        let x = x.clamp(0.0, (self.width - 1) as f32);
        let y = y.clamp(0.0, (self.height - 1) as f32);
        let (left, top) = (x as usize, y as usize);
        let (tx, ty) = (x - left as f32, y - top as f32);
        let right = (left + 1).min(self.width - 1);
        let bottom = (top + 1).min(self.height - 1);
        let at = |x: usize, y: usize| self.pixels[y * self.width + x];
        mix(
            mix(at(left, top), at(right, top), tx),
            mix(at(left, bottom), at(right, bottom), tx),
            ty,
        )
    }

    /// Fills this canvas from a smaller one, smoothly.
    pub fn enlarge(&mut self, small: &Canvas, first_row: usize, end_row: usize) {
        let sx = small.width as f32 / self.width as f32;
        let sy = small.height as f32 / self.height as f32;
        let columns: Vec<(usize, usize, f32)> = (0..self.width)
            .map(|x| {
                let position = ((x as f32 + 0.5) * sx - 0.5).clamp(0.0, (small.width - 1) as f32);
                let left = position as usize;
                (
                    left,
                    (left + 1).min(small.width - 1),
                    position - left as f32,
                )
            })
            .collect();
        let mut line = vec![[0.0; 3]; small.width];
        for y in first_row..end_row.min(self.height) {
            let position = ((y as f32 + 0.5) * sy - 0.5).clamp(0.0, (small.height - 1) as f32);
            let top = position as usize;
            let bottom = (top + 1).min(small.height - 1);
            let t = position - top as f32;
            let upper = &small.pixels[top * small.width..][..small.width];
            let lower = &small.pixels[bottom * small.width..][..small.width];
            for ((to, a), b) in line.iter_mut().zip(upper).zip(lower) {
                *to = mix(*a, *b, t);
            }
            let row = &mut self.pixels[y * self.width..][..self.width];
            for (pixel, (left, right, t)) in row.iter_mut().zip(&columns) {
                *pixel = mix(line[*left], line[*right], *t);
            }
        }
    }

    /// 8-bit pixels. The noise in the last bit keeps gradients free of bands.
    pub fn bytes(&self, finish: &Finish) -> Vec<u8> {
        let mut bytes = vec![0; self.width * self.height * 3];
        let (cx, cy) = (self.width as f32 / 2.0, self.height as f32 / 2.0);
        let reach = 1.0 / (cx * cx + cy * cy);
        let plain = (finish.saturation - 1.0).abs() + (finish.contrast - 1.0).abs() < 0.001;
        for (y, (out, row)) in bytes
            .chunks_exact_mut(self.width * 3)
            .zip(self.pixels.chunks_exact(self.width))
            .enumerate()
        {
            let dy = y as f32 - cy;
            for (x, (out, pixel)) in out.chunks_exact_mut(3).zip(row).enumerate() {
                let dx = x as f32 - cx;
                let corner = (dx * dx + dy * dy) * reach;
                let shade = 1.0 - finish.vignette * corner * corner;
                let noise = bits(x as i32, y as i32, 77);
                // Two halves of one hash: dither in the low half, grain in the high one.
                let dither = (noise & 0xffff) as f32 / 65_536.0;
                let grain = ((noise >> 16) as f32 / 65_536.0 - 0.5) * finish.grain + dither;
                let mut colour = pixel.map(|c| c * shade);
                if !plain {
                    let grey = super::colour::luma(colour);
                    colour = colour.map(|c| {
                        ((grey + (c - grey) * finish.saturation) - 0.5) * finish.contrast + 0.5
                    });
                }
                for (to, c) in out.iter_mut().zip(colour) {
                    // The cast saturates, which is the clamp we want.
                    *to = (c * 255.0 + grain) as u8;
                }
            }
        }
        bytes
    }

    /// The planes of a film frame. The dither stands still in time, so that it costs the encoder nothing.
    pub fn planes(&self, finish: &Finish, planes: &mut Planes) {
        let (width, half) = (self.width, self.width / 2);
        let (cx, cy) = (self.width as f32 / 2.0, self.height as f32 / 2.0);
        let reach = 1.0 / (cx * cx + cy * cy);
        let (saturation, contrast) = (finish.saturation, finish.contrast);
        for (pair, (rows, luma)) in self
            .pixels
            .chunks_exact(width * 2)
            .zip(planes.y.chunks_exact_mut(width * 2))
            .enumerate()
        {
            let (upper, lower) = rows.split_at(width);
            let (luma_upper, luma_lower) = luma.split_at_mut(width);
            let us = &mut planes.u[pair * half..][..half];
            let vs = &mut planes.v[pair * half..][..half];
            let dy = (pair * 2) as f32 - cy;
            for x in 0..half {
                let dx = (x * 2) as f32 - cx;
                let corner = (dx * dx + dy * dy) * reach;
                let shade = 1.0 - finish.vignette * corner * corner;
                let mut sum = [0.0_f32; 3];
                let mut put = |pixel: Rgb, threshold: f32| {
                    let pixel = pixel.map(|c| (c * shade).clamp(0.0, 1.0));
                    for (sum, c) in sum.iter_mut().zip(pixel) {
                        *sum += c;
                    }
                    let grey = super::colour::luma(pixel);
                    (16.0 + 219.0 * ((grey - 0.5) * contrast + 0.5) + threshold) as u8
                };
                luma_upper[x * 2] = put(upper[x * 2], 0.125);
                luma_upper[x * 2 + 1] = put(upper[x * 2 + 1], 0.625);
                luma_lower[x * 2] = put(lower[x * 2], 0.875);
                luma_lower[x * 2 + 1] = put(lower[x * 2 + 1], 0.375);
                let grey = super::colour::luma(sum);
                let scale = 0.25 * 224.0 * saturation * contrast;
                us[x] = ((sum[2] - grey) / 1.8556 * scale + 128.5) as u8;
                vs[x] = ((sum[0] - grey) / 1.5748 * scale + 128.5) as u8;
            }
        }
    }
}

impl Planes {
    pub fn new(size: Size) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let quarter = (width / 2) * (height / 2);
        Self {
            y: vec![16; width * height],
            u: vec![128; quarter],
            v: vec![128; quarter],
        }
    }
}
