//! DeleteObject: an answered deletion is durable, and none is called done while the object is there.

use serde_json::json;

use super::{HOUR, Ready, rows, scripts};
use crate::support::Service;
use crate::support::scripted_s3::Operation::{DeleteObject, HeadObject};
use crate::support::scripted_s3::{Script, on};

scripts! {
    both {
        delete_cut
        delete_done_and_cut
        delete_held_while_it_is_repeated
        delete_before_a_file_is_there
    }
    sqlite {
        delete_fails
        delete_done_but_fails
        delete_slow_down
        delete_denied
        delete_says_done_and_does_nothing
        delete_while_head_fails
        delete_while_head_is_denied
        delete_of_what_is_gone_already
    }
}

async fn file(service: &Service) -> Ready {
    let upload = service.ready().await;
    service.completes(&upload).await.ok(200);
    upload
}

fn path(upload: &Ready) -> String {
    format!("/v1/files/{}", upload.id)
}

/// S3 did not do it: nobody has the file any more all the same, and the sweeper does the rest.
async fn a_deletion_that_is_not_done_yet(service: &mut Service, script: Script) {
    let upload = file(service).await;
    let playing = service.s3().play(script);
    service.api.delete(&path(&upload)).await.ok(204);
    assert!(playing.times() > 0);
    assert_eq!(service.state_of(&upload).await, "deleting", "not called done while nobody knows");
    service.api.get(&path(&upload)).await.problem(404, "file-not-found");
    service.api.get(&format!("{}/download", path(&upload))).await.problem(404, "file-not-found");
    playing.lift();
    service.advance(HOUR);
    service.settle().await;
    assert_eq!(service.state_of(&upload).await, "deleted");
    assert_eq!(service.s3().object(&upload.key).await, None);
}

rows! { a_deletion_that_is_not_done_yet {
    delete_cut: on(DeleteObject).unapplied().cut();
    delete_fails: on(DeleteObject).unapplied().refused(500, "InternalError");
    delete_slow_down: on(DeleteObject).unapplied().refused(503, "SlowDown");
    delete_denied: on(DeleteObject).unapplied().refused(403, "AccessDenied");
    delete_says_done_and_does_nothing: on(DeleteObject).unapplied().says(204, "");
    delete_while_head_fails: on(HeadObject).refused(503, "SlowDown");
    delete_while_head_is_denied: on(HeadObject).refused(403, "");
} }

/// S3 did it, and its answer was lost: a look shows that it is done.
async fn a_deletion_that_is_done(service: &mut Service, script: Script) {
    let upload = file(service).await;
    let playing = service.s3().play(script);
    service.api.delete(&path(&upload)).await.ok(204);
    playing.lift();
    service.api.delete(&path(&upload)).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "deleted");
    assert_eq!(service.s3().object(&upload.key).await, None);
}

rows! { a_deletion_that_is_done {
    delete_done_and_cut: on(DeleteObject).next(1).cut();
    delete_done_but_fails: on(DeleteObject).next(1).refused(500, "InternalError");
} }

async fn delete_of_what_is_gone_already(service: &mut Service) {
    let upload = file(service).await;
    let ours = service.ledger_upload(&upload.id).await;
    service.s3().bucket(&service.settings.s3).delete(&ours.key, None).await.expect("deleted behind the service's back");
    service.api.delete(&path(&upload)).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "deleted");
}

async fn delete_held_while_it_is_repeated(service: &mut Service) {
    let upload = file(service).await;
    let slow = service.s3().play(on(DeleteObject).next(1).held());
    let (api, deleted) = (service.api.clone(), path(&upload));
    let first = tokio::spawn(async move { api.delete(&deleted).await });
    slow.met(1).await;
    service.api.get(&path(&upload)).await.problem(404, "file-not-found");
    service.api.delete(&path(&upload)).await.ok(204);
    slow.release();
    first.await.expect("an answer").ok(204);
    assert_eq!(service.state_of(&upload).await, "deleted");
}

async fn delete_before_a_file_is_there(service: &mut Service) {
    let upload = service.ready().await;
    service.api.delete(&path(&upload)).await.problem(409, "not-completed");
    assert_eq!(service.s3().count(DeleteObject), 0);
    let stream = service.api.create(json!({ "filename": "x" })).await.0;
    service.api.delete(&format!("/v1/files/{stream}")).await.problem(409, "not-completed");
}
