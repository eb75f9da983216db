//! The OpenAPI document: the framework's, corrected for generators and completed with what the framework cannot know.
//! `openapi/openapi.json` is this document; the service serves it too.

use poem::http::Method;
use poem_openapi::{OpenApiService, Tags};
use serde_json::{Map, Value, json};

use super::examples::examples;
use super::files::FilesApi;
use super::guard::scope_of;
use super::problem::Code;
use super::uploads::UploadsApi;
use crate::upload::{Algorithm, State};

/// The groups of operations.
#[derive(Tags)]
pub(super) enum Tag {
    /// Begin, inspect, complete and abort uploads
    Uploads,
    /// Sign, record and list the parts of an upload
    Parts,
    /// Have completed uploads again, share and delete them
    Files,
}

const DESCRIPTION: &str = "Coordinates large uploads to S3. The bytes go from the client straight to S3: create an upload, \
PUT the bytes of each part URL with exactly its headers, complete the upload. Unknown fields in a request are refused. \
Every error is a problem document (RFC 9457) whose `code` is stable; new codes may appear.";

/// The form of a fingerprint; sizes are below 10^18.
const FINGERPRINT: &str = "^p1-(0|[1-9][0-9]{0,17})-[0-9a-f]{16}$";

/// The document.
pub fn document() -> Value {
    let service = OpenApiService::new((UploadsApi, FilesApi), "Partita", env!("CARGO_PKG_VERSION"));
    let mut document: Value = serde_json::from_str(&service.spec()).unwrap_or_default();
    tidy(&mut document);
    document["openapi"] = json!("3.0.3");
    document["info"]["description"] = json!(DESCRIPTION);
    document["info"]["license"] = json!({ "name": "MIT OR Apache-2.0", "url": "https://opensource.org/license/mit" });
    document["info"]["contact"] = json!({ "name": "The Partita contributors" });
    document["servers"] = json!([{ "url": "/", "description": "This service" }]);
    document["security"] = json!([{ "bearer": [] }, {}]);
    document["components"]["securitySchemes"] = json!({ "bearer": {
        "type": "http", "scheme": "bearer", "description": "An API key or a JWT; a service without auth needs none",
    }});
    document["components"]["schemas"]["Problem"] = problem();
    document["components"]["schemas"]["FieldError"] = field_error();
    bounds(&mut document["components"]["schemas"]);
    let Some(paths) = document["paths"].as_object_mut() else {
        return document;
    };
    *paths = std::mem::take(paths).into_iter().map(|(path, item)| (camel_case(&path), item)).collect();
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        for operation in item.values_mut() {
            complete(operation);
        }
    }
    document
}

/// What stands for every operation: its problems, its examples, its parameters' bounds.
fn complete(operation: &mut Value) {
    let id = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let mut codes: Vec<Code> = problems(&id);
    codes.sort_unstable_by_key(|code| (code.status(), code.name()));
    if let Some(responses) = operation["responses"].as_object_mut() {
        for code in codes {
            let status = code.status().to_string();
            let response = responses.entry(status).or_insert_with(|| problem_response(code.status()));
            let described = response["description"].as_str().unwrap_or_default().to_owned();
            let separator = if described.is_empty() { "" } else { ", " };
            response["description"] = json!(format!("{described}{separator}`{}`", code.name()));
        }
    }
    let scope = scope_of(&id);
    let described = operation["description"].as_str().unwrap_or_default().to_owned();
    operation["description"] = json!(format!("{described}\n\nNeeds the scope `{scope}`.").trim_start());
    let (request, response) = examples(&id);
    if let Some(example) = request {
        operation["requestBody"]["content"]["application/json"]["example"] = example;
    }
    if let Some((status, example)) = response {
        operation["responses"][status]["content"]["application/json"]["example"] = example;
    }
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let schema = match parameter["name"].as_str().unwrap_or_default() {
            "upload_id" | "file_id" => json!({ "type": "string", "format": "uuid" }),
            "part_number" => json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 10_000 }),
            "limit" => json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 1_000 }),
            "ttlSeconds" => json!({ "type": "integer", "format": "int64", "minimum": 1, "maximum": 604_800 }),
            "state" => json!({ "type": "string", "enum": State::ALL.map(State::name) }),
            "disposition" => json!({ "type": "string", "enum": ["attachment", "inline"] }),
            "fingerprint" => json!({ "type": "string", "pattern": FINGERPRINT }),
            "owner" | "subject" => json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
            "Range" => json!({ "type": "string", "example": "bytes=0-1023" }),
            "If-None-Match" => json!({ "type": "string", "example": "\"9bb58f26192e4ba00f01e2e7b136bbd8\"" }),
            "Idempotency-Key" => json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" }),
            _ => continue,
        };
        parameter["schema"] = schema;
        if let Some(name) = parameter["name"].as_str().map(camel_case) {
            parameter["name"] = json!(name);
        }
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |text, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        text + &head.to_uppercase() + tail
    })
}

