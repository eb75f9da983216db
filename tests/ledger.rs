//! The ledger by itself: of all that race, one wins; whoever lost its lease writes nothing; only open uploads take parts.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use partita::clock::Clock;
use partita::store::{Created, Error, Filter, Holder, Lease, NewUpload, Quota, Store};
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
    lookups_that_come_together_are_each_answered_for_themselves
    reports_that_come_together_are_each_answered_for_themselves
    of_reports_of_one_part_that_come_together_the_last_stays
    who_reports_and_goes_away_takes_nothing_from_others
    a_listing_takes_back_no_part_that_was_recorded_since
    a_completed_upload_keeps_its_parts_without_a_row_for_each
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

fn part(number: i32, etag: &str) -> Part {
    let etag = ETag::new(etag).expect("an ETag");
    Part { number, etag, size: None, checksum: None, recorded_at: None }
}

/// What is recorded: numbers and ETags.
async fn recorded(store: &Store, upload: &Upload) -> Vec<(i32, String)> {
    let parts = store.parts(upload, 0, 10_000).await.expect("parts");
    parts.into_iter().map(|part| (part.number, part.etag.as_str().to_owned())).collect()
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
    store.record(&upload, [part(1, "e")].into()).await.expect("recorded");
    let _lease = claim(&store, upload.id, Duration::from_secs(60)).await.expect("a lease");
    let refused = store.record(&upload, [part(1, "e")].into()).await;
    assert!(matches!(refused, Err(Error::Moved(_))));
    let listed = store.take_listing(&upload, upload.seen_at, &[], &[part(1, "e")]).await;
    assert!(matches!(listed, Err(Error::Moved(_))));
    assert_eq!(recorded(&store, &upload).await, [(1, "e".to_owned())]);

    let upload = begin(&store).await;
    service
        .sql(&format!("UPDATE uploads SET expires_at = 1 WHERE id = {}", service.literal(&upload.id.to_string())))
        .await;
    assert!(matches!(store.record(&upload, [part(1, "e")].into()).await, Err(Error::Moved(_))));
    assert!(matches!(claim(&store, upload.id, Duration::ZERO).await, Err(Error::Moved(_))), "past its time");
}

async fn lookups_that_come_together_are_each_answered_for_themselves(service: Service) {
    let store = store(&service).await;
    let (first, second) = (begin(&store).await, begin(&store).await);
    let holder = |name: &str, presets: Option<&[&str]>| Holder {
        owner: Owner(format!("owner of {name}")),
        name: name.to_owned(),
        scopes: vec!["uploads:write".into(), "files:read".into()],
        presets: presets.map(|presets| presets.iter().map(|preset| (*preset).to_owned()).collect()),
    };
    let (free, bound) = (holder("a \"free\" one, über", None), holder("a bound one", Some(&["a", "b"])));
    let [good, also_good, ended, revoked, unknown] = [1, 2, 3, 4, 0xff].map(|byte| [byte; 32]);
    store.keep_key(good, &free, None).await.expect("kept");
    store.keep_key(also_good, &bound, Some(Duration::from_secs(60))).await.expect("kept");
    store.keep_key(ended, &free, Some(Duration::ZERO)).await.expect("kept");
    let id = store.keep_key(revoked, &free, None).await.expect("kept");
    assert!(store.revoke_key(id).await.expect("an answer"));

    let keys = [(good, Some(&free)), (also_good, Some(&bound)), (ended, None), (revoked, None), (unknown, None)];
    let (ours, theirs) = (Whose::Of(local()), Whose::Of(Owner("another".into())));
    let uploads = [
        (&ours, first.id, true),
        (&ours, second.id, true),
        (&theirs, first.id, false),
        (&Whose::Anyones, second.id, true),
        (&ours, Uuid::now_v7(), false),
    ];
    let (keys, uploads) = (keys.repeat(20), uploads.repeat(20));
    let (holders, found) = tokio::join!(
        join_all(keys.iter().map(|(hash, _)| store.holder(*hash))),
        join_all(uploads.iter().map(|(whose, id, _)| store.find(whose, *id))),
    );
    for (holder, (_, known)) in holders.into_iter().zip(keys) {
        assert_eq!(holder.expect("an answer").as_deref(), known);
    }
    for (found, (_, id, known)) in found.into_iter().zip(uploads) {
        match found {
            Ok(upload) => assert_eq!((upload.id, true), (id, known)),
            Err(error) => assert!(!known && matches!(error, Error::NotFound), "{error}"),
        }
    }
}

