use super::*;

const HOSTILE: [[u8; 4]; 8] = [
    [127, 0, 0, 1],
    [127, 0, 0, 2],
    [10, 0, 0, 1],
    [169, 254, 169, 254],
    [100, 100, 100, 200],
    [192, 168, 0, 1],
    [172, 16, 0, 1],
    [0, 0, 0, 0],
];

fn guard() -> UrlGuard {
    UrlGuard::new(Vec::new())
}

fn allowing(networks: &[&str]) -> UrlGuard {
    UrlGuard::new(networks.iter().map(|n| n.parse().unwrap()).collect())
}

/// `digits` in another alphabet: each ASCII digit becomes `of(digit)`.
fn respell(text: &str, of: impl Fn(u32) -> String) -> String {
    text.chars()
        .map(|c| c.to_digit(10).map_or_else(|| c.to_string(), &of))
        .collect()
}

/// Ways to write an IPv4 address that some resolver or parser understands.
fn spellings([a, b, c, d]: [u8; 4]) -> Vec<String> {
    let whole = u32::from_be_bytes([a, b, c, d]);
    let low16 = u32::from(c) << 8 | u32::from(d);
    let low24 = u32::from(b) << 16 | low16;
    let dotted = format!("{a}.{b}.{c}.{d}");
    let mut all = vec![
        dotted.clone(),
        format!("{dotted}."),
        format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        format!("0X{a:02X}.0X{b:02X}.0X{c:02X}.0X{d:02X}"),
        format!("0x0000{a:x}.{b}.0{c:o}.{d}"),
        format!("{a}.{b}.{c}.0x{d:x}"),
        format!("{a}.{b}.{low16}"),
        format!("{a}.{low24}"),
        format!("0x{a:x}.{low24}"),
        format!("0{a:o}.{b}.{low16}"),
        format!("{whole}"),
        format!("{whole}."),
        format!("0x{whole:x}"),
        format!("0x{whole:08X}"),
        format!("0{whole:o}"),
        format!("{}", u64::from(whole) + (1 << 32)),
        dotted.replace('.', "\u{3002}"),
        dotted.replace('.', "\u{ff0e}"),
        dotted.replace('.', "%2e"),
        respell(&dotted, |digit| format!("%3{digit}")),
        // Full-width digits.
        respell(&dotted, |digit| {
            char::from_u32(0xff10 + digit).unwrap().to_string()
        }),
        // Circled digits: zero is not in a row with the others.
        respell(&dotted, |digit| match digit {
            0 => "\u{24ea}".to_owned(),
            digit => char::from_u32(0x245f + digit).unwrap().to_string(),
        }),
        // Mathematical bold digits.
        respell(&dotted, |digit| {
            char::from_u32(0x1d7ce + digit).unwrap().to_string()
        }),
        format!("[::ffff:{dotted}]"),
        format!("[::FFFF:{dotted}]"),
        format!("[0:0:0:0:0:ffff:{:x}:{low16:x}]", whole >> 16),
        format!(
            "[0000:0000:0000:0000:0000:ffff:{:04x}:{low16:04x}]",
            whole >> 16
        ),
        format!("[::{dotted}]"),
        format!("[::ffff:0:{dotted}]"),
        format!("[64:ff9b::{dotted}]"),
        format!("[64:ff9b:1::{dotted}]"),
        format!("[2002:{:x}:{low16:x}::1]", whole >> 16),
        format!("[2001:0:4136:e378:8000:63bf:{:x}:{low16:x}]", !whole >> 16),
        format!("[fe80::5efe:{dotted}]"),
        format!("[2606:4700::5efe:{dotted}]"),
        format!("[2606:4700::200:5efe:{dotted}]"),
        format!("[::ffff:{dotted}%25lo]"),
        format!("[::ffff:{dotted}%lo]"),
    ];
    for zeros in 1..=8 {
        let pad = "0".repeat(zeros);
        all.push(format!("{pad}{a:o}.{pad}{b:o}.{pad}{c:o}.{pad}{d:o}"));
    }
    all
}

