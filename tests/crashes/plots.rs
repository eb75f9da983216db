//! What clients do, and how it may end: between them the plots lead past every boundary.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use crate::support::{Reply, crc64nvme, file};

/// How one upload goes. Those that need a fault of S3's carry its name; see `observed_s3.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plot {
    Plain,
    Empty,
    Stream,
    AutoComplete,
    /// Begun, and never gone on with.
    Abandoned,
    Aborted,
    /// Aborted while S3's answer to its creation is lost.
    AbortedUnborn,
    /// Completed and aborted at once.
    Raced,
    /// Completed with an ETag that S3 does not have, then with the right one.
    Differs,
    /// Completed before its parts are there, then after.
    Missing,
    /// Completed with the checksum of other bytes.
    WrongSum,
    /// Another's object stands at its key.
    KeyTaken,
    /// Completed, then deleted.
    Deleted,
    CreateRefused,
    CreateLost,
    CreateDoubled,
    CompleteRefused,
    CompleteUnclear,
    CompleteHidden,
    CompleteHeld,
    CompleteSlow,
    SumWrong,
}

impl Plot {
    pub(crate) const ALL: [Plot; 22] = [
        Plot::Plain,
        Plot::Empty,
        Plot::Stream,
        Plot::AutoComplete,
        Plot::Abandoned,
        Plot::Aborted,
        Plot::AbortedUnborn,
        Plot::Raced,
        Plot::Differs,
        Plot::Missing,
        Plot::WrongSum,
        Plot::KeyTaken,
        Plot::Deleted,
        Plot::CreateRefused,
        Plot::CreateLost,
        Plot::CreateDoubled,
        Plot::CompleteRefused,
        Plot::CompleteUnclear,
        Plot::CompleteHidden,
        Plot::CompleteHeld,
        Plot::CompleteSlow,
        Plot::SumWrong,
    ];

    /// What its files' names begin with.
    fn name(self) -> &'static str {
        match self {
            Plot::CreateRefused => "create-refused",
            Plot::CreateLost | Plot::AbortedUnborn => "create-lost",
            Plot::CreateDoubled => "create-doubled",
            Plot::CompleteRefused => "complete-refused",
            Plot::CompleteUnclear => "complete-unclear",
            Plot::CompleteHidden => "complete-hidden",
            Plot::CompleteHeld => "complete-held",
            Plot::CompleteSlow => "complete-slow",
            Plot::SumWrong => "sum-wrong",
            _ => "plain",
        }
    }
}

