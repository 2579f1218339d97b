//! The archiver as a process, on a real Kafka and the stand-in of S3: what is in the topic is in the lake, once.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod content;
mod faults;
mod hours;
mod lake;
mod world;
