//! Identifiers: a prefix that says what it names, and 26 characters of time and randomness (a ULID).

use crate::random::Random;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

const ULID_LENGTH: usize = 26;

fn make(prefix: &str, now: Timestamp, random: &dyn Random) -> String {
    let mut bytes = [0_u8; 16];
    random.fill(&mut bytes);
    let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
    let ulid = ulid::Ulid::from_parts(millis, u128::from_be_bytes(bytes));
    let mut text = String::with_capacity(prefix.len() + ULID_LENGTH);
    text.push_str(prefix);
    text.push_str(&ulid.to_string().to_ascii_lowercase());
    text
}

fn well_formed(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == ULID_LENGTH
            && rest
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn new(now: Timestamp, random: &dyn Random) -> Self {
                Self(make($prefix, now, random))
            }

            /// None when `text` cannot be such an id.
            pub fn parse(text: &str) -> Option<Self> {
                well_formed($prefix, text).then(|| Self(text.to_owned()))
            }

            /// From a place that only holds ids that we made, such as our own store.
            pub fn trusted(text: String) -> Self {
                Self(text)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The part behind the prefix: letters and digits only.
            pub fn bare(&self) -> &str {
                self.0.strip_prefix($prefix).unwrap_or(&self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// An organization: who is billed and limited.
    OrgId, "org_"
);
id!(
    /// A person who logs in.
    UserId, "user_"
);
id!(
    /// An API key (not its secret).
    KeyId, "key_"
);
id!(
    /// A job: one paid piece of work.
    JobId, "job_"
);
id!(
    /// A row of the ledger.
    EntryId, "txn_"
);
id!(
    /// A stored media file.
    AssetId, "ast_"
);
id!(
    /// The end of a job, as it is told to others. There is one of each job, and both have the same letters.
    EventId, "evt_"
);
id!(
    /// Where an organization wants to be told of events.
    EndpointId, "whe_"
);
id!(
    /// One event on its way to one address.
    DeliveryId, "dlv_"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::tests::Counting;
    use std::sync::Mutex;

    #[test]
    fn an_id_parses_back_and_sorts_by_time() {
        let random = Counting(Mutex::new(7));
        let early = JobId::new(Timestamp::from_micros(1_000_000), &random);
        let late = JobId::new(Timestamp::from_micros(2_000_000), &random);
        assert!(early < late);
        assert_eq!(JobId::parse(early.as_str()), Some(early.clone()));
        assert_eq!(early.bare().len(), ULID_LENGTH);
    }

    #[test]
    fn refuses_what_is_not_an_id() {
        for text in [
            "",
            "job_",
            "job_1",
            "org_01jd0000000000000000000000",
            "job_01JD0000000000000000000000",
            "job_01jd000000000000000000000'",
        ] {
            assert_eq!(JobId::parse(text), None, "{text}");
        }
    }
}
