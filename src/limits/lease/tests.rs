//! What a lease holds, what can be taken of it, and who asks for more. Below: windows, refusals, the table.

use super::*;
use crate::identity::Caller;
use crate::limits::{Algorithm, Shape, Tally};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};

mod refusals;
mod storing;
mod windows;

pub(super) const START: Timestamp = Timestamp(1_800_000_000_000_000_000);
pub(super) const POLICY: LeasePolicy = LeasePolicy { share: Ratio { ppm: 20_000 }, at_least: Amount(1_000) };
pub(super) const WINDOW: Span = Span::from_secs(60);

/// The table that the workers of a process share.
pub(super) struct Process {
    pub(super) lines: MemoryLines,
    keys: KeyHasher,
    sets: u32,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { lines: MemoryLines::new(), keys: KeyHasher::new(&[3; 16]), sets: 16 }
    }

    /// Runs what a worker does so many milliseconds after the start.
    pub(super) fn at<T>(&self, millis: u64, run: impl FnOnce(&Ledger<'_>) -> T) -> T {
        self.when(START + Span::from_millis(millis), run)
    }

    pub(super) fn when<T>(&self, now: Timestamp, run: impl FnOnce(&Ledger<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, self.sets);
        run(&Ledger::new(&table, &self.keys, now))
    }
}

pub(super) fn limit(counts: &str, max: u64) -> Rc<Limit> {
    let limit = Limit::example("shared", counts, max);
    let shape = Shape { algorithm: Algorithm::FixedWindow, window: WINDOW, ..limit.shape };
    Rc::new(Limit { shape, ..limit })
}

/// A hundred thousand tokens a minute.
fn tokens() -> Rc<Limit> {
    limit("tokens", 100_000)
}

pub(super) fn account(limit: &Rc<Limit>, user: &str) -> Account {
    Process::new().at(0, |ledger| {
        let caller = Caller::new(vec![("user".into(), user.as_bytes().to_vec())]);
        Account::of(
            limit,
            &Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" },
            ledger,
        )
    })
}

pub(super) fn told(remaining: u64, reset_millis: u64) -> Told {
    Told { remaining: Some(Amount(remaining)), reset: Some(Span::from_millis(reset_millis)) }
}

const NOTHING: Told = Told { remaining: None, reset: None };

/// What a test looks at.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Taken,
    Short,
    Spent(Span),
}

/// Takes and forgets the ticket.
fn take(account: &Account, amount: u64, ledger: &Ledger<'_>) -> (Got, Option<Amount>) {
    let (taken, more) = account.take(Amount(amount), &POLICY, ledger);
    let got = match taken {
        Taken::Taken(..) => Got::Taken,
        Taken::Short => Got::Short,
        Taken::Spent(wait, _) => Got::Spent(wait),
    };
    (got, more)
}

fn ticket(account: &Account, amount: u64, ledger: &Ledger<'_>) -> Ticket {
    match account.take(Amount(amount), &POLICY, ledger).0 {
        Taken::Taken(ticket, _) => ticket,
        other => panic!("{amount}: {other:?}"),
    }
}

/// What is left of the lease: the most that can be taken.
fn left(account: &Account, ledger: &Ledger<'_>) -> u64 {
    let stored = |stored: Option<&_>| Lease::open(stored?, &account.limit, ledger.now);
    ledger.table.peek(&account.key, ledger.now, stored).unwrap().map_or(0, |lease| lease.left.0)
}

/// A process that at 0 s has learned of 50,000 tokens for 40 more seconds, and was granted 1,000 of them.
fn leased(account: &Account) -> Process {
    let process = Process::new();
    process.at(0, |ledger| {
        assert_eq!(account.learn(Amount(1), told(50_000, 40_000), &POLICY, ledger), Some(Amount(1_000)));
        account.granted(Amount(1_000), told(49_000, 40_000), ledger);
    });
    process
}

#[test]
fn the_first_call_asks_for_itself_and_nobody_asks_for_more() {
    Process::new().at(0, |ledger| {
        assert_eq!(take(&account(&tokens(), "ada"), 1, ledger), (Got::Short, None));
    });
}