/// The codes that an operation can answer with.
fn problems(operation: &str) -> Vec<Code> {
    use Code::*;
    const ANY: &[Code] = &[
        Unauthenticated,
        InvalidToken,
        InsufficientScope,
        ForbiddenOrigin,
        NotAcceptable,
        RateLimited,
        Internal,
        DatabaseUnavailable,
        AuthUnavailable,
    ];
    const LINK: &[Code] = &[InvalidRequest, StorageUnavailable];
    const FILE: &[Code] = &[FileNotFound, NotCompleted];
    const S3: &[Code] = &[StorageRefused, StorageUnavailable];
    const BODY: &[Code] = &[MalformedJson, InvalidRequest, UnknownField, BodyTooLarge, UnsupportedMediaType];
    const LIST: &[Code] = &[InvalidRequest, InvalidCursor];
    const NEEDS_OPEN: &[Code] =
        &[UploadNotFound, UploadNotOpen, AlreadyCompleted, UploadExpired, UploadAborted, UploadFailed, FileDeleted];
    const REPORT: &[Code] = &[InvalidPartNumber, InvalidEtag, InvalidChecksum, SizeMismatch];
    let of: &[&[Code]] = match operation {
        "createUpload" => &[
            ANY,
            S3,
            BODY,
            &[InvalidIdempotencyKey, PresetNotFound, IdempotencyInProgress, IdempotencyKeyReused, FileTooLarge],
            &[InvalidFilename, InvalidContentType, InvalidSize, InvalidPartSize, InvalidChecksum, InvalidMetadata],
            &[
                ChecksumRequired,
                InvalidFingerprint,
                UploadAborted,
                UploadExpired,
                ContentTypeNotAllowed,
                QuotaOpenUploads,
                QuotaBytes,
            ],
        ],
        "listUploads" => &[ANY, LIST],
        "getUpload" => &[ANY, &[UploadNotFound]],
        "abortUpload" => &[ANY, &[UploadNotFound, UploadNotOpen, AlreadyCompleted]],
        "completeUpload" => &[
            ANY,
            S3,
            BODY,
            NEEDS_OPEN,
            REPORT,
            &[PartsMissing, PartsDiffer, KeyExists, ChecksumMismatch, InvalidSize, InvalidPartSize, InvalidFingerprint],
            &[BatchTooLarge, ChecksumRequired, FileTooLarge],
        ],
        "signParts" => &[
            ANY,
            S3,
            BODY,
            NEEDS_OPEN,
            &[
                InvalidPartNumber,
                SizeMismatch,
                InvalidChecksum,
                ChecksumRequired,
                BatchTooLarge,
                FileTooLarge,
                QuotaBytes,
            ],
        ],
        "recordParts" => &[ANY, BODY, NEEDS_OPEN, REPORT, &[BatchTooLarge]],
        "recordPart" => &[ANY, BODY, NEEDS_OPEN, REPORT],
        "listParts" => &[ANY, LIST, &[UploadNotFound]],
        "syncParts" => &[ANY, S3, NEEDS_OPEN],
        "listFiles" => &[ANY, LIST, LINK],
        "getFile" => &[ANY, FILE],
        "getDownloadUrl" => &[ANY, FILE, LINK],
        "getDownloadUrls" => &[ANY, BODY, LINK],
        "downloadFile" => &[ANY, FILE, &[StorageUnavailable]],
        "streamFile" => &[ANY, FILE, S3, &[InvalidRequest, RangeNotSatisfiable]],
        "deleteFile" => &[ANY, FILE, &[OwnerOnly]],
        "shareFile" | "unshareFile" => &[ANY, FILE, &[OwnerOnly, InvalidRequest]],
        _ => &[],
    };
    let mut codes = of.concat();
    codes.sort_unstable();
    codes.dedup();
    if matches!(operation, "downloadFile" | "streamFile") {
        codes.retain(|code| *code != NotAcceptable);
    }
    codes
}

