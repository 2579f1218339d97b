use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::folder::named;
use crate::exec::MAX_LOG;

/// How much of a log is kept, in two files of half of it each: 16 MiB. What a command says last says most.
const KEPT: u64 = 16 << 20;

/// The log of a command. Writing to it never fails: a full disk is no reason to hold the command up.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    file: Option<File>,
    /// Bytes in the newer file.
    size: u64,
    /// Bytes that came before it.
    before: u64,
}

/// Opens the newer file, to append to it.
pub(super) fn open(folder: &Path) -> io::Result<File> {
    let path = folder.join("log");
    let file = File::options().append(true).create(true).mode(0o600).open(&path);
    file.map_err(|error| named(&error, &path))
}

impl Log {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), file: open(folder).ok(), size: 0, before: 0 }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.size > 0 && self.size + bytes.len() as u64 > KEPT / 2 {
            self.turn();
        }
        self.size += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            let _ = file.write_all(bytes);
        }
    }

    /// Makes the newer file the older one.
    fn turn(&mut self) {
        self.before += std::mem::take(&mut self.size);
        // Closed first: a file that cannot be put aside is not written on.
        self.file = None;
        let (newer, older) = (self.folder.join("log"), self.folder.join("log.1"));
        self.file = fs::rename(newer, older).and_then(|()| open(&self.folder)).ok();
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "[millrace: {} bytes before this; the last 16 MiB are kept]", self.before);
        }
    }
}

/// The end of a log: at most [`MAX_LOG`] bytes of it, from the start of a line where there is one.
pub(super) fn tail(folder: &Path) -> io::Result<String> {
    let mut bytes = end_of(&folder.join("log"), MAX_LOG)?;
    if bytes.len() < MAX_LOG
        && let Ok(mut older) = end_of(&folder.join("log.1"), MAX_LOG - bytes.len())
    {
        older.append(&mut bytes);
        bytes = older;
    }
    Ok(text(&bytes))
}

/// One byte more than asked for, where there is one: so that it shows that something comes before.
fn end_of(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most as u64 + 1)))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if bytes.len() <= MAX_LOG && text.len() <= MAX_LOG {
        return text.into_owned();
    }
    // What is not UTF-8 has grown.
    let start = text.ceil_char_boundary(text.len().saturating_sub(MAX_LOG));
    let (before, end) = text.split_at(start);
    match end.find('\n') {
        Some(line) if !before.ends_with('\n') && line + 1 < end.len() => end[line + 1..].to_owned(),
        _ => end.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_begins_with_a_line_where_it_can() {
        assert_eq!(text(b"a\nb"), "a\nb");
        let lines = "0123456789\n".repeat(MAX_LOG / 11 + 2);
        let cut = text(lines.as_bytes());
        assert!(cut.len() <= MAX_LOG && cut.len() > MAX_LOG - 11 && cut.starts_with('0'));
        let exact = format!("x\n{}", "y".repeat(MAX_LOG));
        assert_eq!(text(exact.as_bytes()), "y".repeat(MAX_LOG), "the whole of a line that just fits");
        let line = "y".repeat(MAX_LOG + 1);
        assert_eq!(text(line.as_bytes()).len(), MAX_LOG, "of a line without an end there is still the end");
        let tail = text(&vec![0xFF; MAX_LOG]);
        assert!(tail.len() <= MAX_LOG && tail.chars().all(|it| it == char::REPLACEMENT_CHARACTER));
    }

    #[test]
    fn the_end_of_a_log_is_kept_and_its_size_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path());
        let line = vec![b'x'; 1 << 16];
        for _ in 0..(3 * KEPT) >> 16 {
            log.write(&line);
        }
        log.write(b"\nlast words\n");
        let kept: u64 = ["log", "log.1"].map(|name| fs::metadata(folder.path().join(name)).unwrap().len()).iter().sum();
        assert!(kept > KEPT / 2 && kept < KEPT + (1 << 10), "{kept}");
        let tail = tail(folder.path()).unwrap();
        assert!(tail.ends_with("last words\n") && tail.len() <= MAX_LOG);
    }

    #[test]
    fn a_tail_goes_on_into_the_older_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("log.1"), "first\nsecond\n").unwrap();
        fs::write(folder.path().join("log"), "third\n").unwrap();
        assert_eq!(tail(folder.path()).unwrap(), "first\nsecond\nthird\n");
    }
}
