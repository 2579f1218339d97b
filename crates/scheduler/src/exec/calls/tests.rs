use super::*;
use crate::exec::testing::{attempt, failure};

fn map(name: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), text.to_owned())])
}

fn made(
    said: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
    store: &Secrets,
) -> Result<HeaderMap, Ended> {
    headers(&attempt(), Said { headers: said, secrets, store, reserved: |name| name == "te" })
}

fn message(made: Result<HeaderMap, Ended>) -> (String, bool) {
    let failure = failure(made.unwrap_err());
    (failure.message, failure.permanent)
}

#[test]
fn an_address_is_shown_without_what_may_be_secret() {
    let url = address("https://user:pass@host:8443/a/b?token=x#y").unwrap();
    assert_eq!(shown(&url), "https://host:8443/a/b");
    let said = address("https://user:p@ss@ho st/a?token=x").unwrap_err();
    assert!(said.starts_with("address `https://ho st/a`: "), "{said}");
    assert!(address("mailto:user@host").unwrap_err().contains("expected http or https"));
    assert!(address("").is_err());
}

#[test]
fn headers_tell_of_the_attempt() {
    let headers = made(&map("X-Own", "1"), &BTreeMap::new(), &Secrets::default()).unwrap();
    let said: BTreeMap<&str, &str> =
        headers.iter().map(|(name, text)| (name.as_str(), text.to_str().unwrap())).collect();
    let expected = [
        ("millrace-token", "41"),
        ("millrace-dag", "nightly"),
        ("millrace-run", "7"),
        ("millrace-task", "load"),
        ("millrace-item", "3"),
        ("millrace-attempt", "2"),
        ("x-own", "1"),
    ];
    assert_eq!(said, BTreeMap::from(expected));
}

#[test]
fn headers_that_cannot_be_are_refused_by_name() {
    for (said, expected) in [
        (map("a b", "1"), "header `a b`: that is no name of a header"),
        (map("X-A", "a\nb"), "header `X-A`: its value has characters that are not ASCII, or a line break"),
        (map("Millrace-Token", "1"), "header `Millrace-Token` is said by the scheduler, not by a document"),
        (map("TE", "1"), "header `TE` is said by the scheduler, not by a document"),
    ] {
        assert_eq!(message(made(&said, &BTreeMap::new(), &Secrets::default())), (expected.to_owned(), true));
    }
}

#[test]
fn a_secret_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "hunter2").unwrap();
    std::fs::write(folder.path().join("broken"), "hunter\n2").unwrap();
    let store = Secrets::new(Some(folder.path().to_owned()));
    let made = |secret: &str| made(&BTreeMap::new(), &map("Authorization", secret), &store);

    let held = made("key").unwrap();
    assert_eq!(held["authorization"], "hunter2");
    assert!(!format!("{held:?}").contains("hunter2"));
    let (said, permanent) = message(made("broken"));
    assert!(said.contains("`Authorization`") && !said.contains("hunter") && permanent, "{said}");
    let (said, permanent) = message(made("missing"));
    assert!(said.contains("\"missing\" is not there") && !permanent, "{said}");
}

#[test]
fn what_others_say_is_kept_short() {
    assert_eq!(short("short".to_owned()), "short");
    let long = short("ä".repeat(MAX_SAID));
    assert!(long.len() <= MAX_SAID + 4 && long.ends_with("ä ..."));
}
