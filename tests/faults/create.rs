//! CreateMultipartUpload and PutObject of an empty file: nothing is begun twice, nothing begun is lost.

use serde_json::{Value, json};

use super::{HOUR, PAST_LEASES, is_running, is_unclear, rows, scripts};
use crate::support::scripted_s3::Operation::{
    AbortMultipartUpload, CreateMultipartUpload, ListMultipartUploads, PutObject,
};
use crate::support::scripted_s3::{Script, change_elements, error, on, text_of};
use crate::support::{Reply, Service};

scripts! {
    both {
        create_done_and_cut
        create_done_and_its_client_comes_back
        create_held_while_it_is_aborted
        create_refused
        create_refused_after_one_without_an_answer
        create_refused_after_another_was_begun_in_its_place
        create_done_late
        create_done_late_beside_its_repetition
        create_held_while_another_begins_it
        create_held_while_another_is_lost
        empty_stream_whose_abort_fails
    }
    sqlite {
        create_cut
        create_fails
        create_done_but_fails
        create_slow_down
        create_done_but_slow_down
        create_gateway
        create_done_but_gateway
        create_says_ok_without_an_id
        create_says_ok_with_an_empty_id
        create_says_ok_with_an_error
        create_says_ok_with_nothing
        create_says_ok_cut_short
        create_refused_but_done
        create_refused_while_it_is_aborted
        create_not_done_and_its_client_comes_back
        create_done_twice_leaves_one
        create_lost_and_s3_cannot_be_asked
        create_lost_and_s3_forgets_it_at_first
        empty_file_put_and_cut
        empty_file_put_but_fails
        empty_file_put_but_taken_by_itself
        empty_file_cut
        empty_file_fails
        empty_file_slow_down
        empty_stream_put_and_cut
        empty_stream_put_and_refused
    }
}

async fn create(service: &Service, key: &str) -> Reply {
    let request = service.api.http.post(format!("{}/v1/uploads", service.api.base)).header("idempotency-key", key);
    service.api.send(request.json(&json!({ "filename": "x", "size": 5 }))).await
}

async fn only(service: &Service) -> Value {
    let uploads = service.uploads().await;
    assert_eq!(uploads.len(), 1, "{uploads:?}");
    uploads[0].clone()
}

/// Whatever S3 says instead of an id: it is asked once, the client is told to come back, and what S3 may have begun is found
/// again by its key.
async fn an_unclear_creation(service: &mut Service, script: Script) {
    let playing = service.s3().play(script);
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    assert_eq!(playing.times(), 1, "a creation is never repeated by itself: that leaks");
    let upload = only(service).await;
    assert_eq!(upload["state"], "creating", "what is unknown is not given up");
    playing.lift();
    service.api.delete(&format!("/v1/uploads/{}", upload["id"].as_str().expect("an id"))).await.ok(204);
    assert_eq!(service.s3().open_uploads().await, [], "found by its key");
    assert_eq!(service.s3().count(CreateMultipartUpload), 1);
}

rows! { an_unclear_creation {
    create_done_and_cut: on(CreateMultipartUpload).cut();
    create_cut: on(CreateMultipartUpload).unapplied().cut();
    create_fails: on(CreateMultipartUpload).unapplied().refused(500, "InternalError");
    create_done_but_fails: on(CreateMultipartUpload).refused(500, "InternalError");
    create_slow_down: on(CreateMultipartUpload).unapplied().refused(503, "SlowDown");
    create_done_but_slow_down: on(CreateMultipartUpload).refused(503, "SlowDown");
    create_gateway: on(CreateMultipartUpload).unapplied().gateway(502);
    create_done_but_gateway: on(CreateMultipartUpload).gateway(504);
    create_says_ok_without_an_id: on(CreateMultipartUpload).says(200, "<InitiateMultipartUploadResult/>");
    create_says_ok_with_an_empty_id: on(CreateMultipartUpload)
        .says(200, "<InitiateMultipartUploadResult><UploadId></UploadId></InitiateMultipartUploadResult>");
    create_says_ok_with_an_error: on(CreateMultipartUpload).says(200, error("InternalError"));
    create_says_ok_with_nothing: on(CreateMultipartUpload).says(200, "");
    create_says_ok_cut_short: on(CreateMultipartUpload)
        .edited(|_, _, body| body.truncate(body.find("<UploadId>").expect("an id")));
} }

