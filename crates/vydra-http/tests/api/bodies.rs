//! Bodies: what is JSON, what is not, and in what wrappings. The documents are made from the grammar (RFC 8259).

use crate::fixture::{Api, CREDITS};
use crate::socket::{Served, Socket};
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    /// Any other value.
    Value,
    Invalid,
    /// The grammar leaves it open; it must only not be a fault of ours.
    Open,
}

type Document = (Kind, Vec<u8>);

fn each<T: AsRef<[u8]>>(kind: Kind, texts: impl IntoIterator<Item = T>) -> Vec<Document> {
    texts
        .into_iter()
        .map(|text| (kind, text.as_ref().to_vec()))
        .collect()
}

fn numbers() -> Vec<Document> {
    let digits = "1".repeat(100);
    let small = format!("0.{}1", "0".repeat(400));
    let valid = [
        "0",
        "-0",
        "1",
        "-1",
        "123",
        "0.5",
        "-0.5",
        "1e5",
        "1E5",
        "1e+5",
        "1E-5",
        "0e0",
        "-0e-0",
        "1.5e10",
        "20e1",
        "123.456e78",
        "0.0000001",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775809",
        "1e308",
        "-1e308",
        "1e-400",
        "2.2250738585072011e-308",
        &digits,
        &small,
    ];
    let many = "1".repeat(400);
    let open = [
        "1e309",
        "-1e309",
        "1e999999",
        "1e99999999999999999999",
        &many,
    ];
    let invalid = [
        "+1",
        "++1",
        "--1",
        "-",
        "01",
        "-01",
        "00",
        ".5",
        "-.5",
        "5.",
        "1.e5",
        "0.e1",
        "1e",
        "1e+",
        "1e-",
        "1ee2",
        "1e1.5",
        "1.2.3",
        "0x10",
        "0b1",
        "0o7",
        "1_000",
        "1,000",
        "1 000",
        "1f",
        "1L",
        "NaN",
        "-NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "inf",
        "1/2",
        "(1)",
        "１",
        "½",
        "−1",
        "1e５",
    ];
    [
        each(Kind::Value, valid),
        each(Kind::Open, open),
        each(Kind::Invalid, invalid),
    ]
    .concat()
}

fn quoted(content: impl AsRef<[u8]>) -> Vec<u8> {
    [b"\"", content.as_ref(), b"\""].concat()
}

fn strings() -> Vec<Document> {
    let long = "long ".repeat(10_000);
    let valid = [
        "",
        " ",
        "a",
        r#"\""#,
        r"\\",
        r"\/",
        r"\b",
        r"\f",
        r"\n",
        r"\r",
        r"\t",
        r"\u0041",
        r"\u0000",
        r"\u001f",
        r"\u007F",
        r"\u00e9",
        r"\u2028",
        r"\uFEFF",
        r"\uFFFF",
        r"\uFDD0",
        r"\uD83D\uDE00",
        r"\ud83d\ude00",
        r"\uDBFF\uDFFF",
        r"\\u0041",
        r"\u005C\u0022",
        "é",
        "漢字",
        "😀",
        "\u{7f}",
        "\u{2028}\u{2029}",
        "\u{feff}",
        "\u{ffff}",
        "\u{10ffff}",
        "/",
        "'",
        "// no",
        "/* no */",
        &long,
    ];
    let invalid = [
        r"\a",
        r"\v",
        r"\e",
        r"\'",
        r"\0",
        r"\x41",
        r"\U0041",
        r"\ ",
        r"\u",
        r"\u1",
        r"\u12",
        r"\u123",
        r"\u12G4",
        r"\u{41}",
        r"\u-041",
        r"\u 041",
        r"\uD800",
        r"\uDC00",
        r"\uDFFF",
        r"\uD800\uD800",
        r"\uDC00\uD800",
        r"\uD83Dx",
        r"\uD83D\n",
        r"\uD83D\u0041",
        r"\uD83D\uDE0",
        r"\",
        "a\"b",
    ];
    let broken: [&[u8]; 16] = [
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\xbd\xed\xb8\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xe9 is Latin",
        b"a\x80b",
        b"\xff\xfe",
    ];
    let control = (0_u8..0x20).map(|byte| quoted([byte]));
    let alone = (0x80_u8..=0xff).map(|byte| quoted([byte]));
    [
        each(Kind::Value, valid.map(quoted)),
        each(Kind::Invalid, invalid.map(quoted)),
        each(Kind::Invalid, broken.map(quoted)),
        each(Kind::Invalid, control),
        each(Kind::Invalid, alone),
        each(
            Kind::Invalid,
            ["\"", "\"a", "a\"", "'a'", "`a`", "“a”", "\"\\", "a"],
        ),
    ]
    .concat()
}

