//! Tokens: what is forged, stale, or made for something else is refused, and the keys that check them come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use partita::config::{Jwt, JwtAlgorithm};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::process::partita;
use crate::support::Service;

const SECRET: &str = "a secret of at least thirty-two bytes";
const RSA: &[u8] = include_bytes!("keys/rsa.pem");
const ANOTHER_RSA: &[u8] = include_bytes!("keys/another-rsa.pem");
const P256: &[u8] = include_bytes!("keys/p256.pem");
const ED25519: &[u8] = include_bytes!("keys/ed25519.pem");
/// The public half of it.
const ED25519_PUBLIC: &str = "cgQf6duWJ5fXiX04FiWvIxGID5weU9iYUCmrxQv2TuE";

pub(crate) fn hs256() -> Jwt {
    Jwt { algorithm: Some(JwtAlgorithm::HS256), secret: Some(SECRET.into()), ..accepted() }
}

fn accepted() -> Jwt {
    Jwt { issuer: Some("https://app.example".into()), audience: Some("partita".into()), ..Jwt::default() }
}

fn now(service: &Service) -> DateTime<Utc> {
    service.clock().now()
}

pub(crate) fn claims(service: &Service) -> Value {
    let exp = (now(service) + TimeDelta::minutes(5)).timestamp();
    json!({ "iss": "https://app.example", "aud": "partita", "sub": "alice", "exp": exp, "scope": "uploads:write files:read" })
}

fn signed(algorithm: Algorithm, kid: Option<&str>, claims: &Value, key: &EncodingKey) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, key).expect("a token")
}