#[test]
fn what_the_first_call_learns_says_how_much_to_lease() {
    for (remaining, want) in
        [(90_000, Some(1_800)), (50_000, Some(1_000)), (4_000, Some(1_000)), (3_999, None)]
    {
        Process::new().at(0, |ledger| {
            let account = account(&tokens(), "ada");
            assert_eq!(
                account.learn(Amount(1), told(remaining, 40_000), &POLICY, ledger),
                want.map(Amount),
                "{remaining}"
            );
        });
    }
}

#[test]
fn a_share_of_half_is_leased_as_long_as_it_is_no_less_than_the_least_lease() {
    let half = LeasePolicy { share: Ratio { ppm: 500_000 }, ..POLICY };
    for (remaining, want) in
        [(90_000, Some(45_000)), (2_000, Some(1_000)), (1_999, Some(1_000)), (1_998, None)]
    {
        Process::new().at(0, |ledger| {
            let told = told(remaining, 40_000);
            let more = account(&tokens(), "ada").learn(Amount(1), told, &half, ledger);
            assert_eq!(more, want.map(Amount), "{remaining}");
        });
    }
}

#[test]
fn the_least_lease_is_of_tokens_only() {
    for (counts, remaining, want) in
        [("requests", 1_000, Some(20)), ("cost_usd", 1_000, Some(20)), ("input_tokens", 4_000, Some(1_000))]
    {
        Process::new().at(0, |ledger| {
            let account = account(&limit(counts, 5_000), "ada");
            assert_eq!(
                account.learn(Amount(1), told(remaining, 40_000), &POLICY, ledger),
                want.map(Amount),
                "{counts}"
            );
        });
    }
}

#[test]
fn of_an_empty_budget_nothing_is_asked_for() {
    Process::new().at(0, |ledger| {
        let account = account(&limit("requests", 100), "ada");
        assert_eq!(account.learn(Amount(1), told(0, 40_000), &POLICY, ledger), None);
    });
}

#[test]
fn a_service_that_never_tells_what_remains_is_asked_for_a_share_of_the_whole() {
    Process::new().at(0, |ledger| {
        let account = account(&tokens(), "ada");
        assert_eq!(account.learn(Amount(1), NOTHING, &POLICY, ledger), Some(Amount(2_000)));
        assert_eq!(
            self::account(&limit("tokens", 900), "ada").learn(Amount(1), NOTHING, &POLICY, ledger),
            None
        );
    });
}

#[test]
fn what_is_granted_can_be_taken_and_no_more() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 600, ledger).0, Got::Taken);
        assert_eq!(take(&account, 401, ledger).0, Got::Short);
        assert_eq!(take(&account, 400, ledger).0, Got::Taken);
        assert_eq!(take(&account, 1, ledger).0, Got::Short);
    });
}

#[test]
fn callers_and_limits_have_leases_of_their_own() {
    let ada = account(&tokens(), "ada");
    leased(&ada).at(1_000, |ledger| {
        assert_eq!(take(&account(&tokens(), "bob"), 1, ledger).0, Got::Short);
        assert_eq!(take(&account(&limit("requests", 9), "ada"), 1, ledger).0, Got::Short);
    });
}

#[test]
fn more_is_asked_for_when_less_than_half_a_lease_is_left_and_not_before() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 500, ledger), (Got::Taken, None));
        assert_eq!(take(&account, 1, ledger), (Got::Taken, Some(Amount(501))));
    });
}

#[test]
fn a_lease_is_filled_up_and_never_more_than_one_is_held() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        for _ in 0..20 {
            if let (_, Some(more)) = take(&account, 300, ledger) {
                account.granted(more, told(49_000, 39_000), ledger);
            }
            assert!(left(&account, ledger) <= 1_000, "{}", left(&account, ledger));
        }
    });
}

#[test]
fn a_call_that_finds_too_little_left_asks_for_more_too() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert_eq!(take(&account, 2_000, ledger), (Got::Short, None));
        account.take(Amount(1_000), &POLICY, ledger).1.unwrap();
        account.not_granted(ledger);
        assert_eq!(take(&account, 2_000, ledger), (Got::Short, Some(Amount(1_000))));
    });
}