fn structures() -> Vec<Document> {
    let deep = |open: &str, close: &str, times: usize| open.repeat(times) + &close.repeat(times);
    let values = [
        "[]".to_owned(),
        "[1]".into(),
        "[[]]".into(),
        "[1,\"a\",null,true,{}]".into(),
        "null".into(),
        "true".into(),
        "false".into(),
        "[ ]".into(),
        " \t\r\n[1\n,\t2 ]\r\n".into(),
        format!("[{}1]", "1,".repeat(50_000)),
        deep("[", "]", 100),
    ];
    let objects = [
        "{}".to_owned(),
        "{ }".into(),
        "\n{}\n".into(),
        r#"{"":1}"#.into(),
        r#"{"":""}"#.into(),
        r#"{"a":1,"a":2}"#.into(),
        r#"{"a":{"a":{"a":[]}}}"#.into(),
        r#"{"\u0061":1,"a":2}"#.into(),
        r#"{"\u0000":1}"#.into(),
        r#"{"__proto__":{"x":1}}"#.into(),
        "{\"\u{1f600}\":1}".into(),
        serde_json::to_string(&(0..5_000).map(|n| (n, n)).collect::<BTreeMap<u32, u32>>()).unwrap(),
        deep("{\"a\":", "", 60) + "1" + &"}".repeat(60),
    ];
    let invalid = [
        "",
        " ",
        "\n",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "[1,]",
        "[,1]",
        "[,]",
        "[1,,2]",
        "[1 2]",
        "[1;2]",
        "[}",
        "[1}",
        "[1",
        "[[1]",
        "1]",
        "{,}",
        "{]",
        r#"{"a"}"#,
        r#"{"a":}"#,
        "{:1}",
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a":1,,"b":2}"#,
        r#"{"a" 1}"#,
        r#"{"a"=1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1:2}"#,
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{null:1}",
        "{[]:1}",
        r#"{"a":1]"#,
        r#"{"a":1"#,
        r#"{"a":"#,
        r#"{"a"#,
        "nul",
        "nulll",
        "tru",
        "fals",
        "True",
        "NULL",
        "None",
        "undefined",
        "[1]x",
        "{}{}",
        "[][]",
        "[] []",
        "{}}",
        "1 2",
        "{} // no",
        "{} /* no */",
        "# no\n{}",
        "<a/>",
        "&quot;",
        "*",
        "@",
        "\\",
        "\\n{}",
        "\0",
        "{}\0",
        "\u{feff}{}",
        "\u{a0}{}",
        "{}\u{2060}",
        "\u{b}{}",
        "\u{c}{}",
        "\u{85}{}",
        "\u{3000}{}",
        "---\na: 1",
        "a=1&b=2",
        "prompt",
    ];
    let too_deep = [
        deep("[", "]", 129),
        deep("[", "]", 1_000),
        "[".repeat(100_000),
        "{\"a\":".repeat(100_000),
        deep("{\"a\":", "", 200) + "1" + &"}".repeat(200),
        "[{\"a\":".repeat(50_000),
    ];
    let whole = r#"{"a":[1,-2.5e+3,"x\u00e9\n",{"b":null}],"c":true,"d":"e"}"#;
    let cut = (1..whole.len()).filter_map(|length| whole.get(..length));
    let utf_16 =
        |order: fn(u16) -> [u8; 2]| -> Vec<u8> { "{}".encode_utf16().flat_map(order).collect() };
    [
        each(Kind::Value, values),
        each(Kind::Object, objects),
        each(Kind::Object, [whole]),
        each(Kind::Invalid, invalid),
        each(Kind::Invalid, too_deep),
        each(Kind::Invalid, cut),
        each(
            Kind::Invalid,
            [
                utf_16(u16::to_be_bytes),
                utf_16(u16::to_le_bytes),
                b"\xff\xfe{\0}\0".to_vec(),
            ],
        ),
    ]
    .concat()
}

fn documents() -> Vec<Document> {
    [numbers(), strings(), structures()].concat()
}

const NOT_JSON: &str = "The request body is not valid JSON";

