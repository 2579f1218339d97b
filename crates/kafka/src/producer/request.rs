//! One call of `send_all`: its records, their results, and the one wake-up when the last is known.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Acked, Sent};
use crate::{error::Error, record::Outgoing};

/// The records of a call and what is known of them.
pub(super) struct Request {
    records: Vec<Outgoing>,
    remaining: AtomicUsize,
    /// By index; written by the thread of delivery reports only, and by the caller for what is refused at once.
    results: Mutex<Vec<Option<Result<Acked, Error>>>>,
    answer: Mutex<Option<oneshot::Sender<Vec<Sent>>>>,
    /// The room that the records take under the producer's bound, until the last is known.
    room: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Request {
    pub(super) fn new(records: Vec<Outgoing>, room: OwnedSemaphorePermit) -> (Arc<Self>, oneshot::Receiver<Vec<Sent>>) {
        let (sender, receiver) = oneshot::channel();
        let request = Self {
            remaining: AtomicUsize::new(records.len()),
            results: Mutex::new(records.iter().map(|_| None).collect()),
            records,
            answer: Mutex::new(Some(sender)),
            room: Mutex::new(Some(room)),
        };
        (Arc::new(request), receiver)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn record(&self, index: usize) -> &Outgoing {
        &self.records[index]
    }

    fn settle(&self, index: usize, result: Result<Acked, Error>) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
        // The results of the other records must be seen by whoever settles the last.
        if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.finish();
        }
    }

    fn finish(&self) {
        drop(self.room.lock().unwrap_or_else(PoisonError::into_inner).take());
        let results = std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner));
        let sent = results
            .into_iter()
            .zip(&self.records)
            // Cloning a record is counting references.
            .map(|(result, record)| result.unwrap_or(Err(Error::Closed)).map_err(|error| (record.clone(), error)))
            .collect();
        if let Some(answer) = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Nobody listens any more when the caller's future was dropped.
            answer.send(sent).ok();
        }
    }
}

/// One record's place in its request. Spent once; one that is dropped unspent counts as failed.
pub(super) struct Ticket {
    request: Option<Arc<Request>>,
    index: usize,
}

impl Ticket {
    pub(super) fn new(request: &Arc<Request>, index: usize) -> Self {
        Self { request: Some(Arc::clone(request)), index }
    }

    pub(super) fn acked(mut self, acked: Acked) {
        self.spend(Ok(acked));
    }

    pub(super) fn fail(mut self, error: Error) {
        self.spend(Err(error));
    }

    fn spend(&mut self, result: Result<Acked, Error>) {
        if let Some(request) = self.request.take() {
            request.settle(self.index, result);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.spend(Err(Error::Closed));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::headers::Headers;

    fn record(value: &'static str) -> Outgoing {
        Outgoing {
            topic: "t".into(),
            partition: None,
            key: None,
            value: Some(value.into()),
            headers: Headers::new(),
            timestamp_ms: None,
        }
    }

    #[tokio::test]
    async fn a_request_is_answered_once_in_its_own_order() {
        let room = Arc::new(Semaphore::new(10));
        let permit = Arc::clone(&room).acquire_many_owned(10).await.unwrap();
        let (request, answer) = Request::new(vec![record("a"), record("b"), record("c")], permit);
        let tickets: Vec<_> = (0..3).map(|index| Ticket::new(&request, index)).collect();
        for ticket in tickets.into_iter().rev() {
            match ticket.index {
                0 => ticket.acked(Acked { partition: 1, offset: 2 }),
                1 => ticket.fail(Error::TooLarge { size: 3 }),
                _ => drop(ticket),
            }
        }
        let sent = answer.await.unwrap();
        assert_eq!(sent[0].as_ref().unwrap(), &Acked { partition: 1, offset: 2 });
        assert!(matches!(&sent[1], Err((back, Error::TooLarge { size: 3 })) if *back == record("b")));
        assert!(matches!(&sent[2], Err((back, Error::Closed)) if *back == record("c")));
        assert_eq!(room.available_permits(), 10);
    }
}
