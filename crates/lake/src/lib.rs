//! The lake: what there is of a topic in object storage, and the proof that it is all there. Pure: no sockets, no clock.
//!
//! ```text
//! <prefix>/<topic>/<topic id>/<partition>/<first>.json              a manifest: what is committed of the window [first, next)
//!                                         origin                     the first offset of the first window; written once
//!                                         <first>-<writer>-<part>.avro  its data files; one that no manifest names is garbage
//!                             complete/<hour>.json                   the marker of an hour of which no record is expected any more
//! ```
//!
//! A window ends where its records say ([`Cutter`]): by size, by age and by the hour, in offsets and record times. Whoever
//! reads them again ends it at the same record; only one that gets no more records is ended by a clock.
//!
//! A manifest is written once, after its files, and never over another. The one that follows has the name of its
//! [`Manifest::next`]: so they form a chain, whoever has written them, and nobody can commit an offset a second time.
//! [`audit`] goes along it and finds every offset that is missing or there twice. [`Hours`] says of which hours no record is
//! expected any more; a marker of one is written once as well.

mod audit;
mod cut;
mod error;
mod hours;
mod key;
mod manifest;

pub use audit::{Audit, Finding, audit};
pub use cut::{Cut, Cutter, hour_of};
pub use error::{Error, Result};
pub use hours::{Complete, Hours, Late, Reached, late};
pub use key::{Folder, TopicFolder};
pub use manifest::{DataFile, Manifest, Stretch, hex};
