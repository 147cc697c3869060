//! The service over its real routes, on SQLite and a folder.

mod ranges;
mod reading;
mod searching;
mod storage;
mod watching;
mod world;
mod writing;
