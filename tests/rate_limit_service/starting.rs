//! Starting the service, and its messages when it fails to start.

use crate::service::{OK, Service, descriptor, limit, not_started};

#[tokio::test]
async fn it_ends_cleanly_when_it_is_told_to() {
    let service = Service::start(&limit("tpm", 100, 60), &[]).await;
    assert_eq!(service.ask([descriptor("tpm", "ann")]).await.overall_code, OK);
    assert_eq!(service.terminate().await, Some(0));
}

#[tokio::test]
async fn it_ends_also_if_a_client_does_not_let_go() {
    let service = Service::start(&limit("tpm", 100, 60), &[]).await;
    let mute = std::net::TcpStream::connect(&service.address).unwrap();
    assert_eq!(service.terminate().await, Some(0));
    drop(mute);
}

#[tokio::test]
async fn limits_can_be_in_several_files() {
    let dir = tempfile::tempdir().unwrap();
    let more = dir.path().join("more.yaml");
    std::fs::write(&more, limit("rpm", 7, 60)).unwrap();
    let service = Service::start(&limit("tpm", 100, 60), &["--limits", more.to_str().unwrap()]).await;
    assert_eq!(service.left(descriptor("tpm", "ann")).await, 100);
    assert_eq!(service.left(descriptor("rpm", "ann")).await, 7);
}

#[tokio::test]
async fn the_limits_that_come_with_it_are_read() {
    let with_it = concat!(env!("CARGO_MANIFEST_DIR"), "/envoy/ratelimit/limitador.yaml");
    let service = Service::start("[]", &["--limits", with_it]).await;
    assert_eq!(service.left(descriptor("usd", "ann")).await, u32::MAX);
}

#[test]
fn limits_that_are_wrong_are_refused_with_what_is_wrong() {
    let good = limit("tpm", 100, 60);
    let cases = [
        ("namespace: [", "-: "),
        (&*good.replace("seconds: 60", "seconds: 0"), "-: limit 1: seconds is 0"),
        (&good.replace("seconds: 60", "secconds: 60"), "secconds"),
        (&good.replace("namespace: tollgate", "namespace: ''"), "-: limit 1: namespace is empty"),
        (&good.replace("100", "4503599627370497"), "max_value is 4503599627370497"),
        (&good.replace("descriptors[0]['user']", "request.user"), "request.user names request"),
        (&good.replace(" == ", " = = "), "limit 1: "),
        (&format!("{good}{good}"), "limit 2: another limit has the same"),
    ];
    for (limits, expected) in cases {
        let said = not_started(limits, &[]);
        assert!(said.contains(expected), "{limits}\nsaid {said}");
    }
}

#[test]
fn options_that_are_wrong_are_refused_with_what_is_wrong() {
    let cases: [(&[&str], &str); 3] = [
        (&["--limits", "/nowhere.yaml"], "/nowhere.yaml: "),
        (&["--redis", "redis://127.0.0.1:1"], "cannot use redis://127.0.0.1:1: "),
        (&["--lisen"], "--lisen"),
    ];
    for (options, expected) in cases {
        let said = not_started("[]", options);
        assert!(said.contains(expected), "{options:?}\nsaid {said}");
    }
}
