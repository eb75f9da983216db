//! JSON in and out. The framework tells bad syntax, an unknown field and a wrong type apart no more than its validators
//! know 422, and builds a tree of every answer; so bodies are read and written here, by serde.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::StreamExt;
use poem::http::header;
use poem::{IntoResponse, Request, RequestBody, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde::Serialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

use super::problem::{Code, Problem};
use super::wire::PartUrlsAnswer;

const JSON: &str = "application/json";
/// How much of a body that is too large is taken in: a client that is still sending reads no answer.
const MAX_SURPLUS: usize = 32 << 20;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(120);

/// A request that is read from a JSON body.
pub(super) trait FromBody: DeserializeOwned + Type {
    /// The largest body, in bytes.
    const LIMIT: usize = 2 << 20;
    /// What no body at all means; `None` where there must be one.
    fn absent() -> Option<Self> {
        None
    }
}

/// A request body, read.
pub(super) struct Body<T> {
    /// What it says.
    pub(super) value: T,
    /// Its bytes.
    pub(super) raw: Vec<u8>,
}

impl<'a, T: FromBody> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: T::absent().is_none() })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> poem::Result<Self> {
        let late = |_| Problem::new(Code::MalformedJson, "the body did not arrive in time");
        let raw = tokio::time::timeout(PATIENCE, read(request, body, T::LIMIT)).await.map_err(late)??;
        // Generated clients say `null` where a body that need not be there is left out.
        let is_absent = raw.is_empty() || raw.trim_ascii() == b"null";
        if let (true, Some(value)) = (is_absent, T::absent()) {
            return Ok(Body { value, raw: Vec::new() });
        }
        if !request.content_type().is_some_and(is_json) {
            return Err(Problem::new(Code::UnsupportedMediaType, "send application/json").into());
        }
        let value = parse(&raw)?;
        Ok(Body { value, raw })
    }
}

async fn read(request: &Request, body: &mut RequestBody, limit: usize) -> Result<Vec<u8>, Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let unreadable = || Problem::new(Code::MalformedJson, "the body could not be read to its end");
    let mut chunks = body.take().map_err(|_| unreadable())?.into_bytes_stream();
    let mut raw = Vec::with_capacity(announced.unwrap_or(0).min(limit));
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| unreadable())?;
        length += chunk.len();
        if length <= limit {
            raw.extend_from_slice(&chunk);
        } else if length > limit + MAX_SURPLUS {
            break;
        }
    }
    if length > limit {
        return Err(Problem::new(Code::BodyTooLarge, format!("a body here has at most {limit} bytes")));
    }
    Ok(raw)
}

fn is_json(content_type: &str) -> bool {
    let Ok(mime) = content_type.parse::<mime::Mime>() else {
        return false;
    };
    let utf8 = mime.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8);
    mime.essence_str() == JSON && utf8
}

/// Reads JSON, telling its syntax, its fields and its types apart.
fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(raw);
    let Fields(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        explain(&path, error.inner())
    })?;
    json.end().map_err(|error| explain("", &error))?;
    Ok(value)
}

fn explain(path: &str, error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        let (line, column) = (error.line(), error.column());
        return Problem::new(
            Code::MalformedJson,
            format!("not JSON at line {line}, column {column}, or nested too deeply"),
        );
    }
    let text = error.to_string();
    // serde's text ends with the position, which says nothing to those who build objects rather than text.
    let text = text.split(" at line ").next().unwrap_or(&text);
    let named = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    let within = |field: &str| match path {
        "" | "." => field.to_owned(),
        path if path.ends_with(field) => path.to_owned(),
        path => format!("{path}.{field}"),
    };
    if let Some(field) = named("unknown field `") {
        return Problem::field(Code::UnknownField, &within(field), "there is no such field");
    }
    if let Some(field) = named("missing field `") {
        return Problem::field(Code::InvalidRequest, &within(field), "is missing");
    }
    if let Some(field) = named("duplicate field `") {
        return Problem::field(Code::InvalidRequest, &within(field), "stands there twice");
    }
    let place = if path == "." || path.is_empty() { "body" } else { path };
    let wanted = match text.rsplit_once("expected ").map_or(text, |(_, wanted)| wanted) {
        "i32" | "i64" => "a whole number",
        "a map" => "an object",
        "a sequence" => "a list",
        wanted => wanted,
    };
    let expected = format!("expected {wanted}");
    Problem::field(Code::InvalidRequest, place, &expected)
}

/// An object of JSON. A derived reader takes a list of the fields' values for an object, too.
struct Fields<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Fields<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Fields)
            }
        }

        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// For lists of objects.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Fields<T>>::deserialize(deserializer)?.into_iter().map(|Fields(item)| item).collect())
}

/// For lists of objects that may be absent but not `null`.
pub(super) fn present_objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    objects(deserializer).map(Some)
}

/// For objects that may be absent but not `null`.
pub(super) fn present_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Fields::deserialize(deserializer).map(|Fields(value)| Some(value))
}

/// For fields that may be absent but not `null`, as the document says.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// An answer in JSON.
pub(super) enum Answer<T> {
    /// Written by serde.
    Whole(T),
    /// Of the same shape, written while it is sent.
    Pieces(Box<PartUrlsAnswer>),
}

impl<T: Type> Payload for Answer<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Serialize + Send> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let body = match self {
            Answer::Whole(value) => match serde_json::to_vec(&value) {
                Ok(bytes) => poem::Body::from_vec(bytes),
                Err(error) => {
                    tracing::error!(%error, "an answer could not be written");
                    return Problem::internal().into_response();
                }
            },
            Answer::Pieces(pieces) => pieces.into_body(),
        };
        Response::builder().content_type(JSON).body(body)
    }
}

impl<T: Type + Serialize> ApiResponse for Answer<T> {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }];
        let response =
            MetaResponse { description: "Done", status: Some(200), status_range: None, content, headers: vec![] };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
