//! What the tests of the executors share.

use std::{future::Future, net::SocketAddr, time::Duration};

use jiff::Timestamp;
use tokio::{net::TcpListener, runtime::Runtime};
use tonic::{
    service::Routes,
    transport::{Server as Tonic, server::TcpIncoming},
};

use super::{Attempt, End, Ended, Failure};

/// An attempt like any other.
pub(super) fn attempt() -> Attempt {
    Attempt {
        place: "here".to_owned(),
        name: "nightly-7-load-3-2".to_owned(),
        token: 41,
        dag: "nightly".to_owned(),
        run: 7,
        task: "load".to_owned(),
        item: Some(3),
        number: 2,
        launched_at: Timestamp::UNIX_EPOCH,
    }
}

/// Of an attempt that has failed.
pub(super) fn failure(ended: Ended) -> Failure {
    let End::Failed(failure) = ended.end else { panic!("not a failure: {ended:?}") };
    failure
}

/// Waits until something holds.
pub(super) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// An address at which nobody is.
pub(super) fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that can be killed: with its threads, all its connections are gone.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    pub(super) fn start<F: Future + Send + 'static>(address: SocketAddr, serve: impl FnOnce(TcpListener) -> F) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = {
            let _entered = runtime.enter();
            serve(TcpListener::from_std(listener).unwrap())
        };
        runtime.spawn(async move {
            serving.await;
        });
        Self { address, runtime: Some(runtime) }
    }

    pub(super) fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    pub(super) fn http(router: axum::Router) -> Self {
        Self::start(Self::any(), |listener| async move { axum::serve(listener, router).await })
    }

    pub(super) fn grpc(address: SocketAddr, tonic: Tonic, routes: Routes) -> Self {
        Self::start(address, move |listener| {
            let mut tonic = tonic;
            tonic.add_routes(routes).serve_with_incoming(TcpIncoming::from(listener))
        })
    }

    /// `http://127.0.0.1:1234`, and a path.
    pub(super) fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn kill(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // By another thread: one that runs futures may not wait.
            let ended = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(5))).join();
            ended.unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
