//! The queue of log lines, and the thread that writes them: whoever logs never waits for whoever reads the log.

use super::sink::{Line, LogSink};
use crate::lock::lock;
use log::Level;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum octets of lines that wait to be written: some thousand lines, so that only a log that nobody reads loses any.
const MAX_QUEUED_OCTETS: usize = 1 << 20;

/// Lines on their way to a sink.
#[derive(Clone, Debug)]
pub(super) struct LineQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Line>,
    octets: usize,
    /// Lines that were left out since the last line that was written.
    lost: u64,
    /// Whether lines that are not in the queue any more are being written.
    is_writing: bool,
}

impl LineQueue {
    /// Starts the thread that writes lines to a sink for as long as the process runs.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start(mut sink: LogSink) -> io::Result<Self> {
        let (queue, filled, emptied) = (Mutex::default(), Condvar::new(), Condvar::new());
        let started = Self(Arc::new(Shared { queue, filled, emptied }));
        let shared = Arc::clone(&started.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            loop {
                let lines = shared.take();
                sink.write(&lines);
                shared.written();
            }
        })?;
        Ok(started)
    }

    /// Adds a line; without room it is left out, and counted.
    pub(super) fn push(&self, line: Line) {
        let mut queue = self.0.lock();
        if queue.octets + line.octets() > MAX_QUEUED_OCTETS {
            queue.lost += 1;
            return;
        }
        queue.add(line);
        self.0.filled.notify_one();
    }

    /// Waits until all lines are written, with a limit.
    pub(super) fn flush(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let mut queue = self.0.lock();
        while !queue.lines.is_empty() || queue.is_writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.0.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Waits for lines, and takes all that are there.
    fn take(&self) -> VecDeque<Line> {
        let mut queue = self.lock();
        while queue.lines.is_empty() {
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.octets = 0;
        queue.is_writing = true;
        std::mem::take(&mut queue.lines)
    }

    /// Notes that the lines which were taken are written.
    fn written(&self) {
        let mut queue = self.lock();
        queue.is_writing = false;
        if queue.lost > 0 {
            let lost = std::mem::take(&mut queue.lost);
            let text = format!("{lost} log lines were lost, because nobody read the log in time");
            queue.add(Line::new(Level::Warn, text));
        }
        if queue.lines.is_empty() {
            self.emptied.notify_all();
        }
    }
}

impl Queue {
    fn add(&mut self, line: Line) {
        self.octets += line.octets();
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    #[test]
    fn a_log_that_nobody_reads_holds_nobody_up() {
        let (mut read, write) = std::io::pipe().expect("a pipe");
        let queue = LineQueue::start(LogSink::Stderr(OwnedFd::from(write).into())).expect("a thread");
        let line = |text: String| Line::new(Level::Info, text);
        let text = "x".repeat(100);
        // More than the pipe, what the thread has taken, and the queue hold.
        (0..30_000).for_each(|n| queue.push(line(format!("{n} {text}"))));
        let begun = Instant::now();
        queue.flush(Duration::from_millis(10));
        assert!(begun.elapsed() >= Duration::from_millis(10), "nothing is written");
        let reader = thread::spawn(move || {
            let (mut all, mut part) = (Vec::new(), [0; 65_536]);
            while !all.ends_with(b"the last\n") {
                let len = read.read(&mut part).expect("lines");
                all.extend_from_slice(&part[..len]);
            }
            String::from_utf8(all).expect("text")
        });
        queue.flush(Duration::from_secs(20));
        queue.push(line("the last".to_owned()));
        let all = reader.join().expect("all lines");
        let lost =
            all.lines().find_map(|line| line.split_once(" warning: ")?.1.split_once(" log lines were lost"));
        let lost: usize = lost.and_then(|(count, _)| count.parse().ok()).expect("a count");
        let written = all.lines().filter(|line| line.ends_with(&text)).count();
        assert_eq!(lost + written, 30_000, "each line is written or counted");
        assert!(written > 5_000 && lost > 1_000, "{written} {lost}");
        assert!(all.contains(" info: 0 x"), "the first lines stay");
    }
}
