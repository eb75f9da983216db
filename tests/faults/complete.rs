//! CompleteMultipartUpload: sent once, never taken at its word, never given up while its outcome is open.

use std::time::Duration;

use serde_json::json;

use super::{HOUR, PAST_LEASES, Ready, is_running, rows, scripts};
use crate::support::Service;
use crate::support::scripted_s3::Operation::{CompleteMultipartUpload, HeadObject, ListParts};
use crate::support::scripted_s3::{Script, error, on};

scripts! {
    both {
        complete_done_and_cut
        complete_done_and_cut_short
        complete_done_but_no_such_upload
        complete_done_and_goes_on_for_ever
        complete_cut
        complete_done_late
        complete_held_while_everybody_asks
        complete_done_late_after_a_restart
        complete_held_while_it_is_aborted
        complete_held_while_the_service_stops
        complete_taken_over_and_refused
        complete_given_up_by_who_has_lost_it
        complete_held_while_anothers_object_appears
    }
    sqlite {
        complete_done_but_fails
        complete_done_but_slow_down
        complete_done_but_gateway
        complete_done_but_says_ok_with_an_error
        complete_done_but_says_ok_with_slow_down
        complete_done_and_says_nothing
        complete_done_and_says_only_white_space
        complete_done_and_says_no_etag
        complete_done_and_says_an_empty_etag
        complete_done_but_taken_by_itself
        complete_done_but_conflict
        complete_done_but_refused
        complete_done_but_bad_parts
        complete_fails
        complete_slow_down
        complete_gateway
        complete_says_ok_with_an_error
        complete_says_ok_with_slow_down
        complete_cut_short
        complete_says_nothing
        complete_says_only_white_space
        complete_says_ok_and_does_nothing
        complete_request_timeout
        complete_forbidden_by_a_gateway
        complete_answers_late
        complete_refused_reopens
        complete_taken_by_nobody_reopens
        complete_blamed_on_a_checksum_nobody_gave
        complete_denied_for_want_of_a_part
        complete_blamed_on_right_parts
        complete_of_a_vanished_upload
        complete_by_itself_is_gone_on_with_by_whoever_looks
        complete_of_an_upload_completed_behind
    }
}

/// The object is there, whatever was said: told at once, after one completion.
async fn a_completion_that_was_done(service: &mut Service, script: Script) {
    let upload = service.ready().await;
    let playing = service.s3().play(script);
    let completed = service.completes(&upload).await.ok(200);
    assert_eq!((completed["state"].as_str(), completed["object"]["size"].as_i64()), (Some("completed"), Some(5)));
    assert_eq!(service.completes(&upload).await.ok(200)["object"], completed["object"]);
    assert_eq!((playing.times(), service.s3().count(CompleteMultipartUpload)), (1, 1), "a completion is sent once");
}

const RESULT: &str = "<CompleteMultipartUploadResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";

rows! { a_completion_that_was_done {
    complete_done_and_cut: on(CompleteMultipartUpload).cut();
    complete_done_but_fails: on(CompleteMultipartUpload).refused(500, "InternalError");
    complete_done_but_slow_down: on(CompleteMultipartUpload).refused(503, "SlowDown");
    complete_done_but_gateway: on(CompleteMultipartUpload).gateway(502);
    complete_done_but_says_ok_with_an_error: on(CompleteMultipartUpload).says(200, error("InternalError"));
    complete_done_but_says_ok_with_slow_down: on(CompleteMultipartUpload).says(200, error("SlowDown"));
    complete_done_and_cut_short: on(CompleteMultipartUpload)
        .edited(|_, _, body| body.truncate(body.find("<ETag>").expect("an ETag")));
    complete_done_and_says_nothing: on(CompleteMultipartUpload).says(200, "");
    complete_done_and_says_only_white_space: on(CompleteMultipartUpload).says(200, "   \n   \n");
    complete_done_and_says_no_etag: on(CompleteMultipartUpload)
        .says(200, format!("{RESULT}</CompleteMultipartUploadResult>"));
    complete_done_and_says_an_empty_etag: on(CompleteMultipartUpload)
        .says(200, format!("{RESULT}<ETag></ETag></CompleteMultipartUploadResult>"));
    complete_done_but_taken_by_itself: on(CompleteMultipartUpload).refused(412, "PreconditionFailed");
    complete_done_but_conflict: on(CompleteMultipartUpload).refused(409, "ConditionalRequestConflict");
    complete_done_but_no_such_upload: on(CompleteMultipartUpload).refused(404, "NoSuchUpload");
    complete_done_but_refused: on(CompleteMultipartUpload).refused(403, "AccessDenied");
} }

