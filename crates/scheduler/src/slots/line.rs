use jiff::Timestamp;

use super::{Gate, Live, Queued, Reason, Replaced};
use crate::{document::Overlap, store::RunId};

/// The runs of a flow that have not ended, and what its overlap makes of another one.
pub(super) struct Line {
    overlap: Overlap,
    /// The last slot that runs: others make room for it, and for it alone.
    newest: Option<Timestamp>,
    running: Vec<RunId>,
    queued: Vec<Queued>,
    /// The slot of the last run that was admitted.
    admitted: Option<Timestamp>,
    pub(super) replaced: Vec<Replaced>,
    pub(super) cancelled: Vec<RunId>,
}

impl Line {
    pub(super) fn new(overlap: Overlap, live: &Live, newest: Option<Timestamp>) -> Self {
        Self {
            overlap,
            newest,
            running: live.running.clone(),
            queued: live.queued.clone(),
            admitted: None,
            replaced: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    /// Makes room for the run of a slot, or says why it is not to be.
    pub(super) fn admit(&mut self, at: Timestamp) -> Result<(), Reason> {
        let in_its_way = self.in_its_way();
        match (self.overlap, in_its_way, self.newest.filter(|newest| *newest > at)) {
            (Overlap::Allow | Overlap::BufferAll, ..) | (Overlap::Skip | Overlap::BufferOne, None, _) => {}
            (Overlap::Skip, Some(reason), _) => return Err(reason),
            // It would be replaced or cancelled before it could do anything.
            (Overlap::BufferOne | Overlap::CancelOther, _, Some(newest)) => return Err(Reason::ReplacedBy(newest)),
            (Overlap::BufferOne, Some(_), None) => self.replace_queued(at),
            (Overlap::CancelOther, _, None) => {
                self.replace_queued(at);
                self.cancelled.append(&mut self.running);
            }
        }
        self.admitted = Some(at);
        Ok(())
    }

    /// What a run of this flow waits for.
    pub(super) fn gate(&self, at_once: Option<u32>) -> Gate {
        match (self.overlap, at_once) {
            (Overlap::Allow, Some(most)) => Gate::Fewer(most.max(1)),
            (Overlap::Allow, None) => Gate::Open,
            _ => Gate::Alone,
        }
    }

    fn in_its_way(&self) -> Option<Reason> {
        let running = self.running.first().copied();
        let run = running.or_else(|| self.queued.first().map(|queued| queued.run));
        run.map(Reason::Overlaps).or_else(|| self.admitted.map(Reason::OverlapsSlot))
    }

    fn replace_queued(&mut self, by: Timestamp) {
        let reason = Reason::ReplacedBy(by);
        self.replaced.extend(self.queued.drain(..).map(|Queued { run, at }| Replaced { run, at, reason }));
    }
}
