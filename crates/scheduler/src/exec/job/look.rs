//! Why the pods of a Job do not run, for people who ask.

use std::collections::BTreeMap;

use millrace_kubernetes::{Error, Job, Jobs as Client, Pod, Problem};

/// How many pods are gone through.
const MOST: usize = 1_000;
/// How many different problems are told.
const TOLD: usize = 5;

/// What keeps pods of a Job from running, by a look of now. Nothing: they run, or have.
pub(super) async fn unmet(client: &Client, job: &Job) -> Result<Vec<String>, Error> {
    let name = &job.key.name;
    let Some(state) = client.get(job).await? else {
        return Ok(vec![format!("Job {name} is not there yet")]);
    };
    let (mut seen, mut problems) = (0, Problems::default());
    let look = |pod| {
        seen += 1;
        problems.add(pod);
        seen < MOST
    };
    client.pods(&job.key, look).await?;
    if seen > 0 || state.finish.is_some() {
        return Ok(problems.told(name));
    }
    let why = client.last_warning(&job.key).await?;
    let why = why.unwrap_or_else(|| "Kubernetes has not made them yet".to_owned());
    Ok(vec![format!("Job {name} has no pods: {why}")])
}

/// Problems of pods, each with how many have it, and one of them.
#[derive(Default)]
struct Problems(BTreeMap<(String, String), (usize, String)>);

impl Problems {
    fn add(&mut self, pod: Pod) {
        let Pod { name, succeeded: None, deleted: false, problem: Some(Problem { reason, message }), .. } = pod else {
            return;
        };
        // An image is told with the pod that wants it, and each of them would be another problem.
        let message = message.replace(&name, "<pod>");
        self.0.entry((reason, message)).or_insert((0, name)).0 += 1;
    }

    /// Those that most have first.
    fn told(self, job: &str) -> Vec<String> {
        let mut problems: Vec<_> = self.0.into_iter().collect();
        problems.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let more = problems.len().saturating_sub(TOLD);
        let one = |((reason, message), (count, pod)): ((String, String), (usize, String))| {
            let pods = if count == 1 { format!("pod {pod}") } else { format!("{count} pods of Job {job}") };
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            format!("{pods} cannot run: {reason}{message}")
        };
        let mut told: Vec<String> = problems.into_iter().take(TOLD).map(one).collect();
        if more > 0 {
            told.push(format!("{more} more problems of its pods"));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, problem: Option<(&str, &str)>) -> Pod {
        let problem = problem.map(|(reason, message)| Problem { reason: reason.into(), message: message.into() });
        Pod { name: name.to_owned(), problem, ..Pod::default() }
    }

    #[test]
    fn pods_with_the_same_problem_are_counted_and_those_that_run_have_none() {
        let mut problems = Problems::default();
        let unscheduled = Some(("Unschedulable", "0/2 nodes are available: 2 Insufficient cpu."));
        problems.add(pod("a-1", Some(("ImagePullBackOff", "Back-off pulling image for a-1"))));
        problems.add(pod("a-2", unscheduled));
        problems.add(pod("a-3", unscheduled));
        problems.add(pod("a-4", None));
        problems.add(Pod { succeeded: Some(false), ..pod("a-5", unscheduled) });
        let expected = [
            "2 pods of Job a cannot run: Unschedulable: 0/2 nodes are available: 2 Insufficient cpu.",
            "pod a-1 cannot run: ImagePullBackOff: Back-off pulling image for <pod>",
        ];
        assert_eq!(problems.told("a"), expected);
    }
}
