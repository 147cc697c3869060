//! What forges tell us: a request is verified and stored before it is answered, and worked from its row.

mod aftermath;
mod app_hook;
mod app_look;
mod asking;
mod body;
mod changed_files;
mod handover;
mod hook_rows;
mod inbox;
mod pass;
mod pipeline;
mod receive;
mod reconcile;
mod repo;
mod rules;
mod work;

pub use handover::Handover;
pub(crate) use pass::body_of;
pub use pass::{start, work_deliveries_once};
pub(crate) use pipeline::{place as pipeline_place, read as read_pipeline};
pub use receive::router;
