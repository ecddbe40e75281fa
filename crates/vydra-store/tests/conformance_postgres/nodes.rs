//! Two nodes on one database, each with lanes of its own.

use crate::backend;
use crate::fixture::{at_once, check, fresh};
use std::sync::Arc;
use vydra_core::job::Mode;
use vydra_store::store::{Cancellation, Submission};

const ORGANIZATIONS: usize = 12;
const ROUNDS: usize = 8;
/// Of each organization in each round, on each node.
const JOBS: usize = 3;

/// They submit, settle and cancel jobs of the same organizations at once, so that each batch locks many balances. No job is
/// claimed twice, nothing is refused, and no two batches have waited for each other.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_the_work_and_wait_for_no_circle() {
    let f = Arc::new(fresh().await);
    let nodes = [Arc::clone(&f.store), f.another().await];
    let mut orgs = Vec::new();
    for _ in 0..ORGANIZATIONS {
        orgs.push(f.org(100_000).await.id);
    }
    let mut claimed = Vec::new();
    for _ in 0..ROUNDS {
        let submits = nodes.iter().flat_map(|node| {
            let jobs = orgs
                .iter()
                .flat_map(|org| (0..JOBS).map(|_| f.new_job(org, 10)));
            let submit = |new| {
                let node = Arc::clone(node);
                async move { node.submit_job(new).await.unwrap() }
            };
            jobs.map(submit).collect::<Vec<_>>()
        });
        let submitted = at_once(submits.collect::<Vec<_>>()).await;
        assert!(
            submitted
                .iter()
                .all(|one| matches!(one, Submission::Accepted { .. }))
        );
        let claims = nodes.clone().map(|node| {
            let claim = f.new_claim(Mode::Live, submitted.len(), f.now());
            async move { node.claim_jobs(claim).await.unwrap().jobs }
        });
        let held: Vec<_> = at_once(claims).await.into_iter().flatten().collect();
        claimed.extend(held.iter().map(|held| held.job.id.clone()));
        let ends = held.into_iter().enumerate().map(|(number, held)| {
            let (node, f) = (Arc::clone(&nodes[number % 2]), Arc::clone(&f));
            async move {
                if number % 5 == 0 {
                    let (org, job) = (&held.job.org_id, &held.job.id);
                    let cancelled = node.cancel_job(org, job, f.entry(), f.now()).await;
                    assert!(matches!(cancelled.unwrap(), Cancellation::Now(_)));
                } else {
                    node.settle_job(&held.lease, f.failed()).await.unwrap();
                }
            }
        });
        at_once(ends.collect::<Vec<_>>()).await;
    }
    let count = claimed.len();
    assert_eq!(count, 2 * ORGANIZATIONS * ROUNDS * JOBS, "none was left");
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), count, "none was claimed twice");
    for org in &orgs {
        assert_eq!(f.live_balance(org).await, 100_000, "all came back");
    }
    let directory = f.directory.path().to_owned();
    drop(nodes);
    // A session tells of its deadlocks when it ends at the latest.
    backend::execute(&directory, "SELECT pg_stat_force_next_flush()");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(backend::text(&directory, deadlocks), "0");
    check(Arc::into_inner(f).unwrap()).await;
}
