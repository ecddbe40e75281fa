//! G4: every call of the store, of the provider and of the files fails once, in every way, in every flow: the first one, the
//! second, and so on until a flow passes without reaching the point. Nothing is left to chance.

mod flows;

use super::{Outcome, Run, Violation, in_memory};
use crate::fixture::template;
use crate::pool;
use crate::sim::{Act, Actor, Sim, on_paused_time};
use anyhow::{Context, bail, ensure};
use flows::{FLOWS, Flow};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use vydra_testkit::{Fault, OUTSIDE_POINTS, STORE_POINTS};

/// Points that no flow of a customer or an operator reaches, each with its reason. One that is reached must leave the list.
const UNREACHED: &[(&str, &str)] = &[
    (
        "audit",
        "only looks; the audit of the books is proved by damage instead",
    ),
    (
        "key_anywhere",
        "asked by the command line alone, which writes nothing behind it",
    ),
    ("late_jobs", "only looks, for the operator"),
    (
        "unnamed_files",
        "only looks; what it finds is removed from the files alone",
    ),
    (
        "record_no_thumbnail",
        "only spares work; no thumbnail is asked for while jobs are proved",
    ),
    ("kept_assets", "only looks, for the operator"),
    ("attempts", "only looks, for the operator"),
    (
        "release_leases_of",
        "for the jobs of another server; a file has one server alone",
    ),
    (
        "admit_key",
        "asked of a store that several processes share; the store's own suite proves it",
    ),
    (
        "admit",
        "asked of a store that several processes share; the store's own suite proves it",
    ),
];

/// How often a point may be reached in one flow before it is a loop that never ends.
const MOST: u64 = 200;

/// A flow, and all that goes wrong in it.
#[derive(Debug, Clone, Copy)]
struct Case {
    flow: &'static Flow,
    point: &'static str,
    fault: Fault,
}

impl Case {
    fn name(&self, nth: u64) -> String {
        format!(
            "{}: {} {} {nth}",
            self.flow.name,
            self.fault.as_str(),
            self.point
        )
    }
}

pub(super) fn prove(run: &Run) -> Outcome {
    let folder = in_memory()?;
    let template = template(folder.path())?;
    let only = run.only.as_deref().unwrap_or_default();
    // What each flow reaches when nothing goes wrong.
    let reached = Mutex::new(BTreeMap::new());
    pool::each(FLOWS.len() as u64, |number| {
        let flow = &FLOWS[usize::try_from(number)?];
        let calls = one(&template, run.seed, flow, None).with_context(|| flow.name)?;
        lock(&reached).insert(flow.name, calls.into_keys().collect::<BTreeSet<_>>());
        Ok(())
    })
    .map_err(|(_, error)| Violation::from(error))?;
    let reached = reached.into_inner().unwrap_or_default();
    let points = complete(&reached)?;
    let cases: Vec<Case> = FLOWS
        .iter()
        .flat_map(|flow| {
            let points = reached.get(flow.name).into_iter().flatten();
            points.flat_map(move |point| Fault::ALL.map(|fault| Case { flow, point, fault }))
        })
        .filter(|case| {
            // The case may be named whole, with its number.
            let name = case.name(0);
            let name = name.trim_end_matches('0').trim_end();
            name.contains(only) || only.starts_with(name)
        })
        .collect();
    let each = cases.len() as u64;
    let all = each * run.count;
    let chosen = |number: u64| {
        let case = usize::try_from(number % each.max(1)).ok();
        let case = case.and_then(|place| cases.get(place));
        (case, run.seed + number / each.max(1))
    };
    let runs = pool::each(all, |number| {
        let (case, seed) = chosen(number);
        let runs = until_clean(&template, seed, case.context("a case")?);
        run.progress.step(all);
        runs
    })
    .map_err(|(number, error)| {
        let (case, seed) = chosen(number);
        let name = case.map(|case| case.name(0)).unwrap_or_default();
        let only = name.trim_end_matches('0').trim_end();
        Violation::at(format!("--seed {seed} --count 1 --only '{only}'"), error)
    })?;
    Ok(format!(
        "{} flows, {points} points, {} runs, each with one fault: all ended, none was paid wrongly",
        FLOWS.len(),
        runs.iter().sum::<u64>()
    ))
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The points that are reached are all that there are. Says how many.
fn complete(reached: &BTreeMap<&str, BTreeSet<&'static str>>) -> anyhow::Result<usize> {
    let reached: BTreeSet<&str> = reached.values().flatten().copied().collect();
    let exempt: BTreeSet<&str> = UNREACHED.iter().map(|(point, _)| *point).collect();
    let all: BTreeSet<&str> = STORE_POINTS.iter().chain(OUTSIDE_POINTS).copied().collect();
    let missing: Vec<&&str> = all
        .iter()
        .filter(|point| !reached.contains(**point) && !exempt.contains(**point))
        .collect();
    ensure!(missing.is_empty(), "no flow reaches {missing:?}");
    let needless: Vec<&&str> = exempt
        .iter()
        .filter(|point| reached.contains(**point))
        .collect();
    ensure!(
        needless.is_empty(),
        "flows reach {needless:?}, which are said not to be reached"
    );
    Ok(reached.len())
}

/// How many runs it took until the point was not reached any more.
fn until_clean(template: &Path, seed: u64, case: &Case) -> anyhow::Result<u64> {
    for nth in 1..=MOST {
        let calls = one(
            template,
            seed,
            case.flow,
            Some((case.point, nth, case.fault)),
        )
        .with_context(|| case.name(nth))?;
        if calls.get(case.point).copied().unwrap_or(0) < nth {
            return Ok(nth);
        }
    }
    bail!("{} is reached without end", case.name(MOST))
}

/// A flow from its beginning to where all has ended. Says how often each point was reached in the flow itself.
fn one(
    template: &Path,
    seed: u64,
    flow: &Flow,
    fault: Option<(&'static str, u64, Fault)>,
) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    on_paused_time(async {
        let actor = Actor::new(flow.repeatable, |_| Act::Make);
        let mut sim = Sim::new(template, seed, actor, |setup| {
            setup.auth.bot_register = true;
            flows::WORKFLOW.clone_into(&mut setup.catalog);
            setup.hosted = flow.bounds();
        })
        .await?;
        let prepared = flows::prepare(&mut sim, flow).await?;
        sim.faults.take_calls();
        if let Some((point, nth, fault)) = fault {
            sim.faults.at(point, nth, fault);
        }
        let bought = (flow.run)(&mut sim, &prepared).await?;
        let calls = sim.faults.take_calls();
        let books = sim.settle().await?;
        // Every purchase was asked for with a key until it was answered: no more and no fewer.
        let jobs: BTreeSet<&str> = books.jobs.iter().map(|job| job.id.as_str()).collect();
        let known: BTreeSet<&str> = prepared
            .jobs
            .iter()
            .chain(&bought)
            .map(String::as_str)
            .collect();
        ensure!(
            jobs == known,
            "{jobs:?} were bought, and {known:?} were told"
        );
        Ok(calls)
    })
}
