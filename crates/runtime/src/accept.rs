//! Accepts connections, plain or TLS, for HTTP and gRPC alike.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::{Shutdown, tls};

/// Open connections of one listener; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take for its TLS handshake, or its first byte. One that says nothing would keep its place for ever.
const OPENING: Duration = Duration::from_secs(15);
/// The pause after a failed accept: out of file descriptors, mostly.
const PAUSE: Duration = Duration::from_millis(100);
/// Accepted connections that the server has not taken yet.
const BACKLOG: usize = 64;
/// How long clients may take, after shutdown, to finish what has begun. One that does not read at all would stay for ever.
const DRAIN: Duration = Duration::from_secs(10);

/// An accepted connection; its place among the [`MAX_CONNECTIONS`] is free again when it is dropped.
pub(crate) struct Connection {
    io: Io,
    peer: SocketAddr,
    _place: OwnedSemaphorePermit,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// Who is on the other side of a gRPC connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.peer)
    }
}

/// Connections until shutdown. Handshakes run beside each other: a slow client holds up nobody.
pub(crate) fn connections(
    listener: TcpListener,
    tls: Option<tls::Server>,
    shutdown: Shutdown,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.wait() => {}
            () = accept(listener, tls, sender.clone(), shutdown.clone()) => {}
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(receiver)
}

/// Resolves when a server that was asked to stop has waited for its clients long enough.
pub(crate) async fn overdue(shutdown: Shutdown) {
    shutdown.wait().await;
    sleep(DRAIN).await;
    tracing::warn!(waited = ?DRAIN, "closing connections whose clients do not finish");
}

async fn accept(
    listener: TcpListener,
    tls: Option<tls::Server>,
    sender: mpsc::Sender<io::Result<Connection>>,
    shutdown: Shutdown,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                sleep(PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true); // a matter of latency only
        let (sender, tls, shutdown) = (sender.clone(), tls.clone(), shutdown.clone());
        tokio::spawn(async move {
            let opened = tokio::select! {
                // Who has said nothing by then is not waited for.
                () = shutdown.wait() => return,
                opened = timeout(OPENING, open(stream, tls)) => opened,
            };
            match opened {
                Ok(Ok(io)) => {
                    let connection = Connection { io, peer, _place: place };
                    let _ = sender.send(Ok(connection)).await; // the server is gone: so is the connection
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "connection did not open"),
                Err(_) => tracing::debug!(%peer, waited = ?OPENING, "connection said nothing"),
            }
        });
    }
}

/// Resolves when the client has spoken: its handshake is done, or its first byte is there.
async fn open(stream: TcpStream, tls: Option<tls::Server>) -> io::Result<Io> {
    match tls {
        Some(tls) => Ok(Io::Tls(Box::new(tls.accept(stream).await?))),
        None => match stream.peek(&mut [0]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(Io::Plain(stream)),
        },
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }
}
