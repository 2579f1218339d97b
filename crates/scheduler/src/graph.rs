//! The graph of a DAG's tasks: who waits for whom, in an order in which each comes after those that it waits for.

use std::collections::BTreeMap;

/// Tasks by their number. The order of numbers is one in which they could run one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    names: Vec<String>,
    needs: Vec<Vec<usize>>,
    successors: Vec<Vec<usize>>,
}

/// What is wrong with a graph, and at which task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphFault {
    /// A task waits for one that is not there.
    Unknown {
        /// Who waits.
        task: String,
        /// The place in its list.
        place: usize,
        /// For whom.
        needs: String,
    },
    /// A task waits for the same one twice.
    Twice {
        /// Who waits.
        task: String,
        /// The place in its list.
        place: usize,
        /// For whom.
        needs: String,
    },
    /// Tasks wait for each other: the first one again at the end.
    Cycle(Vec<String>),
}

impl Graph {
    /// Of tasks by name, each with the names that it waits for. All faults at once; of cycles, one of each knot.
    pub fn new<'a>(tasks: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Result<Self, Vec<GraphFault>> {
        let tasks: Vec<(&str, &[String])> = tasks.into_iter().collect();
        let numbers: BTreeMap<&str, usize> = tasks.iter().enumerate().map(|(i, (name, _))| (*name, i)).collect();
        let mut faults = Vec::new();
        let mut needs: Vec<Vec<usize>> = Vec::with_capacity(tasks.len());
        for (task, wanted) in &tasks {
            let mut found = Vec::with_capacity(wanted.len());
            for (place, name) in wanted.iter().enumerate() {
                let (task, needs) = ((*task).to_owned(), name.clone());
                match numbers.get(name.as_str()) {
                    None => faults.push(GraphFault::Unknown { task, place, needs }),
                    Some(number) if found.contains(number) => faults.push(GraphFault::Twice { task, place, needs }),
                    Some(number) => found.push(*number),
                }
            }
            needs.push(found);
        }
        let order = sort(&needs);
        let mut left: Vec<bool> = vec![true; tasks.len()];
        for &task in &order {
            left[task] = false;
        }
        while let Some(cycle) = cycle(&needs, &left) {
            for &task in &cycle {
                left[task] = false;
            }
            let mut names: Vec<String> = cycle.iter().map(|&task| tasks[task].0.to_owned()).collect();
            names.extend(names.first().cloned());
            faults.push(GraphFault::Cycle(names));
        }
        if faults.is_empty() { Ok(Self::ordered(&tasks, &needs, &order)) } else { Err(faults) }
    }

    fn ordered(tasks: &[(&str, &[String])], needs: &[Vec<usize>], order: &[usize]) -> Self {
        let mut number = vec![0; order.len()];
        for (new, &old) in order.iter().enumerate() {
            number[old] = new;
        }
        let names = order.iter().map(|&old| tasks[old].0.to_owned()).collect();
        let needs: Vec<Vec<usize>> =
            order.iter().map(|&old| needs[old].iter().map(|&needed| number[needed]).collect()).collect();
        let successors = invert(&needs);
        Self { names, needs, successors }
    }

    /// How many tasks.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// A task's name.
    pub fn name(&self, task: usize) -> &str {
        &self.names[task]
    }

    /// A task's number.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// The tasks that one waits for.
    pub fn needs(&self, task: usize) -> &[usize] {
        &self.needs[task]
    }

    /// The tasks that wait for one.
    pub fn successors(&self, task: usize) -> &[usize] {
        &self.successors[task]
    }

    /// All tasks that come before one, whether it waits for them or for one that does.
    pub fn ancestors(&self, task: usize) -> Vec<bool> {
        let mut found = vec![false; self.len()];
        // Numbers fall on the way back.
        for number in (0..=task).rev() {
            if number == task || found[number] {
                for &needed in &self.needs[number] {
                    found[needed] = true;
                }
            }
        }
        found
    }
}

/// Who waits for each.
fn invert(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut successors = vec![Vec::new(); needs.len()];
    for (task, needed) in needs.iter().enumerate() {
        for &needed in needed {
            successors[needed].push(task);
        }
    }
    successors
}

/// Kahn's: tasks whose needs are all in the list already. Those on a cycle, or after one, are left out.
fn sort(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let successors = invert(needs);
    let mut order: Vec<usize> = (0..needs.len()).filter(|&task| waiting[task] == 0).collect();
    let mut next = 0;
    while let Some(&task) = order.get(next) {
        next += 1;
        for &successor in &successors[task] {
            waiting[successor] -= 1;
            if waiting[successor] == 0 {
                order.push(successor);
            }
        }
    }
    order
}

