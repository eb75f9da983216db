//! The walls: each outside world is known by exactly one module.

use std::path::{Path, PathBuf};

/// Which crate may be named where, and nowhere else under `src/`.
const WALLS: [(&str, &[&str]); 10] = [
    ("poem", &["src/http/"]),
    ("poem_openapi", &["src/http/"]),
    ("sea_orm", &["src/store/"]),
    ("migrations", &["src/store/"]),
    ("aws_sdk_s3", &["src/bucket/"]),
    ("aws_config", &["src/bucket/"]),
    ("embedded_s3", &["src/app.rs"]),
    ("jsonwebtoken", &["src/access/"]),
    ("governor", &["src/access/"]),
    ("reqwest", &["src/access/jwks.rs", "src/client/", "src/doctor/"]),
];

/// Which of our modules may be named by the files under a path.
const DIRECTION: &[(&str, &[&str])] = &[
    ("src/upload/", &["upload"]),
    ("src/clock.rs", &[]),
    ("src/config/", &["config", "upload"]),
    ("src/access/", &["access", "clock", "config", "store", "upload"]),
    ("src/store/", &["clock", "store", "upload"]),
    ("src/bucket/", &["bucket", "config", "upload"]),
    ("src/coordinator/", &["bucket", "clock", "config", "coordinator", "failpoint", "store", "upload"]),
    ("src/sweeper.rs", &["coordinator", "store"]),
    ("src/doctor/", &["bucket", "clock", "config", "upload"]),
    ("src/client/", &["client", "upload"]),
];

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join("src"), &mut found);
    assert!(found.len() > 20, "the sources are not where they were");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root).expect("within").to_string_lossy().into_owned();
        let code = std::fs::read_to_string(&path).expect("a source");
        // Words in comments build no walls.
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        (name, code)
    };
    found.into_iter().map(read).collect()
}

/// The names that stand before `::` in this code.
fn roots(code: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices("::").map(|(at, _)| code[..at].rsplit(|c| !is_word(c)).next().unwrap_or_default()).collect()
}

#[test]
fn each_outside_world_is_known_by_one_module() {
    for (name, code) in sources() {
        for (world, allowed) in WALLS {
            let inside = allowed.iter().any(|place| name.starts_with(place));
            assert!(inside || !roots(&code).contains(&world), "{name} names {world}, which only {allowed:?} may");
        }
    }
}

#[test]
fn data_flows_one_way() {
    for (name, code) in sources() {
        let Some((place, allowed)) = DIRECTION.iter().find(|(place, _)| name.starts_with(place)) else {
            continue;
        };
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            let list = rest.strip_prefix('{').map_or_else(
                || vec![rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()],
                |list| {
                    list.split('}')
                        .next()
                        .unwrap_or_default()
                        .split(',')
                        .map(|item| item.trim().split("::").next().unwrap_or_default())
                        .collect()
                },
            );
            for module in list.into_iter().filter(|module| !module.is_empty()) {
                assert!(allowed.contains(&module), "{name} names crate::{module}; {place} may name {allowed:?}");
            }
        }
    }
}

#[test]
fn migrations_know_none_of_our_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/src");
    for entry in std::fs::read_dir(folder).expect("migrations") {
        let code = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        assert!(!code.contains("partita::"), "history must not bend with the code");
    }
}

#[test]
fn the_pure_module_asks_nobody() {
    for (name, code) in sources().into_iter().filter(|(name, _)| name.starts_with("src/upload/")) {
        for word in ["async ", "tokio", "std::fs", "std::net", "Utc::now", "SystemTime", "Instant"] {
            assert!(!code.contains(word), "{name} holds {word:?}");
        }
    }
}
