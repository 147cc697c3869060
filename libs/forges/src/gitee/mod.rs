//! gitee.com.

mod change;
pub mod parse;
pub mod verify;

#[cfg(test)]
pub(crate) mod tests;
