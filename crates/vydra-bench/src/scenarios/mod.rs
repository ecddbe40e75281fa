//! What is measured, one file a scenario.

mod growth;
mod jobs;
mod latency;
mod limits;
mod memory;
mod read;
pub mod submit;
mod targets;

use crate::lab::Lab;
use crate::report::Section;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Read,
    Submit,
    Jobs,
    Latency,
    Memory,
    Limits,
    Growth,
    Targets,
}

impl Scenario {
    pub const OF_SQLITE: [Self; 7] = [
        Self::Read,
        Self::Submit,
        Self::Jobs,
        Self::Latency,
        Self::Memory,
        Self::Limits,
        Self::Growth,
    ];
    pub const OF_POSTGRES: [Self; 1] = [Self::Targets];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Jobs => "jobs",
            Self::Growth => "growth",
            Self::Limits => "limits",
            Self::Memory => "memory",
            Self::Latency => "latency",
            Self::Targets => "targets",
        }
    }

    pub fn measure(self, lab: &mut Lab) -> anyhow::Result<Section> {
        match self {
            Self::Read => read::measure(lab),
            Self::Submit => submit::measure(lab),
            Self::Jobs => jobs::measure(lab),
            Self::Growth => growth::measure(lab),
            Self::Limits => limits::measure(lab),
            Self::Memory => memory::measure(lab),
            Self::Latency => latency::measure(lab),
            Self::Targets => targets::measure(lab),
        }
    }
}