async fn create_refused(service: &mut Service) {
    let playing = service.s3().play(on(CreateMultipartUpload).unapplied().refused(403, "AccessDenied"));
    create(service, "k").await.problem(502, "storage-refused");
    assert_eq!(playing.times(), 1);
    let refused = only(service).await;
    assert_eq!(service.api.get(&path(&refused)).await.ok(200)["failure"], "create-refused");
    playing.lift();
    let begun = create(service, "k").await.ok(201);
    assert_ne!(begun["upload"]["id"], refused["id"], "a refusal is not kept under its key");
}

/// S3 refuses the second; the first, of which nothing was heard, may still come, and does.
async fn create_refused_after_one_without_an_answer(service: &mut Service) {
    let late = service.s3().play(on(CreateMultipartUpload).next(1).applied_late().cut());
    is_unclear(create(service, "k").await);
    service.advance(PAST_LEASES);
    let refusing = service.s3().play(on(CreateMultipartUpload).next(1).unapplied().refused(403, "AccessDenied"));
    create(service, "k").await.problem(502, "storage-refused");
    assert_eq!((late.times(), refusing.times()), (1, 1));
    assert_eq!(only(service).await["state"], "aborting", "not over while the first may come");
    late.release();
    service.s3().idle().await;
    assert_eq!(service.s3().open_uploads().await.len(), 1);
}

fn path(upload: &Value) -> String {
    format!("/v1/uploads/{}", upload["id"].as_str().expect("an id"))
}

/// Whoever is refused at last is told of the upload that another has begun meanwhile.
async fn create_refused_after_another_was_begun_in_its_place(service: &mut Service) {
    let slow = service.s3().play(on(CreateMultipartUpload).next(1).unapplied().held().refused(403, "AccessDenied"));
    let (first, second) = tokio::join!(create(service, "k"), async {
        slow.met(1).await;
        service.advance(PAST_LEASES);
        let begun = create(service, "k").await.ok(201);
        slow.release();
        begun
    });
    assert_eq!(first.ok(201)["upload"]["id"], second["upload"]["id"]);
    assert_eq!(only(service).await["state"], "open");
}

async fn create_refused_while_it_is_aborted(service: &mut Service) {
    let slow = service.s3().play(on(CreateMultipartUpload).unapplied().held().refused(403, "AccessDenied"));
    let (refused, ()) = tokio::join!(create(service, "k"), async {
        slow.met(1).await;
        service.api.delete(&path(&only(service).await)).await.ok(204);
        slow.release();
    });
    refused.problem(502, "storage-refused");
}

async fn create_refused_but_done(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).refused(403, "AccessDenied"));
    create(service, "k").await.problem(502, "storage-refused");
    assert_eq!(service.s3().open_uploads().await, [], "a refusal is looked behind");
}

async fn create_done_and_its_client_comes_back(service: &mut Service) {
    let lost = service.s3().play(on(CreateMultipartUpload).next(1).cut());
    is_unclear(create(service, "k").await);
    let early = create(service, "k").await;
    assert!(early.header("retry-after").is_some());
    early.problem(409, "idempotency-in-progress");
    service.advance(PAST_LEASES);
    let answer = create(service, "k").await;
    assert_eq!(answer.header("idempotency-replayed"), Some("true"));
    let begun = answer.ok(201);
    assert_eq!((lost.times(), service.s3().count(CreateMultipartUpload)), (1, 1), "what S3 has begun is gone on with");
    let id = begun["upload"]["id"].as_str().expect("an id");
    service.api.put_parts(begun["partUrls"].as_array().expect("part URLs"), b"hello").await;
    service.api.complete(id, None).await.ok(200);
}

async fn create_not_done_and_its_client_comes_back(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(1).unapplied().cut());
    is_unclear(create(service, "k").await);
    service.advance(PAST_LEASES);
    let begun = create(service, "k").await.ok(201);
    assert_eq!(begun["upload"]["id"], only(service).await["id"]);
    assert_eq!(service.s3().count(CreateMultipartUpload), 2);
    assert_eq!(service.s3().open_uploads().await.len(), 1);
}

/// The first creation is hidden from the listing, so a second is begun; the third look finds both.
async fn create_done_twice_leaves_one(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(2).cut());
    is_unclear(create(service, "k").await);
    service.advance(PAST_LEASES);
    let forgetful = service.s3().play(on(ListMultipartUploads).with_elements("Upload", |_| Vec::new()));
    is_unclear(create(service, "k").await);
    forgetful.lift();
    assert_eq!(service.s3().open_uploads().await.len(), 2);
    service.advance(PAST_LEASES);
    create(service, "k").await.ok(201);
    assert_eq!(service.s3().open_uploads().await.len(), 1, "one is gone on with, the other is aborted");
    assert_eq!(service.s3().count(CreateMultipartUpload), 2);
}