/// Ways to put a host into a text in which some parser sees that host.
const WRAPPERS: [&str; 24] = [
    "http://{}/",
    "https://{}",
    "HTTP://{}/",
    "http://{}:80/",
    "http://{}:443/",
    "http://{}:8080/",
    "http://user@{}/",
    "http://user:secret@{}/",
    "http://example.com@{}/",
    "http://example.com:80@{}/",
    "http://@{}/",
    "http://{}#@example.com/",
    "http://{}?@example.com/",
    "http://{}/@example.com/",
    "http://{}\\@example.com/",
    "http:{}",
    "http:/{}",
    "http:///{}",
    "http:\\\\{}",
    "//{}/",
    "ht\ntp://{}/",
    "\thttp://{}/",
    " http://{} ",
    "ftp://{}/",
];

#[test]
fn no_spelling_of_a_private_address_passes() {
    let guard = guard();
    let mut refused = 0;
    let mut understood = 0;
    for address in HOSTILE {
        for spelling in spellings(address) {
            for wrapper in WRAPPERS {
                let url = wrapper.replace("{}", &spelling);
                let refusal = guard.check_url(&url);
                assert!(refusal.is_err(), "{url:?} passed as {refusal:?}");
                refused += 1;
                understood += u32::from(refusal == Err(Refusal::ForbiddenAddress));
            }
        }
    }
    assert!(refused > 8_000, "only {refused} tried");
    // If the parser took them for names, this test would prove nothing about addresses.
    assert!(understood > 3_000, "only {understood} read as addresses");
}

#[test]
fn a_line_break_anywhere_is_refused() {
    for position in 0.."http://1.1.1.1/a".len() {
        for hidden in ["\n", "\r", "\t", "\0", "\u{7f}", "\u{85}"] {
            let mut url = "http://1.1.1.1/a".to_owned();
            url.insert_str(position, hidden);
            assert_eq!(guard().check_url(&url), Err(Refusal::NotAUrl), "{url:?}");
        }
    }
}

#[test]
fn public_urls_pass_as_they_are() {
    for (given, passed) in [
        ("http://1.1.1.1/", "http://1.1.1.1/"),
        ("https://8.8.8.8:443/a?b=c", "https://8.8.8.8/a?b=c"),
        (
            "http://[2606:4700::1111]/x.png",
            "http://[2606:4700::1111]/x.png",
        ),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com./a", "https://example.com./a"),
        (
            "HTTPS://Example.COM/A%20b.png?x=1&y=%2F",
            "https://example.com/A%20b.png?x=1&y=%2F",
        ),
        (
            "https://example.com/my file.png",
            "https://example.com/my%20file.png",
        ),
        (
            "https://b\u{fc}cher.example/\u{e4}",
            "https://xn--bcher-kva.example/%C3%A4",
        ),
        (
            "https://my_bucket.s3.example.com/k",
            "https://my_bucket.s3.example.com/k",
        ),
        ("https://example.com/p#@127.0.0.1/", "https://example.com/p"),
        (
            "https://example.com/?u=http://127.0.0.1/",
            "https://example.com/?u=http://127.0.0.1/",
        ),
        (
            "https://localhost.example.com/",
            "https://localhost.example.com/",
        ),
        (
            "https://notinternal.example/",
            "https://notinternal.example/",
        ),
    ] {
        let url = guard().check_url(given);
        assert_eq!(url.as_ref().map(Url::as_str), Ok(passed), "{given}");
    }
}