/// Nothing was done, but nobody can know: it stays `completing`, is not sent again at once, and is done in the end.
async fn a_completion_that_was_not_done(service: &mut Service, script: Script) {
    let upload = service.ready().await;
    let playing = service.s3().play(script);
    is_running(service.completes(&upload).await);
    playing.lift();
    is_running(service.completes(&upload).await);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1, "the store may still be at work on the first");
    service.api.delete(&upload.path).await.problem(409, "upload-not-open");
    service.advance(PAST_LEASES);
    assert_eq!(service.api.complete(&upload.id, None).await.ok(200)["object"]["size"], 5);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 2);
}

rows! { a_completion_that_was_not_done {
    complete_cut: on(CompleteMultipartUpload).unapplied().cut();
    complete_fails: on(CompleteMultipartUpload).unapplied().refused(500, "InternalError");
    complete_slow_down: on(CompleteMultipartUpload).unapplied().refused(503, "SlowDown");
    complete_gateway: on(CompleteMultipartUpload).unapplied().gateway(502);
    complete_says_ok_with_an_error: on(CompleteMultipartUpload).unapplied().says(200, error("InternalError"));
    complete_says_ok_with_slow_down: on(CompleteMultipartUpload).unapplied().says(200, error("SlowDown"));
    complete_cut_short: on(CompleteMultipartUpload).unapplied().says(200, format!("{RESULT}<Location>http"));
    complete_says_nothing: on(CompleteMultipartUpload).unapplied().says(200, "");
    complete_says_only_white_space: on(CompleteMultipartUpload).unapplied().says(200, "   \n   \n");
    complete_says_ok_and_does_nothing: on(CompleteMultipartUpload).unapplied()
        .says(200, format!("{RESULT}<ETag>\"x-1\"</ETag></CompleteMultipartUploadResult>"));
    complete_request_timeout: on(CompleteMultipartUpload).unapplied().refused(400, "RequestTimeout");
    complete_forbidden_by_a_gateway: on(CompleteMultipartUpload).unapplied().gateway(403);
} }

/// A refusal that blames the parts is looked behind as any other.
async fn complete_done_but_bad_parts(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(CompleteMultipartUpload).refused(400, "InvalidPart"));
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

async fn complete_answers_late(service: &mut Service) {
    let upload = service.ready().await;
    let slow = service.s3().play(on(CompleteMultipartUpload).trickles());
    let api = service.api.clone();
    let path = format!("{}/complete", upload.path);
    let waiting = tokio::spawn(async move { api.call("POST", &path, None).await });
    slow.met(1).await;
    slow.release();
    let first = waiting.await.expect("an answer");
    assert!([200, 202].contains(&first.status.as_u16()), "{}", first.body);
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

async fn complete_done_and_goes_on_for_ever(service: &mut Service) {
    service.in_haste().await;
    let upload = service.ready().await;
    service.s3().play(on(CompleteMultipartUpload).trickles());
    is_running(service.completes(&upload).await);
    // Whoever asks again need not wait for that connection: the proof is there.
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

/// The connection was cut, and the store goes on: what it does then is what counts.
async fn complete_done_late(service: &mut Service) {
    let upload = service.ready().await;
    let late = service.s3().play(on(CompleteMultipartUpload).applied_late().cut());
    is_running(service.completes(&upload).await);
    for _ in 0..3 {
        is_running(service.completes(&upload).await);
    }
    late.release();
    service.s3().idle().await;
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1, "none was sent beside it");
}

async fn complete_held_while_everybody_asks(service: &mut Service) {
    service.in_haste().await;
    let upload = service.ready().await;
    let slow = service.s3().play(on(CompleteMultipartUpload).held());
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (api, path) = (service.api.clone(), format!("{}/complete", upload.path));
        asking.spawn(async move { api.call("POST", &path, None).await });
    }
    for reply in asking.join_all().await {
        is_running(reply);
    }
    assert_eq!(service.state_of(&upload).await, "completing");
    slow.release();
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

/// The process that sent it is gone, and S3 is still at work.
async fn complete_done_late_after_a_restart(service: &mut Service) {
    let upload = service.ready().await;
    let late = service.s3().play(on(CompleteMultipartUpload).applied_late().cut());
    is_running(service.completes(&upload).await);
    service.restart().await;
    is_running(service.completes(&upload).await);
    late.release();
    service.s3().idle().await;
    let completed = service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1, "whoever starts anew looks for proof first");
    service.restart().await;
    assert_eq!(service.completes(&upload).await.ok(200)["object"], completed["object"]);
}

