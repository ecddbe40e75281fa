//! What is measured, one file a scenario.

mod jobs;
mod read;
mod submit;

use crate::lab::Lab;
use crate::report::Section;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Read,
    Submit,
    Jobs,
}

impl Scenario {
    pub const ALL: [Self; 3] = [Self::Read, Self::Submit, Self::Jobs];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Jobs => "jobs",
        }
    }

    pub fn measure(self, lab: &mut Lab) -> anyhow::Result<Vec<Section>> {
        match self {
            Self::Read => read::measure(lab),
            Self::Submit => submit::measure(lab),
            Self::Jobs => jobs::measure(lab),
        }
    }
}
