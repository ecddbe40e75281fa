//! Colours: gamma-encoded RGB for pixels, `OKLab` and `OKLCH` for every decision about colour.

/// Gamma-encoded sRGB, nominally 0..=1.
pub type Rgb = [f32; 3];

/// Lightness, chroma, hue in turns.
#[derive(Clone, Copy, Debug)]
pub struct Lch {
    pub l: f32,
    pub c: f32,
    pub h: f32,
}

pub fn hex(value: u32) -> Rgb {
    [16, 8, 0].map(|shift| f32::from((value >> shift) as u8) / 255.0)
}

fn linear(c: f32) -> f32 {
    if c <= 0.040_45 {
        c / 12.92
    } else {
        ((c + 0.055) / 1.055).powf(2.4)
    }
}

fn gamma(c: f32) -> f32 {
    if c <= 0.003_130_8 {
        c * 12.92
    } else {
        1.055 * c.powf(1.0 / 2.4) - 0.055
    }
}

pub fn lab(rgb: Rgb) -> [f32; 3] {
    let [r, g, b] = rgb.map(linear);
    let l = (0.412_221_47 * r + 0.536_332_54 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

fn unclamped(lab: [f32; 3]) -> Rgb {
    let [light, a, b] = lab;
    let l = (light + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (light - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (light - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
}

pub fn from_lab(lab: [f32; 3]) -> Rgb {
    unclamped(lab).map(|c| gamma(c.clamp(0.0, 1.0)))
}

pub fn lch(rgb: Rgb) -> Lch {
    let [l, a, b] = lab(rgb);
    Lch {
        l,
        c: a.hypot(b),
        h: (b.atan2(a) / std::f32::consts::TAU).rem_euclid(1.0),
    }
}

/// Chroma is lowered until the colour fits the gamut: clamping channels would shift the hue.
pub fn from_lch(colour: Lch) -> Rgb {
    let (sin, cos) = (colour.h * std::f32::consts::TAU).sin_cos();
    let mut chroma = colour.c;
    for _ in 0..24 {
        let rgb = unclamped([colour.l, chroma * cos, chroma * sin]);
        if rgb.iter().all(|c| (-0.002..=1.002).contains(c)) {
            return rgb.map(|c| gamma(c.clamp(0.0, 1.0)));
        }
        chroma *= 0.9;
    }
    from_lab([colour.l, 0.0, 0.0])
}

/// Blends in `OKLab`, so that the middle of two hues is no grey mud.
pub fn blend(a: Rgb, b: Rgb, t: f32) -> Rgb {
    let (a, b) = (lab(a), lab(b));
    from_lab([0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * t))
}

/// Cheap per-pixel blend of near colours.
#[inline]
pub fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    [
        a[0] + (b[0] - a[0]) * t,
        a[1] + (b[1] - a[1]) * t,
        a[2] + (b[2] - a[2]) * t,
    ]
}

/// Adds light the way a screen does: never beyond white.
#[inline]
pub fn screen(a: Rgb, light: Rgb, amount: f32) -> Rgb {
    [
        a[0] + (1.0 - a[0]) * light[0] * amount,
        a[1] + (1.0 - a[1]) * light[1] * amount,
        a[2] + (1.0 - a[2]) * light[2] * amount,
    ]
}

/// `count` colours through evenly spaced stops, smooth at the stops.
pub fn ramp(stops: &[Rgb], count: usize) -> Vec<Rgb> {
    let stops: Vec<[f32; 3]> = stops.iter().map(|stop| lab(*stop)).collect();
    let last = stops.len().saturating_sub(1);
    let at = |i: usize| stops.get(i.min(last)).copied().unwrap_or_default();
    (0..count)
        .map(|i| {
            let position = i as f32 / (count.max(2) - 1) as f32 * last as f32;
            let left = (position as usize).min(last.saturating_sub(1));
            let t = position - left as f32;
            let (p0, p1, p2, p3) = (
                at(left.saturating_sub(1)),
                at(left),
                at(left + 1),
                at(left + 2),
            );
            from_lab([0, 1, 2].map(|k| {
                // Catmull-Rom with half the usual tangents: smooth, without overshoot one would see.
                let (m1, m2) = ((p2[k] - p0[k]) * 0.33, (p3[k] - p1[k]) * 0.33);
                let (t2, t3) = (t * t, t * t * t);
                (2.0 * t3 - 3.0 * t2 + 1.0) * p1[k]
                    + (t3 - 2.0 * t2 + t) * m1
                    + (3.0 * t2 - 2.0 * t3) * p2[k]
                    + (t3 - t2) * m2
            }))
        })
        .collect()
}

pub fn luma(c: Rgb) -> f32 {
    0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]
}

pub fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lch_is_a_round_trip() {
        for value in [0xff_0000, 0x33_9966, 0x10_1828, 0xff_e9c7] {
            let rgb = hex(value);
            let back = from_lch(lch(rgb));
            assert!(
                rgb.iter().zip(back).all(|(a, b)| (a - b).abs() < 0.01),
                "{value:x}: {back:?}"
            );
        }
    }

    #[test]
    fn a_ramp_starts_and_ends_with_its_stops() {
        let stops = [hex(0x10_2030), hex(0xc0_5070), hex(0xff_e0a0)];
        let ramp = ramp(&stops, 64);
        assert!((ramp[0][0] - stops[0][0]).abs() < 0.01);
        assert!((ramp[63][2] - stops[2][2]).abs() < 0.01);
    }
}