async fn sentence(socket: &mut Socket, key: &str, path: &str, body: &[u8], name: &str) -> String {
    let head = format!(
        "POST /api/v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.send([head.as_bytes(), body].concat()).await;
    let answer = socket.answer(name, false).await;
    let error = answer.error("INVALID_INPUT")["error"].clone();
    error.as_str().unwrap().to_owned()
}

/// All on one connection, so that each document also shows that the one before left it usable.
#[tokio::test]
async fn what_is_json_is_read_and_what_is_not_is_an_invalid_input() {
    let served = Served::new().await;
    let documents = documents();
    assert!(documents.len() >= 450, "{}", documents.len());
    for (path, missing) in [
        ("jobs", "Missing required field: workflow (string)"),
        (
            "models/gemini/generate",
            "Missing required field: prompt (string)",
        ),
    ] {
        let mut socket = served.connect().await;
        for (kind, bytes) in &documents {
            let name = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            let alone = sentence(&mut socket, &served.key, path, bytes, &name).await;
            let within = [b"{\"x\":", &bytes[..], b"}"].concat();
            let within = sentence(&mut socket, &served.key, path, &within, &name).await;
            match kind {
                Kind::Object => assert_eq!(alone, missing, "{name}"),
                Kind::Value => {
                    assert_eq!(alone, "The request body must be a JSON object", "{name}");
                }
                Kind::Invalid => assert!(alone.starts_with(NOT_JSON), "{name}: {alone}"),
                Kind::Open => {}
            }
            match kind {
                Kind::Object | Kind::Value => assert_eq!(within, missing, "{name}"),
                Kind::Invalid => assert!(within.starts_with(NOT_JSON), "{name}: {within}"),
                Kind::Open => {}
            }
        }
    }
    assert_eq!(served.credits().await, CREDITS);
}

/// What is tolerated is kept as it was sent.
#[tokio::test]
async fn whatever_json_stands_in_a_field_that_nobody_knows_is_kept() {
    let api = Api::idle().await;
    for (_, bytes) in documents()
        .into_iter()
        .filter(|(kind, bytes)| *kind == Kind::Object && bytes.len() < 1_000)
    {
        let text = String::from_utf8(bytes).unwrap();
        let body = format!("{{\"prompt\":\"p\",\"extra\":{text}}}");
        let call = api.post("models/gemini/generate", &json!({})).body(body);
        let answer = call.header("prefer", "respond-async").send().await;
        let id = answer.ok(202)["jobId"].as_str().unwrap().to_owned();
        let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
        assert_eq!(job["input"]["prompt"], "p", "{text}");
        api.delete(&format!("jobs/{id}")).send().await.ok(200);
    }
}

#[tokio::test]
async fn the_last_of_two_equal_names_counts() {
    let api = Api::idle().await;
    let body = r#"{"prompt":"first","prompt":"last"}"#;
    let call = api.post("models/gemini/generate", &json!({})).body(body);
    let answer = call.header("prefer", "respond-async").send().await.ok(202);
    assert_eq!(answer["input"]["prompt"], "last");
}

#[tokio::test]
async fn a_wrapping_that_is_not_taken_is_named() {
    let api = Api::idle().await;
    let json_needed = "The Content-Type must be application/json";
    let utf_8_needed = "The charset of the Content-Type must be utf-8";
    for (content_type, sentence) in [
        ("text/plain", json_needed),
        ("text/json", json_needed),
        ("application/jsonp", json_needed),
        ("application/x-ndjson", json_needed),
        ("", json_needed),
        (";", json_needed),
        ("application/json, text/plain", json_needed),
        ("application/json; charset=utf-16", utf_8_needed),
        ("application/json; charset=\"iso-8859-1\"", utf_8_needed),
        ("application/json;CHARSET=latin1", utf_8_needed),
        ("application/json; charset=", utf_8_needed),
        (
            "application/json; charset=utf-8; charset=utf-7",
            utf_8_needed,
        ),
    ] {
        for path in ["jobs", "models/gemini/generate"] {
            let call = api.post(path, &json!({"prompt": "p"}));
            let answer = call.header("content-type", content_type).send().await;
            let body = answer.error("INVALID_INPUT");
            assert_eq!(body["error"], sentence, "{content_type}");
        }
    }
    for encoding in ["gzip", "br", "identity, gzip", "nonsense", ""] {
        let call = api.post("jobs", &json!({"workflow": "generate_image"}));
        let answer = call.header("content-encoding", encoding).send().await;
        let body = answer.error("INVALID_INPUT");
        assert_eq!(body["error"], "The Content-Encoding must be identity");
    }
    for (name, value) in [
        ("content-type", "application/json; charset=UTF-8"),
        ("content-type", "application/json; charset=\"utf-8\""),
        ("content-type", "application/json; profile=x"),
        ("content-type", "application/problem+json"),
        ("content-encoding", "identity"),
    ] {
        let call = api.post("jobs", &json!({}));
        let body = call.header(name, value).send().await.error("INVALID_INPUT");
        assert_eq!(
            body["error"], "Missing required field: workflow (string)",
            "{value}"
        );
    }
}
