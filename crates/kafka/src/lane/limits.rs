//! How much a lane does at once.

use std::time::Duration;

/// What a lane may take to end: its drain, and then its clients.
pub const BUDGET: Duration = Duration::from_secs(25);

/// How much a lane does in one transaction, and how long it may take to end.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Records of a transaction.
    pub records: usize,
    /// Bytes that are read for a transaction.
    pub bytes: usize,
    /// How long a batch that is not full waits for more records. A transaction costs the brokers about the same for
    /// one record as for a thousand.
    pub linger: Duration,
    /// How long a shutdown may take, before what is open is left to the broker's own abort.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records: 2_000,
            bytes: 4 * 1024 * 1024,
            linger: Duration::from_millis(5),
            drain: Duration::from_secs(15),
        }
    }
}

/// The flags of a service with lanes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Records of a transaction at most.
    #[arg(long, env = "MILLRACE_LANE_RECORDS", value_name = "N", default_value_t = Limits::default().records)]
    pub lane_records: usize,
    /// Milliseconds that a batch which is not full waits for more records.
    #[arg(long, env = "MILLRACE_LANE_LINGER_MS", value_name = "MS", default_value_t = Limits::default().linger.as_millis() as u64)]
    pub lane_linger_ms: u64,
}

impl Args {
    /// The limits that they ask for.
    pub fn limits(self) -> Limits {
        let linger = Duration::from_millis(self.lane_linger_ms);
        Limits { records: self.lane_records.max(1), linger, ..Limits::default() }
    }
}
