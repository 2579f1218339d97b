//! The least of HTTP/1.1: one GET on loopback, for readiness and metrics.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer is cut off here: a page of metrics is far smaller.
const LIMIT: u64 = 8 * 1024 * 1024;

/// Status and body of `GET path`. The whole exchange is bound by `timeout`.
pub async fn get(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<(u16, String)> {
    tokio::time::timeout(timeout, exchange(address, path)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0 has no chunks and closes the connection after the answer.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(LIMIT).read_to_end(&mut bytes).await?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// `HTTP/1.1 200 OK`, headers, an empty line, the body.
fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_taken_apart() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\ncontent-type: text/plain\r\n\r\nkafka: false\n";
        assert_eq!(parse(answer), Some((503, "kafka: false\n".to_owned())));
        assert_eq!(parse("nonsense"), None);
    }
}
