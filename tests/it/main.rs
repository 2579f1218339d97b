//! Stories that cross services, on real parts.