#[test]
fn a_lease_of_one_request_is_asked_for_when_none_is_left() {
    let account = account(&limit("requests", 50), "ada");
    Process::new().at(0, |ledger| {
        assert_eq!(account.learn(Amount(1), told(50, 40_000), &POLICY, ledger), Some(Amount(1)));
        account.granted(Amount(1), told(49, 40_000), ledger);
        assert_eq!(take(&account, 1, ledger), (Got::Taken, Some(Amount(1))));
    });
}

#[test]
fn of_all_workers_one_asks() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| assert_eq!(take(&account, 600, ledger).1, Some(Amount(600))));

    for millis in [1_000, 1_500, 2_990] {
        process.at(millis, |ledger| {
            assert_eq!(take(&account, 1, ledger), (Got::Taken, None));
            assert_eq!(account.learn(Amount(1), told(48_000, 40_000 - millis), &POLICY, ledger), None);
        });
    }
}

#[test]
fn after_two_seconds_without_an_answer_another_asks() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| assert!(take(&account, 600, ledger).1.is_some()));

    process.at(3_010, |ledger| assert_eq!(take(&account, 1, ledger), (Got::Taken, Some(Amount(601)))));
    process.at(3_011, |ledger| assert_eq!(take(&account, 1, ledger), (Got::Taken, None)));
}

#[test]
fn after_an_answer_another_asks_when_there_is_need() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        assert!(take(&account, 600, ledger).1.is_some());
        account.not_granted(ledger);
        assert!(take(&account, 1, ledger).1.is_some());
        account.granted(Amount(50), NOTHING, ledger);
        assert!(take(&account, 1, ledger).1.is_some());
    });
}

#[test]
fn what_a_grant_leaves_is_reckoned_if_the_service_does_not_tell() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        account.granted(Amount(4_000), NOTHING, ledger);

        let standing = account.standing(ledger).unwrap();

        assert_eq!(standing.available, Amount(45_000 + 5_000));
    });
}

#[test]
fn a_standing_says_what_remains_at_the_service_and_here() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        let (taken, _) = account.take(Amount(300), &POLICY, ledger);
        let Taken::Taken(_, Some(after)) = taken else { panic!("{taken:?}") };

        for standing in [account.standing(ledger).unwrap(), after] {
            assert_eq!(standing.available, Amount(49_700));
            assert_eq!(standing.spent, Amount(50_300));
            assert_eq!(standing.reset, Span::from_secs(39));
        }
    });
}

#[test]
fn nothing_is_known_of_a_budget_untouched_or_never_told_of() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |ledger| {
        assert!(account.standing(ledger).is_none());
        account.granted(Amount(10), NOTHING, ledger);
        assert!(account.standing(ledger).is_none());
    });
}

#[test]
fn what_a_call_did_not_use_goes_back() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        let ticket = ticket(&account, 800, ledger);
        assert_eq!(ticket.amount(), Amount(800));

        assert_eq!(ticket.correct_to(Amount(300), ledger), Amount::ZERO);

        assert_eq!(left(&account, ledger), 700);
    });
}

#[test]
fn what_a_call_used_exactly_needs_no_correction() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |ledger| {
        let ticket = ticket(&account, 800, ledger);
        let writes = process.lines.writes();

        assert_eq!(ticket.correct_to(Amount(800), ledger), Amount::ZERO);

        assert_eq!((left(&account, ledger), process.lines.writes()), (200, writes));
    });
}

#[test]
fn what_a_call_used_more_comes_from_the_lease_as_far_as_it_goes() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |ledger| {
        let (one, other) = (ticket(&account, 500, ledger), ticket(&account, 300, ledger));

        assert_eq!(one.correct_to(Amount(650), ledger), Amount::ZERO);
        assert_eq!(left(&account, ledger), 50);
        assert_eq!(other.correct_to(Amount(450), ledger), Amount(100));
        assert_eq!(left(&account, ledger), 0);
    });
}

#[test]
fn what_a_call_that_asked_for_itself_did_not_need_is_left_to_others() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process
        .at(0, |ledger| assert!(account.learn(Amount(1), told(50_000, 40_000), &POLICY, ledger).is_some()));

    process.at(9_000, |ledger| {
        assert_eq!(account.correct(Amount(70), Amount::ZERO, START, ledger), Amount::ZERO);
        assert_eq!(left(&account, ledger), 70);
    });
}
