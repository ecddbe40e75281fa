use super::*;
use crate::sniff::sniff;
use std::sync::atomic::{AtomicU32, Ordering};

fn on(_: u8) -> bool {
    true
}

fn picture(prompt: &str, seed: u64, width: u32, height: u32) -> Picture<'_> {
    Picture {
        prompt,
        seed,
        size: Size { width, height },
        format: PictureFormat::Png,
    }
}

fn pixels(bytes: &[u8]) -> image::RgbImage {
    decode::decode(bytes).unwrap()
}

/// Small and grey: what remains of a picture when all detail is gone.
fn gist(image: &image::RgbImage) -> Vec<f32> {
    let canvas = edit::cover(
        image,
        Size {
            width: 24,
            height: 24,
        },
    );
    canvas
        .pixels
        .iter()
        .map(|pixel| colour::luma(*pixel))
        .collect()
}

fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        ab += (a - ma) * (b - mb);
        aa += (a - ma) * (a - ma);
        bb += (b - mb) * (b - mb);
    }
    ab / (aa * bb).sqrt()
}

fn mean_colour(prompt: &str) -> [f32; 3] {
    let image = pixels(&draw(&picture(prompt, 4, 96, 96), &on).unwrap());
    let mut sum = [0.0; 3];
    for pixel in image.pixels() {
        for (sum, c) in sum.iter_mut().zip(pixel.0) {
            *sum += f32::from(c) / 255.0 / (96.0 * 96.0);
        }
    }
    sum
}

#[test]
fn equal_input_gives_equal_bytes_and_another_seed_another_picture() {
    for prompt in [
        "mountains",
        "a cat in the forest",
        "galaxy",
        "abstract",
        "bauhaus",
        "roses",
        "city at night",
        "sailboat",
    ] {
        let one = draw(&picture(prompt, 7, 160, 120), &on).unwrap();
        assert_eq!(
            one,
            draw(&picture(prompt, 7, 160, 120), &on).unwrap(),
            "{prompt}"
        );
        let other = draw(&picture(prompt, 8, 160, 120), &on).unwrap();
        let (a, b) = (pixels(&one), pixels(&other));
        let difference: f32 = a
            .as_raw()
            .iter()
            .zip(b.as_raw())
            .map(|(a, b)| f32::from(a.abs_diff(*b)))
            .sum::<f32>()
            / a.as_raw().len() as f32;
        assert!(difference > 8.0, "{prompt}: {difference}");
    }
}

#[test]
fn colour_words_set_the_colour() {
    for place in [
        "mountains at dawn",
        "the sea by day",
        "abstract",
        "desert by day",
    ] {
        let red = mean_colour(&format!("red {place}"));
        let blue = mean_colour(&format!("blue {place}"));
        assert!(red[0] > red[2] + 0.08, "{place} {red:?}");
        assert!(blue[2] > blue[0] + 0.08, "{place} {blue:?}");
    }
}

#[test]
fn words_of_light_and_style_matter() {
    let light = |prompt: &str| colour::luma(mean_colour(prompt));
    assert!(light("mountains by day") > light("mountains at night") + 0.2);
    let grey = mean_colour("noir mountains at sunset");
    assert!((grey[0] - grey[2]).abs() < 0.02, "{grey:?}");
    assert!(light("watercolor mountains at night") > light("mountains at night") + 0.05);
}

#[test]
fn every_ratio_has_its_size() {
    for (name, ratio) in [
        ("1:1", 1.0),
        ("2:3", 2.0 / 3.0),
        ("3:2", 1.5),
        ("3:4", 0.75),
        ("4:3", 4.0 / 3.0),
        ("4:5", 0.8),
        ("5:4", 1.25),
        ("9:16", 9.0 / 16.0),
        ("16:9", 16.0 / 9.0),
        ("21:9", 21.0 / 9.0),
    ] {
        for long in [512, 768, 1000, 1024, 1280, 1536, 1920, 2048, 4096] {
            let size = size_for(name, long).unwrap();
            let real = f64::from(size.width) / f64::from(size.height);
            assert!(
                (real / ratio - 1.0).abs() < 0.0101,
                "{name} {long} {size:?}"
            );
            assert_eq!((size.width % 8, size.height % 8), (0, 0));
            assert!(
                size.width.max(size.height).abs_diff(long) <= 64,
                "{name} {long} {size:?}"
            );
        }
    }
    assert_eq!(size_for("7:5", 1024), None);
    assert_eq!(size_for("16:9", 0), None);
    assert_eq!(size_for("1:1", 9_000), None);
}

