//! The words of Slipway as types: ids, states and their transitions, placement, timing, the
//! normalised forge event, the pipeline file and the agent protocol. No IO, no async, no clock.

pub mod agent;
pub mod attempt;
pub mod bidi;
pub mod build;
pub mod builder;
pub mod delivery;
pub mod dockerfile;
pub mod event;
pub mod failure;
pub mod git_ref;
pub mod ids;
pub mod image;
pub mod job;
pub mod known_keys;
pub mod nearest;
pub mod outputs;
pub mod pipeline;
pub mod placement;
pub mod plan;
pub mod remarks;
pub mod rules;
pub mod secret;
pub mod size;
pub mod spec;
pub mod status;
pub mod tag_template;
pub mod tenant;
mod text_enum;
pub mod timing;