fn problem_response(status: u16) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    // Some generators type only application/json; the bytes are the same.
    let content = json!({ "application/problem+json": { "schema": schema }, "application/json": { "schema": schema } });
    let mut response = json!({ "description": "", "content": content });
    if matches!(status, 409 | 429 | 503) {
        let schema = json!({ "type": "integer", "format": "int32" });
        response["headers"] =
            json!({ "Retry-After": { "description": "Seconds to wait, where waiting helps", "schema": schema } });
    }
    response
}

fn problem() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let number =
        |description: &str, format: &str| json!({ "type": "integer", "format": format, "description": description });
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457)",
        "required": ["type", "title", "status", "code", "detail", "requestId"],
        "properties": {
            "type": text("`urn:partita:problem:` and the code"),
            "title": text("What went wrong, in general"),
            "status": number("The HTTP status", "int32"),
            "code": text(&format!("What went wrong, for machines; new codes may appear. Known: {}", known_codes())),
            "detail": text("What went wrong, this time"),
            "requestId": text("The request's id, as in `X-Request-Id` and the service's log"),
            "errors": {
                "type": "array", "description": "The fields that are wrong", "items": { "$ref": "#/components/schemas/FieldError" },
            },
            "state": text("With `upload-not-open`: where the upload stands"),
            "missingParts": text("With `parts-missing`: the parts that S3 does not hold, such as `41-88`"),
            "parts": text("With `parts-differ`: the parts that differ from what was recorded"),
            "partCount": number("With `invalid-part-number`: the parts of the upload", "int32"),
            "maxSize": number("With `file-too-large`: bytes of the largest file", "int64"),
        },
    })
}

fn known_codes() -> String {
    Code::ALL.iter().map(|code| format!("`{}`", code.name())).collect::<Vec<_>>().join(" ")
}

fn field_error() -> Value {
    json!({
        "type": "object",
        "description": "A field that is wrong",
        "required": ["field", "detail"],
        "properties": {
            "field": { "type": "string", "description": "Where, such as `items[2].partNumber`" },
            "detail": { "type": "string", "description": "What is wrong with it" },
        },
    })
}

/// Bounds of fields. They are the domain's and checked there, so the framework does not know them.
fn bounds(schemas: &mut Value) {
    let algorithms = json!(Algorithm::ALL.map(Algorithm::name));
    let states = json!(State::ALL.map(State::name));
    let table = [
        ("Upload", "state", json!({ "enum": states })),
        ("CreateUploadRequest", "filename", json!({ "minLength": 1, "maxLength": 255 })),
        ("CreateUploadRequest", "size", json!({ "minimum": 0 })),
        (
            "CreateUploadRequest",
            "partSize",
            json!({ "minimum": 5_242_880, "maximum": 5_368_709_120_i64, "multipleOf": 1_048_576 }),
        ),
        ("CreateUploadRequest", "partChecksum", json!({ "enum": algorithms })),
        ("CreateUploadRequest", "fingerprint", json!({ "pattern": FINGERPRINT })),
        ("Upload", "partChecksum", json!({ "enum": algorithms })),
        ("PartUrlsRequest", "count", json!({ "minimum": 0, "maximum": 1_000 })),
        ("PartUrlsRequest", "ttlSeconds", json!({ "minimum": 1, "maximum": 604_800 })),
        ("SignPartsRequest", "parts", json!({ "pattern": "^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$" })),
        ("SignPartsRequest", "items", json!({ "minItems": 1, "maxItems": 10_000 })),
        ("SignPartsRequest", "ttlSeconds", json!({ "minimum": 1, "maximum": 604_800 })),
        ("SignPartsItem", "partNumber", json!({ "minimum": 1, "maximum": 10_000 })),
        ("RecordPartsRequest", "parts", json!({ "minItems": 1, "maxItems": 10_000 })),
        ("RecordPartsItem", "partNumber", json!({ "minimum": 1, "maximum": 10_000 })),
        ("CompleteUploadRequest", "parts", json!({ "maxItems": 10_000 })),
        ("CompleteUploadRequest", "size", json!({ "minimum": 0 })),
        ("DownloadUrlsRequest", "ids", json!({ "minItems": 1, "maxItems": 1_000 })),
        ("DownloadUrlsRequest", "ttlSeconds", json!({ "minimum": 1, "maximum": 604_800 })),
        ("DownloadUrlsRequest", "disposition", json!({ "enum": ["attachment", "inline"] })),
    ];
    for (schema, property, bounds) in table {
        let property = &mut schemas[schema]["properties"][property];
        if let (Some(property), Value::Object(bounds)) = (property.as_object_mut(), bounds) {
            property.extend(bounds);
        }
    }
}

