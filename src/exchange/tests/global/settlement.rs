//! The reports to the service at the end of a call, by each protocol.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Told(u64, u64),
    ErrorStatus,
    Aborted,
    Missing,
    Reserved,
    NoResponse,
}

/// Options of `global`, and the report when a call that reserved 108 used this amount.
type Protocol = (&'static str, fn(i64) -> i64);

const PROTOCOLS: [Protocol; 5] = [
    ("", |used| (used - 108).max(0)),
    (r#", "refunds": true"#, |used| used - 108),
    (r#", "hits_addend": "request""#, |used| (used - 108).max(0)),
    (r#", "protocol": "check_then_report""#, |used| used),
    (r#", "protocol": "kuadrant""#, |used| used),
];

/// Ends a call that was admitted.
fn end(world: &mut World, exchange: &mut Exchange, ending: Ending) {
    let bench = &mut world.bench;
    match ending {
        Ending::Told(input, output) => {
            bench.head(exchange, 200, "application/json");
            bench.piece(exchange, &answer(input, output), true);
        }
        Ending::ErrorStatus => {
            bench.head(exchange, 503, "application/json");
        }
        Ending::Aborted => {
            bench.head(exchange, 200, "text/event-stream");
            bench.piece(exchange, HELLO_CHUNK, false);
        }
        Ending::Missing => {
            bench.head(exchange, 200, "text/event-stream");
            bench.piece(exchange, HELLO_CHUNK, true);
        }
        Ending::Reserved => {
            bench.head_with(exchange, 200, &[("content-encoding", "unheard-of")]);
            bench.piece(exchange, "\u{1f}", true);
        }
        Ending::NoResponse => {}
    }
    bench.handle(exchange, Event::End { abort: Some(Abort::Client) });
}

#[test]
fn every_ending_tells_exactly_what_the_protocol_demands() {
    for (global, told) in PROTOCOLS {
        for (ending, used) in [
            (Ending::Told(8, 5), 13),
            (Ending::Told(8, 100), 108),
            (Ending::Told(8, 400), 408),
            (Ending::ErrorStatus, 0),
            (Ending::Aborted, 10),
            (Ending::Missing, 10),
            (Ending::Reserved, 108),
            (Ending::NoResponse, 8),
        ] {
            let mut world = World::new(global, &[TPM]);
            let (mut exchange, effects) = world.call(HI);
            assert_eq!(effects.next, Next::Pass);

            end(&mut world, &mut exchange, ending);

            let told = told(used);
            let expected: Vec<_> =
                (told != 0).then(|| format!("free/tpm ada {told:+}")).into_iter().collect();
            assert_eq!(world.tasks(), expected, "{global} {ending:?}");
            assert!(!exchange.wants(Wanted::End));
        }
    }
}

#[test]
fn a_failed_call_still_counts_as_a_request() {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    for (global, told) in [
        (r#", "refunds": true"#, &["free/tpm ada -108"][..]),
        (r#", "protocol": "check_then_report""#, &["free/rpm ada +1"]),
    ] {
        let mut world = World::new(global, &[TPM, &rpm]);
        let (mut exchange, _) = world.call(HI);

        end(&mut world, &mut exchange, Ending::ErrorStatus);

        assert_eq!(world.tasks(), told, "{global}");
    }
}

#[test]
fn a_call_whose_price_is_known_before_it_tells_nothing_afterwards() {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    let mut world = World::new("", &[&rpm]);

    world.use_up(8, 5);

    assert_eq!(world.tasks(), [""; 0]);
    assert_eq!(world.charged("rpm"), 1);
}

#[test]
fn what_is_told_reaches_the_service_whatever_the_protocol() {
    for (global, _) in PROTOCOLS.into_iter().filter(|(global, _)| !global.is_empty()) {
        // With amounts in requests, the second call uses what the first reserved too much.
        let is_exact = ["refunds", "protocol", "hits_addend"].iter().any(|option| global.contains(option));
        let mut world = World::new(global, &[TPM]);
        world.use_up(8, 5);
        world.use_up(8, 400);

        world.do_tasks();

        assert_eq!(world.charged("tpm"), if is_exact { 13 + 408 } else { 108 + 408 }, "{global}");
    }
}

#[test]
fn a_report_belongs_to_the_window_that_was_charged() {
    let mut world = World::new(r#", "protocol": "check_then_report""#, &[TPM]);
    let start = world.bench.now;
    let (mut exchange, _) = world.call(HI);
    world.bench.now = start + Span::from_secs(10);

    end(&mut world, &mut exchange, Ending::Told(8, 5));

    let [Task::Report(report)] = &world.bench.tasks[..] else { panic!("{:?}", world.bench.tasks) };
    assert_eq!(report.until, start + Span::from_secs(40), "as the service has told");
}
