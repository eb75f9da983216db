//! Requests as they are wanted, right or wrong, byte by byte.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::crypto::{Checksum as _, Sha256};

use super::{ACCESS, BUCKET, SECRET};

#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

/// A presigned request in the making.
#[derive(Clone)]
pub(crate) struct Request {
    client: Client,
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    signed: Vec<(String, String)>,
    sent: Vec<(String, String)>,
    body: Vec<u8>,
    pub(crate) access: String,
    pub(crate) secret: String,
    pub(crate) expires: u64,
    /// How many seconds ago it was signed.
    pub(crate) age: i64,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const KEPT_IN_PATH: AsciiSet = KEPT.remove(b'/');

impl Client {
    pub(crate) fn request(self, method: &'static str, key: &str) -> Request {
        self.request_in(BUCKET, method, key)
    }

    pub(crate) fn request_in(self, bucket: &str, method: &'static str, key: &str) -> Request {
        Request {
            client: self,
            method,
            path: format!("/{bucket}/{}", utf8_percent_encode(key, &KEPT_IN_PATH)),
            query: vec![],
            signed: vec![("host".to_owned(), self.address.to_string())],
            sent: vec![],
            body: vec![],
            access: ACCESS.to_owned(),
            secret: SECRET.to_owned(),
            expires: 300,
            age: 0,
        }
    }

    pub(crate) fn get(self, key: &str) -> Request {
        self.request("GET", key)
    }

    pub(crate) fn put(self, key: &str, body: &[u8]) -> Request {
        self.request("PUT", key).body(body)
    }

    /// Opens an upload and gives its id.
    pub(crate) fn create(self, key: &str) -> String {
        self.create_with(key, &[])
    }

    pub(crate) fn create_with(self, key: &str, headers: &[(&str, &str)]) -> String {
        let mut request = self.request("POST", key).query("uploads", "");
        for (name, value) in headers {
            request = request.sign_and_send(name, value);
        }
        request.send().expect_status(200).xml("UploadId")
    }

    pub(crate) fn part(self, key: &str, id: &str, number: i32, body: &[u8]) -> Request {
        self.put(key, body).query("partNumber", &number.to_string()).query("uploadId", id)
    }

    /// Puts the part and gives its ETag.
    pub(crate) fn put_part(self, key: &str, id: &str, number: i32, body: &[u8]) -> String {
        self.part(key, id, number, body).send().expect_status(200).header("etag")
    }

    /// Opens an upload and puts the parts, from number 1 on.
    pub(crate) fn upload(self, key: &str, parts: &[&[u8]]) -> (String, Vec<(i32, String)>) {
        let id = self.create(key);
        let parts = (1..).zip(parts).map(|(number, body)| (number, self.put_part(key, &id, number, body)));
        let parts = parts.collect();
        (id, parts)
    }

    pub(crate) fn complete(self, key: &str, id: &str, parts: &[(i32, String)]) -> Request {
        let rows = parts.iter().map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", etag.replace('"', "&quot;"))
        });
        self.complete_xml(key, id, &rows.collect::<String>())
    }

    pub(crate) fn complete_xml(self, key: &str, id: &str, rows: &str) -> Request {
        let xml = format!(
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rows}</CompleteMultipartUpload>"
        );
        self.request("POST", key).query("uploadId", id).body(xml.as_bytes())
    }

    pub(crate) fn abort(self, key: &str, id: &str) -> Request {
        self.request("DELETE", key).query("uploadId", id)
    }

    pub(crate) fn list_parts(self, key: &str, id: &str) -> Request {
        self.get(key).query("uploadId", id)
    }

    /// Number and ETag of every part listed.
    pub(crate) fn parts(self, key: &str, id: &str) -> Vec<(i32, String)> {
        self.list_parts(key, id).send().expect_status(200).parts()
    }

    /// The object's bytes.
    pub(crate) fn read(self, key: &str) -> Vec<u8> {
        self.get(key).send().expect_status(200).body
    }
}

