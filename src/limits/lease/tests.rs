//! The contents of a lease, what can be taken from it, and who requests more. Below: windows,
//! refusals, the table.

use super::*;
use crate::identity::Caller;
use crate::limits::{Algorithm, Shape, Tally};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};

mod refusals;
mod storing;
mod windows;

pub(in crate::limits) const START: Timestamp = Timestamp(1_800_000_000_000_000_000);
pub(in crate::limits) const POLICY: LeasePolicy =
    LeasePolicy { share: Ratio { ppm: 20_000 }, at_least: Amount(1_000) };
pub(in crate::limits) const WINDOW: Span = Span::from_secs(60);

/// The table that the workers of a process share.
pub(in crate::limits) struct Process {
    pub(in crate::limits) lines: MemoryLines,
    keys: KeyHasher,
    sets: u32,
}

impl Process {
    pub(in crate::limits) fn new() -> Self {
        Self { lines: MemoryLines::new(), keys: KeyHasher::new(&[3; 16]), sets: 16 }
    }

    /// Runs a worker's step at `millis` after the start.
    pub(in crate::limits) fn at<T>(&self, millis: u64, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        self.when(START + Span::from_millis(millis), run)
    }

    pub(in crate::limits) fn when<T>(&self, now: Timestamp, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, self.sets);
        run(&Budgets::new(&table, &self.keys, now))
    }
}

pub(in crate::limits) fn limit(counts: &str, max: u64) -> Rc<Limit> {
    let limit = Limit::example("shared", counts, max);
    let shape = Shape { algorithm: Algorithm::FixedWindow, window: WINDOW, ..limit.shape };
    Rc::new(Limit { shape, ..limit })
}

/// Returns a limit of a hundred thousand tokens a minute.
fn tokens() -> Rc<Limit> {
    limit("tokens", 100_000)
}

pub(in crate::limits) fn account(limit: &Rc<Limit>, user: &str) -> Account {
    Process::new().at(0, |budgets| {
        let caller = Caller::new(vec![("user".into(), user.as_bytes().to_vec())]);
        Account::of(
            limit,
            &Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" },
            budgets,
        )
    })
}

pub(in crate::limits) fn told(remaining: u64, reset_millis: u64) -> WindowStatus {
    WindowStatus { remaining: Some(Amount(remaining)), reset: Some(Span::from_millis(reset_millis)) }
}

const NOTHING: WindowStatus = WindowStatus { remaining: None, reset: None };

/// The part of an outcome that tests compare.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    LeaseOutcome,
    Short,
    Spent(Span),
}

/// Takes an amount and forgets the ticket.
fn take(account: &Account, amount: u64, budgets: &Budgets<'_>) -> (Got, Option<Amount>) {
    let (taken, more) = account.take(Amount(amount), &POLICY, budgets);
    let got = match taken {
        LeaseOutcome::Taken(..) => Got::LeaseOutcome,
        LeaseOutcome::Short => Got::Short,
        LeaseOutcome::Spent(wait, _) => Got::Spent(wait),
    };
    (got, more)
}

fn ticket(account: &Account, amount: u64, budgets: &Budgets<'_>) -> LeaseCharge {
    match account.take(Amount(amount), &POLICY, budgets).0 {
        LeaseOutcome::Taken(ticket, _) => ticket,
        other => panic!("{amount}: {other:?}"),
    }
}

/// Returns the rest of the lease: the most that can be taken.
fn left(account: &Account, budgets: &Budgets<'_>) -> u64 {
    let stored = |stored: Option<&_>| Lease::open(stored?, &account.limit, budgets.now);
    budgets.table.peek(&account.key, budgets.now, stored).unwrap().map_or(0, |lease| lease.left.0)
}

/// Returns a process that at 0 s has learned of 50,000 tokens for 40 more seconds, and was granted
/// 1,000 of them.
fn leased(account: &Account) -> Process {
    let process = Process::new();
    process.at(0, |budgets| {
        assert_eq!(account.learn(Amount(1), told(50_000, 40_000), &POLICY, budgets), Some(Amount(1_000)));
        account.granted(Amount(1_000), told(49_000, 40_000), budgets);
    });
    process
}

#[test]
fn the_first_call_asks_for_itself_and_nobody_asks_for_more() {
    Process::new().at(0, |budgets| {
        assert_eq!(take(&account(&tokens(), "ada"), 1, budgets), (Got::Short, None));
    });
}

