//! Will it be done in time? From what tasks took in the past, and the graph.
//!
//! ```text
//! what each task took before --draw--> what it takes this time --along the graph--> when the target is done
//!                              as many times as there are draws: how many of them are late is the probability of a miss
//! ```
//!
//! What a task takes is counted from the moment at which nothing was left that it waited for: waiting for a pool, tries that
//! failed and the pauses between them are in it. Of one that is under way only what took longer than it has is drawn. The past
//! does not hold the worst: beyond it durations go on as Pareto's with an exponent of two, of which half are longer by
//! less than a half.

use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Runs of the past without which nothing is said.
pub const FEWEST: usize = 5;
/// Draws, of small graphs.
const DRAWS: usize = 1_000;
/// Draws at least.
const FEWEST_DRAWS: usize = 100;
/// Tasks that are drawn in all, about.
const WORK: usize = 1_000_000;

/// A task, by its number: those that it waits for come before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The tasks that it waits for.
    pub needs: Vec<usize>,
    /// What it took in the past, in seconds and in order; empty: it is of no weight.
    pub past: Arc<[f64]>,
    /// When it was done, in seconds from now, so not above zero; none while it is not.
    pub done: Option<f64>,
}

/// What is to be expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// How likely it is to be late: 0 to 1.
    pub miss: f64,
    /// The task that most of that is due to.
    pub cause: Option<usize>,
    /// In how many seconds from now it is done, in the middle of all draws.
    pub median: f64,
}

/// How likely it is that a task, or without one all of them, is not done within `due` seconds from now. `start` is when the
/// run began, in seconds from now; one that has not begun is taken to begin now. The same question has the same
/// answer: chance comes from `seed`.
pub fn forecast(steps: &[Step], target: Option<usize>, start: Option<f64>, due: f64, seed: u64) -> Forecast {
    let draws = (WORK / steps.len().max(1)).clamp(FEWEST_DRAWS, DRAWS);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut blamed = vec![0_u32; steps.len()];
    let mut ends = Vec::with_capacity(draws);
    let mut late = 0_u32;
    for _ in 0..draws {
        let draw = Draw::new(steps, start.unwrap_or(0.0).min(0.0), &mut rng);
        let last = target.or_else(|| last(&draw.done, 0..steps.len()));
        let end = last.map_or(0.0, |task| draw.done[task]);
        if end > due {
            late += 1;
            if let Some(task) = last.and_then(|last| draw.cause(steps, last)) {
                blamed[task] += 1;
            }
        }
        ends.push(end);
    }
    ends.sort_by(f64::total_cmp);
    let most = blamed.iter().enumerate().filter(|(_, times)| **times > 0).max_by_key(|(_, times)| **times);
    Forecast { miss: f64::from(late) / draws as f64, cause: most.map(|(task, _)| task), median: ends[draws / 2] }
}

/// One way in which it may go.
struct Draw {
    /// When each task is done.
    done: Vec<f64>,
    /// How much longer each takes than it does in the middle, as far as it is still open.
    excess: Vec<f64>,
}

impl Draw {
    fn new(steps: &[Step], start: f64, rng: &mut StdRng) -> Self {
        let mut draw = Self { done: Vec::with_capacity(steps.len()), excess: vec![0.0; steps.len()] };
        for (task, step) in steps.iter().enumerate() {
            if let Some(done) = step.done {
                draw.done.push(done);
                continue;
            }
            let ready = step.needs.iter().map(|&needed| draw.done[needed]).fold(start, f64::max);
            // What has been ready for some time takes longer than that.
            let passed = (-ready).max(0.0);
            let takes = duration(&step.past, passed, rng);
            draw.excess[task] = takes - middle(&step.past);
            draw.done.push(ready + takes);
        }
        draw
    }

    /// Of the tasks that an end was waiting for, one after the other, the open one that exceeds itself the most. Where each takes
    /// what it always takes, the longest.
    fn cause(&self, steps: &[Step], last_one: usize) -> Option<usize> {
        let mut path = Vec::new();
        let mut at = Some(last_one);
        while let Some(task) = at {
            if steps[task].done.is_none() {
                path.push(task);
            }
            at = last(&self.done, steps[task].needs.iter().copied());
        }
        let by_excess = path.iter().copied().max_by(|&a, &b| self.excess[a].total_cmp(&self.excess[b]))?;
        if self.excess[by_excess] > 0.0 {
            return Some(by_excess);
        }
        path.into_iter().max_by(|&a, &b| middle(&steps[a].past).total_cmp(&middle(&steps[b].past)))
    }
}

fn last(done: &[f64], tasks: impl Iterator<Item = usize>) -> Option<usize> {
    tasks.max_by(|&a, &b| done[a].total_cmp(&done[b]))
}

fn middle(past: &[f64]) -> f64 {
    past.get(past.len() / 2).copied().unwrap_or(0.0)
}

/// A duration of those in the past, which are in order, that is longer than what has passed; or one that is longer than all.
fn duration(past: &[f64], passed: f64, rng: &mut StdRng) -> f64 {
    let longer = &past[past.partition_point(|&it| it <= passed)..];
    // With so many before it the next is longer than all of them once in so many times.
    let place = rng.random_range(0..=longer.len());
    match (longer.get(place), past.last()) {
        (Some(duration), _) => *duration,
        (None, Some(longest)) => {
            let chance: f64 = rng.random();
            longest.max(passed) / (1.0 - chance).sqrt()
        }
        // It never took anything: it was skipped, or there is no past.
        (None, None) => passed,
    }
}

#[cfg(test)]
mod tests;
