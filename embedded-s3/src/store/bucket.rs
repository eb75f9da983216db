//! One bucket: its index in memory and the commits that change it.
//!
//! Locks, always taken in this order:
//!
//! 1. the bucket's gate (shared by commits, alone by the removal of the bucket);
//! 2. an upload's gate (shared by its parts' commits, alone by its Complete or Abort);
//! 3. the lock of a key or of a part number, so that what is on disk and in memory for it change as one;
//! 4. the index, for moments only, never while the disk works.
//!
//! So parts of one upload and objects of different keys commit side by side, while two writers of one key,
//! and the conditions they ask for, come one after the other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use s3s::crypto::{Checksum as _, Sha256};
use s3s::{S3Result, s3_error};
use uuid::Uuid;

use super::disk::{self, Claimed, PreparedRecord, Reaper};
use super::locks::KeyLocks;
use super::records::{BucketRecord, FORMAT, ObjectRecord, Origin, PartRecord, Tags, UploadRecord, now_ms};
use super::{disk_error, read, write};

/// A committed object. Holding it keeps its files readable, whatever becomes of the key.
pub(crate) struct Object {
    pub(crate) record: ObjectRecord,
    /// One per part of the record, in the same order.
    pub(crate) files: Vec<Arc<Claimed>>,
}

impl Object {
    /// Whether this is what the multipart upload `id` became.
    pub(crate) fn is_of_upload(&self, id: &str) -> bool {
        matches!(&self.record.origin, Origin::Multipart { upload_id } if upload_id == id)
    }
}

/// A part of an open upload.
#[derive(Clone)]
pub(crate) struct StoredPart {
    pub(crate) record: PartRecord,
    pub(crate) file: Arc<Claimed>,
}

/// An open multipart upload.
pub(crate) struct Upload {
    pub(crate) record: UploadRecord,
    parts: RwLock<BTreeMap<i32, StoredPart>>,
    /// Whether the upload is still open.
    gate: RwLock<bool>,
    part_locks: KeyLocks<16>,
}

pub(crate) struct Bucket {
    name: String,
    folder: Arc<Claimed>,
    reaper: Reaper,
    record: RwLock<BucketRecord>,
    record_changes: Mutex<()>,
    /// Whether the bucket still exists.
    gate: RwLock<bool>,
    key_locks: KeyLocks<64>,
    objects: RwLock<BTreeMap<String, Arc<Object>>>,
    /// By key and id.
    uploads: RwLock<BTreeMap<(String, String), Arc<Upload>>>,
}

impl Upload {
    pub(crate) fn new(record: UploadRecord, parts: BTreeMap<i32, StoredPart>) -> Self {
        Self { record, parts: RwLock::new(parts), gate: RwLock::new(true), part_locks: KeyLocks::new() }
    }

    /// The parts as they are now, by number.
    pub(crate) fn parts(&self) -> RwLockReadGuard<'_, BTreeMap<i32, StoredPart>> {
        read(&self.parts)
    }

    fn files_of(&self, record: &ObjectRecord) -> S3Result<Vec<Arc<Claimed>>> {
        let parts = self.parts();
        let file = |part: &PartRecord| parts.get(&part.number).map(|stored| Arc::clone(&stored.file));
        record.parts.iter().map(file).collect::<Option<_>>().ok_or_else(|| s3_error!(InternalError))
    }
}

impl Bucket {
    pub(crate) fn create(buckets: &Path, name: &str, reaper: &Reaper) -> io::Result<Self> {
        let folder = buckets.join(Uuid::new_v4().simple().to_string());
        for kind in ["objects", "uploads", "parts"] {
            fs::create_dir_all(folder.join(kind))?;
        }
        disk::sync_folder(buckets)?;
        let record = BucketRecord {
            format: FORMAT,
            name: name.to_owned(),
            created_ms: now_ms(),
            cors: vec![],
            lifecycle: vec![],
        };
        disk::write_record(folder.join("bucket.json"), &record)?;
        Ok(Self::new(record, Claimed::kept(folder, reaper, None), reaper, BTreeMap::new(), BTreeMap::new()))
    }

