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

/// Stands before an asset's id where a job's input names a stored file.
pub const ASSET: &str = "asset:";
/// Stands before a step's name where another step takes what it makes.
pub const STEP: &str = "step:";

/// What a job does, decided when it is created, so that a later change of the catalogue changes no job.
///
/// Model, kind, action and outputs are those of its only call or, of several steps, of the last one: that is what the
/// caller gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub model: String,
    pub kind: MediaKind,
    pub action: Action,
    /// How many outputs were paid for.
    pub outputs: u32,
    /// The model's input, in the catalogue's spelling, with media given as `asset:<id>`; of several steps, the workflow's.
    pub input: Map<String, Value>,
    /// In the order of the catalogue. Empty for a job of one call, which stands above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Whether only the first of its model's routes may be taken, as its caller wished.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_fallback: bool,
    /// Sandbox only: what the scripted provider shall do.
    #[serde(default, skip_serializing_if = "Script::is_plain")]
    pub script: Script,
    /// Why it costs what it costs. Empty for a job older than this field.
    #[serde(default, skip_serializing_if = "Pricing::is_empty")]
    pub pricing: Pricing,
}

/// One model call among several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in its job.
    pub name: String,
    pub model: String,
    pub kind: MediaKind,
    pub action: Action,
    pub outputs: u32,
    /// Media are given as `asset:<id>`, or as `step:<name>` for what another step makes.
    pub input: Map<String, Value>,
    /// The steps whose outputs it takes. Written down, as words of the caller may look like any reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// How the worker sees each model call of a job, whether it is the only one or one of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepCall<'a> {
    /// From 0, in the order of the job.
    pub number: u32,
    /// None for the call of a job that has only one.
    pub name: Option<&'a str>,
    pub model: &'a str,
    pub kind: MediaKind,
    pub action: Action,
    pub outputs: u32,
    pub input: &'a Map<String, Value>,
    pub needs: &'a [String],
    script: &'a Script,
    /// Whether it makes what the caller gets.
    pub is_last: bool,
}

impl StepCall<'_> {
    /// Its part of the job's script: what goes wrong goes wrong at the beginning, and what is missing is missing at the
    /// end.
    pub fn script(&self) -> Script {
        if self.name.is_none() {
            return self.script.clone();
        }
        let mut script = Script::default();
        if self.needs.is_empty() {
            script.clone_from(self.script);
            script.deliver = None;
        }
        if self.is_last {
            script.deliver = self.script.deliver;
        }
        script
    }
}

/// What is done, as a word that a user understands: it makes the sentence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Generate,
    Edit,
}

impl Call {
    /// Every model call of the job; never empty.
    pub fn calls(&self) -> impl ExactSizeIterator<Item = StepCall<'_>> {
        let count = self.steps.len().max(1);
        (0..u32::try_from(count).unwrap_or(u32::MAX)).map(move |number| {
            let place = number as usize;
            match self.steps.get(place) {
                Some(step) => StepCall {
                    number,
                    name: Some(&step.name),
                    model: &step.model,
                    kind: step.kind,
                    action: step.action,
                    outputs: step.outputs,
                    input: &step.input,
                    needs: &step.needs,
                    script: &self.script,
                    is_last: place + 1 == count,
                },
                None => StepCall {
                    number,
                    name: None,
                    model: &self.model,
                    kind: self.kind,
                    action: self.action,
                    outputs: self.outputs,
                    input: &self.input,
                    needs: &[],
                    script: &self.script,
                    is_last: true,
                },
            }
        })
    }

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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde calls"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
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
    use serde_json::json;

    fn call(json: Value) -> Call {
        serde_json::from_value(json).unwrap()
    }

    /// As rows were written before there were steps.
    #[test]
    fn a_job_of_one_call_is_one_step() {
        let row = json!({"model": "m", "kind": "image", "action": "edit", "outputs": 2, "input": {"prompt": "step:p"}});
        let call = call(row.clone());
        assert_eq!(serde_json::to_value(&call).unwrap(), row);
        let [only] = call.calls().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((only.number, only.name, only.model), (0, None, "m"));
        assert_eq!((only.kind, only.outputs), (MediaKind::Image, 2));
        assert_eq!(only.action, Action::Edit);
        assert_eq!(only.input, &call.input);
        assert!(only.needs.is_empty());
    }

    #[test]
    fn what_is_scripted_goes_wrong_at_the_beginning_and_is_missing_at_the_end() {
        let step = |name: &str, needs: &[&str]| json!({"name": name, "model": "m", "kind": "image", "action": "generate", "outputs": 1, "input": {}, "needs": needs});
        let script = json!({"fail": "lost", "slow_ms": 5, "flaky": 2, "deliver": 0});
        let several = call(json!({
            "model": "m", "kind": "image", "action": "generate", "outputs": 1, "input": {}, "script": script,
            "steps": [step("a", &[]), step("b", &[]), step("c", &["a"]), step("d", &["b", "c"])],
        }));
        let told: Vec<Script> = several.calls().map(|step| step.script()).collect();
        for first in &told[..2] {
            assert_eq!((first.flaky, first.slow_ms, first.deliver), (2, 5, None));
            assert_eq!(first.fail, Some(ScriptedFailure::Lost));
        }
        assert!(told[2].is_plain());
        assert_eq!(told[3].deliver, Some(0));
        assert_eq!((told[3].flaky, told[3].fail), (0, None));
        let mut single = several;
        single.steps.clear();
        assert_eq!(single.calls().next().unwrap().script(), single.script);
    }

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
