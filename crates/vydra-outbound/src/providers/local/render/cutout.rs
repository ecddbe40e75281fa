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
        let soft = blur(&self.cover, self.width, self.height, reach.max(1));
        let (sx, sy) = (
            (light.0 * reach as f32).round() as i32,
            (light.1 * reach as f32).round() as i32,
        );
        let (width, height) = (self.width as i32, self.height as i32);
        let at = |x: i32, y: i32| {
            if x < 0 || y < 0 || x >= width || y >= height {
                0.0
            } else {
                f32::from(soft[(y * width + x) as usize])
            }
        };
        for y in 0..height {
            for x in 0..width {
                let i = (y * width + x) as usize;
                if self.cover[i] > 0 {
                    let slope = at(x - sx, y - sy) - at(x + sx, y + sy);
                    self.tone[i] = (f32::from(self.tone[i]) + slope * strength) as u8;
                }
            }
        }
    }

    /// A thin line of light along the edges that face it.
    pub fn rim(&mut self, reach: f32, light: (f32, f32), gain: f32) {
        let (width, height) = (self.width as i32, self.height as i32);
        let (sx, sy) = (
            (light.0 * reach).round() as i32,
            (light.1 * reach).round() as i32,
        );
        for y in 0..height {
            for x in 0..width {
                let i = (y * width + x) as usize;
                if self.cover[i] == 0 {
                    continue;
                }
                let (ox, oy) = (x + sx, y + sy);
                let beyond = if ox < 0 || oy < 0 || ox >= width || oy >= height {
                    255
                } else {
                    self.cover[(oy * width + ox) as usize]
                };
                let open = 1.0 - f32::from(beyond) / 255.0;
                self.tone[i] = (f32::from(self.tone[i]) + open * gain) as u8;
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

    /// Upside down below its own foot, wavering as water does.
    pub fn mirror(&self, canvas: &mut Canvas, dx: f32, dy: f32, t: f32) {
        let foot = (self.top + dy).round() as i32 + self.height as i32;
        let unit = canvas.unit();
        for row in 0..self.height {
            let deep = row as f32 / self.height as f32;
            let waver = (row as f32 * 42.0 / unit.max(1.0) * (2.0 - deep) * 2.2 + t * 2.4).sin()
                * unit
                * 0.006
                * (0.3 + deep);
            let alpha = 0.5 * (1.0 - deep);
            self.lay_row(
                canvas.row(foot + row as i32),
                self.height - 1 - row,
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