async fn create_lost_and_s3_cannot_be_asked(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(1).cut());
    is_unclear(create(service, "k").await);
    service.advance(PAST_LEASES);
    let away = service.s3().play(on(ListMultipartUploads).unapplied().refused(503, "SlowDown"));
    is_unclear(create(service, "k").await);
    assert_eq!(service.s3().count(CreateMultipartUpload), 1, "none is begun while nobody knows of the first");
    away.lift();
    service.advance(PAST_LEASES);
    create(service, "k").await.ok(201);
    assert_eq!(service.s3().count(CreateMultipartUpload), 1);
}

async fn create_lost_and_s3_forgets_it_at_first(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).cut());
    is_unclear(create(service, "k").await);
    let forgetful = service.s3().play(on(ListMultipartUploads).with_elements("Upload", |_| Vec::new()));
    let upload = only(service).await;
    service.api.delete(&path(&upload)).await.ok(204);
    assert_eq!(service.api.get(&path(&upload)).await.ok(200)["state"], "aborting", "one empty listing proves nothing");
    forgetful.lift();
    service.advance(HOUR);
    service.api.delete(&path(&upload)).await.ok(204);
    assert_eq!(service.s3().open_uploads().await, []);
}

async fn create_held_while_it_is_aborted(service: &mut Service) {
    let slow = service.s3().play(on(CreateMultipartUpload).held());
    let api = service.api.clone();
    let creating = tokio::spawn(async move { api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await });
    slow.met(1).await;
    let upload = only(service).await;
    service.api.delete(&path(&upload)).await.ok(204);
    slow.release();
    creating.await.expect("an answer").problem(410, "upload-aborted");
    assert_eq!(service.s3().open_uploads().await, [], "begun too late, and so aborted");
    assert_eq!(service.s3().count(AbortMultipartUpload), 1);
}

/// Whoever was overtaken is told of the upload there is, and what S3 began for it is gone.
async fn create_held_while_another_begins_it(service: &mut Service) {
    let slow = service.s3().play(on(CreateMultipartUpload).next(1).held());
    let (first, second) = tokio::join!(create(service, "k"), async {
        slow.met(1).await;
        service.advance(PAST_LEASES);
        let begun = create(service, "k").await.ok(201);
        slow.release();
        begun
    });
    assert_eq!(first.ok(201)["upload"]["id"], second["upload"]["id"]);
    assert_eq!((service.s3().count(CreateMultipartUpload), service.s3().open_uploads().await.len()), (2, 1));
}

/// Another has taken it over and does not know yet what S3 began: what is there is left for whoever adopts it.
async fn create_held_while_another_is_lost(service: &mut Service) {
    let slow = service.s3().play(on(CreateMultipartUpload).next(1).held());
    let (first, ()) = tokio::join!(create(service, "k"), async {
        slow.met(1).await;
        service.advance(PAST_LEASES);
        service.s3().play(on(CreateMultipartUpload).next(1).unapplied().cut());
        is_unclear(create(service, "k").await);
        slow.release();
    });
    is_unclear(first);
    service.advance(PAST_LEASES);
    create(service, "k").await.ok(201);
    assert_eq!((service.s3().count(CreateMultipartUpload), service.s3().open_uploads().await.len()), (2, 1));
    assert_eq!(service.s3().count(AbortMultipartUpload), 0);
}

/// S3 begins it long after the connection was cut, and after everybody looked.
async fn create_done_late(service: &mut Service) {
    let late = service.s3().play(on(CreateMultipartUpload).applied_late().cut());
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    let upload = only(service).await;
    service.api.delete(&path(&upload)).await.ok(204);
    assert_eq!(service.api.get(&path(&upload)).await.ok(200)["state"], "aborting", "it may still come");
    late.release();
    service.s3().idle().await;
    assert_eq!(service.s3().open_uploads().await.len(), 1);
    service.advance(HOUR * 2);
    service.api.delete(&path(&upload)).await.ok(204);
    assert_eq!(service.s3().open_uploads().await, []);
}