async fn reports_that_come_together_are_each_answered_for_themselves(service: Service) {
    let store = store(&service).await;
    let (ours, moved) = (begin(&store).await, begin(&store).await);
    store.abort(&moved, Ending::Abort(AbortReason::Requested)).await.expect("aborting");
    let unknown = Upload { id: Uuid::nil(), ..ours.clone() };
    let mut reports = tokio::task::JoinSet::new();
    for number in 1..=3_000 {
        let (store, ours, moved, unknown) = (store.clone(), ours.clone(), moved.clone(), unknown.clone());
        reports.spawn(async move {
            let with_size = |size| [Part { size: Some(size), ..part(number, &format!("e{number}")) }].into();
            let outcome = match number % 500 {
                // Of each group of the answers to come there are some.
                1 => store.record(&moved, with_size(1)).await,
                // The database forbids it, which nobody has noticed before.
                2 => store.record(&ours, with_size(-1)).await,
                3 => store.record(&unknown, with_size(1)).await,
                _ => store.record(&ours, with_size(1)).await,
            };
            let expected = match number % 500 {
                1 => matches!(outcome, Err(Error::Moved(_))),
                2 => matches!(outcome, Err(Error::Database(_))),
                3 => matches!(outcome, Err(Error::NotFound)),
                _ => outcome.is_ok(),
            };
            assert!(expected, "{number}: {outcome:?}");
        });
    }
    reports.join_all().await;
    let expected = (1..=3_000).filter(|number| !(1..=3).contains(&(number % 500)));
    let expected: Vec<_> = expected.map(|number| (number, format!("e{number}"))).collect();
    assert_eq!(recorded(&store, &ours).await, expected);
}

async fn of_reports_of_one_part_that_come_together_the_last_stays(service: Service) {
    let store = store(&service).await;
    let upload = begin(&store).await;
    // Queued in this order, for none of them waits before it is.
    let report = |turn| store.record(&upload, [part(1, &format!("e{turn}"))].into());
    let outcomes = join_all((0..50).map(report)).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(recorded(&store, &upload).await, [(1, "e49".to_owned())]);
}

async fn who_reports_and_goes_away_takes_nothing_from_others(service: Service) {
    let store = store(&service).await;
    let upload = begin(&store).await;
    let mut gone = 0;
    for number in (1..100).step_by(2) {
        // The first of two sees to it that both are written; it goes away at once, unless the machine let it wait.
        let first = store.record(&upload, [part(number, "e")].into()).now_or_never();
        gone += usize::from(first.is_none());
        store.record(&upload, [part(number + 1, "e")].into()).await.expect("recorded");
    }
    assert!(gone > 25, "{gone} of 50");
    let numbers: Vec<i32> = recorded(&store, &upload).await.into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
}

async fn a_listing_takes_back_no_part_that_was_recorded_since(service: Service) {
    let store = store(&service).await;
    let upload = begin(&store).await;
    store.record(&upload, [part(1, "new")].into()).await.expect("recorded");
    let (before, after) = (upload.seen_at, upload.seen_at + Duration::from_secs(1));
    for (judged, listed_from, left) in [("old", after, 1), ("new", before, 1), ("new", after, 0)] {
        store.take_listing(&upload, listed_from, &[], &[part(1, judged)]).await.expect("taken in");
        let what = format!("{judged} was lost, listed from {listed_from}, recorded {}", upload.seen_at);
        assert_eq!(recorded(&store, &upload).await.len(), left, "{what}");
    }
}

async fn a_completed_upload_keeps_its_parts_without_a_row_for_each(service: Service) {
    let store = store(&service).await;
    let etags = ["\"9bb58f26192e4ba00f01e2e7b136bbd8\"", "d41d8cd98f00b204e9800998ecf8427e-7"];
    // One that lacks a part, as an upload may that S3 has completed though it never answered, keeps what it has.
    for (known, rows) in [(2, 0), (1, 1)] {
        let upload = begin(&store).await;
        let parts: Vec<Part> = (1..).zip(etags).take(known).map(|(number, etag)| part(number, etag)).collect();
        store.record(&upload, parts.into()).await.expect("recorded");
        let lease = claim(&store, upload.id, Duration::from_secs(60)).await.expect("a lease");
        let done = store.complete(lease.upload(), &object(&upload)).await.expect("completed");
        let expected: Vec<_> = (1..).zip(etags.map(str::to_owned)).take(known).collect();
        assert_eq!(recorded(&store, &done).await, expected);
        assert_eq!(store.parts(&done, 1, 10).await.expect("parts").len(), known - 1, "those after the first");
        assert_eq!(store.parts(&done, 0, 1).await.expect("parts").len(), 1, "no more than asked for");
        let id = service.literal(&upload.id.to_string());
        assert_eq!(service.count(&format!("parts WHERE upload_id = {id}")).await, rows);
    }
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
    let claimed = store.claim_completion(&other, upload.id, &target(), Duration::ZERO).await;
    assert!(matches!(claimed, Err(Error::NotFound)));
    let touched = store.touch(&other, upload.id, Duration::from_secs(9), None, None).await;
    assert!(matches!(touched, Err(Error::NotFound)));
    let same = store.find(&Whose::Of(local()), upload.id).await.expect("found");
    assert_eq!((same.version, same.expires_at), (upload.version, upload.expires_at), "nothing was changed");
}
