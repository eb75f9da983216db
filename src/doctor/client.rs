//! Requests as clients send them: plain HTTP, with nothing but the URL that they were given.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};

use crate::bucket::innermost;

const CONNECT: Duration = Duration::from_secs(3);
const CALL: Duration = Duration::from_secs(10);
/// More of an answer than this is not read.
const MOST: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Client(reqwest::Client);

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Client {
    /// # Errors
    /// When there is no TLS to be had.
    pub(super) fn new() -> Result<Client, String> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(CALL)
            .redirect(Policy::none())
            // A kept connection that the other side has just closed would look like a fault of the bucket.
            .pool_max_idle_per_host(0)
            .build();
        client.map(Client).map_err(|error| told(&error))
    }

    /// One request. What went wrong is told without the URL, for that is a secret.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Reply, String> {
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(|error| told(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| told(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > MOST {
                break;
            }
        }
        Ok(Reply { status, headers, body })
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The items of a list in a header.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let lines = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let items = lines.flat_map(|line| line.split(','));
        items.map(|item| item.trim().to_ascii_lowercase()).filter(|item| !item.is_empty()).collect()
    }

    /// S3's error code; empty where there is none.
    pub(super) fn code(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let code = text.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next()).unwrap_or_default();
        let sound = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        if sound { code.to_owned() } else { String::new() }
    }

    /// Status and code, to be shown.
    pub(super) fn seen(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.code()).trim_end().to_owned()
    }
}

fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    // The causes around the innermost one name the URL.
    let cause = innermost(error);
    if cause.is::<reqwest::Error>() { "the connection failed".to_owned() } else { cause.to_string() }
}
