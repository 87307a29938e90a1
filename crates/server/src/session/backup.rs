//! BACKUP TO: a copy of the data directory while it is in use.

use std::path::Path;

use millrace_types::Report;

use super::Conn;
use super::ddl::blocking;

impl Conn {
    pub(super) async fn backup(&mut self, path: String) -> Result<(), Report> {
        let shared = self.shared.clone();
        let to = path.clone();
        let backup =
            blocking(move || Ok(shared.store.backup(&shared.config.data_dir, Path::new(&to))?));
        let backup = backup.await?;
        let (checkpoint, segments) = (backup.checkpoint, backup.segments);
        tracing::info!(path, %checkpoint, segments, bytes = backup.bytes, "a backup was made");
        let message = format!(
            "\"{path}\" holds checkpoint {checkpoint} and what was logged after it: {segments} segments, {} bytes",
            backup.bytes
        );
        self.notice(message);
        Ok(())
    }
}
