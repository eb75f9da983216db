//! One sound call of each operation, for the document.

use serde_json::{Value, json};

/// Request and response of one sound call of each operation, with the response's status.
pub(super) fn examples(operation: &str) -> (Option<Value>, Option<(&'static str, Value)>) {
    let id = "01998f4e-7a10-7cc3-98c4-dc0c0c07398f";
    let etag = "\"9bb58f26192e4ba00f01e2e7b136bbd8\"";
    let mut upload = json!({
        "id": id, "state": "open", "owner": "local", "preset": "default", "filename": "holiday.mov",
        "contentType": "video/quicktime", "size": 734_003_200, "metadata": { "album": "2026" }, "partSize": 8_388_608,
        "partCount": 88, "autoComplete": false, "recordedParts": 40, "recordedBytes": 335_544_320, "missingParts": "41-88",
        "bucket": "media", "key": format!("uploads/8f/{id}/holiday.mov"), "createdAt": "2026-11-22T04:25:00.000Z",
        "updatedAt": "2026-11-22T04:31:00.000Z", "expiresAt": "2026-11-23T04:31:00.000Z",
    });
    let part_url = json!({
        "partNumber": 41, "method": "PUT",
        "url": format!("https://media.s3.eu-central-1.amazonaws.com/uploads/8f/{id}/holiday.mov?partNumber=41&X-Amz-Signature=0f3c"),
        "headers": {}, "offset": 335_544_320, "size": 8_388_608, "expiresAt": "2026-11-22T04:46:00Z", "expiresInSeconds": 900,
    });
    let part = json!({ "partNumber": 41, "etag": etag, "size": 8_388_608, "recordedAt": "2026-11-22T04:31:00.000Z" });
    let url = "https://media.s3.eu-central-1.amazonaws.com/uploads/8f/01998f4e/holiday.mov?X-Amz-Signature=0f3c";
    let mut file = json!({
        "id": id, "filename": "holiday.mov", "contentType": "video/quicktime", "size": 734_003_200,
        "etag": "\"d41d8cd98f00b204e9800998ecf8427e-88\"", "owner": "local", "visibility": "private",
        "createdAt": "2026-11-22T04:25:00.000Z", "sharedWith": [],
    });
    match operation {
        "createUpload" => {
            let request = json!({
                "filename": "holiday.mov", "size": 734_003_200, "contentType": "video/quicktime", "metadata": { "album": "2026" },
                "partUrls": { "count": 1 },
            });
            upload["recordedParts"] = json!(0);
            upload["recordedBytes"] = json!(0);
            upload["missingParts"] = json!("1-88");
            let mut first = part_url;
            first["partNumber"] = json!(1);
            first["offset"] = json!(0);
            (Some(request), Some(("201", json!({ "upload": upload, "partUrls": [first] }))))
        }
        "listUploads" => (None, Some(("200", json!({ "items": [without(upload, "missingParts")] })))),
        "getUpload" | "syncParts" => (None, Some(("200", upload))),
        "completeUpload" => {
            let mut completed = without(upload, "missingParts");
            completed["state"] = json!("completed");
            completed["recordedParts"] = json!(88);
            completed["recordedBytes"] = json!(734_003_200);
            completed["object"] = json!({
                "etag": "\"d41d8cd98f00b204e9800998ecf8427e-88\"", "size": 734_003_200, "completedAt": "2026-11-22T04:40:00.000Z",
                "checksum": { "algorithm": "CRC64NVME", "value": "rosUhgp5mIg=", "verified": true },
            });
            let checksum = json!({ "algorithm": "CRC64NVME", "value": "rosUhgp5mIg=" });
            (Some(json!({ "checksum": checksum })), Some(("200", completed)))
        }
        "signParts" => (Some(json!({ "parts": "41-48" })), Some(("200", json!({ "partUrls": [part_url] })))),
        "recordParts" => {
            let request = json!({ "parts": [{ "partNumber": 41, "etag": etag }] });
            (Some(request), Some(("200", without(upload, "missingParts"))))
        }
        "recordPart" => (Some(json!({ "etag": etag })), Some(("200", part))),
        "listParts" => (None, Some(("200", json!({ "items": [part], "nextCursor": "NDE" })))),
        "getFile" => (None, Some(("200", file))),
        "listFiles" => {
            file["downloadUrl"] = json!({ "url": url, "expiresAt": "2026-11-22T04:41:00Z" });
            (None, Some(("200", json!({ "items": [file] }))))
        }
        "getDownloadUrls" => {
            let missing = "01998f4e-7a10-7cc3-98c4-dc0c0c073990";
            let link = json!({ "id": id, "url": url, "expiresAt": "2026-11-22T04:41:00Z" });
            (Some(json!({ "ids": [id, missing] })), Some(("200", json!({ "items": [link], "missing": [missing] }))))
        }
        "getDownloadUrl" => (None, Some(("200", json!({ "url": url, "expiresAt": "2026-11-22T04:41:00Z" })))),
        _ => (None, None),
    }
}

fn without(mut value: Value, member: &str) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.remove(member);
    }
    value
}
