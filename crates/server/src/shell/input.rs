//! Standard input: lines that are waited for without being deaf to Ctrl-C, and the keys of a terminal.
//!
//! All readers share one buffer: what is pasted at a terminal, a COPY and its data, is read by the editor
//! first and by the COPY then.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Input {
    file: Arc<File>,
    reader: Rc<RefCell<BufReader<Arc<File>>>>,
}

impl Input {
    /// Standard input, for everybody who reads it from now on.
    ///
    /// # Errors
    /// It is closed.
    pub(super) fn standard() -> io::Result<Input> {
        let file = Arc::new(File::from(io::stdin().as_fd().try_clone_to_owned()?));
        let reader = Rc::new(RefCell::new(BufReader::new(Arc::clone(&file))));
        Ok(Input { file, reader })
    }

    /// The next line with its end; None at the end. Who stops waiting loses what has come of the line.
    ///
    /// # Errors
    /// It cannot be read, or is not UTF-8.
    pub(super) async fn line(&self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        while !self.take(&mut line) {
            self.wait().await?;
            if self.reader.borrow_mut().fill_buf()?.is_empty() {
                break;
            }
        }
        if line.is_empty() {
            return Ok(None);
        }
        let line = String::from_utf8(line);
        line.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Takes what has been read of a line; true at its end.
    fn take(&self, line: &mut Vec<u8>) -> bool {
        let mut reader = self.reader.borrow_mut();
        let held = reader.buffer();
        let end = held.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(held.len(), |at| at + 1);
        line.extend_from_slice(&held[..count]);
        reader.consume(count);
        end.is_some()
    }

    /// Waits until there is something to read.
    async fn wait(&self) -> io::Result<()> {
        #[expect(
            deprecated,
            reason = "its replacement is unsafe, for descriptors that may be closed: this one is borrowed"
        )]
        let registered = AsyncFd::with_interest(self.file.as_fd(), Interest::READABLE);
        match registered {
            Ok(descriptor) => descriptor.readable().await.map(drop),
            // What cannot be waited for, as a file, is there.
            Err(_) => Ok(()),
        }
    }
}

impl Read for Input {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.reader.borrow_mut().read(bytes)
    }
}
