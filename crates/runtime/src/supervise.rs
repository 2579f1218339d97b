//! One task's life, as its supervisor sees it.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use crate::Shutdown;

/// How a task ended. `Ok` only when it was asked to and did.
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) result: anyhow::Result<()>,
}

/// Waits for a task; aborts it when it outlives `budget` after shutdown.
pub(crate) async fn task(
    name: String,
    budget: Duration,
    shutdown: Shutdown,
    mut task: JoinHandle<anyhow::Result<()>>,
) -> Ended {
    let overdue = async {
        shutdown.wait().await;
        sleep(budget).await;
    };
    let result = tokio::select! {
        ended = &mut task => match ended {
            Ok(Ok(())) if !shutdown.is_triggered() => Err(anyhow!("ended though nobody asked it to")),
            Ok(result) => result,
            Err(error) => Err(error.try_into_panic().map_or_else(Into::into, |panic| panicked(&*panic))),
        },
        () = overdue => {
            task.abort();
            Err(anyhow!("did not stop within its budget of {budget:?}"))
        }
    };
    Ended { name, result }
}

/// Starts a thread and gives the future of its result.
pub(crate) fn thread(
    name: &str,
    shutdown: Shutdown,
    f: impl FnOnce(Shutdown) -> anyhow::Result<()> + Send + 'static,
) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| f(shutdown))).unwrap_or_else(|panic| Err(panicked(&*panic)));
        let _ = done.send(result); // nobody listens once the budget is spent
    });
    async move {
        thread.context("start a thread")?;
        result.await.context("wait for a thread")?
    }
}

fn panicked(panic: &(dyn Any + Send)) -> anyhow::Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    anyhow!("panicked: {}", text.unwrap_or("no message"))
}
