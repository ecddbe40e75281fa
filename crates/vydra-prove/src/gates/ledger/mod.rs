//! G1: random histories on the store, step by step beside a naive model of the books.

mod model;

use super::{Outcome, Run, Violation, in_memory};
use crate::books;
use crate::fixture::{Fixture, LEASE, MANY_JOBS, template};
use crate::pool;
use anyhow::Context;
use model::{Model, Step, WholeOr};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;
use vydra_core::job::{Mode, PROCESSING_LIMIT};

pub(super) const STEPS: usize = 50;

fn step() -> impl Strategy<Value = Step> {
    let pick = 0..1_000_usize;
    let mode = || prop_oneof![3 => Just(Mode::Live), 1 => Just(Mode::Test)];
    let settle = prop_oneof![
        Just(WholeOr::Whole),
        (1..=4_u32).prop_map(WholeOr::Partial),
        Just(WholeOr::Failed)
    ];
    let spans = [Duration::from_millis(1), LEASE, PROCESSING_LIMIT];
    let p = pick;
    prop_oneof![
        1 => (0..200_i64, 0..50_i64).prop_map(|(live, test)| Step::Organization { live, test }),
        2 => (p.clone(), mode(), 1..100_i64).prop_map(|(org, mode, amount)| Step::Grant { org, mode, amount }),
        8 => (p.clone(), mode(), 1..60_i64, prop_oneof![Just(MANY_JOBS), 0..6_u32], any::<bool>(), any::<bool>())
            .prop_map(|(org, mode, price, concurrent, keyed, at_once)| Step::Submit { org, mode, price, concurrent, keyed, at_once }),
        5 => (mode(), 0..4_usize).prop_map(|(mode, count)| Step::Claim { mode, count }),
        6 => (p.clone(), settle).prop_map(|(lease, how)| Step::Settle { lease, how }),
        3 => (p.clone(), p.clone()).prop_map(|(job, by)| Step::Cancel { job, by }),
        2 => (0..4_usize).prop_map(|most| Step::Expire { most }),
        2 => p.clone().prop_map(|lease| Step::HandBack { lease }),
        2 => prop::sample::select(spans.to_vec()).prop_map(|time| Step::Pass { time }),
        1 => p.clone().prop_map(|grant| Step::GrantAgain { grant }),
        1 => p.clone().prop_map(|submission| Step::SubmitAgain { submission }),
        1 => p.prop_map(|submission| Step::ReplayKey { submission }),
        1 => Just(Step::ReleaseLeases),
    ]
}

pub(super) fn prove(run: &Run) -> Outcome {
    let folder = in_memory()?;
    let template = template(folder.path())?;
    let steps = pool::each(run.count, |number| {
        let steps = history(&template, run.seed + number);
        run.progress.step(run.count);
        steps
    })
    .map_err(|(number, error)| {
        Violation::at(format!("--seed {} --count 1", run.seed + number), error)
    })?;
    Ok(format!(
        "{} steps in {} histories, after each of which model, store and rows say the same",
        steps.iter().sum::<u64>(),
        run.count
    ))
}

/// One history; a failing one is made as short as it can be, and told step by step.
fn history(template: &Path, seed: u64) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let taken = Cell::new(0);
    let outcome = runner.run(&prop::collection::vec(step(), STEPS), |steps| {
        taken.set(steps.len() as u64);
        runtime
            .block_on(carry_out(template, seed, steps))
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    match outcome {
        Ok(()) => Ok(taken.get()),
        Err(TestError::Fail(reason, steps)) => {
            let story: Vec<String> = steps.iter().map(|step| format!("    {step:?}")).collect();
            Err(anyhow::anyhow!(
                "{reason}, at the end of\n{}",
                story.join("\n")
            ))
        }
        Err(TestError::Abort(reason)) => Err(anyhow::anyhow!("given up: {reason}")),
    }
}

async fn carry_out(template: &Path, seed: u64, steps: Vec<Step>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(template.parent().context("a place")?)?;
    let fixture = Fixture::copied(template, &folder.path().join("vydra.db"), seed)?;
    let mut model = Model::default();
    let first = Step::Organization {
        live: 150,
        test: 30,
    };
    for step in std::iter::once(first).chain(steps) {
        let told = format!("{step:?}");
        model.apply(&fixture, step).await.context(told)?;
        model.compare_balances(&fixture).await?;
    }
    model.compare(&fixture).await?;
    let audit = fixture.store.audit().await?;
    anyhow::ensure!(
        audit.imbalances.is_empty(),
        "the audit says: {:?}",
        audit.imbalances
    );
    let books = books::check(&fixture.database)?;
    model.compare_rows(&books)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_are_those_of_the_model() {
        let folder = in_memory().unwrap();
        let template = template(folder.path()).unwrap();
        let steps = pool::each(60, |seed| history(&template, seed)).unwrap();
        assert_eq!(steps.iter().sum::<u64>(), 60 * STEPS as u64);
    }
}
