//! `millrace dag pools` and `pool`.

use anyhow::Context;
use millrace_proto::scheduler::v1::{self as proto, ListPoolsRequest, SetPoolRequest};
use serde::Serialize;

use super::Scheduler;
use crate::Output;

/// Lists pools and what is in use of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    scheduler: Scheduler,
}

/// Makes a pool, or changes its size.
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The pool.
    name: String,
    /// How many slots it has. What is in use beyond that goes on.
    #[arg(long)]
    slots: u32,
    #[command(flatten)]
    scheduler: Scheduler,
}

#[derive(Clone, Debug, Serialize)]
struct Pool {
    name: String,
    slots: u32,
    used: u32,
    /// Tasks that are ready and wait for a slot.
    waiting: u32,
}

impl From<proto::Pool> for Pool {
    fn from(proto::Pool { name, slots, used, waiting }: proto::Pool) -> Self {
        Self { name, slots, used, waiting }
    }
}

impl Args {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let listed = self.scheduler.answer(self.scheduler.client()?.list_pools(ListPoolsRequest {}).await)?;
        let pools: Vec<Pool> = listed.pools.into_iter().map(Pool::from).collect();
        output.rows(&pools, &["POOL", "SLOTS", "USED", "WAITING"], |pool| {
            let Pool { name, slots, used, waiting } = pool;
            vec![name.clone(), slots.to_string(), used.to_string(), waiting.to_string()]
        })
    }
}

impl Set {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let Self { name, slots, scheduler } = self;
        let pool = scheduler.answer(scheduler.client()?.set_pool(SetPoolRequest { name, slots }).await)?.pool;
        let pool = Pool::from(pool.context("the scheduler's answer has no pool")?);
        output.value(&pool, |Pool { name, slots, used, .. }| format!("pool {name}: {slots} slots, {used} in use"))
    }
}