#[test]
fn what_the_first_call_learns_says_how_much_to_lease() {
    for (remaining, want) in
        [(90_000, Some(1_800)), (50_000, Some(1_000)), (4_000, Some(1_000)), (3_999, None)]
    {
        Process::new().at(0, |budgets| {
            let account = account(&tokens(), "ada");
            assert_eq!(
                account.learn(Amount(1), told(remaining, 40_000), &POLICY, budgets),
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
        Process::new().at(0, |budgets| {
            let told = told(remaining, 40_000);
            let more = account(&tokens(), "ada").learn(Amount(1), told, &half, budgets);
            assert_eq!(more, want.map(Amount), "{remaining}");
        });
    }
}

#[test]
fn the_least_lease_is_of_tokens_only() {
    for (counts, remaining, want) in
        [("requests", 1_000, Some(20)), ("cost_usd", 1_000, Some(20)), ("input_tokens", 4_000, Some(1_000))]
    {
        Process::new().at(0, |budgets| {
            let account = account(&limit(counts, 5_000), "ada");
            assert_eq!(
                account.learn(Amount(1), told(remaining, 40_000), &POLICY, budgets),
                want.map(Amount),
                "{counts}"
            );
        });
    }
}

#[test]
fn of_an_empty_budget_nothing_is_asked_for() {
    Process::new().at(0, |budgets| {
        let account = account(&limit("requests", 100), "ada");
        assert_eq!(account.learn(Amount(1), told(0, 40_000), &POLICY, budgets), None);
    });
}

#[test]
fn a_service_that_never_tells_what_remains_is_asked_for_a_share_of_the_whole() {
    Process::new().at(0, |budgets| {
        let account = account(&tokens(), "ada");
        assert_eq!(account.learn(Amount(1), NOTHING, &POLICY, budgets), Some(Amount(2_000)));
        assert_eq!(
            self::account(&limit("tokens", 900), "ada").learn(Amount(1), NOTHING, &POLICY, budgets),
            None
        );
    });
}

#[test]
fn what_is_granted_can_be_taken_and_no_more() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        assert_eq!(take(&account, 600, budgets).0, Got::LeaseOutcome);
        assert_eq!(take(&account, 401, budgets).0, Got::Short);
        assert_eq!(take(&account, 400, budgets).0, Got::LeaseOutcome);
        assert_eq!(take(&account, 1, budgets).0, Got::Short);
    });
}

#[test]
fn callers_and_limits_have_leases_of_their_own() {
    let ada = account(&tokens(), "ada");
    leased(&ada).at(1_000, |budgets| {
        assert_eq!(take(&account(&tokens(), "bob"), 1, budgets).0, Got::Short);
        assert_eq!(take(&account(&limit("requests", 9), "ada"), 1, budgets).0, Got::Short);
    });
}

#[test]
fn more_is_asked_for_when_less_than_half_a_lease_is_left_and_not_before() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        assert_eq!(take(&account, 500, budgets), (Got::LeaseOutcome, None));
        assert_eq!(take(&account, 1, budgets), (Got::LeaseOutcome, Some(Amount(501))));
    });
}

#[test]
fn a_lease_is_filled_up_and_never_more_than_one_is_held() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        for _ in 0..20 {
            if let (_, Some(more)) = take(&account, 300, budgets) {
                account.granted(more, told(49_000, 39_000), budgets);
            }
            assert!(left(&account, budgets) <= 1_000, "{}", left(&account, budgets));
        }
    });
}

#[test]
fn a_call_that_finds_too_little_left_asks_for_more_too() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        assert_eq!(take(&account, 2_000, budgets), (Got::Short, None));
        account.take(Amount(1_000), &POLICY, budgets).1.unwrap();
        account.not_granted(budgets);
        assert_eq!(take(&account, 2_000, budgets), (Got::Short, Some(Amount(1_000))));
    });
}

#[test]
fn a_lease_of_one_request_is_asked_for_when_none_is_left() {
    let account = account(&limit("requests", 50), "ada");
    Process::new().at(0, |budgets| {
        assert_eq!(account.learn(Amount(1), told(50, 40_000), &POLICY, budgets), Some(Amount(1)));
        account.granted(Amount(1), told(49, 40_000), budgets);
        assert_eq!(take(&account, 1, budgets), (Got::LeaseOutcome, Some(Amount(1))));
    });
}

