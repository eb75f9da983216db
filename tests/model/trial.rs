//! Plays a sequence on the service and holds all that is seen against the model.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use proptest_state_machine::StateMachineTest;
use serde_json::Value;

use super::actions::{Action, Expected, Model, Sequences};
use super::reference::{Answer, DRIFT, OK, State, UNHEARD, Upload};
use super::s3::{Down, Object, Op, Upset, When};
use super::scripts::{body_of, death_script, down_script, operation, request, upset_script};
use super::seen::{foreseen, seen};
use super::service::{Mortal, bytes_of, etag_of};
use super::{DATABASE, ReferenceStateMachine, STEPS_TAKEN};
use crate::support::scripted_s3::{Operation, Playing, Script, StoredObject};
use crate::support::{Reply, new_database};

/// The service in one sequence.
pub(super) struct Trial {
    service: Mortal,
    model: Model,
    known: Vec<Known>,
    /// What is wrong with S3: with which calls, and whether it does them late.
    playing: Vec<Wrong>,
    began: Instant,
    steps: Vec<String>,
}

/// A failure of S3 that is being played.
struct Wrong {
    upload: usize,
    op: Op,
    /// S3 goes on with the call when nobody waits for it any more.
    is_late: bool,
    playing: Playing,
}

/// What the test has learned of an upload.
#[derive(Debug, Default)]
struct Known {
    id: String,
    key: String,
    /// S3's id of it, from the last URL that was handed out.
    s3_upload_id: Option<String>,
    /// What was told of the object when it was first seen completed: that stays so.
    object: Option<(Value, StoredObject)>,
}

pub(super) fn new_postgres() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = new_database().await;
        let settings = partita::config::Settings { database_url: Some(url.clone().into()), ..Default::default() };
        let store = partita::app::open_store(&settings, Default::default()).await.expect("a database");
        store.migrate().await.expect("migrated");
        store.close().await;
        url
    })
}

async fn clear(url: &str) {
    use sea_orm::ConnectionTrait;
    let db = sea_orm::Database::connect(url).await.expect("the database");
    db.execute_unprepared("TRUNCATE uploads, parts, idempotency_keys CASCADE").await.expect("cleared");
    db.close().await.expect("closed");
}

impl StateMachineTest for Trial {
    type SystemUnderTest = Trial;
    type Reference = Sequences;

    fn init_test(_: &Model) -> Trial {
        let database = DATABASE.with_borrow(Clone::clone);
        if let Some(url) = &database {
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(clear(url));
        }
        Trial {
            service: Mortal::born(database.as_deref()),
            model: Model::default(),
            known: Vec::new(),
            playing: Vec::new(),
            began: Instant::now(),
            steps: Vec::new(),
        }
    }

    fn apply(mut trial: Trial, _: &Model, action: Action) -> Trial {
        // What is open in the model may have come otherwise than the sequence was made for.
        if Sequences::preconditions(&trial.model, &action) && !trial.is_over() {
            trial.step(action);
        }
        trial
    }

    fn teardown(mut trial: Trial, _: Model) {
        trial.come_to_an_end();
    }
}

impl Trial {
    /// Past this the model could not tell any more which moments real time has reached.
    fn is_over(&self) -> bool {
        self.began.elapsed() > Duration::from_secs(DRIFT - 15)
    }

