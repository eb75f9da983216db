//! The binary as an operator meets it: how it starts, refuses to start, and is killed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Api, MIB, file, new_database};

type Environment<'a> = &'a [(&'a str, &'a str)];

/// The real binary with nothing of this process's environment but what is given.
pub(crate) fn partita(folder: &Path, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_partita"));
    command.env_clear().current_dir(folder).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("PATH", std::env::var("PATH").unwrap_or_default());
    command.envs(environment.iter().copied());
    command
}

pub(crate) const ANY_PORT: [(&str, &str); 2] =
    [("PARTITA_LISTEN", "127.0.0.1:0"), ("PARTITA_EMBEDDED_S3_LISTEN", "127.0.0.1:0")];
const NO_AUTH: (&str, &str) = ("PARTITA_INSECURE_NO_AUTH", "true");

pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) api: Api,
    pub(crate) welcome: String,
}

/// Starts the service and reads what it prints until it is ready.
pub(crate) async fn start(folder: &Path, environment: &[(&str, &str)]) -> Running {
    until_ready(partita(folder, environment).spawn().expect("started")).await
}

/// The same, with its log in a file.
pub(crate) async fn start_logging(folder: &Path, environment: &[(&str, &str)], log: &Path) -> Running {
    let log = std::fs::File::create(log).expect("a file");
    until_ready(partita(folder, environment).stderr(log).spawn().expect("started")).await
}

pub(crate) async fn until_ready(mut child: Child) -> Running {
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let mut errors = child.stderr.take();
    let mut welcome = String::new();
    while let Some(line) = lines.next_line().await.expect("a line") {
        welcome += &line;
        welcome.push('\n');
        if line.contains("/v1/files/") {
            tokio::spawn(async move { while lines.next_line().await.is_ok_and(|line| line.is_some()) {} });
            if let Some(mut errors) = errors {
                tokio::spawn(async move { tokio::io::copy(&mut errors, &mut tokio::io::sink()).await });
            }
            let base =
                welcome.split("API docs  ").nth(1).and_then(|rest| rest.split("/docs").next()).expect("the address");
            return Running { child, api: Api::new(base.to_owned()), welcome };
        }
    }
    let mut text = String::new();
    if let Some(errors) = &mut errors {
        errors.read_to_string(&mut text).await.expect("stderr");
    }
    panic!("the service did not start: {text}");
}

impl Running {
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().expect("running").to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().expect("kill").success());
    }
}