    pub(crate) fn new(
        record: BucketRecord,
        folder: Arc<Claimed>,
        reaper: &Reaper,
        objects: BTreeMap<String, Arc<Object>>,
        uploads: BTreeMap<(String, String), Arc<Upload>>,
    ) -> Self {
        Self {
            name: record.name.clone(),
            folder,
            reaper: reaper.clone(),
            record: RwLock::new(record),
            record_changes: Mutex::new(()),
            gate: RwLock::new(true),
            key_locks: KeyLocks::new(),
            objects: RwLock::new(objects),
            uploads: RwLock::new(uploads),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn record(&self) -> RwLockReadGuard<'_, BucketRecord> {
        read(&self.record)
    }

    /// Changes the bucket's own record.
    pub(crate) fn change_record(&self, change: impl FnOnce(&mut BucketRecord)) -> io::Result<()> {
        let _changing = self.record_changes.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = read(&self.gate);
        if !*gate {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the bucket was removed"));
        }
        let mut record = self.record().clone();
        change(&mut record);
        disk::write_record(self.folder.path().join("bucket.json"), &record)?;
        *write(&self.record) = record;
        Ok(())
    }

    pub(crate) fn remove_if_empty(&self) -> S3Result<()> {
        let mut exists = write(&self.gate);
        if !*exists {
            return Err(s3_error!(NoSuchBucket));
        }
        if !read(&self.objects).is_empty() || !read(&self.uploads).is_empty() {
            return Err(s3_error!(BucketNotEmpty));
        }
        disk::remove_record(&self.folder.path().join("bucket.json")).map_err(disk_error)?;
        *exists = false;
        // Downloads that began before the last object was deleted may still read in there.
        self.folder.discard();
        Ok(())
    }

    /// Holds the bucket in existence.
    fn enter(&self) -> S3Result<RwLockReadGuard<'_, bool>> {
        let gate = read(&self.gate);
        if *gate { Ok(gate) } else { Err(s3_error!(NoSuchBucket)) }
    }

    /// A new file for bytes, and its name. It is removed again unless a record comes to speak of it.
    pub(crate) fn new_file(&self) -> io::Result<(String, File, Arc<Claimed>)> {
        let name = format!("{}.bin", Uuid::new_v4().simple());
        let path = self.folder.path().join("parts").join(&name);
        let file = File::create_new(&path)?;
        Ok((name, file, Claimed::unclaimed(path, &self.reaper, Some(Arc::clone(&self.folder)))))
    }

