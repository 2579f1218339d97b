//! What is decided about a scored event: rules in CEL, checked against the event's schema before anything runs.
//!
//! ```text
//! rules + alerts --compile--> Policy (parsed, type-checked against the newest schema, lowered, revision)
//!                               |
//! writer's schema --plan------> Plan: how to read the fields that the rules use from such bytes
//!                               |
//! event bytes + score --judge-> Judgement: first rule that matches, its action and labels, the alerts it raises
//! ```
//!
//! A rule sees `score` (double) and `event`: the record as the newest schema has it, whatever version it was written
//! with. Aliases, promotions and defaults are applied; a field that the writer lacks and that has no default is null.
//! `has(event.f)` asks whether a field is there and not null; a field of a null record is null. Times are whole
//! numbers in their schema's unit. Inside arrays and maps, records have the fields that their writer gave them.
//!
//! Evaluation is `cel`'s own interpreter; only the names are resolved beforehand ([`Policy::judge`]). A rule that fails
//! at run time (`null > 3`) does not match, is reported in [`Judgement::errored`], and the next one is tried.
//!
//! [`Condition`] is for those who have no schema: a condition over variables that are JSON, of which only the names are
//! checked.

mod alert;
mod check;
mod condition;
mod decode;
mod error;
mod evaluate;
mod policy;
mod problem;
mod revision;
mod symbols;
mod ty;

pub use alert::Raised;
pub use condition::Condition;
pub use error::Error;
pub use policy::{Judgement, Plan, Policy};
pub use problem::{Place, Problem};
