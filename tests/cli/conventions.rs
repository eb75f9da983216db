//! What scripts and people rely on: exit codes, what goes where, settings, secrets.

use serde_json::Value;

use super::{Machine, ended};
use crate::support::{MIB, Service};

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_those_of_the_table() {
    let service = Service::with_auth(false, |_| {}).await;
    let machine = Machine::at(&service);
    machine.file("a.bin", MIB);
    let (_, key) = service.key("alice", &[], None).await;
    let (_, reader) = service.key("alice", &["files:read"], None).await;
    let with = async |token: &str, arguments: &[&str]| {
        ended(machine.command(arguments).env("PARTITA_TOKEN", token).spawn().expect("started")).await
    };
    with(&key, &["upload", "a.bin"]).await.with_code(0);
    with(&key, &["upload", "a.bin", "--preset", "none"]).await.with_code(4);
    with(&key, &["upload", "a.bin", "--new", "--part-checksum", "MD5"]).await.with_code(1).tells("invalid-checksum");
    with(&key, &["upload", "a.bin", "--part-size", "1MiB"]).await.with_code(2).tells("5MiB to 5GiB");
    with(&key, &["upload"]).await.with_code(2);
    with(&key, &["upload", "b.bin"]).await.with_code(2).tells("b.bin");
    machine.run(&["upload", "a.bin", "--new"]).await.with_code(3).tells("PARTITA_TOKEN");
    with("wrong", &["ls"]).await.with_code(3);
    with(&reader, &["upload", "a.bin", "--new"]).await.with_code(3).tells("insufficient-scope");
    for verb in ["show", "parts", "abort", "download", "rm"] {
        with(&key, &[verb, "01998f4e-0000-7000-8000-000000000000"]).await.with_code(4);
        with(&key, &[verb, "../../readyz?x#y"]).await.with_code(4);
    }
    with(&key, &["ls", "--server", "http://127.0.0.1:1"]).await.with_code(5).tells("run it again later");
    with(&key, &["ls", "--server", "nonsense"]).await.with_code(2);
    with(&key, &["ls", "--server", "http://alice:secret@127.0.0.1:1"]).await.with_code(2).tells("give a token");
    with(&key, &["upload", "a.bin", "--stall-timeout", "0s"]).await.with_code(2).tells("at least 1s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_by_file_environment_or_preferences_and_never_as_an_argument() {
    let service = Service::with_auth(false, |_| {}).await;
    let machine = Machine::at(&service);
    let (_, key) = service.key("alice", &[], None).await;
    machine.run(&["ls", "--token", &key]).await.with_code(2);
    machine.write("token", format!("{key}\n").as_bytes());
    machine.run(&["ls", "--token-file", "token"]).await.ok();
    machine.feed(&["ls", "--token-file", "-"], key.as_bytes()).await.ok();
    machine.run(&["ls", "--token-file", "none"]).await.with_code(2);
    machine.write("xdg/partita/config.toml", b"server = 'http://127.0.0.1:1'\ntoken_file = 'key'\npart_size = '6MiB'");
    machine.write("xdg/partita/key", key.as_bytes());
    machine.file("a.bin", 13 * MIB);
    let xdg = machine.path("xdg");
    let preferring = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        command.env("XDG_CONFIG_HOME", &xdg);
        command
    };
    let ran = ended(preferring(&["upload", "a.bin", "--output", "json"]).spawn().expect("started")).await.ok();
    assert_eq!(
        ran.json()[0]["upload"]["partSize"],
        serde_json::json!(6 * MIB),
        "the environment's server, the file's token and part size"
    );
    ended(preferring(&["ls"]).env_remove("PARTITA_SERVER").spawn().expect("started")).await.with_code(5);
    machine.write("xdg/partita/config.toml", b"sever = 'x'");
    ended(preferring(&["ls"]).spawn().expect("started")).await.with_code(2).tells("sever");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_to_standard_output_and_all_else_to_standard_error() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    machine.file("a.bin", 13 * MIB);
    let ran = machine.run(&["upload", "a.bin", "--output", "json", "--progress", "json"]).await.ok();
    let (result, id) = (ran.json(), ran.json()[0]["upload"]["id"].clone());
    assert_eq!(
        (result.len(), &result[0]["path"], &result[0]["verifiedBy"]),
        (1, &Value::from("a.bin"), &Value::from("object"))
    );
    let events: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().expect("an event")).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("begun", "completed"));
    assert!(names.contains(&"progress") && events.iter().all(|event| event["id"] == id && event["path"] == "a.bin"));
    let id = id.as_str().expect("an id");

    let shown: Value = machine.run(&["show", id, "--output", "json"]).await.ok().json().remove(0);
    assert_eq!(shown, service.api.get(&format!("/v1/uploads/{id}")).await.ok(200), "as the service has it");
    assert_eq!(machine.run(&["parts", id]).await.ok().out.lines().count(), 2);
    assert_eq!(machine.run(&["ls", "--output", "json"]).await.ok().json()[0]["id"], *id);
    assert_eq!(machine.run(&["ls", "--files"]).await.ok().id(), id);
    assert_eq!(machine.run(&["ls", "--state", "open"]).await.ok().out, "");
    machine.run(&["share", id, "bob"]).await.ok();
    let link = machine.run(&["share", id, "--link", "--ttl", "1h"]).await.ok();
    assert!(link.out.starts_with("http") && link.out.contains("X-Amz-Expires=3600"), "{}", link.out);
    machine.run(&["share", id]).await.with_code(2);
    machine.run(&["rm", id]).await.ok();
    machine.run(&["download", id]).await.with_code(4).tells("file-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_bars_and_no_colour_where_none_is_wanted() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    machine.file("a film.mov", 64 * MIB);
    for (no_color, colours) in [(None, true), (Some("1"), false)] {
        let command = format!("{} upload --new 'a film.mov'", env!("CARGO_BIN_EXE_partita"));
        let mut terminal = tokio::process::Command::new("script");
        terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(machine.folder.path());
        terminal.env("PARTITA_SERVER", &service.api.base).env("TERM", "xterm-256color").env("COLUMNS", "120");
        terminal.stdin(std::process::Stdio::null());
        terminal.envs(no_color.map(|value| ("NO_COLOR", value)));
        let output = terminal.output().await.expect("script, of bsdutils");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{shown}");
        assert!(shown.contains("a film.mov") && shown.contains("64.00 MiB") && shown.contains('━'), "{shown}");
        assert_eq!(shown.contains("\u{1b}[36m") || shown.contains("\u{1b}[2m"), colours, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shell_gets_completions_and_whoever_reads_little_breaks_nothing() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(machine.run(&["completions", shell]).await.ok().out.contains("upload"), "{shell}");
    }
    let command = format!(
        "{} completions bash | head -1; {} ls | head -0",
        env!("CARGO_BIN_EXE_partita"),
        env!("CARGO_BIN_EXE_partita")
    );
    let mut shell = tokio::process::Command::new("sh");
    let output = shell.args(["-c", &command]).env("PARTITA_SERVER", &service.api.base).output().await.expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_reading_stops_no_upload() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    let names = ["a", "b", "c", "d"];
    names.iter().for_each(|name| machine.write(name, name.as_bytes()));
    let partita = env!("CARGO_BIN_EXE_partita");
    let shell = async |command: String| {
        let mut shell = tokio::process::Command::new("bash");
        shell.args(["-c", &command]).current_dir(machine.folder.path()).env("PARTITA_SERVER", &service.api.base);
        shell.status().await.expect("a shell").code()
    };
    let all = "upload --new --parallel 1 a b c d";
    assert_eq!(shell(format!("{partita} {all} 2>/dev/null | head -0; exit ${{PIPESTATUS[0]}}")).await, Some(0));
    assert_eq!(shell(format!("{partita} {all} >/dev/full 2>/dev/null")).await, Some(1), "results were lost");
    assert_eq!(shell(format!("{partita} {all} >/dev/null 2>/dev/full")).await, Some(0));
    assert_eq!(machine.run(&["ls", "--files"]).await.ok().out.lines().count(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_has_one_reader_and_what_has_no_size_is_read() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    machine.feed(&["upload", "-", "--token-file", "-"], b"precious").await.with_code(2).tells("read but once");
    machine.feed(&["upload", "-", "/dev/stdin"], b"precious").await.with_code(2).tells("read but once");
    let ran = machine.run(&["upload", "/proc/version"]).await.ok();
    assert_eq!(service.api.download(&ran.id()).await.1, std::fs::read("/proc/version").expect("a file"));
}
