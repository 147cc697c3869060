//! Everything that needs more than one crate: the shape of the workspace, the test environment itself, and
//! the stories over the whole app. One binary, so that it is linked once.

mod architecture;
mod bus;
mod chaos;
mod deploy;
mod dockerfile;
mod environment;
mod grown_up;
mod stories;
mod whole_logs;
