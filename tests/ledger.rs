//! The ledger by itself: of all that race, one wins; whoever lost its lease writes nothing; only open uploads take parts.

use std::collections::BTreeMap;
use std::time::Duration;

use partita::clock::Clock;
use partita::store::{Created, Error, Filter, Lease, NewUpload, Quota, Store};
use partita::upload::{
    AbortReason, ETag, Ending, Failure, LastProblem, MIB, Object, Owner, Part, Plan, State, Target, Upload, Visibility,
    Whose,
};
use uuid::Uuid;

use crate::support::{Service, on_both_databases};

on_both_databases! {
    of_all_that_race_for_a_completion_one_wins
    a_lease_that_was_taken_over_writes_nothing
    only_an_open_upload_takes_parts
    no_state_is_entered_from_where_the_table_forbids_it
    another_owner_finds_nothing
}

fn local() -> Owner {
    Owner("local".into())
}

async fn store(service: &Service) -> Store {
    partita::app::open_store(&service.settings, Clock::default()).await.expect("the database")
}

async fn begin(store: &Store) -> Upload {
    let id = Uuid::now_v7();
    let new = NewUpload {
        id,
        owner: local(),
        preset: "default".into(),
        filename: "x".into(),
        content_type: "text/plain".into(),
        metadata: BTreeMap::new(),
        plan: Plan::new(Some(9 * MIB), None, i64::MAX).expect("a plan"),
        part_checksum: None,
        auto_complete: false,
        checksum: None,
        fingerprint: None,
        visibility: Visibility::Private,
        bucket: "b".into(),
        key: format!("uploads/{id}/x"),
        idle_ttl: Duration::from_secs(3_600),
        max_ttl: Duration::from_secs(7_200),
        lease: Duration::from_secs(60),
        reserved: 9 * MIB,
        quota: Quota::default(),
    };
    match store.create(new, None).await.expect("created") {
        Created::Fresh(lease) => store.open(lease, Some("s3-id")).await.expect("open"),
        other => panic!("{other:?}"),
    }
}

fn target() -> Target {
    Target { size: 9 * MIB, checksum: None }
}

fn object(upload: &Upload) -> Object {
    let completed_at = upload.seen_at;
    Object { etag: "e".into(), size: 9 * MIB, version_id: None, checksum: None, verified: false, completed_at }
}

fn part(upload: &Upload) -> Part {
    let etag = ETag::new("e").expect("an ETag");
    Part { number: 1, etag, size: None, checksum: None, recorded_at: upload.seen_at }
}

async fn claim(store: &Store, id: Uuid, lease: Duration) -> Result<Lease, Error> {
    store.claim_completion(&local(), id, &target(), lease).await
}

async fn of_all_that_race_for_a_completion_one_wins(service: Service) {
    let store = store(&service).await;
    let upload = begin(&store).await;
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        racing.spawn(async move { claim(&store, upload.id, Duration::from_secs(60)).await.is_ok() });
    }
    assert_eq!(racing.join_all().await.into_iter().filter(|won| *won).count(), 1);
}

async fn a_lease_that_was_taken_over_writes_nothing(service: Service) {
    let store = store(&service).await;
    for exit in 0..4 {
        let upload = begin(&store).await;
        let slow = claim(&store, upload.id, Duration::ZERO).await.expect("a lease");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let seen = store.find(&Whose::Of(local()), upload.id).await.expect("found");
        let fast = store.take_over_completion(&seen, Duration::from_secs(60)).await.expect("the lease has ended");
        let again = store.take_over_completion(&seen, Duration::from_secs(60)).await;
        assert!(matches!(again, Err(Error::Moved(_))), "a lease that lasts is not taken over");
        let problem = LastProblem::PartsMissing([1].into_iter().collect());
        let stale = match exit {
            0 => store.complete(slow.upload(), &object(&upload)).await,
            1 => store.reopen(slow, Some(&problem)).await,
            2 => store.leave_unclear(slow, Duration::ZERO).await,
            _ => store.abort(slow.upload(), Ending::Fail(Failure::UploadVanished)).await,
        };
        match stale {
            Err(Error::Moved(now)) => {
                assert_eq!(now.version, fast.upload().version, "exit {exit}: nothing was written")
            }
            other => panic!("exit {exit}: {other:?}"),
        }
        let done = store.complete(fast.upload(), &object(&upload)).await.expect("the holder completes it");
        assert_eq!(done.status.state(), State::Completed);
    }
}

async fn only_an_open_upload_takes_parts(service: Service) {
    let store = store(&service).await;
    let upload = begin(&store).await;
    store.record_parts(&local(), upload.id, &[part(&upload)]).await.expect("recorded");
    let _lease = claim(&store, upload.id, Duration::from_secs(60)).await.expect("a lease");
    let recorded = store.record_parts(&local(), upload.id, &[part(&upload)]).await;
    assert!(matches!(recorded, Err(Error::Moved(_))));
    let listed = store.take_listing(&local(), upload.id, upload.seen_at, &[], &[1]).await;
    assert!(matches!(listed, Err(Error::Moved(_))));
    assert_eq!(store.part_numbers(upload.id).await.expect("numbers"), [1]);

    let upload = begin(&store).await;
    service
        .sql(&format!("UPDATE uploads SET expires_at = 1 WHERE id = {}", service.literal(&upload.id.to_string())))
        .await;
    assert!(matches!(store.record_parts(&local(), upload.id, &[part(&upload)]).await, Err(Error::Moved(_))));
    assert!(matches!(claim(&store, upload.id, Duration::ZERO).await, Err(Error::Moved(_))), "past its time");
}

async fn no_state_is_entered_from_where_the_table_forbids_it(service: Service) {
    let store = store(&service).await;
    let open = begin(&store).await;
    let expect_moved = |outcome: Result<Upload, Error>, what: &str| {
        assert!(matches!(outcome, Err(Error::Moved(_))), "{what}: {outcome:?}");
    };
    expect_moved(store.complete(&open, &object(&open)).await, "open → completed");
    expect_moved(store.end(&open).await, "open → ended");
    let aborting = store.abort(&open, Ending::Abort(AbortReason::Requested)).await.expect("aborting");
    expect_moved(store.abort(&aborting, Ending::Abort(AbortReason::Requested)).await, "aborting → aborting");
    let aborted = store.end(&aborting).await.expect("aborted");
    assert_eq!(aborted.status.state(), State::Aborted);
    expect_moved(store.complete(&aborted, &object(&aborted)).await, "aborted → completed");
    expect_moved(store.abort(&aborted, Ending::Abort(AbortReason::Expired)).await, "aborted → aborting");
}

async fn another_owner_finds_nothing(service: Service) {
    let store = store(&service).await;
    let upload = begin(&store).await;
    let other = Owner("other".into());
    assert!(matches!(store.find(&Whose::Of(other.clone()), upload.id).await, Err(Error::NotFound)));
    assert!(store.list(&other, Filter::default(), None, 10).await.expect("a list").is_empty());
    assert!(matches!(store.record_parts(&other, upload.id, &[part(&upload)]).await, Err(Error::NotFound)));
    let claimed = store.claim_completion(&other, upload.id, &target(), Duration::ZERO).await;
    assert!(matches!(claimed, Err(Error::NotFound)));
    let touched = store.touch(&other, upload.id, Duration::from_secs(9), None, None).await;
    assert!(matches!(touched, Err(Error::NotFound)));
    let same = store.find(&Whose::Of(local()), upload.id).await.expect("found");
    assert_eq!((same.version, same.expires_at), (upload.version, upload.expires_at), "nothing was changed");
}
