//! Rebuilding the index from the records, and sweeping what a crash left behind.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::bucket::{Bucket, Object, StoredPart, Upload};
use super::disk::{self, Claimed, Reaper};
use super::records::{BucketRecord, FORMAT, ObjectRecord, PartRecord, UploadRecord};

/// Everything in one bucket's folder, before any of it is removed.
#[derive(Default)]
struct Found {
    objects: BTreeMap<String, ObjectRecord>,
    uploads: BTreeMap<String, UploadRecord>,
    /// By upload id and number.
    parts: BTreeMap<(String, i32), PartRecord>,
}

pub(super) fn read_buckets(folder: &Path, reaper: &Reaper) -> io::Result<BTreeMap<String, Arc<Bucket>>> {
    let mut buckets = BTreeMap::new();
    for name in names(folder)? {
        let folder = folder.join(name);
        let record_path = folder.join("bucket.json");
        if !record_path.try_exists()? {
            // Its creation or its removal was cut off.
            fs::remove_dir_all(&folder)?;
            continue;
        }
        let record: BucketRecord = read_record(&record_path)?;
        if record.format != FORMAT {
            let message = format!("{} has format {}, not {FORMAT}", record_path.display(), record.format);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let found = read_bucket(&folder)?;
        let bucket = rebuild(record, &folder, reaper, found)?;
        buckets.insert(bucket.name().to_owned(), Arc::new(bucket));
    }
    Ok(buckets)
}

fn read_bucket(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for name in names(&folder.join("objects"))? {
        if name.ends_with(".json") {
            let object: ObjectRecord = read_record(&folder.join("objects").join(name))?;
            found.objects.insert(object.key.clone(), object);
        }
    }
    for name in names(&folder.join("uploads"))? {
        if name.ends_with(".json") {
            let upload: UploadRecord = read_record(&folder.join("uploads").join(name))?;
            found.uploads.insert(upload.id.clone(), upload);
        }
    }
    // A Complete that committed its object and went no further: the upload is done.
    found.uploads.retain(|id, upload| {
        let object = found.objects.get(&upload.key);
        !object
            .is_some_and(|object| matches!(&object.origin, super::Origin::Multipart { upload_id } if upload_id == id))
    });
    for name in names(&folder.join("parts"))? {
        let Some((id, number)) = name.strip_suffix(".json").and_then(|stem| stem.split_once('.')) else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        if found.uploads.contains_key(id) {
            let part: PartRecord = read_record(&folder.join("parts").join(&name))?;
            // A part is acknowledged after its bytes are durable, so one without them was never acknowledged.
            let bytes = fs::metadata(folder.join("parts").join(&part.file)).map(|file| file.len());
            if bytes.is_ok_and(|size| size == part.size) {
                found.parts.insert((id.to_owned(), number), part);
            } else {
                tracing::warn!(upload = id, part = number, "dropped a part whose bytes had not reached the disk");
            }
        }
    }
    Ok(found)
}

fn rebuild(record: BucketRecord, folder: &Path, reaper: &Reaper, found: Found) -> io::Result<Bucket> {
    sweep(folder, &found)?;
    let parts_folder = folder.join("parts");
    let folder = Claimed::kept(folder.to_owned(), reaper, None);
    let file = |part: &PartRecord| Claimed::kept(parts_folder.join(&part.file), reaper, Some(Arc::clone(&folder)));
    let object = |(key, record): (String, ObjectRecord)| {
        let files = record.parts.iter().map(file).collect();
        (key, Arc::new(Object { record, files }))
    };
    let objects = found.objects.into_iter().map(object).collect();
    let mut parts: BTreeMap<String, BTreeMap<i32, StoredPart>> = BTreeMap::new();
    for ((id, number), record) in found.parts {
        let file = file(&record);
        parts.entry(id).or_default().insert(number, StoredPart { record, file });
    }
    let upload = |(id, record): (String, UploadRecord)| {
        let parts = parts.remove(&id).unwrap_or_default();
        ((record.key.clone(), id), Arc::new(Upload::new(record, parts)))
    };
    let uploads = found.uploads.into_iter().map(upload).collect();
    Ok(Bucket::new(record, Arc::clone(&folder), reaper, objects, uploads))
}

/// Removes unfinished records, records of ended uploads, and bytes no record speaks of.
fn sweep(folder: &Path, found: &Found) -> io::Result<()> {
    remove_others(&folder.join("objects"), |name| name.ends_with(".json"))?;
    remove_others(&folder.join("uploads"), |name| {
        name.strip_suffix(".json").is_some_and(|id| found.uploads.contains_key(id))
    })?;
    let mut wanted: HashSet<String> = HashSet::new();
    for part in found.objects.values().flat_map(|object| &object.parts) {
        wanted.insert(part.file.clone());
    }
    for ((id, number), part) in &found.parts {
        wanted.insert(part.file.clone());
        wanted.insert(format!("{id}.{number}.json"));
    }
    remove_others(&folder.join("parts"), |name| wanted.contains(name))
}

fn remove_others(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    for name in names(folder)?.iter().filter(|name| !wanted(name)) {
        fs::remove_file(folder.join(name))?;
    }
    // Or an upload that is done now could be back after a power cut, when its object is another.
    disk::sync_folder(folder)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn read_record<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the record {} cannot be understood: {error}", path.display()),
        )
    })
}
