//! Reading: views, sources and the server's own tables as DataFusion tables.

mod changes;
mod content;
mod pending;
mod side;
mod snapshot;
mod system;
mod topic;
mod values;
mod view_scan;

pub use changes::{Changes, Page, check as check_kept, not_kept};
pub use content::ViewProvider;
pub use pending::PendingRows;
pub use snapshot::SnapshotConnector;
pub use system::{LATE_ROWS, is_of_views, status_reason, status_word, system_names, system_table};
pub use topic::TopicProvider;
pub use values::Values;
