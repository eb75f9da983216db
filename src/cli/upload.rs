//! `partita upload`: files, folders and standard input to S3.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::Args;
use futures_util::{StreamExt, stream};
use globset::{Glob, GlobSet, GlobSetBuilder};
use walkdir::WalkDir;

use super::ending::{Failure, print, printable};
use super::sending::{self, Sending};
use crate::client::{Earlier, Error, File, Kind, STREAM_PART, Stream, Wanted};

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// Files, folders (with --recursive), or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Take folders, with all that is in them; links within are not followed
    #[arg(short, long)]
    recursive: bool,
    /// Within folders, only files whose path in the folder matches this, such as '*.mov' or 'raw/**'; may be given several times
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Within folders, no files whose path in the folder matches this; counts for more than --include
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// The name that the download has, of standard input or of a single file
    #[arg(long)]
    name: Option<String>,
    /// The media type that the download has [default: by the name]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The service's named rules to upload under
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Bytes of each part, such as 64MiB: 5 MiB to 5 GiB in whole MiB [default: the service chooses; 64 MiB of standard input]
    #[arg(long, value_name = "SIZE")]
    part_size: Option<String>,
    /// Have S3 check every part as it comes: CRC64NVME, CRC32C or SHA256. Reads every file twice
    #[arg(long, value_name = "ALGORITHM")]
    part_checksum: Option<String>,
    /// What to keep with the object; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Begin anew, even if an upload of the same file under the same name was begun
    #[arg(long)]
    new: bool,
    /// Leave out a file that an upload of the same bytes under the same name has completed: for a folder that is uploaded again.
    /// Such files are read to be compared, and count as uploaded
    #[arg(long, conflicts_with = "new")]
    skip_completed: bool,
    /// Only tell what would be uploaded
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sending: sending::How,
}

/// The table is part of the interface.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    all is done
  1    it, or one of several files, was refused
  2    it was not asked for rightly
  3    the key or token is not good, or not good for this
  4    there is no such upload or file
  5    it went wrong for now: run it again, and what was begun goes on where it was
  6    bytes are not what they should be
  130  stopped by Ctrl-C or SIGTERM; the uploads are kept, and the commands that go on are printed
With several files the code is 1, unless all that failed did so for one reason.";

/// A longer path within its folder is not kept with the object: all of its metadata together may have 1,536 bytes.
const LONGEST_WITHIN: usize = 1_024;

/// What standard input is called.
const STDIN: [&str; 4] = ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/// One of the things to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    path: PathBuf,
    /// Bytes; unknown of what can be read but once.
    size: Option<u64>,
    /// Within the folder that was named, for files that are not at its top.
    within: Option<String>,
}

impl Item {
    /// As it is told, and as it is named when it is to be gone on with.
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn is_stream(&self) -> bool {
        self.size.is_none()
    }
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let items = flags.items()?;
    if items.is_empty() {
        return Err(Failure::usage("nothing to upload: no file in the folders matches"));
    }
    if flags.name.is_some() && items.len() > 1 {
        return Err(Failure::usage("--name is for one file"));
    }
    if flags.dry_run {
        items.iter().for_each(|item| print(&printable(&item.name())));
        return Ok(());
    }
    let part_size = flags.part_size.as_deref().map(bytes).transpose()?;
    let Flags { name, content_type, preset, part_checksum, metadata, new, skip_completed, sending, .. } = flags;
    let earlier = match (new, skip_completed) {
        (true, _) => Earlier::Ignored,
        (_, true) => Earlier::OrCompleted,
        _ => Earlier::Unfinished,
    };
    let size = items.iter().map(|item| item.size).sum();
    let sending = Sending::begin(sending, items.len(), size)?;
    let part_size = match (part_size, &sending.preferences.part_size) {
        (None, Some(preferred)) => Some(bytes(preferred)?),
        (given, _) => given,
    };
    let preset = preset.or_else(|| sending.preferences.preset.clone());
    let metadata: BTreeMap<String, String> = metadata.into_iter().collect();
    let wanted = |item: &Item| {
        let own = item.path.file_name().map_or("stdin".into(), |name| name.to_string_lossy());
        let filename =
            name.clone().unwrap_or_else(|| if item.path == Path::new("-") { "stdin".into() } else { own.into() });
        let guessed = || mime_guess::from_path(&filename).first().map(|guess| guess.to_string());
        let mut metadata = metadata.clone();
        if let Some(path) = item.within.as_ref().filter(|path| as_sent(path) <= LONGEST_WITHIN) {
            metadata.entry("path".to_owned()).or_insert_with(|| path.clone());
        }
        let (content_type, preset) = (content_type.clone().or_else(guessed), preset.clone());
        Wanted { filename, content_type, preset, part_size, part_checksum: part_checksum.clone(), metadata }
    };
    let count = items.len();
    let upload = |item: Item| {
        let (sending, wanted) = (&sending, wanted(&item));
        async move {
            let name = item.name();
            let file = sending.progress.file(&name, item.size);
            let transfer = sending.of(&file);
            let input = source(&item, part_size);
            let is_stream = matches!(input, Ok(Input::Stream(_)));
            let outcome = match input {
                _ if transfer.stop.is_cancelled() => Err(Error::interrupted()),
                Ok(Input::File(source)) => transfer.upload(source, &wanted, earlier).await,
                Ok(Input::Stream(stream)) => transfer.stream(stream, &wanted).await,
                Err(error) => Err(error),
            };
            sending.end(&file, &item.path, is_stream, outcome).await.err().map(|error| error.kind)
        }
    };
    let at_once = sending.gate.most();
    let failed: Vec<Kind> = stream::iter(items)
        .map(upload)
        .buffer_unordered(at_once)
        .filter_map(|kind| async move { kind })
        .collect()
        .await;
    sending.progress.end();
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            let is_stopped = failed.contains(&Kind::Interrupted);
            let kind = if is_stopped { Some(Kind::Interrupted) } else { Some(*first) };
            let kind = kind.filter(|kind| is_stopped || failed.iter().all(|failed| failed == kind));
            Err(Failure::Some { failed: failed.len(), of: count, kind })
        }
    }
}

