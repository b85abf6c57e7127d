//! Records of every kind: what the table counts for them, and that callers never share one.

use std::rc::Rc;

use crate::api::Pause;
use crate::config::Ratio;
use crate::identity::Caller;
use crate::limits::limit::Subject;
use crate::limits::{
    Budgets, Busy, Busyness, Calibration, Limit, OutputReserve, Standing, is_known, make_known, newly_crossed,
};
use crate::metrics::ModelLabels;
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::tokens::TokenCount;
use crate::units::{Amount, Span, Timestamp, Tokens};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);
const RESERVE: OutputReserve = OutputReserve { start: Tokens(512), learn: true, at_most: Ratio::ONE };
const LONGEST: Span = Span::from_secs(60);

fn with_table(sets: u32, test: impl FnOnce(&MemoryLines, &Budgets<'_>)) {
    let lines = MemoryLines::default();
    let table = Table::new(&lines as &dyn Lines, sets);
    test(&lines, &Budgets::new(&table, &KeyHasher::new(&[3; 16]), NOW));
}

fn observe_output(model: &str, output: u64, budgets: &Budgets<'_>) {
    RESERVE.observe(model, "free", None, output, budgets);
}

fn calibrate(model: &str, budgets: &Budgets<'_>) {
    let counted = TokenCount { text: Tokens(1_000), ..TokenCount::default() };
    Calibration { on: true }.observe(model, &counted, 2_000, budgets);
}

fn cross(user: &str, budgets: &Budgets<'_>) -> bool {
    let limit = Rc::new(Limit::example("tpm", "tokens", 100));
    let caller = Caller::new(vec![("user".into(), user.into())]);
    let subject = Subject { caller: &caller, model: "m", api: "openai_chat", body: b"" };
    let standing = Standing { limit, available: Amount(1), spent: Amount(99), reset: LONGEST };
    !newly_crossed(&[standing], &subject, budgets).is_empty()
}

fn pause(upstream: &str, budgets: &Budgets<'_>) {
    Busy::of(upstream.as_bytes(), "m", budgets).tell(Pause::Untold, LONGEST, budgets);
}

#[test]
fn lost_races_for_records_of_every_kind_are_counted() {
    type Write = (&'static str, fn(&Budgets<'_>));
    let writes: [Write; 5] = [
        ("output", |budgets| observe_output("m", 100, budgets)),
        ("scale", |budgets| calibrate("claude", budgets)),
        ("known", |budgets| make_known("model", "m", budgets)),
        ("crossed", |budgets| assert!(cross("ada", budgets))),
        ("busy", |budgets| pause("openai", budgets)),
    ];
    for (kind, write) in writes {
        with_table(64, |lines, budgets| {
            lines.lose_next(3);
            write(budgets);
            assert_eq!(budgets.take_tally().retries, 3, "{kind}");
        });
    }
}

#[test]
fn in_a_full_table_no_name_is_known_that_nobody_told() {
    with_table(1, |_, budgets| {
        for model in 0..100 {
            make_known("model", &format!("model-{model}"), budgets);
        }
        let mut labels = ModelLabels::default();
        for model in 0..100 {
            let made_up = format!("made-up-{model}");
            assert!(!is_known("model", &made_up, budgets));
            assert_eq!(&*labels.label(&made_up, budgets), "other");
        }
    });
}

#[test]
fn in_a_full_table_no_record_is_anothers() {
    with_table(1, |_, budgets| {
        let names: Vec<_> = (0..100).map(|name| format!("name-{name}")).collect();
        for (output, name) in (1..).zip(&names) {
            observe_output(name, 1_000 * output, budgets);
            calibrate(name, budgets);
            pause(name, budgets);
            cross(name, budgets);
        }
        for (output, name) in (1..).zip(&names) {
            let expected = RESERVE.expected(name, "free", budgets).most;
            let learned = Tokens(1_500 * output);
            assert!([RESERVE.start, learned].contains(&expected), "{name}: {expected:?}");
        }
        for other in 0..100 {
            let other = format!("other-{other}");
            assert_eq!(RESERVE.expected(&other, "free", budgets).most, RESERVE.start);
            assert_eq!(Calibration { on: true }.factor(&other, budgets), Ratio::ONE);
            assert_eq!(Busy::of(other.as_bytes(), "m", budgets).look(LONGEST, budgets), Busyness::Free);
            // If no record can be written, no call warns; otherwise every call would.
            assert!(!cross(&other, budgets));
        }
    });
}
