//! The service over its real routes, on SQLite and a folder.

mod archiving;
mod grouping;
mod ranges;
mod reading;
mod searching;
mod storage;
mod watching;
mod world;
mod writing;
