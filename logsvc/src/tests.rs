//! The service over its real routes, on SQLite and a folder.

mod archiving;
mod bounds;
mod downloads;
mod endings;
mod grouping;
mod lengths;
mod ranges;
mod reading;
mod searching;
mod storage;
mod together;
mod watching;
mod world;
mod writing;
