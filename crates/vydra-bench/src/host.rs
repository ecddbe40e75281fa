//! On what was measured: the machine, the tools and the state of the sources.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::system;

#[derive(Debug)]
pub struct Host {
    pub date: String,
    processor: String,
    cores: usize,
    memory: String,
    kernel: String,
    disk: String,
    synced: String,
    rustc: String,
    store: String,
    commit: String,
    binary: String,
}

impl Host {
    /// `synced` tells how fast the disk was, `place` where on it the data were, `store` in what database.
    pub fn look(place: &Path, binary: &Path, synced: String, store: String) -> Self {
        let date = system::now().to_string().chars().take(10).collect();
        let line = |path: &str, start: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let found = text.lines().find(|line| line.starts_with(start));
            found.and_then(|line| line.split_once(':')).map_or_else(
                || "unknown".to_owned(),
                |(_, value)| value.trim().to_owned(),
            )
        };
        let mut commit = said("git", &["rev-parse", "--short", "HEAD"]);
        if !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
            commit.push_str(" with changes");
        }
        let size = fs::metadata(binary).map_or(0, |file| file.len());
        Self {
            date,
            processor: line("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory: memory(&line("/proc/meminfo", "MemTotal")),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            disk: filesystem(
                &fs::read_to_string("/proc/self/mounts").unwrap_or_default(),
                place,
            ),
            synced,
            rustc: said("rustc", &["--version"]),
            store,
            commit,
            binary: format!("{:.1} MiB", system::float(size) / 1_048_576.0),
        }
    }

    pub fn facts(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "processor",
                format!("{}, {} cores", self.processor, self.cores),
            ),
            ("memory", self.memory.clone()),
            ("kernel", self.kernel.clone()),
            ("file system", self.disk.clone()),
            ("4 KiB write + fdatasync", self.synced.clone()),
            ("rustc", self.rustc.clone()),
            ("database", self.store.clone()),
            ("commit", self.commit.clone()),
            ("binary", self.binary.clone()),
        ]
    }

    /// For the name of a file: `2-amd-epyc-7b13`.
    pub fn short(&self) -> String {
        let words: Vec<String> = self
            .processor
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty() && !["R", "TM", "CPU", "Processor"].contains(word))
            .take(4)
            .map(str::to_ascii_lowercase)
            .collect();
        format!("{}-{}", self.cores, words.join("-"))
    }
}

fn said(program: &str, words: &[&str]) -> String {
    Command::new(program)
        .args(words)
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn memory(kib: &str) -> String {
    let number = kib
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok());
    number.map_or_else(
        || kib.to_owned(),
        |kib: u64| format!("{:.1} GiB", system::float(kib) / 1_048_576.0),
    )
}

/// The kind of file system that holds `place`.
fn filesystem(mounts: &str, place: &Path) -> String {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| place.starts_with(point))
        // Of two on one point the later one is on top.
        .max_by_key(|(point, _)| point.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// Whether the files of `place` are in memory alone.
pub fn is_in_memory(place: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    ["tmpfs", "ramfs"].contains(&filesystem(&mounts, place).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_tells_the_file_system() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nsys /tmporary sysfs rw 0 0\n";
        let of = |place| filesystem(mounts, Path::new(place));
        assert_eq!(
            [of("/srv/x"), of("/tmp/x"), of("/tmporary")],
            ["ext4", "tmpfs", "sysfs"]
        );
    }
}