    fn step(&mut self, action: Action) {
        STEPS_TAKEN.fetch_add(1, Ordering::Relaxed);
        self.steps.push(format!("{action:?}"));
        let answer = self.play(action);
        if let (Some((status, code)), Some(step)) = (answer, self.steps.last_mut()) {
            step.push_str(&format!(" → {status} {code}"));
        }
        let expected = self.model.expect(action);
        if self.model.uploads.len() > self.known.len() {
            self.meet_the_new_one();
        }
        let shown = self.shown();
        let open = self.service.wait(self.service.s3.open_uploads());
        for Expected { upload, outcomes } in expected {
            let known = &self.known[upload];
            let stored = self.service.wait(self.service.s3.object(&known.key));
            let seen = seen(shown.get(&known.id), &open, stored.as_ref(), &known.id, &known.key);
            let fits = |(allowed, state): &(Answer, Upload)| {
                answer.is_none_or(|answer| answer == *allowed) && foreseen(state) == seen
            };
            let left: Vec<Upload> =
                outcomes.iter().filter(|outcome| fits(outcome)).map(|(_, state)| state.clone()).collect();
            if left.is_empty() {
                let allowed: Vec<_> = outcomes.iter().map(|(answer, state)| (answer, foreseen(state))).collect();
                self.fail(&format!(
                    "upload {upload}: answered {answer:?}, then seen {seen:?}\nallowed: {allowed:#?}\nbefore: {:#?}",
                    self.model.uploads[upload]
                ));
            }
            if let (Some(row), Some(stored)) = (shown.get(&known.id).filter(|row| row["state"] == "completed"), stored)
            {
                self.check_object(upload, &row["object"].clone(), stored, &left);
            }
            self.check_parts(upload, &left, action);
            self.model.uploads[upload] = left;
        }
        let completions = self.service.s3.most_at_once(Operation::CompleteMultipartUpload);
        if completions > 1 {
            self.fail("two completions of one upload at once");
        }
    }

    /// Completed is for ever: the same object, with the bytes that the completion was of.
    fn check_object(&mut self, upload: usize, told: &Value, stored: StoredObject, states: &[Upload]) {
        let first = self.known[upload].object.is_none();
        let now = (told.clone(), stored);
        let kept = self.known[upload].object.get_or_insert_with(|| now.clone()).clone();
        if kept != now || told["etag"] != now.1.etag.as_str() || told["size"] != now.1.size {
            self.fail(&format!("upload {upload} was completed as {kept:?}, and is now {now:?}"));
        }
        if first {
            let Some(Object::Ours(parts)) = states[0].s3.object else { return };
            let planned = states[0].planned;
            let sent = (0..planned).flat_map(|part| bytes_of(planned, part, parts[part].unwrap_or(u8::MAX - b'a')));
            if self.service.object_bytes(&self.known[upload].key) != sent.collect::<Vec<u8>>() {
                self.fail(&format!("upload {upload} was completed with other bytes than {parts:?}"));
            }
        }
    }