async fn complete_held_while_it_is_aborted(service: &mut Service) {
    service.in_haste().await;
    let upload = service.ready().await;
    let slow = service.s3().play(on(CompleteMultipartUpload).held());
    is_running(service.completes(&upload).await);
    service.api.delete(&upload.path).await.problem(409, "upload-not-open");
    slow.release();
    service.api.complete(&upload.id, None).await.ok(200);
    service.api.delete(&upload.path).await.problem(409, "already-completed");
}

/// The client has gone, and the service is to stop: what S3 is at is seen to its end first.
async fn complete_held_while_the_service_stops(service: &mut Service) {
    service.in_haste().await;
    let upload = service.ready().await;
    let slow = service.s3().play(on(CompleteMultipartUpload).held());
    is_running(service.completes(&upload).await);
    tokio::join!(service.restart(), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        slow.release();
    });
    assert_eq!(service.state_of(&upload).await, "completed");
}

/// Whoever has lost the lease while it looked for proof tells what the other was told: the upload is open again, and why.
async fn complete_taken_over_and_refused(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(CompleteMultipartUpload).next(1).unapplied().cut());
    let slow = service.s3().play(on(HeadObject).next(1).held().refused(500, "InternalError"));
    let (first, ()) = tokio::join!(service.completes(&upload), async {
        slow.met(1).await;
        service.advance(PAST_LEASES);
        service.s3().play(on(CompleteMultipartUpload).next(1).unapplied().refused(400, "InvalidPart"));
        let other = service.s3().play(on(ListParts).edited(|_, _, body| *body = body.replace("<Size>5<", "<Size>4<")));
        assert_eq!(service.completes(&upload).await.problem(409, "parts-differ")["parts"], "1");
        other.lift();
        slow.release();
    });
    assert_eq!(first.problem(409, "parts-differ")["parts"], "1");
    assert_eq!(service.state_of(&upload).await, "open");
    service.completes(&upload).await.ok(200);
}

/// Whoever has lost the lease fails nothing any more, whatever it has seen at the key: the upload is open again.
async fn complete_given_up_by_who_has_lost_it(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().put_foreign_object(&upload.key).await;
    let said = format!("{RESULT}<ETag>\"x-1\"</ETag></CompleteMultipartUploadResult>");
    service.s3().play(on(CompleteMultipartUpload).next(1).unapplied().says(200, said));
    let slow = service.s3().play(on(HeadObject).next(1).held());
    let (first, ()) = tokio::join!(service.completes(&upload), async {
        slow.met(1).await;
        service.advance(PAST_LEASES);
        service.s3().play(on(CompleteMultipartUpload).next(1).unapplied().refused(403, "AccessDenied"));
        service.completes(&upload).await.problem(502, "storage-refused");
        slow.release();
    });
    assert_eq!(first.problem(409, "upload-not-open")["state"], "open");
    assert_eq!(service.state_of(&upload).await, "open");
}

/// Of the very size of ours: while S3 is at work on ours, only whose object it is tells them apart.
async fn complete_held_while_anothers_object_appears(service: &mut Service) {
    service.in_haste().await;
    let bytes = b"fifteen bytes!!";
    let (id, upload, urls) = service.api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    service.api.put_parts(&urls, bytes).await;
    let key = upload["key"].as_str().expect("a key").to_owned();
    let upload = Ready { path: format!("/v1/uploads/{id}"), key, id };
    let slow = service.s3().play(on(CompleteMultipartUpload).held());
    is_running(service.completes(&upload).await);
    service.s3().put_foreign_object(&upload.key).await;
    assert_eq!(service.s3().object(&upload.key).await.map(|object| object.size), Some(bytes.len() as i64));
    is_running(service.completes(&upload).await);
    slow.release();
    service.api.complete(&upload.id, None).await.problem(410, "upload-failed");
}