/// Runs it to its end: exit code, and what it printed on stderr without log lines.
async fn refusal(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let output = partita(folder, environment).env("PARTITA_LOG", "off").args(arguments).output();
    let output = tokio::time::timeout(Duration::from_secs(30), output).await.expect("it ends by itself").expect("run");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_needs_nothing_and_shows_the_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = start(folder.path(), &ANY_PORT).await;
    let base = &running.api.base;
    for link in
        [format!("Demo      {base}/"), format!("API docs  {base}/docs"), format!("OpenAPI   {base}/openapi.json")]
    {
        assert!(running.welcome.contains(&link), "{}", running.welcome);
    }
    running.api.get("/readyz").await.ok(200);
    running.api.get("/livez").await.ok(200);

    let odd = tempfile::Builder::new().prefix("100% ? #").tempdir().expect("a folder");
    let data_dir = odd.path().join("data").display().to_string();
    let in_odd = [ANY_PORT[0], ANY_PORT[1], ("PARTITA_DATA_DIR", data_dir.as_str())];
    start(odd.path(), &in_odd).await.kill().await;
    assert!(odd.path().join("data/partita.sqlite").exists(), "whatever the folder is called");

    // What it prints is what a newcomer pastes.
    std::fs::write(folder.path().join("README.md"), b"hello from a shell").expect("written");
    let line = running.welcome.split("from a shell:\n\n").nth(1).expect("the line to paste");
    let pasted = Command::new("bash").arg("-c").arg(line).current_dir(folder.path()).output().await.expect("bash");
    assert!(pasted.status.success(), "{}", String::from_utf8_lossy(&pasted.stderr));
    let file: serde_json::Value = serde_json::from_slice(&pasted.stdout).expect("JSON");
    assert_eq!(file["size"], 18, "{file}");
    let id = file["id"].as_str().expect("an id").to_owned();
    assert_eq!(running.api.download(&id).await.1, b"hello from a shell");

    let keys = folder.path().join("partita-data/embedded-s3-keys.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(keys).expect("keys").permissions());
    assert_eq!(mode & 0o777, 0o600, "for their owner alone");

    running.signal("-TERM");
    let mut child = running.child;
    assert!(child.wait().await.expect("ended").success(), "SIGTERM ends it cleanly");
    let again = start(folder.path(), &ANY_PORT).await;
    assert_eq!(again.api.download(&id).await.1, b"hello from a shell", "a second start finds all that was there");
    again.signal("-INT");
    let mut child = again.child;
    assert!(child.wait().await.expect("ended").success(), "Ctrl-C ends it cleanly");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_starting_is_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = listener.local_addr().expect("an address").to_string();
    std::fs::write(folder.path().join("file"), b"").expect("written");
    std::fs::write(folder.path().join("bad.toml"), b"lisen = '127.0.0.1:1'").expect("written");
    let any = ANY_PORT;
    #[rustfmt::skip]
    let table: [(Environment, &[&str], &str); 12] = [
        (&[("PARTITA_LISTEN", &taken), any[1]], &[], &taken),
        (&[any[0], ("PARTITA_EMBEDDED_S3_LISTEN", &taken)], &[], "embedded_s3.listen"),
        (&[any[0], any[1], ("PARTITA_DATA_DIR", "file/data")], &[], "file/data"),
        (&[any[0], any[1], ("PARTITA_AUTH_JWT_ALGORITHM", "HS256")], &[], "secret_file"),
        (&[any[0], ("PARTITA_EMBEDDED_S3_LISTEN", "0.0.0.0:0")], &[], "loopback"),
        (&any, &["--config", "bad.toml"], "lisen"),
        (&any, &["--config", "nowhere.toml"], "nowhere.toml"),
        (&[any[0], any[1], ("PARTITA_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/x")], &[], "database"),
        (&[any[0], any[1], ("PARTITA_PART_URL_TTL", "8d")], &["serve"], "part_url_ttl"),
        (&[any[0], any[1], ("PARTITA_DATABASE_URL", "postgress://me:hunter2@db/x")], &[], "database_url"),
        (&[any[0], any[1], ("PARTITA_DATABASE_URL", "postgres://me:hunter2@127.0.0.1:99999/x")], &[], "database"),
        (&[any[0], any[1], ("PARTITA_DATABASE_URL", "postgres://me:hunter2/x@127.0.0.1:1/x")], &[], "database"),
    ];
    for (environment, arguments, word) in table {
        let (code, text) = refusal(folder.path(), environment, arguments).await;
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.starts_with("partita: ") && text.trim_end().lines().count() == 1 && text.contains(word),
            "{word}: {text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_is_served_by_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = start(folder.path(), &ANY_PORT).await;
    for verb in ["serve", "migrate"] {
        let (code, text) = refusal(folder.path(), &ANY_PORT, &[verb]).await;
        assert_eq!((code, text.trim_end().lines().count()), (Some(1), 1), "{text}");
        assert!(
            text.contains("another partita is running on ") && text.contains("partita-data/partita.sqlite"),
            "{text}"
        );
    }
    let file = folder.path().join("partita-data/partita.sqlite");
    let url = format!("sqlite://{}", file.display());
    let elsewhere =
        [ANY_PORT[0], ANY_PORT[1], NO_AUTH, ("PARTITA_DATA_DIR", "elsewhere"), ("PARTITA_DATABASE_URL", &url)];
    let (code, text) = refusal(folder.path(), &elsewhere, &[]).await;
    assert_eq!(code, Some(1), "the same file by another folder: {text}");
    let (code, _) = refusal(folder.path(), &[], &["openapi"]).await;
    assert_eq!(code, Some(0), "a verb that needs nothing of it runs beside it");
    running.kill().await;
    // A killed process leaves no lock behind.
    start(folder.path(), &ANY_PORT).await.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_migrated_by_a_verb_and_by_any_number_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = new_database().await;
    let environment = [ANY_PORT[0], ANY_PORT[1], NO_AUTH, ("PARTITA_DATABASE_URL", url.as_str())];
    let (code, text) = refusal(folder.path(), &environment, &[]).await;
    assert_eq!(code, Some(1));
    assert!(text.contains("partita migrate"), "{text}");
    let mut racing = tokio::task::JoinSet::new();
    for number in 0..6 {
        let folder = folder.path().join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let url = url.clone();
        racing.spawn(async move { refusal(&folder, &[("PARTITA_DATABASE_URL", &url)], &["migrate"]).await });
    }
    for (code, text) in racing.join_all().await {
        assert_eq!(code, Some(0), "{text}");
    }
    start(folder.path(), &environment).await.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = file(33 * MIB);
    let mut running = start(folder.path(), &ANY_PORT).await;
    let create = json!({ "filename": "x", "size": bytes.len(), "partUrls": { "count": 0 } });
    let (id, ..) = running.api.create(create).await;
    let path = format!("/v1/uploads/{id}");
    for part in 1..=5 {
        let missing = running.api.get(&path).await.ok(200)["missingParts"].clone();
        assert_eq!(missing, if part == 5 { "5".to_owned() } else { format!("{part}-5") });
        let signed = running.api.post(&format!("{path}/part-urls"), json!({ "parts": part.to_string() })).await.ok(200);
        let sent = running.api.put_parts(signed["partUrls"].as_array().expect("part URLs"), &bytes).await;
        running.api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
        running.kill().await;
        running = start(folder.path(), &ANY_PORT).await;
    }
    let object = running.api.complete(&id, None).await.ok(200)["object"].clone();
    running.kill().await;
    let running = start(folder.path(), &ANY_PORT).await;
    assert_eq!(running.api.complete(&id, None).await.ok(200)["object"], object);
    assert!(running.api.download(&id).await.1 == bytes);
}