#[test]
fn every_format_and_odd_size_decodes_again() {
    for (format, media_type) in [
        (PictureFormat::Png, "image/png"),
        (PictureFormat::Jpeg, "image/jpeg"),
        (PictureFormat::Webp, "image/webp"),
    ] {
        let picture = Picture {
            format,
            ..picture("house by a lake", 3, 133, 57)
        };
        let bytes = draw(&picture, &on).unwrap();
        let found = sniff(&bytes).unwrap();
        assert_eq!(found.media_type, media_type);
        assert_eq!(found.dimensions, Some((133, 57)));
        assert_eq!(pixels(&bytes).dimensions(), (133, 57));
    }
}

#[test]
fn extreme_shapes_and_every_subject_are_drawn() {
    for (width, height) in [(0, 0), (16, 700), (700, 16), (1, 1)] {
        for prompt in [
            "sea", "city", "roses", "galaxy", "bauhaus", "silk", "forest", "meadow", "desert",
        ] {
            draw(&picture(prompt, 1, width, height), &on).unwrap();
        }
    }
    let everybody = "cat dog fox rabbit bear owl bird horse deer whale person house lighthouse boat balloon oak rocket";
    for subject in everybody.split(' ') {
        for place in [
            "at the sea",
            "in the city",
            "in a garden",
            "in space",
            "in the desert, pixel sketch watercolor vintage neon aurora rainbow rain",
        ] {
            draw(&picture(&format!("{subject} {place}"), 1, 64, 48), &on).unwrap();
        }
    }
    let large = draw(&picture("sea", 1, 9_000, 10), &on);
    assert!(matches!(large, Err(RenderError::TooLarge)));
}

#[test]
fn an_edit_keeps_its_source_recognisable() {
    let base = draw(&picture("a lighthouse at the sea by day", 2, 240, 160), &on).unwrap();
    let other = draw(&picture("cat", 5, 100, 100), &on).unwrap();
    let source = gist(&pixels(&base));
    for (prompt, sources, size) in [
        ("make it sunset", vec![&base[..]], None),
        (
            "snowy winter night",
            vec![&base[..]],
            Some(Size {
                width: 200,
                height: 200,
            }),
        ),
        ("", vec![&base[..], &other[..], &other[..]], None),
    ] {
        let edit_of = |seed| Edit {
            prompt,
            seed,
            size,
            format: PictureFormat::Png,
            sources: &sources,
        };
        let edited = edit(&edit_of(9), &on).unwrap();
        assert_eq!(edited, edit(&edit_of(9), &on).unwrap());
        assert_ne!(edited, base);
        let image = pixels(&edited);
        let expected = size.map_or((240, 160), |size| (size.width, size.height));
        assert_eq!(image.dimensions(), expected);
        let alike = correlation(&gist(&image), &source);
        assert!(alike > 0.5, "{prompt}: {alike}");
    }
}

#[test]
fn an_edit_refuses_bad_sources() {
    let bad = |sources: &[&[u8]]| {
        let wanted = Edit {
            prompt: "x",
            seed: 1,
            size: None,
            format: PictureFormat::Png,
            sources,
        };
        matches!(edit(&wanted, &on), Err(RenderError::UnreadableImage(_)))
    };
    assert!(bad(&[]));
    assert!(bad(&[b"GIF89a"]));
    assert!(bad(&[b"hello"]));
}

#[test]
fn progress_rises_to_a_hundred_and_a_caller_can_stop() {
    let last = AtomicU32::new(0);
    let watch = |percent: u8| {
        let before = last.swap(u32::from(percent), Ordering::SeqCst);
        assert!(before <= u32::from(percent));
        true
    };
    let clip = Film {
        prompt: "sea",
        seed: 1,
        size: Size {
            width: 128,
            height: 72,
        },
        seconds: 0.5,
        start: None,
    };
    draw(&picture("sea", 1, 64, 64), &watch).unwrap();
    assert_eq!(last.swap(0, Ordering::SeqCst), 100);
    film(&clip, &watch).unwrap();
    assert_eq!(last.load(Ordering::SeqCst), 100);

    let asked = AtomicU32::new(0);
    let stop = |percent: u8| {
        if percent >= 5 {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        percent < 5
    };
    let long = Film {
        seconds: 15.0,
        ..clip
    };
    assert!(matches!(film(&long, &stop), Err(RenderError::Cancelled)));
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "it went on after the refusal"
    );
    let drawn = draw(&picture("sea", 1, 64, 64), &|_| false);
    assert!(matches!(drawn, Err(RenderError::Cancelled)));
}
