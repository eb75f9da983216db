//! One upload from its beginning, or from wherever it stands, to its end.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ledger::Ledger;
use super::retry::{REFUSALS, persist};
use super::source::{Piece, Source, base64, reading};
use super::store::Landed;
use super::urls::{Known, Signed, Urls};
use super::wire::{LandedPart, Told};
use super::{
    Checksum, Error, File, Gate, Kind, Part, PartUrl, Service, Store, Stream, Upload, UploadFilter, fingerprint,
};
use crate::upload::{Algorithm, MAX_PARTS, PartSet};

/// Bytes of a stream's parts, unless others are asked for: 10,000 of them are 625 GiB.
pub const STREAM_PART: u64 = 64 << 20;
/// Parts of a stream that are on their way at once: each is held in memory.
const STREAM_PARTS: usize = 4;
/// Times that parts are sent again which S3, asked to put them together, does not have.
const ROUNDS: usize = 3;
/// How long the last record may take when the transfer is stopped.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What an upload is to be.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The name its download will have.
    pub filename: String,
    /// The media type its download will have.
    pub content_type: Option<String>,
    /// The named rules to make it under.
    pub preset: Option<String>,
    /// Bytes of each part but the last; the service chooses when absent.
    pub part_size: Option<u64>,
    /// Every part is to carry a checksum of this algorithm.
    pub part_checksum: Option<String>,
    /// What to keep with the object.
    pub metadata: BTreeMap<String, String>,
}

/// Which earlier uploads of the same file are taken instead of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// None.
    Ignored,
    /// One that was not completed is gone on with.
    Unfinished,
    /// The same; and one that was completed is taken if it has the very bytes.
    OrCompleted,
}

/// What happens on the way.
#[derive(Debug)]
pub enum Event<'a> {
    /// The upload is there. `held` bytes of it were in S3 already, if it is gone on with.
    Begun {
        /// By which it can be gone on with.
        id: Uuid,
        /// Whether it was begun before.
        is_resumed: bool,
        /// Bytes that need not be sent.
        held: u64,
    },
    /// So many more bytes are on their way.
    Moved(u64),
    /// So many of them came to nothing, and go again.
    Lost(u64),
    /// Something failed, and is tried again after a pause.
    Retry {
        /// What.
        error: &'a Error,
        /// How long.
        pause: Duration,
    },
    /// Every part is there, and S3 puts them together.
    Completing,
}

/// Whoever is told what happens. Called from many tasks at once, and often.
pub trait Watch: Send + Sync {
    /// It happened.
    fn tell(&self, event: Event<'_>);
}

/// A file that was uploaded.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The upload, completed.
    pub upload: Told<Upload>,
    /// Its CRC64NVME, made of the bytes that went; absent where the upload was completed already.
    pub checksum: Option<Checksum>,
    /// What proves that S3 holds these very bytes: `object`, its checksum of the whole; `parts`, one of each part, which it
    /// compared as they came. Absent where the store tells no checksum: then nothing was proved but the size.
    pub verified_by: Option<&'static str>,
    /// Whether it was begun before.
    pub is_resumed: bool,
}

/// Uploads, by one caller, over one gate.
#[derive(Clone)]
pub struct Transfer {
    /// Whom to ask.
    pub service: Service,
    /// Where the bytes go.
    pub store: Store,
    /// How many parts go at once.
    pub gate: Arc<Gate>,
    /// Who is told.
    pub watch: Arc<dyn Watch>,
    /// When it fires, the transfer ends as [`Kind::Interrupted`]; what S3 has by then stays.
    pub stop: CancellationToken,
    /// How long a step is tried again in all.
    pub patience: Duration,
    /// The uploads of this run: no two files are sent to one.
    pub claimed: Arc<Mutex<HashSet<Uuid>>>,
}

