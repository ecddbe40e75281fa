use crate::fixture::{Fixture, check, fresh};
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_core::ledger::{Entry, EntryKind};
use vydra_store::store::{EntryFilter, EntryPage};

async fn page(f: &Fixture, org: &OrgId, filter: EntryFilter) -> Option<EntryPage> {
    f.store.transactions(org, Mode::Live, filter).await.unwrap()
}

fn all() -> EntryFilter {
    EntryFilter {
        limit: 100,
        ..EntryFilter::default()
    }
}

fn amounts(entries: &[Entry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.amount).collect()
}

#[tokio::test]
async fn rows_come_newest_first_and_page_by_the_ledgers_own_order() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("a", 100, 50)).await;
    let other = f.org(100).await;
    let first = f.job(&org.id, 10).await;
    f.job(&other.id, 1).await;
    f.store
        .cancel_job(&org.id, &first.id, f.entry(), f.now())
        .await
        .unwrap();
    // At the very time of the job before it: only the ledger's order tells them apart.
    let mut twin = f.new_job(&org.id, 3);
    twin.now = first.created_at;
    f.accepted(twin).await;

    let whole = page(&f, &org.id, all()).await.unwrap();
    assert_eq!(amounts(&whole.entries), [-3, 10, -10, 100]);
    assert_eq!(whole.count, 4);
    let balances: Vec<i64> = whole.entries.iter().map(|e| e.balance_after).collect();
    assert_eq!(balances, [97, 100, 90, 100]);

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let filter = EntryFilter {
            limit: 1,
            after: after.clone(),
            ..EntryFilter::default()
        };
        let mut found = page(&f, &org.id, filter).await.unwrap();
        assert_eq!(found.count, 4, "all that the filter finds");
        let Some(entry) = found.entries.pop() else {
            break;
        };
        after = Some(entry.id.clone());
        seen.push(entry);
    }
    assert_eq!(seen, whole.entries);

    let filter = |kind, job| EntryFilter { kind, job, ..all() };
    let id = first.id.clone();
    for (kind, job, expected) in [
        (Some(EntryKind::Charge), None, vec![-3, -10]),
        (Some(EntryKind::Purchase), None, vec![]),
        (None, Some(id.clone()), vec![10, -10]),
        (Some(EntryKind::Refund), Some(id), vec![10]),
        (None, Some(f.job_id()), vec![]),
    ] {
        let found = page(&f, &org.id, filter(kind, job)).await.unwrap();
        assert_eq!(amounts(&found.entries), expected);
        assert_eq!(found.count, expected.len() as u64);
    }
    let shifted = EntryFilter { offset: 3, ..all() };
    let found = page(&f, &org.id, shifted).await.unwrap();
    assert_eq!(amounts(&found.entries), [100]);
    check(f).await;
}

#[tokio::test]
async fn only_a_row_of_ones_own_is_a_cursor() {
    let f = fresh().await;
    let org = f.org_of(f.new_org("a", 100, 50)).await;
    let other = f.org(100).await;
    let row = async |org: &OrgId, mode| {
        let page = f.store.transactions(org, mode, all()).await.unwrap();
        page.unwrap().entries[0].id.clone()
    };
    let own = row(&org.id, Mode::Live).await;
    let (test, foreign) = (
        row(&org.id, Mode::Test).await,
        row(&other.id, Mode::Live).await,
    );
    let behind = |id| EntryFilter {
        after: Some(id),
        ..all()
    };
    let end = page(&f, &org.id, behind(own)).await.unwrap();
    assert_eq!((end.entries.len(), end.count), (0, 1));
    for stranger in [test, foreign, f.entry()] {
        assert_eq!(page(&f, &org.id, behind(stranger)).await, None);
    }
    // Nobody sees another's rows by naming another's job.
    let job = f.job(&other.id, 1).await;
    let filter = EntryFilter {
        job: Some(job.id),
        ..all()
    };
    assert_eq!(page(&f, &org.id, filter).await.unwrap().count, 0);
    check(f).await;
}
