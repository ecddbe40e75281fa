//! How much memory another process needed at most, as Linux remembers it (`proc_pid_status(5)`, `proc_pid_clear_refs(5)`).

use anyhow::Context;
use std::path::PathBuf;

pub(super) const MIB: u64 = 1_024 * 1_024;
/// Forget the highest mark.
const FORGET: &str = "5";

#[derive(Debug)]
pub(super) struct Memory {
    folder: PathBuf,
}

impl Memory {
    pub(super) fn of(process: u32) -> Self {
        Self {
            folder: format!("/proc/{process}").into(),
        }
    }

    /// What is resident now, in bytes, from where the highest mark is kept anew.
    pub(super) fn begin(&self) -> anyhow::Result<u64> {
        std::fs::write(self.folder.join("clear_refs"), FORGET)?;
        self.field("VmRSS:")
    }

    pub(super) fn grown_since(&self, before: u64) -> anyhow::Result<u64> {
        Ok(self.field("VmHWM:")?.saturating_sub(before))
    }

    fn field(&self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(self.folder.join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib: u64 = line
            .and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok())
            .with_context(|| format!("there is no {name} of the process"))?;
        Ok(kib * 1_024)
    }
}
