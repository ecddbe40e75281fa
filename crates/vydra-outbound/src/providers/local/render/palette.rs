//! Colours that go together: hand-picked sets, bent towards the colours a prompt names.

use super::brief::{Brief, Hour, Place, Trait};
use super::colour::{Lch, Rgb, blend, from_lch, hex, lch, ramp};
use super::noise::Rng;

#[derive(Clone)]
pub struct Palette {
    /// From the top of the sky to the horizon.
    pub sky: [Rgb; 5],
    /// What distance fades into.
    pub haze: Rgb,
    /// The nearest and darkest.
    pub ink: Rgb,
    /// Colour of the land in full light.
    pub land: Rgb,
    pub sun: Rgb,
    pub cloud_lit: Rgb,
    pub cloud_shade: Rgb,
    /// For flowers, sails, windows, planets, shapes.
    pub accents: [Rgb; 5],
    /// 0 in daylight, 1 in deep night: stars and lit windows.
    pub dark: f32,
}

/// Sky ×5, haze, ink, land, sun, lit cloud, shaded cloud, accents ×5.
type Set = [u32; 16];

const SUNSET: [Set; 5] = [
    [0x1f2a52, 0x5a3b76, 0xc1507a, 0xf5855b, 0xffd08a, 0xeb9b7c, 0x1a1230, 0x6b3a5e, 0xfff0c2, 0xffb48c, 0x6d4479, 0xffd166, 0xef476f, 0xf78c6b, 0x9b5de5, 0x2ec4b6],
    [0x2b4a7c, 0x6f80ad, 0xd9a6a4, 0xf9c784, 0xffe9ad, 0xf0bd93, 0x23203a, 0x7a5a5c, 0xfff6d8, 0xffd7ae, 0x8b7a9e, 0xf6bd60, 0xf28482, 0x84a59d, 0xf7ede2, 0x5b8e9c],
    [0x2a1252, 0x5f1d78, 0xc2397f, 0xff6f61, 0xffc56e, 0xe8737a, 0x150a28, 0x5a2a62, 0xffe7a8, 0xff9a86, 0x5c2b70, 0xffbe0b, 0xfb5607, 0xff006e, 0x8338ec, 0x3a86ff],
    [0x10374f, 0x2d6473, 0x8a9c8b, 0xf0b26b, 0xffdc94, 0xd9a878, 0x0e1f2b, 0x47605a, 0xfff1c4, 0xf6c892, 0x56707a, 0xee9b00, 0xca6702, 0xbb3e03, 0x94d2bd, 0xe9d8a6],
    [0x3a2a5e, 0x7a4b8a, 0xd47f9a, 0xf7b5a0, 0xffe2c2, 0xe6a8a8, 0x241a3c, 0x7d5878, 0xfff4dc, 0xffcfc0, 0x8a6596, 0xffafcc, 0xcdb4db, 0xa2d2ff, 0xffc8dd, 0xf4a261],
];
const DAWN: [Set; 3] = [
    [0x5677b4, 0x98add6, 0xe8c3d0, 0xffdfc4, 0xfff2da, 0xdcc3cf, 0x2c3a5c, 0x6f7d96, 0xfff4d8, 0xffeadb, 0x9aa3c6, 0xffb5a7, 0xfcd5ce, 0x9bb1ff, 0xf8edeb, 0xf9dcc4],
    [0x3f6d8e, 0x7fb0bd, 0xc9dbc8, 0xfbe3b5, 0xfff3d3, 0xc5d3c4, 0x1e3a46, 0x5f8580, 0xfff7da, 0xfff0d4, 0x8fb0b4, 0xf4d58d, 0xbf4342, 0x8fc0a9, 0xfaf3dd, 0x68b0ab],
    [0x584a86, 0x9a7fb5, 0xeba7b8, 0xffcfb3, 0xffeccf, 0xd8adba, 0x2d2448, 0x7b688c, 0xfff0d4, 0xffdccf, 0x8f7bb0, 0xffc6ff, 0xbdb2ff, 0xfdffb6, 0xffadad, 0xa0c4ff],
];
const DAY: [Set; 4] = [
    [0x2474c8, 0x569fe0, 0x93c7ee, 0xcde6f5, 0xf1f6ef, 0xbcd7e6, 0x17403f, 0x5f9a5f, 0xfffbe6, 0xffffff, 0xa9bfd6, 0xe63946, 0xf1faee, 0xffb703, 0xfb8500, 0x219ebc],
    [0x1b6f9b, 0x48a3bd, 0x8dcdd0, 0xcdeae0, 0xf7f4e0, 0xb9dbd6, 0x123c45, 0x5b9e84, 0xfff8dc, 0xfffdf4, 0x9cc0c8, 0xff9f1c, 0xffbf69, 0xffffff, 0xcbf3f0, 0x2ec4b6],
    [0x3d6db5, 0x7a9fd6, 0xb4c9ea, 0xe3e3ee, 0xfcf0e0, 0xc7cfe2, 0x27365a, 0x78956a, 0xfff6e0, 0xfffaf4, 0xaab6d6, 0xe76f51, 0xf4a261, 0xe9c46a, 0x2a9d8f, 0x264653],
    [0x2f5d8c, 0x6d9cc0, 0xaecbd8, 0xe2e6d8, 0xfaf1d4, 0xc9d3cc, 0x213a34, 0x829b58, 0xfff4d0, 0xfffbef, 0xa5b5c0, 0xd62828, 0xf77f00, 0xfcbf49, 0xeae2b7, 0x588157],
];
const NIGHT: [Set; 4] = [
    [0x060a1e, 0x0c1737, 0x182a59, 0x2d4779, 0x56719f, 0x3a5382, 0x04060f, 0x1c2b4c, 0xf6f0da, 0x5c759f, 0x16223f, 0xffd27a, 0xffb35c, 0x8ecae6, 0xf4f1de, 0xe07a5f],
    [0x04111d, 0x082539, 0x103f52, 0x205f68, 0x5d9a8f, 0x2f6a70, 0x030a10, 0x153640, 0xf2f5dc, 0x5f9a98, 0x0d2b38, 0xffd27a, 0xf2cc8f, 0x80ed99, 0xc7f9cc, 0x57cc99],
    [0x0c0820, 0x1c1040, 0x381d66, 0x643488, 0xa65f9c, 0x63407f, 0x06040f, 0x2c1c48, 0xffeede, 0x8f5f9c, 0x1e1438, 0xffc971, 0xff9b54, 0xce4257, 0xb79ced, 0xffe0f0],
    [0x0a1020, 0x141f36, 0x2a3854, 0x4c5a74, 0x8c8f98, 0x535f78, 0x06080e, 0x262f42, 0xfff2d6, 0x7d8698, 0x1c2436, 0xffcf70, 0xffe8b0, 0xa8c0e0, 0xf2b880, 0xd8dee9],
];
const NEON: [Set; 3] = [
    [0x0a0420, 0x24094a, 0x5f1080, 0xc01f8f, 0xff6f91, 0x8a2a90, 0x05020e, 0x2a1060, 0xffe3a0, 0xd64fb0, 0x2a0e58, 0x00f5d4, 0xfee440, 0xf15bb5, 0x9b5de5, 0x00bbf9],
    [0x030d1f, 0x06264a, 0x0a4f7d, 0x1893a8, 0x63f0d0, 0x1f6f8c, 0x02060e, 0x0c3058, 0xff9ad5, 0x3fb5c0, 0x08264a, 0xff2e88, 0x08f7fe, 0xf5d300, 0x09fbd3, 0xb76cfd],
    [0x0b0221, 0x2b0a4e, 0x7a1585, 0xf0307f, 0xffb25c, 0xa0307f, 0x07010f, 0x32104e, 0xffd97a, 0xff6a8f, 0x3a0e5a, 0xff2079, 0x440bd4, 0x04005e, 0x00f0ff, 0xffe700],
];
const WINTER: [Set; 2] = [
    [0x7299c6, 0xa0bfdd, 0xcfdded, 0xebeef4, 0xfdf3e8, 0xd5e0ec, 0x2c435f, 0xc9d7e6, 0xfff5e0, 0xffffff, 0xb4c4da, 0xd90429, 0xedf2f4, 0x8d99ae, 0x3d5a80, 0xee6c4d],
    [0x4f5f95, 0x8f8fc0, 0xcdb2d0, 0xf5cfc9, 0xffead8, 0xd3c0d8, 0x2a2c50, 0xb9bddb, 0xfff1d8, 0xffeeea, 0xa7a3cb, 0xef8354, 0xbfc0c0, 0x4f5d75, 0xffffff, 0x7d9fc0],
];
const STORM: [Set; 2] = [
    [0x232b38, 0x3d4858, 0x65717d, 0x98a09f, 0xcfc9b4, 0x7d868a, 0x10151c, 0x4a5450, 0xf6edcf, 0xb4b8b4, 0x353e4b, 0xe0a458, 0xc9ada7, 0x9a8c98, 0xf2e9e4, 0x4a4e69],
    [0x1c2634, 0x34495a, 0x5f7d86, 0x9db0a6, 0xe2dcae, 0x76918f, 0x0c141c, 0x3f5a55, 0xfaf3c8, 0xb8c4b4, 0x2c3b4a, 0xf2cc8f, 0x81b29a, 0xe07a5f, 0xf4f1de, 0x3d405b],
];

