//! Where an attempt writes its log: masked, line by line, into the shelf. Secrets that become known on the
//! way are masked from then on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use slipway_domain::failure::{Failure, FailureClass};
use slipway_logfmt::chunk::{MAX_CHUNK_BYTES, Stream};
use slipway_logfmt::compose::Composer;
use slipway_logfmt::mask::{Masker, Secrets};
use slipway_runtime::clock::Clock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::shelf::Shelf;

mod overflow;
mod tail;

use overflow::{Fate, Overflow, Piece};
use tail::Tails;

/// A line without an end is shown after this long.
const WAITING_LINE: TimeDelta = TimeDelta::milliseconds(250);

/// One attempt's log while it is written.
#[derive(Debug)]
pub struct AttemptLog {
    clock: Clock,
    shelf: Arc<Shelf>,
    halted: CancellationToken,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    composer: Composer,
    values: Vec<String>,
    secrets: Secrets,
    maskers: BTreeMap<(u32, Stream), Masker>,
    overflow: Overflow,
    tails: Tails,
    /// Why nothing is written any more.
    broken: Option<Failure>,
}

impl AttemptLog {
    /// An empty log over an empty shelf, of at most so many bytes. Once `halted`, nobody waits for room any more.
    pub fn new(clock: Clock, shelf: Arc<Shelf>, halted: CancellationToken, max_bytes: u64) -> Self {
        let secrets = Secrets::default();
        // Masking happens here and not in the composer, because its secrets cannot grow.
        let composer = Composer::new(secrets.clone());
        let (values, maskers, overflow) = (Vec::new(), BTreeMap::new(), Overflow::new(max_bytes));
        let writer = Writer { composer, values, secrets, maskers, overflow, tails: Tails::default(), broken: None };
        Self { clock, shelf, halted, writer: Mutex::new(writer) }
    }

    /// Masks these values in everything that is written from now on.
    pub fn hide(&self, values: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        let at = self.clock.now();
        let mut writer = self.writer();
        writer.values.extend(values);
        let secrets = Secrets::new(&writer.values)
            .map_err(|error| Failure::new(FailureClass::Internal, format!("The log cannot be masked: {error}.")))?;
        // What the old maskers held back is said by the old rules; the new values were not known then.
        writer.release(None, at);
        writer.secrets = secrets;
        self.store(&mut writer)
    }

    /// What a step wrote. Waits while too much is not yet durable.
    pub async fn write(&self, step: u32, stream: Stream, bytes: &[u8]) -> Result<(), Failure> {
        tokio::select! {
            () = self.shelf.room() => {}
            () = self.halted.cancelled() => {}
        }
        let at = self.clock.now();
        let mut writer = self.writer();
        let Writer { secrets, maskers, .. } = &mut *writer;
        let masked = maskers.entry((step, stream)).or_insert_with(|| secrets.masker()).push(bytes);
        writer.put((step, stream, masked), at);
        self.store(&mut writer)
    }

    /// A line of ours about a step, or about the attempt with step 0.
    pub fn meta(&self, step: u32, line: &str) -> Result<(), Failure> {
        let at = self.clock.now();
        let mut writer = self.writer();
        let line = writer.secrets.mask(line.as_bytes());
        writer.composer.meta(step, at, &String::from_utf8_lossy(&line));
        self.store(&mut writer)
    }

    /// A step ended: nothing of it waits any more.
    pub fn end_step(&self, step: u32) -> Result<(), Failure> {
        let at = self.clock.now();
        let mut writer = self.writer();
        writer.release(Some(step), at);
        writer.composer.end_step(step, at);
        self.store(&mut writer)
    }

    /// No step writes any more: what was kept of the end of a log that is too long is written.
    pub fn end_output(&self) -> Result<(), Failure> {
        let at = self.clock.now();
        let mut writer = self.writer();
        writer.put_end(at);
        self.store(&mut writer)
    }

    /// So many bytes are left out of a log that is too long, once its end is written.
    pub fn left_out_bytes(&self) -> u64 {
        self.writer().overflow.left_out()
    }