    /// What is recorded is what was recorded.
    fn check_parts(&mut self, upload: usize, states: &[Upload], action: Action) {
        let touched = matches!(action, Action::Call { .. } | Action::Die | Action::Sweep { .. });
        if !touched || states[0].state == State::Forgotten {
            return;
        }
        let path = format!("/v1/uploads/{}/parts", self.known[upload].id);
        let listed = self.service.call("GET", &path, None, None).ok(200);
        let listed: Vec<(u64, String)> =
            listed["items"].as_array().into_iter().flatten().map(number_and_etag).collect();
        let recorded = |state: &Upload| -> Vec<(u64, String)> {
            let etag =
                |part: usize| Some((part as u64 + 1, etag_of(state.planned, part, state.recorded[part]?).to_owned()));
            (0..state.planned).filter_map(etag).collect()
        };
        if !states.iter().any(|state| recorded(state) == listed) {
            self.fail(&format!("upload {upload} has {listed:?} recorded, and should have {:?}", recorded(&states[0])));
        }
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}\nsteps:\n  {}", self.steps.join("\n  "));
    }

    /// What the service shows of all uploads, by id.
    fn shown(&self) -> BTreeMap<String, Value> {
        let page = self.service.call("GET", "/v1/uploads?limit=1000", None, None).ok(200);
        let items = page["items"].as_array().expect("items").clone();
        items.into_iter().map(|item| (text(&item["id"]), item)).collect()
    }

    /// Of a creation that got no answer the list tells.
    fn meet_the_new_one(&mut self) {
        let shown = self.shown();
        let mut new = shown.values().filter(|item| self.known.iter().all(|known| known.id != item["id"]));
        let Some(item) = new.next() else { self.fail("an upload was created and is nowhere") };
        let (id, key) = (text(&item["id"]), text(&item["key"]));
        if new.next().is_some() {
            self.fail("two uploads for one creation");
        }
        self.known.push(Known { id, key, ..Known::default() });
    }

    /// Does it. What the client was answered, where a client asked.
    fn play(&mut self, action: Action) -> Option<Answer> {
        match action {
            Action::Create { wish, key, upset, death } => {
                let script = upset
                    .map(|upset| self.service.s3.play(upset_script(Operation::CreateMultipartUpload, upset).next(1)));
                let upload = self.model.clone().expect(action)[0].upload;
                let death =
                    death.map(|when| (death_script(Operation::CreateMultipartUpload, when), upload, Op::Create, when));
                let (answer, reply) = self.ask(death, "POST", "/v1/uploads", Some(body_of(wish)), key);
                if let Some(script) = script {
                    script.lift();
                    let is_late = upset == Some(Upset::Cut(When::Late));
                    self.playing.push(Wrong { upload, op: Op::Create, is_late, playing: script });
                }
                if let Some(urls) = reply.as_ref().and_then(|reply| reply["partUrls"].as_array()) {
                    let id = &reply.as_ref().expect("a reply")["upload"];
                    if self.known.iter().all(|known| known.id != id["id"]) {
                        self.known.push(Known { id: text(&id["id"]), key: text(&id["key"]), ..Known::default() });
                    }
                    let known = self.known.iter_mut().find(|known| known.id == id["id"]).expect("known");
                    known.learn(urls);
                }
                Some(answer)
            }
            Action::Call { upload, call, death } => {
                let known = &self.known[upload];
                let planned = self.model.uploads[upload][0].planned;
                let path = format!("/v1/uploads/{}", known.id);
                let (method, path, body) = request(call, planned, &path, &known.id);
                let death = death.map(|(op, when)| {
                    let script = death_script(operation(op, planned), when);
                    (if op == Op::ListUploads { script } else { script.of(&known.key) }, upload, op, when)
                });
                let (answer, reply) = self.ask(death, method, &path, body, None);
                if let Some(urls) = reply.as_ref().and_then(|reply| reply["partUrls"].as_array()) {
                    self.known[upload].learn(urls);
                }
                Some(answer)
            }
            Action::AbortInFlight { upload } => {
                let key = &self.known[upload].key;
                let aborts = self.service.s3.play(down_script(Operation::AbortMultipartUpload, Down::Lies).of(key));
                let lists = self.service.s3.play(down_script(Operation::ListParts, Down::Lies).of(key));
                let path = format!("/v1/uploads/{}", self.known[upload].id);
                let (answer, _) = self.ask(None, "DELETE", &path, None, None);
                aborts.lift();
                lists.lift();
                Some(answer)
            }
            Action::Send { upload, part, bytes } => {
                let (known, state) = (&self.known[upload], &self.model.uploads[upload][0]);
                let id = known.s3_upload_id.as_ref().expect("a URL was handed out");
                let (status, etag) = self.service.put(&known.key, id, part + 1, bytes_of(state.planned, part, bytes));
                let expected = if state.s3.upload.is_some() { 200 } else { 404 };
                if status != expected || (status == 200 && etag != etag_of(state.planned, part, bytes)) {
                    self.fail(&format!("S3 answered {status} {etag} to a part, not {expected}"));
                }
                None
            }
            Action::Upset { upload, op, upset } => {
                for wrong in self.playing.iter().filter(|wrong| (wrong.upload, wrong.op) == (upload, op)) {
                    wrong.playing.lift();
                }
                let script = upset_script(operation(op, self.model.uploads[upload][0].planned), upset);
                let playing = self.service.s3.play(script.next(1).of(&self.known[upload].key));
                self.playing.push(Wrong { upload, op, is_late: upset == Upset::Cut(When::Late), playing });
                None
            }
            Action::Down { upload, op, down } => {
                let script = down_script(operation(op, 1), down).of(&self.known[upload].key);
                let playing = self.service.s3.play(script);
                self.playing.push(Wrong { upload, op, is_late: false, playing });
                None
            }
            Action::ListingDown => {
                let playing = self.service.s3.play(down_script(Operation::ListMultipartUploads, Down::Forbidden));
                self.playing.push(Wrong { upload: usize::MAX, op: Op::ListUploads, is_late: false, playing });
                None
            }
            Action::Heal => {
                self.playing.iter().for_each(|wrong| wrong.playing.lift());
                None
            }
            Action::Drop { upload } => {
                self.service.wait(self.service.s3.abort_behind(&self.known[upload].key));
                None
            }
            Action::Foreign { upload } => {
                self.service.wait(self.service.s3.put_foreign_object(&self.known[upload].key));
                None
            }
            Action::Land => {
                self.land(|_| true);
                None
            }
            Action::Advance(seconds) => {
                let now = self.model.now + seconds;
                self.land(|upload| upload.creations_have_landed(now));
                self.service.advance(Duration::from_secs(seconds));
                None
            }
            Action::Die => {
                self.service.die();
                None
            }
            Action::Sweep { death: None } => {
                self.service.sweep();
                None
            }
            Action::Sweep { death: Some((upload, op, when)) } => {
                let script = death_script(operation(op, self.model.uploads[upload][0].planned), when);
                let script = if op == Op::ListUploads { script } else { script.of(&self.known[upload].key) };
                let (playing, survived) = self.service.sweep_to_death(script);
                self.bury(playing, upload, op, when);
                Some(if survived { OK } else { UNHEARD })
            }
        }
    }

    /// What S3 is still at work on comes to its end, creations where they are to; scripts that nothing has met yet stay.
    fn land(&mut self, creations: impl Fn(&Upload) -> bool) {
        let uploads = &self.model.uploads;
        let lands = |wrong: &mut Wrong| {
            let is_its_time = wrong.op != Op::Create || creations(&uploads[wrong.upload][0]);
            wrong.is_late && wrong.playing.times() > 0 && is_its_time
        };
        self.playing.extract_if(.., lands).for_each(|wrong| wrong.playing.release());
        self.await_s3();
    }

    /// Waits until S3 is at work on nothing but what it does late.
    fn await_s3(&self) {
        let late = self.playing.iter().filter(|wrong| wrong.is_late && wrong.playing.times() > 0).count();
        let at_work = || self.service.s3.calls(None).iter().filter(|call| call.ended.is_none()).count();
        self.service.wait(async {
            while at_work() > late {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    fn ask(
        &mut self,
        death: Option<(Script, usize, Op, When)>,
        method: &str,
        path: &str,
        body: Option<Value>,
        key: Option<u8>,
    ) -> (Answer, Option<Value>) {
        let reply = match death {
            None => Some(self.service.call(method, path, body, key)),
            Some((script, upload, op, when)) => {
                let (playing, reply) = self.service.call_to_death(script, method, path, body, key);
                self.bury(playing, upload, op, when);
                reply
            }
        };
        reply.map_or((UNHEARD, None), |Reply { status, body, .. }| {
            let code = body["code"].as_str().unwrap_or_default().to_owned();
            ((status.as_u16(), String::leak(code)), Some(body))
        })
    }

    /// The service has died, or lived on: S3 goes on with what it was at.
    fn bury(&mut self, playing: Playing, upload: usize, op: Op, when: When) {
        if when == When::Late {
            self.playing.push(Wrong { upload, op, is_late: true, playing });
        } else {
            playing.release();
            self.await_s3();
        }
    }

    /// S3 is healed, time goes by, the sweeper comes: everything comes to its end, and all of it is true.
    fn come_to_an_end(&mut self) {
        self.began = Instant::now();
        self.step(Action::Heal);
        self.step(Action::Land);
        for seconds in [1_200, 90_000, 1_200, 7_200, 610_000, 1_200, 7_200] {
            self.step(Action::Advance(seconds));
            self.step(Action::Sweep { death: None });
        }
        for states in &self.model.uploads {
            if !matches!(states[0].state, State::Completed | State::Ended(_) | State::Forgotten) {
                self.fail(&format!("without an end: {:?}", states[0]));
            }
        }
        let leaked = self.service.wait(self.service.s3.leaked());
        if !leaked.is_empty() {
            self.fail(&format!("open at S3 for ever: {leaked:?}"));
        }
        self.service.wait(self.service.s3.assert_others_untouched());
        let swept = self.service.sweep();
        if !swept.is_empty() {
            self.fail(&format!("always due: {swept:?}"));
        }
    }
}

impl Known {
    fn learn(&mut self, urls: &[Value]) {
        let id = urls.first().and_then(|url| url["url"].as_str()?.split("uploadId=").nth(1)?.split('&').next());
        self.s3_upload_id = id.map(str::to_owned).or(self.s3_upload_id.take());
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn number_and_etag(part: &Value) -> (u64, String) {
    (part["partNumber"].as_u64().expect("a number"), text(&part["etag"]))
}
