//! Speed of scoring.
fn main() {}