impl Request {
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Signs the header without sending it.
    pub(crate) fn sign(mut self, name: &str, value: &str) -> Self {
        self.signed.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the header without signing it.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.sent.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn sign_and_send(self, name: &str, value: &str) -> Self {
        self.sign(name, value).header(name, value)
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// Path and query with the signature.
    pub(crate) fn url(&self) -> String {
        let (date, time) = stamp(self.age);
        let scope = format!("{date}/us-east-1/s3/aws4_request");
        let mut signed = self.signed.clone();
        signed.sort();
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let mut query = self.query.clone();
        query.push(("X-Amz-Algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()));
        query.push(("X-Amz-Credential".to_owned(), format!("{}/{scope}", self.access)));
        query.push(("X-Amz-Date".to_owned(), format!("{date}T{time}Z")));
        query.push(("X-Amz-Expires".to_owned(), self.expires.to_string()));
        query.push(("X-Amz-SignedHeaders".to_owned(), names.clone()));
        query.sort();
        let encode = |text: &str| utf8_percent_encode(text, &KEPT).to_string();
        let query: Vec<_> = query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let query = query.join("&");
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = format!("{}\n{}\n{query}\n{headers}\n{names}\nUNSIGNED-PAYLOAD", self.method, self.path);
        let canonical = hex::encode(Sha256::checksum(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}T{time}Z\n{scope}\n{canonical}");
        let key = [date.as_str(), "us-east-1", "s3", "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret).into_bytes(), |key, step| sign(&key, step));
        format!("{}?{query}&X-Amz-Signature={}", self.path, hex::encode(sign(&key, &to_sign)))
    }

    #[track_caller]
    pub(crate) fn send(&self) -> Answer {
        self.send_to(&self.url())
    }

    /// Sends the request to another URL than its own.
    #[track_caller]
    pub(crate) fn send_to(&self, url: &str) -> Answer {
        self.try_send_to(url).expect("an answer")
    }

    /// `None` if the server dies before it has answered.
    pub(crate) fn try_send(&self) -> Option<Answer> {
        self.try_send_to(&self.url()).ok()
    }

    fn try_send_to(&self, url: &str) -> io::Result<Answer> {
        let mut stream = self.try_begin(url, self.body.len())?;
        // A refused body may not be read to its end.
        let _ = stream.write_all(&self.body);
        try_read_answer(stream)
    }

    /// Sends the head, announcing `length` bytes.
    pub(crate) fn begin(&self, url: &str, length: usize) -> TcpStream {
        self.try_begin(url, length).unwrap()
    }

    fn try_begin(&self, url: &str, length: usize) -> io::Result<TcpStream> {
        let mut head =
            format!("{} {url} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.method, self.client.address);
        let chunked = self.sent.iter().any(|(name, _)| name == "transfer-encoding");
        if !chunked && (length > 0 || self.method == "PUT") {
            head += &format!("Content-Length: {length}\r\n");
        }
        for (name, value) in &self.sent {
            head += &format!("{name}: {value}\r\n");
        }
        let mut stream = TcpStream::connect(self.client.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        Ok(stream)
    }
}

#[track_caller]
pub(crate) fn read_answer(stream: TcpStream) -> Answer {
    try_read_answer(stream).expect("an answer")
}

fn try_read_answer(mut stream: TcpStream) -> io::Result<Answer> {
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes)?;
    try_parse(&bytes).ok_or_else(|| io::Error::other(format!("no answer: {:?}", String::from_utf8_lossy(&bytes))))
}

fn try_parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let mut answer = Answer { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() };
    if answer.find("transfer-encoding").is_some() {
        answer.body = unchunk(&answer.body)?;
    }
    Some(answer)
}

fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = vec![];
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).ok()?, 16).ok()?;
        bytes = &bytes[line + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend(bytes.get(..length)?);
        bytes = bytes.get(length + 2..)?;
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.xml("Code").as_str()), (status, code), "{}", self.text());
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.find(name).unwrap_or_default().to_owned()
    }

    /// The text of the first such element; empty if there is none.
    pub(crate) fn xml(&self, name: &str) -> String {
        self.xml_all(name).into_iter().next().unwrap_or_default()
    }

    pub(crate) fn xml_all(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let starts = text.split(&format!("<{name}>")).skip(1).map(str::to_owned).collect::<Vec<_>>();
        let inner =
            |rest: &String| rest.split(&format!("</{name}>")).next().unwrap_or_default().replace("&quot;", "\"");
        starts.iter().map(inner).collect()
    }

    pub(crate) fn parts(&self) -> Vec<(i32, String)> {
        let numbers = self.xml_all("PartNumber").into_iter().map(|number| number.parse().unwrap());
        numbers.zip(self.xml_all("ETag")).collect()
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Date and time `age` seconds ago, as signatures write them.
#[expect(clippy::disallowed_methods, reason = "the server compares with the system's time")]
fn stamp(age: i64) -> (String, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let then = time::OffsetDateTime::from_unix_timestamp(i64::try_from(now).unwrap() - age).unwrap();
    let date = format!("{:04}{:02}{:02}", then.year(), u8::from(then.month()), then.day());
    (date, format!("{:02}{:02}{:02}", then.hour(), then.minute(), then.second()))
}