    /// The last lines of a step that ended, oldest first: at most 20 of them, and 4 KiB, without escape sequences.
    /// Masked once more, because what was known late, or hidden by such a sequence, stands in the log.
    pub fn last_lines(&self, step: u32) -> Vec<String> {
        let writer = self.writer();
        let text = writer.secrets.mask(writer.tails.of(step).join("\n").as_bytes());
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// A text without the values that are secret.
    pub fn masked(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.writer().secrets.mask(text.as_bytes())).into_owned()
    }

    /// Writes everything that a channel brings, as output of one step, until it is closed.
    pub async fn pour(&self, step: u32, mut pieces: mpsc::Receiver<Bytes>) -> Result<(), Failure> {
        while let Some(piece) = pieces.recv().await {
            self.write(step, Stream::Stdout, &piece).await?;
        }
        self.end_step(step)
    }

    /// Shows unfinished lines, such as progress, again and again.
    pub async fn show_waiting(&self) -> Infallible {
        loop {
            self.clock.sleep(WAITING_LINE.to_std().unwrap_or(Duration::from_millis(250))).await;
            let at = self.clock.now();
            let mut writer = self.writer();
            writer.composer.flush_waiting(at - WAITING_LINE, at);
            // The next write tells the attempt.
            let _ = self.store(&mut writer);
        }
    }

    /// The attempt ended: writes what is left and closes the shelf.
    pub fn close(&self) {
        let at = self.clock.now();
        let mut writer = self.writer();
        writer.put_end(at);
        writer.composer.finish(at);
        // The attempt is over; a full disk has been told by the writes before.
        let _ = self.store(&mut writer);
        // Work that was dropped may still be on its way here; the end does not move any more.
        writer.broken.get_or_insert_with(|| Failure::new(FailureClass::Cancelled, "The log is closed."));
        drop(writer);
        self.shelf.close();
    }

    fn store(&self, writer: &mut Writer) -> Result<(), Failure> {
        while let Some(chunk) = writer.composer.take_chunk(MAX_CHUNK_BYTES) {
            writer.tails.take(&chunk);
            if writer.broken.is_none()
                && let Err(error) = self.shelf.append(&chunk)
            {
                writer.broken = Some(unwritable(&error));
            }
        }
        writer.broken.clone().map_or(Ok(()), Err)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn release(&mut self, step: Option<u32>, at: DateTime<Utc>) {
        let ends = |key: &(u32, Stream)| step.is_none_or(|step| key.0 == step);
        let keys: Vec<_> = self.maskers.keys().copied().filter(ends).collect();
        for key in keys {
            if let Some(mut masker) = self.maskers.remove(&key) {
                self.put((key.0, key.1, masker.finish()), at);
            }
        }
    }

    /// What a step wrote, as far as the plan allows.
    fn put(&mut self, piece: Piece, at: DateTime<Utc>) {
        match self.overflow.take(piece) {
            Fate::Written((step, stream, masked)) => self.composer.write(step, stream, at, &masked),
            Fate::Kept(Some(words)) => self.composer.meta(0, at, &words),
            Fate::Kept(None) => {}
        }
    }

    /// The end of a log that was too long.
    fn put_end(&mut self, at: DateTime<Utc>) {
        self.release(None, at);
        let Self { composer, overflow, .. } = self;
        let (words, end) = overflow.finish();
        words.into_iter().for_each(|words| composer.meta(0, at, &words));
        end.for_each(|(step, stream, masked)| composer.write(step, stream, at, &masked));
    }
}

/// What a failed write to this builder's disk means for the attempt.
pub fn unwritable(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::new(FailureClass::DiskFull, "The builder's disk is full; the log and the build stop here.")
        }
        _ => Failure::new(FailureClass::Internal, format!("The builder cannot write to its disk: {error}.")),
    }
}

#[cfg(test)]
mod tests {
    use slipway_domain::attempt::AttemptRef;
    use slipway_domain::ids::JobId;
    use slipway_runtime::ids::new_id;

    use super::*;
    use crate::spool::{Owner, Spool};

    fn log(dir: &std::path::Path) -> (AttemptLog, Arc<Shelf>) {
        let attempt = AttemptRef { job: new_id::<JobId>(), epoch: 1 };
        let spool = Spool::create(dir, &Owner { attempt, token: "t".to_owned() }).expect("made");
        let shelf = Arc::new(Shelf::new(spool));
        (AttemptLog::new(Clock::system(), Arc::clone(&shelf), CancellationToken::new(), 100), shelf)
    }

