//! Real components as child processes: free ports, folders of their own, ended and cleaned up when they are
//! dropped. Each is also ended when the thread that started it dies; what a killed run leaves on the host
//! is removed by the next run ([`room`]).

pub mod base_image;
pub mod cluster;
pub mod debian;
pub mod disk;
pub mod engine;
pub mod git_server;
pub mod host;
mod lfs;
pub mod net_host;
pub mod nginx;
pub mod postgres;
pub mod process;
pub mod rabbitmq;
pub mod redis;
pub mod registry;
pub mod remote_builder;
pub mod repo;
pub mod room;
pub mod s3;
pub mod services;
pub mod slipway;
pub mod way_out;
