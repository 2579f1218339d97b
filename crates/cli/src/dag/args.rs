//! What is typed: names of DAGs, runs, moments and parameters.

use std::{fmt, path::PathBuf, str::FromStr};

use jiff::{Timestamp, Zoned, civil::DateTime, tz::TimeZone};
use millrace_core::Source;
use millrace_proto::{json, scheduler::v1::DagRef};
use millrace_runtime::ConfigError;
use serde::Serialize;
use serde_json::{Map, Value};

/// A DAG, for one binding where it has some: `hourly`, `hourly/acme`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Name {
    dag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    binding: String,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (dag, binding) = text.split_once('/').map_or((text, None), |(dag, binding)| (dag, Some(binding)));
        if dag.is_empty() || binding.is_some_and(|binding| binding.is_empty() || binding.contains('/')) {
            return Err(format!("expected DAG or DAG/BINDING, such as hourly or hourly/acme, got {text:?}"));
        }
        Ok(Self { dag: dag.to_owned(), binding: binding.unwrap_or_default().to_owned() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dag, binding } = self;
        if binding.is_empty() { f.write_str(dag) } else { write!(f, "{dag}/{binding}") }
    }
}

impl From<Name> for DagRef {
    fn from(Name { dag, binding }: Name) -> Self {
        Self { dag, binding }
    }
}

impl From<Option<DagRef>> for Name {
    fn from(sent: Option<DagRef>) -> Self {
        let DagRef { dag, binding } = sent.unwrap_or_default();
        Self { dag, binding }
    }
}

/// A run by its number, or a DAG: names begin with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Run(i64),
    Dag(Name),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Run).map_err(|_| format!("no run has the number {text}"));
        }
        text.parse().map(Self::Dag)
    }
}

/// A moment: with an offset or a zone, else UTC; a date alone is its midnight.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    // A zone in brackets decides, and an offset beside it has to agree; without one the offset does.
    let read = if text.contains('[') {
        text.parse::<Zoned>().map(|at| at.timestamp())
    } else {
        text.parse::<Timestamp>()
            .or_else(|_| text.parse::<DateTime>().and_then(|at| at.to_zoned(TimeZone::UTC)).map(|at| at.timestamp()))
    };
    read.map_err(|error| {
        format!(
            "expected a moment such as 2026-11-21, 2026-11-21T10:00Z or 2026-11-21T10:00[America/New_York]: {error}"
        )
    })
}

/// As it is sent.
pub(crate) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

/// Parameters of runs.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Params {
    /// A parameter. The value is JSON where it can be read as such, else text. May be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, Value)>,
    /// File with parameters: a map in YAML or JSON. `--param` goes before it.
    #[arg(long, value_name = "FILE")]
    params_file: Option<PathBuf>,
}

impl Params {
    /// All of them, as they are sent; none when none was given.
    pub(crate) fn read(self) -> anyhow::Result<Option<prost_types::Struct>> {
        let Self { params, params_file } = self;
        let mut all = params_file.map_or_else(|| Ok(Map::new()), |file| from_file(&Source::read(&file)?))?;
        let mut given = Map::new();
        for (name, value) in params {
            if given.contains_key(&name) {
                return Err(ConfigError::new(format!("--param: {name} is given twice")).into());
            }
            given.insert(name, value);
        }
        all.extend(given);
        Ok((!all.is_empty()).then(|| json::to_struct(&all)))
    }
}

fn from_file(source: &Source) -> anyhow::Result<Map<String, Value>> {
    let Value::Object(map) = source.value() else {
        return Err(ConfigError::new(source.fault("", "expected a map of parameters").to_string()).into());
    };
    let inexact = map.iter().filter(|(_, value)| !json::is_exact(value));
    let faults = inexact.map(|(name, _)| {
        let pointer = format!("/{}", millrace_core::document::segment(name));
        source.fault(&pointer, TOO_GREAT).to_string()
    });
    ConfigError::check(faults.collect())?;
    Ok(map.clone())
}

/// Numbers travel as doubles.
const TOO_GREAT: &str = "whole numbers are exact up to 9007199254740992; put a greater one in quotes";

