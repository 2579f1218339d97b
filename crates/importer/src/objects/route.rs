//! Whose an object is: by its bucket and the first part of its key.

use std::sync::Arc;

use millrace_core::{Code, Pipeline};
use millrace_runtime::ConfigError;

use crate::{error::Reject, feed::Feed};

/// Where one pipeline's files of scores are, and where they go.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) feed: Arc<Feed>,
    /// What their keys begin with; it ends with `/`.
    pub(crate) prefix: String,
}

/// The pipelines of one bucket.
pub(crate) struct Routes {
    bucket: String,
    routes: Vec<Route>,
}

impl Routes {
    /// Of the pipelines that have both `batch` and `import`. Two must not share a prefix, nor one be within another's.
    pub(crate) fn new(bucket: String, pipelines: &[Pipeline]) -> Result<Self, ConfigError> {
        let mut routes: Vec<Route> = Vec::new();
        let mut faults = Vec::new();
        for pipeline in pipelines {
            let Some((batch, feed)) = pipeline.spec.batch.as_ref().zip(Feed::of_objects(pipeline)) else { continue };
            let within =
                |other: &&Route| other.prefix.starts_with(&batch.scores) || batch.scores.starts_with(&other.prefix);
            if let Some(other) = routes.iter().find(within) {
                let (name, theirs) = (pipeline.name(), &other.feed.pipeline);
                faults.push(format!(
                    "pipeline {name}: batch.scores `{}` and that of pipeline {theirs}, `{}`, begin alike: nobody could tell whose a file is",
                    batch.scores, other.prefix
                ));
            }
            routes.push(Route { feed: Arc::new(feed), prefix: batch.scores.clone() });
        }
        if routes.is_empty() {
            faults.push("--pipelines: no pipeline has both `batch` and `import`, so there is nothing to do".to_owned());
        }
        ConfigError::check(faults)?;
        Ok(Self { bucket, routes })
    }

    /// The number of an object's pipeline among [`Routes::all`], or why it has none.
    pub(crate) fn find(&self, bucket: &str, key: &str) -> Result<usize, Reject> {
        if bucket != self.bucket {
            let ours = &self.bucket;
            let reason =
                format!("s3://{bucket}/{key} is in another bucket than `{ours}`: mend the notification, or --bucket");
            return Err(Reject::new(Code::InvalidRequest, reason));
        }
        self.routes.iter().position(|route| key.starts_with(&route.prefix)).ok_or_else(|| {
            let known: Vec<&str> = self.routes.iter().map(|route| route.prefix.as_str()).collect();
            let reason = format!(
                "s3://{bucket}/{key} begins with the `batch.scores` of no pipeline ({}): mend the notification's prefix, or the document",
                known.join(", ")
            );
            Reject::new(Code::InvalidRequest, reason)
        })
    }

    /// Every pipeline.
    pub(crate) fn all(&self) -> &[Route] {
        &self.routes
    }
}

impl Route {
    /// Where the records of an object go that cannot be stored: beside the prefix and not under it, so that nobody is
    /// told of it as of an object of scores. The same for each try of the same content.
    pub(crate) fn dead_key(&self, key: &str, identity: &str) -> String {
        let below = key.strip_prefix(&self.prefix).unwrap_or(key);
        format!("{}.dead/{below}.{identity}.jsonl", self.prefix.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use millrace_core::Source;

    use super::*;

    fn pipeline(name: &str, scores: &str) -> Pipeline {
        let text = format!(
            "apiVersion: millrace.dev/v1\nkind: Pipeline\nmetadata: {{name: {name}}}\nspec:\n\
             \x20 events: {{subject: s, schema: a.avsc}}\n  scoring: {{model: m}}\n  import: {{table: t}}\n\
             \x20 batch: {{inbox: in/, scores: {scores}}}\n"
        );
        Pipeline::parse(&Source::parse("p.yaml", &text).unwrap()).unwrap()
    }

    #[test]
    fn an_object_is_its_prefixs_and_a_strangers_is_told_so() {
        let routes = Routes::new("b".to_owned(), &[pipeline("one", "one/"), pipeline("two", "a/two/")]).unwrap();
        assert_eq!(routes.find("b", "a/two/x.avro"), Ok(1));
        assert!(routes.find("b", "a/x.avro").unwrap_err().reason.contains("one/, a/two/"));
        assert!(routes.find("other", "one/x.avro").unwrap_err().reason.contains("another bucket"));
        let dead = routes.all()[1].dead_key("a/two/h=1/x.avro", "v");
        assert_eq!(dead, "a/two.dead/h=1/x.avro.v.jsonl");
        assert!(routes.find("b", &dead).is_err());
    }

    #[test]
    fn prefixes_that_begin_alike_are_refused() {
        let refused = Routes::new("b".to_owned(), &[pipeline("one", "a/"), pipeline("two", "a/b/")]);
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("pipeline two") && error.contains("begin alike"), "{error}");
        assert!(Routes::new("b".to_owned(), &[]).err().unwrap().to_string().contains("nothing to do"));
    }
}
