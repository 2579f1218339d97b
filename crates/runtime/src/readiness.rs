use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// One condition of readiness. It starts as not met; all of them must be met for `/readyz` to answer 200.
#[derive(Clone, Debug)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says whether the condition is met now.
    pub fn set(&self, met: bool) {
        self.0.store(met, Ordering::Release);
    }
}

/// All the conditions of a process, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gates(Arc<Mutex<Vec<Gate>>>);

/// A condition's name, and whether it is met.
type Gate = (&'static str, Arc<AtomicBool>);

impl Gates {
    pub(crate) fn add(&self, name: &'static str) -> Ready {
        let flag = Arc::new(AtomicBool::new(false));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, Arc::clone(&flag)));
        Ready(flag)
    }

    /// The names of the conditions that are not met.
    pub(crate) fn unmet(&self) -> Vec<&'static str> {
        let gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().filter(|(_, met)| !met.load(Ordering::Acquire)).map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_counts_and_is_named_while_it_is_not_met() {
        let gates = Gates::default();
        let (kafka, registry) = (gates.add("kafka"), gates.add("registry"));
        assert_eq!(gates.unmet(), ["kafka", "registry"]);
        kafka.set(true);
        assert_eq!(gates.unmet(), ["registry"]);
        registry.set(true);
        assert!(gates.unmet().is_empty());
        kafka.set(false);
        assert_eq!(gates.unmet(), ["kafka"]);
    }
}
