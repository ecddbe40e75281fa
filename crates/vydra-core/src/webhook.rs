//! Webhooks: what is told, how it is signed, and when it is tried again (contract, section 10; the Standard Webhooks
//! specification).

use crate::ids::{DeliveryId, EndpointId, EventId, JobId, OrgId};
use crate::job::{JobStatus, Mode};
use crate::random::Random;
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::time::Duration;

/// An endpoint that has had nothing but failures for so long, and so many, is switched off.
pub const FAILURES: u32 = 10;
pub const FAILING_LIMIT: Duration = Duration::from_hours(5 * 24);
/// Whatever has not arrived so long after it was written, or asked for again, has failed.
pub const LONGEST_DELIVERY: Duration = Duration::from_hours(5 * 24);
/// Further into the future than this no receiver can put us off.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    #[serde(rename = "job.completed")]
    JobCompleted,
    #[serde(rename = "job.failed")]
    JobFailed,
    #[serde(rename = "job.cancelled")]
    JobCancelled,
    /// An endpoint of the same organization is told no more.
    #[serde(rename = "webhook.endpoint_disabled")]
    EndpointDisabled,
    /// Sent by hand.
    #[serde(rename = "webhook.test")]
    Test,
}

impl EventType {
    pub const ALL: [Self; 5] = [
        Self::JobCompleted,
        Self::JobFailed,
        Self::JobCancelled,
        Self::EndpointDisabled,
        Self::Test,
    ];
    /// Those that an endpoint can ask for; none of them asked for means all.
    pub const CHOICES: [Self; 4] = [
        Self::JobCompleted,
        Self::JobFailed,
        Self::JobCancelled,
        Self::EndpointDisabled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobCompleted => "job.completed",
            Self::JobFailed => "job.failed",
            Self::JobCancelled => "job.cancelled",
            Self::EndpointDisabled => "webhook.endpoint_disabled",
            Self::Test => "webhook.test",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// None while the job has not ended.
    pub const fn of(status: JobStatus) -> Option<Self> {
        match status {
            JobStatus::Completed => Some(Self::JobCompleted),
            JobStatus::Failed => Some(Self::JobFailed),
            JobStatus::Cancelled => Some(Self::JobCancelled),
            JobStatus::Pending | JobStatus::Running => None,
        }
    }
}

impl EventId {
    pub fn of(job: &JobId) -> Self {
        Self::trusted(format!("{}{}", Self::PREFIX, job.bare()))
    }

    /// The job whose end it is, if it is one.
    pub fn job(&self) -> JobId {
        JobId::trusted(format!("{}{}", JobId::PREFIX, self.bare()))
    }
}

/// With what an organization's webhooks are signed. No log shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    pub const PREFIX: &str = "whsec_";

    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = vec![0; 32];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// None when it is not `whsec_` and 24 to 64 bytes in base64.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(Self::PREFIX)?).ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// As its owner is shown it.
    pub fn reveal(&self) -> String {
        format!("{}{}", Self::PREFIX, BASE64.encode(&self.0))
    }

    /// `v1,` and the HMAC-SHA256 of `id.seconds.body`.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        // Cannot be: HMAC takes keys of any length. An empty signature is one that nobody accepts.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            return String::new();
        };
        mac.update(format!("{id}.{}.", at.as_seconds()).as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// The secret of an organization and mode, and those before it, the newest first, for as long as each is good too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSecrets {
    pub current: WebhookSecret,
    pub previous: Vec<(WebhookSecret, Timestamp)>,
}

impl WebhookSecrets {
    /// What stands in `webhook-signature`: one for each secret that is good now.
    pub fn signature(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let previous = self.previous.iter().filter(|(_, until)| at < *until);
        std::iter::once(&self.current)
            .chain(previous.map(|(secret, _)| secret))
            .map(|secret| secret.sign(id, at, body))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// When the last of those before it is over; None when there is none that is good now.
    pub fn previous_until(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.previous.iter().map(|(_, until)| *until);
        ends.filter(|until| *until > now).max()
    }
}

/// How long to wait after each attempt that failed. After one more than there are spans, it has failed for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule(pub Vec<Duration>);

impl RetrySchedule {
    /// When the next attempt is due, now that so many have failed; None when that was the last. A receiver may ask for
    /// more time, never for less. Up to a tenth is added by chance, so that what failed together does not come back
    /// together.
    pub fn next(
        &self,
        failed: u32,
        retry_after: Option<Duration>,
        now: Timestamp,
        random: &dyn Random,
    ) -> Option<Timestamp> {
        let place = usize::try_from(failed.checked_sub(1)?).ok()?;
        let span = *self.0.get(place)?;
        let wanted = retry_after.map_or(span, |asked| span.max(asked.min(LONGEST_RETRY_AFTER)));
        let mut byte = [0];
        random.fill(&mut byte);
        Some(now.plus(wanted + wanted * u32::from(byte[0]) / 2_560))
    }
}

/// Where an organization wants to be told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub org_id: OrgId,
    pub mode: Mode,
    pub url: String,
    /// Empty for all.
    pub events: Vec<EventType>,
    pub description: Option<String>,
    /// Why it is told nothing now.
    pub disabled: Option<(Disabled, Timestamp)>,
    /// Since when there was nothing but failures.
    pub failing_since: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Who or what switched an endpoint off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disabled {
    ByOwner,
    /// It answered 410.
    Gone,
    /// Nothing but failures for [`FAILING_LIMIT`].
    Failing,
}

impl Disabled {
    pub const ALL: [Self; 3] = [Self::ByOwner, Self::Gone, Self::Failing];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByOwner => "by_owner",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == text)
    }
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    /// To be tried, or tried again.
    Pending,
    Delivered,
    /// Given up.
    Failed,
}