async fn a_completion_that_is_refused(service: &mut Service, script: Script) {
    let upload = service.ready().await;
    let refusing = service.s3().play(script);
    service.completes(&upload).await.problem(502, "storage-refused");
    assert_eq!((service.state_of(&upload).await.as_str(), refusing.times()), ("open", 1));
    refusing.lift();
    service.completes(&upload).await.ok(200);
}

rows! { a_completion_that_is_refused {
    complete_refused_reopens: on(CompleteMultipartUpload).unapplied().refused(403, "AccessDenied");
    complete_blamed_on_a_checksum_nobody_gave: on(CompleteMultipartUpload).unapplied().refused(400, "BadDigest");
} }

/// Some stores deny an upload of which they hold too little: what is missing is told.
async fn complete_denied_for_want_of_a_part(service: &mut Service) {
    let upload = service.ready().await;
    let denied = service.s3().play(on(CompleteMultipartUpload).unapplied().refused(404, "NoSuchUpload"));
    let forgetful = service.s3().play(on(ListParts).with_elements("Part", |_| Vec::new()));
    assert_eq!(service.completes(&upload).await.problem(409, "parts-missing")["missingParts"], "1");
    assert_eq!(service.state_of(&upload).await, "open");
    denied.lift();
    forgetful.lift();
    service.completes(&upload).await.ok(200);
}

/// The store says that the key is taken, and nothing is there.
async fn complete_taken_by_nobody_reopens(service: &mut Service) {
    let upload = service.ready().await;
    let lying = service.s3().play(on(CompleteMultipartUpload).unapplied().refused(412, "PreconditionFailed"));
    service.completes(&upload).await.problem(502, "storage-refused");
    assert_eq!(service.state_of(&upload).await, "open");
    lying.lift();
    service.completes(&upload).await.ok(200);
}

async fn complete_blamed_on_right_parts(service: &mut Service) {
    let upload = service.ready().await;
    let lying = service.s3().play(on(CompleteMultipartUpload).unapplied().refused(400, "InvalidPart"));
    super::is_unclear(service.completes(&upload).await);
    assert_eq!(service.state_of(&upload).await, "open", "S3 lists just what was sent: asking again may help");
    lying.lift();
    service.completes(&upload).await.ok(200);
}

async fn complete_of_a_vanished_upload(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().abort_behind(&upload.key).await;
    service.completes(&upload).await.problem(410, "upload-failed");
    service.advance(HOUR * 3);
    service.api.delete(&upload.path).await.ok(204);
    let shown = service.api.get(&upload.path).await.ok(200);
    assert_eq!((shown["state"].as_str(), shown["failure"].as_str()), (Some("failed"), Some("upload-vanished")));
    assert!(service.s3().count(HeadObject) >= 3, "twice before it is called vanished, once more when it is given up");
}

async fn complete_of_an_upload_completed_behind(service: &mut Service) {
    for recorded in [true, false] {
        let upload = if recorded { service.ready().await } else { service.sent().await };
        service.s3().complete_behind(&upload.key).await;
        let completed = service.completes(&upload).await.ok(200);
        assert_eq!(completed["object"]["size"], json!(5), "what is there is not failed");
    }
}

/// S3 did nothing and said nothing: after the quiet time a look at the upload is enough.
async fn complete_by_itself_is_gone_on_with_by_whoever_looks(service: &mut Service) {
    let (id, _, urls) = service.api.create(json!({ "filename": "x", "size": 5, "autoComplete": true })).await;
    service.api.put_parts(&urls, b"hello").await;
    let path = format!("/v1/uploads/{id}");
    service.s3().play(on(CompleteMultipartUpload).next(1).unapplied().cut());
    assert_eq!(service.api.get(&path).await.ok(200)["state"], "completing");
    service.advance(PAST_LEASES);
    assert_eq!(service.api.get(&path).await.ok(200)["state"], "completed");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 2);
}