/// S3 begins the first long after a second was begun in its place: both are gone in the end.
async fn create_done_late_beside_its_repetition(service: &mut Service) {
    let late = service.s3().play(on(CreateMultipartUpload).next(1).applied_late().cut());
    is_unclear(create(service, "k").await);
    service.advance(PAST_LEASES);
    let begun = create(service, "k").await.ok(201);
    late.release();
    service.s3().idle().await;
    assert_eq!(service.s3().open_uploads().await.len(), 2);
    service.api.put_parts(begun["partUrls"].as_array().expect("part URLs"), b"hello").await;
    service.api.complete(begun["upload"]["id"].as_str().expect("an id"), None).await.ok(200);
}

/// A file that turned out empty is put; its multipart upload has to go first.
async fn empty_stream_whose_abort_fails(service: &mut Service) {
    let (id, ..) = service.api.create(json!({ "filename": "stream" })).await;
    let path = format!("/v1/uploads/{id}/complete");
    let failing = service.s3().play(on(AbortMultipartUpload).unapplied().refused(500, "InternalError"));
    is_running(service.api.post(&path, json!({ "size": 0 })).await);
    failing.lift();
    service.advance(PAST_LEASES);
    service.api.complete(&id, None).await.ok(200);
    assert_eq!(service.s3().open_uploads().await, []);
}

async fn empty(service: &Service) -> super::Ready {
    let (id, upload, _) = service.api.create(json!({ "filename": "empty", "size": 0 })).await;
    super::Ready { path: format!("/v1/uploads/{id}"), key: upload["key"].as_str().expect("a key").to_owned(), id }
}

/// The empty object is there, whatever was said.
async fn an_empty_file_that_is_there(service: &mut Service, script: Script) {
    let upload = empty(service).await;
    service.s3().play(script);
    assert_eq!(service.completes(&upload).await.ok(200)["state"], "completed");
    assert_eq!(service.s3().count(PutObject), 1);
}

rows! { an_empty_file_that_is_there {
    empty_file_put_and_cut: on(PutObject).cut();
    empty_file_put_but_fails: on(PutObject).refused(500, "InternalError");
    empty_file_put_but_taken_by_itself: on(PutObject).refused(412, "PreconditionFailed");
} }

/// Nothing is there: it is put again, but not before the store has had time for the first.
async fn an_empty_file_that_is_not_there(service: &mut Service, script: Script) {
    let upload = empty(service).await;
    let playing = service.s3().play(script);
    is_running(service.completes(&upload).await);
    is_running(service.completes(&upload).await);
    assert_eq!(service.s3().count(PutObject), 1);
    playing.lift();
    service.advance(PAST_LEASES);
    assert_eq!(service.api.complete(&upload.id, None).await.ok(200)["object"]["size"], 0);
    assert_eq!(service.s3().count(PutObject), 2);
}

rows! { an_empty_file_that_is_not_there {
    empty_file_cut: on(PutObject).unapplied().cut();
    empty_file_fails: on(PutObject).unapplied().refused(500, "InternalError");
    empty_file_slow_down: on(PutObject).unapplied().refused(503, "SlowDown");
} }

/// Its multipart upload is gone already: it is not open again, and is put once more.
async fn an_empty_stream_that_is_not_there(service: &mut Service, script: Script) {
    let (id, ..) = service.api.create(json!({ "filename": "stream" })).await;
    let playing = service.s3().play(script);
    is_running(service.api.post(&format!("/v1/uploads/{id}/complete"), json!({ "size": 0 })).await);
    playing.lift();
    service.advance(PAST_LEASES);
    assert_eq!(service.api.complete(&id, Some(json!({ "size": 0 }))).await.ok(200)["object"]["size"], 0);
    assert_eq!(service.s3().count(PutObject), 2);
}

rows! { an_empty_stream_that_is_not_there {
    empty_stream_put_and_cut: on(PutObject).unapplied().cut();
    empty_stream_put_and_refused: on(PutObject).unapplied().refused(403, "AccessDenied");
} }

#[test]
fn a_script_changes_the_elements_it_names() {
    let mut body = "<L><U><K>a</K></U><U><K>b</K></U><E/></L>".to_owned();
    change_elements(&mut body, "U", |elements| vec![elements[1].clone(), elements[1].clone()]);
    assert_eq!(body, "<L><U><K>b</K></U><U><K>b</K></U><E/></L>");
    change_elements(&mut body, "U", |_| Vec::new());
    assert_eq!((body.as_str(), text_of("<A><B>x</B></A>", "B")), ("<L><E/></L>", Some("x")));
}