impl DeliveryStatus {
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// One event on its way to one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub org_id: OrgId,
    pub mode: Mode,
    pub event: EventId,
    pub kind: EventType,
    /// None for the address that a job came with.
    pub endpoint_id: Option<EndpointId>,
    pub url: String,
    pub status: DeliveryStatus,
    /// How many attempts were begun.
    pub attempts: u32,
    /// The next one, of a delivery that is pending.
    pub next_attempt_at: Option<Timestamp>,
    /// Of the last attempt that has ended.
    pub last: Option<Attempted>,
    /// Why it has not arrived, for a human.
    pub error: Option<String>,
    pub created_at: Timestamp,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    pub at: Timestamp,
    /// What the receiver answered, if it did.
    pub response_status: Option<u16>,
    pub duration_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::tests::Counting;
    use std::sync::Mutex;

    fn seconds(s: i64) -> Timestamp {
        Timestamp::from_micros(s * 1_000_000)
    }

    /// Of the specification.
    #[test]
    fn the_known_answer_is_found() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            seconds(1_614_265_330),
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_parses_back_and_is_not_shown() {
        let secret = WebhookSecret::generate(&Counting(Mutex::new(1)));
        assert_eq!(WebhookSecret::parse(&secret.reveal()), Some(secret.clone()));
        assert_eq!(format!("{secret:?}"), "WebhookSecret(…)");
        for wrong in [
            "",
            "whsec_",
            "whsec_AAAA",
            "whsec_***",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ] {
            assert_eq!(WebhookSecret::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn both_sign_until_the_old_one_is_over() {
        let random = Counting(Mutex::new(1));
        let (old, new) = (
            WebhookSecret::generate(&random),
            WebhookSecret::generate(&random),
        );
        let secrets = WebhookSecrets {
            current: new.clone(),
            previous: vec![(old.clone(), seconds(100))],
        };
        let sign = |secret: &WebhookSecret, s| secret.sign("evt_1", seconds(s), b"{}");
        assert_eq!(
            secrets.signature("evt_1", seconds(99), b"{}"),
            format!("{} {}", sign(&new, 99), sign(&old, 99))
        );
        assert_eq!(
            secrets.signature("evt_1", seconds(100), b"{}"),
            sign(&new, 100)
        );
    }

    #[test]
    fn each_attempt_waits_its_span_or_as_long_as_it_is_asked_to() {
        let random = Counting(Mutex::new(1));
        let spans = [5, 30].map(Duration::from_secs);
        let schedule = RetrySchedule(spans.to_vec());
        let wait = |failed, asked: Option<u64>| {
            schedule
                .next(failed, asked.map(Duration::from_secs), seconds(0), &random)
                .map(|next| next.since(seconds(0)).as_secs_f64())
        };
        for (failed, asked, span) in [
            (1, None, 5.0),
            (2, None, 30.0),
            (1, Some(2), 5.0),
            (1, Some(60), 60.0),
            (1, Some(u64::MAX), 86_400.0),
        ] {
            let waited = wait(failed, asked).unwrap();
            assert!(
                (span..span * 1.1).contains(&waited),
                "{failed} {asked:?}: {waited}"
            );
        }
        assert_eq!(wait(3, None), None);
        assert_eq!(wait(3, Some(1)), None);
        assert_eq!(wait(0, None), None);
    }

    #[test]
    fn each_word_is_read_back() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(kind));
            assert_eq!(
                serde_json::to_value(kind).unwrap(),
                serde_json::json!(kind.as_str())
            );
        }
        for why in Disabled::ALL {
            assert_eq!(Disabled::parse(why.as_str()), Some(why));
            assert_eq!(
                serde_json::to_value(why).unwrap(),
                serde_json::json!(why.as_str())
            );
        }
        for status in DeliveryStatus::ALL {
            assert_eq!(DeliveryStatus::parse(status.as_str()), Some(status));
        }
        for status in JobStatus::ALL {
            let told = EventType::of(status).map(EventType::as_str);
            let word = format!("job.{}", status.as_str());
            assert_eq!(told, status.is_final().then_some(word.as_str()));
        }
    }
}
