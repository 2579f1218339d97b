use proptest::prelude::*;

use super::*;

/// Durations from `from` to `to`, evenly.
fn past(from: f64, to: f64) -> Vec<f64> {
    (0..=20).map(|n| from + (to - from) * f64::from(n) / 20.0).collect()
}

fn step(needs: &[usize], past: Vec<f64>) -> Step {
    Step { needs: needs.to_vec(), past: past.into(), done: None }
}

fn done(at: f64) -> Step {
    Step { done: Some(at), ..Step::default() }
}

#[test]
fn what_takes_a_minute_is_not_done_in_half_of_one_and_is_in_two() {
    let chain = [step(&[], past(20.0, 22.0)), step(&[0], past(20.0, 22.0)), step(&[1], past(20.0, 22.0))];
    let miss = |due| forecast(&chain, None, None, due, 7).miss;
    assert!((miss(30.0) - 1.0).abs() < f64::EPSILON);
    assert!(miss(120.0) < 0.05, "{}", miss(120.0));
    let middle = miss(63.0);
    assert!((0.2..0.8).contains(&middle), "{middle}");
    assert!((forecast(&chain, Some(0), None, 30.0, 7).miss) < 0.1, "the first task alone is done by then");
}

#[test]
fn branches_go_side_by_side_and_the_slow_one_is_named() {
    let steps = [
        step(&[], past(1.0, 2.0)),
        step(&[0], past(1.0, 2.0)),
        step(&[0], past(50.0, 60.0)),
        step(&[1, 2], past(1.0, 2.0)),
    ];
    let forecast = forecast(&steps, None, None, 40.0, 7);
    assert_eq!(forecast.cause, Some(2));
    assert!((50.0..70.0).contains(&forecast.median), "{forecast:?}");
}

#[test]
fn a_task_that_is_slower_than_ever_is_a_risk_before_the_deadline_and_is_named() {
    // Ten seconds ago it was ready; it never took more than two.
    let late = [done(-10.0), step(&[0], past(1.0, 2.0)), step(&[1], past(5.0, 6.0))];
    let risk = forecast(&late, None, Some(-12.0), 8.0, 7);
    assert!(risk.miss > 0.5, "{risk:?}");
    assert_eq!(risk.cause, Some(1));
    // In time, the same is none.
    let usual = [done(-1.0), step(&[0], past(1.0, 2.0)), step(&[1], past(5.0, 6.0))];
    assert!(forecast(&usual, None, Some(-3.0), 20.0, 7).miss < 0.1);
}

#[test]
fn what_is_done_is_as_late_as_it_was() {
    assert!(forecast(&[done(-5.0)], Some(0), Some(-9.0), -6.0, 1).miss > 0.99);
    assert!(forecast(&[done(-5.0)], Some(0), Some(-9.0), -4.0, 1).miss < 0.01);
    assert_eq!(forecast(&[], None, None, 1.0, 1), Forecast { miss: 0.0, cause: None, median: 0.0 });
}

/// Durations, in order.
fn past_of_chance() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(0.0..100.0_f64, 0..8).prop_map(|mut past| {
        past.sort_by(f64::total_cmp);
        past
    })
}

proptest! {
    #[test]
    fn more_time_is_never_a_greater_risk(
        pasts in prop::collection::vec(past_of_chance(), 1..8),
        started in 0.0..50.0_f64, due in 0.0..300.0_f64, more in 0.0..300.0_f64, seed: u64,
    ) {
        // Each waits for the one before it.
        let steps: Vec<Step> = pasts.into_iter().enumerate().map(|(n, past)| step(&n.checked_sub(1).into_iter().collect::<Vec<_>>(), past)).collect();
        let (sooner, later) = (
            forecast(&steps, None, Some(-started), due, seed),
            forecast(&steps, None, Some(-started), due + more, seed),
        );
        prop_assert!(later.miss <= sooner.miss);
        prop_assert!((0.0..=1.0).contains(&sooner.miss));
        prop_assert!(sooner.cause.is_some() == (sooner.miss > 0.0));
        prop_assert!(sooner.median.is_finite() && sooner.median >= 0.0);
    }
}