#[test]
fn each_refusal_has_its_reason() {
    let long = format!("https://example.com/{}", "a".repeat(MAX_LENGTH));
    let long_when_encoded = format!("https://example.com/{}", "\u{e4}".repeat(900));
    for (url, refusal) in [
        ("", Refusal::NotAUrl),
        ("example.com", Refusal::NotAUrl),
        ("/a/b.png", Refusal::NotAUrl),
        ("//example.com/", Refusal::NotAUrl),
        ("http://", Refusal::NotAUrl),
        ("http:///example.com", Refusal::NotAUrl),
        ("http://a..example.com/", Refusal::NotAUrl),
        ("http://1.1.1.1\\@8.8.8.8/", Refusal::NotAUrl),
        ("http://example.com/a\\b", Refusal::NotAUrl),
        ("http://example.com%00.example/", Refusal::NotAUrl),
        ("http://exa$mple.com/", Refusal::NotAUrl),
        ("http://[fe80::1%25eth0]/", Refusal::NotAUrl),
        ("http://1.1.1.1:65536/", Refusal::NotAUrl),
        ("http://256.256.256.256/", Refusal::NotAUrl),
        ("file:///etc/hostname", Refusal::Scheme),
        ("gopher://example.com/", Refusal::Scheme),
        ("ftp://example.com/", Refusal::Scheme),
        ("data:image/png;base64,AAAA", Refusal::Scheme),
        ("javascript:alert(1)", Refusal::Scheme),
        ("blob:https://example.com/1", Refusal::Scheme),
        ("jar:http://example.com!/", Refusal::Scheme),
        ("http://user@example.com/", Refusal::UserInfo),
        ("http://:secret@example.com/", Refusal::UserInfo),
        ("http://example.com:8080/", Refusal::Port),
        ("https://example.com:22/", Refusal::Port),
        ("http://1.1.1.1:6379/", Refusal::Port),
        (long.as_str(), Refusal::TooLong),
        (long_when_encoded.as_str(), Refusal::TooLong),
        ("http://localhost/", Refusal::ForbiddenHost),
        ("http://localhost./", Refusal::ForbiddenHost),
        ("http://LOCALHOST/", Refusal::ForbiddenHost),
        (
            "http://\u{24db}\u{24de}\u{24d2}\u{24d0}\u{24db}\u{24d7}\u{24de}\u{24e2}\u{24e3}/",
            Refusal::ForbiddenHost,
        ),
        ("http://a.localhost/", Refusal::ForbiddenHost),
        ("http://database/", Refusal::ForbiddenHost),
        ("http://db.internal/", Refusal::ForbiddenHost),
        ("http://printer.local/", Refusal::ForbiddenHost),
        ("http://nas.home.arpa/", Refusal::ForbiddenHost),
        ("http://metadata.google.internal/", Refusal::ForbiddenHost),
        ("http://metadata.google.internal./", Refusal::ForbiddenHost),
        ("http://metadata.goog/", Refusal::ForbiddenHost),
        ("http://instance-data/", Refusal::ForbiddenHost),
        ("http://[::1]/", Refusal::ForbiddenAddress),
        ("http://[::]/", Refusal::ForbiddenAddress),
        ("http://[fd00:ec2::254]/", Refusal::ForbiddenAddress),
        ("http://168.63.129.16/", Refusal::ForbiddenAddress),
    ] {
        assert_eq!(guard().check_url(url), Err(refusal), "{url}");
    }
}

