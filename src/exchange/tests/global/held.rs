//! Calls in flight and waiting calls, with a rate limit service.

use super::*;

const FLIGHT: &str = r#"{ "name": "slot", "count": "concurrent_requests", "per": "tenant", "max": 1 }"#;

/// 600 tokens a minute, which is ten a second.
const BUCKET: &str = r#"{ "name": "own", "count": "tokens", "per": "tenant", "max": 600, "window": "1m" }"#;

fn waiting(limits: &[&str]) -> String {
    let wait = r#""free": { "wait": { "max_wait": "5s", "max_waiting": 1 }, "#;
    config(r#", "refunds": true"#, limits).replace(r#""free": { "#, wait)
}

fn holding(tokens: u64) -> String {
    json!({ "model": "gpt-4o", "messages": [], "max_tokens": tokens }).to_string()
}

fn is_free(world: &mut World) -> bool {
    let mut probe = world.bench.exchange();
    let effects = world.bench.handle(&mut probe, Event::RequestHead { head: &Request::chat(), ended: false });
    world.bench.handle(&mut probe, Event::End { abort: None });
    effects.next == Next::ReadBody
}

#[test]
fn a_call_has_its_place_while_the_service_is_asked_and_gives_it_back_however_that_ends() {
    let mut world = World::new("", &[FLIGHT, TPM]);
    for ending in ["left", "refused", "answered"] {
        let (mut call, effects) = world.bench.send(HI);
        let questions = questions(&effects);
        assert!(!questions.is_empty() && !is_free(&mut world), "{ending}");
        match ending {
            "left" => {
                world.bench.handle(&mut call, Event::End { abort: Some(Abort::Client) });
            }
            "refused" => {
                let limits = core::mem::take(&mut world.service.limits);
                world.service.limits.extend(limits.keys().map(|name| (name.clone(), (1, 60))));
                assert_eq!(reply(&world.answer(&mut call, 0, &questions[0])).0.status, 429);
                world.service.limits = limits;
            }
            _ => {
                assert_eq!(world.answer(&mut call, 0, &questions[0]).next, Next::Pass);
                assert!(!is_free(&mut world));
                world.bench.handle(&mut call, Event::End { abort: Some(Abort::Client) });
            }
        }
        assert!(is_free(&mut world), "{ending}");
        world.bench.now = world.bench.now + Span::from_secs(120);
    }
}

#[test]
fn a_call_waits_after_the_service_has_allowed_it_and_is_taken_back_there_if_it_leaves() {
    let mut world = World::of(&waiting(&[BUCKET, TPM]));
    let on_their_way: Vec<_> = (0..4).map(|_| world.call(&holding(150)).0).collect();
    let (mut call, effects) = world.call(&holding(20));
    let until = world.bench.now + Span::from_secs(2);
    assert_eq!(effects.next, Next::Wait { until });
    assert_eq!(world.charged("tpm"), 620);

    // The queue is full: the next call is refused with its wait, and refunded at the service.
    let (_, effects) = world.call(&holding(10));
    assert_eq!(field(&effects, "retry-after-ms"), Some("3000"));
    assert_eq!(world.tasks(), ["free/tpm ada -10"]);

    world.bench.handle(&mut call, Event::End { abort: Some(Abort::Client) });
    assert_eq!(world.tasks(), ["free/tpm ada -20"]);
    assert_eq!(world.bench.count_of(&metrics::WAITS, "left"), 1);

    let (mut call, effects) = world.call(&holding(20));
    assert_eq!(effects.next, Next::Wait { until });
    world.bench.now = until;
    assert_eq!(world.bench.handle(&mut call, Event::Due).next, Next::Pass);
    drop(on_their_way);
}

#[test]
fn the_time_that_the_service_takes_counts_as_waited() {
    let mut world = World::of(&waiting(&[BUCKET, TPM]));
    let _on_their_way: Vec<_> = (0..4).map(|_| world.call(&holding(150)).0).collect();
    let (mut call, effects) = world.bench.send(&holding(20));
    let until = world.bench.now + Span::from_secs(2);
    world.bench.now = world.bench.now + Span::from_millis(500);

    let effects = world.answer_all(&mut call, effects);

    assert_eq!(effects.next, Next::Wait { until });
}
