//! Reads BTF from the running kernel or a file. Knows nothing about its content.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use collector_core::btf::Btf;

use super::error::{LayoutError, VMLINUX};

/// Size limit in bytes; no kernel's BTF comes near it.
const MAX_BYTES: u64 = 256 << 20;

/// Reads the BTF in the file at `path`, or the running kernel's.
pub fn load(path: Option<&Path>) -> Result<Btf, LayoutError> {
    let file = path.unwrap_or(Path::new(VMLINUX));
    let bytes = match read(file) {
        Err(why) if path.is_none() && why.kind() == io::ErrorKind::NotFound => return Err(LayoutError::NoBtf),
        read => read.map_err(|why| LayoutError::Unreadable(file.into(), why))?,
    };
    parse(bytes).map_err(|why| LayoutError::NotBtf(file.into(), why))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or device might block or never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than any kernel's BTF"));
    }
    Ok(bytes)
}

fn parse(bytes: impl Into<Box<[u8]>>) -> Result<Btf, String> {
    let bytes = bytes.into();
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    Btf::parse(bytes).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kernel::layout::{resolve, tests::fixture};

    fn refused(path: &Path) -> String {
        load(Some(path)).err().unwrap().to_string()
    }

    #[test]
    fn an_unreadable_file_gives_the_reason() {
        assert!(
            refused(Path::new("/nonexistent.btf")).starts_with("cannot read the kernel's BTF from /nonexistent.btf: ")
        );
        assert!(refused(Path::new("/")).ends_with("not a regular file"));
        assert!(refused(Path::new("/dev/zero")).ends_with("not a regular file"));
        assert!(refused(Path::new("/dev/null")).ends_with("not a regular file"));
        assert!(
            refused(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).contains("Cargo.toml is not BTF: ")
        );
        assert!(
            LayoutError::NoBtf.to_string().contains("CONFIG_DEBUG_INFO_BTF")
                && LayoutError::NoBtf.to_string().contains("--btf FILE")
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = fixture("6.12");
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{end}");
        }
        assert!(parse(bytes).is_ok());
    }

    #[test]
    fn a_header_that_is_wrong_is_an_error() {
        // Magic, version, flags, and the lengths of the types and the strings.
        for at in [0, 1, 2, 3, 14, 15, 22, 23] {
            let mut bytes = fixture("6.12");
            bytes[at] ^= 0x55;
            assert!(parse(bytes).is_err(), "{at}");
        }
    }

    #[test]
    fn noise_is_an_error() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        for length in 1..2000 {
            let mut noise: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 56) as u8
                })
                .collect();
            assert!(parse(&noise[..]).is_err());
            // After a valid header some noise may parse; then resolving must fail.
            let header = fixture("6.12")[..24].to_vec();
            noise.splice(..0, header);
            assert!(
                parse(&noise[..]).is_err_and(|why| !why.is_empty())
                    || parse(&noise[..]).is_ok_and(|btf| resolve(&btf).is_err())
            );
        }
    }
}