impl Wanted {
    /// Whether the upload is what is wanted, as far as anything is.
    fn is_of(&self, upload: &Upload) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, is: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        let part_size = u64::try_from(upload.part_size).unwrap_or_default();
        let part_checksum = self.part_checksum.as_ref().is_none_or(|_| self.part_checksum == upload.part_checksum);
        self.filename == upload.filename
            && self.metadata == upload.metadata
            && fits(self.content_type.as_ref(), &upload.content_type)
            && fits(self.preset.as_ref(), &upload.preset)
            && fits(self.part_size.as_ref(), &part_size)
            && part_checksum
    }
}

/// An upload at work.
struct Run<'a> {
    transfer: &'a Transfer,
    id: Uuid,
    urls: Urls<'a>,
    ledger: Ledger<'a>,
}

impl Transfer {
    /// Uploads a file, or takes an `earlier` upload of this very file under this name.
    ///
    /// # Errors
    /// The service's and S3's refusals; whatever is passing is tried again first.
    pub async fn upload(&self, file: File, wanted: &Wanted, earlier: Earlier) -> Result<Sent, Error> {
        let fingerprint = fingerprint_of(&file).await?;
        if earlier != Earlier::Ignored {
            let mut found = self.until_stopped(self.find(&fingerprint)).await?;
            found.retain(|upload| wanted.is_of(upload));
            // What this run has begun itself is another file that has the same bytes.
            let is_free = |upload: &&Upload| is_going(upload) && self.claim(upload.id);
            if let Some(upload) = found.iter().find(is_free) {
                return self.go_on(upload.clone(), Source::File(file)).await;
            }
            let completed = found.into_iter().filter(|upload| upload.state == "completed");
            for upload in completed.filter(|_| earlier == Earlier::OrCompleted) {
                match self.go_on(upload, Source::File(file.clone())).await {
                    Err(error) if error.code == "file-differs" => {}
                    outcome => return outcome,
                }
            }
        }
        self.begin(Source::File(file), wanted, Some(fingerprint)).await
    }

    /// Goes on with an upload: this one, or without an id the last that was begun of this very file.
    ///
    /// # Errors
    /// `file-differs` before a byte is sent when it is not the file of the upload.
    pub async fn resume(&self, id: Option<&str>, file: File) -> Result<Sent, Error> {
        let fingerprint = fingerprint_of(&file).await?;
        let upload = match id {
            Some(id) => self.until_stopped(self.service.upload(id)).await?.known,
            None => {
                let mut found = self.until_stopped(self.find(&fingerprint)).await?;
                found.retain(|upload| is_going(upload) || upload.state == "completed");
                found.sort_by_key(|upload| !is_going(upload));
                let none = "there is no upload of this file to go on with; `partita upload` begins one";
                found.into_iter().next().ok_or_else(|| Error::new(Kind::NotFound, "upload-not-found", none))?
            }
        };
        let size_differs = upload.size.is_some_and(|size| u64::try_from(size) != Ok(file.size()));
        let differs = upload.fingerprint.as_ref().is_some_and(|known| *known != fingerprint);
        if size_differs || differs {
            let message = format!(
                "{} is not the file of upload {}, or it was changed since; nothing was sent",
                file.path().display(),
                upload.id
            );
            return Err(Error::new(Kind::Integrity, "file-differs", message));
        }
        self.go_on(upload, Source::File(file)).await
    }

    async fn find(&self, fingerprint: &str) -> Result<Vec<Upload>, Error> {
        let filter = UploadFilter { state: None, fingerprint: Some(fingerprint.to_owned()) };
        let found = self.service.uploads(&filter, Some(100)).await?;
        Ok(found.into_iter().map(|upload| upload.known).collect())
    }

    async fn begin(&self, source: Source, wanted: &Wanted, fingerprint: Option<String>) -> Result<Sent, Error> {
        let size = source.size();
        let asked_at = Instant::now();
        let (upload, part_urls) = self.until_stopped(self.create(wanted, Some(size), fingerprint)).await?;
        let upload = upload.known;
        self.claim(upload.id);
        self.watch.tell(Event::Begun { id: upload.id, is_resumed: false, held: 0 });
        let run = Run::new(self, &upload, &source, part_urls, asked_at)?;
        let parts = run.urls.parts();
        self.or_completed(upload.id, false, &source, run.finish(parts, false).await).await
    }

