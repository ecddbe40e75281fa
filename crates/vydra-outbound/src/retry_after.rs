//! When a provider may be asked again: one reader for all the ways in which they say so.

use reqwest::header::{DATE, HeaderMap};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// Nobody is believed who wants a longer rest: the job's own deadline decides then.
pub const LONGEST: Duration = Duration::from_mins(2);
/// Names of headers that count the seconds until some limit begins anew, the plainest first.
const RESETS: [&str; 5] = [
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset-after",
    "x-ratelimit-reset",
    "ratelimit-reset",
];
/// A larger number of seconds is a date.
const LARGEST_SPAN: f64 = 1e9;

/// In this order: `retry-after-ms`, `Retry-After` (seconds or an HTTP date, RFC 9110, section 10.2.3), a `RetryInfo` of the
/// Google error model, `retry_after` in the body, and the headers that tell when a limit begins anew. At most [`LONGEST`].
///
/// A date counts from the answer's own `Date`: the clocks of two machines differ.
pub fn read(headers: &HeaderMap, body: Option<&Value>) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let now = text(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
    text("retry-after-ms")
        .and_then(number)
        .map(|ms| ms / 1000.0)
        .or_else(|| text("retry-after").and_then(|value| seconds(value, now)))
        .or_else(|| body.and_then(retry_info))
        .or_else(|| body.and_then(retry_after))
        .or_else(|| RESETS.iter().find_map(|name| seconds(text(name)?, now)))
        .map(bounded)
}

fn bounded(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).map_or(LONGEST, |span| span.min(LONGEST))
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// `30`, `0.5`, `34.4s`, `120ms`, `1m30.5s`, an HTTP date, or a date in seconds or milliseconds since 1970.
fn seconds(text: &str, now: Option<SystemTime>) -> Option<f64> {
    if let Some(plain) = number(text) {
        if plain < LARGEST_SPAN {
            return Some(plain);
        }
        let since_1970 = if plain < LARGEST_SPAN * 100.0 {
            plain
        } else {
            plain / 1000.0
        };
        let now = now?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        return Some(since_1970 - now.as_secs_f64());
    }
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(
            date.duration_since(now?)
                .map_or(0.0, |span| span.as_secs_f64()),
        );
    }
    span(text)
}

fn span(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value = number(&rest[..digits])?;
        let unit = &rest[digits..];
        let end = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        sum += value
            * match &unit[..end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &unit[end..];
    }
    (!text.is_empty()).then_some(sum)
}

/// `error.details[]` with a `retryDelay`; the whole may be the only element of a list.
fn retry_info(body: &Value) -> Option<f64> {
    let error = body.get("error").or_else(|| body.get(0)?.get("error"))?;
    let details = error.get("details")?.as_array()?;
    details
        .iter()
        .find_map(|detail| span(detail.get("retryDelay")?.as_str()?.trim()))
}

fn retry_after(body: &Value) -> Option<f64> {
    let told = body.get("retry_after")?;
    told.as_f64()
        .or_else(|| seconds(told.as_str()?.trim(), None))
        .filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_way_to_say_it_is_understood() {
        const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let google = json!({"error": {"details": [{"@type": "x"}, {"retryDelay": "34.4s"}]}});
        for (list, body, expected) in [
            (&[("retry-after-ms", "1500.5")][..], json!({}), Some(1500.5)),
            (
                &[("retry-after-ms", "10"), ("retry-after", "7")],
                json!({}),
                Some(10.0),
            ),
            (&[("retry-after", "7")], json!({}), Some(7_000.0)),
            (&[("retry-after", "0.25")], json!({}), Some(250.0)),
            (&[("retry-after", "-3")], json!({}), Some(0.0)),
            (&[("retry-after", "999999")], json!({}), Some(120_000.0)),
            (
                &[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")],
                json!({}),
                Some(20_000.0),
            ),
            (
                &[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT")],
                json!({}),
                Some(0.0),
            ),
            (
                &[("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")],
                json!({}),
                None,
            ),
            (&[("retry-after", "soon")], json!({}), None),
            (&[], google.clone(), Some(34_400.0)),
            (&[], json!([google]), Some(34_400.0)),
            (&[], json!({"retry_after": 3}), Some(3_000.0)),
            (&[], json!({"retry_after": "3.5"}), Some(3_500.0)),
            (&[], json!({"retry_after": null}), None),
            (
                &[("x-ratelimit-reset-requests", "1m30.5s")],
                json!({}),
                Some(90_500.0),
            ),
            (
                &[("x-ratelimit-reset-requests", "120ms")],
                json!({}),
                Some(120.0),
            ),
            (&[("x-ratelimit-reset", "12")], json!({}), Some(12_000.0)),
            (
                &[DATE, ("x-ratelimit-reset", "784111787")],
                json!({}),
                Some(120_000.0),
            ),
            (&[], json!({}), None),
            (&[("retry-after", "")], json!({}), None),
            (&[("retry-after", "NaN")], json!({}), None),
            (&[("retry-after", "inf")], json!({}), None),
        ] {
            let found = read(&headers(list), Some(&body)).map(|span| span.as_secs_f64() * 1000.0);
            assert_eq!(found, expected, "{list:?} {body}");
        }
    }

    #[test]
    fn a_date_in_seconds_or_milliseconds_is_told_from_a_span() {
        let date = ("date", "Sat, 28 Nov 2026 05:00:00 GMT");
        for reset in ["1795842030", "1795842030000"] {
            let found = read(&headers(&[date, ("x-ratelimit-reset", reset)]), None);
            assert_eq!(found, Some(Duration::from_secs(30)), "{reset}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_within_the_bounds(
            name in proptest::sample::select(vec!["retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit-reset"]),
            value in "[ -~]{0,30}|[0-9.]{0,8}(ms|s|m|h){0,2}[0-9.]{0,4}",
            date in "[ -~]{0,30}",
            told in "\\PC{0,20}",
        ) {
            let list = [(name, value.as_str()), ("date", date.as_str())];
            for body in [json!({"retry_after": told}), json!({"error": {"details": [{"retryDelay": told}]}}), json!([told])] {
                if let Some(span) = read(&headers(&list), Some(&body)) {
                    prop_assert!(span <= LONGEST);
                }
            }
        }
    }
}
