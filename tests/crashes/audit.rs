//! What is left, held against what clients were told: the database, the bucket, and every move between states.

use std::collections::{BTreeMap, HashMap};

use partita::upload::State;
use sea_orm::{FromQueryResult, Statement};

use super::plots::Plot;
use super::world::World;

#[derive(Debug, FromQueryResult)]
struct Row {
    id: String,
    state: String,
    object_key: String,
    filename: String,
    object_etag: Option<String>,
    target_size: Option<i64>,
    failure: Option<String>,
}

#[derive(Debug, FromQueryResult)]
struct PartRow {
    id: String,
    part_number: i32,
    etag: String,
}

#[derive(Debug, FromQueryResult)]
struct PackedRow {
    id: String,
    finished_parts: Vec<u8>,
}

#[derive(Debug, FromQueryResult)]
struct Move {
    id: String,
    from_state: String,
    to_state: String,
}

/// What an audit has counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) told: usize,
    pub(crate) acknowledged: usize,
    pub(crate) states: BTreeMap<String, usize>,
}

impl World {
    /// Writes down every move of every upload, by whom it was made: the database is a witness of its own.
    pub(super) async fn watch_moves(&self) {
        let statements: &[&str] = if self.is_sqlite() {
            &[
                "CREATE TABLE moves (n INTEGER PRIMARY KEY AUTOINCREMENT, id blob, from_state text, to_state text)",
                "CREATE TRIGGER moves AFTER UPDATE OF state ON uploads WHEN OLD.state <> NEW.state BEGIN
                 INSERT INTO moves (id, from_state, to_state) VALUES (OLD.id, OLD.state, NEW.state); END",
            ]
        } else {
            &[
                "CREATE TABLE moves (n bigserial PRIMARY KEY, id uuid, version bigint, from_state text, to_state text,
                 lease_until bigint, writer text DEFAULT current_setting('application_name'),
                 at timestamptz DEFAULT clock_timestamp())",
                "CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO moves (id, version, from_state, to_state, lease_until)
                 VALUES (NEW.id, NEW.version, CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE '' END, NEW.state, NEW.lease_until);
                 RETURN NULL; END $$",
                "CREATE TRIGGER moves AFTER INSERT OR UPDATE OF state, version ON uploads
                 FOR EACH ROW EXECUTE FUNCTION note_move()",
            ]
        };
        for statement in statements {
            self.sql(statement).await;
        }
    }

    async fn rows<T: FromQueryResult>(&self, sql: &str) -> Vec<T> {
        // An id is 32 hex digits on both.
        let id = if self.is_sqlite() { "lower(hex({}))" } else { "replace({}::text, '-', '')" };
        let sql = sql.replace("<id>", &id.replace("{}", "id")).replace("<upload_id>", &id.replace("{}", "upload_id"));
        let statement = Statement::from_string(self.database.get_database_backend(), sql);
        T::find_by_statement(statement).all(&self.database).await.expect("rows")
    }

    /// Every part whose record was acknowledged is recorded, unless its upload has ended.
    pub(crate) async fn audit_parts(&self) {
        let states: HashMap<String, String> = self.uploads().await.into_iter().map(|row| (row.id, row.state)).collect();
        let parts: Vec<PartRow> = self.rows("SELECT <upload_id> AS id, part_number, etag FROM parts").await;
        let mut parts: HashMap<(String, i64), String> =
            parts.into_iter().map(|part| ((part.id, part.part_number.into()), bare(&part.etag).to_owned())).collect();
        let packed = "SELECT <id> AS id, finished_parts FROM uploads WHERE finished_parts IS NOT NULL";
        for PackedRow { id, finished_parts } in self.rows(packed).await {
            for (number, etag) in (1..).zip(digests(&finished_parts)) {
                parts.insert((id.clone(), number), etag);
            }
        }
        for (id, history) in self.told.histories() {
            let plain = id.replace('-', "");
            let Some(state) = states.get(&plain) else {
                self.told.violation(format!("{id} ({:?}) was acknowledged, and is not there", history.plot));
                continue;
            };
            if !matches!(state.as_str(), "open" | "completing" | "completed") {
                continue;
            }
            for (number, etag) in &history.parts {
                let recorded = parts.get(&(plain.clone(), *number));
                if recorded.map(String::as_str) != Some(bare(etag)) {
                    let plot = history.plot;
                    self.told.violation(format!(
                        "part {number} of {id} ({plot:?}, {state}) was acknowledged as {etag}, and is {recorded:?}"
                    ));
                }
            }
        }
    }

    async fn uploads(&self) -> Vec<Row> {
        self.rows("SELECT <id> AS id, state, object_key, filename, object_etag, target_size, failure FROM uploads")
            .await
    }

    /// Everything has ended, once, as it was told, and the bucket holds exactly what the database says.
    pub(crate) async fn audit_end(&self) -> Counts {
        self.told.check_order();
        self.audit_moves().await;
        let (rows, objects) = (self.uploads().await, self.s3.objects().await);
        let violation = |text: String| self.told.violation(text);
        for open in self.s3.open_uploads().await {
            violation(format!("left open at S3: {open:?}"));
        }
        let mut counts = Counts::default();
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for row in &rows {
            *counts.states.entry(row.state.clone()).or_default() += 1;
            if row.failure.as_deref() != Some("create-refused") {
                *by_name.entry(row.filename.as_str()).or_default() += 1;
            }
            let ours = objects
                .get(&row.object_key)
                .filter(|object| object.upload_id.as_ref().is_some_and(|id| id.replace('-', "") == row.id));
            match (row.state.as_str(), ours) {
                ("completed", Some(object)) => {
                    if Some(bare(&object.etag)) != row.object_etag.as_deref().map(bare)
                        || Some(object.size) != row.target_size
                    {
                        violation(format!("{row:?} is completed, and its object is {object:?}"));
                    }
                }
                ("completed", None) => violation(format!("completed without object: {row:?}")),
                ("aborted" | "failed" | "deleted", None) => {}
                ("aborted" | "failed" | "deleted", Some(object)) => {
                    violation(format!("{row:?} has an object: {object:?}"))
                }
                _ => violation(format!("never ended: {row:?}")),
            }
        }
        let by_id: HashMap<&str, &Row> = rows.iter().map(|row| (row.id.as_str(), row)).collect();
        for (key, object) in &objects {
            let known = object.upload_id.as_ref().map(|id| by_id.contains_key(id.replace('-', "").as_str()));
            if known == Some(false) {
                violation(format!("an object of nobody's: {key}: {object:?}"));
            }
        }
        for (id, history) in self.told.histories() {
            counts.told += 1;
            let Some(row) = by_id.get(id.replace('-', "").as_str()) else { continue };
            if history.acknowledged {
                counts.acknowledged += 1;
            }
            if let Some((etag, size)) = &history.object {
                let kept = match row.state.as_str() {
                    "deleted" => history.deletion_asked,
                    "completed" => !history.deleted,
                    _ => false,
                };
                if !kept || row.object_etag.as_deref() != Some(etag.as_str()) || row.target_size != Some(*size) {
                    violation(format!(
                        "{id} ({:?}) was told to be completed, {etag} of {size}, and is {row:?}",
                        history.plot
                    ));
                }
            }
            if history.aborted && row.state != "aborted" && history.plot != Plot::CompleteHidden {
                violation(format!("{id} ({:?}) was told to be aborted, and is {row:?}", history.plot));
            }
        }
        for (key, count) in by_name {
            if count > 1 && key.ends_with(".keyed.bin") {
                violation(format!("{count} uploads under one idempotency key: {key}"));
            }
        }
        counts
    }

    /// Every move was to a successor, and from where the one before had led.
    async fn audit_moves(&self) {
        let sql = "SELECT <id> AS id, from_state, to_state FROM moves WHERE from_state <> to_state AND from_state <> '' ORDER BY n";
        let mut at: HashMap<String, String> = HashMap::new();
        for Move { id, from_state, to_state } in self.rows::<Move>(sql).await {
            let from = State::from_name(&from_state).expect("a state");
            let to = State::from_name(&to_state).expect("a state");
            let before = at.insert(id.clone(), to_state.clone()).unwrap_or_else(|| "creating".into());
            if before != from_state || !from.successors().contains(&to) {
                self.told.violation(format!("{id} moved from {from_state} to {to_state}, and was {before}"));
            }
        }
    }
}

/// An ETag without its quotes.
/// The ETags of packed parts, which here are digests all: a byte for the format, then seventeen for each.
fn digests(packed: &[u8]) -> Vec<String> {
    let digits = |part: &[u8]| part[1..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((packed[0], packed.len() % 17), (1, 1), "{packed:?}");
    packed[1..].chunks(17).map(digits).collect()
}

fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}
