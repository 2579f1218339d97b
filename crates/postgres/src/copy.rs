//! Binary COPY: values straight into a buffer in the server's own format, rows that can be taken back, and any range
//! of them sent without a copy.
//!
//! The format is that of "Binary Format" under COPY in the PostgreSQL documentation: a header, rows of (column count,
//! then length and bytes of each value), a trailer; everything big-endian.

mod numeric;
mod send;
mod writer;

pub use numeric::Numeric;
pub use send::send;
pub use writer::{Rows, TooFar, Writer};
