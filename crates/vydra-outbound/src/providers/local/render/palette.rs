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
    [
        0x1f_2a52, 0x5a_3b76, 0xc1_507a, 0xf5_855b, 0xff_d08a, 0xeb_9b7c, 0x1a_1230, 0x6b_3a5e,
        0xff_f0c2, 0xff_b48c, 0x6d_4479, 0xff_d166, 0xef_476f, 0xf7_8c6b, 0x9b_5de5, 0x2e_c4b6,
    ],
    [
        0x2b_4a7c, 0x6f_80ad, 0xd9_a6a4, 0xf9_c784, 0xff_e9ad, 0xf0_bd93, 0x23_203a, 0x7a_5a5c,
        0xff_f6d8, 0xff_d7ae, 0x8b_7a9e, 0xf6_bd60, 0xf2_8482, 0x84_a59d, 0xf7_ede2, 0x5b_8e9c,
    ],
    [
        0x2a_1252, 0x5f_1d78, 0xc2_397f, 0xff_6f61, 0xff_c56e, 0xe8_737a, 0x15_0a28, 0x5a_2a62,
        0xff_e7a8, 0xff_9a86, 0x5c_2b70, 0xff_be0b, 0xfb_5607, 0xff_006e, 0x83_38ec, 0x3a_86ff,
    ],
    [
        0x10_374f, 0x2d_6473, 0x8a_9c8b, 0xf0_b26b, 0xff_dc94, 0xd9_a878, 0x0e_1f2b, 0x47_605a,
        0xff_f1c4, 0xf6_c892, 0x56_707a, 0xee_9b00, 0xca_6702, 0xbb_3e03, 0x94_d2bd, 0xe9_d8a6,
    ],
    [
        0x3a_2a5e, 0x7a_4b8a, 0xd4_7f9a, 0xf7_b5a0, 0xff_e2c2, 0xe6_a8a8, 0x24_1a3c, 0x7d_5878,
        0xff_f4dc, 0xff_cfc0, 0x8a_6596, 0xff_afcc, 0xcd_b4db, 0xa2_d2ff, 0xff_c8dd, 0xf4_a261,
    ],
];
const DAWN: [Set; 3] = [
    [
        0x56_77b4, 0x98_add6, 0xe8_c3d0, 0xff_dfc4, 0xff_f2da, 0xdc_c3cf, 0x2c_3a5c, 0x6f_7d96,
        0xff_f4d8, 0xff_eadb, 0x9a_a3c6, 0xff_b5a7, 0xfc_d5ce, 0x9b_b1ff, 0xf8_edeb, 0xf9_dcc4,
    ],
    [
        0x3f_6d8e, 0x7f_b0bd, 0xc9_dbc8, 0xfb_e3b5, 0xff_f3d3, 0xc5_d3c4, 0x1e_3a46, 0x5f_8580,
        0xff_f7da, 0xff_f0d4, 0x8f_b0b4, 0xf4_d58d, 0xbf_4342, 0x8f_c0a9, 0xfa_f3dd, 0x68_b0ab,
    ],
    [
        0x58_4a86, 0x9a_7fb5, 0xeb_a7b8, 0xff_cfb3, 0xff_eccf, 0xd8_adba, 0x2d_2448, 0x7b_688c,
        0xff_f0d4, 0xff_dccf, 0x8f_7bb0, 0xff_c6ff, 0xbd_b2ff, 0xfd_ffb6, 0xff_adad, 0xa0_c4ff,
    ],
];
const DAY: [Set; 4] = [
    [
        0x24_74c8, 0x56_9fe0, 0x93_c7ee, 0xcd_e6f5, 0xf1_f6ef, 0xbc_d7e6, 0x17_403f, 0x5f_9a5f,
        0xff_fbe6, 0xff_ffff, 0xa9_bfd6, 0xe6_3946, 0xf1_faee, 0xff_b703, 0xfb_8500, 0x21_9ebc,
    ],
    [
        0x1b_6f9b, 0x48_a3bd, 0x8d_cdd0, 0xcd_eae0, 0xf7_f4e0, 0xb9_dbd6, 0x12_3c45, 0x5b_9e84,
        0xff_f8dc, 0xff_fdf4, 0x9c_c0c8, 0xff_9f1c, 0xff_bf69, 0xff_ffff, 0xcb_f3f0, 0x2e_c4b6,
    ],
    [
        0x3d_6db5, 0x7a_9fd6, 0xb4_c9ea, 0xe3_e3ee, 0xfc_f0e0, 0xc7_cfe2, 0x27_365a, 0x78_956a,
        0xff_f6e0, 0xff_faf4, 0xaa_b6d6, 0xe7_6f51, 0xf4_a261, 0xe9_c46a, 0x2a_9d8f, 0x26_4653,
    ],
    [
        0x2f_5d8c, 0x6d_9cc0, 0xae_cbd8, 0xe2_e6d8, 0xfa_f1d4, 0xc9_d3cc, 0x21_3a34, 0x82_9b58,
        0xff_f4d0, 0xff_fbef, 0xa5_b5c0, 0xd6_2828, 0xf7_7f00, 0xfc_bf49, 0xea_e2b7, 0x58_8157,
    ],
];
const NIGHT: [Set; 4] = [
    [
        0x06_0a1e, 0x0c_1737, 0x18_2a59, 0x2d_4779, 0x56_719f, 0x3a_5382, 0x04_060f, 0x1c_2b4c,
        0xf6_f0da, 0x5c_759f, 0x16_223f, 0xff_d27a, 0xff_b35c, 0x8e_cae6, 0xf4_f1de, 0xe0_7a5f,
    ],
    [
        0x04_111d, 0x08_2539, 0x10_3f52, 0x20_5f68, 0x5d_9a8f, 0x2f_6a70, 0x03_0a10, 0x15_3640,
        0xf2_f5dc, 0x5f_9a98, 0x0d_2b38, 0xff_d27a, 0xf2_cc8f, 0x80_ed99, 0xc7_f9cc, 0x57_cc99,
    ],
    [
        0x0c_0820, 0x1c_1040, 0x38_1d66, 0x64_3488, 0xa6_5f9c, 0x63_407f, 0x06_040f, 0x2c_1c48,
        0xff_eede, 0x8f_5f9c, 0x1e_1438, 0xff_c971, 0xff_9b54, 0xce_4257, 0xb7_9ced, 0xff_e0f0,
    ],
    [
        0x0a_1020, 0x14_1f36, 0x2a_3854, 0x4c_5a74, 0x8c_8f98, 0x53_5f78, 0x06_080e, 0x26_2f42,
        0xff_f2d6, 0x7d_8698, 0x1c_2436, 0xff_cf70, 0xff_e8b0, 0xa8_c0e0, 0xf2_b880, 0xd8_dee9,
    ],
];
const NEON: [Set; 3] = [
    [
        0x0a_0420, 0x24_094a, 0x5f_1080, 0xc0_1f8f, 0xff_6f91, 0x8a_2a90, 0x05_020e, 0x2a_1060,
        0xff_e3a0, 0xd6_4fb0, 0x2a_0e58, 0x00_f5d4, 0xfe_e440, 0xf1_5bb5, 0x9b_5de5, 0x00_bbf9,
    ],
    [
        0x03_0d1f, 0x06_264a, 0x0a_4f7d, 0x18_93a8, 0x63_f0d0, 0x1f_6f8c, 0x02_060e, 0x0c_3058,
        0xff_9ad5, 0x3f_b5c0, 0x08_264a, 0xff_2e88, 0x08_f7fe, 0xf5_d300, 0x09_fbd3, 0xb7_6cfd,
    ],
    [
        0x0b_0221, 0x2b_0a4e, 0x7a_1585, 0xf0_307f, 0xff_b25c, 0xa0_307f, 0x07_010f, 0x32_104e,
        0xff_d97a, 0xff_6a8f, 0x3a_0e5a, 0xff_2079, 0x44_0bd4, 0x04_005e, 0x00_f0ff, 0xff_e700,
    ],
];
const WINTER: [Set; 2] = [
    [
        0x72_99c6, 0xa0_bfdd, 0xcf_dded, 0xeb_eef4, 0xfd_f3e8, 0xd5_e0ec, 0x2c_435f, 0xc9_d7e6,
        0xff_f5e0, 0xff_ffff, 0xb4_c4da, 0xd9_0429, 0xed_f2f4, 0x8d_99ae, 0x3d_5a80, 0xee_6c4d,
    ],
    [
        0x4f_5f95, 0x8f_8fc0, 0xcd_b2d0, 0xf5_cfc9, 0xff_ead8, 0xd3_c0d8, 0x2a_2c50, 0xb9_bddb,
        0xff_f1d8, 0xff_eeea, 0xa7_a3cb, 0xef_8354, 0xbf_c0c0, 0x4f_5d75, 0xff_ffff, 0x7d_9fc0,
    ],
];
const STORM: [Set; 2] = [
    [
        0x23_2b38, 0x3d_4858, 0x65_717d, 0x98_a09f, 0xcf_c9b4, 0x7d_868a, 0x10_151c, 0x4a_5450,
        0xf6_edcf, 0xb4_b8b4, 0x35_3e4b, 0xe0_a458, 0xc9_ada7, 0x9a_8c98, 0xf2_e9e4, 0x4a_4e69,
    ],
    [
        0x1c_2634, 0x34_495a, 0x5f_7d86, 0x9d_b0a6, 0xe2_dcae, 0x76_918f, 0x0c_141c, 0x3f_5a55,
        0xfa_f3c8, 0xb8_c4b4, 0x2c_3b4a, 0xf2_cc8f, 0x81_b29a, 0xe0_7a5f, 0xf4_f1de, 0x3d_405b,
    ],
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
        // Nobody means the sky by green: it takes but a breath of it.
        let share = |to: Lch| {
            if (0.27..0.45).contains(&to.h) {
                0.25
            } else {
                1.0
            }
        };
        for (i, colour) in self.sky.iter_mut().enumerate() {
            let to = if i < 3 { main } else { second };
            *colour = blend(*colour, pull(*colour, to, 0.3), share(to));
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
        if (chroma - 1.0_f32).abs() + light > 0.001 {
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
            // Lit windows want blue or violet around them, not green.
            (Hour::Night, Place::City) => return &NIGHT[[0, 2, 3][rng.below(3)]],
            (Hour::Night, _) => &NIGHT,
        }
    };
    &sets[rng.below(sets.len())]
}
