//! Files of scores from S3 to the same tables, exactly once by generation.
//!
//! ```text
//! S3 --> SNS --> SQS --> Reception: messages, as many as there is room for; each is kept hidden while it is worked on
//!                          +--> notice: which objects a message speaks of
//!                                 +--> Import: lock the object's row in the ledger, look at the object as it is now,
//!                                      rows away, rows in, aggregates, ledger: one transaction; then the message goes
//! ```
//!
//! A notification is a hint to look, and nothing that is believed: under the lock of its row in the ledger the object is
//! looked at as it is now, and that is imported unless it is in already. So duplicates, old ones and those that come in
//! another order do nothing, and the last write of an object is the one that is in, whoever came first.

pub(crate) mod args;
mod content;
mod import;
mod ledger;
mod letters;
mod message;
mod notice;
mod reception;
mod route;

pub(crate) use args::Objects;