impl Client {
    /// Does one upload, as far as it gets.
    pub(super) async fn act(&mut self, plot: Plot, number: u64) {
        let keyed = plot != Plot::AbortedUnborn && self.random.percent(60);
        let name = format!("{}.{number}.{}bin", plot.name(), if keyed { "keyed." } else { "" });
        let size = match plot {
            Plot::Empty => 0,
            // Two parts are rare, for five MiB are the least that S3 takes for the first.
            Plot::Plain | Plot::CompleteHeld | Plot::Stream if self.random.percent(3) => (5 << 20) + 777,
            _ => 1 + self.random.below(2000) as i64,
        };
        let bytes = file(size);
        let mut body = json!({ "filename": name, "size": size, "partSize": 5 << 20 });
        match plot {
            Plot::Stream => body.as_object_mut().expect("an object").retain(|field, _| field != "size"),
            Plot::AutoComplete => body["autoComplete"] = true.into(),
            Plot::SumWrong => body["checksum"] = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(&bytes) }),
            // Without part URLs nothing can land later: the abort is proved at once.
            Plot::Aborted | Plot::Raced if self.random.percent(50) => body["partUrls"] = json!({ "count": 0 }),
            _ => {}
        }
        if plot == Plot::AbortedUnborn {
            return self.abort_unborn(&name, &body).await;
        }
        let key = keyed.then_some(name.as_str());
        let lost = matches!(plot, Plot::CreateLost | Plot::CreateDoubled);
        let reply = if lost && !keyed {
            // Whoever asks again without a key gets another upload, and that one is lost, too.
            self.ask("POST", "/v1/uploads", key, Some(&body)).await
        } else {
            self.insist("POST", "/v1/uploads", key, Some(&body)).await
        };
        let Some(reply) = reply else { return };
        match reply.status.as_u16() {
            201 => {}
            502 if plot == Plot::CreateRefused => return,
            503 if lost => return,
            _ => return self.surprise(plot, "create", &reply),
        }
        let upload = &reply.body["upload"];
        let id = upload["id"].as_str().expect("an id").to_owned();
        self.told.created(&id, plot, key);
        let s3_key = upload["key"].as_str().expect("a key").to_owned();
        match plot {
            Plot::Abandoned => return,
            Plot::Aborted => return self.abort(plot, &id).await,
            Plot::KeyTaken => {
                self.s3.put_foreign(&s3_key).await;
            }
            Plot::Missing => {
                self.complete(plot, &id, None, true).await;
            }
            _ => {}
        }
        let urls = reply.body["partUrls"].as_array().cloned().unwrap_or_default();
        let Some(sent) = self.send(plot, &id, urls, &bytes).await else { return };
        if plot == Plot::Differs {
            let wrong = json!({ "etag": "\"00000000000000000000000000000000\"" });
            let path = format!("/v1/uploads/{id}/parts/1");
            if self.insist("PUT", &path, None, Some(&wrong)).await.is_none_or(|reply| reply.status != 200) {
                return;
            }
            self.complete(plot, &id, None, true).await;
        }
        if plot == Plot::AutoComplete {
            return self.watch(&id).await;
        }
        let Some(reports) = self.record(plot, &id, &sent).await else { return };
        let mut request = json!({ "parts": reports });
        if plot == Plot::Stream {
            request["size"] = size.into();
        }
        if plot == Plot::WrongSum {
            request["checksum"] = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(b"other bytes") });
        }
        if reports.is_empty() {
            request.as_object_mut().expect("an object").remove("parts");
        }
        if plot == Plot::Raced {
            let (mut other, mut another) = (self.twin(), self.twin());
            tokio::join!(
                self.complete(plot, &id, Some(&request), false),
                other.abort(plot, &id),
                another.complete(plot, &id, Some(&request), false),
            );
            return;
        }
        let mut other = self.twin();
        let at_once = matches!(plot, Plot::CompleteSlow | Plot::CompleteHeld) || self.random.percent(20);
        let second = async { if at_once { other.complete(plot, &id, Some(&request), false).await } else { false } };
        let (completed, _) = tokio::join!(self.complete(plot, &id, Some(&request), false), second);
        if !completed {
            return;
        }
        if plot == Plot::Deleted {
            self.delete(plot, &id).await;
        } else if self.random.percent(30) {
            self.complete(plot, &id, None, false).await;
            let reply = self.insist("DELETE", &format!("/v1/uploads/{id}"), None, None).await;
            if let Some(reply) = reply.filter(|reply| reply.body["code"] != "already-completed") {
                self.surprise(plot, "abort of a completed upload", &reply);
            }
        }
    }

    /// Sends every part to S3; its number and ETag. `None` if the upload has ended meanwhile.
    async fn send(&mut self, plot: Plot, id: &str, mut urls: Vec<Value>, bytes: &[u8]) -> Option<Vec<(i64, String)>> {
        let parts = bytes.len().div_ceil(5 << 20);
        if urls.len() != parts {
            // A stream's last part is as long as it is.
            let last = if plot == Plot::Stream { Some(bytes.len() - (parts - 1) * (5 << 20)) } else { None };
            let items: Vec<Value> = (1..=parts)
                .map(|part| match last {
                    Some(size) if part == parts => json!({ "partNumber": part, "size": size }),
                    _ => json!({ "partNumber": part }),
                })
                .collect();
            let path = format!("/v1/uploads/{id}/part-urls");
            let reply = self.insist("POST", &path, None, Some(&json!({ "items": items }))).await?;
            if reply.status != 200 {
                self.refused(plot, "sign", &reply);
                return None;
            }
            urls = reply.body["partUrls"].as_array().cloned().unwrap_or_default();
        }
        let mut sent = Vec::new();
        for url in urls {
            let number = url["partNumber"].as_i64().expect("a number");
            let from = (number as usize - 1) * (5 << 20);
            let part = bytes[from..bytes.len().min(from + (5 << 20))].to_vec();
            let response = self.http.put(url["url"].as_str().expect("a URL")).body(part).send().await.ok()?;
            if response.status() != 200 {
                // It was given up meanwhile, or its time is over.
                let path = format!("/v1/uploads/{id}/part-urls");
                let reply = self.insist("POST", &path, None, Some(&json!({ "parts": number.to_string() }))).await?;
                self.refused(plot, "sign", &reply);
                return None;
            }
            let etag = response.headers().get("etag")?.to_str().ok()?.to_owned();
            sent.push((number, etag));
        }
        Some(sent)
    }

    /// Records what was sent, one by one or together or not at all. Returns what is left to be told with the completion.
    async fn record(&mut self, plot: Plot, id: &str, sent: &[(i64, String)]) -> Option<Vec<Value>> {
        let reports =
            sent.iter().map(|(number, etag)| json!({ "partNumber": number, "etag": etag })).collect::<Vec<_>>();
        if self.random.percent(20) {
            let reply = self.insist("POST", &format!("/v1/uploads/{id}/sync"), None, None).await?;
            if reply.status != 200 {
                self.refused(plot, "sync", &reply);
                return None;
            }
        }
        let how = if plot == Plot::Differs { 1 } else { self.random.below(4) };
        match how {
            0 if !sent.is_empty() => {
                let body = json!({ "parts": reports });
                let reply = self.insist("PUT", &format!("/v1/uploads/{id}/parts"), None, Some(&body)).await?;
                if reply.status != 200 {
                    self.refused(plot, "record", &reply);
                    return None;
                }
                self.recorded(id, sent);
            }
            1 => {
                for part in sent {
                    let path = format!("/v1/uploads/{id}/parts/{}", part.0);
                    let reply = self.insist("PUT", &path, None, Some(&json!({ "etag": part.1 }))).await?;
                    if reply.status != 200 {
                        self.refused(plot, "record", &reply);
                        return None;
                    }
                    self.recorded(id, std::slice::from_ref(part));
                }
            }
            // S3 knows.
            2 => {}
            _ => return Some(reports),
        }
        Some(Vec::new())
    }

    fn recorded(&self, id: &str, parts: &[(i64, String)]) {
        self.told.with(id, |history| {
            history.parts.extend(parts.iter().cloned());
            None
        });
    }

    /// Completes it, asking again for as long as it is running. Whether it is completed. `in_vain`: it is to be refused.
    async fn complete(&mut self, plot: Plot, id: &str, request: Option<&Value>, in_vain: bool) -> bool {
        let path = format!("/v1/uploads/{id}/complete");
        // What is unclear stays so for longer than a client waits.
        let tries = if matches!(plot, Plot::CompleteUnclear | Plot::CompleteHidden) { 4 } else { 60 };
        for _ in 0..tries {
            let Some(reply) = self.insist("POST", &path, None, request).await else { return false };
            match (reply.status.as_u16(), reply.body["code"].as_str().unwrap_or_default()) {
                (200, _) => {
                    if in_vain {
                        self.surprise(plot, "a completion in vain", &reply);
                    }
                    self.told.with(id, |history| {
                        history.acknowledged = true;
                        None
                    });
                    return true;
                }
                (202, _) | (409, "upload-not-open") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    if self.random.percent(20) {
                        self.ask("GET", &format!("/v1/uploads/{id}"), None, None).await;
                    }
                }
                (502, "storage-refused") if plot == Plot::CompleteRefused => {}
                (409, "parts-missing") if plot == Plot::Missing && in_vain => return false,
                (409, "parts-differ") if plot == Plot::Differs && in_vain => return false,
                (409, "key-exists") if plot == Plot::KeyTaken => return false,
                (422, "checksum-mismatch") if matches!(plot, Plot::WrongSum | Plot::SumWrong) => return false,
                (410, "file-deleted") if plot == Plot::Deleted => return false,
                _ => {
                    self.refused(plot, "complete", &reply);
                    return false;
                }
            }
        }
        false
    }

    async fn abort(&mut self, plot: Plot, id: &str) {
        let path = format!("/v1/uploads/{id}");
        for _ in 0..20 {
            let Some(reply) = self.insist("DELETE", &path, None, None).await else { return };
            match (reply.status.as_u16(), reply.body["code"].as_str().unwrap_or_default()) {
                (204, _) => {
                    self.told.with(id, |history| {
                        history.aborted = true;
                        None
                    });
                    self.ask("GET", &path, None, None).await;
                    return;
                }
                (409, "already-completed") if plot == Plot::Raced => return,
                (409, "upload-not-open") if plot == Plot::Raced => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => return self.surprise(plot, "abort", &reply),
            }
        }
    }

    /// Aborts an upload of whose creation nobody was answered.
    async fn abort_unborn(&mut self, name: &str, body: &Value) {
        self.ask("POST", "/v1/uploads", None, Some(body)).await;
        let Some(listed) = self.insist("GET", "/v1/uploads?state=creating&limit=1000", None, None).await else {
            return;
        };
        let found = listed.body["items"].as_array().into_iter().flatten().find(|upload| upload["filename"] == name);
        if let Some(id) = found.and_then(|upload| upload["id"].as_str()).map(str::to_owned) {
            self.told.created(&id, Plot::AbortedUnborn, None);
            self.abort(Plot::AbortedUnborn, &id).await;
        }
    }

    /// Looks until the upload has completed by itself.
    async fn watch(&mut self, id: &str) {
        for _ in 0..40 {
            let Some(reply) = self.insist("GET", &format!("/v1/uploads/{id}"), None, None).await else { return };
            if reply.status != 200 {
                return self.surprise(Plot::AutoComplete, "get", &reply);
            }
            if reply.body["state"] != "open" && reply.body["state"] != "completing" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Deletes the file of a completed upload.
    async fn delete(&mut self, plot: Plot, id: &str) {
        self.told.with(id, |history| {
            history.deletion_asked = true;
            None
        });
        let path = format!("/v1/files/{id}");
        let Some(reply) = self.insist("DELETE", &path, None, None).await else { return };
        if reply.status != 204 {
            return self.surprise(plot, "deletion", &reply);
        }
        self.told.with(id, |history| {
            history.deleted = true;
            None
        });
        // From then on nobody has it again.
        let Some(reply) = self.insist("GET", &path, None, None).await else { return };
        if reply.body["code"] != "file-not-found" {
            self.surprise(plot, "look at a deleted file", &reply);
        }
    }

    /// An upload that has ended, or whose time is over, refuses: that is well.
    fn refused(&self, plot: Plot, what: &str, reply: &Reply) {
        let code = reply.body["code"].as_str().unwrap_or_default();
        let fails = matches!(plot, Plot::KeyTaken | Plot::WrongSum | Plot::SumWrong);
        let well = match code {
            "upload-expired" => true,
            "upload-aborted" => plot == Plot::Raced,
            "upload-failed" => fails,
            "already-completed" | "upload-not-open" => what != "complete",
            _ => false,
        };
        if !well {
            self.surprise(plot, what, reply);
        }
    }

    fn surprise(&self, plot: Plot, what: &str, reply: &Reply) {
        self.told.violation(format!("{plot:?}: {what}: {} {}", reply.status, reply.body));
    }
}