impl Palette {
    pub fn of(brief: &Brief) -> Self {
        let mut rng = brief.rng(7);
        let mut set = Self::from_set(choose(brief, &mut rng));
        set.dark = match (brief.hour, brief.has(Trait::Neon)) {
            (Hour::Night, _) => 1.0,
            (_, true) => 0.8,
            (Hour::Sunset, _) => 0.25,
            (Hour::Dawn, _) => 0.12,
            (Hour::Day, _) => 0.0,
        };
        if brief.colours.is_empty() {
            // A few degrees off, so that two seeds with one set still differ.
            let turn = rng.range(-0.018, 0.018);
            set.each(|c| Lch { h: c.h + turn, ..c });
        } else {
            set.lean(&brief.colours);
        }
        set.season(brief);
        set
    }

    fn from_set(set: &Set) -> Self {
        let at = |i: usize| hex(set[i]);
        Self {
            sky: [at(0), at(1), at(2), at(3), at(4)],
            haze: at(5),
            ink: at(6),
            land: at(7),
            sun: at(8),
            cloud_lit: at(9),
            cloud_shade: at(10),
            accents: [at(11), at(12), at(13), at(14), at(15)],
            dark: 0.0,
        }
    }

    fn each(&mut self, change: impl Fn(Lch) -> Lch) {
        let all = self.sky.iter_mut().chain(&mut self.accents).chain([
            &mut self.haze,
            &mut self.ink,
            &mut self.land,
            &mut self.sun,
            &mut self.cloud_lit,
            &mut self.cloud_shade,
        ]);
        for colour in all {
            *colour = from_lch(change(lch(*colour)));
        }
    }