/// Corrects what generators stumble over, wherever it stands.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // An enum or object with a description of its own comes as `allOf` of itself and the description.
            if let Some(Value::Array(parts)) = map.get_mut("allOf") {
                parts.retain(|part| part.get("$ref").is_some() || part.get("type").is_some());
            }
            // Only the framework writes names of headers in capitals.
            let shouted = |headers: &Map<String, Value>| headers.keys().all(|name| *name == name.to_uppercase());
            if let Some(Value::Object(headers)) =
                map.get_mut("headers").filter(|headers| headers.as_object().is_some_and(shouted))
            {
                *headers =
                    std::mem::take(headers).into_iter().map(|(name, header)| (header_case(&name), header)).collect();
                for header in headers.values_mut().filter_map(Value::as_object_mut) {
                    header.remove("deprecated");
                }
            }
            if map.contains_key("in") && map.contains_key("name") {
                map.remove("explode");
                map.remove("deprecated");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// `RETRY-AFTER` → `Retry-After`.
fn header_case(name: &str) -> String {
    if name == "ETAG" {
        return "ETag".to_owned();
    }
    let word = |word: &str| {
        let (head, tail) = word.split_at(word.len().min(1));
        head.to_uppercase() + &tail.to_lowercase()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// The methods of each path, and the operations that they stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Methods(&'static [Entry]);

#[derive(Debug)]
struct Entry {
    segments: Vec<String>,
    /// For `Allow`.
    methods: String,
    operations: Vec<(Method, String)>,
}

/// The methods of each path of the document, kept for as long as the process lives.
pub(super) fn methods(document: &Value) -> Methods {
    let empty = Map::new();
    let paths = document["paths"].as_object().unwrap_or(&empty);
    let entry = |(path, item): (&String, &Value)| {
        let operation = |(method, operation): (&String, &Value)| {
            let method = method.to_uppercase().parse().ok()?;
            Some((method, operation["operationId"].as_str().unwrap_or_default().to_owned()))
        };
        let operations: Vec<(Method, String)> = item.as_object().into_iter().flatten().filter_map(operation).collect();
        let methods: Vec<_> = operations.iter().map(|(method, _)| method.as_str()).collect();
        Entry { segments: path.split('/').map(str::to_owned).collect(), methods: methods.join(", "), operations }
    };
    Methods(paths.iter().map(entry).collect::<Vec<_>>().leak())
}

impl Methods {
    /// The methods that this path takes; those beside the API take `GET`.
    pub(super) fn of(self, path: &str) -> &'static str {
        self.entry(path).map_or("GET", |entry| &entry.methods)
    }

    /// The operation of the API that this method on this path is, if it is one.
    pub(super) fn operation(self, method: &Method, path: &str) -> Option<&'static str> {
        // The router answers HEAD by what it has for GET: it is the same operation, and asks for the same scope.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let operations = &self.entry(path)?.operations;
        operations.iter().find(|(known, _)| known == method).map(|(_, operation)| operation.as_str())
    }

    fn entry(self, path: &str) -> Option<&'static Entry> {
        let segments: Vec<&str> = path.split('/').collect();
        let matches = |entry: &&Entry| {
            // From the end, where paths differ most.
            let mut pairs = entry.segments.iter().zip(&segments).rev();
            entry.segments.len() == segments.len()
                && pairs.all(|(known, segment)| known.starts_with('{') || known == segment)
        };
        self.0.iter().find(matches)
    }
}
