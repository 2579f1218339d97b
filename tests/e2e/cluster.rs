//! The cluster as a story sees it: a namespace of its own, `kubectl` in it, and images of programs of this machine.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How long a pod may take to start, here: two nodes share the machine with everything else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Stories that do something to a node are told alone; all others beside each other.
static NODES: RwLock<()> = RwLock::const_new(());

/// The right to count on nodes that stay as they are.
pub(crate) async fn steady_nodes() -> RwLockReadGuard<'static, ()> {
    NODES.read().await
}

/// The right to do something to a node, which nobody else counts on then.
pub(crate) async fn nodes_alone() -> RwLockWriteGuard<'static, ()> {
    NODES.write().await
}

/// One of our binaries, as the build has made it.
pub(crate) fn binary(name: &str) -> PathBuf {
    // This test is in `<target>/release/deps`.
    let release = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    release.join(name)
}

/// Gives every node an image that runs `program`, with the libraries it needs, and returns the image's name.
pub(crate) fn image(name: &str, program: &Path) -> String {
    let reference = format!("localhost/{name}:e2e");
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/e2e/cluster");
    let item = format!("{}=/{name}", program.display());
    run(Command::new(tool).args(["image", &reference, &item]));
    reference
}

/// A namespace of a story's own, under the restricted Pod Security standard. It is removed with everything in it, unless the story
/// fails: then what is in it is shown.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn new(story: &str) -> Self {
        let namespace = Self { name: format!("{story}-{:06x}", std::process::id() & 0xff_ffff) };
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": labels},
        }));
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What `kubectl` prints, which has to succeed.
    pub(crate) fn kubectl<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        run(kubectl().args(["--namespace", &self.name]).args(args))
    }

    /// An object of this namespace, as the API server has it; null when there is none.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.kubectl(["get", kind, name, "--ignore-not-found", "--output=json"]);
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// All objects of a kind that a selector finds.
    pub(crate) fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let text = self.kubectl(["get", kind, "--selector", selector, "--output=json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// Creates or changes an object; what lacks a namespace comes here.
    pub(crate) fn apply(&self, object: &Value) {
        run_with(kubectl().args(["--namespace", &self.name, "apply", "--filename=-"]), &object.to_string());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = kubectl().args(["--namespace", &self.name, "describe", "all"]).output();
            eprintln!(
                "{}",
                shown.map_or_else(|error| error.to_string(), |out| String::from_utf8_lossy(&out.stdout).into_owned())
            );
        } else {
            let _ = kubectl().args(["delete", "namespace", &self.name, "--wait=false"]).output();
        }
    }
}

/// Nobody has to be root, nothing can be written, no more than is asked for: what the restricted standard wants of a container.
pub(crate) fn container(image: &str, args: &[&str]) -> Value {
    json!({
        "name": "main",
        "image": image,
        "args": args,
        "securityContext": {
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

/// `kubectl` as the cluster's administrator. There has to be a cluster.
pub(crate) fn kubectl() -> Command {
    assert!(std::env::var_os("KUBECONFIG").is_some(), "no cluster: run the stories by `make e2e`");
    Command::new("kubectl")
}

/// Looks ten times a second until `look` finds something, for at most [`PATIENCE`].
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn apply(object: &Value) {
    run_with(kubectl().args(["apply", "--filename=-"]), &object.to_string());
}

fn run(command: &mut Command) -> String {
    run_with(command, "")
}

fn run_with(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}");
        });
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