/// A cycle among the tasks that are left, from its first task on in the order in which they would run.
fn cycle(needs: &[Vec<usize>], left: &[bool]) -> Option<Vec<usize>> {
    for start in (0..needs.len()).filter(|&task| left[task]) {
        // Back along needs that are left: whoever is met twice is on a cycle.
        let mut path = vec![start];
        while let Some(&task) = path.last() {
            let Some(&needed) = needs[task].iter().find(|&&needed| left[needed]) else { break };
            if let Some(first) = path.iter().position(|&met| met == needed) {
                let mut cycle = path.split_off(first);
                cycle.reverse();
                let least = cycle.iter().enumerate().min_by_key(|(_, task)| **task).map_or(0, |(place, _)| place);
                cycle.rotate_left(least);
                return Some(cycle);
            }
            path.push(needed);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(tasks: &[(&str, &[&str])]) -> Result<Graph, Vec<GraphFault>> {
        let owned: Vec<(&str, Vec<String>)> =
            tasks.iter().map(|(name, needs)| (*name, needs.iter().map(|it| (*it).to_owned()).collect())).collect();
        Graph::new(owned.iter().map(|(name, needs)| (*name, needs.as_slice())))
    }

    #[test]
    fn a_cycle_is_named_by_its_path() {
        let faults = graph(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"]), ("d", &["c"]), ("e", &["e"]), ("f", &[])])
            .unwrap_err();
        let path = |names: &[&str]| GraphFault::Cycle(names.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(faults, [path(&["a", "b", "c", "a"]), path(&["e", "e"])]);
    }

    #[test]
    fn what_is_unknown_or_said_twice_is_named_with_its_place() {
        let faults = graph(&[("a", &[]), ("b", &["a", "x", "a"])]).unwrap_err();
        let (task, a, x) = ("b".to_owned(), "a".to_owned(), "x".to_owned());
        assert_eq!(
            faults,
            [
                GraphFault::Unknown { task: task.clone(), place: 1, needs: x },
                GraphFault::Twice { task, place: 2, needs: a }
            ]
        );
    }

    #[test]
    fn ancestors_are_all_that_comes_before() {
        let graph = graph(&[("d", &["b", "c"]), ("c", &["a"]), ("b", &["a"]), ("a", &[]), ("e", &["a"])]).unwrap();
        let before = graph.ancestors(graph.number("d").unwrap());
        let names: Vec<&str> = (0..graph.len()).filter(|&task| before[task]).map(|task| graph.name(task)).collect();
        assert_eq!(names.len(), 3);
        assert!(["a", "b", "c"].iter().all(|name| names.contains(name)), "{names:?}");
    }

    proptest! {
        /// Any needs among up to 30 tasks: an order, or a cycle that is one.
        #[test]
        fn a_graph_is_in_order_or_has_a_cycle(needs in prop::collection::vec(prop::collection::btree_set(0_usize..30, 0..4), 1..30)) {
            let names: Vec<String> = (0..needs.len()).map(|task| format!("t{task:02}")).collect();
            let tasks: Vec<(String, Vec<String>)> = needs
                .iter()
                .enumerate()
                .map(|(task, needs)| {
                    let needs = needs.iter().filter(|&&need| need < names.len()).map(|&need| names[need].clone()).collect();
                    (names[task].clone(), needs)
                })
                .collect();
            match Graph::new(tasks.iter().map(|(name, needs)| (name.as_str(), needs.as_slice()))) {
                Ok(graph) => {
                    for task in 0..graph.len() {
                        prop_assert!(graph.needs(task).iter().all(|&needed| needed < task));
                        prop_assert!(graph.successors(task).iter().all(|&next| graph.needs(next).contains(&task)));
                    }
                }
                Err(faults) => {
                    for fault in faults {
                        let GraphFault::Cycle(path) = fault else { panic!("{fault:?}") };
                        prop_assert!(path.len() > 1 && path.first() == path.last());
                        for pair in path.windows(2) {
                            let (_, needs) = tasks.iter().find(|(name, _)| *name == pair[1]).unwrap();
                            prop_assert!(needs.contains(&pair[0]), "{} does not wait for {}", pair[1], pair[0]);
                        }
                    }
                }
            }
        }
    }
}