    pub(crate) fn object(&self, key: &str) -> S3Result<Arc<Object>> {
        read(&self.objects).get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    pub(crate) fn objects(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Object>>> {
        read(&self.objects)
    }

    /// Puts `part` in place as the whole object, if `allow` lets it given what is there now.
    ///
    /// The bytes must be durable (fsync) before.
    pub(crate) fn put_object(
        &self,
        record: ObjectRecord,
        file: Arc<Claimed>,
        allow: impl FnOnce(Option<&Object>) -> S3Result<()>,
    ) -> S3Result<()> {
        let _exists = self.enter()?;
        let _key = self.key_locks.lock(&record.key);
        let current = read(&self.objects).get(&record.key).cloned();
        allow(current.as_deref())?;
        disk::sync_folder(&self.folder.path().join("parts")).map_err(disk_error)?;
        self.commit(Object { record, files: vec![file] })
    }

    /// Writes the object's record and shows it. The caller holds the key's lock.
    fn commit(&self, object: Object) -> S3Result<()> {
        let key = object.record.key.clone();
        let record = PreparedRecord::write(self.object_path(&key), &object.record).map_err(disk_error)?;
        // From here on the disk may speak of the files; should the commit fail half-way, only recovery can tell.
        object.files.iter().for_each(|file| file.keep());
        record.commit().map_err(disk_error)?;
        let object = Arc::new(object);
        let previous = write(&self.objects).insert(key, Arc::clone(&object));
        if let Some(previous) = previous {
            Claimed::discard_all_but(&object.files, &previous.files);
        }
        Ok(())
    }

    /// Gives the object other tags.
    pub(crate) fn retag_object(&self, key: &str, tags: Tags) -> S3Result<()> {
        let _exists = self.enter()?;
        let _key = self.key_locks.lock(key);
        let current = self.object(key)?;
        let record = ObjectRecord { tags, ..current.record.clone() };
        self.commit(Object { record, files: current.files.clone() })
    }

    /// Deletes the object, if there is one and `allow` lets it.
    pub(crate) fn delete_object(&self, key: &str, allow: impl FnOnce(Option<&Object>) -> S3Result<()>) -> S3Result<()> {
        let _exists = self.enter()?;
        let _key = self.key_locks.lock(key);
        let current = read(&self.objects).get(key).cloned();
        allow(current.as_deref())?;
        if let Some(object) = current {
            disk::remove_record(&self.object_path(key)).map_err(disk_error)?;
            write(&self.objects).remove(key);
            object.files.iter().for_each(|file| file.discard());
        }
        Ok(())
    }

    pub(crate) fn uploads(&self) -> RwLockReadGuard<'_, BTreeMap<(String, String), Arc<Upload>>> {
        read(&self.uploads)
    }

    pub(crate) fn upload(&self, key: &str, id: &str) -> S3Result<Arc<Upload>> {
        let name = (key.to_owned(), id.to_owned());
        read(&self.uploads).get(&name).cloned().ok_or_else(|| s3_error!(NoSuchUpload))
    }

    pub(crate) fn create_upload(&self, record: UploadRecord) -> S3Result<()> {
        let _exists = self.enter()?;
        disk::write_record(self.upload_path(&record.id), &record).map_err(disk_error)?;
        let name = (record.key.clone(), record.id.clone());
        write(&self.uploads).insert(name, Arc::new(Upload::new(record, BTreeMap::new())));
        Ok(())
    }

    /// Adds the part, in place of any earlier part of its number. Its bytes must be durable (fsync) before.
    pub(crate) fn put_part(&self, upload: &Upload, part: StoredPart) -> S3Result<()> {
        let _exists = self.enter()?;
        let open = read(&upload.gate);
        if !*open {
            return Err(s3_error!(NoSuchUpload));
        }
        let number = part.record.number;
        let _number = upload.part_locks.lock(&number);
        let path = self.part_path(&upload.record.id, number);
        let record = PreparedRecord::write(path, &part.record).map_err(disk_error)?;
        part.file.keep();
        // Also makes the name of the part's file durable: both are in `parts/`.
        record.commit().map_err(disk_error)?;
        if let Some(replaced) = write(&upload.parts).insert(number, part) {
            replaced.file.discard();
        }
        Ok(())
    }

    /// Turns the upload into an object: `assemble` sees the parts and what is at the key now, and gives the object's
    /// record or the reason to refuse, which leaves the upload as it was.
    ///
    /// A repetition finds the object that the upload became.
    pub(crate) fn complete_upload(
        &self,
        key: &str,
        id: &str,
        assemble: impl FnOnce(&Upload, Option<&Object>) -> S3Result<ObjectRecord>,
    ) -> S3Result<Arc<Object>> {
        let _exists = self.enter()?;
        let Ok(upload) = self.upload(key, id) else {
            return self.object_of_upload(key, id);
        };
        let mut open = write(&upload.gate);
        if !*open {
            return self.object_of_upload(key, id);
        }
        let _key = self.key_locks.lock(key);
        let current = read(&self.objects).get(key).cloned();
        // Already so if an earlier try committed the object and then failed to remove the upload's record.
        if !current.as_ref().is_some_and(|object| object.is_of_upload(id)) {
            let record = assemble(&upload, current.as_deref())?;
            let files = upload.files_of(&record)?;
            self.commit(Object { record, files })?;
        }
        // The object is durable, so from here on this is a success; the upload's record must go before the answer,
        // or a crash after the object is overwritten would bring the upload back.
        disk::remove_record(&self.upload_path(id)).map_err(disk_error)?;
        *open = false;
        write(&self.uploads).remove(&(key.to_owned(), id.to_owned()));
        let object = self.object(key)?;
        self.discard_parts(&upload, &object.files);
        Ok(object)
    }

    fn object_of_upload(&self, key: &str, id: &str) -> S3Result<Arc<Object>> {
        self.object(key).ok().filter(|object| object.is_of_upload(id)).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// Ends the upload and discards its parts. Waits for parts being committed; later ones find no upload.
    pub(crate) fn abort_upload(&self, key: &str, id: &str) -> S3Result<()> {
        let _exists = self.enter()?;
        let upload = self.upload(key, id)?;
        let mut open = write(&upload.gate);
        if !*open {
            return Err(s3_error!(NoSuchUpload));
        }
        disk::remove_record(&self.upload_path(id)).map_err(disk_error)?;
        *open = false;
        write(&self.uploads).remove(&(key.to_owned(), id.to_owned()));
        self.discard_parts(&upload, &[]);
        Ok(())
    }

    /// Clears up after an upload whose record is gone.
    fn discard_parts(&self, upload: &Upload, keep: &[Arc<Claimed>]) {
        let parts = std::mem::take(&mut *write(&upload.parts));
        Claimed::discard_all_but(keep, parts.values().map(|part| &part.file));
        for number in parts.into_keys() {
            self.reaper.remove(self.part_path(&upload.record.id, number));
        }
    }

    fn object_path(&self, key: &str) -> PathBuf {
        self.folder.path().join("objects").join(format!("{}.json", hex::encode(Sha256::checksum(key.as_bytes()))))
    }

    fn upload_path(&self, id: &str) -> PathBuf {
        self.folder.path().join("uploads").join(format!("{id}.json"))
    }

    fn part_path(&self, id: &str, number: i32) -> PathBuf {
        self.folder.path().join("parts").join(format!("{id}.{number}.json"))
    }
}
