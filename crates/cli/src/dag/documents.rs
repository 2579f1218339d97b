//! Documents as they are sent: each YAML document of a file by itself, with the line numbers of the file.

use std::path::{Path, PathBuf};

use millrace_core::{Fault, Faults, Source, document};
use millrace_proto::scheduler::v1::Document;
use serde_json::Value;

/// What a folder is looked through for.
const KINDS: [&str; 3] = ["Dag", "Binding", "TaskTemplate"];

/// Reads files and folders. Of a file everything is sent, of a folder only what is for the scheduler: pipelines, and what
/// is not ours at all, may lie there as well. What cannot be read is told together.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Document>, Faults> {
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        let known = faults.len();
        let (found, nothing) = if path.is_dir() {
            (in_folder(path, &mut faults), "no document of kind Dag, Binding or TaskTemplate in this folder")
        } else {
            (in_file(path, &mut faults), "no document in this file")
        };
        if found.is_empty() && faults.len() == known {
            faults.push(fault(path, nothing.to_owned()));
        }
        documents.extend(found);
    }
    Faults(faults).into_result().map(|()| documents)
}

fn in_folder(folder: &Path, faults: &mut Vec<Fault>) -> Vec<Document> {
    let files = document::files_in(folder);
    files.iter().flat_map(|file| in_file(file, faults)).filter(is_for_the_scheduler).collect()
}

fn in_file(file: &Path, faults: &mut Vec<Fault>) -> Vec<Document> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let name = file.display().to_string();
            document::split(&text).into_iter().map(|text| Document { name: name.clone(), text }).collect()
        }
        Err(error) => {
            faults.push(fault(file, format!("cannot be read: {error}")));
            Vec::new()
        }
    }
}

fn fault(path: &Path, message: String) -> Fault {
    Fault { file: path.display().to_string(), path: "$".to_owned(), line: 1, column: 1, message }
}

/// A document that says so, also one that says it wrongly: `kind: Dga`. One that is no YAML is sent too: the scheduler says
/// where, beside everything else that is wrong.
fn is_for_the_scheduler(document: &Document) -> bool {
    let Ok(source) = Source::parse(&document.name, &document.text) else { return true };
    let text = |field: &str| source.value().get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = text("kind");
    KINDS.contains(&kind) || (text("apiVersion").starts_with("millrace.dev/") && kind != "Pipeline")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn of_a_folder_only_what_is_for_the_scheduler_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.yaml", "kind: Dag\n---\napiVersion: millrace.dev/v1\nkind: Dga\n"),
            ("b.yml", "apiVersion: millrace.dev/v1\nkind: Pipeline\n"),
            ("c.json", "{\"kind\": \"Deployment\", \"apiVersion\": \"apps/v1\"}"),
            ("d.yaml", "kind: [Dag\n"),
            ("e.txt", "kind: Dag\n"),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let sent = read(&[dir.path().to_owned()]).unwrap();
        let sent: Vec<(&str, &str)> = sent
            .iter()
            .map(|document| (document.name.rsplit('/').next().unwrap(), document.text.trim_start()))
            .collect();
        let mistyped = "---\napiVersion: millrace.dev/v1\nkind: Dga\n";
        assert_eq!(sent, [("a.yaml", "kind: Dag\n"), ("a.yaml", mistyped), ("d.yaml", "kind: [Dag\n")]);

        // A file that was named is sent whatever it says: the scheduler tells what it expected.
        assert_eq!(read(&[dir.path().join("b.yml")]).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_told_together() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.yaml");
        fs::write(&empty, "# nothing\n").unwrap();
        let faults = read(&[empty, dir.path().join("none.yaml"), dir.path().to_owned()]).unwrap_err().to_string();
        let lines: Vec<&str> = faults.lines().collect();
        assert_eq!(lines.len(), 3, "{faults}");
        assert!(lines[0].ends_with("empty.yaml:1:1: $: no document in this file"), "{faults}");
        assert!(lines[1].contains("none.yaml:1:1: $: cannot be read: "), "{faults}");
        assert!(lines[2].ends_with("$: no document of kind Dag, Binding or TaskTemplate in this folder"), "{faults}");
    }
}
