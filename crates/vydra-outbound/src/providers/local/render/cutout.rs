//! A layer cut out of paper: coverage, a tone for every pixel, and the colours the tones stand for.

use super::canvas::Canvas;
use super::colour::{Rgb, mix};

pub struct Cutout {
    pub left: f32,
    pub top: f32,
    pub width: usize,
    pub height: usize,
    pub cover: Vec<u8>,
    pub tone: Vec<u8>,
    /// 256 colours, one a tone.
    pub ramp: Vec<Rgb>,
    /// Mist in front of the layer, one amount a row from the top; empty means none.
    pub mist: Vec<f32>,
    pub mist_colour: Rgb,
    /// How strongly the layer follows the camera: 0 is the horizon.
    pub depth: f32,
}

impl Cutout {
    pub fn new(width: usize, height: usize, cover: Vec<u8>) -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            width,
            height,
            tone: vec![128; cover.len()],
            cover,
            ramp: vec![[0.0; 3]; 256],
            mist: Vec::new(),
            mist_colour: [0.0; 3],
            depth: 0.0,
        }
    }

    /// Light from `(dx, dy)`: the outline is brightened where it faces the light and darkened where it turns away.
    pub fn relief(&mut self, reach: usize, light: (f32, f32), strength: f32) {
        // Soft things need no full resolution.
        let step = if reach >= 6 { 3 } else { 1 };
        let (width, height) = (self.width.div_ceil(step), self.height.div_ceil(step));
        let small: Vec<u8> = (0..height)
            .flat_map(|y| {
                self.cover[y * step * self.width..][..self.width]
                    .iter()
                    .step_by(step)
            })
            .copied()
            .collect();
        let soft = blur(&small, width, height, (reach / step).max(1));
        let (sx, sy) = (
            (light.0 * reach as f32 / step as f32).round() as i32,
            (light.1 * reach as f32 / step as f32).round() as i32,
        );
        let at = |x: i32, y: i32| {
            if x < 0 || y < 0 || x >= width as i32 || y >= height as i32 {
                0.0
            } else {
                f32::from(soft[y as usize * width + x as usize])
            }
        };
        let slopes: Vec<f32> = (0..height as i32)
            .flat_map(|y| (0..width as i32).map(move |x| (x, y)))
            .map(|(x, y)| at(x - sx, y - sy) - at(x + sx, y + sy))
            .collect();
        let last = (width - 1, height - 1);
        for y in 0..self.height {
            let row = (y / step).min(last.1);
            let (below, ty) = ((row + 1).min(last.1), (y % step) as f32 / step as f32);
            for x in 0..self.width {
                let i = y * self.width + x;
                if self.cover[i] > 0 {
                    let column = (x / step).min(last.0);
                    let (right, tx) = ((column + 1).min(last.0), (x % step) as f32 / step as f32);
                    let blend = |row: usize| {
                        let (a, b) = (slopes[row * width + column], slopes[row * width + right]);
                        a + (b - a) * tx
                    };
                    let (upper, lower) = (blend(row), blend(below));
                    let slope = upper + (lower - upper) * ty;
                    self.tone[i] = (f32::from(self.tone[i]) + slope * strength) as u8;
                }
            }
        }
    }

    /// A thin line of light along the edges that face it.
    pub fn rim(&mut self, reach: f32, light: (f32, f32), gain: f32) {
        let (sx, sy) = (
            (light.0 * reach).round() as isize,
            (light.1 * reach).round() as isize,
        );
        let width = self.width;
        // Columns whose counterpart lies inside; outside of the box nothing is known to be open.
        let start = sx.unsigned_abs().min(width) * usize::from(sx < 0);
        let end = width.saturating_sub(sx.max(0).unsigned_abs());
        for y in 0..self.height {
            let Some(other) = y.checked_add_signed(sy).filter(|row| *row < self.height) else {
                continue;
            };
            let Some(shift) = start.checked_add_signed(sx).filter(|_| start < end) else {
                continue;
            };
            let cover = &self.cover[y * width..][start..end];
            let beyond = &self.cover[other * width + shift..][..end - start];
            let tones = &mut self.tone[y * width..][start..end];
            for ((tone, cover), beyond) in tones.iter_mut().zip(cover).zip(beyond) {
                if *cover > 0 && *beyond < 255 {
                    let open = 1.0 - f32::from(*beyond) / 255.0;
                    *tone = (f32::from(*tone) + open * gain) as u8;
                }
            }
        }
    }

    pub fn paint(&self, canvas: &mut Canvas, dx: f32, dy: f32) {
        self.lay(canvas, dx, dy, 1.0);
    }

    pub fn lay(&self, canvas: &mut Canvas, dx: f32, dy: f32, alpha: f32) {
        let top = (self.top + dy).round() as i32;
        let mut misty = self.ramp.clone();
        for row in 0..self.height {
            if let Some(mist) = self.mist.get(row) {
                for (to, from) in misty.iter_mut().zip(&self.ramp) {
                    *to = mix(*from, self.mist_colour, *mist);
                }
            }
            let pixels = canvas.row(top + row as i32);
            self.lay_row(pixels, row, self.left + dx, alpha, &misty);
        }
    }

    /// The foot stands still and the head moves by `sway`, as a stem in the wind does.
    pub fn bend(&self, canvas: &mut Canvas, sway: f32) {
        let bottom = canvas.height as f32;
        let tall = (bottom - self.top).max(1.0);
        for row in 0..self.height {
            let y = self.top + row as f32;
            let rise = ((bottom - y) / tall).clamp(0.0, 1.0);
            let pixels = canvas.row(y as i32);
            self.lay_row(pixels, row, self.left + sway * rise * rise, 1.0, &self.ramp);
        }
    }

    /// Upside down below the row `foot`, wavering as water does.
    pub fn mirror(&self, canvas: &mut Canvas, foot: f32, dx: f32, t: f32) {
        let line = foot.round() as i32;
        let unit = canvas.unit();
        let whole = (foot - self.top).max(1.0);
        for row in 0..self.height {
            let up = whole - row as f32;
            if up < 0.0 {
                break;
            }
            let deep = (up / (unit * 0.34)).min(1.0);
            let waver = (up * 90.0 / unit.max(1.0) * (1.6 - deep) + t * 2.4).sin()
                * unit
                * 0.006
                * (0.3 + deep);
            let alpha = 0.5 * (1.0 - deep);
            self.lay_row(
                canvas.row(line + up as i32),
                row,
                self.left + dx + waver,
                alpha,
                &self.ramp,
            );
        }
    }

    fn lay_row(&self, pixels: &mut [Rgb], row: usize, left: f32, alpha: f32, ramp: &[Rgb]) {
        let whole = left.floor();
        // Steps of a sixteenth: finer ones are invisible, and a still layer takes the short way.
        let part = ((left - whole) * 16.0).round() / 16.0;
        let start = whole as i32;
        let skip = (-start).max(0) as usize;
        let at = start.max(0) as usize;
        let Some(pixels) = pixels.get_mut(at..) else {
            return;
        };
        let cover = &self.cover[row * self.width..][..self.width];
        let tone = &self.tone[row * self.width..][..self.width];
        let (Some(cover), Some(tone)) = (cover.get(skip..), tone.get(skip..)) else {
            return;
        };
        let Ok(ramp) = <&[Rgb; 256]>::try_from(ramp) else {
            return;
        };
        let scale = alpha / 255.0;
        if part == 0.0 {
            for ((pixel, cover), tone) in pixels.iter_mut().zip(cover).zip(tone) {
                match *cover {
                    0 => {}
                    255 if alpha >= 1.0 => *pixel = ramp[usize::from(*tone)],
                    cover => {
                        *pixel = mix(*pixel, ramp[usize::from(*tone)], f32::from(cover) * scale);
                    }
                }
            }
            return;
        }
        let mut before = (0_u8, tone.first().copied().unwrap_or(0));
        if skip > 0 {
            before = (
                self.cover[row * self.width + skip - 1],
                self.tone[row * self.width + skip - 1],
            );
        }
        for ((pixel, cover), tone) in pixels.iter_mut().zip(cover).zip(tone) {
            let (old, old_tone) = before;
            before = (*cover, *tone);
            if old | *cover == 0 {
                continue;
            }
            let mixed = f32::from(*cover) + (f32::from(old) - f32::from(*cover)) * part;
            let colour = if old_tone == *tone {
                ramp[usize::from(*tone)]
            } else {
                mix(ramp[usize::from(*tone)], ramp[usize::from(old_tone)], part)
            };
            let amount = mixed * scale;
            *pixel = if amount >= 0.999 {
                colour
            } else {
                mix(*pixel, colour, amount)
            };
        }
    }
}

/// Two passes of a box each way: near enough to a Gaussian.
fn blur(cover: &[u8], width: usize, height: usize, radius: usize) -> Vec<u8> {
    let mut image = cover.to_vec();
    let mut line = Vec::new();
    for _ in 0..2 {
        for y in 0..height {
            slide(&mut image[y * width..][..width], 1, radius, &mut line);
        }
        for x in 0..width {
            slide(&mut image[x..], width, radius, &mut line);
        }
    }
    image
}

fn slide(cells: &mut [u8], stride: usize, radius: usize, line: &mut Vec<u8>) {
    line.clear();
    line.extend(cells.iter().step_by(stride));
    let mut sum: u32 = line.iter().take(radius).map(|c| u32::from(*c)).sum();
    let span = (radius * 2 + 1) as u32;
    for (i, cell) in cells.iter_mut().step_by(stride).enumerate() {
        sum += line.get(i + radius).map_or(0, |c| u32::from(*c));
        *cell = (sum / span) as u8;
        if i >= radius {
            sum -= u32::from(line[i - radius]);
        }
    }
}