    /// Whether nobody of this run has the upload yet; from now on somebody has.
    fn claim(&self, id: Uuid) -> bool {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    /// Another may have gone on with the same upload, and been sooner. What that was is no proof of this file: it is read, and
    /// compared.
    async fn or_completed(
        &self,
        id: Uuid,
        is_resumed: bool,
        source: &Source,
        outcome: Result<Sent, Error>,
    ) -> Result<Sent, Error> {
        match outcome {
            Err(error) if error.code == "already-completed" => {}
            outcome => return outcome,
        }
        let upload = self.until_stopped(self.service.upload(&id.to_string())).await?;
        let piece = source.piece(0, source.size());
        let name = source.name();
        let sums = self.until_stopped(reading(&name, move || piece.sums(None, |_| {}))).await?;
        let checksum = Checksum { algorithm: "CRC64NVME", value: base64(sums.crc64) };
        let verified_by = proof(&upload.known, source.size(), &checksum).map_err(|error| {
            let message = format!("{name} is not the file of upload {id}, which is completed; nothing was sent");
            Error { code: "file-differs".into(), message, ..error }
        })?;
        // Its parts were checked against somebody's bytes, which need not be these.
        let verified_by = verified_by.filter(|by| *by == "object");
        Ok(Sent { upload, checksum: None, verified_by, is_resumed })
    }

    async fn create(
        &self,
        wanted: &Wanted,
        size: Option<u64>,
        fingerprint: Option<String>,
    ) -> Result<(Told<Upload>, Vec<PartUrl>), Error> {
        let mut request = json!({ "filename": wanted.filename, "metadata": wanted.metadata });
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                request[name] = value;
            }
        };
        put("size", size.map(Value::from));
        put("contentType", wanted.content_type.clone().map(Value::from));
        put("preset", wanted.preset.clone().map(Value::from));
        put("partSize", wanted.part_size.map(Value::from));
        put("partChecksum", wanted.part_checksum.clone().map(Value::from));
        put("fingerprint", fingerprint.map(Value::from));
        // Those of a stream are asked for one by one.
        put("partUrls", size.is_none().then(|| json!({ "count": 0 })));
        self.service.create(&request).await
    }

    async fn go_on(&self, upload: Upload, source: Source) -> Result<Sent, Error> {
        let id = upload.id;
        let outcome = if upload.state == "completed" {
            self.watch.tell(Event::Begun { id, is_resumed: true, held: source.size() });
            Err(Error::new(Kind::Refused, "already-completed", "the upload is completed"))
        } else {
            self.send_the_rest(upload, &source).await
        };
        self.or_completed(id, true, &source, outcome).await
    }

    async fn send_the_rest(&self, upload: Upload, source: &Source) -> Result<Sent, Error> {
        // S3 knows what it has; the records may tell of less.
        let is_open = upload.state == "open" && source.size() > 0;
        let syncing = self.service.sync(upload.id);
        let upload = if is_open { self.until_stopped(syncing).await?.known } else { upload };
        let id = upload.id.to_string();
        let parts = self.until_stopped(self.service.parts(&id, None)).await?;
        let parts: Vec<Part> = parts.into_iter().map(|part| part.known).collect();
        let bytes = parts.iter().map(|part| part.size.unsigned_abs());
        let held = bytes.fold(0, u64::saturating_add).min(source.size());
        self.watch.tell(Event::Begun { id: upload.id, is_resumed: true, held });

        let run = Run::new(self, &upload, source, Vec::new(), Instant::now())?;
        let held: BTreeSet<i32> = parts.iter().map(|part| part.part_number).collect();
        let planned = run.urls.parts();
        let (held, missing): (BTreeSet<i32>, BTreeSet<i32>) =
            planned.into_iter().partition(|number| held.contains(number));
        let looking = self.until_stopped(super::held::look(parts, &run.urls, &run.ledger));
        if upload.fingerprint.is_some() {
            // What is there is read while what is not there is sent.
            let (found, ()) = tokio::try_join!(looking, run.send(missing))?;
            return run.finish(held.difference(&found.good).copied().collect(), true).await;
        }
        // Nothing but its parts tells what file it is of.
        let found = looking.await?;
        if found.differs && found.good.is_empty() {
            let message =
                format!("{} is not the file of upload {id}: its parts differ; nothing was sent", source.name());
            return Err(Error::new(Kind::Integrity, "file-differs", message));
        }
        let again = held.difference(&found.good).copied();
        run.finish(again.chain(missing).collect(), true).await
    }

    /// Uploads what can be read but once. What fits into one part is uploaded as a file is.
    ///
    /// # Errors
    /// As of [`Transfer::upload`]. It cannot be gone on with: what was read is gone.
    pub async fn stream(&self, mut stream: Stream, wanted: &Wanted) -> Result<Sent, Error> {
        let part_size = wanted.part_size.unwrap_or(STREAM_PART);
        let unreadable = |cause| Error::unreadable("standard input", &cause);
        let first = self.until_stopped(async { stream.next().await.transpose().map_err(unreadable) }).await?;
        let first = first.unwrap_or_default();
        if (first.len() as u64) < part_size {
            return self.begin(Source::Memory(first), wanted, None).await;
        }
        let wanted = Wanted { part_size: Some(part_size), ..wanted.clone() };
        let (upload, _) = self.until_stopped(self.create(&wanted, None, None)).await?;
        let upload = upload.known;
        self.watch.tell(Event::Begun { id: upload.id, is_resumed: false, held: 0 });
        let nothing = Source::Memory(Bytes::new());
        let run = Run::new(self, &upload, &nothing, Vec::new(), Instant::now())?;

        let parts = stream::unfold((Some(first), stream, 1), |(first, mut stream, number)| async move {
            let part = match first {
                Some(first) => Ok(first),
                None => stream.next().await?,
            };
            Some(((number, part), (None, stream, number + 1)))
        });
        let sending = parts
            .map(|(number, part)| {
                let run = &run;
                async move {
                    let part = part.map_err(unreadable)?;
                    // A stream that ends with a whole part is followed by an empty one.
                    if part.is_empty() { Ok(()) } else { run.send_streamed(number, part).await }
                }
            })
            .buffer_unordered(self.gate.most().min(STREAM_PARTS))
            .try_for_each(|()| async { Ok(()) });
        run.recording(self.until_stopped(sending).await).await?;
        run.complete(false).await
    }

    async fn until_stopped<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            outcome = work => outcome,
            () = self.stop.cancelled() => Err(Error::interrupted()),
        }
    }
}

