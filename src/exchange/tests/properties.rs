//! Properties in any order of events.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Head(u16, bool),
    Piece(&'static str, bool),
    Later(u64),
    End(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (prop_oneof![Just(200_u16), Just(500), Just(404)], any::<bool>())
            .prop_map(|(status, ended)| Step::Head(status, ended)),
        (
            prop_oneof![
                Just(HELLO_CHUNK),
                Just("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":3}}\n\n"),
                Just("junk")
            ],
            any::<bool>()
        )
            .prop_map(|(piece, last)| Step::Piece(piece, last)),
        (0..5_u64).prop_map(Step::Later),
        any::<bool>().prop_map(Step::End),
    ];
    prop::collection::vec(step, 0..8)
}

proptest! {
    /// However an exchange goes, its end leaves only the usage charged: a minute later all has
    /// flowed back.
    #[test]
    fn nothing_stays_held_after_the_end_in_any_order_of_events(steps in steps()) {
        let mut bench = Bench::new(TOKENS);
        let (mut exchange, _) = bench.send(HI_STREAM);
        for step in steps.into_iter().chain([Step::End(true)]) {
            match step {
                Step::Head(status, ended) => {
                    let content_type = "text/event-stream";
                    bench.handle(&mut exchange, Event::ResponseHead { status, head: &Answered(&[("content-type", content_type)]), ended });
                }
                Step::Piece(piece, last) => { bench.piece(&mut exchange, piece, last); }
                Step::Later(seconds) => bench.now = bench.now + Span::from_secs(seconds),
                Step::End(client) => {
                    let abort = Some(if client { Abort::Client } else { Abort::Upstream });
                    bench.handle(&mut exchange, Event::End { abort });
                }
            }
        }
        let settled: u64 = bench.counted.iter().filter(|(name, ..)| *name == metrics::CALLS.name).map(|(.., by)| by).sum();
        prop_assert_eq!(settled, 1);
        let used: u64 = bench.counted.iter().filter(|(name, ..)| *name == metrics::TOKENS.name).map(|(.., by)| by).sum();
        prop_assert!(bench.left() >= 1_000 - used, "{} left after {used}", bench.left());
        bench.now = bench.now + Span::from_secs(60);
        prop_assert_eq!(bench.left(), 1_000);
    }
}
