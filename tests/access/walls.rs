//! Every operation of the document, asked for by everybody: what is another's is as if it were not there.

use partita::http::document;
use serde_json::{Value, json};

use crate::support::{Api, Reply, Service, on_either_database};

on_either_database! { everybody_asks_for_everything }

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Owner,
    Other,
    SharedWith,
    Admin,
    Expired,
    Revoked,
    WrongScope,
    Nobody,
}

const ALL: [Who; 8] =
    [Who::Owner, Who::Other, Who::SharedWith, Who::Admin, Who::Expired, Who::Revoked, Who::WrongScope, Who::Nobody];

/// What an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Whatever the caller has.
    Own,
    Upload,
    /// What those may do with whom a file is shared, too.
    File,
    /// What only its owner may.
    OwnFile,
}

struct Operation {
    id: String,
    method: String,
    path: String,
}

impl Operation {
    fn about(&self) -> About {
        match self.id.as_str() {
            "createUpload" | "listUploads" | "listFiles" | "getDownloadUrls" => About::Own,
            "getFile" | "getDownloadUrl" | "downloadFile" | "streamFile" => About::File,
            "deleteFile" | "shareFile" | "unshareFile" => About::OwnFile,
            _ => About::Upload,
        }
    }

    fn scope(&self) -> &'static str {
        match self.about() {
            About::OwnFile => "files:write",
            About::File => "files:read",
            About::Own if matches!(self.id.as_str(), "listFiles" | "getDownloadUrls") => "files:read",
            _ => "uploads:write",
        }
    }

    /// A sound call of it.
    async fn call(&self, api: &Api, upload: &str, file: &str) -> Reply {
        let path = self.path.replace("{uploadId}", upload).replace("{fileId}", file);
        let path = path.replace("{partNumber}", "1").replace("{subject}", "dora");
        let body = match self.id.as_str() {
            "createUpload" => Some(json!({ "filename": "x", "size": 5 })),
            "signParts" => Some(json!({ "parts": "1" })),
            "recordParts" => Some(json!({ "parts": [{ "partNumber": 1, "etag": "x" }] })),
            "recordPart" => Some(json!({ "etag": "x" })),
            "getDownloadUrls" => Some(json!({ "ids": [file] })),
            _ => None,
        };
        api.call(&self.method, &path, body).await
    }
}

fn operations() -> Vec<Operation> {
    let document = document();
    let paths = document["paths"].as_object().expect("paths").clone();
    let each = |(path, item): (String, Value)| {
        let item = item.as_object().expect("an item").clone();
        item.into_iter().map(move |(method, operation)| Operation {
            id: operation["operationId"].as_str().expect("an id").to_owned(),
            method: method.to_uppercase(),
            path: path.clone(),
        })
    };
    paths.into_iter().flat_map(each).collect()
}

/// What the caller must be answered; `None` for what its owner is answered.
fn expected(operation: &Operation, who: Who) -> Option<(u16, &'static str)> {
    let not_found = match operation.about() {
        About::Own => None,
        About::Upload => Some((404, "upload-not-found")),
        About::File | About::OwnFile => Some((404, "file-not-found")),
    };
    match (who, operation.about()) {
        (Who::Nobody, _) => Some((401, "unauthenticated")),
        (Who::Expired | Who::Revoked, _) => Some((401, "invalid-token")),
        (Who::WrongScope, _) => Some((403, "insufficient-scope")),
        (Who::SharedWith, About::OwnFile) => Some((403, "owner-only")),
        (Who::Other, _) | (Who::SharedWith, About::Upload) => not_found,
        (Who::Owner | Who::Admin | Who::SharedWith, _) => None,
    }
}

