use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

use serde_json::Value;

use super::{
    folder::{Exit, Folder},
    log,
};
use crate::exec::{End, Ended, Failure, MAX_OUTPUT, over};

/// What is told of an attempt that has ended.
pub(super) fn ended(folder: &Folder, exit: Exit) -> Ended {
    let ended = match exit {
        Exit::Code(0) => output(&folder.output()).map_or_else(|failed| failed, Ended::succeeded),
        Exit::Code(code) => Ended::new(End::Failed(Failure {
            message: format!("ended with exit code {code}"),
            exit_code: Some(code),
            ..Failure::default()
        })),
        Exit::Signal(signal) => Ended::new(End::Failed(Failure {
            message: match signal.as_str() {
                "SIGKILL" => "ended by SIGKILL; where nobody has sent it, memory may have run out".to_owned(),
                signal => format!("ended by {signal}"),
            },
            code: signal,
            ..Failure::default()
        })),
        Exit::Unfit(message) => Ended::hopeless(message),
        Exit::Interrupted(message) => Ended::new(End::Interrupted(message)),
        Exit::Cancelled => Ended::new(End::Cancelled),
        Exit::Fenced => Ended::new(End::Interrupted("no scheduler looked after it, so it was ended".to_owned())),
    };
    Ended { log: log::tail(folder.path()).unwrap_or_default(), ..ended }
}

/// What the command has left as its output.
fn output(path: &Path) -> Result<Option<Value>, Ended> {
    let unreadable = |error: io::Error| Ended::failed(format!("its output cannot be read: {error}"));
    let known = match fs::metadata(path) {
        Ok(known) => known,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    if !known.is_file() {
        // A pipe would be waited for, a device may have no end.
        return Err(Ended::hopeless("its output (MILLRACE_OUTPUT) is not a file"));
    }
    if known.len() > MAX_OUTPUT as u64 {
        return Err(Ended::hopeless(over(known.len() as usize)));
    }
    let mut text = Vec::with_capacity(known.len() as usize);
    File::open(path).and_then(|file| file.take(MAX_OUTPUT as u64).read_to_end(&mut text)).map_err(unreadable)?;
    let not_json = |error| Ended::hopeless(format!("its output (MILLRACE_OUTPUT) is not JSON: {error}"));
    serde_json::from_slice(&text).map(Some).map_err(not_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(ended: Ended) -> String {
        match ended.end {
            End::Failed(failure) => failure.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_output_is_json_in_a_file_of_a_known_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        assert_eq!(output(&path).unwrap(), None);

        fs::write(&path, "{\"rows\": 7}\n").unwrap();
        assert_eq!(output(&path).unwrap(), Some(serde_json::json!({"rows": 7})));
        for text in ["", "rows: 7", "{\"rows\": 7"] {
            fs::write(&path, text).unwrap();
            assert!(message(output(&path).unwrap_err()).contains("not JSON"), "{text}");
        }
        fs::write(&path, format!("\"{}\"", "x".repeat(MAX_OUTPUT - 2))).unwrap();
        assert!(output(&path).unwrap().is_some());
        fs::write(&path, format!("\"{}\"", "x".repeat(MAX_OUTPUT - 1))).unwrap();
        assert!(message(output(&path).unwrap_err()).contains(&MAX_OUTPUT.to_string()));

        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(message(output(&path).unwrap_err()).contains("not a file"));
    }
}