    /// Pulls every hue near the wanted ones; what differed before still differs a little, or all would be one flat tint.
    fn lean(&mut self, wanted: &[Lch]) {
        let Some(main) = wanted.first().copied() else {
            return;
        };
        let second = wanted.get(1).copied().unwrap_or(main);
        let centre = lch(self.sky[2]).h;
        let pull = |colour: Rgb, to: Lch, rest: f32| {
            let from = lch(colour);
            let off = (from.h - centre + 0.5).rem_euclid(1.0) - 0.5;
            if to.c < 0.02 {
                // Grey, white and black quieten instead of tinting.
                let l = from.l + (to.l - from.l) * 0.28;
                return from_lch(Lch {
                    l,
                    c: from.c * 0.22,
                    h: from.h,
                });
            }
            let chroma = (from.c * 0.35 + to.c * 0.62 * (1.0 - (from.l - 0.6).abs())).max(0.03);
            from_lch(Lch {
                l: from.l + (to.l - 0.62) * 0.12,
                c: chroma,
                h: to.h + off.clamp(-0.18, 0.18) * rest,
            })
        };
        for (i, colour) in self.sky.iter_mut().enumerate() {
            let to = if i < 3 { main } else { second };
            *colour = pull(*colour, to, 0.3);
        }
        self.haze = pull(self.haze, second, 0.25);
        self.ink = pull(self.ink, main, 0.25);
        self.land = pull(self.land, main, 0.3);
        self.cloud_lit = pull(self.cloud_lit, second, 0.3);
        self.cloud_shade = pull(self.cloud_shade, main, 0.3);
        let tint = pull(self.sun, second, 0.3);
        self.sun = blend(self.sun, tint, 0.35);
        for (i, colour) in self.accents.iter_mut().enumerate() {
            *colour = pull(*colour, wanted[i % wanted.len()], 0.5);
        }
    }