impl<'a> Run<'a> {
    fn new(
        transfer: &'a Transfer,
        upload: &Upload,
        source: &'a Source,
        part_urls: Vec<PartUrl>,
        asked_at: Instant,
    ) -> Result<Run<'a>, Error> {
        let part_size = u64::try_from(upload.part_size).ok().filter(|size| *size > 0);
        let part_size = part_size
            .ok_or_else(|| Error::new(Kind::Refused, "unexpected", "the service's plan has parts of no size"))?;
        let algorithm = |name: &String| Algorithm::from_name(name).ok();
        let checksum = upload.part_checksum.as_ref().and_then(algorithm);
        if checksum.is_none()
            && let Some(name) = &upload.part_checksum
        {
            let message = format!("the upload's parts need a checksum of {name}, which this version cannot make");
            return Err(Error::new(Kind::Refused, "unexpected", message));
        }
        let parts = source.size().div_ceil(part_size);
        if parts > MAX_PARTS as u64 {
            return Err(Error::new(Kind::Refused, "unexpected", "the service's plan has more parts than S3 takes"));
        }
        let state = Known::new((1..=parts).map(|number| number as i32), part_urls, asked_at);
        let (service, id) = (&transfer.service, upload.id);
        let urls = Urls { service, id, source, part_size, checksum, is_sized: upload.size.is_some(), state };
        Ok(Run { transfer, id, urls, ledger: Ledger::new(service, id, parts as usize) })
    }

    /// Sends these parts, side by side.
    async fn send(&self, numbers: BTreeSet<i32>) -> Result<(), Error> {
        let sending = stream::iter(numbers)
            .map(|number| self.send_part(number))
            .buffer_unordered(self.transfer.gate.most())
            .try_for_each(|()| async { Ok(()) });
        let outcome = self.transfer.until_stopped(sending).await;
        self.recording(outcome).await
    }

    /// What has landed is told also when the rest came to nothing.
    async fn recording(&self, outcome: Result<(), Error>) -> Result<(), Error> {
        if outcome.is_err() {
            let _ = tokio::time::timeout(LAST_WORD, self.ledger.flush()).await;
        }
        outcome
    }

    async fn send_part(&self, number: i32) -> Result<(), Error> {
        let piece = self.urls.piece(number);
        let (landed, signed) = self.put(number, &piece, || self.urls.get(number)).await?;
        self.urls.forget(number).await;
        self.put_down(number, &piece, landed, signed.checksum).await
    }

    /// A stream's part is signed by itself: no plan tells its size, and what is signed counts as sent.
    async fn send_streamed(&self, number: i32, part: Bytes) -> Result<(), Error> {
        let piece = Piece::Memory(part);
        let checksum = match self.urls.checksum {
            None => None,
            algorithm => {
                let read = piece.clone();
                reading("standard input", move || read.sums(algorithm, |_| {})).await?.checksum
            }
        };
        let item = [self.urls.item(number, piece.length(), checksum.as_ref())];
        let sign = || async {
            let mut urls = self.transfer.service.sign_items(self.id, &item).await?;
            let url =
                urls.pop().ok_or_else(|| Error::new(Kind::Refused, "unexpected", "the service signed nothing"))?;
            Ok(Signed::new(url, checksum.clone(), Instant::now()))
        };
        let (landed, signed) = self.put(number, &piece, sign).await?;
        self.put_down(number, &piece, landed, signed.checksum).await
    }

    async fn put_down(
        &self,
        number: i32,
        piece: &Piece,
        landed: Landed,
        checksum: Option<String>,
    ) -> Result<(), Error> {
        let Landed { etag, sum } = landed;
        let size = i64::try_from(piece.length()).unwrap_or(i64::MAX);
        let part = etag.map(|etag| LandedPart { part_number: number, etag, size, checksum });
        self.ledger.landed(number, part, sum, piece.length()).await
    }

    /// Sends a part until S3 has it.
    async fn put<F>(&self, number: i32, piece: &Piece, sign: impl Fn() -> F) -> Result<(Landed, Signed), Error>
    where
        F: Future<Output = Result<Signed, Error>>,
    {
        let Transfer { store, gate, watch, patience, .. } = self.transfer;
        let (refusals, name) = (Cell::new(0), self.urls.source.name());
        let try_once = || async {
            let _pass = gate.enter().await;
            let signed = sign().await?;
            let moved = Arc::new(AtomicU64::new(0));
            let on_bytes = {
                let (moved, gate, watch) = (moved.clone(), gate.clone(), watch.clone());
                move |bytes| {
                    moved.fetch_add(bytes, Ordering::Relaxed);
                    gate.moved(bytes, Instant::now());
                    watch.tell(Event::Moved(bytes));
                }
            };
            match store.put(&signed.url, piece, &name, on_bytes).await {
                Ok(landed) => Ok((landed, signed)),
                Err(mut error) => {
                    watch.tell(Event::Lost(moved.load(Ordering::Relaxed)));
                    if error.code == "url-refused" {
                        self.urls.forget(number).await;
                        refusals.set(refusals.get() + 1);
                        if refusals.get() > REFUSALS {
                            error.kind = Kind::Access;
                        }
                    } else if matches!(error.code.as_str(), "storage-busy" | "stalled") {
                        gate.struggling(Instant::now());
                    }
                    Err(error)
                }
            }
        };
        persist(*patience, try_once, |error, pause| watch.tell(Event::Retry { error, pause })).await
    }

    /// Sends these parts, the last ones, and completes the upload.
    async fn finish(&self, parts: BTreeSet<i32>, is_resumed: bool) -> Result<Sent, Error> {
        self.send(parts).await?;
        self.complete(is_resumed).await
    }

    async fn complete(&self, is_resumed: bool) -> Result<Sent, Error> {
        for round in 1.. {
            if let Source::File(file) = self.urls.source
                && !file.is_unchanged().map_err(|cause| Error::unreadable(&self.urls.source.name(), &cause))?
            {
                let message = format!(
                    "{} was changed while it was sent, so S3 holds a mixture; the upload is not completed: abort it by `partita abort {}`",
                    file.path().display(),
                    self.id
                );
                return Err(Error::new(Kind::Integrity, "file-changed", message));
            }
            let whole = self.ledger.whole();
            let (sum, bytes) =
                whole.ok_or_else(|| Error::new(Kind::Refused, "unexpected", "a part was lost count of"))?;
            let checksum = Checksum { algorithm: "CRC64NVME", value: base64(sum) };
            let (untold, size) = (self.ledger.take_untold(), i64::try_from(bytes).ok().filter(|_| !self.urls.is_sized));
            self.transfer.watch.tell(Event::Completing);
            let completing = self.transfer.service.complete(self.id, &untold, size, Some(&checksum));
            match self.transfer.until_stopped(completing).await {
                Ok(upload) => {
                    let verified_by = proof(&upload.known, bytes, &checksum)?;
                    return Ok(Sent { upload, checksum: Some(checksum), verified_by, is_resumed });
                }
                Err(error) => {
                    let again = error.parts.as_deref().and_then(|parts| PartSet::parse(parts).ok());
                    let again: BTreeSet<i32> = again.iter().flat_map(PartSet::iter).collect();
                    // What was a stream cannot be read again.
                    if again.is_empty() || round > ROUNDS || !again.is_subset(&self.urls.parts()) {
                        return Err(error);
                    }
                    self.transfer.watch.tell(Event::Retry { error: &error, pause: Duration::ZERO });
                    self.ledger.forget(again.iter().copied());
                    self.send(again).await?;
                }
            }
        }
        unreachable!("the loop ends by returning")
    }
}

