use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_without_an_address_ends_the_start_and_names_the_alert_and_the_variable() {
    let mut world = World::new().await;
    world.env.insert("MILLRACE_RECEIVER_OPS_HOOK_URL".into(), String::new());
    world.env.insert("MILLRACE_RECEIVER_OPS_HOOK_SECRET".into(), "whsec_short".into());
    let (status, said) = world.run(&["serve"]).await;
    assert_eq!(status.code(), Some(64), "{said}");
    for part in ["alert told", "`ops-hook`", "MILLRACE_RECEIVER_OPS_HOOK_URL", "MILLRACE_RECEIVER_OPS_HOOK_SECRET"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_need_leave() {
    let mut world = World::new().await;
    world.env.insert("MILLRACE_ALLOW_PRIVATE_RECEIVERS".into(), String::new());
    let (status, said) = world.run(&["serve", "--loops", "notify"]).await;
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("127.0.0.1 is a private address"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_does_not_fit_the_newest_schema_ends_the_start_at_its_place() {
    let world = World::with_document(|text| text.replace("event.size >", "event.sise >")).await;
    let (status, said) = world.run(&["serve", "--loops", "judge"]).await;
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("$.spec.policy[0].when: character 7: `Mail` has no field `sise`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_migrated_is_told() {
    let world = World::new().await;
    let (status, said) = world.run(&["serve", "--loops", "notify"]).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("run its `migrate` command first"), "{said}");
}