async fn everybody_asks_for_everything(postgres: bool) {
    let mut service = Service::with_auth(postgres, |_| {}).await;
    let alice = service.caller("alice", &[]).await;
    let scopes = ["uploads:write", "files:read", "files:write"];
    let admin = service.caller("root", &["admin"]).await;
    let (other, shared_with) = (service.caller("bob", &[]).await, service.caller("carol", &[]).await);
    let (revoked, key) = service.key("alice", &[], None).await;
    let revoked_caller = service.api.with(&key);
    assert!(service.store().await.revoke_key(revoked).await.expect("revoked"));
    let expired = service.key("alice", &[], Some(std::time::Duration::from_millis(1))).await.1;
    let expired = service.api.with(&expired);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;

    let operations = operations();
    assert_eq!(operations.len(), 19, "the whole document");
    let mut asked = 0;
    for operation in &operations {
        let wrong: Vec<&str> = scopes.into_iter().filter(|scope| *scope != operation.scope()).collect();
        let wrong_scope = service.caller("alice", &wrong).await;
        for who in ALL {
            // Fresh ones, for many a call is the end of what it is about.
            let (upload, _, urls) = alice.create(json!({ "filename": "x", "size": 5 })).await;
            alice.put_parts(&urls, b"hello").await;
            let file = alice.upload(json!({ "filename": "x" }), b"hello").await;
            alice.call("PUT", &format!("/v1/files/{file}/shares/carol"), None).await.ok(204);
            let caller = match who {
                Who::Owner => &alice,
                Who::Other => &other,
                Who::SharedWith => &shared_with,
                Who::Admin => &admin,
                Who::Expired => &expired,
                Who::Revoked => &revoked_caller,
                Who::WrongScope => &wrong_scope,
                Who::Nobody => &service.api,
            };
            let reply = operation.call(caller, &upload, &file).await;
            let place = format!("{} by {who:?}: {} {}", operation.id, reply.status, reply.body);
            match expected(operation, who) {
                None => assert!(reply.status.as_u16() < 400, "{place}"),
                Some((status, code)) => {
                    assert_eq!((reply.status.as_u16(), reply.body["code"].as_str()), (status, Some(code)), "{place}");
                    assert_eq!(
                        reply.headers.contains_key("www-authenticate"),
                        status == 401 || code == "insufficient-scope"
                    );
                }
            }
            if !matches!(who, Who::Owner | Who::Admin) {
                let told = reply.body.to_string();
                assert!(!told.contains(&upload), "{place}");
                let may_read = who == Who::SharedWith && operation.scope() == "files:read";
                let repeated = matches!(operation.id.as_str(), "getDownloadUrls");
                assert!(may_read || repeated || !told.contains(&file), "{place}");
                if who == Who::Other && operation.id == "getDownloadUrls" {
                    assert_eq!(reply.body["items"], json!([]), "{place}");
                }
            }
            if who != Who::Owner && who != Who::Admin {
                let shown = alice.get(&format!("/v1/uploads/{upload}")).await.ok(200);
                assert_eq!(shown["state"], "open", "{place}");
                assert_eq!(shown["recordedParts"], 0, "{place}");
                let shown = alice.get(&format!("/v1/files/{file}")).await.ok(200);
                assert_eq!(shown["sharedWith"], json!(["carol"]), "{place}");
            }
            asked += 1;
        }
    }
    assert_eq!(asked, operations.len() * ALL.len());

    // Another's, one that never was, and what is no id: the same answer, but for the request's own id.
    let (upload, ..) = alice.create(json!({ "filename": "x", "size": 5 })).await;
    let file = alice.upload(json!({ "filename": "x" }), b"hello").await;
    let body = async |path: String| {
        let mut body = other.get(&path).await.body;
        body["requestId"] = Value::Null;
        body
    };
    for (folder, foreign) in [("uploads", &upload), ("files", &file)] {
        let foreign = body(format!("/v1/{folder}/{foreign}")).await;
        for unknown in ["01998f4e-7a10-7cc3-98c4-dc0c0c07398f", "nothing", "%00", "..%2f", &upload.to_uppercase()] {
            assert_eq!(body(format!("/v1/{folder}/{unknown}")).await, foreign, "{unknown}");
        }
    }

    // An administrator sees each owner's by name; nobody else does.
    let listed = admin.get("/v1/uploads?owner=alice&limit=1").await.ok(200);
    assert_eq!(listed["items"][0]["owner"], "alice");
    assert_eq!(admin.get("/v1/uploads").await.ok(200)["items"][0]["owner"], "root", "its own, unless it names another");
    other.get("/v1/uploads?owner=alice").await.problem(403, "insufficient-scope");
    other.get("/v1/files?owner=alice").await.problem(403, "insufficient-scope");
    other.get("/v1/files?owner=bob").await.ok(200);

    // Without auth there is one owner, who sees nobody else's.
    service.settings.insecure_no_auth = Some(true);
    service.restart().await;
    assert_eq!(service.api.get("/v1/uploads").await.ok(200)["items"], json!([]));
    service.api.get(&format!("/v1/uploads/{upload}")).await.problem(404, "upload-not-found");
    service.api.get("/v1/uploads?owner=alice").await.problem(403, "insufficient-scope");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_from_the_next_request_on() {
    let service = Service::with_auth(true, |_| {}).await;
    let (id, key) = service.key("alice", &[], None).await;
    let alice = service.api.with(&key);
    alice.get("/v1/uploads").await.ok(200);
    let store = service.store().await;
    assert!(store.revoke_key(id).await.expect("revoked"));
    alice.get("/v1/uploads").await.problem(401, "invalid-token");
    assert!(store.revoke_key(id).await.expect("again"), "repeating it changes nothing");
    assert!(!store.revoke_key(uuid::Uuid::now_v7()).await.expect("an answer"), "there is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_taken_from_one_header_and_from_nowhere_else() {
    let service = Service::with_auth(false, |_| {}).await;
    let key = service.key("alice", &[], None).await.1;
    let url = format!("{}/v1/uploads", service.api.base);
    let get = async |url: &str, headers: &[&str]| {
        let mut request = service.api.http.get(url);
        for value in headers {
            request = request.header("authorization", *value);
        }
        service.api.send(request).await
    };
    get(&url, &[&format!("Bearer {key}")]).await.ok(200);
    get(&url, &[&format!("bearer  {key} ")]).await.ok(200);
    get(&format!("{url}?access_token={key}"), &[]).await.problem(401, "unauthenticated");
    for bad in ["", "Bearer", "Bearer ", &key, &format!("Basic {key}"), &format!("Token {key}")] {
        get(&url, &[bad]).await.problem(401, "unauthenticated");
    }
    let both = format!("Bearer {key}");
    get(&url, &[&both, &both]).await.problem(401, "unauthenticated");
    get(&url, &[&format!("Bearer {key}0")]).await.problem(401, "invalid-token");
    get(&url, &[&format!("Bearer {}", "x".repeat(9 << 10))]).await.problem(401, "invalid-token");
    get(&url, &["Bearer \u{e4}"]).await.problem(401, "invalid-token");
    // What needs no caller asks for none; what there is not is not there.
    for path in ["/livez", "/readyz", "/openapi.json"] {
        service.api.get(path).await.ok(200);
    }
    service.api.get("/v1/nothing").await.problem(404, "route-not-found");
    service.api.get("/metrics").await.problem(404, "route-not-found");
    service.api.call("PATCH", "/v1/uploads", None).await.problem(405, "method-not-allowed");
}
