//! How far each step of a job is: its progress, whether it runs, and its task at the provider.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vydra_core::job::Call;
use vydra_outbound::provider::Provider;

pub(super) type Task = (Arc<dyn Provider>, String);

#[derive(Debug)]
pub(super) struct Stages {
    progress: Arc<[AtomicU8]>,
    standing: Mutex<Standing>,
}

#[derive(Debug, Default)]
struct Standing {
    running: BTreeSet<u32>,
    /// Refused for now, so that nothing was bought.
    resting: BTreeSet<u32>,
    tasks: BTreeMap<u32, Task>,
}

impl Stages {
    pub(super) fn new(call: &Call) -> Self {
        Self {
            progress: call.calls().map(|_| AtomicU8::new(0)).collect(),
            standing: Mutex::default(),
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, step: u32) {
        self.standing().running.insert(step);
    }

    pub(super) fn finish(&self, step: u32) {
        self.standing().running.remove(&step);
        raise(&self.progress, step, 100);
    }

    pub(super) fn rest(&self, step: u32, rests: bool) {
        let mut standing = self.standing();
        if rests {
            standing.resting.insert(step);
        } else {
            standing.resting.remove(&step);
        }
    }

    pub(super) fn resting(&self) -> Vec<u32> {
        self.standing().resting.iter().copied().collect()
    }

    /// A provider has this step under this name.
    pub(super) fn open(&self, step: u32, provider: Arc<dyn Provider>, task: String) {
        self.standing().tasks.insert(step, (provider, task));
    }

    pub(super) fn close(&self, step: u32) {
        self.standing().tasks.remove(&step);
    }

    /// Those that providers still work on.
    pub(super) fn tasks(&self) -> Vec<Task> {
        self.standing().tasks.values().cloned().collect()
    }

    /// What a provider tells the progress of a step to.
    pub(super) fn meter(&self, step: u32) -> Arc<dyn Fn(u8) + Send + Sync> {
        let progress = Arc::clone(&self.progress);
        Arc::new(move |percent| raise(&progress, step, percent))
    }

    /// The mean of all steps.
    pub(super) fn progress(&self) -> u8 {
        let sum: u64 = self
            .progress
            .iter()
            .map(|step| u64::from(step.load(Ordering::Relaxed)))
            .sum();
        let count = u64::try_from(self.progress.len().max(1)).unwrap_or(1);
        u8::try_from(sum / count).unwrap_or(100)
    }

    /// Which steps run, for a human; None for a job of one call.
    pub(super) fn message(&self, call: &Call) -> Option<String> {
        if call.steps.is_empty() {
            return None;
        }
        let running = &self.standing().running;
        let (numbers, names): (Vec<String>, Vec<&str>) = running
            .iter()
            .filter_map(|step| {
                let found = call.steps.get(usize::try_from(*step).ok()?)?;
                Some(((step + 1).to_string(), found.name.as_str()))
            })
            .unzip();
        let word = match numbers.len() {
            0 => return None,
            1 => "Step",
            _ => "Steps",
        };
        let (numbers, names) = (numbers.join(", "), names.join(", "));
        Some(format!("{word} {numbers} of {}: {names}", call.steps.len()))
    }
}

fn raise(progress: &[AtomicU8], step: u32, percent: u8) {
    if let Some(meter) = usize::try_from(step)
        .ok()
        .and_then(|step| progress.get(step))
    {
        meter.fetch_max(percent.min(100), Ordering::Relaxed);
    }
}