/// `NAME=VALUE`.
fn param(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("expected NAME=VALUE, such as model=champion or limit=10, got {text:?}"))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    if json::is_exact(&value) { Ok((name.to_owned(), value)) } else { Err(TOO_GREAT.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_has_a_binding_or_none() {
        for text in ["hourly", "hourly/acme"] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        let name = Name { dag: "hourly".to_owned(), binding: "acme".to_owned() };
        assert_eq!("hourly/acme".parse(), Ok(name.clone()));
        assert_eq!(Name::from(Some(DagRef::from(name.clone()))), name);
        for text in ["", "/", "/acme", "hourly/", "a/b/c"] {
            assert!(text.parse::<Name>().is_err_and(|error| error.contains("hourly/acme")), "{text}");
        }
    }

    #[test]
    fn digits_are_a_run_and_all_else_is_a_dag() {
        assert_eq!("17".parse(), Ok(Target::Run(17)));
        assert_eq!("h17".parse(), Ok(Target::Dag("h17".parse().unwrap())));
        assert!("99999999999999999999".parse::<Target>().is_err());
        assert!("".parse::<Target>().is_err());
    }

    #[test]
    fn a_moment_is_read_in_each_of_its_forms() {
        let same = [
            "2026-11-21T15:00:00Z",
            "2026-11-21T15:00Z",
            "2026-11-21T10:00:00-05:00",
            "2026-11-21T10:00[America/New_York]",
            "2026-11-21T10:00-05:00[America/New_York]",
            "2026-11-21T15:00",
            "2026-11-21 15:00:00",
        ];
        for text in same {
            assert_eq!(moment(text).unwrap().to_string(), "2026-11-21T15:00:00Z", "{text}");
        }
        assert_eq!(moment("2026-11-21").unwrap().to_string(), "2026-11-21T00:00:00Z");
        // An offset that the zone does not have then is a mistake, not a choice.
        for text in ["", "yesterday", "2026-13-01", "10:00", "2026-11-21T10:00-09:00[America/New_York]", "17"] {
            assert!(moment(text).is_err_and(|error| error.contains("such as")), "{text}");
        }
    }

    #[test]
    fn a_parameter_is_json_where_it_can_be_and_else_text() {
        for (text, value) in [
            ("a=1", json!(1)),
            ("a=true", json!(true)),
            ("a=null", Value::Null),
            ("a=[1,2]", json!([1, 2])),
            ("a={\"b\":1}", json!({ "b": 1 })),
            ("a=\"1\"", json!("1")),
            ("a=2026-11-21", json!("2026-11-21")),
            ("a=x=y", json!("x=y")),
            ("a=", json!("")),
        ] {
            assert_eq!(param(text), Ok(("a".to_owned(), value)), "{text}");
        }
        for text in ["a", "=1", ""] {
            assert!(param(text).is_err_and(|error| error.contains("NAME=VALUE")), "{text}");
        }
        assert!(param("a=9007199254740993").is_err_and(|error| error.contains("quotes")));
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("params.yaml");
        std::fs::write(&file, "model: champion\nlimit: 10\n").unwrap();
        let given = |params: &[&str]| {
            let params = params.iter().map(|text| param(text).unwrap()).collect();
            Params { params, params_file: Some(file.clone()) }.read()
        };
        let read = json::from_struct(given(&["limit=20", "day=2026-11-21"]).unwrap().unwrap());
        assert_eq!(Value::Object(read), json!({ "model": "champion", "limit": 20, "day": "2026-11-21" }));
        assert!(given(&["a=1", "a=2"]).unwrap_err().to_string().contains("a is given twice"));
        assert_eq!(Params::default().read().unwrap(), None);
    }

    #[test]
    fn a_file_of_parameters_is_refused_with_its_lines() {
        let refused = |text: &str| from_file(&Source::parse("p.yaml", text).unwrap()).unwrap_err().to_string();
        assert_eq!(refused("- 1\n"), "p.yaml:1:1: $: expected a map of parameters");
        assert!(refused("a: 1\nb: [9007199254740993]\n").starts_with("p.yaml:2:1: $.b: whole numbers"));
    }
}
