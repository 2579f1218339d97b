//! The contract against a real server: `DATABASE_URL` names one where databases may be made.

mod copy;
mod database;
mod ledger;
mod listen;
mod migrate;
mod pool;
