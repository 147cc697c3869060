//! Stories over the whole app in the user's words, against the real binary, a real engine and a real
//! registry. Only the outside face is used.

mod bad_input;
mod bases;
mod builders;
mod builds;
mod cancels;
mod changes;
mod clipped;
mod configuration;
mod crashes;
mod deliveries;
mod engine_down;
mod failures;
mod forges;
mod full_disk;
pub mod gate;
mod gitlab_hooks;
mod later;
mod limits;
mod many_deliveries;
mod processes;
mod push_becomes_image;
mod real_life;
mod rebuilt;
mod reconcile;
mod scripted;
mod secrets;
mod self_hosted;
mod several_images;
mod sick_neighbours;
mod smoke;
mod stalling_registry;
mod statuses;
mod storm;
mod together;
mod told;
mod visibility;
