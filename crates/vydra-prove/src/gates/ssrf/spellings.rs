//! URLs that lead inside, and texts that look as if they did, from a seed: addresses times spellings times what stands around
//! them.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// A name of the little Internet whose file may be read.
pub(super) const GOOD: &str = "good.example";
/// Ports besides the usual ones, at all of which somebody listens.
pub(super) const ODD_PORTS: [u16; 12] = [
    1, 22, 25, 81, 2_375, 5_432, 6_379, 8_080, 8_443, 9_200, 11_211, 65_535,
];

/// Addresses that somebody of the little Internet listens at, and others of the same networks.
fn address(random: &mut StdRng) -> [u8; 4] {
    let any = random.random::<[u8; 2]>();
    let all = [
        [127, 0, 0, 1],
        [127, 0, 0, 2],
        [127, any[0], any[1], 1],
        [10, 0, 0, 1],
        [10, any[0], any[1], 7],
        [169, 254, 169, 254],
        [100, 100, 100, 200],
        [172, 16, 0, 1],
        [192, 168, 0, 1],
        [0, 0, 0, 0],
    ];
    pick(random, &all)
}

fn pick<T: Clone>(random: &mut StdRng, all: &[T]) -> T {
    all.choose(random)
        .cloned()
        .unwrap_or_else(|| all[0].clone())
}

/// A number as some parser reads it.
fn number(random: &mut StdRng, value: u64) -> String {
    let zeros = "0".repeat(random.random_range(0..8));
    match random.random_range(0..5) {
        0 | 1 => value.to_string(),
        2 => format!("0{zeros}{value:o}"),
        3 => format!("0x{zeros}{value:x}"),
        _ => format!("0X{zeros}{value:X}"),
    }
}

/// Each digit in another alphabet.
fn respelled(text: &str, of: impl Fn(u32) -> String) -> String {
    text.chars()
        .map(|letter| letter.to_digit(10).map_or_else(|| letter.to_string(), &of))
        .collect()
}

fn letter(code: u32) -> String {
    char::from_u32(code).map(String::from).unwrap_or_default()
}

fn host(random: &mut StdRng) -> String {
    let octets = address(random);
    let [a, b, c, d] = octets.map(u64::from);
    let dotted = format!("{a}.{b}.{c}.{d}");
    let (low, high) = (c << 8 | d, a << 8 | b);
    let whole = high << 16 | low;
    match random.random_range(0..30) {
        0..6 => [a, b, c, d].map(|part| number(random, part)).join("."),
        6 | 7 => [a, b, low].map(|part| number(random, part)).join("."),
        8 | 9 => [a, b << 16 | low]
            .map(|part| number(random, part))
            .join("."),
        10 | 11 => number(random, whole),
        12 => (whole + (random.random_range(1..4) << 32)).to_string(),
        13 => respelled(&dotted, |digit| letter(0xff10 + digit)),
        14 => respelled(&dotted, |digit| match digit {
            0 => letter(0x24ea),
            digit => letter(0x245f + digit),
        }),
        15 => respelled(&dotted, |digit| letter(0x1d7ce + digit)),
        16 => respelled(&dotted, |digit| format!("%3{digit}")),
        17 => dotted.replace(
            '.',
            pick(random, &["\u{3002}", "\u{ff0e}", "\u{ff61}", "%2e"]),
        ),
        18 => format!("{dotted}."),
        19 => format!("[::ffff:{dotted}]"),
        20 => format!("[0:0:0:0:0:FFFF:{high:x}:{low:04X}]"),
        21 => format!("[::{dotted}]"),
        22 => format!("[64:ff9b::{dotted}]"),
        23 => format!("[2002:{high:x}:{low:x}::{low:x}]"),
        24 => format!("[2001:4860::5efe:{dotted}]"),
        25 => pick(
            random,
            &[
                "[::1]",
                "[::]",
                "[0:0:0:0:0:0:0:1]",
                "[fe80::1]",
                "[fe80::1%25lo]",
                "[fd00::1]",
                "[ff02::1]",
                "[::1%lo]",
            ],
        )
        .to_owned(),
        // Whatever name is asked for, and is not one of the good ones, leads to this machine.
        26 => format!("{dotted}.inside.example"),
        27 => format!("x{}.inside.example", random.next_u32()),
        28 => pick(
            random,
            &[
                "localhost",
                "LOCALHOST",
                "localhost.",
                "\u{24db}\u{24de}\u{24d2}\u{24d0}\u{24db}\u{24d7}\u{24de}\u{24e2}\u{24e3}",
                "loc\u{ad}alhost",
                "localhost.localdomain",
                "foo.localhost",
                "%6cocalhost",
            ],
        )
        .to_owned(),
        _ => pick(
            random,
            &[
                "metadata.google.internal",
                "metadata.google.internal.",
                "METADATA",
                "instance-data",
                "metadata.goog",
                "db",
                "db.internal",
            ],
        )
        .to_owned(),
    }
}

/// A URL whose reader must not call inside. Some of them are, to a reader of the standard, URLs of [`GOOD`].
pub(super) fn hostile(random: &mut StdRng) -> String {
    let host = host(random);
    let path = pick(
        random,
        &[
            "/",
            "",
            "/picture.png",
            "/latest/meta-data/",
            "/?a=b",
            "/%2e%2e/",
        ],
    );
    match random.random_range(0..40) {
        0..14 => format!("http://{host}{path}"),
        14 => format!("https://{host}{path}"),
        15 => format!("HTTP://{host}{path}"),
        16 => format!("http://{host}:80{path}"),
        17 => format!("https://{host}:443{path}"),
        18 => format!("http://{host}:{}{path}", pick(random, &ODD_PORTS)),
        19 => format!("http://user@{host}{path}"),
        20 => format!("http://user:word@{host}{path}"),
        21 => format!("http://{GOOD}@{host}{path}"),
        22 => format!("http://{GOOD}%40{host}{path}"),
        23 => format!("http://{GOOD}\\@{host}{path}"),
        24 => format!("http://{host}\\@{GOOD}{path}"),
        25 => format!("http://{host}#@{GOOD}{path}"),
        26 => format!("http://{host}?@{GOOD}{path}"),
        27 => format!("http://{GOOD}/picture.png#@{host}{path}"),
        28 => format!("http://{GOOD}/picture.png?@{host}{path}"),
        29 => format!("http://{GOOD}/picture.png?url=http://{host}{path}"),
        30 => format!("//{host}{path}"),
        31 => format!("http:{host}{path}"),
        32 => format!("http:/{host}{path}"),
        33 => format!("http:///{host}{path}"),
        34 => format!("http:\\\\{host}{path}"),
        35 => format!("ht\ttp://{host}{path}"),
        36 => {
            let control = pick(random, &["\t", "\n", "\r", "\0", "\u{b}"]);
            format!("http://{control}{host}{path}")
        }
        37 => format!(" http://{host}{path}"),
        38 => {
            let scheme = pick(
                random,
                &["file", "gopher", "ftp", "dict", "ws", "jar:http", "data"],
            );
            format!("{scheme}://{host}{path}")
        }
        _ => format!("http://{host}\u{ff0f}{GOOD}{path}"),
    }
}