enum Input {
    File(File),
    Stream(Stream),
}

fn source(item: &Item, part_size: Option<u64>) -> Result<Input, Error> {
    let part_size = part_size.unwrap_or(STREAM_PART);
    if item.path == Path::new("-") {
        return Ok(Input::Stream(Stream::new(|| Ok(std::io::stdin()), part_size)));
    }
    // What the kernel makes up has no size until it is read.
    let has_bytes =
        || std::fs::File::open(&item.path).and_then(|mut file| file.read(&mut [0])).is_ok_and(|read| read > 0);
    if item.is_stream() || (item.size == Some(0) && has_bytes()) {
        let path = item.path.clone();
        return Ok(Input::Stream(Stream::new(move || std::fs::File::open(path), part_size)));
    }
    File::open(&item.path).map(Input::File).map_err(|error| Error::unreadable(&item.name(), &error))
}

impl Flags {
    /// What the paths stand for, each once.
    fn items(&self) -> Result<Vec<Item>, Failure> {
        let (include, exclude) = (globs(&self.include)?, globs(&self.exclude)?);
        let mut items = Vec::new();
        for path in &self.paths {
            if path == Path::new("-") {
                items.push(Item { path: path.clone(), size: None, within: None });
                continue;
            }
            let about =
                std::fs::metadata(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            if !about.is_dir() {
                // A pipe is read as standard input is.
                let size = about.is_file().then_some(about.len());
                items.push(Item { path: path.clone(), size, within: None });
                continue;
            }
            if !self.recursive {
                return Err(Failure::usage(format!(
                    "{} is a folder; give --recursive to take what is in it",
                    path.display()
                )));
            }
            for entry in WalkDir::new(path).sort_by_file_name() {
                let entry = entry.map_err(|error| Failure::usage(error.to_string()))?;
                let within = entry.path().strip_prefix(path).unwrap_or(entry.path());
                let is_wanted = (include.is_empty() || include.is_match(within)) && !exclude.is_match(within);
                if !entry.file_type().is_file() || !is_wanted {
                    continue;
                }
                let size = entry.metadata().map_err(|error| Failure::usage(error.to_string()))?.len();
                let is_deep = within.components().count() > 1;
                let name = is_deep.then(|| within.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/"));
                items.push(Item { path: entry.path().to_owned(), size: Some(size), within: name });
            }
        }
        let is_stdin = |item: &&Item| STDIN.iter().any(|name| item.path == Path::new(name));
        let streams = items.iter().filter(is_stdin).count();
        if streams > 1 || (streams == 1 && self.sending.connection.reads_stdin()) {
            return Err(Failure::usage("standard input can be read but once"));
        }
        let mut seen = std::collections::HashSet::new();
        items.retain(|item| seen.insert(item.path.clone()));
        Ok(items)
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, Failure> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(|error| Failure::usage(error.to_string()))?);
    }
    set.build().map_err(|error| Failure::usage(error.to_string()))
}

fn bytes(text: &str) -> Result<u64, Failure> {
    let size: ByteSize = text.parse().map_err(|_| Failure::usage(format!("{text} is no size; such as 64MiB")))?;
    let (size, mib) = (size.as_u64(), 1 << 20);
    if !(5 * mib..=5 << 30).contains(&size) || size % mib != 0 {
        return Err(Failure::usage(format!("{text} is no size of a part: 5MiB to 5GiB, in whole MiB")));
    }
    Ok(size)
}

/// Bytes of metadata in a request to S3, where what is not ASCII takes three times its own.
fn as_sent(text: &str) -> usize {
    text.bytes().map(|byte| if byte.is_ascii() { 1 } else { 3 }).sum()
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