/// The first and last address of every reserved range, and its public neighbours, written out.
#[test]
fn reserved_ranges_end_where_they_should() {
    for (range, outside) in [
        (["0.0.0.0", "0.255.255.255"], ["1.0.0.0", "1.0.0.1"]),
        (
            ["10.0.0.0", "10.255.255.255"],
            ["9.255.255.255", "11.0.0.0"],
        ),
        (
            ["100.64.0.0", "100.127.255.255"],
            ["100.63.255.255", "100.128.0.0"],
        ),
        (
            ["127.0.0.0", "127.255.255.255"],
            ["126.255.255.255", "128.0.0.0"],
        ),
        (
            ["168.63.129.16", "168.63.129.16"],
            ["168.63.129.15", "168.63.129.17"],
        ),
        (
            ["169.254.0.0", "169.254.255.255"],
            ["169.253.255.255", "169.255.0.0"],
        ),
        (
            ["172.16.0.0", "172.31.255.255"],
            ["172.15.255.255", "172.32.0.0"],
        ),
        (
            ["192.0.0.0", "192.0.0.255"],
            ["191.255.255.255", "192.0.1.0"],
        ),
        (["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
        (
            ["192.88.99.0", "192.88.99.255"],
            ["192.88.98.255", "192.88.100.0"],
        ),
        (
            ["192.168.0.0", "192.168.255.255"],
            ["192.167.255.255", "192.169.0.0"],
        ),
        (
            ["198.18.0.0", "198.19.255.255"],
            ["198.17.255.255", "198.20.0.0"],
        ),
        (
            ["198.51.100.0", "198.51.100.255"],
            ["198.51.99.255", "198.51.101.0"],
        ),
        (
            ["203.0.113.0", "203.0.113.255"],
            ["203.0.112.255", "203.0.114.0"],
        ),
        (
            ["224.0.0.0", "239.255.255.255"],
            ["223.255.255.255", "1.1.1.1"],
        ),
        (
            ["240.0.0.0", "255.255.255.255"],
            ["223.255.255.255", "8.8.8.8"],
        ),
        (["::", "::1"], ["2606:4700::1111", "2620:fe::fe"]),
        (
            ["::7f00:1", "::ffff:127.0.0.1"],
            ["::ffff:1.1.1.1", "::ffff:8.8.8.8"],
        ),
        (
            ["64:ff9b::101:101", "64:ff9b:1:ffff::1"],
            ["2a00::1", "2600::1"],
        ),
        (["100::", "1fff:ffff::"], ["2003::1", "2400::1"]),
        (
            ["2001::", "2001:1ff:ffff::1"],
            ["2001:200::1", "2001:4860:4860::8888"],
        ),
        (
            ["2001:10::1", "2001:2f:ffff::1"],
            ["2001:200::1", "2001:4860:4860::8888"],
        ),
        (
            ["2001:db8::", "2001:db8:ffff::1"],
            ["2001:db7:ffff::1", "2001:db9::"],
        ),
        (["2002::", "2002:ffff::1"], ["2001:ffff::1", "2003::"]),
        (
            ["3fff::", "3fff:fff:ffff::1"],
            ["3ffe:ffff::1", "3fff:1000::"],
        ),
        (["4000::", "5f00::1"], ["3fff:1000::", "2a02::1"]),
        (["fc00::", "fdff:ffff::1"], ["2a02::1", "2a03::1"]),
        (["fe80::", "febf:ffff::1"], ["2a02::1", "2a03::1"]),
        (["fec0::", "feff:ffff::1"], ["2a02::1", "2a03::1"]),
        (["ff00::", "ff02::1"], ["2a02::1", "2a03::1"]),
        (
            ["2a02::5efe:7f00:1", "2a02::200:5efe:808:808"],
            ["2a02::100:5efe:808:808", "2a02::5eff:808:808"],
        ),
    ] {
        for ip in range {
            let refusal = guard().check_address(ip.parse().unwrap());
            assert_eq!(refusal, Err(Refusal::ForbiddenAddress), "{ip}");
        }
        for ip in outside {
            assert_eq!(guard().check_address(ip.parse().unwrap()), Ok(()), "{ip}");
        }
    }
}

#[test]
fn what_the_operator_allows_passes_on_any_port() {
    let guard = allowing(&["10.1.0.0/16", "fd00::/8"]);
    for url in [
        "http://10.1.2.3/",
        "http://10.1.2.3:8188/",
        "http://[::ffff:10.1.2.3]:8188/",
        "http://[fd00::1]:8188/",
        // Judged when they are resolved.
        "http://comfy:8188/",
        "http://comfy.internal/",
        "http://example.com:8080/",
    ] {
        assert!(guard.check_url(url).is_ok(), "{url}");
    }
    for (url, refusal) in [
        ("http://10.2.0.1/", Refusal::ForbiddenAddress),
        ("http://1.1.1.1:8188/", Refusal::Port),
        ("http://user@10.1.2.3/", Refusal::UserInfo),
        ("http://metadata.google.internal/", Refusal::ForbiddenHost),
    ] {
        assert_eq!(guard.check_url(url), Err(refusal), "{url}");
    }
}

#[test]
fn local_names_and_unusual_ports_lead_only_to_what_is_allowed() {
    let guard = allowing(&["10.1.0.0/16"]);
    for (url, reach) in [
        ("http://example.com/", Reach::Public),
        ("https://example.com/", Reach::Public),
        ("https://example.com:8443/", Reach::Allowed),
        ("http://comfy/", Reach::Allowed),
        ("http://comfy.local./", Reach::Allowed),
    ] {
        assert_eq!(guard.reach(&Url::parse(url).unwrap()), reach, "{url}");
    }
    let public = "1.1.1.1".parse().unwrap();
    let allowed = "10.1.0.9".parse().unwrap();
    let private = "10.2.0.9".parse().unwrap();
    for (ip, reach, passes) in [
        (public, Reach::Public, true),
        (public, Reach::Allowed, false),
        (allowed, Reach::Public, true),
        (allowed, Reach::Allowed, true),
        (private, Reach::Public, false),
        (private, Reach::Allowed, false),
    ] {
        let verdict = guard.check_address_within(ip, reach);
        assert_eq!(verdict.is_ok(), passes, "{ip} {reach:?}");
    }
}

#[test]
fn what_is_forbidden_beats_what_is_allowed() {
    let guard = allowing(&["10.0.0.0/8"]).and_forbid(vec![
        "10.0.0.5".parse().unwrap(),
        "1.1.1.1".parse().unwrap(),
    ]);
    for (ip, passes) in [
        ("10.0.0.4", true),
        ("10.0.0.5", false),
        ("::ffff:10.0.0.5", false),
        ("1.1.1.1", false),
        ("1.1.1.2", true),
    ] {
        let verdict = guard.check_address(ip.parse().unwrap());
        assert_eq!(verdict.is_ok(), passes, "{ip}");
    }
}

#[test]
fn networks_are_read_strictly() {
    for (text, shown) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 10.0.0.5 ", "10.0.0.5/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ] {
        assert_eq!(text.parse::<Network>().unwrap().to_string(), shown);
    }
    for text in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "10.0.0.0/-1"] {
        assert_eq!(
            text.parse::<Network>(),
            Err(NetworkError::NotANetwork(text.to_owned()))
        );
    }
    assert_eq!(
        "10.0.0.5/8".parse::<Network>().unwrap_err().to_string(),
        "\"10.0.0.5/8\" has bits set behind its prefix, the network itself is 10.0.0.0/8"
    );
}

#[test]
fn random_texts_never_panic_and_never_pass_as_private() {
    const PIECES: [&str; 26] = [
        "http",
        "https",
        ":",
        "/",
        "//",
        "\\",
        "@",
        "#",
        "?",
        "[",
        "]",
        "%",
        "%00",
        "%2e",
        ".",
        "127",
        "0x7f",
        "0",
        "1",
        "::",
        "ffff",
        "localhost",
        "example.com",
        "\u{3002}",
        "\u{ff11}",
        " ",
    ];
    let guard = guard();
    let mut state: u64 = 0x5eed;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..50_000 {
        let mut text = ["http://", "https://", ""][next(3)].to_owned();
        for _ in 0..next(9) {
            text.push_str(PIECES[next(PIECES.len())]);
        }
        if let Ok(url) = guard.check_url(&text) {
            // What passed must pass again as the text that is sent, with a host that a second parser reads alike.
            assert_eq!(guard.check_url(url.as_str()).as_ref(), Ok(&url), "{text:?}");
            let host = url.host_str().unwrap();
            if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
                assert!(is_public(ip.to_canonical()), "{text:?}");
            }
        }
    }
}
