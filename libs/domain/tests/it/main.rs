//! Contracts of the words that processes share.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

mod recorded;
