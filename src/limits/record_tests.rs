//! Records of every kind: what the table counts for them, and that callers never share one.

use std::rc::Rc;

use crate::api::Pause;
use crate::config::Ratio;
use crate::identity::Caller;
use crate::limits::limit::Subject;
use crate::limits::{Busy, Busyness, Calibration, Ledger, Limit, OutputReserve, Standing, newly_crossed};
use crate::metrics::ModelLabels;
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::tokens::Counted;
use crate::units::{Amount, Span, Timestamp, Tokens};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000_000);
const RESERVE: OutputReserve = OutputReserve { start: Tokens(512), learn: true, at_most: Ratio::ONE };
const LONGEST: Span = Span::from_secs(60);

fn with_table(sets: u32, test: impl FnOnce(&MemoryLines, &Ledger<'_>)) {
    let lines = MemoryLines::default();
    let table = Table::new(&lines as &dyn Lines, sets);
    test(&lines, &Ledger::new(&table, &KeyHasher::new(&[3; 16]), NOW));
}

fn observe_output(model: &str, output: u64, ledger: &Ledger<'_>) {
    RESERVE.observe(model, "free", None, output, ledger);
}

fn calibrate(model: &str, ledger: &Ledger<'_>) {
    let counted = Counted { text: Tokens(1_000), ..Counted::default() };
    Calibration { on: true }.observe(model, &counted, 2_000, ledger);
}

fn cross(user: &str, ledger: &Ledger<'_>) -> bool {
    let limit = Rc::new(Limit::example("tpm", "tokens", 100));
    let caller = Caller::new(vec![("user".into(), user.into())]);
    let subject = Subject { caller: &caller, model: "m", api: "openai_chat", body: b"" };
    let standing = Standing { limit, available: Amount(1), spent: Amount(99), reset: LONGEST };
    !newly_crossed(&[standing], &subject, ledger).is_empty()
}

fn pause(upstream: &str, ledger: &Ledger<'_>) {
    Busy::of(upstream.as_bytes(), "m", ledger).tell(Pause::Untold, LONGEST, ledger);
}

#[test]
fn lost_races_for_records_of_every_kind_are_counted() {
    let writes: [(&str, fn(&Ledger<'_>)); 5] = [
        ("output", |ledger| observe_output("m", 100, ledger)),
        ("scale", |ledger| calibrate("claude", ledger)),
        ("known", |ledger| ledger.make_known("model", "m")),
        ("crossed", |ledger| assert!(cross("ada", ledger))),
        ("busy", |ledger| pause("openai", ledger)),
    ];
    for (kind, write) in writes {
        with_table(64, |lines, ledger| {
            lines.lose_next(3);
            write(ledger);
            assert_eq!(ledger.take_tally().retries, 3, "{kind}");
        });
    }
}

#[test]
fn in_a_full_table_no_name_is_known_that_nobody_told() {
    with_table(1, |_, ledger| {
        for model in 0..100 {
            ledger.make_known("model", &format!("model-{model}"));
        }
        let mut labels = ModelLabels::default();
        for model in 0..100 {
            let made_up = format!("made-up-{model}");
            assert!(!ledger.is_known("model", &made_up));
            assert_eq!(&*labels.label(&made_up, ledger), "other");
        }
    });
}

#[test]
fn in_a_full_table_no_record_is_anothers() {
    with_table(1, |_, ledger| {
        let names: Vec<_> = (0..100).map(|name| format!("name-{name}")).collect();
        for (output, name) in (1..).zip(&names) {
            observe_output(name, 1_000 * output, ledger);
            calibrate(name, ledger);
            pause(name, ledger);
            cross(name, ledger);
        }
        for (output, name) in (1..).zip(&names) {
            let expected = RESERVE.expected(name, "free", ledger).most;
            let learned = Tokens(1_500 * output);
            assert!([RESERVE.start, learned].contains(&expected), "{name}: {expected:?}");
        }
        for other in 0..100 {
            let other = format!("other-{other}");
            assert_eq!(RESERVE.expected(&other, "free", ledger).most, RESERVE.start);
            assert_eq!(Calibration { on: true }.factor(&other, ledger), Ratio::ONE);
            assert_eq!(Busy::of(other.as_bytes(), "m", ledger).look(LONGEST, ledger), Busyness::Free);
            // Where no record can be written, nobody warns: every call would.
            assert!(!cross(&other, ledger));
        }
    });
}
