//! Text on its way into Postgres.

/// What Postgres can store of a text: it knows no character zero, so the one for what is unknown stands in its place.
pub fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
