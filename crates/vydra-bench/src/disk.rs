//! Yardstick: how often a second the disk takes 4 KiB for good, the bound of whoever acknowledges one thing at a time.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::load::percentile;
use crate::system;

const BLOCK: usize = 4_096;
/// Written over and over, as a write-ahead log is.
const BLOCKS: u64 = 256;

#[derive(Debug)]
pub struct Synced {
    pub rate: f64,
    pub p50: f64,
}

/// Write and fdatasync of a file in `folder`, one after the other.
pub fn synced_writes(folder: &Path, span: Duration) -> anyhow::Result<Synced> {
    let mut file = File::create(folder.join("fsync"))?;
    let block = [0x5a; BLOCK];
    for _ in 0..BLOCKS {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let begin = Instant::now();
    let mut latencies = Vec::new();
    for number in 0_u64.. {
        let began = Instant::now();
        if began.duration_since(begin) >= span {
            break;
        }
        file.seek(SeekFrom::Start(number % BLOCKS * 4_096))?;
        file.write_all(&block)?;
        file.sync_data()?;
        latencies.push(u64::try_from(began.elapsed().as_nanos())?);
    }
    let rate = system::float(u64::try_from(latencies.len())?) / begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(Synced {
        rate,
        p50: percentile(&latencies, 50),
    })
}