#[test]
fn of_all_workers_one_asks() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| assert_eq!(take(&account, 600, budgets).1, Some(Amount(600))));

    for millis in [1_000, 1_500, 2_990] {
        process.at(millis, |budgets| {
            assert_eq!(take(&account, 1, budgets), (Got::LeaseOutcome, None));
            assert_eq!(account.learn(Amount(1), told(48_000, 40_000 - millis), &POLICY, budgets), None);
        });
    }
}

#[test]
fn after_two_seconds_without_an_answer_another_asks() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| assert!(take(&account, 600, budgets).1.is_some()));

    process
        .at(3_010, |budgets| assert_eq!(take(&account, 1, budgets), (Got::LeaseOutcome, Some(Amount(601)))));
    process.at(3_011, |budgets| assert_eq!(take(&account, 1, budgets), (Got::LeaseOutcome, None)));
}

#[test]
fn after_an_answer_another_asks_when_there_is_need() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        assert!(take(&account, 600, budgets).1.is_some());
        account.not_granted(budgets);
        assert!(take(&account, 1, budgets).1.is_some());
        account.granted(Amount(50), NOTHING, budgets);
        assert!(take(&account, 1, budgets).1.is_some());
    });
}

#[test]
fn what_a_grant_leaves_is_reckoned_if_the_service_does_not_tell() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        account.granted(Amount(4_000), NOTHING, budgets);

        let standing = account.standing(budgets).unwrap();

        assert_eq!(standing.available, Amount(45_000 + 5_000));
    });
}

#[test]
fn a_standing_says_what_remains_at_the_service_and_here() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        let (taken, _) = account.take(Amount(300), &POLICY, budgets);
        let LeaseOutcome::Taken(_, Some(after)) = taken else { panic!("{taken:?}") };

        for standing in [account.standing(budgets).unwrap(), after] {
            assert_eq!(standing.available, Amount(49_700));
            assert_eq!(standing.spent, Amount(50_300));
            assert_eq!(standing.reset, Span::from_secs(39));
        }
    });
}

#[test]
fn nothing_is_known_of_a_budget_untouched_or_never_told_of() {
    let account = account(&tokens(), "ada");
    Process::new().at(0, |budgets| {
        assert!(account.standing(budgets).is_none());
        account.granted(Amount(10), NOTHING, budgets);
        assert!(account.standing(budgets).is_none());
    });
}

#[test]
fn what_a_call_did_not_use_goes_back() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        let ticket = ticket(&account, 800, budgets);
        assert_eq!(ticket.amount(), Amount(800));

        assert_eq!(ticket.correct_to(Amount(300), budgets), Amount::ZERO);

        assert_eq!(left(&account, budgets), 700);
    });
}

#[test]
fn what_a_call_used_exactly_needs_no_correction() {
    let account = account(&tokens(), "ada");
    let process = leased(&account);
    process.at(1_000, |budgets| {
        let ticket = ticket(&account, 800, budgets);
        let writes = process.lines.writes();

        assert_eq!(ticket.correct_to(Amount(800), budgets), Amount::ZERO);

        assert_eq!((left(&account, budgets), process.lines.writes()), (200, writes));
    });
}

#[test]
fn what_a_call_used_more_comes_from_the_lease_as_far_as_it_goes() {
    let account = account(&tokens(), "ada");
    leased(&account).at(1_000, |budgets| {
        let (one, other) = (ticket(&account, 500, budgets), ticket(&account, 300, budgets));

        assert_eq!(one.correct_to(Amount(650), budgets), Amount::ZERO);
        assert_eq!(left(&account, budgets), 50);
        assert_eq!(other.correct_to(Amount(450), budgets), Amount(100));
        assert_eq!(left(&account, budgets), 0);
    });
}

#[test]
fn what_a_call_that_asked_for_itself_did_not_need_is_left_to_others() {
    let account = account(&tokens(), "ada");
    let process = Process::new();
    process
        .at(0, |budgets| assert!(account.learn(Amount(1), told(50_000, 40_000), &POLICY, budgets).is_some()));

    process.at(9_000, |budgets| {
        assert_eq!(account.correct(Amount(70), Amount::ZERO, START, budgets), Amount::ZERO);
        assert_eq!(left(&account, budgets), 70);
    });
}
