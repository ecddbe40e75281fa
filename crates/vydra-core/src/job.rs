//! Jobs: every generation is one (contract, section 7).

use crate::asset::{Asset, MediaKind};
use crate::catalog::Pricing;
use crate::credits::Credits;
use crate::error_code::ErrorCode;
use crate::ids::{JobId, KeyId, OrgId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// Contract, section 8: after this much processing a job fails with its refund.
pub const PROCESSING_LIMIT: Duration = Duration::from_mins(30);

/// Real credits, or the sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Live,
    Test,
}

impl Mode {
    pub const ALL: [Self; 2] = [Self::Live, Self::Test];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Where a job stands. The last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl JobStatus {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The legal graph: forwards only, and nothing leaves a final state.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Pending, Self::Running | Self::Failed | Self::Cancelled)
            | (Self::Running, Self::Completed | Self::Failed | Self::Cancelled) => true,
            (
                Self::Pending | Self::Running | Self::Completed | Self::Failed | Self::Cancelled,
                Self::Pending | Self::Running | Self::Completed | Self::Failed | Self::Cancelled,
            ) => false,
        }
    }
}

/// What a job does, decided when it is created, so that a later change of the catalogue changes no job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub model: String,
    pub kind: MediaKind,
    pub action: Action,
    /// How many outputs were paid for.
    pub outputs: u32,
    /// The model's input, in the catalogue's spelling, with media given as `asset:<id>`.
    pub input: Map<String, Value>,
    /// Sandbox only: what the scripted provider shall do.
    #[serde(default, skip_serializing_if = "Script::is_plain")]
    pub script: Script,
    /// Why it costs what it costs. Empty for a job older than this field.
    #[serde(default, skip_serializing_if = "Pricing::is_empty")]
    pub pricing: Pricing,
}

/// What is done, as a word that a user understands: it makes the sentence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Generate,
    Edit,
}

impl Call {
    /// The seed's sentence, such as `Failed to generate image`.
    pub fn failure_sentence(&self) -> String {
        let noun = match self.kind {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Audio => "speech",
        };
        let verb = match self.action {
            Action::Generate => "generate",
            Action::Edit => "edit",
        };
        format!("Failed to {verb} {noun}")
    }
}

/// What the sandbox's provider is told to do (contract, section 12).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Script {
    pub fail: Option<ScriptedFailure>,
    pub slow_ms: u64,
    pub flaky: u32,
    pub deliver: Option<u32>,
}

impl Script {
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptedFailure {
    GenerationFailed,
    ContentPolicy,
    ProcessingTimeout,
    Lost,
}

/// Why a job did not deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: ErrorCode,
    /// For a human.
    pub message: String,
    /// A stable word for programs, such as `content_policy`.
    pub reason: String,
    /// Whether the same request may do better later.
    pub retryable: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub org_id: OrgId,
    pub key_id: Option<KeyId>,
    pub mode: Mode,
    pub workflow: Option<String>,
    pub status: JobStatus,
    pub progress: u8,
    pub status_message: Option<String>,
    /// What the caller asked for, as it is shown again; media as `asset:<id>`.
    pub input: Map<String, Value>,
    pub call: Call,
    pub price: Credits,
    pub refunded: Credits,
    pub failure: Option<Failure>,
    pub provider: Option<String>,
    pub external_id: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub outputs: Vec<Asset>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_final_state() {
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                assert!(
                    !(from.is_final() && from.may_become(to)),
                    "{from:?} to {to:?}"
                );
                assert!(
                    !(to == JobStatus::Pending && from.may_become(to)),
                    "{from:?} to {to:?}"
                );
            }
            assert_eq!(JobStatus::parse(from.as_str()), Some(from));
        }
    }
}
