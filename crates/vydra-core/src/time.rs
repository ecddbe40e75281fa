//! Points in time, and the clock that is handed in.

use serde::{Serialize, Serializer};
use std::time::Duration;

/// Microseconds since 1970-01-01T00:00:00Z: what the store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// ISO 8601: a date, which means its first moment, or a date and a time; in UTC unless it says another offset.
    pub fn parse(text: &str) -> Option<Self> {
        let utc = jiff::tz::TimeZone::UTC;
        let moment = text.parse::<jiff::Timestamp>().or_else(|_no_offset| {
            let civil = text.parse::<jiff::civil::DateTime>()?;
            Ok::<_, jiff::Error>(civil.to_zoned(utc)?.timestamp())
        });
        moment.ok().map(|moment| Self(moment.as_microsecond()))
    }

    /// A date as HTTP headers have it (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn parse_http(text: &str) -> Option<Self> {
        let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Self(zoned.timestamp().as_microsecond()))
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// The span from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The wire form (contract, preamble): ISO 8601, UTC, milliseconds.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            // Outside the years -9999 to 9999 there is no ISO form; nothing of ours lives there.
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The only way to learn the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_with_milliseconds_in_utc() {
        assert_eq!(
            Timestamp::from_micros(1_614_265_330_123_999).to_string(),
            "2021-02-25T15:02:10.123Z"
        );
        assert_eq!(
            Timestamp::from_micros(0).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn dates_and_times_are_read() {
        for (text, micros) in [
            ("1970-01-02", 86_400_000_000),
            ("1970-01-01T00:00:01", 1_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T01:00:01.5+01:00", 1_500_000),
            ("2021-02-25T15:02:10.123Z", 1_614_265_330_123_000),
        ] {
            assert_eq!(
                Timestamp::parse(text).map(Timestamp::as_micros),
                Some(micros),
                "{text}"
            );
        }
        for wrong in [
            "",
            "yesterday",
            "1",
            "2026",
            "2026-13-01",
            "2026-02-30",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:00:00Q",
        ] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(
            Timestamp::parse_http("Sun, 06 Nov 1994 08:49:37 GMT").map(Timestamp::as_seconds),
            Some(784_111_777)
        );
        for wrong in ["", "120", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994"] {
            assert_eq!(Timestamp::parse_http(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_span_backwards_is_zero() {
        let (early, late) = (Timestamp::from_micros(5), Timestamp::from_micros(9));
        assert_eq!(late.since(early), Duration::from_micros(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
