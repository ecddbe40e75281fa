//! Claims take many jobs with one statement: one whose row is damaged is in nobody's way.

use crate::backend;
use crate::fixture::{Fixture, check, fresh};
use serde_json::json;
use tokio_postgres::NoTls;
use tokio_util::task::TaskTracker;
use vydra_core::ids::JobId;
use vydra_core::job::{Job, Mode};
use vydra_store::store::{Claimed, NewJob, Submission};

async fn claim(f: &Fixture) -> Claimed {
    claim_up_to(f, 9).await
}

async fn claim_up_to(f: &Fixture, places: usize) -> Claimed {
    let claim = f.new_claim(Mode::Live, places, f.now());
    f.store.claim_jobs(claim).await.unwrap()
}

fn ids(claimed: &Claimed) -> Vec<JobId> {
    let jobs = claimed.jobs.iter();
    jobs.map(|claimed| claimed.job.id.clone()).collect()
}

async fn submit(f: &Fixture, new: NewJob) -> Job {
    match f.store.submit_job(new).await.unwrap() {
        Submission::Accepted { job, .. } => *job,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_changed_keeps_nobody_from_being_claimed() {
    let f = fresh().await;
    let org = f.org(100).await;
    let first = f.job(&org.id, 1).await;
    let broken = f.job(&org.id, 1).await;
    let last = f.job(&org.id, 1).await;
    f.execute(&format!(
        "CREATE FUNCTION break_page() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'a page is damaged' USING ERRCODE = 'data_corrupted'; END $$;
         CREATE TRIGGER break_page BEFORE UPDATE ON jobs FOR EACH ROW WHEN (OLD.id = '{}') EXECUTE FUNCTION break_page()",
        broken.id
    ));
    let claimed = claim(&f).await;
    assert_eq!(ids(&claimed), [first.id, last.id]);
    assert_eq!(claimed.unreadable, []);
    let claimed = claim(&f).await;
    assert_eq!((ids(&claimed), claimed.unreadable), (vec![], vec![]));

    f.execute("DROP TRIGGER break_page ON jobs");
    assert_eq!(ids(&claim(&f).await), [broken.id]);
    check(f).await;
}

/// What cannot be had gives its place to the next one, also when there is one place.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_goes_to_the_first_job_that_can_be_taken() {
    let f = fresh().await;
    let org = f.org(100).await;
    let mut jobs = Vec::new();
    for _ in 0..10 {
        jobs.push(f.job(&org.id, 1).await.id);
    }
    f.execute(&format!(
        "CREATE FUNCTION break_row() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'a page is damaged' USING ERRCODE = 'data_corrupted'; END $$;
         CREATE TRIGGER break_row BEFORE UPDATE ON jobs FOR EACH ROW WHEN (OLD.id = '{}') EXECUTE FUNCTION break_row()",
        jobs[0]
    ));
    assert_eq!(ids(&claim_up_to(&f, 1).await), [jobs[1].clone()]);
    f.execute("DROP TRIGGER break_row ON jobs");

    // As another node does that takes them at the same moment.
    let url = backend::url(f.directory.path());
    let (mut holder, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    let background = TaskTracker::new();
    background.spawn(connection);
    let holding = holder.transaction().await.unwrap();
    let held = "SELECT FROM jobs WHERE id = ANY ($1) FOR NO KEY UPDATE";
    let first: Vec<&str> = [0, 2, 3].map(|place: usize| jobs[place].as_str()).to_vec();
    assert_eq!(holding.execute(held, &[&first]).await.unwrap(), 3);
    assert_eq!(ids(&claim_up_to(&f, 3).await), jobs[4..7]);
    holding.rollback().await.unwrap();
    assert_eq!(
        ids(&claim_up_to(&f, 3).await),
        [0, 2, 3].map(|place| jobs[place].clone())
    );
    check(f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_handed_out_to_be_ended() {
    let f = fresh().await;
    let org = f.org(100).await;
    let first = f.job(&org.id, 1).await;
    // Too long for its page, and nothing that could be made shorter.
    let prompt: String = (0..2_000).map(|_| f.job_id().as_str().to_owned()).collect();
    let mut long = f.new_job(&org.id, 10);
    long.input = json!({"prompt": prompt}).as_object().unwrap().clone();
    let broken = submit(&f, long).await;
    let last = f.job(&org.id, 1).await;
    let parts = backend::text(
        f.directory.path(),
        "SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'jobs'::regclass",
    );
    f.execute(&format!(
        "CREATE EXTENSION pg_surgery;
         SELECT heap_force_kill('{parts}'::regclass, ARRAY(SELECT ctid FROM {parts}))"
    ));
    let claimed = claim(&f).await;
    assert_eq!(ids(&claimed), [first.id, last.id]);
    let [unreadable] = <[_; 1]>::try_from(claimed.unreadable).unwrap();
    assert_eq!(unreadable.job, broken.id);
    f.store.settle_job(&unreadable, f.failed()).await.unwrap();
    assert_eq!(f.live_balance(&org.id).await, 98);
}