pub(crate) fn by_secret(claims: &Value) -> String {
    signed(Algorithm::HS256, None, claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_only_if_all_of_it_is() {
    let service = Service::with_auth(false, |settings| settings.auth.jwt = hs256()).await;
    let ask = async |token: &str| service.api.with(token).get("/v1/uploads").await;
    let sound = claims(&service);
    ask(&by_secret(&sound)).await.ok(200);
    let with = |name: &str, value: Value| {
        let mut claims = sound.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = sound.clone();
        claims.as_object_mut().expect("an object").remove(name);
        claims
    };
    let seconds = |seconds: i64| json!((now(&service) + TimeDelta::seconds(seconds)).timestamp());
    for good in [
        with("aud", json!(["other", "partita"])),
        with("exp", seconds(-20)),
        with("nbf", seconds(20)),
        with("exp", json!(seconds(60).as_f64())),
        with("unknown", json!({ "a": 1 })),
        with("sub", json!("a|b c@d.example")),
    ] {
        ask(&by_secret(&good)).await.ok(200);
    }
    for bad in [
        without("exp"),
        without("iss"),
        without("aud"),
        without("sub"),
        with("exp", seconds(-40)),
        with("exp", json!(seconds(600).to_string())),
        with("exp", Value::Null),
        with("exp", json!(-1)),
        with("nbf", seconds(40)),
        with("nbf", json!(seconds(-600).to_string())),
        with("iss", json!("https://app.example.evil")),
        with("iss", json!(["https://app.example"])),
        with("aud", json!("other")),
        with("aud", json!([])),
        with("sub", json!("")),
        with("sub", json!(7)),
        with("sub", json!("a\nb")),
        with("sub", json!("x".repeat(256))),
        with("scope", json!(["uploads:write"])),
    ] {
        let reply = ask(&by_secret(&bad)).await;
        assert_eq!(reply.header("www-authenticate"), Some("Bearer error=\"invalid_token\""), "{bad}");
        reply.problem(401, "invalid-token");
    }
    let token = by_secret(&sound);
    let (head, rest) = token.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    use base64::Engine;
    let encoded = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
    let none = encoded(json!({ "alg": "none", "typ": "JWT" }));
    let longer = by_secret(&with("x", json!("x".repeat(9_000))));
    let other_secret = EncodingKey::from_secret(b"another secret of at least thirty-two bytes");
    for forged in [
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{head}.{}.{signature}", encoded(with("sub", json!("root")))),
        format!("{head}.{body}."),
        format!("{head}.{body}"),
        signed(Algorithm::HS256, None, &sound, &other_secret),
        signed(Algorithm::HS384, None, &sound, &EncodingKey::from_secret(SECRET.as_bytes())),
        signed(Algorithm::RS256, None, &sound, &EncodingKey::from_rsa_pem(RSA).expect("a key")),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        longer,
    ] {
        ask(&forged).await.problem(401, "invalid-token");
    }
    // A scope that there is not gives nothing.
    let powerless = by_secret(&with("scope", json!("uploads:Write everything")));
    ask(&powerless).await.problem(403, "insufficient-scope");
    // It ends when it says.
    service.advance(Duration::from_secs(400));
    ask(&token).await.problem(401, "invalid-token");
}

/// A token's header and claims as they stand, signed: what no library would make.
fn by_secret_as_it_stands(header: &str, claims: &str) -> String {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(header), encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_token_that_two_readers_may_read_differently_is_refused() {
    let service = Service::with_auth(false, |settings| settings.auth.jwt = hs256()).await;
    let exp = (now(&service) + TimeDelta::minutes(5)).timestamp();
    let ask = async |header: &str, claims: &str| {
        service.api.with(&by_secret_as_it_stands(header, claims)).get("/v1/uploads").await
    };
    let plain = r#"{"alg":"HS256","typ":"JWT"}"#;
    let iss_aud = r#""iss":"https://app.example","aud":"partita""#;
    let sound = format!(r#"{{{iss_aud},"sub":"alice","exp":{exp},"scope":"uploads:write"}}"#);
    ask(plain, &sound).await.ok(200);
    ask(r#"{"alg":"HS256","kid":"../../dev/null"}"#, &sound).await.ok(200);
    for header in [
        // What is critical and not understood makes a token invalid (RFC 7515 section 4.1.11).
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":"b64"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":null}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":["a"]}"#,
        r#"["HS256"]"#,
        "HS256",
    ] {
        ask(header, &sound).await.problem(401, "invalid-token");
    }
    let claims = |rest: &str| format!("{{{iss_aud},{rest}}}");
    for claims in [
        claims(&format!(r#""sub":"alice","sub":"root","exp":{exp}"#)),
        claims(&format!(r#""sub":"alice","exp":1,"exp":{exp}"#)),
        claims(&format!(r#""sub":"alice","exp":{exp},"scope":"files:read","scope":"admin""#)),
        claims(&format!(r#""iss":"https://app.example","sub":"alice","exp":{exp}"#)),
        claims(&format!(r#""sub":"alice","exp":{exp},"partita_presets":["a"],"partita_presets":null"#)),
        claims(&format!(r#""sub":"alice","exp":{exp},"partita_presets":null"#)),
        claims(&format!(r#""sub":"alice","exp":{exp},"partita_presets":{{}}"#)),
        claims(r#""sub":"alice","exp":1e999"#),
        claims(r#""sub":"alice","exp":-1e308"#),
        claims(r#""sub":"alice","exp":NaN"#),
        claims(r#""sub":"alice","exp":Infinity"#),
        claims(r#""sub":"alice","exp":true"#),
        claims(r#""sub":"alice","exp":[9999999999]"#),
        claims(&format!(r#""sub":"alice","exp":{exp},"nbf":1e308"#)),
        claims(&format!(r#""sub":["alice"],"exp":{exp}"#)),
        claims(&format!(r#""sub":"alice ","exp":{exp}"#)),
        claims(&format!(r#""sub":"alice\u0000","exp":{exp}"#)),
        claims(&format!(r#""sub":"\ud800","exp":{exp}"#)),
        format!("[{sound}]"),
        format!("{sound}{sound}"),
        String::new(),
    ] {
        ask(plain, &claims).await.problem(401, "invalid-token");
    }
    // Padded, or with something behind it, it is another text.
    let token = by_secret_as_it_stands(plain, &sound);
    for changed in
        [format!("{token}="), format!("{token}."), format!("{token}.x"), format!("{token}\t"), format!(".{token}")]
    {
        let reply = service.api.with(&changed).get("/v1/uploads").await;
        assert!(reply.status == 401 || changed.trim() == token, "{changed}: {}", reply.body);
    }
}

/// A server of one key set, which can be changed, and which counts who asks.
struct KeyServer {
    url: String,
    answer: watch::Sender<Option<String>>,
    asked: Arc<AtomicU32>,
}

impl KeyServer {
    async fn start(set: &Value) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let (answer, asked) = (watch::Sender::new(Some(set.to_string())), Arc::<AtomicU32>::default());
        let (current, count) = (answer.subscribe(), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let answer = current.borrow().clone();
                let text = match answer {
                    Some(body) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()),
                    None => "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
                };
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        KeyServer { url, answer, asked }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn public(pem: &[u8], algorithm: Algorithm, kid: &str) -> Value {
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
        _ => EncodingKey::from_ec_pem(pem),
    };
    let mut key = Jwk::from_encoding_key(&key.expect("a key"), algorithm).expect("a public key");
    key.common.key_id = Some(kid.to_owned());
    key.common.public_key_use = Some(PublicKeyUse::Signature);
    serde_json::to_value(key).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_algorithm_takes_its_own_keys_and_no_others() {
    let set = json!({ "keys": [
        { "kty": "future", "kid": "x" }, public(RSA, Algorithm::RS256, "rsa"), public(P256, Algorithm::ES256, "p256"),
        { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": ED25519_PUBLIC },
    ] });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), set.to_string()).expect("written");
    let keys = [
        (JwtAlgorithm::RS256, Algorithm::RS256, "rsa", EncodingKey::from_rsa_pem(RSA).expect("a key")),
        (JwtAlgorithm::ES256, Algorithm::ES256, "p256", EncodingKey::from_ec_pem(P256).expect("a key")),
        (JwtAlgorithm::EdDSA, Algorithm::EdDSA, "ed", EncodingKey::from_ed_pem(ED25519).expect("a key")),
    ];
    for (named, ..) in &keys {
        let jwt = Jwt { algorithm: Some(*named), jwks_file: Some(file.path().into()), ..accepted() };
        let service = Service::with_auth(false, |settings| settings.auth.jwt = jwt).await;
        let claims = claims(&service);
        for (other, algorithm, kid, key) in &keys {
            let reply = service.api.with(&signed(*algorithm, Some(kid), &claims, key)).get("/v1/uploads").await;
            if other == named {
                reply.ok(200);
            } else {
                reply.problem(401, "invalid-token");
            }
        }
        // A signature of zeros, which once was good for every key of a curve (CVE-2022-21449), and none at all.
        let (_, algorithm, kid, key) = keys.iter().find(|(other, ..)| other == named).expect("it");
        let sound = signed(*algorithm, Some(kid), &claims, key);
        let (message, signature) = sound.rsplit_once('.').expect("a signature");
        for forged in
            ["A".repeat(signature.len()), "A".repeat(86), String::new(), signature[..signature.len() - 4].to_owned()]
        {
            service.api.with(&format!("{message}.{forged}")).get("/v1/uploads").await.problem(401, "invalid-token");
        }
        // The public key of one algorithm as the secret of another: the oldest trick there is.
        let confused = signed(Algorithm::HS256, Some("rsa"), &claims, &EncodingKey::from_secret(RSA));
        service.api.with(&confused).get("/v1/uploads").await.problem(401, "invalid-token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_at_a_url_rotate_and_their_server_may_be_away() {
    let (old, new) = (public(RSA, Algorithm::RS256, "old"), public(ANOTHER_RSA, Algorithm::RS256, "new"));
    let server = KeyServer::start(&json!({ "keys": [old] })).await;
    let url = server.url.clone();
    let service = Service::with_auth(false, |settings| {
        settings.auth.jwt = Jwt { algorithm: Some(JwtAlgorithm::RS256), jwks_url: Some(url), ..accepted() };
    })
    .await;
    let token = |kid: &str, pem: &[u8]| {
        signed(Algorithm::RS256, Some(kid), &claims(&service), &EncodingKey::from_rsa_pem(pem).expect("a key"))
    };
    let ask = async |kid: &str, pem: &[u8]| service.api.with(&token(kid, pem)).get("/v1/uploads").await;
    ask("old", RSA).await.ok(200);
    assert_eq!(server.asked(), 1, "kept, not asked for each token");
    ask("old", ANOTHER_RSA).await.problem(401, "invalid-token");
    // A flood of unknown keys asks at most once a minute.
    for number in 0..20 {
        ask(&format!("unknown-{number}"), RSA).await.problem(401, "invalid-token");
    }
    assert!(server.asked() <= 2);
    // A new key is found when a token names it.
    server.answer.send_replace(Some(json!({ "keys": [old, new] }).to_string()));
    service.advance(Duration::from_secs(61));
    ask("new", ANOTHER_RSA).await.ok(200);
    ask("old", RSA).await.ok(200);
    // A key that is taken out is refused, once the set is asked for again.
    server.answer.send_replace(Some(json!({ "keys": [new] }).to_string()));
    service.advance(Duration::from_secs(11 * 60));
    let refused = async {
        while ask("old", RSA).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("refused in the end");
    // What is no good answer changes nothing, for a day.
    for answer in [None, Some("{}".to_owned()), Some(json!({ "keys": [] }).to_string())] {
        server.answer.send_replace(answer);
        service.advance(Duration::from_secs(6 * 3600));
        ask("new", ANOTHER_RSA).await.ok(200);
    }
    service.advance(Duration::from_secs(7 * 3600));
    let away = ask("new", ANOTHER_RSA).await;
    assert!(away.header("retry-after").is_some());
    away.problem(503, "auth-unavailable");
    // And it comes back by itself.
    server.answer.send_replace(Some(json!({ "keys": [new] }).to_string()));
    service.advance(Duration::from_secs(61));
    ask("new", ANOTHER_RSA).await.ok(200);
    // What a token's header points to is never asked for.
    let before = server.asked();
    let header = Header { jku: Some(server.url.clone()), kid: Some("new".into()), ..Header::new(Algorithm::RS256) };
    let pointing =
        encode(&header, &claims(&service), &EncodingKey::from_rsa_pem(RSA).expect("a key")).expect("a token");
    service.api.with(&pointing).get("/v1/uploads").await.problem(401, "invalid-token");
    assert_eq!(server.asked(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_server_that_is_away_at_the_start_opens_nothing() {
    let service = Service::with_auth(false, |settings| {
        let jwks_url = Some("http://127.0.0.1:1/".into());
        settings.auth.jwt = Jwt { algorithm: Some(JwtAlgorithm::RS256), jwks_url, ..accepted() };
    })
    .await;
    let token = signed(Algorithm::RS256, None, &claims(&service), &EncodingKey::from_rsa_pem(RSA).expect("a key"));
    service.api.with(&token).get("/v1/uploads").await.problem(503, "auth-unavailable");
    service.caller("alice", &[]).await.get("/v1/uploads").await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_are_made_on_the_command_line_and_shown_once() {
    let service = Service::with_auth(false, |settings| settings.auth.jwt = hs256()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let run = async |arguments: &[&str]| {
        let environment = [
            ("PARTITA_DATABASE_URL", service.database_url.as_str()),
            ("PARTITA_AUTH_JWT_ALGORITHM", "HS256"),
            ("PARTITA_AUTH_JWT_SECRET", SECRET),
            ("PARTITA_AUTH_JWT_ISSUER", "https://app.example"),
            ("PARTITA_AUTH_JWT_AUDIENCE", "partita"),
            ("PARTITA_LOG", "off"),
        ];
        let output = partita(folder.path(), &environment).args(arguments).output().await.expect("run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let scopes = ["--scope", "uploads:write", "--scope", "files:read"];
    let (done, key, _) =
        run(&[&["keys", "create", "--owner", "alice", "--name", "laptop"], &scopes[..]].concat()).await;
    let key = key.trim();
    assert!(done && key.starts_with("partita_") && !key.contains(char::is_whitespace), "{key}");
    let alice = service.api.with(key);
    let (id, ..) = alice.create(json!({ "filename": "x", "size": 5 })).await;
    let shown = alice.get(&format!("/v1/uploads/{id}")).await.ok(200);
    assert_eq!(shown["owner"], "alice");

    let (done, token, _) = run(&[&["token", "--owner", "alice", "--ttl", "1m"], &scopes[..]].concat()).await;
    assert!(done);
    service.api.with(token.trim()).get(&format!("/v1/uploads/{id}")).await.ok(200);

    let (done, short, _) = run(&[&["keys", "create", "--owner", "bob", "--expires", "1s"], &scopes[..]].concat()).await;
    assert!(done);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    service.api.with(short.trim()).get("/v1/uploads").await.problem(401, "invalid-token");

    let (done, listed, _) = run(&["keys", "list", "--json"]).await;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(done && listed.len() == 2 && !format!("{listed:?}").contains(key));
    let states: Vec<_> = listed.iter().map(|key| (key["owner"].clone(), key["state"].clone())).collect();
    assert_eq!(states, [(json!("bob"), json!("expired")), (json!("alice"), json!("good"))]);
    let known = listed[1]["id"].as_str().expect("an id").to_owned();
    assert!(run(&["keys", "revoke", &known]).await.0);
    alice.get("/v1/uploads").await.problem(401, "invalid-token");
    let (_, plain, _) = run(&["keys", "list"]).await;
    assert!(plain.contains("revoked") && plain.contains("laptop") && !plain.contains(key));

    for wrong in [
        &["keys", "create", "--owner", "alice"][..],
        &["keys", "create", "--owner", "", "--scope", "admin"],
        &["keys", "create", "--owner", "alice", "--scope", "everything"],
        &["keys", "create", "--owner", "alice", "--scope", "admin", "--preset", "nothing"],
        &["keys", "revoke", "01998f4e-7a10-7cc3-98c4-dc0c0c07398f"],
        &["keys", "revoke", "x"],
        &["token", "--owner", "alice"],
    ] {
        let (done, _, said) = run(wrong).await;
        assert!(!done && !said.is_empty(), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_everybody_may_read_is_refused_at_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).expect("written");
    let jwt = Jwt { algorithm: Some(JwtAlgorithm::HS256), secret_file: Some(path.clone()), ..accepted() };
    let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
    for (mode, sound) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
        set(mode);
        assert_eq!(jwt.hs256_secret().is_ok(), sound, "{mode:o}");
    }
    set(0o600);
    let service = Service::with_auth(false, |settings| settings.auth.jwt = jwt).await;
    service.api.with(&by_secret(&claims(&service))).get("/v1/uploads").await.ok(200);
}