impl Urls<'_> {
    /// Every part of the plan.
    fn parts(&self) -> BTreeSet<i32> {
        (1..=self.source.size().div_ceil(self.part_size)).map(|number| number as i32).collect()
    }
}

fn is_going(upload: &Upload) -> bool {
    matches!(upload.state.as_str(), "open" | "completing")
}

/// What proves these bytes, if anything does.
fn proof(upload: &Upload, bytes: u64, ours: &Checksum) -> Result<Option<&'static str>, Error> {
    let differs = |what: &str| {
        let message = format!("S3 holds {what} than were sent: upload {}", upload.id);
        Err(Error::new(Kind::Integrity, "checksum-mismatch", message))
    };
    let Some(object) = upload.object.as_ref().filter(|object| u64::try_from(object.size) == Ok(bytes)) else {
        return differs("more or fewer bytes");
    };
    match object.checksum.as_ref().filter(|stored| stored.algorithm == ours.algorithm) {
        Some(stored) if stored.value != ours.value => differs("other bytes"),
        Some(_) => Ok(Some("object")),
        None if upload.part_checksum.is_some() => Ok(Some("parts")),
        None => Ok(None),
    }
}

async fn fingerprint_of(file: &File) -> Result<String, Error> {
    let read = file.clone();
    reading(&file.path().display().to_string(), move || fingerprint(&read)).await
}
