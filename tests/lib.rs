//! The stories that cross services are in `it/`, one binary; this library is empty.