    fn season(&mut self, brief: &Brief) {
        let has = |wanted| brief.has(wanted);
        if has(Trait::Autumn) {
            self.land = blend(self.land, hex(0xb5_5a1e), 0.7);
            self.haze = blend(self.haze, hex(0xe8_a860), 0.3);
            self.accents = [0xd6_5a1f, 0xf0_a030, 0xb0_3020, 0xf2_c14e, 0x8a_5a2b].map(hex);
        }
        if has(Trait::Spring) {
            self.land = blend(self.land, hex(0xf2_a8c0), 0.45);
            self.accents = [0xff_b7ce, 0xff_d9e5, 0xf7_8fb3, 0xfd_f0d5, 0xa8_d5a2].map(hex);
        }
        let (chroma, light) = if has(Trait::Pastel) {
            (0.72, 0.3)
        } else if has(Trait::Vivid) {
            (1.35, 0.0)
        } else if has(Trait::Fog) {
            (0.75, 0.1)
        } else {
            (1.0, 0.0)
        };
        if chroma != 1.0 || light != 0.0 {
            self.each(|c| Lch {
                l: c.l + (0.9 - c.l).max(0.0) * light,
                c: c.c * chroma,
                h: c.h,
            });
        }
    }

    /// 256 colours from the palette's darks to its lights, for regrading a photograph.
    pub fn grade(&self) -> Vec<Rgb> {
        let deep = blend(self.ink, self.sky[0], 0.4);
        let middle = blend(self.haze, self.land, 0.4);
        let bright = blend(self.sun, [1.0; 3], 0.35);
        // Only hue and chroma are wanted: lightness stays the photograph's own.
        ramp(&[deep, self.sky[1], middle, self.cloud_lit, bright], 256)
            .into_iter()
            .enumerate()
            .map(|(i, colour)| {
                let l = lch([i as f32 / 255.0; 3]).l;
                from_lch(Lch { l, ..lch(colour) })
            })
            .collect()
    }
}

fn choose<'a>(brief: &Brief, rng: &mut Rng) -> &'a Set {
    let sets: &[Set] = if brief.has(Trait::Neon) {
        &NEON
    } else if brief.has(Trait::Storm) && brief.hour != Hour::Sunset {
        &STORM
    } else if brief.has(Trait::Snow) && matches!(brief.hour, Hour::Day | Hour::Dawn) {
        &WINTER
    } else {
        match (brief.hour, brief.place) {
            (_, Place::Cosmos) => &NIGHT[..3],
            (Hour::Dawn, _) => &DAWN,
            (Hour::Day, _) => &DAY,
            (Hour::Sunset, _) => &SUNSET,
            (Hour::Night, _) => &NIGHT,
        }
    };
    &sets[rng.below(sets.len())]
}
