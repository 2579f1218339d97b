use futures::{AsyncBufRead, AsyncReadExt as _, io};
use std::pin::pin;

/// How much of a log is read for its end: what comes before is somebody else's to keep.
const MOST: usize = 16 << 20;

/// The end of what is read, at most so many bytes of it, and from the start of a line where there is one.
pub(crate) async fn end_of(log: impl AsyncBufRead, most: usize) -> io::Result<String> {
    let mut log = pin!(log);
    let (mut kept, mut chunk, mut read) = (Vec::new(), vec![0; 32 << 10], 0);
    let mut cut = false;
    while read < MOST {
        let count = log.read(&mut chunk).await?;
        if count == 0 {
            break;
        }
        read += count;
        kept.extend_from_slice(&chunk[..count]);
        if kept.len() > most {
            kept.drain(..kept.len() - most);
            cut = true;
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let start = text.ceil_char_boundary(text.len().saturating_sub(most));
    let text = &text[start..];
    Ok(match text.find('\n') {
        Some(line) if (cut || start > 0) && line + 1 < text.len() => text[line + 1..].to_owned(),
        _ => text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn end(text: &str, most: usize) -> String {
        end_of(Cursor::new(text.as_bytes().to_vec()), most).await.unwrap()
    }

    #[tokio::test]
    async fn the_end_of_a_log_is_kept_from_the_start_of_a_line() {
        assert_eq!(end("a\nb\n", 10).await, "a\nb\n");
        assert_eq!(end("first\nsecond\nthird\n", 10).await, "third\n");
        assert_eq!(end(&"x".repeat(100), 10).await, "x".repeat(10), "of a line without an end there is still the end");
        assert!(end(&format!("{}\n", "0123456789\n".repeat(100_000)), 64 << 10).await.len() <= 64 << 10);
    }
}
