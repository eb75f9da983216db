//! The fingerprint by which any client finds the upload of a file again.

use std::io;

use crc_fast::{CrcAlgorithm, Digest};

use super::File;

const MIB: u64 = 1 << 20;

/// `p1-<size>-<CRC64NVME, 16 hex digits>` of the first, the middle and the last MiB, one after the other; of the whole file up to 3
/// MiB. The middle one begins at ⌊(size − 1 MiB) / 2⌋.
///
/// # Errors
/// When the file cannot be read.
pub fn fingerprint(file: &File) -> io::Result<String> {
    let size = file.size();
    let pieces =
        if size <= 3 * MIB { vec![(0, size)] } else { vec![(0, MIB), ((size - MIB) / 2, MIB), (size - MIB, MIB)] };
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    for (at, length) in pieces {
        file.read(at, length, |bytes| digest.update(bytes))?;
    }
    Ok(format!("p1-{size}-{:016x}", digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).expect("written");
        fingerprint(&File::open(&path).expect("a file")).expect("read")
    }

    #[test]
    fn it_is_the_contracts_at_every_border() {
        let whole = |bytes: &[u8]| format!("p1-{}-{:016x}", bytes.len(), crc_fast::crc64_nvme(bytes));
        let bytes: Vec<u8> = (0..3 * MIB + 2).map(|at| ((at * 31) >> 3) as u8).collect();
        for size in [0, 1, 9, MIB, 3 * MIB - 1, 3 * MIB] {
            let bytes = &bytes[..size as usize];
            assert_eq!(of(bytes), whole(bytes), "{size}");
        }
        assert_eq!(of(b"123456789"), "p1-9-ae8b14860a799888");
        for size in [3 * MIB + 1, 3 * MIB + 2] {
            let bytes = &bytes[..size as usize];
            let (mib, middle) = (MIB as usize, ((size - MIB) / 2) as usize);
            let pieces = [&bytes[..mib], &bytes[middle..middle + mib], &bytes[bytes.len() - mib..]].concat();
            assert_eq!(of(bytes), format!("p1-{size}-{:016x}", crc_fast::crc64_nvme(&pieces)), "{size}");
        }
    }
}