    fn text(shelf: &Shelf) -> String {
        let chunk = shelf.read(0, 1 << 20).expect("reads").expect("there");
        String::from_utf8(chunk.bytes.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn a_secret_is_masked_from_when_it_is_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, shelf) = log(dir.path());
        log.write(1, Stream::Stdout, b"early\nhunter").await.expect("writes");
        log.hide(["correct-horse".to_owned()]).expect("hides");
        log.write(1, Stream::Stdout, b"2\nsay correct-").await.expect("writes");
        log.write(1, Stream::Stdout, b"horse\n").await.expect("writes");
        log.meta(0, "and correct-horse again").expect("writes");
        log.close();
        assert_eq!(text(&shelf), "early\nhunter2\nsay ***\nand *** again\n");
        assert!(shelf.marks().closed);
        assert_eq!(shelf.log_end().expect("hashed").end, shelf.marks().end);
    }

    #[tokio::test]
    async fn base64_is_masked_over_lines_that_others_write_between() {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, shelf) = log(dir.path());
        log.hide(["correct-horse".to_owned()]).expect("hides");
        log.write(1, Stream::Stdout, b"Y29ycmVj\n").await.expect("writes");
        log.write(2, Stream::Stdout, b"another step\n").await.expect("writes");
        log.write(1, Stream::Stderr, b"another output\n").await.expect("writes");
        log.meta(1, "a word of ours").expect("writes");
        log.write(1, Stream::Stdout, b"dC1ob3JzZQ==\n").await.expect("writes");
        log.close();
        assert_eq!(text(&shelf), "another step\nanother output\na word of ours\n***\n***Q==\n");
    }

    #[tokio::test]
    async fn of_a_log_that_is_too_long_both_ends_are_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, shelf) = log(dir.path());
        log.hide(["secret".to_owned()]).expect("hides");
        for line in 0..20 {
            log.write(1, Stream::Stdout, format!("line {line:02}\n").as_bytes()).await.expect("writes");
        }
        // The mask holds back what may become a secret, which is said in its place.
        log.write(1, Stream::Stdout, b"a secret\nno sec").await.expect("writes");
        log.end_output().expect("writes");
        log.end_step(1).expect("ends");
        assert_eq!(log.last_lines(1).last().map(String::as_str), Some("no sec"), "of its end, not of its beginning");
        log.meta(0, "It failed.").expect("writes");
        log.close();
        let text = text(&shelf);
        assert!(text.starts_with("line 00\nline 01\n"), "{text}");
        assert!(text.contains("line 19\na ***\nno sec"), "{text}");
        assert!(text.contains("the 100 B that the plan allows") && text.contains("left out here"), "{text}");
        assert!(text.contains("It failed.\n") && !text.contains("line 12"), "{text}");
    }

    #[tokio::test]
    async fn the_last_lines_hold_no_secret() {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, _shelf) = log(dir.path());
        log.hide(["correct-horse".to_owned()]).expect("hides");
        log.write(1, Stream::Stdout, b"say correct-").await.expect("writes");
        log.write(1, Stream::Stdout, b"horse\nor correct-\x1b[1mhorse\nlate-battery").await.expect("writes");
        log.end_step(1).expect("ends");
        log.hide(["late-battery".to_owned()]).expect("hides");
        assert_eq!(log.last_lines(1), ["say ***", "or ***", "***"]);
        assert_eq!(log.masked("RUN x late-battery"), "RUN x ***");
    }

    #[tokio::test]
    async fn steps_do_not_mix_inside_a_line_and_nothing_is_held_at_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let (log, shelf) = log(dir.path());
        log.write(1, Stream::Stdout, b"one ").await.expect("writes");
        log.write(2, Stream::Stdout, b"two\n").await.expect("writes");
        log.write(1, Stream::Stdout, b"still one").await.expect("writes");
        log.end_step(1).expect("ends");
        log.close();
        assert_eq!(text(&shelf), "two\none still one");
    }
}
